//! podman and buildah with the runtime under test: storage, state and configuration of the test's own, an image made from
//! a static busybox, and a `/run` that nobody else sees. Nothing is pulled.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::container::Done;
use crate::{Case, Program, locate, wait};

/// What the engines and their helpers write to outside their storage, and what the test must not share with others.
const PRIVATE: [&str; 3] = ["/run", "/var/lib/cni", "/dev/shm"];

/// The name of the image.
pub const IMAGE: &str = "localhost/busybox:test";

/// An engine for one test. What it started ends with it.
#[derive(Debug)]
pub struct Engine<'a> {
    case: &'a Case,
    mounted: Vec<&'static str>,
}

/// The static busybox that images are made of.
pub fn busybox() -> Option<PathBuf> {
    locate::program("busybox").filter(|path| locate::is_static(path) == Some(true))
}

impl<'a> Engine<'a> {
    /// Makes its configuration and its image.
    #[track_caller]
    pub fn new(case: &'a Case) -> Self {
        let mut engine = Self { case, mounted: Vec::new() };
        for directory in PRIVATE.into_iter().filter(|directory| Path::new(directory).is_dir()) {
            let none = None::<&str>;
            mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), none).expect(directory);
            engine.mounted.push(directory);
        }
        engine.configure("");
        fs::create_dir_all(case.path("engine/image")).expect("image");
        engine.make_image(&case.path("engine/image"));
        engine
    }

    /// Writes the configuration, with lines of its own for `[engine]`.
    pub fn configure(&self, more: &str) {
        let path = |name: &str| self.case.path("engine").join(name).display().to_string();
        fs::create_dir_all(path("")).expect("engine");
        let runtime = locate::runtime().expect("a runtime");
        // Where even root may not raise hard limits, the engine's own defaults do not work.
        let containers = format!(
            "[containers]\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             netns = \"host\"\n\
             [engine]\n\
             runtime = \"runj\"\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             lock_type = \"file\"\n\
             tmp_dir = \"{}\"\n\
             {more}\n\
             [engine.runtimes]\n\
             runj = [\"{}\"]\n\
             [network]\n\
             network_config_dir = \"{}\"\n",
            path("tmp"),
            runtime.display(),
            path("networks"),
        );
        fs::write(path("containers.conf"), containers).expect("containers.conf");
        let storage =
            format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{}\"\ngraphroot = \"{}\"\n", path("run"), path("store"));
        fs::write(path("storage.conf"), storage).expect("storage.conf");
        fs::write(path("registries.conf"), "").expect("registries.conf");
        fs::write(path("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).expect("policy.json");
    }

    #[track_caller]
    fn make_image(&self, root: &Path) {
        let program = busybox().expect("busybox");
        for directory in ["bin", "etc", "tmp", "work"] {
            fs::DirBuilder::new().mode(0o755).create(root.join(directory)).expect("image");
        }
        fs::copy(&program, root.join("bin/busybox")).expect("busybox");
        for name in Program::new(&program).arg("--list").ok().lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(name)).expect("link");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\nalice:x:1000:1000::/work:/bin/sh\n")
            .expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\nalice:x:1000:\n").expect("group");
        let tar = self.case.path("engine/image.tar");
        Program::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg(".").ok();
        self.podman(["import"]).arg(&tar).arg(IMAGE).ok();
    }

    fn program(&self, name: &str) -> Program {
        let path = |name: &str| self.case.path("engine").join(name).display().to_string();
        Program::new(name)
            .env("CONTAINERS_CONF", &path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", &path("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", &path("registries.conf"))
            .env("HOME", &path(""))
            .env("TMPDIR", &self.case.dir().display().to_string())
            .deadline(wait::seconds(60))
    }

    /// podman with these arguments, not run yet.
    pub fn podman<T: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Program {
        self.program("podman").args(arguments)
    }

    /// buildah with these arguments, not run yet.
    pub fn buildah<T: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Program {
        self.program("buildah").env("BUILDAH_ISOLATION", "oci").args(arguments)
    }

    /// `podman run` with options, the image and a command, not run yet. The cgroup carries the test's mark.
    pub fn runner(&self, options: &[&str], command: &[&str]) -> Program {
        self.podman(["run", "--cgroup-parent", &self.group()]).args(options).arg(IMAGE).args(command)
    }

    /// The cgroup that this engine's lie below.
    pub fn group(&self) -> String {
        format!("/{}", self.case.marker())
    }

    /// `podman run`.
    #[track_caller]
    pub fn run(&self, options: &[&str], command: &[&str]) -> Done {
        Done::run(self.runner(options, command))
    }

    /// `podman run --rm` of a shell command; its output.
    #[track_caller]
    pub fn sh(&self, options: &[&str], script: &str) -> String {
        self.run(&[&["--rm"], options].concat(), &["sh", "-c", script]).ok()
    }

    /// `podman run -d` of a shell command under a name.
    #[track_caller]
    pub fn start(&self, name: &str, options: &[&str], script: &str) {
        self.run(&[&["-d", "--name", name], options].concat(), &["sh", "-c", script]).ok();
    }

    /// podman.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Done {
        Done::run(self.podman(arguments))
    }

    /// podman, which has to succeed; its output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.done(arguments).ok()
    }

    /// A value of `podman inspect`.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, name]).trim().to_owned()
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        for arguments in [["pod", "rm", "-fa"].as_slice(), &["rm", "-fa", "-t", "0"], &["network", "prune", "-f"]] {
            self.podman(arguments).run();
        }
        // The bridges of CNI's and of netavark's default network.
        for bridge in ["cni-podman0", "podman0"] {
            let _ = Program::new("ip").args(["link", "delete", bridge]).run();
        }
        if let Some(nft) = locate::program("nft") {
            let _ = Program::new(nft).args(["flush", "ruleset"]).run();
        }
        // Storage mounts itself, so that nobody else sees what is mounted below it.
        for directory in crate::leaks::mounts().iter().rev().filter_map(|line| line.split(' ').next()) {
            if Path::new(directory).starts_with(self.case.dir()) {
                let _ = umount2(directory, MntFlags::MNT_DETACH);
            }
        }
        for directory in self.mounted.iter().rev() {
            let _ = umount2(*directory, MntFlags::MNT_DETACH);
        }
        // What is left, the test will say.
        let _ = crate::sweep::cgroups(&self.case.marker());
    }
}

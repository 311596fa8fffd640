//! A containerd of the test's own: private root, state and sockets, an image that is made here, the shim that was built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::run::{Running, Stdio};
use crate::{Case, Program, ffi, locate, until, wait};

/// The name under which containerd finds the shim.
pub const RUNTIME: &str = "wtf.sbk.runj.v1";

/// The image, in which there is nothing but integ-inside.
pub const IMAGE: &str = "integ.local/inside:1";

/// Where shims have their sockets and runj its state.
const STATE: &str = "/run/containerd";

/// A containerd.
#[derive(Debug)]
pub struct Containerd<'a> {
    case: &'a Case,
    dir: PathBuf,
    daemon: Option<Running>,
    listeners: Vec<Running>,
}

impl<'a> Containerd<'a> {
    /// Starts it and imports the image.
    #[track_caller]
    pub fn start(case: &'a Case) -> Self {
        fs::create_dir_all(STATE).expect(STATE);
        // The shim and runj keep theirs where a containerd of the machine does; this hides it from the test.
        Program::new("mount").args(["-t", "tmpfs", "integ", STATE]).ok();
        let dir = case.path("containerd");
        fs::create_dir_all(&dir).expect("a directory for containerd");
        let mut containerd = Self { case, dir, daemon: None, listeners: Vec::new() };
        containerd.configure();
        containerd.launch();
        let archive = containerd.image();
        containerd.ctr(["image", "import", "--snapshotter", "native"]).arg(archive).ok();
        containerd
    }

    fn configure(&self) {
        let plugins = [
            "io.containerd.grpc.v1.cri",
            "io.containerd.snapshotter.v1.aufs",
            "io.containerd.snapshotter.v1.btrfs",
            "io.containerd.snapshotter.v1.devmapper",
            "io.containerd.snapshotter.v1.zfs",
        ];
        let dir = self.dir.display();
        let config = format!(
            "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\ndisabled_plugins = {plugins:?}\n\
             [grpc]\naddress = \"{dir}/grpc\"\n[ttrpc]\naddress = \"{dir}/ttrpc\"\n[debug]\nlevel = \"debug\"\n"
        );
        fs::write(self.dir.join("config.toml"), config).expect("configuration");
    }

    fn launch(&mut self) {
        let shim = locate::shim().expect("a shim");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", shim.parent().unwrap_or(Path::new("/")).display());
        let log = self.case.log(&format!("containerd{}", self.case.number()));
        let daemon = Program::new("containerd").arg("--config").arg(self.dir.join("config.toml")).env("PATH", &path);
        // Its output is its own file, which the shim's log lines end in too.
        let daemon = daemon.stdout(Stdio::Null).stderr(Stdio::File(log)).die_with_parent();
        self.daemon = Some(daemon.deadline(wait::seconds(1000)).spawn());
        until("containerd answers", || self.ctr(["version"]).run().status.success().then_some(()));
    }

    /// Kills it and starts it again; its containers go on meanwhile.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop(Signal::SIGKILL);
        self.launch();
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = ffi::kill(daemon.pid, signal as i32);
            daemon.wait();
        }
    }

    /// `ctr` in the test's namespace.
    pub fn ctr<T: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = T>) -> Program {
        self.ctr_in(&self.case.marker(), args)
    }

    /// `ctr` in another namespace.
    pub fn ctr_in<T: AsRef<std::ffi::OsStr>>(&self, namespace: &str, args: impl IntoIterator<Item = T>) -> Program {
        let program = Program::new("ctr").arg("--address").arg(self.dir.join("grpc"));
        program.arg("--namespace").arg(namespace).args(args)
    }

    /// `ctr run OPTIONS IMAGE ID /integ-inside CHECK`.
    pub fn run(&self, options: &[&str], id: &str, check: &[&str]) -> Program {
        self.run_by(RUNTIME, options, id, check)
    }

    /// The same by another runtime.
    pub fn run_by(&self, runtime: &str, options: &[&str], id: &str, check: &[&str]) -> Program {
        let program = self.ctr(["run", "--runtime", runtime, "--snapshotter", "native"]);
        program.args(options).args([IMAGE, id, "/integ-inside"]).args(check)
    }

    /// `ctr task exec --exec-id EXEC OPTIONS ID /integ-inside CHECK`.
    pub fn exec(&self, options: &[&str], exec: &str, id: &str, check: &[&str]) -> Program {
        let program = self.ctr(["task", "exec", "--exec-id", exec]);
        program.args(options).args([id, "/integ-inside"]).args(check)
    }

    /// Starts a container in the background; returns its id.
    #[track_caller]
    pub fn running(&self, check: &[&str]) -> String {
        let id = self.case.id();
        self.run(&["--detach"], &id, check).ok();
        id
    }

    /// Id, pid and status of each task, by id.
    #[track_caller]
    pub fn tasks(&self) -> Vec<[String; 3]> {
        let table = self.ctr(["task", "ls"]).ok();
        let row = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        };
        let mut tasks: Vec<_> = table.lines().skip(1).filter_map(row).collect();
        tasks.sort();
        tasks
    }

    /// Waits for a task to be of this status.
    #[track_caller]
    pub fn await_status(&self, id: &str, status: &str) {
        until(&format!("{id} is {status}"), || {
            self.tasks().iter().any(|task| task[0] == id && task[2] == status).then_some(())
        });
    }

    /// Kills a task and deletes it with its container.
    #[track_caller]
    pub fn remove(&self, id: &str) -> Output {
        self.ctr(["task", "kill", "--signal", "KILL", id]).run();
        self.await_status(id, "STOPPED");
        let deleted = self.ctr(["task", "delete", id]).run();
        self.ctr(["container", "delete", id]).ok();
        deleted
    }

    /// A container's bundle.
    pub fn bundle(&self, id: &str) -> PathBuf {
        self.dir.join("state/io.containerd.runtime.v2.task").join(self.case.marker()).join(id)
    }

    /// The pid of a container's shim.
    pub fn shim_of(&self, id: &str) -> Option<i32> {
        let fits = |pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&str> = line.split('\0').collect();
            words[0].contains("containerd-shim-") && words.windows(2).any(|pair| pair == ["-id", id])
        };
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(fits)
    }

    /// runj's own view of a container.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.runj(["state", id]).ok()).expect("state is JSON")
    }

    /// runj, as the shim runs it.
    pub fn runj<const N: usize>(&self, args: [&str; N]) -> Program {
        let root = Path::new(STATE).join("runj").join(self.case.marker());
        self.case.runtime().arg("--root").arg(root).args(args)
    }

    /// Begins to listen to events; returns the file that they go to.
    #[track_caller]
    pub fn listen(&mut self) -> PathBuf {
        let file = self.case.log(&format!("events{}", self.case.number()));
        let listener = self.ctr(["events"]).stdout(Stdio::File(file.clone())).die_with_parent();
        self.listeners.push(listener.deadline(wait::seconds(1000)).spawn());
        // Only what happens after it has subscribed is heard: make something happen until it is.
        until("ctr events hears", || {
            self.ctr(["namespace", "label", &self.case.marker(), "heard=1"]).ok();
            fs::read_to_string(&file).is_ok_and(|text| text.contains("/namespaces/update")).then_some(())
        });
        file
    }

    /// A containerd namespace is the parent of its containers' cgroups, which the first of them makes and cannot remove
    /// while there are others. One that is not empty stays, and is found.
    fn remove_cgroups(&self) {
        let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for controller in controllers.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]) {
            for entry in fs::read_dir(controller).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&self.case.marker()) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }

    /// The archive of an image with one layer, an OCI image layout.
    fn image(&self) -> PathBuf {
        let root = self.dir.join("layer");
        for name in ["dev", "proc", "sys", "tmp", "run", "etc"] {
            fs::create_dir_all(root.join(name)).expect("layer");
        }
        fs::copy(locate::inside().expect("integ-inside"), root.join("integ-inside")).expect("integ-inside");
        let layout = self.dir.join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).expect("layout");
        let layer = self.dir.join("layer.tar");
        Program::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg(".").ok();
        let blob = |file: &Path, kind: &str| {
            let sum = Program::new("sha256sum").arg(file).ok();
            let digest = sum.split(' ').next().expect("a digest").to_owned();
            fs::copy(file, layout.join("blobs/sha256").join(&digest)).expect("blob");
            let size = fs::metadata(file).expect("blob").len();
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": size})
        };
        let document = |value: &Value, kind: &str| {
            let file = self.dir.join("document.json");
            fs::write(&file, value.to_string()).expect("document");
            blob(&file, kind)
        };
        let layer = blob(&layer, "layer.v1.tar");
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": std::env::consts::OS,
            "config": {"Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = document(&config, "config.v1+json");
        let mut manifest =
            document(&json!({"schemaVersion": 2, "config": config, "layers": [layer]}), "manifest.v1+json");
        manifest["annotations"] = json!({"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1"});
        fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())
            .expect("index");
        fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string()).expect("layout");
        let archive = self.dir.join("image.tar");
        Program::new("tar").arg("-C").arg(&layout).arg("-cf").arg(&archive).arg(".").ok();
        archive
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            let _ = ffi::kill(listener.pid, libc::SIGKILL);
            listener.wait();
        }
        self.stop(Signal::SIGTERM);
        if !std::thread::panicking() {
            // Shims whose containers have just gone are still on their way out of it.
            let unmount = || Program::new("umount").arg(STATE).run().status.success().then_some(());
            until(&format!("{STATE} to be left by all"), unmount);
            self.remove_cgroups();
        }
    }
}

/// Topics and contents of the events of tasks, in order.
pub fn task_events(file: &Path) -> Vec<(String, Value)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let event = |line: &str| {
        let (head, content) = line.split_once(" {")?;
        let topic = head.rsplit(' ').next()?.strip_prefix("/tasks/")?;
        Some((topic.to_owned(), serde_json::from_str(&format!("{{{content}")).ok()?))
    };
    text.lines().filter_map(event).collect()
}

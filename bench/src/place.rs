//! Where everything is that is measured: runtimes, bundles, state.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::measure::{self, Sample, run};

/// The most tmpfs mounts of a row.
pub const MOUNTS: usize = 50;

/// The machine's side.
#[derive(Debug)]
pub struct Place {
    runj: PathBuf,
    floor: PathBuf,
    /// State directories, one for each runtime.
    pub directory: PathBuf,
    bundle: PathBuf,
}

/// Another runtime, with the flags that spare it what runj does not do either.
#[derive(Debug)]
pub struct Peer {
    /// Its program's name.
    pub name: &'static str,
    flags: &'static [&'static str],
}

/// What a bundle is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The program and its arguments.
    pub program: &'a [&'a str],
    /// How many tmpfs are mounted.
    pub tmpfs: usize,
    /// Whether there is a `/proc`, without which other runtimes do not work.
    pub proc: bool,
    /// Whether it has a network stack of its own.
    pub vnet: bool,
}

/// The other runtimes that are installed.
pub fn peers() -> Vec<Peer> {
    #[cfg(target_os = "linux")]
    let known = [Peer { name: "crun", flags: &["--cgroup-manager=disabled"] }, Peer { name: "runc", flags: &[] }];
    #[cfg(not(target_os = "linux"))]
    let known = [Peer { name: "ocijail", flags: &[] }];
    measure::hide_hybrid_cgroups();
    let installed = |peer: &Peer| Command::new(peer.name).arg("--version").output().is_ok();
    known.into_iter().filter(installed).collect()
}

impl Place {
    /// Makes the bundle.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let runj = std::env::var_os("RUNJ_BIN").map_or_else(|| beside("runj"), |path| Ok(path.into()))?;
        let floor = beside("floor")?;
        let place = Self { runj, floor, directory: directory.to_owned(), bundle: directory.join("bundle") };
        let mounts = (0..MOUNTS).map(|number| format!("m{number}"));
        for directory in ["bin", "dev", "proc", "sys"].map(str::to_owned).into_iter().chain(mounts) {
            std::fs::create_dir_all(place.root().join(directory))?;
        }
        std::fs::copy(&place.floor, place.root().join("bin/floor"))?;
        Ok(place)
    }

    fn root(&self) -> PathBuf {
        self.bundle.join("root")
    }

    /// The state directory of runj.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// A command of runj.
    pub fn runj(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.runj);
        command.arg("--root").arg(self.state()).args(args);
        command
    }

    /// `create` or `run` of the bundle, with the id that follows.
    pub fn of_bundle<'a>(&'a self, verb: &'a str, id: &'a str) -> [&'a str; 4] {
        [verb, "-b", self.bundle.to_str().unwrap_or_default(), id]
    }

    /// A command of another runtime.
    pub fn peer(&self, peer: &Peer, args: &[&str]) -> Command {
        let mut command = Command::new(peer.name);
        command.args(peer.flags).arg("--root").arg(self.directory.join(peer.name)).args(args);
        command
    }

    /// The floor of a run; with `keep` for its verb, that of an emulated jail.
    pub fn floor_run(&self, verb: &str, net: &str, mounts: usize, program: &[&str]) -> Command {
        let mut command = Command::new(&self.floor);
        command.arg(verb).arg(self.root()).args([net, &mounts.to_string()]).args(program);
        command
    }

    /// The floor of a verb: a static program that starts and ends.
    pub fn floor_nothing(&self) -> Command {
        let mut command = Command::new(&self.floor);
        command.arg("nothing");
        command
    }

    /// The floor of a list.
    pub fn floor_read(&self) -> Command {
        let mut command = Command::new(&self.floor);
        command.arg("read").arg(self.state());
        command
    }

    /// Makes the bundle's configuration anew.
    pub fn configure(&self, wish: &Wish<'_>) -> anyhow::Result<()> {
        let tmpfs = |number| json!({ "destination": format!("/m{number}"), "type": "tmpfs", "source": "tmpfs" });
        let mut mounts: Vec<Value> = (0..wish.tmpfs).map(tmpfs).collect();
        if wish.proc {
            mounts.push(json!({ "destination": "/proc", "type": "proc", "source": "proc" }));
        }
        let jail = if wish.vnet { json!({ "vnet": "new" }) } else { json!({ "ip4": "inherit", "ip6": "inherit" }) };
        // What other runtimes on Linux read instead.
        let namespaces: Vec<Value> =
            ["pid", "mount", "uts", "ipc"].iter().map(|kind| json!({ "type": kind })).collect();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": { "args": wish.program, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } },
            "root": { "path": "root" },
            "mounts": mounts,
            "linux": { "namespaces": namespaces },
            "freebsd": { "jail": jail }
        });
        std::fs::write(self.bundle.join("config.json"), config.to_string()).context("config.json")
    }

    /// Creates a container; returns the pid of its program.
    pub fn create(&self, runtime: impl Fn(&[&str]) -> Command, id: &str) -> anyhow::Result<(Sample, i32)> {
        let file = self.directory.join("pid");
        let [create, option, bundle, id] = self.of_bundle("create", id);
        let created = run(runtime(&[create, "--pid-file", file.to_str().unwrap_or_default(), option, bundle, id]))?;
        Ok((created, std::fs::read_to_string(&file)?.trim().parse().context("the pid file")?))
    }

    /// Create, start, wait for the program's end, delete: what an engine does.
    pub fn life(&self, runtime: impl Fn(&[&str]) -> Command) -> anyhow::Result<Sample> {
        let id = "life";
        let (created, pid) = self.create(&runtime, id)?;
        let started = run(runtime(&["start", id]))?;
        let waited = measure::reap(pid, 0)?;
        Ok(created + started + waited + run(runtime(&["delete", id]))?)
    }
}

/// A program that was built with this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{}: not built", path.display());
    Ok(path)
}

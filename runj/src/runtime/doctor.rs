//! `doctor`: looks at the machine and changes nothing.

use std::path::{Path, PathBuf};

use super::{Result, Runtime, gc};
use crate::doctor::{Facts, Installed, State};
use crate::sys::Kernel;

/// Where engines look for programs, whatever their `PATH`.
const DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// podman's configuration, the administrator's first.
const CONTAINERS_CONF: [&str; 4] = [
    "/usr/local/etc/containers/containers.conf",
    "/etc/containers/containers.conf",
    "/usr/local/share/containers/containers.conf",
    "/usr/share/containers/containers.conf",
];

/// Where Go runj keeps its containers.
const GO_RUNJ: &str = "/var/lib/runj/jails";

/// Everything that `doctor` judges by.
pub fn facts<K: Kernel>(runtime: &Runtime<'_, K>) -> Result<Facts> {
    let is_root = nix::unistd::geteuid().is_root();
    let root = runtime.store.root().to_path_buf();
    let state = match runtime.store.check() {
        _ if !is_root => State::Unseen(root),
        Ok(true) => State::Sound(root),
        Ok(false) => State::Absent(root),
        Err(error) => State::Refused { path: root, reason: error.to_string() },
    };
    let abandoned = match &state {
        State::Sound(_) => gc::find(runtime)?.iter().map(ToString::to_string).collect(),
        State::Absent(_) | State::Unseen(_) | State::Refused { .. } => Vec::new(),
    };
    let system = runtime.kernel.examine()?;
    Ok(Facts { root: is_root, system, state, abandoned, installed: installed() })
}

fn installed() -> Installed {
    let find = |name: &str| DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|it| it.is_file());
    // Where links lead, so that one program with two names is one.
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let names = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let this = std::env::current_exe().map(real).unwrap_or_default();
    let beside = this.with_file_name("containerd-shim-runj-v1");
    Installed {
        runj: find("runj").map(real),
        shim: find("containerd-shim-runj-v1").or_else(|| beside.is_file().then_some(beside)),
        ocijail: find("ocijail"),
        podman: find("podman"),
        conmon: find("conmon"),
        containerd: find("containerd"),
        podman_runtime: CONTAINERS_CONF
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .find_map(|text| runtime_of(&text)),
        go_runj: names(GO_RUNJ),
        this,
    }
}

/// `runtime` of a containers.conf.
fn runtime_of(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "runtime").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_of_podman_is_read() {
        let text = "[engine]\n# runtime = \"crun\"\nruntimes_flags = [1]\n runtime = \"ocijail\"\n[engine.runtimes]\n";
        assert_eq!(runtime_of(text).as_deref(), Some("ocijail"));
        assert_eq!(runtime_of("#runtime = 1\n"), None);
    }
}

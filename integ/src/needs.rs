//! What a test needs of the machine, and why it cannot run where that is missing.

use std::path::Path;

use crate::locate;

/// A need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Interfaces that can be given to a jail: VIMAGE and epair; network namespaces and veth.
    Vnet,
    /// pf or nftables, usable from here.
    PacketFilter,
    /// A network beyond the host, real or made by the harness.
    Internet,
    /// Resource limits: racct; a writable cgroup.
    Limits,
    /// Processors that can be chosen: always; a writable cpuset cgroup.
    Processors,
    /// FreeBSD that does not account resources, as it is installed.
    Unaccounted,
    /// FreeBSD, by nature.
    FreeBsd,
    /// Linux, by nature.
    Linux,
    /// runj, not another runtime: what no other one has.
    Runj,
    /// IPv6.
    Ip6,
    /// podman and conmon, and a static busybox for images (Linux).
    Podman,
    /// buildah, and what podman needs.
    Buildah,
    /// The programs of containerd, and the shim beside the runtime.
    Containerd,
    /// A kernel that can forbid a process to gain privileges.
    NoNewPrivileges,
    /// The source tree as git has it, which a tarball is not.
    Clone,
}

/// `needs!(Vnet, PacketFilter)`: a list of [`Need`]s. Root, a runtime and integ-inside are always needed.
#[macro_export]
macro_rules! needs {
    ($($need:ident),* $(,)?) => { &[$($crate::Need::$need),*] };
}

/// Why a test does not run.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// It could, on a machine that has this.
    Skipped(String),
    /// It could not, on this system.
    Inapplicable(String),
}

fn skipped(reason: &str) -> Option<Missing> {
    Some(Missing::Skipped(reason.to_owned()))
}

/// The first need that is not met.
pub fn missing(needs: &[Need]) -> Option<Missing> {
    if let Some(nature) = needs.iter().find_map(against_nature) {
        return Some(nature);
    }
    if !nix::unistd::geteuid().is_root() {
        return skipped("not root");
    }
    if locate::runtime().is_none() {
        return skipped("no runtime: build it or set RUNJ_BIN");
    }
    match locate::inside() {
        None => return skipped("no static integ-inside: make, or set INTEG_INSIDE"),
        Some(path) if locate::is_static(&path) == Some(false) => return skipped("integ-inside is not static"),
        Some(_) => {}
    }
    needs.iter().find_map(unmet)
}

fn against_nature(need: &Need) -> Option<Missing> {
    let reason = match need {
        Need::FreeBsd | Need::Unaccounted if !cfg!(target_os = "freebsd") => "FreeBSD only",
        Need::Unaccounted if limits().is_none() => "kern.racct.enable is 1",
        Need::Linux | Need::Podman | Need::Buildah if !cfg!(target_os = "linux") => "Linux only",
        Need::Runj if !locate::is_runj() => "a feature of runj",
        _ => return None,
    };
    Some(Missing::Inapplicable(reason.to_owned()))
}

fn unmet(need: &Need) -> Option<Missing> {
    match need {
        Need::FreeBsd | Need::Linux | Need::Runj | Need::Unaccounted => None,
        Need::Ip6 if std::net::TcpListener::bind("[::1]:0").is_ok() => None,
        Need::Ip6 => skipped("no IPv6"),
        Need::Vnet | Need::Internet => crate::net::lacks_interfaces().and_then(|reason| skipped(&reason)),
        Need::PacketFilter => crate::net::lacks_filter().and_then(|reason| skipped(&reason)),
        Need::Limits => limits(),
        Need::Processors => processors(),
        Need::Podman => engine(&["podman", "conmon"]),
        Need::Buildah => engine(&["buildah", "podman", "conmon"]),
        Need::Containerd => containerd(),
        Need::NoNewPrivileges => no_new_privileges(),
        Need::Clone if Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git").exists() => None,
        Need::Clone => skipped("the source tree is no clone of a git repository"),
    }
}

fn containerd() -> Option<Missing> {
    let lacking = ["containerd", "ctr", "tar", "sha256sum"].into_iter().find(|name| locate::program(name).is_none());
    match lacking {
        Some(name) => skipped(&format!("no {name}: make setup, or install containerd")),
        None if locate::shim().is_none() => skipped("no containerd-shim-runj-v1 beside the runtime: make"),
        None => None,
    }
}

#[cfg(target_os = "linux")]
fn engine(programs: &[&str]) -> Option<Missing> {
    if let Some(program) = programs.iter().find(|program| locate::program(program).is_none()) {
        return skipped(&format!("no {program}: scripts/setup engines"));
    }
    if crate::engine::busybox().is_none() { skipped("no static busybox: scripts/setup test") } else { None }
}

#[cfg(not(target_os = "linux"))]
fn engine(_: &[&str]) -> Option<Missing> {
    None
}

#[cfg(target_os = "linux")]
fn no_new_privileges() -> Option<Missing> {
    None
}

#[cfg(not(target_os = "linux"))]
fn no_new_privileges() -> Option<Missing> {
    let release = crate::Program::new(Path::new("/sbin/sysctl")).args(["-n", "kern.osreldate"]).run();
    let release: u32 = String::from_utf8_lossy(&release.stdout).trim().parse().unwrap_or(0);
    if release >= 1_400_026 { None } else { skipped("no PROC_NO_NEW_PRIVS_CTL before FreeBSD 14.0") }
}

#[cfg(target_os = "linux")]
fn limits() -> Option<Missing> {
    let writable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
    let v1 = Path::new("/sys/fs/cgroup/pids");
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let usable = writable(v1) || (v2.contains("pids") && writable(Path::new("/sys/fs/cgroup")));
    if usable { None } else { skipped("no writable cgroup with the pids controller") }
}

#[cfg(target_os = "linux")]
fn processors() -> Option<Missing> {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let exists = Path::new("/sys/fs/cgroup/cpuset/cgroup.procs").exists() || controllers.contains("cpuset");
    if exists { limits() } else { skipped("no cgroup with the cpuset controller") }
}

#[cfg(not(target_os = "linux"))]
fn processors() -> Option<Missing> {
    None
}

#[cfg(not(target_os = "linux"))]
fn limits() -> Option<Missing> {
    let enabled = crate::Program::new(Path::new("/sbin/sysctl")).args(["-n", "kern.racct.enable"]).run();
    if enabled.stdout.starts_with(b"1") { None } else { skipped("kern.racct.enable is 0") }
}

/// Whether the summary must have no skips (`RUNJ_REQUIRE=all`).
pub fn skips_are_failures() -> bool {
    std::env::var("RUNJ_REQUIRE").is_ok_and(|list| list.split_whitespace().any(|word| word == "all"))
}

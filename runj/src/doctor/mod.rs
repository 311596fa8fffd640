//! What `doctor` says of a machine: a function of what was found on it. Pure.

use std::path::PathBuf;

use serde::Serialize;

use crate::sys::examination::{Accounting, Cgroups, Examination, Freebsd, Jailed, Linux, Module};
use crate::sys::jail::FILES_ON_FILES;

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether runj runs as root.
    pub root: bool,
    /// The system.
    pub system: Examination,
    /// The state directory.
    pub state: State,
    /// What nobody uses any more, as `gc` words it.
    pub abandoned: Vec<String>,
    /// Programs and files of runj and its neighbours.
    pub installed: Installed,
}

/// The state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there yet; the first `create` makes it.
    Absent(PathBuf),
    /// As it has to be.
    Sound(PathBuf),
    /// Not looked into, which only root can.
    Unseen(PathBuf),
    /// Not to be used, and why.
    Refused {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Programs, by where they are, and files of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The program that asks.
    pub this: PathBuf,
    /// The first `runj` of the usual directories.
    pub runj: Option<PathBuf>,
    /// The shim.
    pub shim: Option<PathBuf>,
    /// ocijail.
    pub ocijail: Option<PathBuf>,
    /// podman.
    pub podman: Option<PathBuf>,
    /// conmon.
    pub conmon: Option<PathBuf>,
    /// containerd.
    pub containerd: Option<PathBuf>,
    /// `runtime` of podman's containers.conf.
    pub podman_runtime: Option<String>,
    /// Containers below the state directory of Go runj.
    pub go_runj: Vec<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something does not work; containers that do not need it do.
    Warning,
    /// No container works.
    Error,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The line of this file that made it.
    #[cfg(test)]
    #[serde(skip)]
    line: u32,
}

/// Where FreeBSD's modules are switched on.
const LOADER: &str = "/boot/loader.conf";

#[track_caller]
fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        check,
        level: Level::Ok,
        found: found.into(),
        remedy: None,
        #[cfg(test)]
        line: std::panic::Location::caller().line(),
    }
}

#[track_caller]
fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, remedy: Some(remedy.into()), ..ok(check, found) }
}

#[track_caller]
fn error(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { level: Level::Error, ..warning(check, found, remedy) }
}

/// Every check, with its outcome.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match facts.root {
        true => ok("root", "runj runs as root"),
        false => error("root", "runj does not run as root, whose making and entering jails is", "run it as root"),
    }];
    match &facts.system {
        Examination::Freebsd(system) => freebsd(system, &mut findings),
        Examination::Linux(system) => linux(system, &mut findings),
    }
    findings.push(state(&facts.state));
    findings.push(leftovers(&facts.abandoned));
    neighbours(facts, &mut findings);
    findings
}

fn freebsd(system: &Freebsd, findings: &mut Vec<Finding>) {
    let release = format!("FreeBSD {} ({})", system.release, system.osreldate);
    findings.push(match system.osreldate {
        0..1_200_000 => error("release", release, "use FreeBSD 13.2 or newer"),
        1_200_000..FILES_ON_FILES => warning(
            "release",
            format!("{release}: files cannot be mounted on files, and newer releases lose fewer races"),
            "use FreeBSD 13.2 or newer",
        ),
        _ => ok("release", release),
    });
    findings.push(match system.vnet {
        true => ok("vnet", "jails can have network stacks of their own"),
        false => {
            warning("vnet", "the kernel is built without VIMAGE: no vnet", "use GENERIC, or build with options VIMAGE")
        }
    });
    findings.push(match system.accounting {
        Accounting::On => ok("racct", "resources are accounted: limits hold"),
        Accounting::Off => warning(
            "racct",
            "kern.racct.enable is 0: the kernel accounts no resources, and limits are refused",
            format!("set kern.racct.enable=1 in {LOADER} and reboot"),
        ),
        Accounting::Absent => warning(
            "racct",
            "the kernel is built without RACCT and RCTL: it accounts no resources, and limits are refused",
            format!("use GENERIC, or build with options RACCT and RCTL, and set kern.racct.enable=1 in {LOADER}"),
        ),
    });
    findings.extend(system.modules.iter().map(|(name, module)| self::module(name, *module, system.securelevel)));
    findings.push(match system.devfs_rules {
        Some(true) => ok("devfs rules", "/etc/defaults/devfs.rules are loaded"),
        Some(false) => warning(
            "devfs rules",
            "no devfs rules are loaded: a bundle that names a ruleset, as ruleset=4, is refused",
            "service devfs start",
        ),
        None => warning("devfs rules", "devfs cannot be asked for its rules", "run doctor as root"),
    });
    findings.push(match system.securelevel {
        ..=0 => ok("securelevel", format!("kern.securelevel is {}", system.securelevel)),
        level => warning(
            "securelevel",
            format!("kern.securelevel is {level}: no module can be loaded any more"),
            format!("load what is missing in {LOADER}, or lower kern_securelevel in /etc/rc.conf and reboot"),
        ),
    });
    if let Some(jailed) = &system.jailed {
        self::jailed(jailed, findings);
    }
}

fn module(name: &'static str, module: Module, securelevel: i32) -> Finding {
    let needed = matches!(name, "nullfs" | "tmpfs");
    let (found, remedy) = match module {
        Module::Loaded => return ok(name, "is there"),
        Module::Loadable if securelevel <= 0 => return ok(name, "is loaded when it is first used"),
        Module::Loadable => (
            format!("is not loaded, and cannot be at securelevel {securelevel}"),
            format!("set {name}_load=YES in {LOADER} and reboot"),
        ),
        Module::Absent => {
            ("the kernel has none".to_owned(), format!("install the kernel's modules (/boot/kernel/{name}.ko)"))
        }
    };
    if needed { error(name, found, remedy) } else { warning(name, found, remedy) }
}

fn jailed(jailed: &Jailed, findings: &mut Vec<Finding>) {
    let Jailed { children_max, children, enforce_statfs, forbidden } = jailed;
    findings.push(match children_max.saturating_sub(*children) {
        0 => error(
            "children.max",
            format!("this is a jail that may have {children_max} jails, and has {children}"),
            "raise children.max of this jail (jail.conf(5)) on its host",
        ),
        left => ok("children.max", format!("this is a jail that may have {left} more jails")),
    });
    if !forbidden.is_empty() {
        let list = forbidden.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        findings.push(warning(
            "allow.mount",
            format!("this is a jail that may not mount all that containers need: {list}"),
            format!("give this jail {list} (jail.conf(5)) on its host"),
        ));
    }
    if *enforce_statfs > 1 {
        findings.push(warning(
            "enforce_statfs",
            format!("this is a jail with enforce_statfs {enforce_statfs}: it may mount nothing"),
            "set enforce_statfs to 1 for this jail (jail.conf(5)) on its host",
        ));
    }
}

fn linux(system: &Linux, findings: &mut Vec<Finding>) {
    let release = format!("Linux {}, on which jails are emulated and no security boundary", system.release);
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    let mut numbers = system.release.split('.').map(|part| number(part).unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    findings.push(match version >= (5, 12) {
        true => ok("release", release),
        false => error("release", release, "use Linux 5.12 or newer, which has mount_setattr(2)"),
    });
    findings.push(match system.missing_namespaces.as_slice() {
        [] => ok("namespaces", "the kernel has all that jails are made of"),
        missing => error(
            "namespaces",
            format!("the kernel has no namespaces of: {}", missing.join(", ")),
            "use a kernel with CONFIG_NAMESPACES and all below it",
        ),
    });
    findings.push(cgroups(system.cgroups.as_ref()));
    findings.push(match system.overlay {
        Some(true) => ok("overlay", "the kernel has overlay mounts"),
        Some(false) => {
            warning("overlay", "the kernel has no overlay: images of engines cannot be mounted", "modprobe overlay")
        }
        None => warning("overlay", "only root can ask for file systems", "run doctor as root"),
    });
    findings.push(match system.pairs {
        Some(true) => ok("veth", "jails can have addresses of their own"),
        Some(false) => {
            warning("veth", "no pair of interfaces can be made: ip4=new with addresses is refused", "modprobe veth")
        }
        None => warning("veth", "only root can try to make interfaces", "run doctor as root"),
    });
}

fn cgroups(found: Option<&Cgroups>) -> Finding {
    let none = "limits are refused, and figures are sums over processes";
    match found {
        None => warning("cgroups", format!("none are mounted: {none}"), "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        Some(Cgroups { version, writable: false, .. }) => warning(
            "cgroups",
            format!("version {version} below /sys/fs/cgroup cannot be written: {none}"),
            "run as root, in a container with /sys/fs/cgroup mounted rw",
        ),
        Some(Cgroups { version, missing, .. }) if !missing.is_empty() => {
            let list = missing.join(", ");
            let remedy = match version {
                2 => "free the controllers of the version 1 hierarchies that have them (cgroup_no_v1=all)".to_owned(),
                _ => format!(
                    "mount them below /sys/fs/cgroup: mount -t cgroup -o NAME cgroup /sys/fs/cgroup/NAME for {list}"
                ),
            };
            warning("cgroups", format!("version {version} lacks: {list}; limits of these are refused"), remedy)
        }
        Some(Cgroups { version, .. }) => ok("cgroups", format!("version {version}: limits hold")),
    }
}

fn state(state: &State) -> Finding {
    match state {
        State::Absent(path) => ok("state", format!("{} is made by the first create", path.display())),
        State::Sound(path) => ok("state", format!("{} is root's alone", path.display())),
        State::Unseen(path) => {
            warning("state", format!("only root can look into {}", path.display()), "run doctor as root")
        }
        State::Refused { path, reason } => {
            let path = path.display();
            error("state", reason.clone(), format!("chown root {path} && chmod 700 {path}"))
        }
    }
}

fn leftovers(abandoned: &[String]) -> Finding {
    match abandoned {
        [] => ok("leftovers", "nothing is abandoned"),
        list => warning("leftovers", list.join("; "), "runj gc"),
    }
}

fn neighbours(facts: &Facts, findings: &mut Vec<Finding>) {
    let Installed { this, runj, shim, ocijail, podman, conmon, containerd, podman_runtime, go_runj } = &facts.installed;
    let of_engines = podman.is_some() || containerd.is_some();
    match runj {
        Some(other) if other != this => findings.push(warning(
            "runj",
            format!("engines find {}, and this is {}", other.display(), this.display()),
            "make install, or remove the other one",
        )),
        None if of_engines => findings.push(warning(
            "runj",
            "engines find no runj in the usual directories",
            format!("make install, or name {} in the engine's configuration", this.display()),
        )),
        _ => findings.push(ok("runj", format!("this is {}", this.display()))),
    }
    if !go_runj.is_empty() {
        findings.push(warning(
            "Go runj",
            format!("left containers below /var/lib/runj/jails: {}", go_runj.join(", ")),
            "delete them with that runj, which this one knows nothing of, or remove their jails and directories",
        ));
    }
    if podman.is_some() {
        findings.push(match (conmon, podman_runtime, ocijail) {
            (None, ..) => warning("podman", "is there without conmon, which it needs", "install conmon"),
            (_, Some(runtime), _) => ok("podman", format!("its runtime is {runtime} (containers.conf)")),
            (_, None, Some(ocijail)) if runj.is_some() => warning(
                "podman",
                format!("prefers runj to {}, since no runtime is set", ocijail.display()),
                "set runtime = \"runj\" or \"ocijail\" below [engine] in containers.conf",
            ),
            _ => ok("podman", "no runtime is set in containers.conf; it takes the first that it knows"),
        });
    }
    if containerd.is_some() {
        findings.push(match shim {
            Some(shim) => ok("containerd", format!("finds {} (runtime wtf.sbk.runj.v1)", shim.display())),
            None => warning(
                "containerd",
                "finds no containerd-shim-runj-v1",
                "make install, which puts the shim beside runj",
            ),
        });
    }
}

#[cfg(test)]
mod tests;

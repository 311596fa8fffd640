use std::collections::BTreeSet;

use super::*;
use crate::sys::examination::MODULES;

fn facts(system: Examination) -> Facts {
    Facts {
        root: true,
        system,
        state: State::Sound("/var/run/runj".into()),
        abandoned: Vec::new(),
        installed: Installed { this: "/usr/local/bin/runj".into(), ..Installed::default() },
    }
}

fn sound_freebsd() -> Freebsd {
    Freebsd {
        release: "14.1-RELEASE".into(),
        osreldate: 1_401_000,
        vnet: true,
        accounting: Accounting::On,
        modules: MODULES.iter().map(|&name| (name, Module::Loadable)).collect(),
        devfs_rules: Some(true),
        securelevel: -1,
        jailed: None,
    }
}

fn sound_linux() -> Linux {
    Linux {
        release: "6.1.0-18-amd64".into(),
        missing_namespaces: Vec::new(),
        cgroups: Some(Cgroups { version: 2, writable: true, missing: Vec::new() }),
        overlay: Some(true),
        pairs: Some(true),
    }
}

/// The only finding that is not ok, as `CHECK LEVEL FOUND -> REMEDY`; or nothing.
fn complaint(facts: &Facts) -> String {
    let findings = diagnose(facts);
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert!(bad.len() < 2, "{bad:?}");
    assert!(bad.iter().all(|finding| finding.remedy.is_some()));
    bad.first().map_or(String::new(), |finding| {
        let Finding { check, level, found, remedy, .. } = finding;
        format!("{check} {level:?} {found} -> {}", remedy.as_deref().unwrap_or_default()).to_lowercase()
    })
}

#[test]
fn a_sound_machine_is_sound() {
    assert_eq!(complaint(&facts(Examination::Freebsd(sound_freebsd()))), "");
    assert_eq!(complaint(&facts(Examination::Linux(sound_linux()))), "");
    let absent = Facts { state: State::Absent("/x".into()), ..facts(Examination::Linux(sound_linux())) };
    assert_eq!(complaint(&absent), "");
}

type Change<T> = fn(&mut T);

fn absent(system: &mut Freebsd, name: &'static str) {
    system.modules.insert(name, Module::Absent);
}

const OF_FREEBSD: &[(Change<Freebsd>, &str)] = &[
    (
        |it: &mut Freebsd| it.osreldate = 1_104_000,
        "release error freebsd 14.1-release (1104000) -> use freebsd 13.2 or newer",
    ),
    (|it: &mut Freebsd| it.osreldate = 1_201_517, "release warning freebsd 14.1-release (1201517): files cannot"),
    (|it: &mut Freebsd| it.vnet = false, "vnet warning the kernel is built without vimage: no vnet -> use generic"),
    (
        |it: &mut Freebsd| it.accounting = Accounting::Off,
        "racct warning kern.racct.enable is 0: the kernel accounts no resources",
    ),
    (|it: &mut Freebsd| it.accounting = Accounting::Off, "-> set kern.racct.enable=1 in /boot/loader.conf and reboot"),
    (|it: &mut Freebsd| it.accounting = Accounting::Absent, "-> use generic, or build with options racct and rctl"),
    (|it: &mut Freebsd| absent(it, "nullfs"), "nullfs error the kernel has none -> install the kernel's"),
    (|it: &mut Freebsd| absent(it, "linprocfs"), "linprocfs warning the kernel has none"),
    (|it: &mut Freebsd| it.devfs_rules = Some(false), "devfs rules warning no devfs rules are loaded"),
    (|it: &mut Freebsd| it.devfs_rules = Some(false), "-> service devfs start"),
    (
        |it: &mut Freebsd| it.devfs_rules = None,
        "devfs rules warning devfs cannot be asked for its rules -> run doctor as root",
    ),
    (
        |it: &mut Freebsd| it.jailed = Some(Jailed { children_max: 2, children: 2, ..Jailed::default() }),
        "children.max error this is a jail that may have 2 jails, and has 2 -> raise children.max",
    ),
    (
        |it: &mut Freebsd| {
            it.jailed = Some(Jailed {
                children_max: 1,
                forbidden: ["allow.mount.tmpfs".to_owned()].into(),
                ..Jailed::default()
            })
        },
        "allow.mount warning this is a jail that may not mount all that containers need: allow.mount.tmpfs -> give this jail",
    ),
    (
        |it: &mut Freebsd| it.jailed = Some(Jailed { children_max: 1, enforce_statfs: 2, ..Jailed::default() }),
        "enforce_statfs warning this is a jail with enforce_statfs 2: it may mount nothing -> set enforce_statfs to 1",
    ),
];

#[test]
fn what_freebsd_lacks_is_said() {
    for (change, words) in OF_FREEBSD {
        let complaint = complaint(&of_freebsd(*change));
        assert!(complaint.contains(words), "{complaint}");
    }
}

fn of_freebsd(change: Change<Freebsd>) -> Facts {
    let mut system = sound_freebsd();
    change(&mut system);
    facts(Examination::Freebsd(system))
}

fn secure(system: &mut Freebsd) {
    system.securelevel = 1;
    system.modules = [("tmpfs", Module::Loadable), ("pf", Module::Loaded)].into();
}

#[test]
fn at_a_securelevel_nothing_is_loaded_any_more() {
    let findings = diagnose(&of_freebsd(secure));
    let of = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap();
    assert_eq!((of("tmpfs").level, of("pf").level, of("securelevel").level), (Level::Error, Level::Ok, Level::Warning));
    assert_eq!(of("tmpfs").remedy.as_deref(), Some("set tmpfs_load=YES in /boot/loader.conf and reboot"));
    assert!(of("securelevel").found.contains("kern.securelevel is 1"));
}

const OF_LINUX: &[(Change<Linux>, &str)] = &[
    (|it: &mut Linux| it.release = "5.11.3".into(), "release error linux 5.11.3, on which jails are emulated"),
    (|it: &mut Linux| it.missing_namespaces = vec!["ipc"], "namespaces error the kernel has no namespaces of: ipc ->"),
    (|it: &mut Linux| it.cgroups = None, "cgroups warning none are mounted: limits are refused"),
    (
        |it: &mut Linux| it.cgroups = Some(Cgroups { version: 1, writable: false, missing: vec![] }),
        "cgroups warning version 1 below /sys/fs/cgroup cannot be written",
    ),
    (
        |it: &mut Linux| it.cgroups = Some(Cgroups { version: 1, writable: true, missing: vec!["pids"] }),
        "cgroups warning version 1 lacks: pids; limits of these are refused -> mount them",
    ),
    (
        |it: &mut Linux| it.cgroups = Some(Cgroups { version: 2, writable: true, missing: vec!["cpu"] }),
        "cgroups warning version 2 lacks: cpu; limits of these are refused -> free the controllers",
    ),
    (
        |it: &mut Linux| it.overlay = Some(false),
        "overlay warning the kernel has no overlay: images of engines cannot be mounted -> modprobe",
    ),
    (|it: &mut Linux| it.overlay = None, "overlay warning only root can ask"),
    (|it: &mut Linux| it.pairs = Some(false), "veth warning no pair of interfaces can be made"),
    (|it: &mut Linux| it.pairs = None, "veth warning only root can try"),
];

#[test]
fn what_linux_lacks_is_said() {
    for (change, words) in OF_LINUX {
        let complaint = complaint(&of_linux(*change));
        assert!(complaint.contains(words), "{complaint}");
    }
}

fn of_linux(change: Change<Linux>) -> Facts {
    let mut system = sound_linux();
    change(&mut system);
    facts(Examination::Linux(system))
}

const OF_ALL: &[(Change<Facts>, &str)] = &[
    (
        |it: &mut Facts| it.root = false,
        "root error runj does not run as root, whose making and entering jails is -> run it as root",
    ),
    (
        |it: &mut Facts| it.state = State::Refused { path: "/x".into(), reason: "others may write".into() },
        "state error others may write -> chown root /x && chmod 700 /x",
    ),
    (
        |it: &mut Facts| it.state = State::Unseen("/x".into()),
        "state warning only root can look into /x -> run doctor as root",
    ),
    (
        |it: &mut Facts| it.abandoned = vec!["container a: it is of an earlier boot".into()],
        "leftovers warning container a: it is of an earlier boot -> runj gc",
    ),
    (
        |it: &mut Facts| it.installed.runj = Some("/usr/bin/runj".into()),
        "runj warning engines find /usr/bin/runj, and this is /usr/local/bin/runj",
    ),
    (
        |it: &mut Facts| {
            it.installed.containerd = Some("/c".into());
            it.installed.shim = Some("/s".into());
        },
        "runj warning engines find no runj",
    ),
    (
        |it: &mut Facts| it.installed.go_runj = vec!["web".into()],
        "go runj warning left containers below /var/lib/runj/jails: web",
    ),
    (
        |it: &mut Facts| {
            podman(it);
            it.installed.conmon = None;
        },
        "podman warning is there without conmon, which it needs -> install conmon",
    ),
    (
        |it: &mut Facts| {
            podman(it);
            it.installed.ocijail = Some("/o".into());
        },
        "podman warning prefers runj to /o, since no runtime is set",
    ),
    (
        |it: &mut Facts| {
            podman(it);
            it.installed.containerd = Some("/c".into());
        },
        "containerd warning finds no containerd-shim-runj-v1",
    ),
    (
        |it: &mut Facts| {
            podman(it);
            it.installed.podman_runtime = Some("runj".into());
            it.installed.ocijail = Some("/o".into());
        },
        "",
    ),
];

#[test]
fn what_surrounds_runj_is_looked_at() {
    for (change, words) in OF_ALL {
        let complaint = complaint(&of_all(*change));
        assert!(complaint.contains(words) && complaint.is_empty() == words.is_empty(), "{complaint}");
    }
}

fn of_all(change: Change<Facts>) -> Facts {
    let mut facts = facts(Examination::Freebsd(sound_freebsd()));
    change(&mut facts);
    facts
}

fn podman(facts: &mut Facts) {
    facts.installed.podman = Some("/p".into());
    facts.installed.conmon = Some("/m".into());
    facts.installed.runj = Some(facts.installed.this.clone());
}

/// Every warning and error of the source is what some condition above leads to.
#[test]
fn every_complaint_has_its_condition() {
    let conditions = OF_FREEBSD.iter().map(|(change, _)| of_freebsd(*change));
    let conditions = conditions.chain(OF_LINUX.iter().map(|(change, _)| of_linux(*change)));
    let conditions = conditions.chain(OF_ALL.iter().map(|(change, _)| of_all(*change))).chain([of_freebsd(secure)]);
    let findings = conditions.flat_map(|facts| diagnose(&facts));
    let seen: BTreeSet<u32> =
        findings.filter(|finding| finding.level != Level::Ok).map(|finding| finding.line).collect();
    let makes = |line: &str| {
        let call = |name: &str| line.match_indices(name).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric));
        (call("warning(") || call("error(")) && !line.contains("fn ") && !line.contains("..warning(")
    };
    let made: BTreeSet<u32> =
        include_str!("mod.rs").lines().zip(1..).filter(|(line, _)| makes(line)).map(|(_, number)| number).collect();
    let untested: Vec<_> = made.difference(&seen).collect();
    assert!(untested.is_empty(), "no test makes the condition of: runj/src/doctor/mod.rs lines {untested:?}");
    assert!(seen.is_subset(&made) && made.len() > 25, "{seen:?} {made:?}");
}

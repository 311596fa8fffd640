use rstest::rstest;

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
        let Finding { check, level, found, remedy } = finding;
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

#[rstest]
#[case(|it: &mut Freebsd| it.osreldate = 1_104_000, "release error freebsd 14.1-release (1104000) -> use freebsd 13.2 or newer")]
#[case(|it: &mut Freebsd| it.osreldate = 1_201_517, "release warning freebsd 14.1-release (1201517): files cannot")]
#[case(|it: &mut Freebsd| it.vnet = false, "vnet warning the kernel is built without vimage: no vnet -> use generic")]
#[case(|it: &mut Freebsd| it.accounting = Accounting::Off, "racct warning kern.racct.enable is 0: the kernel accounts no resources")]
#[case(|it: &mut Freebsd| it.accounting = Accounting::Off, "-> set kern.racct.enable=1 in /boot/loader.conf and reboot")]
#[case(|it: &mut Freebsd| it.accounting = Accounting::Absent, "-> use generic, or build with options racct and rctl")]
#[case(|it: &mut Freebsd| absent(it, "nullfs"), "nullfs error the kernel has none -> install the kernel's")]
#[case(|it: &mut Freebsd| absent(it, "linprocfs"), "linprocfs warning the kernel has none")]
#[case(|it: &mut Freebsd| it.devfs_rules = Some(false), "devfs rules warning no devfs rules are loaded")]
#[case(|it: &mut Freebsd| it.devfs_rules = Some(false), "-> service devfs start")]
#[case(|it: &mut Freebsd| it.devfs_rules = None, "devfs rules warning devfs cannot be asked for its rules -> run doctor as root")]
#[case(|it: &mut Freebsd| it.jailed = Some(Jailed { children_max: 2, children: 2, ..Jailed::default() }),
    "children.max error this is a jail that may have 2 jails, and has 2 -> raise children.max")]
#[case(|it: &mut Freebsd| it.jailed = Some(Jailed { children_max: 1, forbidden: ["allow.mount.tmpfs".to_owned()].into(), ..Jailed::default() }),
    "allow.mount warning this is a jail that may not mount all that containers need: allow.mount.tmpfs -> give this jail")]
#[case(|it: &mut Freebsd| it.jailed = Some(Jailed { children_max: 1, enforce_statfs: 2, ..Jailed::default() }),
    "enforce_statfs warning this is a jail with enforce_statfs 2: it may mount nothing -> set enforce_statfs to 1")]
fn what_freebsd_lacks_is_said(#[case] change: Change<Freebsd>, #[case] words: &str) {
    let mut system = sound_freebsd();
    change(&mut system);
    let complaint = complaint(&facts(Examination::Freebsd(system)));
    assert!(complaint.contains(words), "{complaint}");
}

#[test]
fn at_a_securelevel_nothing_is_loaded_any_more() {
    let mut system = sound_freebsd();
    system.securelevel = 1;
    system.modules = [("tmpfs", Module::Loadable), ("pf", Module::Loaded)].into();
    let findings = diagnose(&facts(Examination::Freebsd(system)));
    let of = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap();
    assert_eq!((of("tmpfs").level, of("pf").level, of("securelevel").level), (Level::Error, Level::Ok, Level::Warning));
    assert_eq!(of("tmpfs").remedy.as_deref(), Some("set tmpfs_load=YES in /boot/loader.conf and reboot"));
    assert!(of("securelevel").found.contains("kern.securelevel is 1"));
}

#[rstest]
#[case(|it: &mut Linux| it.release = "5.11.3".into(), "release error linux 5.11.3, on which jails are emulated")]
#[case(|it: &mut Linux| it.missing_namespaces = vec!["ipc"], "namespaces error the kernel has no namespaces of: ipc ->")]
#[case(|it: &mut Linux| it.cgroups = None, "cgroups warning none are mounted: limits are refused")]
#[case(|it: &mut Linux| it.cgroups = Some(Cgroups { version: 1, writable: false, missing: vec![] }),
    "cgroups warning version 1 below /sys/fs/cgroup cannot be written")]
#[case(|it: &mut Linux| it.cgroups = Some(Cgroups { version: 1, writable: true, missing: vec!["pids"] }),
    "cgroups warning version 1 lacks: pids; limits of these are refused -> mount them")]
#[case(|it: &mut Linux| it.cgroups = Some(Cgroups { version: 2, writable: true, missing: vec!["cpu"] }),
    "cgroups warning version 2 lacks: cpu; limits of these are refused -> free the controllers")]
#[case(|it: &mut Linux| it.overlay = Some(false), "overlay warning the kernel has no overlay: images of engines cannot be mounted -> modprobe")]
#[case(|it: &mut Linux| it.overlay = None, "overlay warning only root can ask")]
#[case(|it: &mut Linux| it.pairs = Some(false), "veth warning no pair of interfaces can be made")]
#[case(|it: &mut Linux| it.pairs = None, "veth warning only root can try")]
fn what_linux_lacks_is_said(#[case] change: Change<Linux>, #[case] words: &str) {
    let mut system = sound_linux();
    change(&mut system);
    let complaint = complaint(&facts(Examination::Linux(system)));
    assert!(complaint.contains(words), "{complaint}");
}

#[rstest]
#[case(|it: &mut Facts| it.root = false, "root error runj does not run as root, whose making and entering jails is -> run it as root")]
#[case(|it: &mut Facts| it.state = State::Refused { path: "/x".into(), reason: "others may write".into() },
    "state error others may write -> chown root /x && chmod 700 /x")]
#[case(|it: &mut Facts| it.state = State::Unseen("/x".into()), "state warning only root can look into /x -> run doctor as root")]
#[case(|it: &mut Facts| it.abandoned = vec!["container a: it is of an earlier boot".into()],
    "leftovers warning container a: it is of an earlier boot -> runj gc")]
#[case(|it: &mut Facts| it.installed.runj = Some("/usr/bin/runj".into()), "runj warning engines find /usr/bin/runj, and this is /usr/local/bin/runj")]
#[case(|it: &mut Facts| { it.installed.containerd = Some("/c".into()); it.installed.shim = Some("/s".into()); }, "runj warning engines find no runj")]
#[case(|it: &mut Facts| it.installed.go_runj = vec!["web".into()], "go runj warning left containers below /var/lib/runj/jails: web")]
#[case(|it: &mut Facts| { podman(it); it.installed.conmon = None; }, "podman warning is there without conmon, which it needs -> install conmon")]
#[case(|it: &mut Facts| { podman(it); it.installed.ocijail = Some("/o".into()); }, "podman warning prefers runj to /o, since no runtime is set")]
#[case(|it: &mut Facts| { podman(it); it.installed.containerd = Some("/c".into()); }, "containerd warning finds no containerd-shim-runj-v1")]
#[case(|it: &mut Facts| { podman(it); it.installed.podman_runtime = Some("runj".into()); it.installed.ocijail = Some("/o".into()); }, "")]
fn what_surrounds_runj_is_looked_at(#[case] change: Change<Facts>, #[case] words: &str) {
    let mut facts = facts(Examination::Freebsd(sound_freebsd()));
    change(&mut facts);
    let complaint = complaint(&facts);
    assert!(complaint.contains(words) && complaint.is_empty() == words.is_empty(), "{complaint}");
}

fn podman(facts: &mut Facts) {
    facts.installed.podman = Some("/p".into());
    facts.installed.conmon = Some("/m".into());
    facts.installed.runj = Some(facts.installed.this.clone());
}

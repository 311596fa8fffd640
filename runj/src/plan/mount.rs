//! Mounts: types and options of all dialects become [`MountRequest`]s. Pure.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{device, linux};
use crate::config::{Config, Mount, Problem};
use crate::sys::jail::{HostFacts, System};
use crate::sys::mount::{DeviceRule, MountFlags, MountRequest};

/// One mount of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountStep {
    /// Where in the container: absolute, without dots; links in it are followed beneath the root when it is made.
    pub destination: PathBuf,
    /// What. devfs rules in it ask for a private ruleset.
    #[serde(flatten)]
    pub request: MountRequest,
}

/// What Linux mounts by default and FreeBSD has no counterpart of.
const LINUX_ONLY: &[&str] = &["devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs"];

/// Options that say what is so anyway, or nothing to these file systems.
const WITHOUT_EFFECT: &[&str] = &[
    "bind",
    "rw",
    "dev",
    "suid",
    "exec",
    "atime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
    "notmpcopyup",
    "defaults",
    "symfollow",
];

/// Options that become a part of the mount, and what they do.
const FLAGS: &[(&str, &str)] = &[
    ("ro", "read-only"),
    ("rdonly", "read-only"),
    ("noexec", "no program in it is executed"),
    ("nosuid", "set-id bits have no effect"),
    ("nodev", "FreeBSD has device nodes in devfs alone"),
    ("noatime", "access times are not kept"),
    ("nosymfollow", "links in it are not followed"),
    ("rbind", "nullfs; what is mounted below is shown by the emulation alone"),
    ("tmpcopyup", "the tmpfs begins with a copy of what it lies over"),
];

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionFate {
    /// It says what is so anyway.
    WithoutEffect,
    /// It becomes a part of the mount.
    Own(&'static str),
    /// It is handed to the file system.
    FileSystem,
}

/// What becomes of an option that was not refused.
pub fn option_fate(option: &str, fstype: &str) -> OptionFate {
    let key = option.split_once('=').map_or(option, |(key, _)| key);
    match FLAGS.iter().find(|(name, _)| *name == option) {
        _ if WITHOUT_EFFECT.contains(&option) => OptionFate::WithoutEffect,
        Some((_, effect)) => OptionFate::Own(effect),
        None if fstype == "devfs" && key == "ruleset" => OptionFate::Own("the ruleset of the mount"),
        None if fstype == "devfs" && key == "rule" => OptionFate::Own("a rule of the mount's private ruleset"),
        None => OptionFate::FileSystem,
    }
}

/// The options that are understood for every file system, sorted; others are handed to the file system.
pub fn known_options() -> Vec<&'static str> {
    let mut options: Vec<_> = FLAGS.iter().map(|(name, _)| name).chain(WITHOUT_EFFECT).copied().collect();
    options.sort_unstable();
    options
}

/// The mounts, in the bundle's order.
pub fn plan(config: &Config, bundle: &Path, facts: &HostFacts, problems: &mut Vec<Problem>) -> Vec<MountStep> {
    let mut devices = device::device_rules(config, problems);
    if facts.system == System::Linux {
        devices.extend(linux::device_rules(config, problems));
    }
    let mut steps = Vec::with_capacity(config.mounts.len());
    let mut devices_placed = devices.is_empty();
    for (index, mount) in config.mounts.iter().enumerate() {
        let property = format!("mounts[{index}]");
        let Some(destination) = destination(mount, &property, problems) else { continue };
        let Some(mut fstype) = fstype(mount, facts.system) else { continue };
        if !fstype.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            problems
                .push(Problem::new(format!("{property}.type"), format!("{fstype:?} is not the name of a file system")));
        }
        // Bundles for Linux count on the runtime for the nodes in it (runtime-spec, config-linux.md "Default Devices").
        let bare = facts.system == System::Linux && fstype == "tmpfs" && destination == Path::new("/dev");
        if bare {
            "devfs".clone_into(&mut fstype);
        }
        let mut request = request(mount, fstype, bundle, &property, problems);
        if bare {
            request.options.clear();
        }
        if request.fstype == "devfs" && destination == Path::new("/dev") && !devices_placed {
            if request.rules.is_empty() {
                request.rules = base_rules(request.ruleset.take());
            }
            request.rules.extend(devices.iter().cloned());
            devices_placed = true;
        }
        steps.push(MountStep { destination, request });
    }
    if !devices_placed {
        let property = if config.devices.is_empty() { "linux.devices" } else { "freebsd.devices" };
        problems.push(Problem::new(property, "needs a devfs mount on /dev"));
    }
    steps
}

fn destination(mount: &Mount, property: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if mount.id_mappings {
        let message = "ids cannot be mapped: no file system of FreeBSD does that";
        problems.push(Problem::new(format!("{property}.uidMappings, {property}.gidMappings"), message));
    }
    let property = format!("{property}.destination");
    if !mount.destination.is_absolute() {
        problems.push(Problem::new(property, format!("{} is not an absolute path", mount.destination.display())));
        return None;
    }
    // `..` is resolved when links are: /a/../b is not /b where /a is a link.
    let normal: PathBuf = mount.destination.components().filter(|part| *part != Component::CurDir).collect();
    if normal == Path::new("/") {
        problems.push(Problem::new(property, "the root itself cannot be mounted over: use root.path"));
        return None;
    }
    Some(normal)
}

/// The type; none for a mount that this system leaves out.
pub(super) fn fstype(mount: &Mount, system: System) -> Option<String> {
    let bind = mount.options.iter().any(|option| option == "bind" || option == "rbind");
    let fstype = match mount.fstype.as_deref() {
        None | Some("" | "none" | "bind" | "rbind") => "nullfs",
        Some(_) if bind => "nullfs",
        Some(name) => name,
    };
    match (system, fstype) {
        (System::Freebsd, "proc") => Some("linprocfs".to_owned()),
        (System::Freebsd, "sysfs") => Some("linsysfs".to_owned()),
        (System::Freebsd, name) if LINUX_ONLY.contains(&name) => None,
        (_, name) => Some(name.to_owned()),
    }
}

fn request(mount: &Mount, fstype: String, bundle: &Path, property: &str, problems: &mut Vec<Problem>) -> MountRequest {
    let mut request = MountRequest {
        source: source(mount, &fstype, bundle, property, problems),
        fstype,
        flags: MountFlags::default(),
        options: Vec::new(),
        ruleset: None,
        rules: Vec::new(),
        copy_up: false,
    };
    let mut rules = Vec::new();
    let mut explicit_ruleset = false;
    for (index, option) in mount.options.iter().enumerate() {
        let mut refuse = |message: String| problems.push(Problem::new(format!("{property}.options[{index}]"), message));
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option.as_str(), None),
        };
        match (key, value) {
            ("ro" | "rdonly", None) => request.flags.read_only = true,
            ("noexec", None) => request.flags.no_exec = true,
            ("nosuid", None) => request.flags.no_suid = true,
            ("nodev", None) => request.flags.no_dev = true,
            ("noatime", None) => request.flags.no_atime = true,
            ("nosymfollow", None) => request.flags.no_symfollow = true,
            ("rbind", None) => request.flags.recursive = true,
            ("idmap" | "ridmap", None) => refuse(format!("{key} is not supported: no file system maps ids")),
            ("tmpcopyup", None) if request.fstype == "tmpfs" => request.copy_up = true,
            ("tmpcopyup", None) => refuse("tmpcopyup is an option of tmpfs".to_owned()),
            ("ruleset", Some(number)) if request.fstype == "devfs" => match number.parse() {
                Ok(number) => {
                    request.ruleset = Some(number);
                    explicit_ruleset = true;
                }
                Err(_) => refuse(format!("ruleset={number}: not a number of a ruleset (0 to 65535)")),
            },
            ("rule", Some(text)) if request.fstype == "devfs" => match device::parse_rule(text) {
                Ok(rule) => rules.push(rule),
                Err(message) => refuse(format!("rule={text}: {message}")),
            },
            ("size", Some(text)) if request.fstype == "tmpfs" && !is_size(text) => {
                refuse(format!("size={text}: not a size (1048576, 64k, 16m, 1g)"));
            }
            ("mode", Some(text)) if request.fstype == "tmpfs" && u16::from_str_radix(text, 8).is_err() => {
                refuse(format!("mode={text}: not an octal mode"));
            }
            ("", _) => refuse(format!("{option:?} has no name")),
            (name, None) if WITHOUT_EFFECT.contains(&name) => {}
            (key, value) => request.options.push((key.to_owned(), value.map(str::to_owned))),
        }
    }
    if request.fstype == "devfs" && (!explicit_ruleset || !rules.is_empty()) {
        request.rules = base_rules(request.ruleset.take());
        request.rules.extend(rules);
    }
    request
}

/// The beginning of a private ruleset: what the named one shows, or the basic nodes. Ruleset 0 shows every node.
fn base_rules(ruleset: Option<u16>) -> Vec<DeviceRule> {
    match ruleset {
        None => device::basic_rules(),
        Some(0) => vec![DeviceRule { visible: Some(true), ..DeviceRule::default() }],
        Some(number) => vec![DeviceRule { include: Some(number), ..DeviceRule::default() }],
    }
}

fn source(mount: &Mount, fstype: &str, bundle: &Path, property: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if fstype != "nullfs" {
        return mount.source.clone();
    }
    match &mount.source {
        None => {
            problems.push(Problem::new(format!("{property}.source"), "missing: what is to be mounted?"));
            None
        }
        Some(source) if source.as_os_str().is_empty() => {
            problems.push(Problem::new(format!("{property}.source"), "is empty"));
            None
        }
        // A relative source is relative to the bundle (runtime-spec, config.md "Mounts").
        Some(source) => Some(bundle.join(source)),
    }
}

/// tmpfs takes what is not a size for "unlimited", so it is refused here.
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', '%']);
    !digits.is_empty() && text.len() - digits.len() <= 1 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::{plan_with, problems};
    use super::*;

    fn steps(mounts: &str) -> Vec<MountStep> {
        plan_with(&format!(r#","mounts":[{mounts}]"#), &facts::freebsd14()).unwrap().mounts
    }

    #[test]
    fn a_bind_is_a_nullfs_mount() {
        let step =
            &steps(r#"{"destination":"/a","type":"bind","source":"data","options":["rbind","ro","nodev","private"]}"#)
                [0];
        assert_eq!(step.request.fstype, "nullfs");
        assert_eq!(step.request.source.as_deref(), Some(Path::new("/bundle/data")));
        let flags = MountFlags { read_only: true, no_dev: true, recursive: true, ..MountFlags::default() };
        assert_eq!(step.request.flags, flags);
        assert_eq!(step.request.options, []);
    }

    #[test]
    fn unknown_options_reach_the_file_system() {
        let step =
            &steps(r#"{"destination":"/t","type":"tmpfs","options":["size=4m","mode=1777","inodes=9","huge"]}"#)[0];
        let keys: Vec<&str> = step.request.options.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["size", "mode", "inodes", "huge"]);
    }

    #[test]
    fn known_options_do_not_reach_the_file_system() {
        for option in known_options() {
            let mount =
                |fstype| format!(r#"{{"destination":"/t","type":"{fstype}","source":"/s","options":["{option}"]}}"#);
            let fstype = if option.ends_with("tmpcopyup") { "tmpfs" } else { "nullfs" };
            assert_eq!(steps(&mount(fstype))[0].request.options, [], "{option}");
        }
    }

    #[test]
    fn devfs_is_private_unless_a_ruleset_is_named() {
        let private = &steps(r#"{"destination":"/dev","type":"devfs"}"#)[0].request;
        assert_eq!(private.rules[0].visible, Some(false));
        assert_eq!(private.ruleset, None);
        let named = &steps(r#"{"destination":"/dev","type":"devfs","options":["ruleset=4"]}"#)[0].request;
        assert_eq!((named.ruleset, named.rules.len()), (Some(4), 0));
        let both = r#"{"destination":"/dev","type":"devfs","options":["ruleset=4","rule=path tun0 unhide"]}"#;
        let both = &steps(both)[0].request;
        assert_eq!((both.ruleset, both.rules[0].include, both.rules.len()), (None, Some(4), 2));
    }

    #[test]
    fn devices_go_to_dev() {
        let extra = r#","mounts":[{"destination":"/dev","type":"devfs","options":["ruleset=4"]}],
            "freebsd":{"devices":[{"path":"/dev/dri/card0","mode":432}]}"#;
        let request = plan_with(extra, &facts::freebsd14()).unwrap().mounts.remove(0).request;
        let paths: Vec<Option<&str>> = request.rules.iter().map(|rule| rule.path.as_deref()).collect();
        assert_eq!(paths, [None, Some("dri"), Some("dri/card0")]);
        assert_eq!(request.rules[2].mode, Some(0o660));
    }

    #[test]
    fn what_linux_mounts_by_default() {
        let list = steps(
            r#"{"destination":"/proc","type":"proc","source":"proc"},
            {"destination":"/dev/pts","type":"devpts"},{"destination":"/sys","type":"sysfs"}"#,
        );
        let types: Vec<&str> = list.iter().map(|step| step.request.fstype.as_str()).collect();
        assert_eq!(types, ["linprocfs", "linsysfs"]);
    }

    #[rstest]
    #[case(r#"{"destination":"a","type":"tmpfs"}"#, "mounts[0].destination: a is not an absolute path")]
    #[case(r#"{"destination":"/","type":"tmpfs"}"#, "the root itself")]
    #[case(r#"{"destination":"/a","type":"nullfs"}"#, "mounts[0].source: missing")]
    #[case(r#"{"destination":"/a","type":"tmpfs","options":["size=big"]}"#, "size=big: not a size")]
    #[case(r#"{"destination":"/a","type":"tmpfs","options":["mode=9"]}"#, "mode=9: not an octal mode")]
    #[case(r#"{"destination":"/a","type":"devfs","options":["ruleset=x"]}"#, "ruleset=x: not a number")]
    #[case(r#"{"destination":"/a","type":"devfs","options":["rule=x"]}"#, "rule=x: unknown word")]
    #[case(r#"{"destination":"/a","type":"nullfs","source":"/b","options":["idmap"]}"#, "idmap is not supported")]
    #[case(
        r#"{"destination":"/a","type":"nullfs","source":"/b","uidMappings":[{"containerID":0,"hostID":1,"size":1}]}"#,
        "uidMappings"
    )]
    fn bad_mounts(#[case] mount: &str, #[case] message: &str) {
        let error = problems(&format!(r#","mounts":[{mount}]"#));
        assert!(error.contains(message), "{error}");
    }
}

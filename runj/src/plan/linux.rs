//! What bundles for Linux say, in terms of jails, for the emulation alone. Pure.
//!
//! What a jail cannot be is refused: a bundle that asks for it would otherwise run in something else.

use std::path::Path;

use crate::config::{Config, LinuxDevice, Problem};
use crate::sys::mount::DeviceRule;

/// The sysctls that engines set without being asked to.
const UNASKED: [&str; 2] = ["net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"];

/// What `linux.namespaces` wishes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace<'a> {
    /// Nothing: the bundle has no such list.
    Unsaid,
    /// The host's: the list is there, the kind is not in it.
    Host,
    /// One of its own.
    Own,
    /// One that is there.
    At(&'a Path),
}

/// What a bundle wishes of a kind of namespace.
pub fn namespace<'a>(config: &'a Config, kind: &str) -> Namespace<'a> {
    let list = &config.linux.namespaces;
    match list.iter().find(|namespace| namespace.kind == kind) {
        _ if list.is_empty() => Namespace::Unsaid,
        None => Namespace::Host,
        Some(found) => match found.path.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Namespace::At(path),
            None => Namespace::Own,
        },
    }
}

/// Refuses what a jail cannot be.
pub fn check(config: &Config, problems: &mut Vec<Problem>) {
    let mut refuse = |property: &str, message: &str| problems.push(Problem::new(property, message));
    match namespace(config, "pid") {
        Namespace::Host => refuse("linux.namespaces", "without pid: a jail cannot share the processes of the host"),
        Namespace::At(_) => refuse("linux.namespaces", "pid with a path: a jail cannot share another's processes"),
        Namespace::Unsaid | Namespace::Own => {}
    }
    if let Namespace::At(_) = namespace(config, "mount") {
        refuse("linux.namespaces", "mount with a path: a jail has mounts of its own");
    }
    for kind in ["user", "time"] {
        if let Namespace::Own | Namespace::At(_) = namespace(config, kind) {
            refuse("linux.namespaces", &format!("{kind}: jails have nothing like it"));
        }
    }
    for (name, value) in [("chflags", config.jail.allow.chflags), ("quotas", config.jail.allow.quotas)] {
        if value == Some(true) {
            refuse(&format!("freebsd.jail.allow.{name}"), "cannot be given: a capability for it would give more");
        }
    }
    let linux = &config.linux;
    if !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty() {
        refuse("linux.uidMappings, linux.gidMappings", "ids cannot be mapped: jails have nothing like it");
    }
    for name in linux.sysctl.keys().filter(|name| !UNASKED.contains(&name.as_str())) {
        refuse(&format!("linux.sysctl.{name}"), "cannot be set for a jail");
    }
}

/// The rules for `linux.devices`: nodes of the host, by their own names.
pub fn device_rules(config: &Config, problems: &mut Vec<Problem>) -> Vec<DeviceRule> {
    let mut rules = Vec::new();
    for (index, device) in config.linux.devices.iter().enumerate() {
        match device_rule(device) {
            Some(rule) => rules.push(rule),
            None => problems.push(Problem::new(
                format!("linux.devices[{index}]"),
                format!("{} is no node below /dev", device.path.display()),
            )),
        }
    }
    rules
}

fn device_rule(device: &LinuxDevice) -> Option<DeviceRule> {
    let name = device.path.strip_prefix("/dev").ok()?.to_str()?;
    let plain = !name.is_empty() && !name.contains(['*', '?', '[', '\0']) && !name.split('/').any(|part| part == "..");
    (plain && device.kind != "p").then(|| DeviceRule {
        path: Some(name.to_owned()),
        visible: Some(true),
        mode: device.file_mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()),
        uid: device.uid,
        gid: device.gid,
        ..DeviceRule::default()
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::plan_with;
    use crate::sys::jail::{JailSys, ParamValue};

    #[rstest]
    #[case(r#""namespaces":[{"type":"mount"}]"#, "cannot share the processes of the host")]
    #[case(r#""namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]"#, "cannot share another's processes")]
    #[case(r#""namespaces":[{"type":"pid"},{"type":"mount","path":"/x"}]"#, "a jail has mounts of its own")]
    #[case(r#""namespaces":[{"type":"pid"},{"type":"user"}]"#, "user: jails have nothing like it")]
    #[case(r#""uidMappings":[{"containerID":0,"hostID":1,"size":1}]"#, "ids cannot be mapped")]
    #[case(r#""sysctl":{"net.core.somaxconn":"9"}"#, "linux.sysctl.net.core.somaxconn: cannot be set")]
    #[case(r#""devices":[{"path":"/x/fuse","type":"c"}]"#, "linux.devices[0]: /x/fuse is no node below /dev")]
    #[case(r#""devices":[{"path":"/dev/../fuse","type":"c"}]"#, "linux.devices[0]: ")]
    fn what_a_jail_cannot_be_is_refused_by_the_emulation_alone(#[case] linux: &str, #[case] words: &str) {
        let extra = format!(r#","mounts":[{{"destination":"/dev","type":"tmpfs"}}],"linux":{{{linux}}}"#);
        let error = plan_with(&extra, &facts::linux()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(plan_with(&extra, &facts::freebsd14()).is_ok());
    }

    #[rstest]
    #[case(r#"{"type":"pid"}"#, JailSys::Inherit, JailSys::Inherit)]
    #[case(r#"{"type":"pid"},{"type":"network"},{"type":"ipc"}"#, JailSys::Disable, JailSys::New)]
    #[case(r#"{"type":"pid"},{"type":"network","path":"/run/netns/a"}"#, JailSys::Inherit, JailSys::Inherit)]
    fn an_engine_gets_the_spaces_it_lists(#[case] list: &str, #[case] network: JailSys, #[case] ipc: JailSys) {
        let extra = format!(r#","annotations":{{"io.podman.x":""}},"linux":{{"namespaces":[{list}]}}"#);
        let jail = plan_with(&extra, &facts::linux()).unwrap().jail;
        assert_eq!((jail.sys("ip4"), jail.sys("sysvshm")), (Some(network), Some(ipc)));
        let freebsd = plan_with(&extra, &facts::freebsd14()).unwrap().jail;
        assert_eq!((freebsd.sys("ip4"), freebsd.sys("sysvshm")), (Some(JailSys::Inherit), Some(JailSys::New)));
    }

    #[test]
    fn a_tmpfs_on_dev_has_the_nodes_that_the_spec_wants() {
        let extra = r#","mounts":[{"destination":"/dev","type":"tmpfs","options":["nosuid","size=65536k","mode=755"]},
            {"destination":"/dev/shm","type":"tmpfs","options":["size=64000k"]}],
            "linux":{"devices":[{"path":"/dev/net/tun","type":"c","major":10,"minor":200,"fileMode":438}]}"#;
        let plan = plan_with(extra, &facts::linux()).unwrap();
        let (dev, shm) = (&plan.mounts[0].request, &plan.mounts[1].request);
        assert_eq!((dev.fstype.as_str(), dev.options.len(), dev.flags.no_suid), ("devfs", 0, true));
        let last = dev.rules.last().unwrap();
        assert_eq!((last.path.as_deref(), last.mode), (Some("net/tun"), Some(0o666)));
        assert_eq!((shm.fstype.as_str(), shm.options.len()), ("tmpfs", 1));
        let freebsd = plan_with(extra, &facts::freebsd14()).unwrap();
        assert_eq!(freebsd.mounts[0].request.fstype, "tmpfs");
    }

    #[test]
    fn what_engines_always_send_is_no_problem() {
        let extra =
            r#","linux":{"sysctl":{"net.ipv4.ping_group_range":"0 0"},"resources":{"devices":[{"allow":false}]}}"#;
        assert_eq!(plan_with(extra, &facts::linux()).unwrap().warnings, [""; 0]);
        let shares = r#","linux":{"resources":{"cpu":{"shares":5}}}"#;
        let warnings = plan_with(shares, &facts::linux()).unwrap().warnings;
        assert_eq!(warnings, ["linux.resources: not applied, since jails have no such limits: cpu.shares"]);
    }

    #[test]
    fn spaces_of_a_pod_are_joined() {
        let extra = r#","linux":{"namespaces":[{"type":"pid"},{"type":"uts","path":"/proc/7/ns/uts"}]}"#;
        let jail = plan_with(extra, &facts::linux()).unwrap().jail;
        assert_eq!(jail.get("linux.utsns"), Some(&ParamValue::Text("/proc/7/ns/uts".to_owned())));
    }
}

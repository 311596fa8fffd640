//! The parameters of the jail. Pure.
//!
//! What the kernel makes of an unset parameter is not what the host has (unset `ip4` is none, unset `host` is
//! an empty name), so every one that matters is always passed.

use std::collections::BTreeSet;

use crate::config::{Config, Problem};
use crate::id::ContainerId;
use crate::sys::jail::{HostFacts, JailParams, JailSys, ParamValue, System};

use super::linux::{self, Namespace};
use super::net::Network;

/// The longest host name (`MAXHOSTNAMELEN - 1`) and the longest full name of a jail.
const MAX_NAME: usize = 255;

const SYSV: [&str; 3] = ["sysvmsg", "sysvsem", "sysvshm"];

/// The parameters that the plan of a configuration looks for in [`HostFacts::jail_params`].
pub fn asked(config: &Config) -> BTreeSet<String> {
    let jail = &config.jail;
    let flags = jail.allow.flags().into_iter().filter(|(.., value)| value.is_some()).map(|(_, name, _)| name);
    let vnet = (jail.vnet == Some(JailSys::New)).then_some("vnet");
    let mut names: BTreeSet<String> = flags.chain(vnet).chain(SYSV).map(str::to_owned).collect();
    names.extend(jail.allow.mount.iter().map(|fstype| format!("allow.mount.{fstype}")));
    names.extend(jail.parameters.keys().cloned());
    names
}

/// The parameters, in the order in which they are sent.
pub fn plan(
    config: &Config,
    network: &Network,
    id: &ContainerId,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
) -> JailParams {
    let mut params = JailParams::default();
    params.set("name", ParamValue::Text(name(config, id, problems)));
    params.set("path", ParamValue::Root);
    params.set("persist", ParamValue::Flag(true));
    host(config, &mut params, problems);
    stack(config, network, &mut params, facts, problems);
    sysv(config, &mut params, facts, problems);
    statfs_and_allow(config, &mut params, facts, problems);
    parameters(config, &mut params, facts, problems);
    if facts.system == System::Linux {
        namespaces(config, &mut params);
    }
    params
}

fn name(config: &Config, id: &ContainerId, problems: &mut Vec<Problem>) -> String {
    let own = id.jail_name();
    let Some(parent) = &config.jail.parent else { return own };
    if parent.is_empty() || parent.contains(|c: char| c.is_control() || c == '/' || c == ':') {
        problems.push(Problem::new("freebsd.jail.parent", format!("{parent:?} is not the name of a jail")));
    }
    let full = format!("{parent}.{own}");
    if full.len() > MAX_NAME {
        problems.push(Problem::new("freebsd.jail.parent", format!("the jail's name {full} is longer than {MAX_NAME}")));
    }
    full
}

fn host(config: &Config, params: &mut JailParams, problems: &mut Vec<Problem>) {
    for (property, value) in [("hostname", &config.hostname), ("domainname", &config.domainname)] {
        let Some(value) = value else { continue };
        if value.len() > MAX_NAME {
            problems.push(Problem::new(property, format!("longer than {MAX_NAME} bytes")));
        }
        if config.jail.host == Some(JailSys::Inherit) {
            problems.push(Problem::new(property, "contradicts freebsd.jail.host: inherit"));
        }
    }
    let named = config.hostname.is_some() || config.domainname.is_some();
    let mode = match config.jail.host {
        Some(JailSys::Disable) => {
            problems.push(Problem::new("freebsd.jail.host", "is new or inherit"));
            return;
        }
        Some(mode) => mode,
        None if named => JailSys::New,
        // Without a name of its own the jail would have an empty one.
        None => JailSys::Inherit,
    };
    params.set("host", ParamValue::Sys(mode));
    if let Some(hostname) = &config.hostname {
        params.set("host.hostname", ParamValue::Text(hostname.clone()));
    }
    if let Some(domainname) = &config.domainname {
        params.set("host.domainname", ParamValue::Text(domainname.clone()));
    }
}

/// vnet or addresses: a vnet jail cannot have its addresses restricted (kern_jail.c).
fn stack(config: &Config, network: &Network, params: &mut JailParams, facts: &HostFacts, problems: &mut Vec<Problem>) {
    let jail = &config.jail;
    if jail.vnet == Some(JailSys::Disable) {
        problems.push(Problem::new("freebsd.jail.vnet", "is new or inherit"));
    }
    if jail.vnet == Some(JailSys::New) {
        for (property, given) in [
            ("freebsd.jail.ip4", jail.ip4.is_some()),
            ("freebsd.jail.ip4Addr", !network.ip4.is_empty()),
            ("freebsd.jail.ip6", jail.ip6.is_some()),
            ("freebsd.jail.ip6Addr", !network.ip6.is_empty()),
        ] {
            if given {
                problems.push(Problem::new(property, "a vnet jail cannot have IP address restrictions"));
            }
        }
        known("freebsd.jail.vnet", "vnet", "a kernel with options VIMAGE", facts, problems);
        params.set("vnet", ParamValue::Sys(JailSys::New));
        return;
    }
    // The engines' bundles leave the network open and count on the host's; others get none.
    let unset = match facts.system {
        System::Linux if linux::namespace(config, "network") == Namespace::Own => JailSys::Disable,
        _ if config.is_engine_dialect() => JailSys::Inherit,
        _ => JailSys::Disable,
    };
    let mode = |property: &str, given: Option<JailSys>, addresses: usize, problems: &mut Vec<Problem>| match given {
        Some(JailSys::New) if addresses == 0 => {
            problems.push(Problem::new(property, format!("new needs addresses in {property}Addr")));
            JailSys::New
        }
        Some(mode @ (JailSys::Inherit | JailSys::Disable)) if addresses > 0 => {
            problems.push(Problem::new(property, format!("{mode} contradicts {property}Addr")));
            mode
        }
        Some(mode) => mode,
        None if addresses > 0 => JailSys::New,
        None => unset,
    };
    let ip4 = mode("freebsd.jail.ip4", jail.ip4, jail.ip4_addr.len(), problems);
    let ip6 = mode("freebsd.jail.ip6", jail.ip6, jail.ip6_addr.len(), problems);
    params.set("ip4", ParamValue::Sys(ip4));
    if !network.ip4.is_empty() {
        params.set("ip4.addr", ParamValue::Ip4(network.ip4.clone()));
    }
    params.set("ip6", ParamValue::Sys(ip6));
    if !network.ip6.is_empty() {
        params.set("ip6.addr", ParamValue::Ip6(network.ip6.clone()));
    }
}

/// Private System V IPC is the spec's default; where the kernel lacks it, only an explicit wish is an error.
fn sysv(config: &Config, params: &mut JailParams, facts: &HostFacts, problems: &mut Vec<Problem>) {
    let jail = &config.jail;
    let shared = facts.system == System::Linux && linux::namespace(config, "ipc") == Namespace::Host;
    let unset = if shared { JailSys::Inherit } else { JailSys::New };
    for (name, given) in SYSV.into_iter().zip([jail.sysvmsg, jail.sysvsem, jail.sysvshm]) {
        if let Some(mode) = given {
            known(&format!("freebsd.jail.{name}"), name, &format!("the module {name}"), facts, problems);
            params.set(name, ParamValue::Sys(mode));
        } else if facts.jail_params.contains(name) {
            params.set(name, ParamValue::Sys(unset));
        }
    }
}

fn statfs_and_allow(config: &Config, params: &mut JailParams, facts: &HostFacts, problems: &mut Vec<Problem>) {
    let unset = if config.is_engine_dialect() { 1 } else { 2 };
    let level = config.jail.enforce_statfs.unwrap_or(unset);
    match i32::try_from(level) {
        Ok(level @ 0..=2) => params.set("enforce_statfs", ParamValue::Int(level)),
        _ => problems.push(Problem::new("freebsd.jail.enforceStatfs", format!("{level} is none of 0, 1, 2"))),
    }
    let allow = &config.jail.allow;
    for (property, name, value) in allow.flags() {
        let Some(value) = value else { continue };
        known(&format!("freebsd.jail.allow.{property}"), name, "a newer kernel", facts, problems);
        params.set(name, ParamValue::Flag(value));
    }
    // FreeBSD allows it by default, and the name of a jail that inherits is the host's own.
    if allow.set_hostname.is_none() && params.sys("host") == Some(JailSys::Inherit) {
        params.set("allow.set_hostname", ParamValue::Flag(false));
    }
    if allow.mount.is_empty() {
        return;
    }
    if level == 2 {
        problems.push(Problem::new("freebsd.jail.allow.mount", "has no effect with enforceStatfs 2: set 0 or 1"));
    }
    params.set("allow.mount", ParamValue::Flag(true));
    for (index, fstype) in allow.mount.iter().enumerate() {
        let property = format!("freebsd.jail.allow.mount[{index}]");
        let name = format!("allow.mount.{fstype}");
        if known(&property, &name, &format!("the module of {fstype}"), facts, problems) {
            params.set(&name, ParamValue::Flag(true));
        }
    }
}

/// `org.freebsd.jail.PARAMETER` annotations that no property stands for.
fn parameters(config: &Config, params: &mut JailParams, facts: &HostFacts, problems: &mut Vec<Problem>) {
    let given = &config.jail.parameters;
    for (name, text) in given {
        let property = format!("annotations.org.freebsd.jail.{name}");
        if JAIL8.iter().any(|word| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        {
            problems.push(Problem::new(property, "is a parameter of jail(8), and not one of the kernel's"));
            continue;
        }
        if name.starts_with("linux.") {
            problems.push(Problem::new(property, "is decided by linux.namespaces"));
            continue;
        }
        if !known(&property, name, "a newer kernel or a module", facts, problems) {
            continue;
        }
        let Some(value) = parameter(name, text) else {
            problems.push(Problem::new(property, format!("{text:?} is not a value of this parameter")));
            continue;
        };
        let mounts = name == "allow.mount" || name.starts_with("allow.mount.");
        if mounts && value == ParamValue::Flag(true) && params.get("enforce_statfs") == Some(&ParamValue::Int(2)) {
            problems.push(Problem::new(&property, "has no effect with enforceStatfs 2: set 0 or 1"));
        }
        match params.get(name) {
            Some(other) if *other != value => {
                problems.push(Problem::new(property, format!("{text:?} contradicts what else sets {name}")));
            }
            _ => params.set(name, value),
        }
    }
    // One for a file system needs the one for all of them beside it.
    let one =
        |(name, value): &(String, ParamValue)| name.starts_with("allow.mount.") && *value == ParamValue::Flag(true);
    if let Some((name, _)) = params.0.iter().find(|param| one(param)).cloned() {
        match params.get("allow.mount") {
            Some(ParamValue::Flag(false)) => problems.push(Problem::new(
                "annotations.org.freebsd.jail.allow.mount",
                format!("false contradicts {name}, which has no effect without it"),
            )),
            _ => params.set("allow.mount", ParamValue::Flag(true)),
        }
    }
}

/// Parameters of jail(8) that the kernel does not know, and what begins with them.
const JAIL8: [&str; 8] = ["command", "cpuset", "depend", "exec", "ip_hostname", "mount", "stop", "zfs"];

/// The value of a parameter by its name; the kernel tells its type only when it is there.
fn parameter(name: &str, text: &str) -> Option<ParamValue> {
    if name.starts_with("allow.") || name.ends_with(".saddrsel") {
        crate::config::annotations::boolean(text).map(ParamValue::Flag)
    } else if matches!(name, "osrelease" | "host.hostuuid" | "meta" | "env") {
        Some(ParamValue::Text(text.to_owned()))
    } else {
        text.parse().ok().map(ParamValue::Int)
    }
}

/// Namespaces that an engine made for a pod stand for the parent jail, on Linux alone.
fn namespaces(config: &Config, params: &mut JailParams) {
    for (kind, name) in [("network", "linux.netns"), ("ipc", "linux.ipcns"), ("uts", "linux.utsns")] {
        if let Namespace::At(path) = linux::namespace(config, kind) {
            params.set(name, ParamValue::Text(path.to_string_lossy().into_owned()));
        }
    }
}

fn known(property: &str, name: &str, needs: &str, facts: &HostFacts, problems: &mut Vec<Problem>) -> bool {
    let known = facts.jail_params.contains(name);
    if !known {
        problems.push(Problem::new(
            property,
            format!("this kernel does not know the jail parameter {name}: it needs {needs}"),
        ));
    }
    known
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::{plan_with, problems};
    use super::*;

    fn params(extra: &str) -> JailParams {
        plan_with(extra, &facts::freebsd14()).unwrap().jail
    }

    #[test]
    fn a_bundle_is_taken_at_its_word() {
        let params = params("");
        assert_eq!(params.text("name"), Some("c1"));
        assert_eq!(params.sys("host"), Some(JailSys::Inherit));
        assert_eq!(params.sys("ip4"), Some(JailSys::Disable));
        assert_eq!(params.sys("ip6"), Some(JailSys::Disable));
        assert_eq!(params.sys("sysvshm"), Some(JailSys::New));
        assert_eq!(params.get("enforce_statfs"), Some(&ParamValue::Int(2)));
    }

    #[test]
    fn an_engine_gets_what_it_counts_on() {
        let params = params(r#","annotations":{"io.podman.annotations.init":"FALSE"}"#);
        assert_eq!(params.sys("ip4"), Some(JailSys::Inherit));
        assert_eq!(params.get("enforce_statfs"), Some(&ParamValue::Int(1)));
    }

    #[test]
    fn a_child_jail_is_named_below_its_parent() {
        assert_eq!(params(r#","freebsd":{"jail":{"parent":"pod"}}"#).text("name"), Some("pod.c1"));
    }

    #[test]
    fn a_hostname_makes_a_host() {
        let params = params(r#","hostname":"web""#);
        assert_eq!(params.sys("host"), Some(JailSys::New));
        assert_eq!(params.text("host.hostname"), Some("web"));
    }

    #[test]
    fn addresses_mean_new() {
        let params = params(r#","freebsd":{"jail":{"ip4Addr":["10.0.0.1"]}}"#);
        assert_eq!(params.sys("ip4"), Some(JailSys::New));
        assert_eq!(params.sys("ip6"), Some(JailSys::Disable));
    }

    #[test]
    fn vnet_says_nothing_of_addresses() {
        let params = params(r#","freebsd":{"jail":{"vnet":"new"}}"#);
        assert_eq!(params.sys("vnet"), Some(JailSys::New));
        assert_eq!(params.get("ip4"), None);
    }

    #[test]
    fn parameters_of_annotations() {
        let params = params(
            r#","annotations":{"org.freebsd.jail.securelevel":"2","org.freebsd.jail.allow.read_msgbuf":"true"}"#,
        );
        assert_eq!(params.get("securelevel"), Some(&ParamValue::Int(2)));
        assert_eq!(params.get("allow.read_msgbuf"), Some(&ParamValue::Flag(true)));
        let params = plan_with(
            r#","annotations":{"org.freebsd.jail.ip4.saddrsel":"0","org.freebsd.jail.allow.mount.tmpfs":"1",
            "org.freebsd.jail.osrelease":"14.1-RELEASE","org.freebsd.jail.children.max":"3"}"#,
            &facts::freebsd14(),
        );
        let params = params.unwrap().jail;
        assert_eq!(params.get("ip4.saddrsel"), Some(&ParamValue::Flag(false)));
        assert_eq!(params.get("allow.mount"), Some(&ParamValue::Flag(true)));
        assert_eq!(params.text("osrelease"), Some("14.1-RELEASE"));
        assert_eq!(params.get("children.max"), Some(&ParamValue::Int(3)));
    }

    #[test]
    fn a_permission_that_the_kernel_lacks_is_refused() {
        let mut facts = facts::freebsd14();
        facts.jail_params.remove("allow.suser");
        let error = plan_with(r#","freebsd":{"jail":{"allow":{"suser":false}}}"#, &facts).unwrap_err().to_string();
        assert!(error.contains("freebsd.jail.allow.suser: this kernel does not know"), "{error}");
    }

    #[rstest]
    #[case(r#","hostname":"a","freebsd":{"jail":{"host":"inherit"}}"#, "hostname: contradicts freebsd.jail.host")]
    #[case(r#","domainname":"a","freebsd":{"jail":{"host":"inherit"}}"#, "domainname: contradicts")]
    #[case(r#","freebsd":{"jail":{"vnet":"new","ip4Addr":["10.0.0.1"]}}"#, "ip4Addr: a vnet jail cannot have")]
    #[case(r#","freebsd":{"jail":{"vnet":"new","ip6":"inherit"}}"#, "ip6: a vnet jail cannot have")]
    #[case(r#","freebsd":{"jail":{"ip4":"new"}}"#, "ip4: new needs addresses")]
    #[case(r#","freebsd":{"jail":{"ip4":"inherit","ip4Addr":["10.0.0.1"]}}"#, "ip4: inherit contradicts")]
    #[case(r#","freebsd":{"jail":{"enforceStatfs":3}}"#, "enforceStatfs: 3 is none of")]
    #[case(r#","freebsd":{"jail":{"allow":{"mount":["tmpfs"]}}}"#, "allow.mount: has no effect with enforceStatfs 2")]
    #[case(
        r#","freebsd":{"jail":{"enforceStatfs":1,"allow":{"mount":["zfs"]}}}"#,
        "does not know the jail parameter allow.mount.zfs"
    )]
    // U+009B begins a command to a terminal too.
    #[case(r#","freebsd":{"jail":{"parent":"pod\u009b2J"}}"#, r#"parent: "pod\u{9b}2J" is not the name of a jail"#)]
    #[case(r#","freebsd":{"jail":{"parent":"pod\u0007"}}"#, "is not the name of a jail")]
    #[case(r#","freebsd":{"jail":{"parent":"a/b"}}"#, "is not the name of a jail")]
    #[case(r#","annotations":{"org.freebsd.jail.nosuch":"1"}"#, "does not know the jail parameter nosuch")]
    #[case(r#","annotations":{"org.freebsd.jail.securelevel":"high"}"#, "is not a value of this parameter")]
    #[case(r#","annotations":{"org.freebsd.jail.exec.start":"sh"}"#, "exec.start: is a parameter of jail(8)")]
    #[case(r#","annotations":{"org.freebsd.jail.linux.netns":"/x"}"#, "linux.netns: is decided by linux.namespaces")]
    #[case(
        r#","freebsd":{"jail":{"enforceStatfs":2}},"annotations":{"org.freebsd.jail.allow.mount.tmpfs":"1"}"#,
        "org.freebsd.jail.allow.mount.tmpfs: has no effect with enforceStatfs 2"
    )]
    #[case(
        r#","freebsd":{"jail":{"enforceStatfs":1,"allow":{"mount":["tmpfs"]}}},"annotations":{"org.freebsd.jail.allow.mount.tmpfs":"0"}"#,
        "\"0\" contradicts what else sets allow.mount.tmpfs"
    )]
    #[case(
        r#","annotations":{"org.freebsd.jail.allow.mount":"0","org.freebsd.jail.allow.mount.tmpfs":"1"}"#,
        "allow.mount: false contradicts allow.mount.tmpfs"
    )]
    #[case(r#","freebsd":{"jail":{"enforceStatfs":1,"allow":{"mount":["no/such"]}}}"#, "allow.mount.no/such")]
    fn contradictions(#[case] extra: &str, #[case] message: &str) {
        let error = problems(extra);
        assert!(error.contains(message), "{error}");
    }
}

//! The parameters of the jail. Pure.
//!
//! What the kernel makes of an unset parameter is not what the host has (unset `ip4` is none, unset `host` is
//! an empty name), so every one that matters is always passed.

use crate::config::{Config, Problem};
use crate::id::ContainerId;
use crate::sys::jail::{HostFacts, JailParams, JailSys, ParamValue, System};

use super::linux::{self, Namespace};
use super::net::Network;

/// The longest host name (`MAXHOSTNAMELEN - 1`) and the longest full name of a jail.
const MAX_NAME: usize = 255;

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
    if parent.is_empty() || parent.bytes().any(|b| b.is_ascii_control() || b == b'/' || b == b':') {
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
            let word = if mode == JailSys::Inherit { "inherit" } else { "disable" };
            problems.push(Problem::new(property, format!("{word} contradicts {property}Addr")));
            mode
        }
        Some(mode) => mode,
        None if addresses > 0 => JailSys::New,
        None => unset,
    };
    let ip4 = mode("freebsd.jail.ip4", jail.ip4, network.ip4.len(), problems);
    let ip6 = mode("freebsd.jail.ip6", jail.ip6, network.ip6.len(), problems);
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
    for (name, given) in [("sysvmsg", jail.sysvmsg), ("sysvsem", jail.sysvsem), ("sysvshm", jail.sysvshm)] {
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
    for fstype in &allow.mount {
        let name = format!("allow.mount.{fstype}");
        known("freebsd.jail.allow.mount", &name, &format!("the module of {fstype}"), facts, problems);
        params.set(&name, ParamValue::Flag(true));
    }
}

/// `org.freebsd.jail.PARAMETER` annotations that no property stands for.
fn parameters(config: &Config, params: &mut JailParams, facts: &HostFacts, problems: &mut Vec<Problem>) {
    for (name, text) in &config.jail.parameters {
        let property = format!("annotations.org.freebsd.jail.{name}");
        known(&property, name, "a newer kernel or a module", facts, problems);
        let value = if name.starts_with("allow.") {
            crate::config::annotations::boolean(text).map(ParamValue::Flag)
        } else if matches!(name.as_str(), "osrelease" | "host.hostuuid" | "meta" | "env") {
            Some(ParamValue::Text(text.clone()))
        } else {
            text.parse().ok().map(ParamValue::Int)
        };
        match value {
            Some(value) => params.set(name, value),
            None => problems.push(Problem::new(property, format!("{text:?} is not a value of this parameter"))),
        }
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

fn known(property: &str, name: &str, needs: &str, facts: &HostFacts, problems: &mut Vec<Problem>) {
    if !facts.jail_params.contains(name) {
        problems.push(Problem::new(
            property,
            format!("this kernel does not know the jail parameter {name}: it needs {needs}"),
        ));
    }
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
    #[case(r#","annotations":{"org.freebsd.jail.nosuch":"1"}"#, "does not know the jail parameter nosuch")]
    #[case(r#","annotations":{"org.freebsd.jail.securelevel":"high"}"#, "is not a value of this parameter")]
    fn contradictions(#[case] extra: &str, #[case] message: &str) {
        let error = problems(extra);
        assert!(error.contains(message), "{error}");
    }
}

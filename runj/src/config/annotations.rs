//! The annotations that podman, buildah and ocijail used before the runtime spec had a `freebsd` object. Pure.
//!
//! `org.freebsd.parentJail` and `org.freebsd.jail.PARAMETER`. They fill what `config.json` and `runj.ext.json` leave open;
//! what contradicts them is a problem that names both places. And runj's own: `org.freebsd.rctl.RESOURCE`, whose value is
//! `[ACTION=]AMOUNT`, several with commas between.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::freebsd::Jail;
use super::resources::AskedRule;
use super::{Config, Problem};
use crate::sys::jail::JailSys;
use crate::sys::limit::Rule;

const PREFIX: &str = "org.freebsd.";
const PARENT: &str = "org.freebsd.parentJail";
const JAIL: &str = "org.freebsd.jail.";
const RCTL: &str = "org.freebsd.rctl.";

/// Whether the annotations are those of an engine: its bundles leave the network unset and count on the host's.
pub fn is_engine(annotations: &BTreeMap<String, String>) -> bool {
    annotations.keys().any(|key| {
        key == "io.container.manager"
            || key.starts_with("io.podman.")
            || key.starts_with("io.buildah.")
            || (key.starts_with(PREFIX) && !key.starts_with(RCTL))
    })
}

/// The parameter of the jail that an annotation sets.
pub fn parameter(key: &str) -> Option<&str> {
    if key == PARENT { Some("name") } else { key.strip_prefix(JAIL) }
}

/// The resource of rctl(8) that an annotation limits.
pub fn resource(key: &str) -> Option<&str> {
    key.strip_prefix(RCTL)
}

/// The rules of rctl(8) among the annotations, and what is wrong with others.
pub(super) fn rules(annotations: &BTreeMap<String, String>) -> (Vec<AskedRule>, Vec<Problem>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in annotations {
        let Some(resource) = resource(key) else { continue };
        let property = format!("annotations.{key}");
        for part in value.split(',').map(str::trim) {
            let (action, amount) = match part.split_once('=') {
                Some((action, amount)) => (Some(action), amount),
                None => (None, part),
            };
            match Rule::of_parts(resource, action, amount) {
                Ok(rule) => rules.push(AskedRule { property: property.clone(), rule }),
                Err(error) => problems.push(Problem::new(property.clone(), error.to_string())),
            }
        }
    }
    (rules, problems)
}

/// Merges the annotations into the configuration; returns the contradictions.
pub(super) fn merge(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let annotations = std::mem::take(&mut config.annotations);
    for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
        let property = format!("annotations.{key}");
        let outcome = if key == PARENT {
            fill(&mut config.jail, "parent", |jail| &mut jail.parent, value.clone(), &property)
        } else if value.contains('\0') {
            Err("contains a NUL character".to_owned())
        } else if let Some(parameter) = key.strip_prefix(JAIL) {
            apply(parameter, value, config, &property)
        } else if key.starts_with("org.freebsd.jail") || key.starts_with("org.freebsd.parent") {
            Err("is not understood: org.freebsd.parentJail and org.freebsd.jail.PARAMETER are".to_owned())
        } else {
            Ok(())
        };
        problems.extend(outcome.err().map(|message| Problem::new(property, message)));
    }
    config.annotations = annotations;
    problems
}

fn apply(parameter: &str, value: &str, config: &mut Config, own: &str) -> Result<(), String> {
    let jail = &mut config.jail;
    match parameter {
        // What a runtime reports, not what it is told (ocijail's state).
        "jid" => Ok(()),
        "vnet" => fill(jail, "vnet", |jail| &mut jail.vnet, mode(value)?, own),
        "host" => fill(jail, "host", |jail| &mut jail.host, mode(value)?, own),
        "ip4" => fill(jail, "ip4", |jail| &mut jail.ip4, mode(value)?, own),
        "ip6" => fill(jail, "ip6", |jail| &mut jail.ip6, mode(value)?, own),
        "sysvmsg" => fill(jail, "sysvmsg", |jail| &mut jail.sysvmsg, mode(value)?, own),
        "sysvsem" => fill(jail, "sysvsem", |jail| &mut jail.sysvsem, mode(value)?, own),
        "sysvshm" => fill(jail, "sysvshm", |jail| &mut jail.sysvshm, mode(value)?, own),
        "ip4.addr" => fill_list(jail, "ip4Addr", |jail| &mut jail.ip4_addr, value, own),
        // ocijail misspells its own name for the second.
        "ip6.addr" | "ip6.add" => fill_list(jail, "ip6Addr", |jail| &mut jail.ip6_addr, value, own),
        "interface" => fill(jail, "interface", |jail| &mut jail.interface, value.to_owned(), own),
        "vnet.interface" => fill_list(jail, "vnetInterfaces", |jail| &mut jail.vnet_interfaces, value, own),
        "enforce_statfs" => {
            let level = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
            fill(jail, "enforceStatfs", |jail| &mut jail.enforce_statfs, level, own)
        }
        "allow.set_hostname" => flag(jail, "setHostname", |jail| &mut jail.allow.set_hostname, value, own),
        "allow.raw_sockets" => flag(jail, "rawSockets", |jail| &mut jail.allow.raw_sockets, value, own),
        "allow.chflags" => flag(jail, "chflags", |jail| &mut jail.allow.chflags, value, own),
        "allow.quotas" => flag(jail, "quotas", |jail| &mut jail.allow.quotas, value, own),
        "allow.socket_af" => flag(jail, "socketAf", |jail| &mut jail.allow.socket_af, value, own),
        "allow.mlock" => flag(jail, "mlock", |jail| &mut jail.allow.mlock, value, own),
        "allow.reserved_ports" => flag(jail, "reservedPorts", |jail| &mut jail.allow.reserved_ports, value, own),
        "allow.suser" => flag(jail, "suser", |jail| &mut jail.allow.suser, value, own),
        "host.hostname" => fill_text("hostname", &mut config.hostname, value),
        "host.domainname" => fill_text("domainname", &mut config.domainname, value),
        "name" | "path" | "persist" | "parent" => Err("is decided by runj".to_owned()),
        "children.cur" | "cpuset.id" | "dying" => Err("is told by the kernel and cannot be set".to_owned()),
        _ => {
            jail.parameters.insert(parameter.to_owned(), value.to_owned());
            Ok(())
        }
    }
}

fn fill<T: PartialEq + Display>(
    jail: &mut Jail,
    property: &str,
    slot: fn(&mut Jail) -> &mut Option<T>,
    value: T,
    own: &str,
) -> Result<(), String> {
    match slot(jail) {
        Some(known) if *known == value => Ok(()),
        Some(known) => {
            let known = known.to_string();
            Err(format!("{value} contradicts {}: {known}", jail.source(property)))
        }
        empty => {
            *empty = Some(value);
            jail.sources.insert(property.to_owned(), own.to_owned());
            Ok(())
        }
    }
}

fn flag(
    jail: &mut Jail,
    property: &str,
    slot: fn(&mut Jail) -> &mut Option<bool>,
    value: &str,
    own: &str,
) -> Result<(), String> {
    let value = boolean(value).ok_or_else(|| format!("{value:?} is neither true nor false"))?;
    fill(jail, &format!("allow.{property}"), slot, value, own)
}

fn fill_text(other: &str, slot: &mut Option<String>, value: &str) -> Result<(), String> {
    match slot {
        Some(known) if known != value => Err(format!("{value} contradicts {other}: {known}")),
        _ => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

fn fill_list(
    jail: &mut Jail,
    property: &str,
    slot: fn(&mut Jail) -> &mut Vec<String>,
    value: &str,
    own: &str,
) -> Result<(), String> {
    let given: Vec<String> = value.split(',').map(|text| text.trim().to_owned()).collect();
    let list = slot(jail);
    if *list == given {
        return Ok(());
    }
    if !list.is_empty() {
        let known = list.join(",");
        return Err(format!("{value} contradicts {}: {known}", jail.source(property)));
    }
    *list = given;
    jail.sources.insert(property.to_owned(), own.to_owned());
    Ok(())
}

/// A boolean as the engines spell it.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn mode(value: &str) -> Result<JailSys, String> {
    match value {
        "disable" => Ok(JailSys::Disable),
        "new" => Ok(JailSys::New),
        "inherit" => Ok(JailSys::Inherit),
        _ => Err(format!("{value:?} is none of disable, new, inherit")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn annotations_fill_what_is_open() {
        let config = parse(
            r#"{"annotations":{"org.freebsd.parentJail":"pod","org.freebsd.jail.vnet":"new",
            "org.freebsd.jail.ip6.add":"::1, ::2","org.freebsd.jail.allow.chflags":"true",
            "org.freebsd.jail.securelevel":"1","org.freebsd.jail.host.hostname":"web",
            "org.freebsd.jail.vnet.interface":"epair0b,epair1b"}}"#,
        );
        assert_eq!(config.problems, []);
        assert!(config.is_engine_dialect());
        assert_eq!(config.jail.parent.as_deref(), Some("pod"));
        assert_eq!(config.jail.vnet, Some(JailSys::New));
        assert_eq!(config.jail.ip6_addr, ["::1", "::2"]);
        assert_eq!(config.jail.allow.chflags, Some(true));
        assert_eq!(config.jail.parameters["securelevel"], "1");
        assert_eq!(config.hostname.as_deref(), Some("web"));
        assert_eq!(config.jail.vnet_interfaces, ["epair0b", "epair1b"]);
        assert_eq!(config.annotations.len(), 7);
    }

    #[rstest]
    #[case(
        r#"{"freebsd":{"jail":{"vnet":"inherit"}},"annotations":{"org.freebsd.jail.vnet":"new"}}"#,
        "{}",
        "annotations.org.freebsd.jail.vnet: new contradicts freebsd.jail.vnet: inherit"
    )]
    #[case(
        r#"{"freebsd":{"jail":{"vnet":"new"}},"annotations":{"org.freebsd.jail.vnet":"new"}}"#,
        r#"{"network":{"vnet":{"mode":"inherit"}}}"#,
        "annotations.org.freebsd.jail.vnet: new contradicts runj.ext.json: network.vnet.mode: inherit"
    )]
    #[case(
        r#"{"annotations":{"org.freebsd.jail.ip6.add":"::1","org.freebsd.jail.ip6.addr":"::2"}}"#,
        "{}",
        "annotations.org.freebsd.jail.ip6.addr: ::2 contradicts annotations.org.freebsd.jail.ip6.add: ::1"
    )]
    #[case(
        r#"{"annotations":{"org.freebsd.jail.ip4.addr":"10.0.0.2"}}"#,
        r#"{"network":{"ipv4":{"addr":["10.0.0.1"]}}}"#,
        "annotations.org.freebsd.jail.ip4.addr: 10.0.0.2 contradicts runj.ext.json: network.ipv4.addr: 10.0.0.1"
    )]
    #[case(
        r#"{"freebsd":{"jail":{"allow":{"mlock":false}}},"annotations":{"org.freebsd.jail.allow.mlock":"1"}}"#,
        "{}",
        "annotations.org.freebsd.jail.allow.mlock: true contradicts freebsd.jail.allow.mlock: false"
    )]
    #[case(
        r#"{"hostname":"a","annotations":{"org.freebsd.jail.host.hostname":"b"}}"#,
        "{}",
        "annotations.org.freebsd.jail.host.hostname: b contradicts hostname: a"
    )]
    fn a_contradiction_names_both(#[case] config: &str, #[case] ext: &str, #[case] words: &str) {
        let config = Config::parse(config.as_bytes(), Some(ext.as_bytes())).unwrap();
        assert_eq!(config.problems[0].to_string(), words);
    }

    #[rstest]
    #[case("jail.name", "x", "is decided by runj")]
    #[case("jail.dying", "1", "cannot be set")]
    #[case("jail.vnet", "maybe", "is none of disable, new, inherit")]
    #[case("jail.allow.mlock", "yes", "is neither true nor false")]
    #[case("jail.enforce_statfs", "x", "is not a number")]
    #[case("jail.osrelease", "a\\u0000b", "contains a NUL")]
    #[case("jails.vnet", "new", "is not understood")]
    fn nonsense_is_refused(#[case] name: &str, #[case] value: &str, #[case] words: &str) {
        let config = parse(&format!(r#"{{"annotations":{{"org.freebsd.{name}":"{value}"}}}}"#));
        assert!(config.problems[0].to_string().contains(words), "{:?}", config.problems);
    }

    #[test]
    fn a_plain_bundle_is_no_engine() {
        assert!(!parse(r#"{"annotations":{"com.example":"x"}}"#).is_engine_dialect());
        assert!(!parse(r#"{"annotations":{"org.freebsd.rctl.nthr":"5"}}"#).is_engine_dialect());
    }

    #[test]
    fn rules_are_annotations() {
        let config = parse(
            r#"{"annotations":{"org.freebsd.rctl.openfiles":"64","org.freebsd.rctl.vmemoryuse":"log=1g, deny=2g",
            "org.freebsd.rctl.openfile":"1","org.freebsd.rctl.nthr":"deny=much"}}"#,
        );
        let rules: Vec<_> = config.rules.iter().map(|asked| asked.rule.to_string()).collect();
        assert_eq!(rules, ["openfiles:deny=64", "vmemoryuse:log=1073741824", "vmemoryuse:deny=2147483648"]);
        let problems: Vec<_> = config.problems.iter().map(ToString::to_string).collect();
        assert!(problems[0].starts_with("annotations.org.freebsd.rctl.nthr: \"much\" is not an amount"));
        assert!(problems[1].starts_with("annotations.org.freebsd.rctl.openfile: rctl(8) knows no resource"));
    }
}

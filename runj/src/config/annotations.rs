//! The annotations that podman, buildah and ocijail used before the runtime spec had a `freebsd` object. Pure.
//!
//! `org.freebsd.parentJail` and `org.freebsd.jail.PARAMETER`. They fill what the configuration leaves open; what
//! contradicts it is a problem that names both. And runj's own: `org.freebsd.rctl.RESOURCE`, whose value is
//! `[ACTION=]AMOUNT`, several with commas between.

use std::collections::BTreeMap;

use super::Problem;
use super::freebsd::Jail;
use super::resources::AskedRule;
use crate::sys::jail::JailSys;
use crate::sys::limit::Rule;

const PARENT: &str = "org.freebsd.parentJail";
const JAIL: &str = "org.freebsd.jail.";
const RCTL: &str = "org.freebsd.rctl.";

/// Whether the annotations are those of an engine: its bundles leave the network unset and count on the host's.
pub fn is_engine(annotations: &BTreeMap<String, String>) -> bool {
    annotations.keys().any(|key| {
        key == "io.container.manager"
            || key.starts_with("io.podman.")
            || key.starts_with("io.buildah.")
            || (key.starts_with("org.freebsd.") && !key.starts_with(RCTL))
    })
}

/// The rules of rctl(8) among the annotations, and what is wrong with others.
pub fn rules(annotations: &BTreeMap<String, String>) -> (Vec<AskedRule>, Vec<Problem>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in annotations {
        let Some(resource) = key.strip_prefix(RCTL) else { continue };
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

/// Merges the annotations into the jail's configuration; returns the contradictions.
pub fn merge(annotations: &BTreeMap<String, String>, jail: &mut Jail) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in annotations {
        let property = format!("annotations.{key}");
        let outcome = if key == PARENT {
            fill("freebsd.jail.parent", &mut jail.parent, value.clone())
        } else if let Some(parameter) = key.strip_prefix(JAIL) {
            apply(parameter, value, jail)
        } else {
            Ok(())
        };
        problems.extend(outcome.err().map(|message| Problem::new(property, message)));
    }
    problems
}

fn apply(parameter: &str, value: &str, jail: &mut Jail) -> Result<(), String> {
    match parameter {
        // What a runtime reports, not what it is told (ocijail's state).
        "jid" => Ok(()),
        "vnet" => fill("freebsd.jail.vnet", &mut jail.vnet, mode(value)?),
        "host" => fill("freebsd.jail.host", &mut jail.host, mode(value)?),
        "ip4" => fill("freebsd.jail.ip4", &mut jail.ip4, mode(value)?),
        "ip6" => fill("freebsd.jail.ip6", &mut jail.ip6, mode(value)?),
        "sysvmsg" => fill("freebsd.jail.sysvmsg", &mut jail.sysvmsg, mode(value)?),
        "sysvsem" => fill("freebsd.jail.sysvsem", &mut jail.sysvsem, mode(value)?),
        "sysvshm" => fill("freebsd.jail.sysvshm", &mut jail.sysvshm, mode(value)?),
        "ip4.addr" => addresses("freebsd.jail.ip4Addr", &mut jail.ip4_addr, value),
        // ocijail misspells its own name for the second.
        "ip6.addr" | "ip6.add" => addresses("freebsd.jail.ip6Addr", &mut jail.ip6_addr, value),
        "enforce_statfs" => {
            let level = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
            fill("freebsd.jail.enforceStatfs", &mut jail.enforce_statfs, level)
        }
        "allow.set_hostname" => flag("setHostname", &mut jail.allow.set_hostname, value),
        "allow.raw_sockets" => flag("rawSockets", &mut jail.allow.raw_sockets, value),
        "allow.chflags" => flag("chflags", &mut jail.allow.chflags, value),
        "allow.quotas" => flag("quotas", &mut jail.allow.quotas, value),
        "allow.socket_af" => flag("socketAf", &mut jail.allow.socket_af, value),
        "allow.mlock" => flag("mlock", &mut jail.allow.mlock, value),
        "allow.reserved_ports" => flag("reservedPorts", &mut jail.allow.reserved_ports, value),
        "allow.suser" => flag("suser", &mut jail.allow.suser, value),
        "name" | "path" | "persist" | "parent" => Err("is decided by runj".to_owned()),
        _ => {
            jail.parameters.insert(parameter.to_owned(), value.to_owned());
            Ok(())
        }
    }
}

fn fill<T: PartialEq>(other: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot {
        Some(known) if *known != value => Err(format!("contradicts {other}")),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn flag(property: &str, slot: &mut Option<bool>, value: &str) -> Result<(), String> {
    let value = boolean(value).ok_or_else(|| format!("{value:?} is neither true nor false"))?;
    fill(&format!("freebsd.jail.allow.{property}"), slot, value)
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

fn addresses(other: &str, list: &mut Vec<String>, value: &str) -> Result<(), String> {
    let given: Vec<String> = value.split(',').map(|text| text.trim().to_owned()).collect();
    if !list.is_empty() && *list != given {
        return Err(format!("contradicts {other}"));
    }
    *list = given;
    Ok(())
}

#[cfg(test)]
mod tests {
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
            "org.freebsd.jail.securelevel":"1"}}"#,
        );
        assert_eq!(config.problems, []);
        assert!(config.is_engine_dialect());
        assert_eq!(config.jail.parent.as_deref(), Some("pod"));
        assert_eq!(config.jail.vnet, Some(JailSys::New));
        assert_eq!(config.jail.ip6_addr, ["::1", "::2"]);
        assert_eq!(config.jail.allow.chflags, Some(true));
        assert_eq!(config.jail.parameters["securelevel"], "1");
    }

    #[test]
    fn a_contradiction_names_both() {
        let config = parse(r#"{"freebsd":{"jail":{"vnet":"inherit"}},"annotations":{"org.freebsd.jail.vnet":"new"}}"#);
        assert_eq!(config.problems[0].to_string(), "annotations.org.freebsd.jail.vnet: contradicts freebsd.jail.vnet");
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

//! `runj.ext.json`: what Go runj needed before the runtime spec had a `freebsd` object, and limits. Pure.
//!
//! A mode and a limit override what `config.json` says, lists are appended.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::freebsd::Jail;
use super::resources::AskedRule;
use super::{Problem, parse};
use crate::sys::jail::JailSys;
use crate::sys::limit::Rule;

/// Its name.
pub const FILE: &str = "runj.ext.json";

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ext {
    network: Network,
    /// By the resource of rctl(8): an [`Entry`] or a list of them.
    limits: BTreeMap<String, Value>,
}

/// A limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    amount: Amount,
    action: Option<String>,
}

/// A number, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an amount is a number, or a text as \"64m\"")]
enum Amount {
    Number(u64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Network {
    ipv4: Ipv4,
    vnet: Vnet,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ipv4 {
    mode: Option<JailSys>,
    addr: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Vnet {
    mode: Option<JailSys>,
    interfaces: Vec<String>,
}

impl Ext {
    /// The rules among its limits, and what is wrong with others.
    pub(super) fn rules(&self) -> (Vec<AskedRule>, Vec<Problem>) {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for (resource, value) in &self.limits {
            let property = format!("limits.{resource}");
            let entries: Vec<(String, &Value)> = match value {
                Value::Array(list) => {
                    list.iter().enumerate().map(|(index, value)| (format!("{property}[{index}]"), value)).collect()
                }
                _ => vec![(property, value)],
            };
            for (property, value) in entries {
                match rule(resource, &property, value) {
                    Ok(rule) => rules.push(AskedRule { property: format!("{FILE}: {property}"), rule }),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        (rules, problems)
    }
}

fn rule(resource: &str, property: &str, value: &Value) -> Result<Rule, Problem> {
    let Entry { amount, action } =
        parse::from_value(FILE, property, value.clone()).map_err(super::ConfigError::into_problem)?;
    let amount = match amount {
        Amount::Number(number) => number.to_string(),
        Amount::Text(text) => text,
    };
    Rule::of_parts(resource, action.as_deref(), &amount)
        .map_err(|error| Problem::new(format!("{FILE}: {property}"), error.to_string()))
}

/// Merges the file into the jail's configuration.
pub fn merge(jail: &mut Jail, ext: Ext) {
    let Network { ipv4, vnet } = ext.network;
    for (property, name, wanted) in [("ip4", "ipv4", ipv4.mode), ("vnet", "vnet", vnet.mode)] {
        let Some(wanted) = wanted else { continue };
        let slot = if property == "ip4" { &mut jail.ip4 } else { &mut jail.vnet };
        *slot = Some(wanted);
        jail.sources.insert(property.to_owned(), format!("{FILE}: network.{name}.mode"));
    }
    for (property, name, list) in
        [("ip4Addr", "ipv4.addr", ipv4.addr), ("vnetInterfaces", "vnet.interfaces", vnet.interfaces)]
    {
        if !list.is_empty() {
            jail.sources.insert(property.to_owned(), format!("{FILE}: network.{name}"));
        }
        let slot = if property == "ip4Addr" { &mut jail.ip4_addr } else { &mut jail.vnet_interfaces };
        slot.extend(list);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn modes_override_and_lists_append() {
        let config = br#"{"ociVersion":"1.0.2","freebsd":{"jail":{"ip4":"inherit","ip4Addr":["10.0.0.1"]}}}"#;
        let ext = br#"{"network":{"ipv4":{"mode":"new","addr":["10.0.0.2"]},"vnet":{"interfaces":["epair0b"]}}}"#;
        let config = Config::parse(config, Some(ext)).unwrap();
        assert_eq!(config.jail.ip4, Some(JailSys::New));
        assert_eq!(config.jail.ip4_addr, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(config.jail.vnet_interfaces, ["epair0b"]);
    }

    #[test]
    fn limits_override() {
        let config = br#"{"annotations":{"org.freebsd.rctl.openfiles":"5,log=4","org.freebsd.rctl.memoryuse":"7"},
            "linux":{"resources":{"memory":{"limit":7},"pids":{"limit":8},"cpu":{"quota":1,"period":2}}}}"#;
        let ext = br#"{"limits":{"openfiles":{"amount":9},"memoryuse":[{"amount":"64m","action":"sigkill"},
            {"amount":5,"action":"log"}],"maxproc":{"amount":3}}}"#;
        let config = Config::parse(config, Some(ext)).unwrap();
        let rules: Vec<_> = config.rules.iter().map(|asked| asked.rule.to_string()).collect();
        let expected =
            ["openfiles:log=4", "maxproc:deny=3", "memoryuse:sigkill=67108864", "memoryuse:log=5", "openfiles:deny=9"];
        assert_eq!((rules, config.problems), (expected.map(str::to_owned).to_vec(), vec![]));
        let resources = config.linux.resources;
        assert_eq!((resources.memory.limit, resources.pids.limit, resources.cpu.quota), (None, None, Some(1)));
    }

    #[rstest::rstest]
    #[case(r#"{"openfile":{"amount":5}}"#, "runj.ext.json: limits.openfile: rctl(8) knows no resource")]
    #[case(r#"{"nthr":{"amount":-5}}"#, "runj.ext.json: limits.nthr.amount: an amount is a number, or a text")]
    #[case(r#"{"nthr":{"amount":"5x"}}"#, "runj.ext.json: limits.nthr: \"5x\" is not an amount")]
    #[case(r#"{"nthr":[{"amount":5,"acton":"log"}]}"#, "runj.ext.json: limits.nthr[0].acton: unknown field")]
    #[case(r#"{"nthr":{"action":"log"}}"#, "runj.ext.json: limits.nthr: missing field `amount`")]
    #[case(r#"{"nthr":7}"#, "runj.ext.json: limits.nthr: invalid type")]
    fn a_bad_limit_is_an_error(#[case] limits: &str, #[case] words: &str) {
        let ext = format!(r#"{{"limits":{limits}}}"#);
        let config = Config::parse(b"{}", Some(ext.as_bytes())).unwrap();
        let error = config.problems[0].to_string();
        assert!(error.starts_with(words), "{error}");
    }

    #[test]
    fn all_bad_limits_are_told_at_once() {
        let ext = br#"{"limits":{"nthr":[{"amount":"5x"},{"amount":7},{}],"openfile":{"amount":5}}}"#;
        let config = Config::parse(b"{}", Some(ext)).unwrap();
        let properties: Vec<_> = config.problems.iter().map(|problem| problem.property.as_str()).collect();
        let expected = ["limits.nthr[0]", "limits.nthr[2]", "limits.openfile"].map(|name| format!("{FILE}: {name}"));
        assert_eq!(properties, expected);
        assert_eq!(config.rules[0].property, format!("{FILE}: limits.nthr[1]"));
    }

    #[test]
    fn a_misspelt_property_is_an_error() {
        let config = Config::parse(b"{}", Some(br#"{"network":{"ipv4":{"adr":[]}}}"#)).unwrap();
        let error = config.problems[0].to_string();
        assert!(error.starts_with("runj.ext.json: network.ipv4.adr: unknown field"), "{error}");
    }
}

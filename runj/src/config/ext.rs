//! `runj.ext.json`: what Go runj needed before the runtime spec had a `freebsd` object, and limits. Pure.
//!
//! A mode and a limit override what `config.json` says, lists are appended.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::freebsd::Jail;
use super::resources::AskedRule;
use super::{ConfigError, from_value};
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
    /// The rules among its limits.
    pub fn rules(&self) -> Result<Vec<AskedRule>, ConfigError> {
        let mut rules = Vec::new();
        for (resource, value) in &self.limits {
            let property = format!("limits.{resource}");
            let entries: Vec<Entry> = match value {
                Value::Array(_) => from_value(FILE, &property, value.clone())?,
                _ => vec![from_value(FILE, &property, value.clone())?],
            };
            for Entry { amount, action } in entries {
                let amount = match amount {
                    Amount::Number(number) => number.to_string(),
                    Amount::Text(text) => text,
                };
                let rule = Rule::of_parts(resource, action.as_deref(), &amount).map_err(|error| ConfigError {
                    file: FILE,
                    property: format!("{property}: "),
                    message: error.to_string(),
                })?;
                rules.push(AskedRule { property: format!("{FILE} {property}"), rule });
            }
        }
        Ok(rules)
    }
}

/// Merges the file into the jail's configuration.
pub fn merge(jail: &mut Jail, ext: Ext) {
    let Network { ipv4, vnet } = ext.network;
    jail.ip4 = ipv4.mode.or(jail.ip4);
    jail.ip4_addr.extend(ipv4.addr);
    jail.vnet = vnet.mode.or(jail.vnet);
    jail.vnet_interfaces.extend(vnet.interfaces);
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
        let error = Config::parse(b"{}", Some(ext.as_bytes())).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }

    #[test]
    fn a_misspelt_property_is_an_error() {
        let error = Config::parse(b"{}", Some(br#"{"network":{"ipv4":{"adr":[]}}}"#)).unwrap_err().to_string();
        assert!(error.starts_with("runj.ext.json: network.ipv4.adr: unknown field"), "{error}");
    }
}

//! `runj.ext.json`: what Go runj needed before the runtime spec had a `freebsd` object. Pure.
//!
//! A mode overrides what `config.json` says, lists are appended.

use serde::Deserialize;

use super::freebsd::Jail;
use crate::sys::jail::JailSys;

/// Its name.
const FILE: &str = "runj.ext.json";

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ext {
    network: Network,
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
    fn a_misspelt_property_is_an_error() {
        let config = Config::parse(b"{}", Some(br#"{"network":{"ipv4":{"adr":[]}}}"#)).unwrap();
        let error = config.problems[0].to_string();
        assert!(error.starts_with("runj.ext.json: network.ipv4.adr: unknown field"), "{error}");
    }
}

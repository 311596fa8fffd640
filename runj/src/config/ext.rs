//! `runj.ext.json`: what Go runj needed before the runtime spec had a `freebsd` object. Pure.
//!
//! A mode overrides what `config.json` says, lists are appended.

use serde::Deserialize;

use super::freebsd::Jail;
use crate::sys::jail::JailSys;

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
    fn a_misspelt_property_is_an_error() {
        let error = Config::parse(b"{}", Some(br#"{"network":{"ipv4":{"adr":[]}}}"#)).unwrap_err().to_string();
        assert!(error.starts_with("runj.ext.json: network.ipv4.adr: unknown field"), "{error}");
    }
}

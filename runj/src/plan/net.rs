//! Addresses and interfaces. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Problem};
use crate::sys::jail::JailSys;
use crate::sys::net::InterfaceAlias;

/// The longest interface name (`IFNAMSIZ - 1`).
const MAX_INTERFACE: usize = 15;

/// The network of a jail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// Addresses of the jail
    pub ip4: Vec<Ipv4Addr>,
    /// Addresses of the jail
    pub ip6: Vec<Ipv6Addr>,
    /// Addresses to be added to an interface of the host
    pub aliases: Vec<InterfaceAlias>,
    /// Interfaces to be moved into the jail
    pub interfaces: Vec<String>,
}

/// Reads addresses and names; how they go together with the modes is decided by [`super::jail`].
pub fn plan(config: &Config, problems: &mut Vec<Problem>) -> Network {
    let jail = &config.jail;
    let ip4: Vec<Ipv4Addr> = addresses("freebsd.jail.ip4Addr", "IPv4", &jail.ip4_addr, problems);
    let ip6: Vec<Ipv6Addr> = addresses("freebsd.jail.ip6Addr", "IPv6", &jail.ip6_addr, problems);
    if ip4.iter().any(Ipv4Addr::is_unspecified) {
        problems.push(Problem::new("freebsd.jail.ip4Addr", "0.0.0.0 is no address of a jail"));
    }
    let mut aliases = Vec::new();
    if let Some(interface) = &jail.interface {
        check_interface("freebsd.jail.interface", interface, problems);
        let all = ip4.iter().map(|&a| (IpAddr::from(a), 32)).chain(ip6.iter().map(|&a| (IpAddr::from(a), 128)));
        aliases.extend(all.map(|(address, prefix)| InterfaceAlias { interface: interface.clone(), address, prefix }));
        if aliases.is_empty() {
            problems.push(Problem::new("freebsd.jail.interface", "needs an address in ip4Addr or ip6Addr"));
        }
        if jail.vnet == Some(JailSys::New) {
            problems.push(Problem::new(
                "freebsd.jail.interface",
                "a vnet jail has interfaces of its own: name them in vnetInterfaces",
            ));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, name) in jail.vnet_interfaces.iter().enumerate() {
        check_interface(&format!("freebsd.jail.vnetInterfaces[{index}]"), name, problems);
        if !seen.insert(name) {
            problems
                .push(Problem::new(format!("freebsd.jail.vnetInterfaces[{index}]"), format!("{name} stands twice")));
        }
    }
    if !jail.vnet_interfaces.is_empty() && jail.vnet != Some(JailSys::New) {
        problems.push(Problem::new("freebsd.jail.vnetInterfaces", "needs vnet: new"));
    }
    Network { ip4, ip6, aliases, interfaces: jail.vnet_interfaces.clone() }
}

fn addresses<T: std::str::FromStr + Copy + Ord>(
    property: &str,
    family: &str,
    texts: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    let mut list = Vec::with_capacity(texts.len());
    let mut seen = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(address) if !seen.insert(address) => {
                problems.push(Problem::new(format!("{property}[{index}]"), format!("{text} stands twice")));
            }
            Ok(address) => list.push(address),
            Err(_) => problems
                .push(Problem::new(format!("{property}[{index}]"), format!("{text:?} is not an {family} address"))),
        }
    }
    list
}

fn check_interface(property: &str, name: &str, problems: &mut Vec<Problem>) {
    let sound = !name.is_empty()
        && name.len() <= MAX_INTERFACE
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if !sound {
        problems.push(Problem::new(property, format!("{name:?} is not the name of an interface")));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::tests::problems;

    #[rstest]
    #[case(r#""ip4":"new","ip4Addr":["10.0.0.300"]"#, "ip4Addr[0]: \"10.0.0.300\" is not an IPv4 address")]
    #[case(r#""ip4":"new","ip4Addr":["::1"]"#, "is not an IPv4 address")]
    #[case(r#""ip6":"new","ip6Addr":["10.0.0.1"]"#, "is not an IPv6 address")]
    #[case(r#""ip4":"new","ip4Addr":["10.0.0.1","10.0.0.1"]"#, "ip4Addr[1]: 10.0.0.1 stands twice")]
    #[case(r#""ip4":"new","ip4Addr":["0.0.0.0"]"#, "no address of a jail")]
    #[case(r#""interface":"em0""#, "freebsd.jail.interface: needs an address")]
    #[case(r#""interface":"a/b","ip4":"new","ip4Addr":["10.0.0.1"]"#, "not the name of an interface")]
    #[case(r#""vnetInterfaces":["epair0b"]"#, "vnetInterfaces: needs vnet: new")]
    #[case(r#""vnet":"new","vnetInterfaces":["a","a"]"#, "vnetInterfaces[1]: a stands twice")]
    fn bad_networks(#[case] jail: &str, #[case] message: &str) {
        let error = problems(&format!(r#","freebsd":{{"jail":{{{jail}}}}}"#));
        assert!(error.contains(message), "{error}");
    }
}

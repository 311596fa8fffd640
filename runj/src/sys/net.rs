//! Network interfaces as values. Pure.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address on an interface of the host (ifconfig(8): `ifconfig IF alias ADDRESS/PREFIX`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAlias {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The prefix's length in bits: 32 or 128 for an alias of a jail.
    pub prefix: u8,
}

impl fmt::Display for InterfaceAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.interface, self.address, self.prefix)
    }
}

/// An interface of the host that goes into a jail and has to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedInterface {
    /// Its name on the host.
    pub name: String,
    /// Its link-level address, which it keeps when it is renamed; empty if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_address: Vec<u8>,
}

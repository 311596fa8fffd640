//! The `freebsd` object of runtime-spec 1.3 (config-freebsd.md), which oci-spec lacks. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::sys::jail::JailSys;

/// `freebsd`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FreeBsd {
    /// `devices`
    pub devices: Vec<Device>,
    /// `jail`
    pub jail: Jail,
}

/// An entry of `freebsd.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Device {
    /// `path`, below /dev
    pub path: PathBuf,
    /// `mode`, permission bits
    pub mode: Option<u32>,
}

/// `freebsd.jail`; absent is not the same as any value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Jail {
    /// `parent`: the jail to be created in
    pub parent: Option<String>,
    /// `host`
    pub host: Option<JailSys>,
    /// `ip4`
    pub ip4: Option<JailSys>,
    /// `ip4Addr`
    pub ip4_addr: Vec<String>,
    /// `ip6`
    pub ip6: Option<JailSys>,
    /// `ip6Addr`
    pub ip6_addr: Vec<String>,
    /// `vnet`
    pub vnet: Option<JailSys>,
    /// `interface`: where the addresses are added as aliases
    pub interface: Option<String>,
    /// `vnetInterfaces`
    pub vnet_interfaces: Vec<String>,
    /// `sysvmsg`
    pub sysvmsg: Option<JailSys>,
    /// `sysvsem`
    pub sysvsem: Option<JailSys>,
    /// `sysvshm`
    pub sysvshm: Option<JailSys>,
    /// `enforceStatfs`
    pub enforce_statfs: Option<i64>,
    /// `allow`
    pub allow: Allow,
    /// Parameters that the schema lacks, from annotations: name to text
    #[serde(skip)]
    pub parameters: BTreeMap<String, String>,
    /// Where the value of a property comes from, if it is not `config.json`: `vnet` to `annotations.org.…`
    #[serde(skip)]
    pub sources: BTreeMap<String, String>,
}

impl Jail {
    /// What to call the place where a property has its value from.
    pub fn source(&self, property: &str) -> String {
        self.sources.get(property).cloned().unwrap_or_else(|| format!("freebsd.jail.{property}"))
    }
}

/// `freebsd.jail.allow`: absent is the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Allow {
    /// `setHostname`
    pub set_hostname: Option<bool>,
    /// `rawSockets`
    pub raw_sockets: Option<bool>,
    /// `chflags`
    pub chflags: Option<bool>,
    /// `mount`: file systems that may be mounted from inside
    pub mount: Vec<String>,
    /// `quotas`
    pub quotas: Option<bool>,
    /// `socketAf`
    pub socket_af: Option<bool>,
    /// `mlock`
    pub mlock: Option<bool>,
    /// `reservedPorts`
    pub reserved_ports: Option<bool>,
    /// `suser`
    pub suser: Option<bool>,
    /// Anything newer
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Allow {
    /// The booleans: property, jail parameter, value.
    pub fn flags(&self) -> [(&'static str, &'static str, Option<bool>); 8] {
        [
            ("setHostname", "allow.set_hostname", self.set_hostname),
            ("rawSockets", "allow.raw_sockets", self.raw_sockets),
            ("chflags", "allow.chflags", self.chflags),
            ("quotas", "allow.quotas", self.quotas),
            ("socketAf", "allow.socket_af", self.socket_af),
            ("mlock", "allow.mlock", self.mlock),
            ("reservedPorts", "allow.reserved_ports", self.reserved_ports),
            ("suser", "allow.suser", self.suser),
        ]
    }
}

//! Jail parameters as values, and what is known of a kernel. Pure.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mount::TargetKind;
use super::processors::Processors;
use crate::id::Jid;

/// An operating system that runj knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// FreeBSD: jail(2) itself.
    Freebsd,
    /// Linux: the emulation.
    Linux,
}

/// What a plan needs to know of a kernel; a value, so that a plan for one system can be made on the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostFacts {
    /// The system.
    pub system: System,
    /// `kern.osreldate` (`__FreeBSD_version`); 0 on Linux.
    pub osreldate: u32,
    /// The jail parameters that the kernel knows (`security.jail.param`), as `allow.mount.nullfs`.
    pub jail_params: BTreeSet<String>,
    /// Whether `kern.racct.enable` is on (on Linux: whether a cgroup can be made); false where no limit is asked for.
    pub racct: bool,
    /// The processors that a jail can be given; empty where nobody asks for some, and then not checked.
    #[serde(default, skip_serializing_if = "Processors::is_empty")]
    pub processors: Processors,
}

/// `__FreeBSD_version` of 13.2, whose nullfs mounts files on files, and no longer on directories.
pub const FILES_ON_FILES: u32 = 1_302_000;

impl HostFacts {
    /// What a file is mounted on: a file, but on a FreeBSD before 13.2 (whose nullfs looks at the target alone) a
    /// directory.
    pub fn file_target(&self) -> TargetKind {
        match self.system {
            System::Freebsd if self.osreldate < FILES_ON_FILES => TargetKind::Directory,
            System::Freebsd | System::Linux => TargetKind::File,
        }
    }
}

/// One of the three values of a jail parameter that names a subsystem (`JAIL_SYS_*` in sys/jail.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum JailSys {
    /// The jail has none.
    Disable = 0,
    /// The jail has its own.
    New = 1,
    /// The jail shares its parent's.
    Inherit = 2,
}

impl JailSys {
    /// The word of jail(8).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::New => "new",
            Self::Inherit => "inherit",
        }
    }
}

impl std::fmt::Display for JailSys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of one jail parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ParamValue {
    /// A boolean. The kernel tests only the name: off is sent as the name `allow.noX` with no value.
    Flag(bool),
    /// A number of 4 bytes.
    Int(i32),
    /// A text, sent with its closing NUL.
    Text(String),
    /// `disable`, `new` or `inherit`.
    Sys(JailSys),
    /// Packed addresses.
    Ip4(Vec<Ipv4Addr>),
    /// Packed addresses.
    Ip6(Vec<Ipv6Addr>),
    /// The container's root directory, known when the jail is made (the read-only alias, say).
    Root,
}

/// An ordered list of jail parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JailParams(pub Vec<(String, ParamValue)>);

impl JailParams {
    /// Appends a parameter, or replaces the value of one that is there.
    pub fn set(&mut self, name: &str, value: ParamValue) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The text of a text parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(ParamValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a subsystem parameter.
    pub fn sys(&self, name: &str) -> Option<JailSys> {
        match self.get(name) {
            Some(ParamValue::Sys(value)) => Some(*value),
            _ => None,
        }
    }
}

/// The name under which a boolean is sent: `allow.chflags` for true, `allow.nochflags` for false
/// (jail(8): "no" precedes the last component).
pub fn flag_name(name: &str, value: bool) -> String {
    match (value, name.rsplit_once('.')) {
        (true, _) => name.to_owned(),
        (false, Some((parents, last))) => format!("{parents}.no{last}"),
        (false, None) => format!("no{name}"),
    }
}

impl ParamValue {
    /// The name and the bytes that jail_set(2) takes for this parameter (no bytes for a flag).
    /// A [`ParamValue::Root`] must have been replaced by a text.
    pub fn encode(&self, name: &str) -> (String, Option<Vec<u8>>) {
        match self {
            Self::Flag(value) => (flag_name(name, *value), None),
            Self::Int(value) => (name.to_owned(), Some(value.to_ne_bytes().to_vec())),
            Self::Sys(value) => (name.to_owned(), Some((*value as i32).to_ne_bytes().to_vec())),
            Self::Text(text) => {
                let mut bytes = text.clone().into_bytes();
                bytes.push(0);
                (name.to_owned(), Some(bytes))
            }
            Self::Ip4(list) => (name.to_owned(), Some(list.iter().flat_map(Ipv4Addr::octets).collect())),
            Self::Ip6(list) => (name.to_owned(), Some(list.iter().flat_map(Ipv6Addr::octets).collect())),
            Self::Root => (name.to_owned(), None),
        }
    }
}

/// A living jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailView {
    /// Its number.
    pub jid: Jid,
    /// Its root directory as the host sees it.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("allow.chflags", true, "allow.chflags")]
    #[case("allow.chflags", false, "allow.nochflags")]
    #[case("allow.mount.nullfs", false, "allow.mount.nonullfs")]
    #[case("persist", false, "nopersist")]
    fn flags_are_names(#[case] name: &str, #[case] value: bool, #[case] sent: &str) {
        assert_eq!(ParamValue::Flag(value).encode(name), (sent.to_owned(), None));
    }

    #[test]
    fn values_are_bytes() {
        assert_eq!(ParamValue::Text("a".into()).encode("name").1.unwrap(), b"a\0");
        assert_eq!(ParamValue::Sys(JailSys::Inherit).encode("ip4").1.unwrap(), 2i32.to_ne_bytes());
        let list = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        assert_eq!(ParamValue::Ip4(list).encode("ip4.addr").1.unwrap(), [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(ParamValue::Ip6(vec![Ipv6Addr::LOCALHOST]).encode("ip6.addr").1.unwrap().len(), 16);
    }

    #[test]
    fn a_parameter_is_set_once() {
        let mut params = JailParams::default();
        params.set("ip4", ParamValue::Sys(JailSys::New));
        params.set("ip4", ParamValue::Sys(JailSys::Inherit));
        assert_eq!(params.0.len(), 1);
        assert_eq!(params.sys("ip4"), Some(JailSys::Inherit));
    }
}

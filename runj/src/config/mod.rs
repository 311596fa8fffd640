//! Configuration: the bytes of `config.json` and `runj.ext.json` become one typed [`Config`].
//!
//! Pure. Types only are checked here; whether the values can be applied is decided by [`crate::plan`].
//! Nothing outside this module sees a type of oci-spec or a dialect: the `freebsd` object of runtime-spec 1.3,
//! Go runj's ext file and the annotations of podman and buildah all end in [`freebsd::Jail`].

pub mod annotations;
pub mod ext;
pub mod freebsd;
mod kinds;
mod parse;
pub mod resources;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use resources::{AskedRule, LinuxResources};

/// The largest configuration file that is read, in bytes.
pub const MAX_CONFIG: u64 = 16 << 20;

/// Something in the configuration that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `process.cwd`, `mounts[2].destination`.
    pub property: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// A problem of a property.
    pub fn new(property: impl Into<String>, message: impl Into<String>) -> Self {
        Self { property: property.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.message)
    }
}

/// Why a file is not a configuration.
#[derive(Debug, Error)]
#[error("{file}: {property}{message}")]
pub struct ConfigError {
    /// `config.json` or `runj.ext.json`.
    file: &'static str,
    /// The property with `: ` behind it, or nothing.
    property: String,
    /// What is wrong.
    message: String,
}

impl ConfigError {
    /// The same as a problem, of which the file is a part of the property.
    fn into_problem(self) -> Problem {
        let property = self.property.trim_end_matches(": ");
        Problem::new(format!("{}: {property}", self.file).trim_end_matches(": "), self.message)
    }
}

/// The whole configuration of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `ociVersion`
    pub oci_version: String,
    /// `root.path`, as written
    pub root_path: Option<PathBuf>,
    /// `root.readonly`
    pub root_read_only: bool,
    /// `mounts`
    pub mounts: Vec<Mount>,
    /// `process`
    pub process: Option<Process>,
    /// `hostname`
    pub hostname: Option<String>,
    /// `domainname`
    pub domainname: Option<String>,
    /// `hooks`
    pub hooks: Hooks,
    /// `annotations`
    pub annotations: BTreeMap<String, String>,
    /// `freebsd.jail`, with what the ext file and the annotations add
    pub jail: freebsd::Jail,
    /// `freebsd.devices`
    pub devices: Vec<freebsd::Device>,
    /// What is taken of `linux`
    pub linux: Linux,
    /// Rules of rctl(8), from annotations and the ext file
    pub rules: Vec<AskedRule>,
    /// Values of a wrong type, each with a neutral one in its place; what else is wrong with a property of these
    /// follows from that
    pub unreadable: Vec<Problem>,
    /// Contradictions between the dialects, found while they were merged
    pub problems: Vec<Problem>,
}

/// A mount as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// `destination`
    pub destination: PathBuf,
    /// `type`
    pub fstype: Option<String>,
    /// `source`
    pub source: Option<PathBuf>,
    /// `options`
    pub options: Vec<String>,
    /// Whether `uidMappings` or `gidMappings` are there
    pub id_mappings: bool,
}

/// `process`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// `terminal`
    pub terminal: bool,
    /// `consoleSize`: height and width in characters
    pub console_size: Option<(u64, u64)>,
    /// `args`
    pub args: Vec<String>,
    /// `env`
    pub env: Vec<String>,
    /// `cwd`; empty when absent
    pub cwd: PathBuf,
    /// `user.uid`
    pub uid: u32,
    /// `user.gid`
    pub gid: u32,
    /// `user.additionalGids`
    pub groups: Vec<u32>,
    /// `user.umask`
    pub umask: Option<u32>,
    /// `rlimits`
    pub rlimits: Vec<RlimitEntry>,
    /// `noNewPrivileges`
    pub no_new_privileges: bool,
}

/// An entry of `process.rlimits`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RlimitEntry {
    /// `type`: `RLIMIT_…`
    #[serde(rename = "type")]
    pub name: String,
    /// `soft`
    pub soft: u64,
    /// `hard`
    pub hard: u64,
}

/// A hook (runtime-spec, config.md "POSIX-platform Hooks").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: PathBuf,
    /// Its argv, the name first; the path alone if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds before it is killed, with its process group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// `hooks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated; before `createRuntime`, on the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// After the jail was made, on the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// Before the process enters the jail's root; programs of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// In the jail, before the program; programs of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the program was executed, on the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted, on the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there is any hook.
    pub fn any(&self) -> bool {
        self.any_before_program() || !self.poststart.is_empty() || !self.poststop.is_empty()
    }

    /// Whether any hook runs while the container is created or before its program is executed.
    pub fn any_before_program(&self) -> bool {
        let before = [&self.prestart, &self.create_runtime, &self.create_container, &self.start_container];
        before.iter().any(|list| !list.is_empty())
    }

    /// Every kind with its property name.
    pub fn kinds(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

/// What is taken of the `linux` object, which engines write on FreeBSD too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    /// `cgroupsPath`
    pub cgroups_path: Option<PathBuf>,
    /// `namespaces`
    pub namespaces: Vec<LinuxNamespace>,
    /// `devices`
    pub devices: Vec<LinuxDevice>,
    /// `sysctl`
    pub sysctl: BTreeMap<String, String>,
    /// `uidMappings`
    pub uid_mappings: Vec<Value>,
    /// `gidMappings`
    pub gid_mappings: Vec<Value>,
    /// `resources`
    pub resources: LinuxResources,
    /// What has a value in `resources` and is not taken; without `devices`, which is no limit
    #[serde(skip)]
    pub resources_ignored: Vec<String>,
}

/// An entry of `linux.devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LinuxDevice {
    /// `path`
    pub path: PathBuf,
    /// `type`: `c`, `u`, `b` or `p`
    #[serde(rename = "type")]
    pub kind: String,
    /// `major`
    pub major: u64,
    /// `minor`
    pub minor: u64,
    /// `fileMode`
    pub file_mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
}

/// An entry of `linux.namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LinuxNamespace {
    /// `type`
    #[serde(rename = "type")]
    pub kind: String,
    /// `path` of a namespace to be joined
    pub path: Option<PathBuf>,
}

impl Config {
    /// Parses `config.json` and, where there is one, `runj.ext.json`, and merges all dialects.
    ///
    /// # Errors
    ///
    /// A text that is no JSON object. Everything else that is wrong becomes a problem of the configuration, so that all
    /// can be told at once.
    pub fn parse(config: &[u8], ext: Option<&[u8]>) -> Result<Self, ConfigError> {
        let mut parsed = parse::config(config)?;
        let ext: ext::Ext = match ext.map(|bytes| parse::json(ext::FILE, bytes)).transpose() {
            Ok(ext) => ext.unwrap_or_default(),
            Err(error) => {
                parsed.problems.push(error.into_problem());
                ext::Ext::default()
            }
        };
        let (rules, problems) = annotations::rules(&parsed.annotations);
        parsed.rules = rules;
        parsed.problems.extend(problems);
        let (rules, problems) = ext.rules();
        parsed.override_rules(rules);
        parsed.problems.extend(problems);
        ext::merge(&mut parsed.jail, ext);
        let contradictions = annotations::merge(&mut parsed);
        parsed.problems.extend(contradictions);
        Ok(parsed)
    }

    /// Puts rules into the place of what else limits the same.
    fn override_rules(&mut self, rules: Vec<AskedRule>) {
        let resources = &mut self.linux.resources;
        for AskedRule { rule, .. } in &rules {
            self.rules.retain(|known| known.rule.subject() != rule.subject());
            match rule.subject().as_str() {
                "memoryuse:sigkill" => resources.memory.limit = None,
                "swapuse:deny" => resources.memory.swap = None,
                "maxproc:deny" => resources.pids.limit = None,
                "pcpu:deny" => (resources.cpu.quota, resources.cpu.period) = (None, None),
                _ => {}
            }
        }
        self.rules.extend(rules);
    }

    /// Whether the bundle was written by an engine that counts on the defaults of its dialect.
    pub fn is_engine_dialect(&self) -> bool {
        annotations::is_engine(&self.annotations)
    }
}

impl Process {
    /// Parses the file of `exec --process`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        parse::process(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// What is wrong with the text, or with what is in it.
    fn error(text: &str) -> String {
        match Config::parse(text.as_bytes(), None) {
            Ok(config) => config.unreadable.first().unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[rstest]
    #[case("", "config.json: EOF while parsing")]
    #[case("[]", "config.json: invalid type: sequence, expected a map")]
    #[case("{} x", "config.json: trailing characters")]
    #[case(r#"{"ociVersion":7}"#, "ociVersion: invalid type: integer `7`, expected a string")]
    #[case(r#"{"process":[]}"#, "process: must be an object")]
    #[case(r#"{"process":{"args":"sh"}}"#, "process.args: must be a list")]
    #[case(r#"{"process":{"user":{"uid":-1}}}"#, "process.user.uid: invalid value")]
    #[case(r#"{"process":{"rlimits":[{"type":"RLIMIT_NOFILE"}]}}"#, "process.rlimits[0].soft: missing")]
    #[case(r#"{"mounts":[{"destination":3}]}"#, "mounts[0].destination: invalid type")]
    #[case(r#"{"freebsd":{"jail":{"ip4":"maybe"}}}"#, "freebsd.jail.ip4: unknown variant `maybe`")]
    fn wrong_types_name_the_property(#[case] text: &str, #[case] message: &str) {
        let error = error(text);
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(error(&text).contains("recursion limit") || error(&text).contains("invalid type"));
        let text = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(error(&text).contains("recursion limit"), "{}", error(&text));
    }

    #[test]
    fn not_utf8_is_an_error() {
        let error = Config::parse(b"{\"a\":\"\xff\"}", None).unwrap_err().to_string();
        assert_eq!(error, "config.json: not UTF-8 at byte 6");
    }

    #[test]
    fn what_engines_write_is_accepted() {
        let text = r#"{"ociVersion":"1.3.0","process":{"args":["sh"],"cwd":"/","user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_CHOWN"]},"rlimits":[{"type":"RLIMIT_SBSIZE","soft":1,"hard":2}]},
            "root":{"path":"rootfs"},"linux":{"namespaces":[{"type":"pid"}],"maskedPaths":["/proc/acpi"],
            "resources":{"devices":[{"allow":false}],"memory":{"limit":5}},"cgroupsPath":"/a/b"},
            "somethingNew":{"x":1}}"#;
        let config = Config::parse(text.as_bytes(), None).unwrap();
        assert_eq!(config.linux.resources.memory.limit, Some(5));
        assert_eq!(config.linux.cgroups_path, Some("/a/b".into()));
        assert_eq!(config.process.unwrap().rlimits[0].name, "RLIMIT_SBSIZE");
    }

    #[test]
    fn null_is_absent() {
        let text = r#"{"ociVersion":"1.3.0","mounts":null,"hostname":null,"freebsd":{"jail":{"ip4Addr":null}},
            "process":{"args":["sh"],"rlimits":null,"user":{"uid":null}},"hooks":{"poststop":[{"path":"/x","args":null}]}}"#;
        let config = Config::parse(text.as_bytes(), None).unwrap();
        assert_eq!((config.unreadable, config.mounts.len(), config.hostname), (vec![], 0, None));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Config::parse(&bytes, Some(&bytes));
        }
    }
}

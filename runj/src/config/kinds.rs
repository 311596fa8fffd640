//! The types of what is read, so that everything of a wrong type can be told at once. Pure.
//!
//! Used only after a configuration could not be read: each wrong value gets a neutral one in its place, so that the rest
//! can be read and planned.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Problem;
use crate::sys::jail::JailSys;

/// What a property must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A text that must be there where its object is.
    NeededText,
    Flag,
    U32,
    I64,
    U64,
    NeededU64,
    Mode,
    Object,
    List,
    /// An object whose members are all texts.
    Texts,
}

use Kind::{Flag, I64, List, Mode, NeededText, NeededU64, Object, Text, Texts, U32, U64};

/// What is read of `config.json`, objects and lists before what is in them.
pub(super) const CONFIG: &[(&str, Kind)] = &[
    ("ociVersion", Text),
    ("hostname", Text),
    ("domainname", Text),
    ("annotations", Texts),
    ("root", Object),
    ("root.path", NeededText),
    ("root.readonly", Flag),
    ("mounts", List),
    ("mounts[]", Object),
    ("mounts[].destination", NeededText),
    ("mounts[].type", Text),
    ("mounts[].source", Text),
    ("mounts[].options", List),
    ("mounts[].options[]", Text),
    ("mounts[].uidMappings", List),
    ("mounts[].uidMappings[]", Object),
    ("mounts[].uidMappings[].containerID", U32),
    ("mounts[].uidMappings[].hostID", U32),
    ("mounts[].uidMappings[].size", U32),
    ("mounts[].gidMappings", List),
    ("mounts[].gidMappings[]", Object),
    ("mounts[].gidMappings[].containerID", U32),
    ("mounts[].gidMappings[].hostID", U32),
    ("mounts[].gidMappings[].size", U32),
    ("hooks", Object),
    ("process", Object),
    ("freebsd", Object),
    ("freebsd.devices", List),
    ("freebsd.devices[]", Object),
    ("freebsd.devices[].path", NeededText),
    ("freebsd.devices[].mode", U32),
    ("freebsd.jail", Object),
    ("freebsd.jail.parent", Text),
    ("freebsd.jail.host", Mode),
    ("freebsd.jail.ip4", Mode),
    ("freebsd.jail.ip4Addr", List),
    ("freebsd.jail.ip4Addr[]", Text),
    ("freebsd.jail.ip6", Mode),
    ("freebsd.jail.ip6Addr", List),
    ("freebsd.jail.ip6Addr[]", Text),
    ("freebsd.jail.vnet", Mode),
    ("freebsd.jail.interface", Text),
    ("freebsd.jail.vnetInterfaces", List),
    ("freebsd.jail.vnetInterfaces[]", Text),
    ("freebsd.jail.sysvmsg", Mode),
    ("freebsd.jail.sysvsem", Mode),
    ("freebsd.jail.sysvshm", Mode),
    ("freebsd.jail.enforceStatfs", I64),
    ("freebsd.jail.allow", Object),
    ("freebsd.jail.allow.setHostname", Flag),
    ("freebsd.jail.allow.rawSockets", Flag),
    ("freebsd.jail.allow.chflags", Flag),
    ("freebsd.jail.allow.mount", List),
    ("freebsd.jail.allow.mount[]", Text),
    ("freebsd.jail.allow.quotas", Flag),
    ("freebsd.jail.allow.socketAf", Flag),
    ("freebsd.jail.allow.mlock", Flag),
    ("freebsd.jail.allow.reservedPorts", Flag),
    ("freebsd.jail.allow.suser", Flag),
    ("linux", Object),
    ("linux.cgroupsPath", Text),
    ("linux.sysctl", Texts),
    ("linux.namespaces", List),
    ("linux.namespaces[]", Object),
    ("linux.namespaces[].type", NeededText),
    ("linux.namespaces[].path", Text),
    ("linux.devices", List),
    ("linux.devices[]", Object),
    ("linux.devices[].path", Text),
    ("linux.devices[].type", Text),
    ("linux.devices[].major", U64),
    ("linux.devices[].minor", U64),
    ("linux.devices[].fileMode", U32),
    ("linux.devices[].uid", U32),
    ("linux.devices[].gid", U32),
    ("linux.uidMappings", List),
    ("linux.gidMappings", List),
    ("linux.resources", Object),
    ("linux.resources.memory", Object),
    ("linux.resources.memory.limit", I64),
    ("linux.resources.memory.swap", I64),
    ("linux.resources.pids", Object),
    ("linux.resources.pids.limit", I64),
    ("linux.resources.cpu", Object),
    ("linux.resources.cpu.quota", I64),
    ("linux.resources.cpu.period", U64),
    ("linux.resources.cpu.cpus", Text),
];

/// What is read of `hooks`, for each kind of them.
const HOOKS: &[(&str, Kind)] = &[
    ("", List),
    ("[]", Object),
    ("[].path", NeededText),
    ("[].args", List),
    ("[].args[]", Text),
    ("[].env", List),
    ("[].env[]", Text),
    ("[].timeout", I64),
];

/// What is read of `process`, and of the file of `exec --process`.
pub(super) const PROCESS: &[(&str, Kind)] = &[
    ("terminal", Flag),
    ("consoleSize", Object),
    ("consoleSize.height", NeededU64),
    ("consoleSize.width", NeededU64),
    ("args", List),
    ("args[]", Text),
    ("env", List),
    ("env[]", Text),
    ("cwd", Text),
    ("user", Object),
    ("user.uid", U32),
    ("user.gid", U32),
    ("user.umask", U32),
    ("user.additionalGids", List),
    ("user.additionalGids[]", U32),
    ("user.username", Text),
    ("rlimits", List),
    ("rlimits[]", Object),
    ("rlimits[].type", NeededText),
    ("rlimits[].soft", NeededU64),
    ("rlimits[].hard", NeededU64),
    ("noNewPrivileges", Flag),
];

/// Lists what is of a wrong type, and puts a neutral value in its place.
pub(super) fn repair(object: &mut Map<String, Value>, kinds: &[(&str, Kind)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut top = Value::Object(std::mem::take(object));
    let mut look = |path: &str, kind| walk(&mut top, "", path, kind, &mut problems);
    for (path, kind) in kinds {
        look(path, *kind);
        match *path {
            "process" => PROCESS.iter().for_each(|(path, kind)| look(&format!("process.{path}"), *kind)),
            "hooks" => {
                for (name, _) in super::Hooks::default().kinds() {
                    HOOKS.iter().for_each(|(path, kind)| look(&format!("hooks.{name}{path}"), *kind));
                }
            }
            _ => {}
        }
    }
    if let Value::Object(repaired) = top {
        *object = repaired;
    }
    problems
}

/// Follows a path to each value that it names.
fn walk(value: &mut Value, at: &str, path: &str, kind: Kind, problems: &mut Vec<Problem>) {
    if path.is_empty() {
        return check(value, at, kind, problems);
    }
    if let Some(rest) = path.strip_prefix("[]") {
        for (index, entry) in value.as_array_mut().into_iter().flatten().enumerate() {
            walk(entry, &format!("{at}[{index}]"), rest.trim_start_matches('.'), kind, problems);
        }
        return;
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = (&path[..end], path[end..].trim_start_matches('.'));
    let below = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let Some(object) = value.as_object_mut() else { return };
    match object.get_mut(name) {
        Some(Value::Null) | None if rest.is_empty() && matches!(kind, NeededText | NeededU64) => {
            problems.push(Problem::new(below, "missing"));
            object.insert(name.to_owned(), neutral(kind));
        }
        Some(Value::Null) | None => {}
        Some(inner) => walk(inner, &below, rest, kind, problems),
    }
}

fn check(value: &mut Value, at: &str, kind: Kind, problems: &mut Vec<Problem>) {
    let wrong = match kind {
        Text | NeededText => wrong::<String>(value),
        Flag => wrong::<bool>(value),
        U32 => wrong::<u32>(value),
        I64 => wrong::<i64>(value),
        U64 | NeededU64 => wrong::<u64>(value),
        Mode => wrong::<JailSys>(value),
        Object => (!value.is_object()).then(|| "must be an object".to_owned()),
        List => (!value.is_array()).then(|| "must be a list".to_owned()),
        Texts => match value.as_object_mut() {
            None => Some("must be an object".to_owned()),
            Some(object) => {
                for (name, inner) in object.iter_mut().filter(|(_, inner)| !inner.is_null()) {
                    check(inner, &format!("{at}.{name}"), Text, problems);
                }
                None
            }
        },
    };
    if let Some(message) = wrong {
        problems.push(Problem::new(at, message));
        *value = neutral(kind);
    }
}

fn wrong<T: DeserializeOwned>(value: &Value) -> Option<String> {
    serde_json::from_value::<T>(value.clone()).err().map(|error| error.to_string())
}

fn neutral(kind: Kind) -> Value {
    match kind {
        Text | NeededText => json!(""),
        Flag => json!(false),
        U32 | I64 | U64 | NeededU64 => json!(0),
        Mode => Value::Null,
        Object | Texts => json!({}),
        List => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn everything_of_a_wrong_type_is_told_at_once() {
        let text = r#"{"ociVersion":7,"process":{"args":"sh","user":{"uid":-1},"rlimits":[{"type":"RLIMIT_CPU","soft":1},{}]},
            "mounts":[{"destination":"/a","options":[1]},{"type":"tmpfs"}],"hooks":{"poststop":[{"timeout":"1"}]},
            "annotations":{"a":1},"freebsd":{"jail":{"ip4":"maybe","allow":{"mlock":"yes"}},"devices":{}}}"#;
        let found: Vec<String> =
            Config::parse(text.as_bytes(), None).unwrap().unreadable.into_iter().map(|p| p.property).collect();
        let expected = [
            "ociVersion",
            "annotations.a",
            "mounts[1].destination",
            "mounts[0].options[0]",
            "hooks.poststop[0].path",
            "hooks.poststop[0].timeout",
            "process.args",
            "process.user.uid",
            "process.rlimits[1].type",
            "process.rlimits[1].soft",
            "process.rlimits[0].hard",
            "process.rlimits[1].hard",
            "freebsd.devices",
            "freebsd.jail.ip4",
            "freebsd.jail.allow.mlock",
        ];
        assert_eq!(found, expected);
    }

    /// The specification's own list of properties has the same types.
    #[test]
    fn the_types_are_those_of_the_specification() {
        let list = include_str!("../../../fixtures/spec/runtime-spec.tsv");
        let process = PROCESS.iter().map(|(path, kind)| (format!("process.{path}"), *kind));
        for (path, kind) in CONFIG.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).chain(process) {
            let expected: &[&str] = match kind {
                Text | NeededText | Mode => &["string"],
                Flag => &["boolean"],
                U32 | I64 | U64 | NeededU64 => &["integer"],
                Texts => &["map"],
                Object | List => continue,
            };
            let (name, array) = match path.strip_suffix("[]") {
                Some(name) => (name, "[]"),
                None => (path.as_str(), ""),
            };
            let line = list.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
            let wanted = expected.iter().any(|kind| line == Some(&format!("{kind}{array}")));
            assert!(wanted, "{path}: {kind:?}, the specification says {line:?}");
        }
    }
}

//! What becomes of each property of the runtime specification: the list behind `plan --explain` and
//! docs/spec-coverage.md. Pure.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::sys::jail::System;

/// The list, a part of the program.
const LIST: &str = include_str!("../../../fixtures/spec/coverage.json");

/// What becomes of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does what the specification says.
    Applied,
    /// It has no effect.
    Ignored,
    /// It is an error.
    Refused,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// The list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Properties of config.json.
    pub properties: Vec<Entry>,
    /// Every MUST of runtime.md.
    pub musts: Vec<Must>,
}

/// A property, or with `.*` behind it everything below.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path; `[]` stands for each entry of a list.
    pub property: String,
    /// What becomes of it.
    pub status: Status,
    /// As what, or why not.
    pub effect: String,
    /// The parameter of the jail that it becomes.
    #[serde(default)]
    pub parameter: Option<String>,
    /// Where the emulation differs.
    #[serde(default)]
    pub emulation: Option<Emulation>,
    /// The tests, `FILE::TEST`.
    pub tests: Vec<String>,
}

/// What becomes of a property in the emulation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulation {
    /// What becomes of it.
    pub status: Status,
    /// As what, or why not.
    pub effect: String,
}

/// A MUST.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Must {
    /// The section of runtime.md.
    pub section: String,
    /// What a runtime must do.
    pub must: String,
    /// How it is kept.
    pub how: String,
    /// The tests.
    pub tests: Vec<String>,
}

impl Coverage {
    /// The list of this program.
    pub fn own() -> &'static Self {
        static OWN: OnceLock<Coverage> = OnceLock::new();
        // The test below reads it.
        OWN.get_or_init(|| Self::parse(LIST).unwrap_or(Self { properties: Vec::new(), musts: Vec::new() }))
    }

    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The entry of a property: its own, or that of the group which it is in.
    pub fn entry(&self, property: &str) -> Option<&Entry> {
        let property = property.strip_suffix("[]").unwrap_or(property);
        let own = self.properties.iter().find(|entry| entry.property == property);
        let group = |entry: &&Entry| {
            let group = entry.property.strip_suffix(".*");
            group.is_some_and(|group| property.strip_prefix(group).is_some_and(|rest| rest.starts_with(['.', '['])))
        };
        own.or_else(|| self.properties.iter().filter(group).max_by_key(|entry| entry.property.len()))
    }

    /// Whether there are properties below this one.
    pub fn has_below(&self, property: &str) -> bool {
        let below =
            |entry: &Entry| entry.property.strip_prefix(property).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.properties.iter().any(below)
    }
}

impl Entry {
    /// What becomes of it on a system.
    pub fn fate(&self, system: System) -> (Status, &str) {
        match (&self.emulation, system) {
            (Some(emulation), System::Linux) => (emulation.status, &emulation.effect),
            _ => (self.status, &self.effect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_own_list_is_read() {
        Coverage::parse(LIST).unwrap();
    }

    #[test]
    fn the_closest_group_is_taken() {
        let text = r#"{"musts":[],"properties":[
            {"property":"linux.*","status":"ignored","effect":"a","tests":[]},
            {"property":"linux.devices.*","status":"ignored","effect":"b","tests":[]},
            {"property":"linux.sysctl","status":"applied","effect":"c","tests":[]}]}"#;
        let coverage = Coverage::parse(text).unwrap();
        let effect = |property| coverage.entry(property).map(|entry| entry.effect.as_str());
        assert_eq!(effect("linux.seccomp.flags[]"), Some("a"));
        assert_eq!(effect("linux.devices[].path"), Some("b"));
        assert_eq!(effect("linux.sysctl"), Some("c"));
        assert_eq!((effect("linuxes"), effect("hostname")), (None, None));
        assert!(coverage.has_below("linux") && !coverage.has_below("linux.sysctl"));
    }
}

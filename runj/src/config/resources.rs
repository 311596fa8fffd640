//! What a bundle asks for in limits: what is taken of `linux.resources`, there and by `update --resources`, and the
//! rules of rctl(8). Pure.

use serde::Deserialize;
use serde_json::Value;

use super::ConfigError;
use super::parse::{from_value, object};
use crate::sys::limit::Rule;

/// A rule of rctl(8), and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedRule {
    /// `annotations.org.freebsd.rctl.openfiles`
    pub property: String,
    /// The rule
    pub rule: Rule,
}

/// What is taken of `linux.resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinuxResources {
    /// `memory`
    pub memory: LinuxMemory,
    /// `pids`
    pub pids: LinuxPids,
    /// `cpu`
    pub cpu: LinuxCpu,
}

/// What is taken of `linux.resources.memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinuxMemory {
    /// `limit` in bytes; negative is no limit
    pub limit: Option<i64>,
    /// `swap` in bytes, which counts memory too; zero or negative is no limit
    pub swap: Option<i64>,
}

/// What is taken of `linux.resources.pids`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinuxPids {
    /// `limit`; zero or negative is no limit
    pub limit: Option<i64>,
}

/// What is taken of `linux.resources.cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinuxCpu {
    /// `quota` in microseconds; zero or negative is no limit
    pub quota: Option<i64>,
    /// `period` in microseconds
    pub period: Option<u64>,
    /// `cpus`, a list of processors; empty is no limit
    pub cpus: Option<String>,
}

impl LinuxResources {
    /// Drops what podman asks for when nobody did: twice the memory as the limit of memory and swap.
    pub fn drop_unasked_swap(&mut self) {
        if self.memory.swap.is_some() && self.memory.swap == self.memory.limit.and_then(|limit| limit.checked_mul(2)) {
            self.memory.swap = None;
        }
    }

    /// Parses the file of `update --resources`; also returns what it asks for and is not taken.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Vec<String>), ConfigError> {
        const FILE: &str = "resources";
        let value = Value::Object(object(FILE, bytes)?);
        let ignored = ignored(Some(&value));
        Ok((from_value(FILE, "", value)?, ignored))
    }
}

/// The properties of `linux.resources` that have a value and are not taken, as `cpu.shares`.
pub(super) fn ignored(resources: Option<&Value>) -> Vec<String> {
    const TAKEN: [&str; 6] = ["memory.limit", "memory.swap", "pids.limit", "cpu.quota", "cpu.period", "cpu.cpus"];
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) => false,
    };
    let mut ignored = Vec::new();
    for (section, content) in resources.and_then(Value::as_object).into_iter().flatten() {
        match content {
            Value::Object(content) => ignored.extend(
                content
                    .iter()
                    .filter(|(_, value)| !says_nothing(value))
                    .map(|(name, _)| format!("{section}.{name}"))
                    .filter(|name| !TAKEN.contains(&name.as_str())),
            ),
            other if says_nothing(other) => {}
            _ => ignored.push(section.clone()),
        }
    }
    ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_named() {
        let json = r#"{"cpu":{"shares":2,"quota":1,"cpus":""},"memory":{"swap":0,"reservation":5},"devices":[],
            "blockIO":{"weight":10},"unified":{"a":"b"},"network":null}"#;
        let (_, ignored) = LinuxResources::parse(json.as_bytes()).unwrap();
        assert_eq!(ignored, ["blockIO.weight", "cpu.shares", "memory.reservation", "unified.a"]);
    }
}

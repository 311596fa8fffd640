//! What becomes of each property of a bundle: `plan --explain`. Pure.
//!
//! Every leaf of `config.json` and `runj.ext.json` gets a line. What is refused is said by the problems of the plan, all
//! else by the list of [`super::coverage`], made concrete with the plan where there is one.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::coverage::{Coverage, Status};
use super::mount::{self, OptionFate};
use super::text::one_line;
use super::{Places, Plan, Problems};
use crate::config::ext::FILE as EXT;
use crate::config::{Config, annotations};
use crate::sys::jail::{HostFacts, ParamValue, System};
use crate::sys::limit::Rule;

/// How many problems a property shows; the others get lines of their own.
const MAX_REASONS: usize = 16;

/// What becomes of one property.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its path: `process.args[0]`; of `runj.ext.json` with that name before it.
    pub property: String,
    /// Its value; none for a property that is missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What becomes of it.
    pub status: Status,
    /// As what it is applied, or why not.
    pub effect: String,
}

/// A bundle and what was made of it.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    /// `config.json`
    pub json: &'a Value,
    /// `runj.ext.json`, if there is one and it is JSON
    pub ext: Option<&'a Value>,
    /// Both, read
    pub config: &'a Config,
    /// The plan, or why there is none
    pub outcome: &'a Result<Plan, Problems>,
    /// What was planned for
    pub facts: &'a HostFacts,
}

/// A line for each property of the bundle, and for each problem that none of them has.
pub fn explain(bundle: &Explained<'_>) -> Vec<Line> {
    let coverage = Coverage::own();
    let mut leaves = Vec::new();
    collect(bundle.json, "", &mut leaves);
    let own = leaves.len();
    if let Some(ext) = bundle.ext {
        collect(ext, &format!("{EXT}: "), &mut leaves);
    }
    let problems = bundle.outcome.as_ref().err().map_or(&[][..], |problems| &problems.0);
    let places = Places::new(problems.iter().map(|problem| problem.property.as_str()));
    let mut placed = vec![false; problems.len()];
    let mut lines = Vec::with_capacity(leaves.len());
    for (index, (property, value)) in leaves.into_iter().enumerate() {
        let numbers: BTreeSet<usize> = places.related(&property).take(MAX_REASONS).collect();
        numbers.iter().for_each(|number| placed[*number] = true);
        let reasons: Vec<&str> = numbers.iter().map(|number| problems[*number].message.as_str()).collect();
        let (status, effect) = match reasons.is_empty() {
            false => (Status::Refused, reasons.join("; ")),
            true if index < own => bundle.fate(coverage, &property, value),
            true => bundle.ext_fate(&property, value),
        };
        lines.push(Line { property, value: Some(value.clone()), status, effect });
    }
    let elsewhere = problems.iter().zip(placed).filter(|(_, placed)| !placed);
    lines.extend(elsewhere.map(|(problem, _)| Line {
        property: problem.property.clone(),
        value: None,
        status: Status::Refused,
        effect: problem.message.clone(),
    }));
    lines
}

/// The lines as text.
pub fn render(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        let value = line.value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        let text = format!("{}  {}{value}: {}", line.status.as_str(), line.property, line.effect);
        out += &one_line(&text);
        out.push('\n');
    }
    out
}

/// The properties that are ignored, each once, as [`Coverage`] groups them.
pub fn ignored(lines: &[Line]) -> BTreeSet<String> {
    let coverage = Coverage::own();
    let name = |line: &Line| {
        let pattern = pattern(&line.property);
        let name = match coverage.entry(&pattern) {
            // Of resources, others are applied.
            Some(entry) if entry.property.ends_with(".*") && !pattern.starts_with("linux.resources.") => {
                let depth = entry.property.split('.').count() - 1;
                pattern.split('.').take(depth.max(2)).collect::<Vec<_>>().join(".")
            }
            _ => line.property.clone(),
        };
        one_line(name.trim_end_matches("[]"))
    };
    lines.iter().filter(|line| line.status == Status::Ignored).map(name).collect()
}

/// Every value that has none below it, with its path.
fn collect<'a>(value: &'a Value, path: &str, leaves: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (name, value) in object {
                let joint = if path.is_empty() || path.ends_with(' ') { "" } else { "." };
                collect(value, &format!("{path}{joint}{name}"), leaves);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                collect(value, &format!("{path}[{index}]"), leaves);
            }
        }
        _ => leaves.push((path.to_owned(), value)),
    }
}

/// The path with `[]` for each index.
fn pattern(property: &str) -> String {
    let mut out = String::with_capacity(property.len());
    let mut rest = property;
    while let Some(start) = rest.find('[') {
        let (before, index) = rest.split_at(start);
        let digits = index[1..].find(|c: char| !c.is_ascii_digit()).map_or(index.len(), |end| end + 1);
        out += before;
        if digits > 1 && index[digits..].starts_with(']') {
            out += "[]";
            rest = &index[digits + 1..];
        } else {
            out.push('[');
            rest = &index[1..];
        }
    }
    out + rest
}

/// The number in `mounts[NUMBER]…`, and what is behind it.
fn mount_index(property: &str) -> Option<(usize, &str)> {
    let (index, rest) = property.strip_prefix("mounts[")?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

impl Explained<'_> {
    fn fate(&self, coverage: &Coverage, property: &str, value: &Value) -> (Status, String) {
        let say = |status, effect: &str| (status, effect.to_owned());
        if value.is_null() {
            return say(Status::Ignored, "null is the same as absent");
        }
        let special = self.annotation_fate(property).or_else(|| self.mount_fate(property, value));
        let special = special.or_else(|| self.limit_fate(property, value));
        if let Some(fate) = special.or_else(|| self.other_fate(property)) {
            return fate;
        }
        let pattern = pattern(property);
        let map = |name: &str| pattern.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let entry = match ["annotations", "linux.sysctl"].into_iter().find(|name| map(name)) {
            Some(name) => coverage.entry(name),
            None => coverage.entry(&pattern),
        };
        let known = entry.is_some() || property.is_empty() || coverage.has_below(&pattern);
        if is_empty(value) && known {
            return say(Status::Ignored, "is empty");
        }
        let Some(entry) = entry else {
            return say(Status::Ignored, "is not in runtime-spec 1.3, which has unknown properties ignored");
        };
        let (status, effect) = match entry.fate(self.facts.system) {
            // It would have been a problem if it were.
            (Status::Refused, effect) => (Status::Ignored, effect),
            fate => fate,
        };
        let parameter = entry.parameter.as_deref().filter(|_| status == Status::Applied);
        match parameter.and_then(|name| self.parameter(name)) {
            Some(shown) => (status, format!("{shown}: {effect}")),
            None => say(status, effect),
        }
    }

    /// The parameter of the jail with its value, as jail(8) shows it.
    fn parameter(&self, name: &str) -> Option<String> {
        let value = self.outcome.as_ref().ok()?.jail.get(name)?;
        Some(match value {
            ParamValue::Root => format!("{name}={}", self.outcome.as_ref().ok()?.root.path.display()),
            _ => value.shown(name),
        })
    }

    fn annotation_fate(&self, property: &str) -> Option<(Status, String)> {
        let key = property.strip_prefix("annotations.")?;
        if let Some(resource) = annotations::resource(key) {
            return Some(self.rules_fate(property, resource));
        }
        let name = annotations::parameter(key)?;
        if name == "jid" {
            return Some((Status::Ignored, "is what a runtime reports, and not what it is told".to_owned()));
        }
        let name = if name == "ip6.add" { "ip6.addr" } else { name };
        let shown = self.parameter(name).unwrap_or_else(|| format!("parameter {name}"));
        Some((Status::Applied, format!("{shown}: of the jail; shown by state and given to hooks")))
    }

    fn mount_fate(&self, property: &str, value: &Value) -> Option<(Status, String)> {
        let (index, rest) = mount_index(property)?;
        let mount = self.config.mounts.get(index)?;
        let Some(fstype) = mount::fstype(mount, self.facts.system) else {
            let name = mount.fstype.as_deref().unwrap_or_default();
            return Some((Status::Ignored, format!("FreeBSD has no {name}, and needs none: the mount is left out")));
        };
        if rest == ".type" && value.as_str() != Some(fstype.as_str()) {
            return Some((Status::Applied, format!("mounted as {fstype}")));
        }
        if rest == ".source" && fstype != "nullfs" {
            return Some((Status::Applied, format!("the name that mount(8) shows: {fstype} has no source")));
        }
        let option = value.as_str().filter(|_| rest.starts_with(".options["))?;
        Some(match mount::option_fate(option, &fstype) {
            OptionFate::WithoutEffect => (Status::Ignored, "says what is so anyway, or nothing to jails".to_owned()),
            OptionFate::Own(effect) => (Status::Applied, effect.to_owned()),
            OptionFate::FileSystem => (Status::Applied, format!("an option of {fstype}")),
        })
    }

    /// The rules of an annotation, as far as no limit of the ext file is in their place.
    fn rules_fate(&self, property: &str, resource: &str) -> (Status, String) {
        let rules = &self.config.rules;
        let own: Vec<String> =
            rules.iter().filter(|asked| asked.property == property).map(|asked| self.shown(&asked.rule)).collect();
        if own.is_empty() {
            let other = rules.iter().find(|asked| asked.rule.resource() == resource).map(|asked| &asked.property);
            return (Status::Ignored, format!("{} overrides it", other.map_or(EXT, String::as_str)));
        }
        (Status::Applied, format!("{}; shown by state and given to hooks", own.join(", ")))
    }

    /// A limit of `linux.resources`.
    fn limit_fate(&self, property: &str, value: &Value) -> Option<(Status, String)> {
        let name = property.strip_prefix("linux.resources.")?;
        if name == "cpu.cpus" {
            return Some(match value.as_str() {
                Some("") => (Status::Ignored, "is no limit".to_owned()),
                _ if self.facts.system == System::Freebsd => (Status::Applied, "cpuset(1) of the jail".to_owned()),
                _ => (Status::Applied, self.in_cgroup("cpuset.cpus")),
            });
        }
        let (resource, action) = match name {
            "memory.limit" => ("memoryuse", "sigkill"),
            "memory.swap" => ("swapuse", "deny"),
            "pids.limit" => ("maxproc", "deny"),
            "cpu.quota" | "cpu.period" => ("pcpu", "deny"),
            _ => return None,
        };
        let ignored = |effect: &str| Some((Status::Ignored, effect.to_owned()));
        if value.as_i64().is_some_and(|number| number <= 0) {
            return ignored("is no limit");
        }
        let asked = self.config.rules.iter().find(|asked| {
            asked.property.starts_with(EXT) && asked.rule.resource() == resource && asked.rule.action() == action
        });
        if let Some(asked) = asked {
            return ignored(&format!("{} overrides it", asked.property));
        }
        if name == "cpu.period" && self.config.linux.resources.cpu.quota.is_none_or(|quota| quota <= 0) {
            return ignored("means nothing without cpu.quota");
        }
        let limits = &self.outcome.as_ref().ok()?.limits;
        if name == "memory.swap" && limits.swap.is_none() {
            return ignored("is twice the memory, which podman sends unasked");
        }
        let rule = limits.rule(resource, action)?;
        Some((Status::Applied, self.shown(&rule)))
    }

    /// A limit as the system has it.
    fn shown(&self, rule: &Rule) -> String {
        let file = match (self.facts.system, rule.resource()) {
            (System::Freebsd, _) => return format!("rctl(8) {rule}"),
            (System::Linux, "memoryuse") => "memory.max",
            (System::Linux, "swapuse") => "memory.swap.max",
            (System::Linux, "maxproc") => "pids.max",
            (System::Linux, _) => "cpu.max",
        };
        self.in_cgroup(file)
    }

    fn in_cgroup(&self, file: &str) -> String {
        let cgroup = self.outcome.as_ref().ok().and_then(|plan| plan.limits.cgroup.as_ref());
        format!("{file} of the cgroup{}", cgroup.map(|path| format!(" {}", path.display())).unwrap_or_default())
    }

    fn other_fate(&self, property: &str) -> Option<(Status, String)> {
        let ignored = |effect: String| Some((Status::Ignored, effect));
        let process = self.config.process.as_ref();
        if property.starts_with("process.consoleSize.") && process.is_some_and(|process| !process.terminal) {
            return ignored("there is no terminal".to_owned());
        }
        if let Some(name) = property.strip_prefix("freebsd.jail.") {
            // Lists are appended to.
            let source = self.config.jail.sources.get(name).filter(|_| matches!(name, "ip4" | "vnet"));
            if let Some(source) = source.filter(|source| source.starts_with(EXT)) {
                return ignored(format!("{source} overrides it"));
            }
        }
        let plan = self.outcome.as_ref().ok()?;
        // What is left out although it was asked for is a warning.
        let own = |text: &String| text.strip_prefix(property)?.strip_prefix(": ").map(str::to_owned);
        if let Some(why) = plan.warnings.iter().find_map(own).filter(|_| property.starts_with("linux.")) {
            return ignored(why);
        }
        if property == "linux.cgroupsPath" && self.facts.system == System::Linux && plan.limits.cgroup.is_none() {
            return ignored("no cgroup is made there".to_owned());
        }
        None
    }

    fn ext_fate(&self, property: &str, value: &Value) -> (Status, String) {
        if value.is_null() || is_empty(value) {
            let effect = if value.is_null() { "null is the same as absent" } else { "is empty" };
            return (Status::Ignored, effect.to_owned());
        }
        let rule = self.config.rules.iter().find(|asked| {
            property.strip_prefix(&asked.property).is_some_and(|rest| matches!(rest, ".amount" | ".action"))
        });
        if let Some(asked) = rule {
            return (Status::Applied, self.shown(&asked.rule));
        }
        let name = property.strip_prefix(EXT).and_then(|rest| rest.strip_prefix(": network.")).unwrap_or_default();
        let (of, parameter) = match pattern(name).trim_end_matches("[]") {
            "ipv4.mode" => ("ip4", "ip4"),
            "ipv4.addr" => ("ip4Addr", "ip4.addr"),
            "vnet.mode" => ("vnet", "vnet"),
            "vnet.interfaces" => ("vnetInterfaces", "vnet.interface"),
            _ => ("", ""),
        };
        if !self.config.jail.sources.get(of).is_some_and(|source| source.starts_with(EXT)) {
            return (Status::Ignored, "is not read, since the file has an error".to_owned());
        }
        let shown = self.parameter(parameter).map(|shown| format!("{shown}: ")).unwrap_or_default();
        (Status::Applied, format!("{shown}as freebsd.jail.{of}"))
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Array(list) if list.is_empty())
        || matches!(value, Value::Object(object) if object.is_empty())
}

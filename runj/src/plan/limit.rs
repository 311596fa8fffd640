//! Resource limits. Pure.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::join;
use crate::config::resources::{AskedRule, LinuxResources};
use crate::config::{Config, Problem};
use crate::sys::jail::{HostFacts, System};
use crate::sys::limit::{CPU_PERIOD, Limits, Rule, RuleError};
use crate::sys::processors::{ListError, Processors};

/// The number of processes that podman asks for when nobody else does (`pids_limit` in containers.conf).
const ENGINES_PIDS: u64 = 2048;

/// Whether the plan of a configuration depends on what the system accounts ([`HostFacts::racct`]).
pub fn concerns(config: &Config, system: System) -> bool {
    let resources = &config.linux.resources;
    let sent = [resources.memory.limit, resources.memory.swap, resources.pids.limit, resources.cpu.quota];
    sent.into_iter().any(|value| positive(value).is_some())
        || !config.rules.is_empty()
        || (system == System::Linux && (config.linux.cgroups_path.is_some() || confines(resources)))
}

/// Whether the limits depend on which processors there are ([`HostFacts::processors`]).
pub fn confines(resources: &LinuxResources) -> bool {
    resources.cpu.cpus.as_deref().is_some_and(|list| !list.is_empty())
}

/// The processors that are asked for; all of them must be there.
fn processors(resources: &LinuxResources, facts: &HostFacts) -> Result<Option<Processors>, String> {
    let Some(list) = resources.cpu.cpus.as_deref().filter(|list| !list.is_empty()) else { return Ok(None) };
    let asked: Processors = list.parse().map_err(|error: ListError| error.to_string())?;
    let missing = asked.without(&facts.processors);
    if facts.processors.is_empty() || missing.is_empty() {
        return Ok(Some(asked));
    }
    Err(format!("there is no processor {missing} here; there are {}", facts.processors))
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
}

/// Why no limit holds on a system that does not account, and what to do about it.
pub fn remedy(system: System) -> &'static str {
    match system {
        System::Freebsd => {
            "the kernel accounts no resources: set kern.racct.enable=1 in /boot/loader.conf and reboot (see runj doctor)"
        }
        System::Linux => "no cgroup can be made below /sys/fs/cgroup (see runj doctor)",
    }
}

/// What is asked for in `linux.resources`, in annotations and in the ext file.
pub fn plan(
    config: &Config,
    jail: Option<&str>,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Limits {
    let mut resources = config.linux.resources.clone();
    if config.is_engine_dialect() {
        resources.drop_unasked_swap();
    }
    if !config.linux.resources_ignored.is_empty() {
        let list = config.linux.resources_ignored.join(", ");
        warnings.push(format!("linux.resources: not applied, since jails have no such limits: {list}"));
    }
    let cpu = positive(resources.cpu.quota).map(|quota| (quota, resources.cpu.period.unwrap_or(CPU_PERIOD)));
    if cpu.is_some_and(|(_, period)| period == 0) {
        problems.push(Problem::new("linux.resources.cpu.period", "must be greater than zero"));
    }
    let mut limits = Limits {
        memory: positive(resources.memory.limit),
        swap: positive(resources.memory.swap),
        pids: positive(resources.pids.limit),
        cpu,
        processors: processors(&resources, facts).unwrap_or_else(|message| {
            problems.push(Problem::new("linux.resources.cpu.cpus", message));
            None
        }),
        ..Limits::default()
    };
    if !facts.racct {
        refuse_what_is_asked_for(config, facts.system, &mut limits, problems, warnings);
    }
    for AskedRule { property, rule } in &config.rules {
        match limits.rule(rule.resource(), rule.action()) {
            Some(known) if known != *rule => {
                problems.push(Problem::new(property, format!("{rule} contradicts {known}, which is asked for too")));
            }
            _ => limits.set(rule.clone()),
        }
        problems.extend(unknown_here(rule, &limits, facts.system).map(|message| Problem::new(property, message)));
    }
    let swap = swap_refusal(&resources, &limits, facts.system);
    problems.extend(swap.map(|message| Problem::new("linux.resources.memory.swap", message)));
    if facts.system == System::Linux && facts.racct {
        limits.cgroup = cgroup(config, jail, !limits.is_empty(), problems, warnings);
    }
    limits
}

/// What somebody asked for is a problem; what an engine sends unasked is left out with a warning, so that its
/// containers run on a system that does not account.
fn refuse_what_is_asked_for(
    config: &Config,
    system: System,
    limits: &mut Limits,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let remedy = remedy(system);
    if config.is_engine_dialect() && limits.pids == Some(ENGINES_PIDS) {
        limits.pids = None;
        let property = "linux.resources.pids.limit";
        warnings.push(format!("{property}: {ENGINES_PIDS}, which engines send unasked, does not hold: {remedy}"));
    }
    let asked = [
        ("linux.resources.memory.limit", limits.memory.is_some()),
        ("linux.resources.memory.swap", limits.swap.is_some()),
        ("linux.resources.pids.limit", limits.pids.is_some()),
        ("linux.resources.cpu.quota", limits.cpu.is_some()),
        ("linux.resources.cpu.cpus", system == System::Linux && limits.processors.is_some()),
    ];
    let asked = asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(property, _)| property);
    let mut asked: Vec<&str> = asked.chain(config.rules.iter().map(|asked| asked.property.as_str())).collect();
    // An annotation may hold several rules.
    asked.dedup();
    problems.extend(asked.into_iter().map(|property| Problem::new(property, remedy)));
}

/// Why the limit of memory and swap cannot be that.
fn swap_refusal(resources: &LinuxResources, limits: &Limits, system: System) -> Option<String> {
    let swap = limits.swap.filter(|_| system == System::Linux || positive(resources.memory.swap).is_some())?;
    match limits.memory {
        Some(memory) if swap < memory => {
            Some(format!("{swap} is less than memory.limit, {memory}: it counts memory and swap together"))
        }
        None if system == System::Linux => {
            Some("means nothing without memory.limit: it counts memory and swap together".to_owned())
        }
        _ => None,
    }
}

/// Why a rule cannot be applied on this system, if it is among those that stayed rules.
fn unknown_here(rule: &Rule, limits: &Limits, system: System) -> Option<String> {
    // What `swap` means a cgroup can do, with a limit of memory.
    (system == System::Linux && (limits.rules.contains(rule) || rule.resource() == "swapuse")).then(|| {
        format!("{rule}: Linux has no rctl; of its rules a cgroup can do memoryuse:sigkill, maxproc:deny and pcpu:deny")
    })
}

/// The cgroup that is named; for limits without one, one of the jail's own.
fn cgroup(
    config: &Config,
    jail: Option<&str>,
    limited: bool,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<PathBuf> {
    let own = || limited.then(|| PathBuf::from(format!("/runj-{}", jail.unwrap_or_default().replace('/', "-"))));
    let Some(path) = config.linux.cgroups_path.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
        return own();
    };
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        problems.push(Problem::new("linux.cgroupsPath", "contains a NUL character"));
        return None;
    }
    if path.to_str().is_some_and(|text| text.contains(':')) {
        let own = own();
        let instead = own.as_deref().map_or("no cgroup".to_owned(), |own: &Path| own.display().to_string());
        let path = path.display();
        warnings.push(format!("linux.cgroupsPath: {path} is a systemd slice, which is not used: {instead} instead"));
        return own;
    }
    if path.is_absolute() && path.components().all(|part| part != Component::ParentDir) {
        return Some(path.to_owned());
    }
    problems.push(Problem::new("linux.cgroupsPath", "must be an absolute path without .."));
    None
}

/// Every reason why limits cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", join(.0))]
pub struct Refusal(Vec<Problem>);

/// What `update` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As in `linux.resources`: what is absent or zero stays, what is negative is lifted.
    pub resources: LinuxResources,
    /// Rules of rctl(8) without their subject, each in the place of one of the same resource and action; with the
    /// amount -1 that one is lifted.
    pub rules: Vec<String>,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits after the change.
    pub fn apply(&self, current: &Limits, facts: &HostFacts) -> Result<Limits, Refusal> {
        let mut problems = Vec::new();
        let mut limits = current.clone();
        limits.memory = changed(self.resources.memory.limit, current.memory);
        limits.swap = changed(self.resources.memory.swap, current.swap);
        limits.pids = changed(self.resources.pids.limit, current.pids);
        let quota = changed(self.resources.cpu.quota, current.cpu.map(|(quota, _)| quota));
        let period = self.resources.cpu.period.filter(|period| *period > 0);
        // With a quota that is lifted or zero, as engines write "no limit", it is no more than noise.
        if period.is_some() && quota.is_none() && self.resources.cpu.quota.is_none() {
            problems.push(Problem::new("cpu.period", "means nothing without cpu.quota"));
        }
        let before = current.cpu.map_or(CPU_PERIOD, |(_, period)| period);
        limits.cpu = quota.map(|quota| (quota, period.unwrap_or(before)));
        match processors(&self.resources, facts) {
            Ok(None) => {}
            asked => {
                limits.processors = asked.unwrap_or_else(|message| {
                    problems.push(Problem::new("cpu.cpus", message));
                    None
                })
            }
        }
        for text in &self.rules {
            let property = format!("rctl {text}");
            let (rule, lifted) = match parse_change(text) {
                Ok(parsed) => parsed,
                Err(error) => {
                    problems.push(Problem::new(property, error.to_string()));
                    continue;
                }
            };
            let changed = |limits: &Limits| limits.rule(rule.resource(), rule.action());
            let twice = changed(&limits) != changed(current);
            match lifted {
                true => limits.lift(rule.resource(), rule.action()),
                false => limits.set(rule.clone()),
            }
            if twice {
                problems.push(Problem::new(property, format!("{} is changed twice", rule.subject())));
            } else if let Some(message) = unknown_here(&rule, &limits, facts.system) {
                problems.push(Problem::new(property, message));
            }
        }
        let swap = swap_refusal(&self.resources, &limits, facts.system);
        problems.extend(swap.map(|message| Problem::new("memory.swap", message)));
        let accounted = match facts.system {
            System::Freebsd => Limits { processors: current.processors.clone(), ..limits.clone() },
            System::Linux => limits.clone(),
        };
        if !facts.racct && accounted != *current {
            problems.push(Problem::new("limits", remedy(facts.system)));
        } else if facts.system == System::Linux && current.cgroup.is_none() && limits != *current {
            let words = "a limit needs a cgroup, and this container was created without: create it with a limit or with \
                         linux.cgroupsPath";
            problems.push(Problem::new("limits", words));
        }
        if problems.is_empty() { Ok(limits) } else { Err(Refusal(problems)) }
    }
}

/// The value after a change: zero and absent keep it, negative lifts it.
fn changed(asked: Option<i64>, current: Option<u64>) -> Option<u64> {
    match asked {
        None | Some(0) => current,
        Some(value) => u64::try_from(value).ok(),
    }
}

/// A rule, and whether it is to be lifted.
fn parse_change(text: &str) -> Result<(Rule, bool), RuleError> {
    match text.strip_suffix("=-1") {
        Some(subject) => Ok((format!("{subject}=0").parse()?, true)),
        None => Ok((text.parse()?, false)),
    }
}

#[cfg(test)]
mod tests;

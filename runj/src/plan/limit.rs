//! Resource limits. Pure.

use std::path::Component;

use super::Problems;
use crate::config::resources::LinuxResources;
use crate::config::{Config, Problem};
use crate::sys::jail::{HostFacts, Limits, System};

/// The CPU period of whoever names none, in microseconds.
const PERIOD: u64 = 100_000;

/// What to do about a kernel without accounting.
const RACCT: &str = "set kern.racct.enable=1 in /boot/loader.conf and reboot";

/// What engines ask for in `linux.resources`, in the units of rctl(8).
pub fn plan(config: &Config, facts: &HostFacts, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Limits {
    let resources = &config.linux.resources;
    if !config.linux.resources_ignored.is_empty() {
        let list = config.linux.resources_ignored.join(", ");
        warnings.push(format!("linux.resources: not applied, since jails have no such limits: {list}"));
    }
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    let cpu = positive(resources.cpu.quota).map(|quota| (quota, resources.cpu.period.unwrap_or(PERIOD)));
    if cpu.is_some_and(|(_, period)| period == 0) {
        problems.push(Problem::new("linux.resources.cpu.period", "must be greater than zero"));
    }
    let cgroup = config.linux.cgroups_path.as_ref().filter(|_| facts.system == System::Linux).and_then(|path| {
        let sound = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
        if path.to_str().is_some_and(|text| text.contains(':')) {
            warnings.push(format!(
                "linux.cgroupsPath: {} is a systemd slice, which is not used: no cgroup",
                path.display()
            ));
            None
        } else if sound {
            Some(path.clone())
        } else {
            problems.push(Problem::new("linux.cgroupsPath", "must be an absolute path without .."));
            None
        }
    });
    let mut limits = Limits {
        rules: Vec::new(),
        cgroup,
        memory: positive(resources.memory.limit),
        pids: positive(resources.pids.limit),
        cpu,
    };
    // Engines set these without being asked to, so a machine that cannot apply them still runs the container.
    let asked = limits.memory.is_some() || limits.pids.is_some() || limits.cpu.is_some();
    let unable = match facts.system {
        System::Freebsd if !facts.racct => Some(RACCT),
        System::Linux if limits.cgroup.is_none() || !facts.racct => Some("there is no cgroup that can be written"),
        _ => None,
    };
    if let Some(remedy) = unable.filter(|_| asked) {
        warnings.push(format!("linux.resources: limits are not applied: {remedy}"));
        limits = Limits { cgroup: limits.cgroup, ..Limits::default() };
    }
    if facts.system == System::Linux && !facts.racct {
        limits.cgroup = None;
    }
    limits
}

/// What `update` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As in `linux.resources`: what is absent or zero stays, what is negative is lifted.
    pub resources: LinuxResources,
    /// Rules of rctl(8) without their subject, each in the place of one of the same resource and action.
    pub rules: Vec<String>,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits after the change.
    pub fn apply(&self, current: &Limits, facts: &HostFacts) -> Result<Limits, Problems> {
        let mut problems = Vec::new();
        let mut limits = current.clone();
        limits.memory = changed(self.resources.memory.limit, current.memory);
        limits.pids = changed(self.resources.pids.limit, current.pids);
        let quota = changed(self.resources.cpu.quota, current.cpu.map(|(quota, _)| quota));
        let period = self.resources.cpu.period.filter(|period| *period > 0);
        // With a quota that is lifted or zero, as engines write "no limit", it is no more than noise.
        if period.is_some() && quota.is_none() && self.resources.cpu.quota.is_none() {
            problems.push(Problem::new("cpu.period", "means nothing without cpu.quota"));
        }
        let before = current.cpu.map_or(PERIOD, |(_, period)| period);
        limits.cpu = quota.map(|quota| (quota, period.unwrap_or(before)));
        for rule in &self.rules {
            match subject(rule) {
                Some(new) => limits.rules.retain(|known| subject(known) != Some(new)),
                None => problems.push(Problem::new(format!("rctl {rule}"), "is not RESOURCE:ACTION=AMOUNT")),
            }
            limits.rules.push(rule.clone());
        }
        if facts.system == System::Freebsd && !facts.racct && limits != *current {
            problems.push(Problem::new("limits", format!("the kernel does not account resources: {RACCT}")));
        }
        if problems.is_empty() { Ok(limits) } else { Err(Problems(problems)) }
    }
}

/// The value after a change: zero and absent keep it, negative lifts it.
fn changed(asked: Option<i64>, current: Option<u64>) -> Option<u64> {
    match asked {
        None | Some(0) => current,
        Some(value) => u64::try_from(value).ok(),
    }
}

/// `RESOURCE:ACTION` of a rule.
fn subject(rule: &str) -> Option<&str> {
    let (subject, amount) = rule.split_once('=')?;
    let (resource, action) = subject.split_once(':')?;
    let sound = |part: &str| !part.is_empty() && !part.contains(':');
    (sound(resource) && sound(action) && !amount.is_empty()).then_some(subject)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::plan_with;
    use super::*;

    const LIMITS: &str = r#","linux":{"cgroupsPath":"/x/y","resources":{"memory":{"limit":64},"pids":{"limit":-1},
        "cpu":{"quota":5000}}}"#;

    #[test]
    fn engines_limits() {
        let mut facts = facts::freebsd14();
        facts.racct = true;
        let limits = plan_with(LIMITS, &facts).unwrap().limits;
        assert_eq!((limits.memory, limits.pids, limits.cpu), (Some(64), None, Some((5000, 100_000))));
        assert_eq!(limits.cgroup, None);
    }

    #[test]
    fn limits_that_cannot_be_applied_are_a_warning() {
        let plan = plan_with(LIMITS, &facts::freebsd14()).unwrap();
        assert!(plan.limits.is_empty());
        assert!(plan.warnings[0].contains("kern.racct.enable=1"));
    }

    fn change(json: &str) -> Change {
        Change { resources: LinuxResources::parse(json.as_bytes()).unwrap().0, rules: Vec::new() }
    }

    fn with_racct() -> HostFacts {
        HostFacts { racct: true, ..facts::freebsd14() }
    }

    #[rstest]
    #[case("{}", Some(64), Some(9), Some((10, 20)))]
    #[case(r#"{"memory":{"limit":0},"pids":{"limit":0},"cpu":{"quota":0,"period":0}}"#, Some(64), Some(9), Some((10, 20)))]
    #[case(r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"quota":-1}}"#, None, None, None)]
    #[case(r#"{"cpu":{"quota":-1,"period":100000}}"#, Some(64), Some(9), None)]
    #[case(r#"{"memory":{"limit":65},"pids":{"limit":7},"cpu":{"quota":30}}"#, Some(65), Some(7), Some((30, 20)))]
    #[case(r#"{"cpu":{"period":40}}"#, Some(64), Some(9), Some((10, 40)))]
    fn a_change_keeps_what_it_does_not_name(
        #[case] json: &str,
        #[case] memory: Option<u64>,
        #[case] pids: Option<u64>,
        #[case] cpu: Option<(u64, u64)>,
    ) {
        let current = Limits { memory: Some(64), pids: Some(9), cpu: Some((10, 20)), ..Limits::default() };
        let limits = change(json).apply(&current, &with_racct()).unwrap();
        assert_eq!((limits.memory, limits.pids, limits.cpu), (memory, pids, cpu));
    }

    #[test]
    fn a_change_may_be_impossible() {
        let period = change(r#"{"cpu":{"period":40}}"#).apply(&Limits::default(), &with_racct()).unwrap_err();
        assert!(period.to_string().contains("cpu.period: means nothing without cpu.quota"));
        let memory = change(r#"{"memory":{"limit":4}}"#).apply(&Limits::default(), &facts::freebsd14()).unwrap_err();
        assert!(memory.to_string().contains("kern.racct.enable=1"));
        for rule in ["memoryuse", "memoryuse:deny", ":deny=1", "jail:x:memoryuse:deny=1", "memoryuse:deny="] {
            let change = Change { rules: vec![rule.to_owned()], ..Change::default() };
            assert!(change.apply(&Limits::default(), &with_racct()).unwrap_err().to_string().contains(rule));
        }
    }

    #[test]
    fn a_rule_takes_the_place_of_its_like() {
        let current = Limits { rules: vec!["pcpu:deny=5".into(), "pcpu:log=5".into()], ..Limits::default() };
        let change = Change { rules: vec!["pcpu:deny=9".into()], ..Change::default() };
        assert_eq!(change.apply(&current, &with_racct()).unwrap().rules, ["pcpu:log=5", "pcpu:deny=9"]);
    }

    #[test]
    fn a_cgroup_path_may_not_climb() {
        let extra = r#","linux":{"cgroupsPath":"/x/../y"}"#;
        assert!(plan_with(extra, &facts::linux()).unwrap_err().to_string().contains("linux.cgroupsPath"));
    }
}

//! Resource limits. Pure.

use std::path::Component;

use crate::config::{Config, Problem};
use crate::sys::jail::{HostFacts, Limits, System};

/// What engines ask for in `linux.resources`, in the units of rctl(8).
pub fn plan(config: &Config, facts: &HostFacts, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Limits {
    let resources = &config.linux.resources;
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    let cpu = positive(resources.cpu.quota).map(|quota| (quota, resources.cpu.period.unwrap_or(100_000)));
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
        System::Freebsd if !facts.racct => Some("set kern.racct.enable=1 in /boot/loader.conf and reboot"),
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

#[cfg(test)]
mod tests {
    use super::super::facts;
    use super::super::tests::plan_with;

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

    #[test]
    fn a_cgroup_path_may_not_climb() {
        let extra = r#","linux":{"cgroupsPath":"/x/../y"}"#;
        assert!(plan_with(extra, &facts::linux()).unwrap_err().to_string().contains("linux.cgroupsPath"));
    }
}

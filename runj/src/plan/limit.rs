//! Resource limits. Pure.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::join;
use crate::config::resources::{AskedRule, LinuxResources};
use crate::config::{Config, Problem};
use crate::sys::jail::{HostFacts, System};
use crate::sys::limit::{CPU_PERIOD, Limits, Rule, RuleError};

/// The number of processes that podman asks for when nobody else does (`pids_limit` in containers.conf).
const ENGINES_PIDS: u64 = 2048;

/// Whether the plan of a configuration depends on what the system accounts ([`HostFacts::racct`]).
pub fn concerns(config: &Config, system: System) -> bool {
    let resources = &config.linux.resources;
    let sent = [resources.memory.limit, resources.pids.limit, resources.cpu.quota];
    sent.into_iter().any(|value| positive(value).is_some())
        || !config.rules.is_empty()
        || (system == System::Linux && config.linux.cgroups_path.is_some())
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
    let resources = &config.linux.resources;
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
        pids: positive(resources.pids.limit),
        cpu,
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
        ("linux.resources.memory.limit", limits.memory),
        ("linux.resources.pids.limit", limits.pids),
        ("linux.resources.cpu.quota", limits.cpu.map(|(quota, _)| quota)),
    ];
    let asked = asked.into_iter().filter(|(_, value)| value.is_some()).map(|(property, _)| property);
    let mut asked: Vec<&str> = asked.chain(config.rules.iter().map(|asked| asked.property.as_str())).collect();
    // An annotation may hold several rules.
    asked.dedup();
    problems.extend(asked.into_iter().map(|property| Problem::new(property, remedy)));
}

/// Why a rule cannot be applied on this system, if it is among those that stayed rules.
fn unknown_here(rule: &Rule, limits: &Limits, system: System) -> Option<String> {
    (system == System::Linux && limits.rules.contains(rule)).then(|| {
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
        limits.pids = changed(self.resources.pids.limit, current.pids);
        let quota = changed(self.resources.cpu.quota, current.cpu.map(|(quota, _)| quota));
        let period = self.resources.cpu.period.filter(|period| *period > 0);
        // With a quota that is lifted or zero, as engines write "no limit", it is no more than noise.
        if period.is_some() && quota.is_none() && self.resources.cpu.quota.is_none() {
            problems.push(Problem::new("cpu.period", "means nothing without cpu.quota"));
        }
        let before = current.cpu.map_or(CPU_PERIOD, |(_, period)| period);
        limits.cpu = quota.map(|quota| (quota, period.unwrap_or(before)));
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
        if !facts.racct && limits != *current {
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
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::{plan_with, problems};
    use super::*;

    const LIMITS: &str = r#","linux":{"cgroupsPath":"/x/y","resources":{"memory":{"limit":64},"pids":{"limit":-1},
        "cpu":{"quota":5000}}}"#;

    fn with_racct() -> HostFacts {
        HostFacts { racct: true, ..facts::freebsd14() }
    }

    fn with_cgroups() -> HostFacts {
        HostFacts { racct: true, ..facts::linux() }
    }

    #[test]
    fn engines_limits() {
        let limits = plan_with(LIMITS, &with_racct()).unwrap().limits;
        assert_eq!((limits.memory, limits.pids, limits.cpu), (Some(64), None, Some((5000, 100_000))));
        assert_eq!(limits.cgroup, None);
    }

    #[rstest]
    #[case(facts::freebsd14(), "kern.racct.enable=1 in /boot/loader.conf")]
    #[case(facts::linux(), "no cgroup can be made")]
    fn what_is_asked_for_and_does_not_hold_is_a_problem(#[case] facts: HostFacts, #[case] remedy: &str) {
        let extra = r#","annotations":{"io.podman.x":"","org.freebsd.rctl.maxproc":"5"},
            "linux":{"resources":{"memory":{"limit":64},"pids":{"limit":9}}}"#;
        let error = plan_with(extra, &facts).unwrap_err().to_string();
        for property in
            ["linux.resources.memory.limit", "linux.resources.pids.limit", "annotations.org.freebsd.rctl.maxproc"]
        {
            assert!(error.contains(&format!("{property}: ")), "{error}");
        }
        assert!(error.contains(remedy), "{error}");
    }

    /// Else no container of podman would start on a FreeBSD as it is installed.
    #[rstest]
    #[case("io.podman.x", 2048, true)]
    #[case("io.podman.x", 2047, false)]
    #[case("com.example", 2048, false)]
    fn what_engines_send_unasked_is_a_warning(#[case] annotation: &str, #[case] pids: u64, #[case] planned: bool) {
        let extra = format!(
            r#","annotations":{{"{annotation}":""}},"linux":{{"resources":{{"pids":{{"limit":{pids}}},
            "devices":[{{"allow":false}}]}}}}"#
        );
        for facts in [facts::freebsd14(), facts::linux()] {
            let plan = plan_with(&extra, &facts);
            assert_eq!(plan.is_ok(), planned, "{plan:?}");
            if let Ok(plan) = plan {
                assert!(plan.limits.is_empty());
                assert!(plan.warnings[0].starts_with("linux.resources.pids.limit: 2048"), "{:?}", plan.warnings);
            }
        }
        assert_eq!(plan_with(&extra, &with_racct()).unwrap().limits.pids, Some(pids));
    }

    #[test]
    fn without_limits_nobody_asks_what_is_accounted() {
        let config = |extra: &str| Config::parse(format!("{{{extra}}}").as_bytes(), None).unwrap();
        let none = config(r#""linux":{"resources":{"pids":{"limit":0},"memory":{"limit":-1},"cpu":{"shares":5}}}"#);
        assert!(!concerns(&none, System::Freebsd) && !concerns(&none, System::Linux));
        let path = config(r#""linux":{"cgroupsPath":"/x"}"#);
        assert!(!concerns(&path, System::Freebsd) && concerns(&path, System::Linux));
        for some in [r#""annotations":{"org.freebsd.rctl.nthr":"5"}"#, r#""linux":{"resources":{"cpu":{"quota":5}}}"#] {
            assert!(concerns(&config(some), System::Freebsd));
        }
    }

    #[test]
    fn rules_and_resources_are_one() {
        let extra = r#","annotations":{"org.freebsd.rctl.memoryuse":"64,log=32","org.freebsd.rctl.openfiles":"7"},
            "linux":{"resources":{"memory":{"limit":64}}}"#;
        let limits = plan_with(extra, &with_racct()).unwrap().limits;
        let rules: Vec<_> = limits.as_rules().iter().map(Rule::to_string).collect();
        assert_eq!(rules, ["memoryuse:log=32", "openfiles:deny=7", "memoryuse:sigkill=64"]);
        let contradiction = r#","annotations":{"org.freebsd.rctl.memoryuse":"65"},
            "linux":{"resources":{"memory":{"limit":64}}}"#;
        let error = plan_with(contradiction, &with_racct()).unwrap_err().to_string();
        assert!(error.contains("memoryuse:sigkill=65 contradicts memoryuse:sigkill=64"), "{error}");
        assert!(problems(r#","annotations":{"org.freebsd.rctl.nthr":"a"}"#).contains("org.freebsd.rctl.nthr"));
    }

    #[test]
    fn linux_takes_the_rules_that_a_cgroup_can_do() {
        let extra = r#","annotations":{"org.freebsd.rctl.memoryuse":"64","org.freebsd.rctl.pcpu":"50",
            "org.freebsd.rctl.maxproc":"7"}"#;
        let limits = plan_with(extra, &with_cgroups()).unwrap().limits;
        let expected = Limits {
            cgroup: Some("/runj-c1".into()),
            memory: Some(64),
            pids: Some(7),
            cpu: Some((50_000, 100_000)),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        let files = r#","annotations":{"org.freebsd.rctl.openfiles":"64"}"#;
        let error = plan_with(files, &with_cgroups()).unwrap_err().to_string();
        assert!(error.contains("org.freebsd.rctl.openfiles: openfiles:deny=64: Linux has no rctl"), "{error}");
    }

    #[rstest]
    #[case(r#""cgroupsPath":"/x""#, Some("/x"))]
    #[case(r#""cgroupsPath":"""#, None)]
    #[case(r#""cgroupsPath":"","resources":{"pids":{"limit":5}}"#, Some("/runj-c1"))]
    #[case(r#""resources":{"pids":{"limit":5}}"#, Some("/runj-c1"))]
    #[case(r#""cgroupsPath":"machine.slice:libpod:x""#, None)]
    #[case(r#""cgroupsPath":"machine.slice:libpod:x","resources":{"pids":{"limit":5}}"#, Some("/runj-c1"))]
    fn limits_have_a_cgroup(#[case] linux: &str, #[case] cgroup: Option<&str>) {
        let plan = plan_with(&format!(r#","linux":{{{linux}}}"#), &with_cgroups()).unwrap();
        assert_eq!(plan.limits.cgroup.as_deref(), cgroup.map(Path::new));
        assert_eq!(plan.warnings.iter().any(|warning| warning.contains("systemd slice")), linux.contains("slice"));
    }

    fn change(json: &str) -> Change {
        Change { resources: LinuxResources::parse(json.as_bytes()).unwrap().0, rules: Vec::new() }
    }

    fn change_of_rules(rules: &[&str]) -> Change {
        Change { rules: rules.iter().map(|&rule| rule.to_owned()).collect(), ..Change::default() }
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
        let refusal =
            |change: &Change, facts: &HostFacts| change.apply(&Limits::default(), facts).unwrap_err().to_string();
        let period = refusal(&change(r#"{"cpu":{"period":40}}"#), &with_racct());
        assert!(period.contains("cpu.period: means nothing without cpu.quota"));
        let memory = change(r#"{"memory":{"limit":4}}"#);
        assert!(refusal(&memory, &facts::freebsd14()).contains("kern.racct.enable=1"));
        assert!(refusal(&memory, &with_cgroups()).contains("was created without"));
        for rule in ["memoryuse", "memoryuse:deny=5", ":deny=1", "jail:x:openfiles:deny=1", "openfiles:deny="] {
            assert!(refusal(&change_of_rules(&[rule]), &with_racct()).contains(rule));
        }
        let twice = change_of_rules(&["pcpu:deny=5", "pcpu:deny=6"]);
        assert!(refusal(&twice, &with_racct()).contains("rctl pcpu:deny=6: pcpu:deny is changed twice"));
        let both = Change { rules: vec!["memoryuse:sigkill=5".into()], ..memory };
        assert!(refusal(&both, &with_racct()).contains("memoryuse:sigkill is changed twice"));
        let current = Limits { cgroup: Some("/x".into()), ..Limits::default() };
        let files = change_of_rules(&["openfiles:deny=5"]).apply(&current, &with_cgroups()).unwrap_err().to_string();
        assert!(files.contains("Linux has no rctl"), "{files}");
    }

    #[test]
    fn a_rule_takes_the_place_of_its_like() {
        let current = Limits {
            rules: vec!["nthr:deny=5".parse().unwrap(), "nthr:log=5".parse().unwrap()],
            memory: Some(7),
            ..Limits::default()
        };
        let change = change_of_rules(&["nthr:deny=9", "nthr:log=-1", "memoryuse:sigkill=-1", "openfiles:deny=-1"]);
        let limits = change.apply(&current, &with_racct()).unwrap();
        assert_eq!(limits, Limits { rules: vec!["nthr:deny=9".parse().unwrap()], ..Limits::default() });
    }

    #[test]
    fn a_cgroup_path_may_not_climb() {
        let extra = r#","linux":{"cgroupsPath":"/x/../y"}"#;
        assert!(plan_with(extra, &with_cgroups()).unwrap_err().to_string().contains("linux.cgroupsPath"));
    }
}

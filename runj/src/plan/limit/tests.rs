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
    let refusal = |change: &Change, facts: &HostFacts| change.apply(&Limits::default(), facts).unwrap_err().to_string();
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

const CPUS: &str = r#","linux":{"resources":{"cpu":{"cpus":"1,3-4"}}}"#;

fn with_processors(list: &str, facts: HostFacts) -> HostFacts {
    HostFacts { processors: list.parse().unwrap(), ..facts }
}

/// FreeBSD needs no accounting for them, the emulation a cgroup.
#[test]
fn processors_are_a_limit_of_their_own() {
    let wanted: Processors = "1,3-4".parse().unwrap();
    for facts in [facts::freebsd14(), with_cgroups()] {
        let limits = plan_with(CPUS, &facts).unwrap().limits;
        assert_eq!((limits.processors.as_ref(), limits.as_rules()), (Some(&wanted), vec![]));
        assert_eq!(limits.cgroup.is_some(), facts.system == System::Linux);
        assert!(plan_with(CPUS, &with_processors("0-4", facts)).is_ok());
    }
    let error = plan_with(CPUS, &facts::linux()).unwrap_err().to_string();
    assert!(error.contains("linux.resources.cpu.cpus: no cgroup can be made"), "{error}");
    let config = |json: &str| Config::parse(json.as_bytes(), None).unwrap();
    let asks = config(&format!("{{{}}}", &CPUS[1..]));
    assert!(confines(&asks.linux.resources));
    assert!(!concerns(&asks, System::Freebsd) && concerns(&asks, System::Linux));
    assert!(!confines(&config(r#"{"linux":{"resources":{"cpu":{"cpus":""}}}}"#).linux.resources));
}

#[rstest]
#[case("1,3-4", "0-3", "there is no processor 4 here; there are 0-3")]
#[case("4-8", "0,4", "there is no processor 5-8 here; there are 0,4")]
#[case("1-", "0-3", "\"1-\" is neither a processor's number nor a range")]
#[case("1,,2", "0-3", "\"\" is neither")]
fn processors_that_are_not_there_are_a_problem(#[case] asked: &str, #[case] there: &str, #[case] words: &str) {
    let facts = with_processors(there, facts::freebsd14());
    let cpu = format!(r#"{{"cpu":{{"cpus":"{asked}"}}}}"#);
    let error = plan_with(&format!(r#","linux":{{"resources":{cpu}}}"#), &facts).unwrap_err().to_string();
    assert!(error.contains(&format!("linux.resources.cpu.cpus: {words}")), "{error}");
    let error = change(&cpu).apply(&Limits::default(), &facts).unwrap_err().to_string();
    assert!(error.contains(&format!("cpu.cpus: {words}")), "{error}");
}

#[test]
fn a_change_of_processors_needs_no_accounting_on_freebsd() {
    let current = Limits { processors: Some("0".parse().unwrap()), ..Limits::default() };
    let facts = with_processors("0-3", facts::freebsd14());
    let changed = change(r#"{"cpu":{"cpus":"1-2"}}"#).apply(&current, &facts).unwrap();
    assert_eq!(changed.processors, Some("1-2".parse().unwrap()));
    assert_eq!(change(r#"{"cpu":{"cpus":""}}"#).apply(&current, &facts).unwrap(), current);
    let both = change(r#"{"cpu":{"cpus":"1-2"},"pids":{"limit":5}}"#).apply(&current, &facts).unwrap_err().to_string();
    assert!(both.contains("kern.racct.enable=1"), "{both}");
}

/// What the kernel of FreeBSD calls swap is what a process may need of memory or swap.
#[test]
fn memory_and_swap_are_one_limit() {
    let swap = |limit: &str, swap: i64| format!(r#","linux":{{"resources":{{"memory":{{{limit}"swap":{swap}}}}}}}"#);
    let rules = |extra: &str| {
        let limits = plan_with(extra, &with_racct()).unwrap().limits;
        limits.as_rules().iter().map(Rule::to_string).collect::<Vec<_>>()
    };
    assert_eq!(rules(&swap(r#""limit":64,"#, 64)), ["memoryuse:sigkill=64", "swapuse:deny=64"]);
    assert_eq!(rules(&swap("", 64)), ["swapuse:deny=64"]);
    assert_eq!(rules(&swap(r#""limit":64,"#, -1)), ["memoryuse:sigkill=64"]);
    // Nobody asked for it.
    let doubled = swap(r#""limit":64,"#, 128);
    assert_eq!(rules(&doubled), ["memoryuse:sigkill=64", "swapuse:deny=128"]);
    assert_eq!(rules(&format!(r#","annotations":{{"io.podman.x":""}}{doubled}"#)), ["memoryuse:sigkill=64"]);
    let limits = plan_with(&swap(r#""limit":64,"#, 96), &with_cgroups()).unwrap().limits;
    assert_eq!((limits.memory, limits.swap, limits.swap_beside_memory()), (Some(64), Some(96), Some(32)));
    // The limit of memory may be asked for by another name.
    let named = format!(r#","annotations":{{"org.freebsd.rctl.memoryuse":"64"}}{}"#, swap("", 96));
    assert_eq!(plan_with(&named, &with_cgroups()).unwrap().limits.swap_beside_memory(), Some(32));
    let refused = |extra: &str, facts: &HostFacts| plan_with(extra, facts).unwrap_err().to_string();
    for facts in [with_racct(), with_cgroups()] {
        let less = refused(&swap(r#""limit":64,"#, 63), &facts);
        assert!(less.contains("linux.resources.memory.swap: 63 is less than memory.limit, 64"), "{less}");
    }
    let alone = refused(&swap("", 64), &with_cgroups());
    assert!(alone.contains("linux.resources.memory.swap: means nothing without memory.limit"), "{alone}");
    let rule = refused(r#","annotations":{"org.freebsd.rctl.swapuse":"64"}"#, &with_cgroups());
    assert!(rule.contains("swapuse:deny=64: Linux has no rctl"), "{rule}");
    assert!(
        refused(&swap("", 64), &facts::freebsd14()).contains("linux.resources.memory.swap: the kernel accounts no")
    );
}

#[test]
fn a_change_of_memory_heeds_swap() {
    let current = Limits { memory: Some(64), swap: Some(96), ..Limits::default() };
    let changed = |json: &str| change(json).apply(&current, &with_racct());
    let limits = changed(r#"{"memory":{"limit":32,"swap":128}}"#).unwrap();
    assert_eq!((limits.memory, limits.swap), (Some(32), Some(128)));
    assert_eq!(changed(r#"{"memory":{"swap":-1}}"#).unwrap().swap, None);
    let less = changed(r#"{"memory":{"swap":63}}"#).unwrap_err().to_string();
    assert!(less.contains("memory.swap: 63 is less than memory.limit, 64"), "{less}");
    let grouped = Limits { cgroup: Some("/x".into()), ..current.clone() };
    let more = change(r#"{"memory":{"limit":97}}"#).apply(&grouped, &with_cgroups()).unwrap_err().to_string();
    assert!(more.contains("memory.swap: 96 is less than memory.limit, 97"), "{more}");
}

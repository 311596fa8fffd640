//! `update`, `events` and `ps` on living containers.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::prelude::*;
use integ::run::Stdio;

/// A container that can have limits, and for that on Linux a cgroup of its own.
fn limited<'a>(case: &'a Case, check: &[&str]) -> Container<'a> {
    let group = format!("/{}-{}", case.marker(), case.number());
    let bundle = case.bundle("minimal").set("/linux/cgroupsPath", json!(group)).args(check);
    let container = case.container(&bundle);
    container.create().ok();
    container.start().ok();
    container
}

/// How many of ten processes can be forked.
fn forks(container: &Container<'_>) -> u32 {
    container.exec(&["fork-bomb", "10"]).ok().trim().parse().unwrap()
}

fn figures(case: &Case, container: &Container<'_>) -> Value {
    let event: Value = serde_json::from_str(&case.runj(["events", "--stats", container.id()]).ok()).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id())));
    event["data"].clone()
}

#[test]
fn a_number_of_processes_is_set_and_lifted() {
    case(needs!(Runj, Limits), |case| {
        let container = limited(case, &["sleep"]);
        assert_eq!(forks(&container), 10);
        case.runj(["update", "--pids-limit", "5", container.id()]).ok();
        assert!(forks(&container) < 5);
        assert_eq!(figures(case, &container)["pids"]["limit"], 5);
        case.runj(["update", "--pids-limit", "-1", container.id()]).ok();
        assert_eq!(forks(&container), 10);
        container.delete_force().ok();
    });
}

#[test]
fn memory_is_limited_from_standard_input() {
    case(needs!(Runj, Limits), |case| {
        let container = limited(case, &["sleep"]);
        let mut events = case.runj(["events", "--interval", "1h", container.id()]).spawn();
        let resources = json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}, "cpu": {"shares": 512}});
        let update = case.runj(["update", "--resources=-", container.id()]).input(resources.to_string()).run();
        assert!(update.status.success());
        let warnings = String::from_utf8_lossy(&update.stderr).into_owned();
        assert!(warnings.contains("cpu.shares") && warnings.contains("memory.swap"), "{warnings}");
        assert_eq!(figures(case, &container)["memory"]["usage"]["limit"], 32 << 20);
        // FreeBSD kills it a moment after it has gone too far.
        let greedy = container.exec(&["allocate", "200", "--and", "sleep"]);
        assert_eq!(greedy.output.status.code(), Some(137), "{greedy:?}");
        // FreeBSD kills whichever process of the jail it accounts while there is too much, the first one too.
        if cfg!(target_os = "linux") {
            assert_eq!(container.status(), "running");
            let event: Value = serde_json::from_str(&events.read_until("\n")).unwrap();
            assert_eq!(event, json!({"type": "oom", "id": container.id()}));
        }
        container.delete_force().ok();
        assert!(events.output().status.success());
    });
}

#[test]
fn limits_are_changed_all_or_none() {
    case(needs!(Runj, Limits), |case| {
        let container = limited(case, &["sleep"]);
        let failed = case.runj(["update", "--pids-limit", "3", "--rctl", "nonsense:deny=1", container.id()]).run();
        assert_eq!(failed.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&failed.stderr).contains("nonsense:deny=1"));
        assert_eq!(forks(&container), 10);
        assert_eq!(figures(case, &container)["pids"]["limit"], 0);
        container.delete_force().ok();
    });
}

#[test]
fn a_rule_of_rctl_is_set_and_goes_with_the_container() {
    case(needs!(Runj, FreeBsd, Limits), |case| {
        let container = case.running(&["sleep"]);
        let rules = || Program::new("rctl").arg(format!("jail:{}", container.id())).ok();
        assert_eq!(rules(), "");
        for amount in ["64", "65"] {
            case.runj(["update", "--rctl", &format!("openfiles:deny={amount}"), container.id()]).ok();
            assert_eq!(rules(), format!("jail:{}:openfiles:deny={amount}\n", container.id()));
        }
        container.delete_force().ok();
        assert_eq!(rules(), "");
    });
}

/// runc makes a cgroup for everyone; runj has none that nobody named.
#[test]
fn a_limit_without_a_cgroup_is_refused() {
    case(needs!(Runj, Linux), |case| {
        let container = case.running(&["sleep"]);
        let done = case.runj(["update", "--memory", "64m", container.id()]).run();
        assert!(String::from_utf8_lossy(&done.stderr).contains("a limit needs a cgroup"));
        assert_eq!(figures(case, &container)["pids"]["current"], 1);
        container.delete_force().ok();
    });
}

#[test]
fn figures_are_those_of_the_processes() {
    case(needs!(Runj, Limits), |case| {
        let container = limited(case, &["allocate", "64", "--and", "sleep"]);
        let wanted = 64 << 20;
        let figures = until("its memory", || {
            let figures = figures(case, &container);
            (figures["memory"]["usage"]["usage"].as_u64().unwrap() >= wanted).then_some(figures)
        });
        let memory = figures["memory"]["usage"]["usage"].as_u64().unwrap();
        assert!(memory < wanted * 11 / 10, "{memory}");
        assert_eq!(figures["pids"]["current"], 1);
        assert!(figures["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
        assert_eq!(figures["memory"]["usage"]["limit"], u64::MAX);
        container.delete_force().ok();
    });
}

#[test]
fn events_follow_a_container_to_its_end() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let mut events = case.runj(["events", "--interval", "50ms", container.id()]).spawn();
        let text = events.read_until("}\n{");
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&first["type"], &first["data"]["pids"]["current"]), (&json!("stats"), &json!(1)));
        container.kill("KILL").ok();
        assert!(events.output().status.success());
        let done = case.runj(["events", container.id()]).run();
        assert!(String::from_utf8_lossy(&done.stderr).contains("is stopped"));
        container.wait();
        container.delete().ok();
    });
}

#[test]
fn ps_shows_every_process() {
    case(needs!(Runj), |case| {
        let container = case.running(&["uid", "0", "--and", "fork", "2", "--and", "sleep"]);
        let list = || -> Vec<i64> {
            serde_json::from_str(&case.runj(["ps", "--format", "json", container.id()]).ok()).unwrap()
        };
        let pids = until("three processes", || Some(list()).filter(|pids| pids.len() == 3));
        assert!(pids.contains(&i64::from(container.pid())));
        let table = case.runj(["ps", container.id()]).ok();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "ELAPSED", "TTY", "TIME", "CMD"]);
        let shown: Vec<i64> = rows[1..].iter().map(|row| row[1].parse().unwrap()).collect();
        assert_eq!(shown, pids);
        let init = rows.iter().find(|row| row[1] == container.pid().to_string()).unwrap();
        assert_eq!((init[0], init[2]), ("0", std::process::id().to_string().as_str()));
        assert_eq!(init[7..], ["/integ-inside", "uid", "0", "--and", "fork", "2", "--and", "sleep"]);
        container.delete_force().ok();
    });
}

/// podman runs these with nothing else in the environment.
#[test]
fn verbs_need_no_environment() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let bare = |arguments: &[&str]| {
            let program = case.runj(arguments).arg(container.id()).env_clear().env("XDG_RUNTIME_DIR", "/run/user/0");
            program.stdin(Stdio::Null).ok()
        };
        for verb in ["pause", "resume", "ps"] {
            bare(&[verb]);
        }
        bare(&["events", "--stats"]);
        case.runj(["kill", container.id(), "9"]).env_clear().env("XDG_RUNTIME_DIR", "/run/user/0").ok();
        container.wait();
        bare(&["delete", "--force"]);
        bare(&["delete", "--force"]);
    });
}

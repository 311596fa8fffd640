//! `update`, `events` and `ps` on living containers.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::prelude::*;
use integ::run::Stdio;
use std::os::unix::process::ExitStatusExt;

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
        let resources = json!({"memory": {"limit": 32 << 20, "reservation": 16 << 20}, "cpu": {"shares": 512}});
        let update = case.runj(["update", "--resources=-", container.id()]).input(resources.to_string()).run();
        assert!(update.status.success());
        let warnings = String::from_utf8_lossy(&update.stderr).into_owned();
        assert!(warnings.contains("cpu.shares") && warnings.contains("memory.reservation"), "{warnings}");
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

/// A container without limits and without a name for a cgroup has none, and nothing to be limited by.
#[test]
fn an_update_needs_the_cgroup_of_the_creation() {
    case(needs!(Runj, Linux, Limits), |case| {
        let container = case.running(&["sleep"]);
        let done = case.runj(["update", "--memory", "64m", container.id()]).run();
        assert!(String::from_utf8_lossy(&done.stderr).contains("a limit needs a cgroup"));
        assert_eq!(figures(case, &container)["pids"]["current"], 1);
        container.delete_force().ok();
    });
}

/// A limited one that names none gets one, and the parents that were made for one go with it.
#[test]
fn a_cgroup_is_made_and_removed_with_its_parents() {
    case(needs!(Runj, Linux, Limits), |case| {
        let resources = json!({"pids": {"limit": 5}});
        let own = case.container(&case.bundle("minimal").set("/linux/resources", resources.clone()).args(&["sleep"]));
        let below = format!("/{}-parent/middle/own", case.marker());
        let bundle = case.bundle("minimal").set("/linux/cgroupsPath", json!(below)).args(&["sleep"]);
        let named = case.container(&bundle.set("/linux/resources", resources));
        for container in [&own, &named] {
            container.create().ok();
            container.start().ok();
            assert!(forks(container) < 5);
            case.runj(["update", "--pids-limit", "-1", container.id()]).ok();
            assert_eq!(forks(container), 10);
        }
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", own.pid())).unwrap();
        assert!(groups.lines().any(|line| line.ends_with(&format!(":/runj-{}", own.id()))), "{groups}");
        for container in [&own, &named] {
            container.delete_force().ok();
        }
        // That nothing is left of them is proven for every test.
    });
}

/// What the ext file and the annotations ask for holds.
#[test]
fn rules_of_a_bundle_hold() {
    case(needs!(Runj, Limits), |case| {
        let group = format!("/{}-{}", case.marker(), case.number());
        let bundle = case.bundle("minimal").set("/linux/cgroupsPath", json!(group)).args(&["sleep"]);
        let bundle = bundle.set("/annotations", json!({"org.freebsd.rctl.maxproc": "100,deny=100"}));
        let ext = json!({"limits": {"maxproc": {"amount": 5, "action": "deny"}}});
        std::fs::write(bundle.dir().join("runj.ext.json"), ext.to_string()).unwrap();
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        assert!(forks(&container) < 5);
        assert_eq!(figures(case, &container)["pids"]["limit"], 5);
        let plan = case.runj(["plan", "--id", container.id(), &bundle.dir().to_string_lossy()]).ok();
        let line = if cfg!(target_os = "freebsd") { "maxproc:deny=5" } else { "echo 5 > " };
        assert!(plan.contains(line), "{plan}");
        container.delete_force().ok();
    });
}

#[test]
fn a_rule_that_this_system_lacks_is_refused_by_name() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/annotations", json!({"org.freebsd.rctl.openfile": "5"}));
        case.container(&bundle)
            .create()
            .fails_with(1, "annotations.org.freebsd.rctl.openfile: rctl(8) knows no resource");
        let bundle = case.bundle("minimal").set("/annotations", json!({"org.freebsd.rctl.openfiles": "64"}));
        let container = case.container(&bundle);
        if cfg!(target_os = "linux") {
            container.create().fails_with(1, "annotations.org.freebsd.rctl.openfiles: ");
        }
    });
}

/// The kernel counts the size of the table, which grows in steps: to 20, 64, 128, 256.
#[test]
fn open_files_are_limited() {
    case(needs!(Runj, FreeBsd, Limits), |case| {
        let bundle = case.bundle("minimal").set("/annotations", json!({"org.freebsd.rctl.openfiles": "128"}));
        let container = case.container(&bundle.args(&["open-files", "1000", "--and", "sleep"]));
        container.create().ok();
        container.start().ok();
        container.until_stdout("\n");
        let opened: u32 = container.stdout().trim().parse().unwrap();
        assert!((100..=128).contains(&opened), "{opened}");
        let files = &loads(case, &[container.id()])[0]["openFiles"];
        assert!(files.as_u64().is_some_and(|files| files >= u64::from(opened)), "{files} {opened}");
        container.delete_force().ok();
    });
}

/// Refused, not killed for.
#[test]
fn address_space_is_limited() {
    case(needs!(Runj, FreeBsd, Limits), |case| {
        let bundle = case.bundle("minimal").set("/annotations", json!({"org.freebsd.rctl.vmemoryuse": "96m"}));
        let container = case.container(&bundle.args(&["sleep"]));
        container.create().ok();
        container.start().ok();
        container.exec(&["allocate", "16"]).ok();
        let greedy = container.exec(&["allocate", "200"]);
        let words = String::from_utf8_lossy(&greedy.output.stderr).into_owned();
        assert!(words.contains("Cannot allocate memory"), "{words}");
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
    });
}

/// Killed within two seconds of having taken too much.
#[test]
fn memory_is_limited_from_the_start() {
    case(needs!(Runj, Limits), |case| {
        let resources = json!({"memory": {"limit": 48 << 20}});
        let bundle = case.bundle("minimal").set("/linux/resources", resources);
        let container = case.container(&bundle.args(&["allocate", "200", "--and", "echo", "taken", "--and", "sleep"]));
        container.create().ok();
        container.start().ok();
        let began = std::time::Instant::now();
        let status = container.wait();
        assert_eq!(status.signal(), Some(9), "{status:?}");
        // What the machine's slowness multiplies is how long the program takes to ask for it.
        let limit = integ::wait::seconds(2);
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        container.delete().ok();
    });
}

/// As much of both together as of memory alone: no swap. FreeBSD counts what is reserved, and refuses it.
#[test]
fn memory_and_swap_are_limited_together() {
    case(needs!(Runj, Limits), |case| {
        let resources = json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}});
        let bundle = case.bundle("minimal").set("/linux/resources", resources).args(&["sleep"]);
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.exec(&["allocate", "16"]).ok();
        let limit = || figures(case, &container)["memory"]["swap"]["limit"].clone();
        assert_eq!(limit(), 64 << 20);
        let greedy = container.exec(&["allocate", "200", "--and", "sleep"]);
        if cfg!(target_os = "freebsd") {
            assert_ne!(greedy.output.status.code(), Some(137), "refused, not killed: {greedy:?}");
            assert_eq!(container.status(), "running");
        }
        assert!(!greedy.output.status.success());
        let less = case.runj(["update", "--memory-swap", "32m", container.id()]).run();
        let words = String::from_utf8_lossy(&less.stderr).into_owned();
        assert!(words.contains("memory.swap: 33554432 is less than memory.limit, 67108864"), "{words}");
        case.runj(["update", "--memory", "128m", "--memory-swap", "512m", container.id()]).ok();
        assert_eq!(limit(), 512 << 20);
        case.runj(["update", "--memory", "-1", "--memory-swap", "-1", container.id()]).ok();
        assert_eq!(limit(), u64::MAX);
        container.exec(&["allocate", "200"]).ok();
        container.delete_force().ok();
    });
}

/// What a program gets of a processor that it wants all of.
#[test]
fn cpu_time_is_limited() {
    case(needs!(Runj, Limits), |case| {
        let resources = json!({"cpu": {"quota": 20_000, "period": 100_000}});
        let container = case.container(&case.bundle("minimal").set("/linux/resources", resources).args(&["burn"]));
        container.create().ok();
        container.start().ok();
        // The kernel of FreeBSD limits an average of some seconds: in five it was seen to give nothing, or half as much again.
        loads(case, &[container.id()]);
        let time = if cfg!(target_os = "freebsd") { "40s" } else { "5s" };
        let load = &case_load(case, container.id(), time)["cpuPercent"];
        let percent = load.as_f64().unwrap();
        assert!(percent < 20.0 * 1.15, "{percent}");
        assert!(figures(case, &container)["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
        container.delete_force().ok();
    });
}

/// `stats` of these containers.
fn loads(case: &Case, ids: &[&str]) -> Vec<Value> {
    let program = case.runj(["stats", "--no-stream", "--format", "json"]).args(ids);
    serde_json::from_str(&program.ok()).unwrap()
}

fn case_load(case: &Case, id: &str, interval: &str) -> Value {
    let program = case.runj(["stats", "--no-stream", "--interval", interval, "--format", "json", id]);
    let list: Vec<Value> = serde_json::from_str(&program.ok()).unwrap();
    assert_eq!(list[0]["id"], json!(id));
    list[0].clone()
}

#[test]
fn stats_are_a_table_and_an_array() {
    case(needs!(Runj), |case| {
        let (one, other) = (case.running(&["sleep"]), case.running(&["fork", "2", "--and", "sleep"]));
        let stopped = case.running(&["true"]);
        stopped.wait();
        let all = until("three processes", || {
            let all = loads(case, &[]);
            (all.len() == 2 && all.iter().any(|load| load["pids"]["usage"] == 3)).then_some(all)
        });
        assert!(all.iter().all(|load| load["cpuPercent"].as_f64().unwrap() < 50.0), "{all:?}");
        let table = case.runj(["stats", "--no-stream", other.id()]).ok();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((rows.len(), rows[0][0], rows[1][0]), (2, "ID", other.id()));
        let done = case.runj(["stats", "--no-stream", one.id(), stopped.id()]).run();
        assert!(String::from_utf8_lossy(&done.stderr).contains("is stopped: there is nothing to account"));
        // A stream ends with what it is about.
        let mut stream = case.runj(["stats", "--interval", "50ms", "--format", "json", one.id()]).spawn();
        stream.read_until("]\n[{");
        one.kill("KILL").ok();
        assert!(stream.output().status.success());
        one.wait();
        for container in [one, other, stopped] {
            container.delete_force().ok();
        }
    });
}

/// Within five percent of what the kernel says of the processes.
#[test]
fn stats_agree_with_the_kernel() {
    case(needs!(Runj, Limits), |case| {
        let container = limited(case, &["allocate", "64", "--and", "burn"]);
        until("its memory", || {
            let used = loads(case, &[container.id()])[0]["memory"]["usage"].as_u64().unwrap();
            (used > 64 << 20).then_some(())
        });
        let near = |got: f64, wanted: f64| (got - wanted).abs() <= wanted * 0.05;
        let before = kernels_figures(container.pid());
        let load = case_load(case, container.id(), "4s");
        let after = kernels_figures(container.pid());
        let memory = load["memory"]["usage"].as_f64().unwrap();
        assert!(near(memory, after.resident), "{memory} {after:?}");
        // The kernel was asked for a longer time, by what starting programs takes: in the rest of it the process had between
        // nothing and all of a processor.
        let used = after.cpu - before.cpu;
        let rest = after.at.duration_since(before.at).as_secs_f64() - 4.0;
        let shown = load["cpuPercent"].as_f64().unwrap() / 100.0 * 4.0;
        assert!(shown < used * 1.05 && shown > (used - rest) * 0.95, "{shown} {used} {rest}");
        let total = figures(case, &container)["cpu"]["usage"]["total"].as_f64().unwrap() / 1e9;
        let now = kernels_figures(container.pid()).cpu;
        assert!(total > after.cpu * 0.95 && total < now * 1.05, "{after:?} {total} {now}");
        container.delete_force().ok();
    });
}

/// What the kernel says of one process: seconds of CPU time, bytes of resident memory.
#[derive(Debug)]
struct Figures {
    at: std::time::Instant,
    cpu: f64,
    resident: f64,
}

#[cfg(target_os = "linux")]
fn kernels_figures(pid: i32) -> Figures {
    let at = std::time::Instant::now();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<f64> =
        stat.rsplit_once(") ").unwrap().1.split(' ').skip(1).map(|word| word.trim().parse().unwrap_or(0.0)).collect();
    Figures { at, cpu: (fields[10] + fields[11]) / 100.0, resident: fields[20] * 4096.0 }
}

#[cfg(target_os = "freebsd")]
fn kernels_figures(pid: i32) -> Figures {
    let at = std::time::Instant::now();
    let text = Program::new("/bin/ps").args(["-o", "time=", "-o", "rss=", "-p", &pid.to_string()]).ok();
    let (time, resident) = text.trim().split_once(' ').unwrap();
    let (minutes, seconds) = time.split_once(':').unwrap();
    let cpu = minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap();
    Figures { at, cpu, resident: resident.trim().parse::<f64>().unwrap() * 1024.0 }
}

/// With accounting off: what was asked for is an error, what engines send unasked is not.
#[test]
fn limits_that_do_not_hold_are_refused() {
    case(needs!(Runj, Unaccounted), |case| {
        let remedy = "kern.racct.enable=1 in /boot/loader.conf";
        let asked = case.bundle("minimal").set("/linux/resources", json!({"memory": {"limit": 64 << 20}}));
        case.container(&asked).create().fails_with(1, remedy);
        let unasked = case.bundle("minimal").set("/annotations", json!({"io.podman.annotations.x": ""}));
        let unasked = unasked.set("/linux/resources", json!({"pids": {"limit": 2048}})).args(&["sleep"]);
        let container = case.container(&unasked);
        container.create().ok();
        container.start().ok();
        let done = case.runj(["update", "--pids-limit", "5", container.id()]).run();
        assert!(String::from_utf8_lossy(&done.stderr).contains(remedy));
        assert_eq!(loads(case, &[container.id()])[0]["pids"]["usage"], 1);
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

/// The machine of the tests is sound, but for what it tells; and a state directory in which others may write is not.
#[test]
fn the_doctor_looks_at_this_machine() {
    case(needs!(Runj), |case| {
        let findings = |code| -> Vec<Value> {
            let done = case.runj(["doctor", "--format", "json"]).run();
            assert_eq!(done.status.code(), Some(code), "{done:?}");
            let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
            answer["findings"].as_array().unwrap().clone()
        };
        let sound = findings(0);
        let level = |findings: &[Value], check: &str| {
            findings.iter().find(|finding| finding["check"] == check).map(|finding| finding["level"].clone())
        };
        assert_eq!(level(&sound, "root"), Some(json!("ok")));
        let limits = integ::needs::missing(needs!(Limits)).is_none();
        let check = if cfg!(target_os = "linux") { "cgroups" } else { "racct" };
        assert_eq!(level(&sound, check), Some(json!(if limits { "ok" } else { "warning" })), "{sound:?}");
        let text = case.runj(["doctor"]).ok();
        assert!(text.lines().any(|line| line.starts_with("ok       root: ")), "{text}");
        let mode = |mode| std::fs::set_permissions(case.root(), std::os::unix::fs::PermissionsExt::from_mode(mode));
        mode(0o777).unwrap();
        assert_eq!(level(&findings(1), "state"), Some(json!("error")));
        mode(0o700).unwrap();
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

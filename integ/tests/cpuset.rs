//! The processors of a container.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::prelude::*;

/// The processors that a process may use, by the kernel.
fn processors(pid: i32) -> String {
    if cfg!(target_os = "freebsd") {
        let rows = Program::new("/usr/bin/procstat").args(["-h", "-S", &pid.to_string()]).ok();
        return rows.lines().next().and_then(|row| row.split_whitespace().last()).unwrap().to_owned();
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

/// Also of what enters it later; and FreeBSD needs no accounting for it.
#[test]
fn processors_are_chosen() {
    case(needs!(Runj, Processors), |case| {
        let all = processors(std::process::id().cast_signed());
        let last = all.rsplit([',', '-']).next().unwrap();
        let bundle = case.bundle("minimal").set("/linux/resources", json!({"cpu": {"cpus": last}}));
        let container = case.container(&bundle.args(&["fork", "1", "--and", "sleep"]));
        container.create().ok();
        container.start().ok();
        let of_all = || -> Vec<String> {
            let pids = case.runj(["ps", "--format", "json", container.id()]).ok();
            serde_json::from_str::<Vec<i32>>(&pids).unwrap().into_iter().map(processors).collect()
        };
        until("its child", || (of_all() == [last, last]).then_some(()));
        let mut exec = container.executor(&[], &["/integ-inside", "echo", "in", "--and", "sleep"]).spawn();
        exec.read_until("in\n");
        assert_eq!(of_all(), [last; 3]);
        let update = |list: &str| case.runj(["update", "--cpuset-cpus", list, container.id()]).run();
        let refused = update("0-1000");
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("there is no processor") && words.contains(&format!("there are {all}")), "{words}");
        let widened = update(&all);
        // The kernel of FreeBSD 12.1 only takes them away.
        let words = String::from_utf8_lossy(&widened.stderr).into_owned();
        let expected = if widened.status.success() { all.as_str() } else { last };
        assert!(words.is_empty() || words.contains(&format!("the jail has {last}, and this kernel gives")), "{words}");
        assert_eq!(of_all(), [expected; 3]);
        assert!(update(last).status.success());
        assert_eq!(of_all(), [last; 3]);
        container.delete_force().ok();
        exec.output();
    });
}

#[test]
fn a_processor_that_is_not_there_is_an_error() {
    case(needs!(Runj, Processors), |case| {
        for (list, words) in [("0,4000", "there is no processor 4000 here; there are 0"), ("0-", "\"0-\" is neither")] {
            let bundle = case.bundle("minimal").set("/linux/resources", json!({"cpu": {"cpus": list}}));
            case.container(&bundle).create().fails_with(1, &format!("linux.resources.cpu.cpus: {words}"));
        }
    });
}

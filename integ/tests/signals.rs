//! Signals to the container's process, to one of its processes, to all of them.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;

use integ::ffi;
use integ::prelude::*;

#[rstest]
#[case("TERM", "SIGTERM")]
#[case("SIGTERM", "SIGTERM")]
#[case("sigterm", "SIGTERM")]
#[case("term", "SIGTERM")]
#[case("15", "SIGTERM")]
#[case("USR1", "SIGUSR1")]
#[case("HUP", "SIGHUP")]
fn any_spelling(#[case] text: &str, #[case] name: &str) {
    case(needs!(), |case| {
        let container = case.running(&["trap"]);
        container.until_stdout("ready");
        container.kill(text).ok();
        container.until_stdout(name);
    });
}

#[rstest]
#[case("9")]
#[case("SIGKILL")]
#[case("kill")]
fn kill_cannot_be_caught(#[case] text: &str) {
    case(needs!(), |case| {
        let container = case.running(&["trap"]);
        container.until_stdout("ready");
        container.kill(text).ok();
        assert_eq!(container.wait().signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn the_default_is_term() {
    case(needs!(), |case| {
        let container = case.running(&["trap"]);
        container.until_stdout("ready");
        container.kill_with(&[], None).ok();
        container.until_stdout("SIGTERM");
    });
}

/// Where the program is process 1 of a namespace, it does not.
#[rstest]
#[case(libc::SIGTERM)]
#[case(libc::SIGUSR1)]
#[case(libc::SIGHUP)]
fn a_program_without_a_handler_dies(#[case] number: i32) {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        container.kill(&number.to_string()).ok();
        assert_eq!(container.wait().signal(), Some(number));
    });
}

#[rstest]
#[case("NOPE")]
#[case("0x9")]
#[case("999")]
#[case("-1")]
fn strangers_are_refused(#[case] text: &str) {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        assert!(!container.kill(text).output.status.success());
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn a_handler_gets_it() {
    case(needs!(), |case| {
        let container = case.running(&["trap"]);
        container.until_stdout("ready");
        for name in ["SIGTERM", "SIGUSR1", "SIGWINCH"] {
            container.kill(name).ok();
            container.until_stdout(name);
        }
    });
}

#[test]
fn signal_zero_only_looks() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        container.kill("0").ok();
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn a_program_that_ignores_term_dies_of_kill() {
    case(needs!(), |case| {
        let container = case.running(&["ignore", "TERM", "--and", "echo", "ready", "--and", "sleep"]);
        container.until_stdout("ready");
        container.kill("TERM").ok();
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        assert_eq!(container.wait().signal(), Some(libc::SIGKILL));
    });
}

/// An image without /bin/kill, as all here are: Go runj needs one inside.
#[test]
fn all_reaches_children_and_daemons() {
    case(needs!(Runj), |case| {
        let container =
            case.running(&["fork", "2", "--and", "daemon", "2", "--and", "echo", "ready", "--and", "sleep"]);
        container.until_stdout("ready");
        container.kill_with(&["--all"], Some("KILL")).ok();
        assert_eq!(container.wait().signal(), Some(libc::SIGKILL));
        // They are gone without delete.
        until("an empty jail", || {
            ffi::reap_all();
            let ps = case.runj(["ps", container.id(), "--format", "json"]).run();
            (!ps.status.success() || ps.stdout.trim_ascii() == b"[]" || ps.stdout.trim_ascii() == b"null").then_some(())
        });
        container.delete().ok();
    });
}

#[test]
fn all_leaves_the_neighbours_alone() {
    case(needs!(), |case| {
        let (first, second) = (case.running(&["sleep"]), case.running(&["sleep"]));
        first.kill_with(&["-a"], Some("KILL")).ok();
        first.wait();
        first.until_status("stopped");
        assert_eq!(second.status(), "running");
    });
}

/// The members of the jail as the host numbers them.
fn members(case: &Case, container: &Container<'_>) -> Vec<i32> {
    let text = case.runj(["ps", "--format", "json", container.id()]).ok();
    let list: Value = serde_json::from_str(&text).unwrap();
    list.as_array().unwrap().iter().map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap()).collect()
}

#[test]
fn one_process_by_pid() {
    case(needs!(Runj), |case| {
        let container = case.running(&["fork", "1", "--and", "echo", "ready", "--and", "sleep"]);
        container.until_stdout("ready");
        let child = members(case, &container).into_iter().find(|&pid| pid != container.pid()).unwrap();
        container.kill_with(&["--pid", &child.to_string()], Some("KILL")).ok();
        until("one process less", || (!members(case, &container).contains(&child)).then_some(()));
        assert_eq!(container.status(), "running");
    });
}

/// ocijail ignores --pid and kills the first process; a runtime that trusts it kills any process of the host.
#[test]
fn a_pid_of_the_host_is_refused() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let mut stranger = case.outside(["sleep"]).spawn();
        container.kill_with(&["--pid", &stranger.pid.to_string()], Some("KILL")).fails(1);
        assert!(stranger.try_wait().is_none(), "the stranger lives");
        stranger.kill(libc::SIGKILL);
        stranger.wait();
        assert_eq!(container.status(), "running");
    });
}

/// The recorded pid belongs to another process by now: it must be left alone.
#[test]
fn a_reused_pid_is_never_signalled() {
    case(needs!(Runj), |case| {
        let container = case.running(&["true"]);
        container.passes();
        let mut stranger = case.outside(["sleep"]).spawn();
        let record = case.root().join(container.id()).join("state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
        assert_eq!(state["init"]["pid"], container.pid(), "the record holds pid and start time: {state}");
        state["init"]["pid"] = json!(stranger.pid);
        std::fs::write(&record, state.to_string()).unwrap();
        assert_eq!(container.status(), "stopped");
        container.kill("KILL").fails(1);
        container.delete_force().ok();
        assert!(stranger.try_wait().is_none(), "the stranger lives");
        stranger.kill(libc::SIGKILL);
        stranger.wait();
    });
}

#[test]
fn pause_stops_and_resume_goes_on() {
    case(needs!(Runj), |case| {
        let container = case.running(&["fork", "2", "--and", "trap"]);
        container.until_stdout("ready");
        case.runj(["pause", container.id()]).ok();
        assert_eq!(container.status(), "paused");
        container.kill("USR1").ok();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!container.stdout().contains("SIGUSR1"), "a paused program does nothing");
        case.runj(["resume", container.id()]).ok();
        assert_eq!(container.status(), "running");
        container.until_stdout("SIGUSR1");
    });
}

#[test]
fn a_paused_container_is_killed_and_deleted() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        case.runj(["pause", container.id()]).ok();
        container.kill("KILL").ok();
        container.wait();
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
    });
}

#[test]
fn pause_and_resume_need_the_right_state() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.create().ok();
        case.runj(["resume", container.id()]).run().assert().code(1);
        container.start().ok();
        case.runj(["resume", container.id()]).run().assert().code(1);
        case.runj(["pause", container.id()]).ok();
        case.runj(["exec", container.id(), "/integ-inside", "true"]).run().assert().failure();
        container.delete_force().ok();
    });
}

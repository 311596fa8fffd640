//! Hooks: six kinds, their order, phase, place, input, time, and what their failure does.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;

use integ::prelude::*;
use integ::run::Stdio;
use integ::wait;

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle in which each hook of these kinds records itself; the one inside writes to /data.
fn recording(case: &Case, log: &Path, check: &[&str]) -> Bundle {
    let mut bundle = case.bundle("minimal").args(check);
    for kind in KINDS {
        let file = if kind == "startContainer" { "/data/hooks" } else { log.to_str().unwrap() };
        bundle = bundle.hook(kind, &["hook", kind, file]);
    }
    bundle
}

fn names(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["hook"].as_str().unwrap()).collect()
}

/// runc 1.1 runs `poststart` when it has created, before the start.
#[test]
fn each_runs_once_in_its_phase() {
    case(needs!(Runj), |case| {
        let log = case.path("hooks");
        let bundle = recording(case, &log, &["append", "/data/hooks", "{\"hook\":\"program\"}"]);
        let container = case.container(&bundle);
        container.create().ok();
        assert_eq!(names(&case.records(&log)), ["prestart", "createRuntime", "createContainer"]);
        assert!(case.records(bundle.in_root("data/hooks")).is_empty());
        container.start().ok();
        assert_eq!(names(&case.records(&log))[3..], ["poststart"]);
        container.passes();
        assert_eq!(names(&case.records(bundle.in_root("data/hooks"))), ["startContainer", "program"]);
        container.delete().ok();
        assert_eq!(names(&case.records(&log))[4..], ["poststop"]);
    });
}

/// As above, runc's `poststart` is told `created`.
#[test]
fn they_get_the_state_on_stdin() {
    case(needs!(Runj), |case| {
        let log = case.path("hooks");
        let bundle = recording(case, &log, &["sleep"]).set("/annotations", json!({"org.example.a": "b"}));
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.kill("KILL").ok();
        container.wait();
        container.delete().ok();
        let mut records = case.records(&log);
        records.extend(case.records(bundle.in_root("data/hooks")));
        assert_eq!(records.len(), 6);
        for record in &records {
            let (kind, state) = (record["hook"].as_str().unwrap(), &record["state"]);
            assert_eq!(state["id"], container.id(), "{kind}");
            assert_eq!(state["bundle"], bundle.dir().to_str().unwrap(), "{kind}");
            assert_eq!(state["annotations"]["org.example.a"], "b", "{kind}");
            let expected: &[&str] = match kind {
                "startContainer" => &["created", "creating"],
                "poststart" => &["running"],
                "poststop" => &["stopped"],
                _ => &["creating", "created"],
            };
            assert!(expected.contains(&state["status"].as_str().unwrap()), "{kind}: {state}");
            if ["prestart", "createRuntime", "poststart"].contains(&kind) {
                assert_eq!(state["pid"], container.pid(), "{kind}");
            }
        }
    });
}

/// `createContainer` runs in the container's namespaces but is found on the host; `startContainer` is found inside.
/// runc sets the host's name only afterwards.
#[test]
fn they_run_in_their_place() {
    case(needs!(Runj), |case| {
        let log = case.path("hooks");
        let bundle = recording(case, &log, &["true"]).set("/hostname", json!("jail-name"));
        case.passes(&bundle);
        let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let records = case.records(&log);
        for record in &records {
            let expected = match record["hook"].as_str().unwrap() {
                // On FreeBSD the jail cannot run a program of the host's: it runs on the host.
                "createContainer" if cfg!(target_os = "linux") => "jail-name",
                _ => own.as_str(),
            };
            assert_eq!(record["hostname"], expected, "{record}");
        }
        let inner = &case.records(bundle.in_root("data/hooks"))[0];
        assert_eq!(inner["hostname"], "jail-name");
        assert_ne!(inner["root"], records[0]["root"]);
    });
}

#[test]
fn their_argv_and_environment_are_exact() {
    case(needs!(), |case| {
        let log = case.path("hooks");
        let args = json!(["my name", "hook", "createRuntime", log, "extra", ""]);
        let hook = json!([{"path": integ::locate::inside().unwrap(), "args": args, "env": ["ONLY=this"]}]);
        let container = case.container(&case.bundle("minimal").set("/hooks/createRuntime", hook));
        container.creator(&[]).env("SECRET", "1").ok();
        let record = &case.records(&log)[0];
        assert_eq!(record["argv"], json!(["createRuntime", log, "extra", ""]));
        assert_eq!(record["env"], json!(["ONLY=this"]));
    });
}

/// Go runj panics here, in the middle of create. A program without arguments is given its own path.
#[test]
fn one_without_args_runs() {
    case(needs!(), |case| {
        let hook = json!([{"path": integ::locate::inside().unwrap()}]);
        // integ-inside without a check says that it misses one: it ran.
        let text = case.container(&case.bundle("minimal").set("/hooks/createRuntime", hook)).create().fails(1);
        assert!(text.contains("exit status 2") || !integ::locate::is_runj(), "{text}");
    });
}

#[test]
fn several_of_a_kind_run_in_order() {
    case(needs!(), |case| {
        let log = case.path("hooks");
        let mut bundle = case.bundle("minimal").args(&["true"]);
        for name in ["first", "second", "third"] {
            for kind in ["createRuntime", "poststop"] {
                bundle = bundle.hook(kind, &["hook", name, log.to_str().unwrap()]);
            }
        }
        case.passes(&bundle);
        assert_eq!(names(&case.records(&log)), ["first", "second", "third", "first", "second", "third"]);
    });
}

#[rstest]
#[case("prestart")]
#[case("createRuntime")]
#[case("createContainer")]
fn a_failure_undoes_create_and_runs_poststop(#[case] kind: &str) {
    case(needs!(), |case| {
        let log = case.path("hooks");
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]);
        let bundle = bundle.hook(kind, &["exit", "3"]).hook(kind, &["hook", "after", log.to_str().unwrap()]);
        let bundle = bundle.hook("poststop", &["hook", "poststop", log.to_str().unwrap()]);
        let container = case.container(&bundle);
        let text = container.create().fails(1);
        assert!(text.contains(kind) || !integ::locate::is_runj(), "{text}");
        assert_eq!(names(&case.records(&log)), ["poststop"]);
        assert!(!container.pid_file().exists());
        container.state_command().fails(1);
    });
}

/// Its state does not fit into a pipe, and nobody empties that: whoever writes it is not to die of it.
#[test]
fn a_hook_need_not_read_its_state() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/annotations", json!({ "org.example.long": "x".repeat(300_000) }));
        let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        let bundle = kinds.iter().fold(bundle, |bundle, kind| bundle.hook(kind, &["exit", "0"]));
        case.passes(&bundle);
    });
}

#[test]
fn a_failing_start_container_stops_the_container() {
    case(needs!(Runj), |case| {
        let log = case.path("hooks");
        let bundle = case.bundle("minimal").args(&["touch", "/data/ran"]).hook("startContainer", &["exit", "3"]);
        let bundle = bundle.hook("poststop", &["hook", "poststop", log.to_str().unwrap()]);
        let container = case.container(&bundle);
        container.create().ok();
        container.start().fails_with(1, "startContainer");
        container.until_status("stopped");
        assert!(!bundle.in_root("data/ran").exists());
        container.delete().ok();
        assert_eq!(names(&case.records(&log)), ["poststop"]);
    });
}

#[test]
fn a_failing_poststart_stops_the_container() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]).hook("poststart", &["exit", "3"]);
        let container = case.container(&bundle);
        container.create().ok();
        container.start().fails_with(1, "poststart");
        container.wait();
        container.until_status("stopped");
        container.delete().ok();
    });
}

/// So says runtime.md; runc leaves the rest out.
#[test]
fn a_failing_poststop_is_a_warning_and_the_rest_run() {
    case(needs!(Runj), |case| {
        let log = case.path("hooks");
        let bundle = case.bundle("minimal").args(&["true"]).hook("poststop", &["exit", "3"]);
        let bundle = bundle.hook("poststop", &["hook", "second", log.to_str().unwrap()]);
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.passes();
        let done = container.delete();
        done.ok();
        assert!(done.stderr().contains("poststop"), "{}", done.stderr());
        assert_eq!(names(&case.records(&log)), ["second"]);
        container.state_command().fails(1);
    });
}

/// The children of a hook whose time is over die with it.
#[test]
fn a_timeout_kills_the_whole_group() {
    case(needs!(Runj), |case| {
        let path = integ::locate::inside().unwrap();
        let hook = json!([{"path": path, "args": ["inside", "fork", "2", "--and", "sleep"], "timeout": 1}]);
        let container = case.container(&case.bundle("minimal").set("/hooks/createRuntime", hook));
        let text = container.create().fails(1);
        assert!(text.contains("timeout"), "{text}");
        container.state_command().fails(1);
        // The leak check finds the two children if they live.
    });
}

#[test]
fn a_hook_that_ends_in_time_is_not_disturbed() {
    case(needs!(), |case| {
        let path = integ::locate::inside().unwrap();
        let log = case.path("hooks");
        let hook =
            json!([{"path": path, "args": ["inside", "hook", "x", log], "timeout": wait::seconds(60).as_secs()}]);
        case.passes(&case.bundle("minimal").args(&["true"]).set("/hooks/createRuntime", hook));
        assert_eq!(case.records(&log).len(), 1);
    });
}

/// Nor the signals that the caller ignores, which runc lets through.
#[test]
fn a_hook_sees_no_descriptor_of_the_runtime() {
    case(needs!(Runj), |case| {
        let mut bundle = case.bundle("minimal").args(&["true"]);
        for kind in KINDS {
            bundle = bundle.hook(kind, &["fds", "--and", "signals-clean"]);
        }
        let container = case.container(&bundle);
        container.creator(&[]).without_signals(&[libc::SIGUSR2]).ok();
        container.start().ok();
        container.passes();
        let done = container.delete();
        done.ok();
        assert_eq!(done.stderr(), "");
    });
}

#[test]
fn a_hook_with_a_relative_path_is_refused() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/hooks/createRuntime", json!([{"path": "bin/true"}]));
        let container = case.container(&bundle);
        container.create().fails(1);
        container.state_command().fails(1);
    });
}

#[test]
fn a_missing_hook_is_an_error_that_names_it() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]));
        case.container(&bundle).create().fails_with(1, "/no/such/hook");
    });
}

/// The lock is not held while a hook runs: it may ask for the state of its own container.
#[test]
fn a_hook_may_call_the_runtime() {
    case(needs!(Runj), |case| {
        let runtime = integ::locate::runtime().unwrap();
        let container = case.container(&case.bundle("minimal"));
        let args = json!(["runj", "--root", case.root(), "state", container.id()]);
        let hook = json!([{"path": runtime, "args": args}]);
        let bundle = case.bundle("minimal").set("/hooks/createRuntime", hook.clone()).set("/hooks/poststart", hook);
        let container = integ::Container::new(case, bundle.dir()).with_id(container.id());
        container.create().ok();
        container.start().ok();
        container.passes();
    });
}

/// Its creator, which attends in the foreground, catches signals; it does not.
#[test]
fn a_signal_ends_who_waits_for_a_hook() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").hook("startContainer", &["touch", "/data/hook", "--and", "sleep"]);
        let container = case.container(&bundle);
        let mut run = container.runner(&[]).stdout(Stdio::Null).stderr(Stdio::Null).spawn();
        until("the hook", || bundle.in_root("data/hook").exists().then_some(()));
        container.kill("TERM").ok();
        assert!(!run.wait().success());
    });
}

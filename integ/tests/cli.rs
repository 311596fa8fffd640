//! The command line with real containers: flags, output, logs, `run`, `list`, `ps`, `plan`, `spec`, `demo bundle`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integ::container::Done;
use integ::ffi;
use integ::prelude::*;
use integ::run::Stdio;

#[test]
fn version_and_help() {
    case(needs!(), |case| {
        case.runtime().arg("--version").run().assert().success().stdout(contains("version"));
        case.runtime().arg("--help").run().assert().success().stdout(contains("create"));
        if integ::locate::is_runj() {
            case.runtime().arg("-V").run().assert().success();
            for verb in [
                "create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "plan", "spec", "pause",
                "resume",
            ] {
                case.runtime().args([verb, "--help"]).run().assert().success().stdout(contains("Usage"));
            }
        }
    });
}

/// What conmon, buildah, CRI-O and go-runc pass.
#[rstest]
#[case(&["--systemd-cgroup"])]
#[case(&["--cgroup-manager", "disabled"])]
#[case(&["--cgroup-manager=systemd"])]
#[case(&["--rootless", "false"])]
#[case(&["--debug"])]
#[case(&["--log-level", "warn"])]
fn flags_of_callers_are_accepted(#[case] flags: &[&str]) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["exit", "2"]);
        let container = case.container(&bundle);
        let create = case.runj(flags).args(["create", "--no-pivot", "--no-new-keyring", "--bundle"]).arg(bundle.dir());
        let create = create.arg("--pid-file").arg(container.pid_file()).arg(container.id());
        create.stdout(Stdio::Null).stderr(Stdio::Null).ok();
        case.runj(flags).args(["start", container.id()]).ok();
        assert_eq!(container.wait().code(), Some(2));
        case.runj(flags).args(["delete", container.id()]).ok();
    });
}

#[test]
fn a_jail_is_named_otherwise_where_an_id_is_used_twice() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        let name = format!("{}--a.b", case.marker());
        container.create_with(&["--jail-name", &name]).ok();
        let state = container.state();
        assert_eq!(state["id"], *container.id());
        // A dot would be a child jail.
        assert_eq!(state["jail"]["name"], name.replace('.', "%2E"));
        container.start().ok();
        container.delete_force().ok();
    });
}

#[rstest]
#[case::long(&["--bundle"])]
#[case::short(&["-b"])]
#[case::argument(&[])]
#[case::here(&["."])]
fn the_bundle_is_named_in_four_ways(#[case] how: &[&str]) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal");
        let container = case.container(&bundle);
        let dir = bundle.dir().to_str().unwrap();
        let create = case.runj(["create"]);
        let create = match how {
            [] => create.args([container.id(), dir]),
            ["."] => create.arg(container.id()).cwd(dir),
            [flag, ..] => create.args([flag, dir, container.id()]),
        };
        create.stdout(Stdio::Null).stderr(Stdio::Null).ok();
        assert_eq!(container.state()["bundle"], dir);
        container.delete_force().ok();
    });
}

/// podman reads the whole file as one JSON object.
#[test]
fn an_error_is_one_json_object_in_the_log() {
    case(needs!(), |case| {
        let log = case.path("oci.log");
        let arguments = ["--log-format", "json", "--log", log.to_str().unwrap(), "state", "stranger"];
        case.runj(arguments).run().assert().code(1);
        let line: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains("exist"), "{line}");
        assert!(line["time"].as_str().unwrap().contains('T'), "{line}");
    });
}

#[test]
fn an_error_is_a_line_in_the_text_log() {
    case(needs!(), |case| {
        let log = case.path("oci.log");
        case.runj(["--log", log.to_str().unwrap(), "state", "stranger"]).run().assert().code(1);
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("level=error") && text.contains("msg="), "{text}");
        assert_eq!(text.lines().count(), 1);
    });
}

#[test]
fn the_log_is_appended_to_and_success_is_silent() {
    case(needs!(Runj), |case| {
        let log = case.path("oci.log");
        fs::write(&log, "before\n").unwrap();
        case.runj(["--log", log.to_str().unwrap(), "list"]).ok();
        assert_eq!(fs::read_to_string(&log).unwrap(), "before\n");
        case.runj(["--log", log.to_str().unwrap(), "state", "stranger"]).run().assert().code(1);
        assert!(fs::read_to_string(&log).unwrap().starts_with("before\n"));
    });
}

#[rstest]
#[case::code(&["exit", "7"], 7)]
#[case::zero(&["true"], 0)]
fn run_ends_as_the_program_does(#[case] check: &[&str], #[case] code: i32) {
    case(needs!(), |case| run_ends(case, check, code));
}

/// Where the program is process 1 of a namespace, it does not die of these.
#[rstest]
#[case::kill(&["die", "KILL"], 128 + 9)]
#[case::segmentation_fault(&["die", "SEGV"], 128 + 11)]
fn run_ends_as_the_program_dies(#[case] check: &[&str], #[case] code: i32) {
    case(needs!(Runj), |case| run_ends(case, check, code));
}

#[track_caller]
fn run_ends(case: &Case, check: &[&str], code: i32) {
    let container = case.container(&case.bundle("minimal").args(check));
    container.runner(&[]).run().assert().code(code);
    container.state_command().fails(1);
}

#[test]
fn run_gives_its_standard_streams() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["cat", "--and", "echo-error", "err"]));
        container.runner(&[]).input("typed").run().assert().success().stdout("typed").stderr("err\n");
    });
}

#[test]
fn run_passes_output_on_to_the_last_byte() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["write", "8"]));
        assert_eq!(container.runner(&[]).ok().len(), 8 << 20);
    });
}

#[test]
fn run_keeps_the_container_when_asked() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["exit", "3"]));
        container.runner(&["--keep"]).run().assert().code(3);
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
    });
}

#[test]
fn run_detached_returns_at_once() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        let pid_file = container.pid_file();
        let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
        container.runner(&options).stdout(Stdio::Null).stderr(Stdio::Null).ok();
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        container.wait();
        container.delete().ok();
    });
}

#[test]
fn run_passes_signals_on() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["trap"]));
        let mut run = container.runner(&[]).spawn();
        run.read_until("ready");
        for (number, name) in [(libc::SIGHUP, "SIGHUP"), (libc::SIGUSR1, "SIGUSR1"), (libc::SIGTERM, "SIGTERM")] {
            run.kill(number);
            run.read_until(name);
        }
        container.kill("KILL").ok();
        assert_eq!(run.wait().code(), Some(128 + 9));
        container.state_command().fails(1);
    });
}

#[rstest]
#[case("/no/such", 127)]
#[case("/tmp", 126)]
fn run_reports_what_cannot_be_executed(#[case] program: &str, #[case] code: i32) {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").set("/process/args", json!([program])));
        Done::run(container.runner(&[])).fails_with(code, program);
        container.state_command().fails(1);
    });
}

/// What the last process leaves running ends with the container.
#[test]
fn run_leaves_no_daemon() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["daemon", "2", "--and", "exit", "1"]));
        container.runner(&[]).stdout(Stdio::Null).stderr(Stdio::Null).run().assert().code(1);
    });
}

#[test]
fn run_with_the_pid_in_a_file() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["trap"]));
        let pid_file = case.path("the.pid");
        let mut run = container.runner(&["--pid-file", pid_file.to_str().unwrap()]).spawn();
        run.read_until("ready");
        until("the pid file", || pid_file.exists().then_some(()));
        let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        ffi::kill(pid, libc::SIGKILL).unwrap();
        assert_eq!(run.wait().code(), Some(128 + 9));
    });
}

#[test]
fn list_shows_all_containers() {
    case(needs!(), |case| {
        if integ::locate::is_runj() {
            assert_eq!(case.runj(["list", "--format", "json"]).ok().trim(), "[]");
            assert_eq!(case.runj(["list", "-q"]).ok(), "");
        }
        let (created, running) = (case.container(&case.bundle("minimal")), case.running(&["sleep"]));
        created.create().ok();
        let stopped = case.running(&["true"]);
        stopped.passes();
        let list: Value = serde_json::from_str(&case.runj(["list", "-f", "json"]).ok()).unwrap();
        let status = |id: &str| {
            let entry = list.as_array().unwrap().iter().find(|entry| entry["id"] == id).unwrap();
            entry["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(list.as_array().unwrap().len(), 3);
        assert_eq!(
            [status(created.id()), status(running.id()), status(stopped.id())],
            ["created", "running", "stopped"]
        );
        let table = case.runj(["list"]).ok();
        assert!(table.starts_with("ID") && table.lines().count() == 4, "{table}");
        let quiet = case.runj(["list", "--quiet"]).ok();
        let mut ids: Vec<&str> = quiet.lines().collect();
        ids.sort_unstable();
        let mut expected = [created.id(), running.id(), stopped.id()];
        expected.sort_unstable();
        assert_eq!(ids, expected);
    });
}

#[test]
fn ps_lists_the_hosts_pids() {
    case(needs!(Runj), |case| {
        let container = case.running(&["fork", "2", "--and", "echo", "ready", "--and", "sleep"]);
        container.until_stdout("ready");
        let pids: Vec<i32> =
            serde_json::from_str::<Vec<i32>>(&case.runj(["ps", "-f", "json", container.id()]).ok()).unwrap();
        assert_eq!(pids.len(), 3, "{pids:?}");
        assert!(pids.contains(&container.pid()));
        assert!(pids.iter().all(|&pid| ffi::kill(pid, 0).is_ok()));
        let table = case.runj(["ps", container.id()]).ok();
        assert!(table.lines().count() >= 4 && table.contains(&container.pid().to_string()), "{table}");
    });
}

#[test]
fn plan_shows_and_does_nothing() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/hostname", json!("planned"));
        let tree = bundle.tree();
        let plan: Value =
            serde_json::from_str(&case.runtime().args(["plan", "--format", "json"]).arg(bundle.dir()).ok()).unwrap();
        assert!(plan.to_string().contains("planned"));
        let text = case.runtime().arg("plan").arg(bundle.dir()).ok();
        assert!(text.contains("planned"), "{text}");
        assert_eq!(bundle.tree(), tree);
    });
}

#[rstest]
#[case(&["spec"])]
#[case(&["demo", "spec"])]
fn spec_is_a_bundle_that_plans(#[case] words: &[&str]) {
    case(needs!(Runj), |case| {
        let dir = case.path("new");
        fs::create_dir_all(dir.join("rootfs")).unwrap();
        fs::create_dir_all(dir.join("root")).unwrap();
        case.runtime().args(words).arg("--bundle").arg(&dir).ok();
        case.runtime().arg("plan").arg(&dir).ok();
        // It does not write over what is there.
        case.runtime().args(words).arg("--bundle").arg(&dir).run().assert().code(1).stderr(contains("config.json"));
        let other = case.path("other");
        fs::create_dir(&other).unwrap();
        case.runtime().args(words).cwd(&other).ok();
        assert!(other.join("config.json").exists());
    });
}

#[test]
fn a_demo_bundle_runs() {
    case(needs!(Runj), |case| {
        let dir = case.path("demo");
        case.runtime().args(["demo", "bundle"]).arg(&dir).ok();
        let run = case.runj(["run", "--bundle", dir.to_str().unwrap(), &case.id()]);
        // With a shell or without one: it must start and end.
        let output = run.run();
        assert!(output.status.code().is_some_and(|code| code < 126), "{output:?}");
    });
}

/// Without an object of its own, the extension of Go runj configures the jail.
#[test]
fn runj_ext_json_is_merged() {
    case(needs!(Runj), |case| {
        let server = integ::net::Server::on("127.0.0.1", "host");
        case.passes(&case.bundle("ext").args(&["tcp-connect", &server.target(), "host"]));
    });
}

/// A bundle as containerd writes it for FreeBSD: with a `linux` object.
#[test]
fn a_bundle_of_containerds_runs() {
    case(needs!(Runj, NoNewPrivileges), |case| {
        case.passes(&case.bundle("containerd").set("/linux/cgroupsPath", json!(format!("/{}", case.marker()))));
    });
}

#[test]
fn state_files_are_private() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.creator(&[]).umask(0).ok();
        let directory = case.root().join(container.id());
        let open = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!(open(&directory), 0);
        for entry in fs::read_dir(&directory).unwrap() {
            assert_eq!(open(&entry.unwrap().path()) & 0o022, 0);
        }
    });
}

/// Two roots are two worlds, but for the names of their jails.
#[test]
fn another_root_does_not_see_the_container() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let other = case.path("other-state");
        case.runtime().arg("--root").arg(&other).args(["state", container.id()]).run().assert().code(1);
        assert_eq!(container.status(), "running");
    });
}

//! The life of a container: create, start, state, kill, delete, as the runtime spec words it.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;

use integ::ffi;
use integ::prelude::*;
use integ::run::Stdio;

#[test]
fn a_container_lives() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["trap"]));
        container.create().ok();
        assert_eq!(container.status(), "created");
        assert_eq!(container.stdout(), "");
        container.start().ok();
        assert_eq!(container.status(), "running");
        container.until_stdout("ready");
        container.kill("KILL").ok();
        let status = container.wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
        container.state_command().fails(1);
    });
}

#[test]
fn the_program_says_hello() {
    case(needs!(), |case| {
        let container = case.running(&["hello"]);
        container.passes();
        assert!(container.stdout().starts_with("hello from process"));
        assert_eq!(container.stderr(), "");
        container.delete().ok();
    });
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(42)]
#[case(255)]
fn the_reaper_gets_the_exit_code(#[case] code: i32) {
    case(needs!(), |case| {
        let container = case.running(&["exit", &code.to_string()]);
        assert_eq!(container.wait().code(), Some(code));
        container.until_status("stopped");
    });
}

#[test]
fn an_unreaped_container_is_stopped() {
    case(needs!(), |case| {
        let container = case.running(&["true"]);
        // The process stays a zombie: nobody waits for it.
        container.until_status("stopped");
        container.delete().ok();
    });
}

#[test]
fn state_tells_what_the_spec_demands() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/annotations", json!({"org.example.key": "value"}));
        let container = case.container(&bundle);
        container.create().ok();
        let state = container.state();
        assert!(state["ociVersion"].is_string());
        assert_eq!(state["id"], container.id());
        assert_eq!(state["status"], "created");
        assert_eq!(state["pid"], container.pid());
        assert_eq!(state["bundle"], bundle.dir().to_str().unwrap());
        assert_eq!(state["annotations"], json!({"org.example.key": "value"}));
        assert!(ffi::kill(container.pid(), 0).is_ok());
    });
}

#[rstest]
#[case("1.0.0")]
#[case("1.0.2-dev")]
#[case("1.2.1")]
#[case("1.3.0")]
fn state_echoes_the_version_of_the_bundle(#[case] version: &str) {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").set("/ociVersion", json!(version)));
        container.create().ok();
        assert_eq!(container.state()["ociVersion"], version);
    });
}

#[test]
fn state_of_a_stopped_container_has_no_pid() {
    case(needs!(), |case| {
        let container = case.running(&["true"]);
        container.passes();
        let state = container.state();
        assert_eq!(state["status"], "stopped");
        assert_eq!(state["pid"].as_i64().unwrap_or(0), 0);
    });
}

#[test]
fn start_of_a_running_container_is_an_error() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        container.start().fails(1);
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn start_of_a_stopped_container_is_an_error() {
    case(needs!(), |case| {
        let container = case.running(&["true"]);
        container.passes();
        container.start().fails(1);
        assert_eq!(container.status(), "stopped");
    });
}

/// Go runj hangs here: its `start` waits for a reader that is gone.
#[test]
fn start_after_the_entrypoint_died_is_a_prompt_error() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.create().ok();
        ffi::kill(container.pid(), libc::SIGKILL).unwrap();
        container.wait();
        container.until_status("stopped");
        container.start().fails(1);
        container.delete().ok();
    });
}

#[rstest]
#[case::kill("kill")]
#[case::state("state")]
#[case::start("start")]
#[case::delete("delete")]
#[case::pause("pause")]
#[case::resume("resume")]
#[case::ps("ps")]
fn verbs_on_an_unknown_id_are_errors(#[case] verb: &str) {
    case(needs!(), |case| {
        let unknown = integ::container::Done::run(case.runj([verb, "stranger"]));
        let text = unknown.fails(1);
        assert!(text.contains("stranger") || !integ::locate::is_runj(), "{text}");
    });
}

#[test]
fn delete_by_force_of_an_unknown_id_succeeds() {
    case(needs!(), |case| {
        case.runj(["delete", "--force", "stranger"]).ok();
        case.runj(["delete", "-f", "stranger"]).ok();
    });
}

#[test]
fn delete_of_a_running_container_is_an_error_and_harmless() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        container.delete().fails(1);
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        container.state_command().fails(1);
    });
}

#[test]
fn delete_of_a_created_container_by_force() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.create().ok();
        container.delete_force().ok();
        assert!(ffi::try_wait(container.pid()).unwrap().is_some(), "the entrypoint is dead");
    });
}

#[test]
fn kill_works_on_a_created_container() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.create().ok();
        container.kill("KILL").ok();
        container.wait();
        container.until_status("stopped");
        container.delete().ok();
    });
}

#[test]
fn kill_of_a_stopped_container_is_an_error() {
    case(needs!(), |case| {
        let container = case.running(&["true"]);
        container.passes();
        container.until_status("stopped");
        container.kill("TERM").fails(1);
    });
}

#[test]
fn an_id_that_exists_is_refused_and_unharmed() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let second = case.container(&case.bundle("minimal")).with_id(container.id());
        let output = second.creator(&[]).stdout(Stdio::Piped).stderr(Stdio::Piped).run();
        output.assert().code(1).stderr(contains("exist"));
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn an_id_can_be_used_again() {
    case(needs!(), |case| {
        let first = case.running(&["true"]);
        first.passes();
        first.delete().ok();
        let second = case.container(&case.bundle("minimal").args(&["exit", "3"])).with_id(first.id());
        second.create().ok();
        second.start().ok();
        assert_eq!(second.wait().code(), Some(3));
        second.delete().ok();
    });
}

#[test]
fn the_bundle_is_read_once() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").args(&["exit", "7"]);
        let container = case.container(&bundle);
        container.create().ok();
        fs::write(bundle.dir().join("config.json"), "{}").unwrap();
        container.start().ok();
        assert_eq!(container.wait().code(), Some(7));
        fs::remove_file(bundle.dir().join("config.json")).unwrap();
        container.delete().ok();
    });
}

#[test]
fn a_relative_bundle_and_root_work_from_anywhere() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]);
        let container = case.container(&bundle);
        let name = bundle.dir().file_name().unwrap().to_str().unwrap();
        let create =
            case.runj(["create", "--bundle", name, "--pid-file"]).arg(container.pid_file()).arg(container.id());
        create.cwd(case.dir()).stdout(Stdio::Null).stderr(Stdio::Null).ok();
        assert_eq!(container.state()["bundle"], bundle.dir().to_str().unwrap());
        case.runj(["start", container.id()]).cwd("/").ok();
        container.passes();
        // Today's runtimes leave the mounts here: they resolve the root against this directory.
        case.runj(["delete", container.id()]).cwd("/").ok();
    });
}

/// The engine's kill and delete come without PATH (podman).
#[test]
fn every_verb_works_without_an_environment() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.creator(&[]).env_clear().ok();
        for arguments in [["start", container.id()], ["state", container.id()]] {
            case.runj(arguments).env_clear().ok();
        }
        case.runj(["kill", container.id(), "KILL"]).env_clear().ok();
        container.wait();
        case.runj(["delete", container.id()]).env_clear().ok();
    });
}

#[test]
fn the_pid_file_is_last_and_bare() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        let path = case.path("the.pid");
        container.create_with(&["--pid-file", path.to_str().unwrap()]).ok();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.parse::<i64>().unwrap(), container.state()["pid"].as_i64().unwrap());
    });
}

#[test]
fn a_failed_create_writes_no_pid_file() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/process/args", json!(["/no/such/program"]));
        let container = case.container(&bundle);
        assert!(!container.create().output.status.success());
        assert!(!container.pid_file().exists());
        container.state_command().fails(1);
    });
}

//! `process`, `hostname` and what the program finds around it.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs::File;

use integ::prelude::*;
use integ::run::Stdio;

#[rstest]
#[case::env(json!(["A=1", "B=two words", "EMPTY="]), &["env", "A=1", "B=two words", "EMPTY=", "HOME=/"])]
#[case::home_given(json!(["HOME=/data"]), &["env", "HOME=/data"])]
fn the_environment_is_exact(#[case] env: Value, #[case] check: &[&str]) {
    case(needs!(Runj), |case| {
        // HOME comes from the container's passwd(5); a root without one has /.
        case.passes(&case.bundle("minimal").set("/process/env", env).args(check));
    });
}

#[test]
fn home_is_the_users_own() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").args(&["env-has", "HOME=/data/of-web"]);
        let bundle = bundle.set("/process/user", json!({"uid": 80, "gid": 80}));
        std::fs::write(bundle.in_root("etc/passwd"), "root:*:0:0::/root:/bin/sh\nweb:*:80:80::/data/of-web:/bin/sh\n")
            .unwrap();
        case.passes(&bundle);
    });
}

#[test]
fn arguments_come_through_unchanged() {
    case(needs!(), |case| {
        let words = ["args", "", "a b", "-x", "--bundle", "ü", "\"quoted\"", "$HOME", "*"];
        let container = case.running(&words);
        container.passes();
        assert_eq!(container.stdout().trim_end(), json!(words[1..]).to_string());
    });
}

#[rstest]
#[case::cwd("/process/cwd", json!("/tmp"), &["cwd", "/tmp"])]
#[case::uid("/process/user", json!({"uid": 1001, "gid": 1002}), &["uid", "1001", "--and", "gid", "1002", "--and", "groups"])]
#[case::groups(
    "/process/user",
    json!({"uid": 1001, "gid": 1002, "additionalGids": [5, 6]}),
    &["groups", "5", "6", "--and", "gid", "1002"]
)]
#[case::root_has_no_groups("/process/user", json!({"uid": 0, "gid": 0}), &["groups"])]
#[case::umask("/process/user", json!({"uid": 0, "gid": 0, "umask": 0o077}), &["umask", "077"])]
#[case::umask_open("/process/user", json!({"uid": 0, "gid": 0, "umask": 0}), &["umask", "000"])]
#[case::umask_default("/process/user", json!({"uid": 0, "gid": 0}), &["umask", "022"])]
#[case::nofile(
    "/process/rlimits",
    json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]),
    &["rlimit", "NOFILE", "77", "88"]
)]
#[case::core(
    "/process/rlimits",
    json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_FSIZE", "soft": 4096, "hard": 8192}]),
    &["rlimit", "CORE", "0", "0", "--and", "rlimit", "FSIZE", "4096", "8192"]
)]
#[case::hostname("/hostname", json!("inside.example.org"), &["hostname", "inside.example.org"])]
fn a_property_is_obeyed(#[case] pointer: &str, #[case] value: Value, #[case] check: &[&str]) {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").args(check).set(pointer, value);
        let container = case.container(&bundle);
        // The caller's own umask must not come through.
        container.creator(&[]).umask(0o002).ok();
        container.start().ok();
        container.passes();
    });
}

#[test]
fn a_missing_working_directory_is_made() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/process/cwd", json!("/work/deep")).args(&["cwd", "/work/deep"]);
        case.passes(&bundle);
    });
}

#[test]
fn the_hosts_name_is_not_touched() {
    case(needs!(), |case| {
        let before = nix::unistd::gethostname().unwrap();
        case.passes(&case.bundle("minimal").set("/hostname", json!("other")).args(&["hostname", "other"]));
        assert_eq!(nix::unistd::gethostname().unwrap(), before);
    });
}

#[test]
fn host_inherit_shows_the_hosts_name() {
    case(needs!(Runj), |case| {
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let bundle = case.bundle("minimal").set("/freebsd/jail/host", json!("inherit")).args(&["hostname", &host]);
        case.passes(&bundle);
    });
}

/// runc knows none before 1.2.
#[test]
fn the_domain_name_is_that_of_the_bundle() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/domainname", json!("nis.example.org"));
        case.passes(&bundle.args(&["domainname", "nis.example.org"]));
    });
}

/// runc lets through which signals the caller ignores.
#[test]
fn the_callers_signals_are_as_usual() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["signals-clean"]));
        container.creator(&[]).without_signals(&[libc::SIGUSR1, libc::SIGHUP, libc::SIGTERM, libc::SIGCONT]).ok();
        container.start().ok();
        container.passes();
    });
}

#[test]
fn the_caller_leaks_nothing() {
    case(needs!(), |case| {
        let check = ["fds", "--and", "no-ctty", "--and", "session-leader", "--and", "env-lacks", "SECRET"];
        let container = case.container(&case.bundle("minimal").args(&check));
        let secret = case.path("secret");
        std::fs::write(&secret, "s").unwrap();
        let creator = container.creator(&[]).env("SECRET", "1");
        creator.fd(7, File::open(&secret).unwrap()).fd(50, File::open("/").unwrap()).ok();
        container.start().ok();
        container.passes();
    });
}

/// What the waiting entrypoint shows to the jail and the host: not the caller's environment.
#[test]
fn the_waiting_process_shows_no_environment() {
    case(needs!(Linux, Runj), |case| {
        let container = case.container(&case.bundle("minimal").set("/process/env", json!(["INNER=1"])));
        container.creator(&[]).env("SECRET", "canary").ok();
        let shown = std::fs::read(format!("/proc/{}/environ", container.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&shown).contains("canary"));
    });
}

#[test]
fn preserved_descriptors_come_through() {
    case(needs!(), |case| {
        let check = ["fds", "3", "4", "--and", "fd-reads", "3", "three", "--and", "fd-reads", "4", "four"];
        let container = case.container(&case.bundle("minimal").args(&check));
        let file = |text: &str| {
            std::fs::write(case.path(text), text).unwrap();
            File::open(case.path(text)).unwrap()
        };
        let creator = container.creator(&["--preserve-fds", "2"]);
        creator.fd(3, file("three")).fd(4, file("four")).fd(5, file("five")).ok();
        container.start().ok();
        container.passes();
    });
}

/// An open directory is a way out of a jail.
#[test]
fn a_directory_is_not_preserved() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.creator(&["--preserve-fds", "1"]).fd(3, File::open("/").unwrap()).run().assert().code(1);
        container.state_command().fails(1);
    });
}

#[test]
fn a_preserved_descriptor_that_is_closed_is_an_error() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.creator(&["--preserve-fds", "2"]).fd(3, File::open("/dev/null").unwrap()).run().assert().code(1);
    });
}

#[test]
fn standard_input_is_the_callers() {
    case(needs!(), |case| {
        std::fs::write(case.path("input"), "typed").unwrap();
        let container = case.container(&case.bundle("minimal").args(&["cat"]));
        container.creator(&[]).stdin(Stdio::File(case.path("input"))).ok();
        container.start().ok();
        container.passes();
        assert_eq!(container.stdout(), "typed");
    });
}

#[test]
fn standard_output_and_error_are_apart() {
    case(needs!(), |case| {
        let container = case.running(&["echo", "out", "--and", "echo-error", "err"]);
        container.passes();
        assert_eq!((container.stdout().trim(), container.stderr().trim()), ("out", "err"));
    });
}

#[test]
fn a_caller_without_standard_descriptors() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["touch", "/tmp/ran"]));
        let creator = container.creator(&[]).stdin(Stdio::Closed).stdout(Stdio::Closed).stderr(Stdio::Closed);
        creator.run().assert().success();
        container.start().ok();
        container.passes();
    });
}

/// The exit codes of shells: 127 not found, 126 found and not executable.
#[rstest]
#[case::missing("/no/such", 127)]
#[case::missing_in_path("nosuch", 127)]
#[case::directory("/tmp", 126)]
#[case::no_permission("/data/plain", 126)]
#[case::through_a_file("/integ-inside/x", 127)]
fn create_refuses_what_cannot_be_executed(#[case] program: &str, #[case] code: i32) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/process/args", json!([program]));
        std::fs::write(bundle.in_root("data/plain"), "text").unwrap();
        let container = case.container(&bundle);
        container.create().fails_with(code, program);
        container.state_command().fails(1);
    });
}

/// What only execve(2) finds out, `start` reports.
#[test]
fn start_reports_what_execve_refuses() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/process/args", json!(["/data/garbage"]));
        let path = bundle.in_root("data/garbage");
        std::fs::write(&path, "\u{7f}ELF garbage").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let container = case.container(&bundle);
        container.create().ok();
        container.start().fails(126);
        container.until_status("stopped");
        container.delete().ok();
    });
}

#[test]
fn a_program_is_found_in_the_containers_path() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/process/env", json!(["PATH=/nowhere:/data"]));
        let bundle = bundle.set("/process/args", json!(["tool", "exit", "9"]));
        std::fs::copy(integ::locate::inside().unwrap(), bundle.in_root("data/tool")).unwrap();
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        assert_eq!(container.wait().code(), Some(9));
    });
}

#[test]
fn an_unprivileged_user_runs_what_only_it_may() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/process/user", json!({"uid": 1001, "gid": 1001}));
        let bundle = bundle.set("/process/args", json!(["/data/own", "exit", "5"]));
        let path = bundle.in_root("data/own");
        std::fs::copy(integ::locate::inside().unwrap(), &path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
        std::os::unix::fs::chown(&path, Some(1001), Some(1001)).unwrap();
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        assert_eq!(container.wait().code(), Some(5));
    });
}

#[test]
fn no_new_privileges() {
    case(needs!(NoNewPrivileges), |case| {
        let bundle = case.bundle("minimal").set("/process/noNewPrivileges", json!(true));
        case.passes(&bundle.args(&["no-new-privileges", "true"]));
    });
}

#[test]
fn new_privileges_unless_forbidden() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/process/noNewPrivileges", json!(false));
        case.passes(&bundle.args(&["no-new-privileges", "false"]));
    });
}

/// A property that this kernel cannot give is an error that says what could.
#[test]
fn no_new_privileges_that_cannot_be_had() {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").set("/process/noNewPrivileges", json!(true));
        let container = case.container(&bundle.args(&["no-new-privileges", "true"]));
        container.create().ok();
        let start = container.start();
        if start.output.status.success() {
            container.passes();
        } else {
            start.fails_with(1, "process.noNewPrivileges: noNewPrivileges: needs FreeBSD 14.0 or newer");
        }
    });
}

#[test]
fn the_host_is_out_of_sight() {
    case(needs!(), |case| {
        let own = std::process::id().to_string();
        let host = case.path("on-the-host");
        std::fs::write(&host, "x").unwrap();
        let check = [
            "absent",
            host.to_str().unwrap(),
            "--and",
            "absent",
            "/../../etc/hostname",
            "--and",
            "processes",
            "1",
            "3",
        ];
        let container = case.container(&case.bundle("minimal").with_proc().args(&check));
        container.create().ok();
        container.start().ok();
        container.passes();
        // Our pid means nothing inside, or somebody inside; on FreeBSD it must not be found.
        if cfg!(target_os = "freebsd") {
            case.passes(&case.bundle("minimal").args(&["no-process", &own, "--and", "jailed", "true"]));
        }
    });
}

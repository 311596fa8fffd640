//! `exec`: another program in a running container.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::fs::File;

use integ::console::Terminal;
use integ::container::Done;
use integ::ffi;
use integ::prelude::*;
use integ::run::Stdio;

#[test]
fn it_runs_beside_the_program() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let text = container.exec(&["echo", "beside"]).ok();
        assert_eq!(text.trim(), "beside");
        assert_eq!(container.status(), "running");
    });
}

#[rstest]
#[case(&["exit", "0"], 0)]
#[case(&["exit", "42"], 42)]
#[case(&["die", "KILL"], 128 + 9)]
#[case(&["die", "TERM"], 128 + 15)]
fn its_exit_code_comes_through(#[case] check: &[&str], #[case] code: i32) {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        assert_eq!(container.exec(check).output.status.code(), Some(code));
    });
}

#[rstest]
#[case::environment(&["-e", "A=1", "-e", "B=2"], &["env-has", "A=1", "--and", "env-has", "B=2", "--and", "env-has", "PATH=/bin"])]
#[case::environment_in_full(&["--env", "A=1"], &["env-has", "A=1"])]
#[case::environment_replaced(&["-e", "PATH=/data"], &["env-has", "PATH=/data"])]
#[case::cwd(&["--cwd", "/tmp"], &["cwd", "/tmp"])]
#[case::user(&["--user", "1001:1002"], &["uid", "1001", "--and", "gid", "1002"])]
#[case::user_alone(&["-u", "1001"], &["uid", "1001"])]
#[case::clean(&[], &["fds", "--and", "no-ctty", "--and", "env-lacks", "SECRET"])]
#[case::name(&[], &["hostname", "jail-name"])]
fn an_option_is_obeyed(#[case] options: &[&str], #[case] check: &[&str]) {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").set("/hostname", json!("jail-name")).args(&["sleep"]));
        container.create().ok();
        container.start().ok();
        let exec = container.executor(options, &["/integ-inside"]).args(check);
        Done::run(exec.env("SECRET", "1")).ok();
    });
}

/// runc lets what its caller ignores through.
#[test]
fn signals_that_the_caller_ignores_are_as_usual() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let exec = container.executor(&[], &["/integ-inside", "signals-clean"]);
        Done::run(exec.without_signals(&[libc::SIGUSR1])).ok();
    });
}

/// A file with a process of the same kind as in config.json.
fn process_file(case: &Case, check: &[&str], edit: impl FnOnce(&mut Value)) -> String {
    let args: Vec<&str> = std::iter::once("/integ-inside").chain(check.iter().copied()).collect();
    let mut process = json!({"cwd": "/", "args": args, "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    edit(&mut process);
    let path = case.path(&format!("process{}.json", case.number()));
    fs::write(&path, process.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_process_file_is_obeyed() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let check = [
            "cwd", "/tmp", "--and", "uid", "7", "--and", "gid", "8", "--and", "groups", "9", "--and", "rlimit",
            "NOFILE", "99", "99", "--and", "env-has", "X=y",
        ];
        let file = process_file(case, &check, |process| {
            process["cwd"] = json!("/tmp");
            process["env"] = json!(["X=y"]);
            process["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
            process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]);
        });
        Done::run(case.runj(["exec", "--process", &file, container.id()])).ok();
    });
}

/// runc 1.1 forgets it.
#[test]
fn the_umask_of_a_process_file_is_obeyed() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let file = process_file(case, &["umask", "027"], |process| process["user"]["umask"] = json!(0o027));
        Done::run(case.runj(["exec", "--process", &file, container.id()])).ok();
    });
}

/// As Go runj spells it, and its shim.
#[rstest]
#[case("extension")]
#[case("ext")]
fn the_spelling_of_go_runj(#[case] word: &str) {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let file = process_file(case, &["echo", "by file"], |_| {});
        assert_eq!(case.runj([word, "exec", container.id(), "--process", &file]).ok().trim(), "by file");
        let text = case.runj([word, "exec", container.id(), "/integ-inside", "echo", "by command"]).ok();
        assert_eq!(text.trim(), "by command");
    });
}

#[test]
fn detached_it_is_left_to_the_reaper() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let pid_file = case.path("exec.pid");
        let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
        let program = container.executor(&options, &["/integ-inside", "wait-file", "/data/go", "--and", "exit", "5"]);
        program.stdout(Stdio::Null).stderr(Stdio::Null).ok();
        let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        fs::write(case.path("bundle1").join("root/data/go"), "").unwrap();
        let status = until("the end of the executed program", || ffi::try_wait(pid).unwrap());
        assert_eq!(libc::WEXITSTATUS(status), 5);
        assert_eq!(container.status(), "running");
    });
}

/// conmon takes the missing pid file for the sign that the runtime failed, and not the program.
#[rstest]
#[case("/no/such", 127)]
#[case("nosuch", 127)]
#[case("/tmp", 126)]
fn what_cannot_be_executed_writes_no_pid_file(#[case] program: &str, #[case] code: i32) {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let pid_file = case.path("exec.pid");
        for options in
            [vec!["--pid-file", pid_file.to_str().unwrap()], vec!["-d", "--pid-file", pid_file.to_str().unwrap()]]
        {
            Done::run(container.executor(&options, &[program])).fails(code);
            assert!(!pid_file.exists());
        }
    });
}

#[test]
fn it_needs_a_running_container() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["true"]));
        assert!(!container.exec(&["true"]).output.status.success(), "unknown");
        container.create().ok();
        container.start().ok();
        container.passes();
        container.until_status("stopped");
        assert!(!container.exec(&["true"]).output.status.success(), "stopped");
    });
}

#[test]
fn standard_input_is_the_callers() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let output = container.executor(&[], &["/integ-inside", "cat"]).input("typed").run();
        output.assert().success().stdout("typed");
    });
}

#[test]
fn output_is_complete() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let text = container.exec(&["write", "4"]).ok();
        assert_eq!(text.len(), 4 << 20);
    });
}

#[test]
fn preserved_descriptors_come_through() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        fs::write(case.path("three"), "three").unwrap();
        let exec = container
            .executor(&["--preserve-fds", "1"], &["/integ-inside", "fds", "3", "--and", "fd-reads", "3", "three"]);
        exec.fd(3, File::open(case.path("three")).unwrap()).ok();
    });
}

#[test]
fn a_signal_to_runj_is_passed_on() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let mut running = container.executor(&[], &["/integ-inside", "trap"]).spawn();
        running.read_until("ready");
        running.kill(libc::SIGUSR1);
        running.read_until("SIGUSR1");
        running.kill(libc::SIGTERM);
        running.read_until("SIGTERM");
        container.delete_force().ok();
        assert_eq!(running.wait().code(), Some(128 + 9));
    });
}

#[test]
fn it_ends_with_the_container() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let mut running = container.executor(&[], &["/integ-inside", "echo", "ready", "--and", "sleep"]).spawn();
        running.read_until("ready");
        container.delete_force().ok();
        running.wait();
    });
}

#[test]
fn with_a_terminal_of_the_callers() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let (mut terminal, slave) = Terminal::open();
        terminal.resize(101, 37);
        let check =
            ["tty", "--and", "ctty", "--and", "ttyname", "--and", "winsize", "101", "37", "--and", "echo", "done"];
        let mut running = container.executor(&["-t"], &["/integ-inside"]).args(check).terminal(&slave).spawn();
        drop(slave);
        let text = String::from_utf8_lossy(&terminal.read_to_end()).into_owned();
        assert!(running.wait().success(), "{text}");
        assert!(text.contains("done"), "{text}");
    });
}

#[test]
fn with_a_console_socket() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let console = case.console();
        let file = process_file(case, &["tty", "--and", "ctty", "--and", "echo", "done"], |process| {
            process["terminal"] = json!(true)
        });
        let pid_file = case.path("exec.pid");
        let exec = case.runj(["exec", "--detach", "--process", &file, "--console-socket"]).arg(console.path());
        let exec = exec.arg("--pid-file").arg(&pid_file).arg(container.id());
        let mut running = exec.stdout(Stdio::Null).stderr(Stdio::File(case.log("exec.err"))).spawn();
        let mut terminal = console.accept();
        assert!(running.wait().success());
        let text = String::from_utf8_lossy(&terminal.read_to_end()).into_owned();
        assert!(text.contains("done"), "{text}");
        let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        let status = until("its end", || ffi::try_wait(pid).unwrap());
        assert_eq!(status, 0, "{text}");
    });
}

#[test]
fn a_bad_process_file_is_an_error_that_names_it() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        for text in ["", "{", "[]", "{\"args\": 3}"] {
            let path = case.path("bad.json");
            fs::write(&path, text).unwrap();
            let done = Done::run(case.runj(["exec", "--process", path.to_str().unwrap(), container.id()]));
            assert!(!done.output.status.success(), "{text}");
        }
        assert!(!Done::run(case.runj(["exec", "--process", "/no/such", container.id()])).output.status.success());
        assert!(!Done::run(case.runj(["exec", container.id()])).output.status.success(), "nothing to execute");
    });
}

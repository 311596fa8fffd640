//! Terminals: console sockets, `run -t`, window sizes, Ctrl-C, and output to the last byte.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::os::unix::net::UnixListener;

use integ::console::Terminal;
use integ::prelude::*;
use integ::run::Stdio;

fn terminal_bundle(case: &Case, check: &[&str]) -> Bundle {
    case.bundle("minimal").args(check).set("/process/terminal", json!(true))
}

/// Creates with a console socket and starts; returns the terminal.
fn started<'a>(case: &'a Case, bundle: &Bundle) -> (Container<'a>, Terminal) {
    let container = case.container(bundle);
    let console = case.console();
    let mut create = container.creator(&["--console-socket", console.path().to_str().unwrap()]).spawn();
    let terminal = console.accept();
    assert!(create.wait().success(), "{}", container.stderr());
    container.start().ok();
    (container, terminal)
}

fn output(terminal: &mut Terminal) -> String {
    String::from_utf8_lossy(&terminal.read_to_end()).into_owned()
}

#[test]
fn a_console_socket_gets_the_master_alone() {
    case(needs!(), |case| {
        let check = [
            "tty",
            "--and",
            "ctty",
            "--and",
            "ttyname",
            "--and",
            "foreground",
            "--and",
            "session-leader",
            "--and",
            "fds",
            "--and",
            "echo",
            "done",
        ];
        let (container, mut terminal) = started(case, &terminal_bundle(case, &check));
        assert_eq!(terminal.extra, 0);
        let text = output(&mut terminal);
        assert!(container.wait().success(), "{text}");
        assert!(text.contains("done"), "{text}");
        container.delete().ok();
    });
}

#[test]
fn input_and_echo() {
    case(needs!(), |case| {
        let (container, mut terminal) = started(case, &terminal_bundle(case, &["echo", "ready", "--and", "cat"]));
        terminal.read_until("ready");
        terminal.type_text("typed\n");
        // Once by the terminal's echo, once by the program.
        terminal.read_until("typed\r\ntyped");
        terminal.type_text("\u{4}");
        assert!(container.wait().success());
    });
}

#[test]
fn the_window_has_the_size_of_the_bundle() {
    case(needs!(), |case| {
        let bundle = terminal_bundle(case, &["winsize", "132", "43", "--and", "echo", "done"]);
        let bundle = bundle.set("/process/consoleSize", json!({"height": 43, "width": 132}));
        let (container, mut terminal) = started(case, &bundle);
        let text = output(&mut terminal);
        assert!(container.wait().success(), "{text}");
    });
}

#[test]
fn the_owner_of_the_socket_resizes() {
    case(needs!(), |case| {
        let (container, mut terminal) =
            started(case, &terminal_bundle(case, &["echo", "ready", "--and", "wait-winsize", "90", "30"]));
        terminal.read_until("ready");
        terminal.resize(90, 30);
        assert!(container.wait().success(), "{}", output(&mut terminal));
    });
}

#[test]
fn ctrl_c_interrupts() {
    case(needs!(), |case| {
        let (container, mut terminal) = started(case, &terminal_bundle(case, &["trap"]));
        terminal.read_until("ready");
        terminal.type_text("\u{3}");
        terminal.read_until("SIGINT");
        container.kill("KILL").ok();
        container.wait();
    });
}

#[test]
fn output_is_complete_to_the_last_byte() {
    case(needs!(), |case| {
        let (container, mut terminal) =
            started(case, &terminal_bundle(case, &["write", "2", "--and", "echo", "the end"]));
        let text = output(&mut terminal);
        assert!(container.wait().success());
        assert!(text.ends_with("the end\r\n"), "{:?}", &text[text.len().saturating_sub(80)..]);
        // The terminal puts a carriage return before each line's end.
        assert_eq!(text.len(), (2 << 20) + (2 << 14) + "the end\r\n".len());
    });
}

#[test]
fn a_terminal_without_a_console_socket_is_refused() {
    case(needs!(), |case| {
        let container = case.container(&terminal_bundle(case, &["true"]));
        container.create().fails(1);
        container.state_command().fails(1);
    });
}

#[test]
fn a_console_socket_without_a_terminal_is_refused() {
    case(needs!(), |case| {
        let console = case.console();
        let container = case.container(&case.bundle("minimal"));
        container.create_with(&["--console-socket", console.path().to_str().unwrap()]).fails(1);
        assert!(!console.is_pending());
        container.state_command().fails(1);
    });
}

#[rstest]
#[case::missing("nothing")]
#[case::plain_file("plain")]
#[case::nobody_listens("deaf")]
fn what_is_no_console_socket_is_refused(#[case] name: &str) {
    case(needs!(), |case| {
        let path = case.path(name);
        match name {
            "plain" => std::fs::write(&path, "").unwrap(),
            "deaf" => drop(UnixListener::bind(&path).unwrap()),
            _ => {}
        }
        let container = case.container(&terminal_bundle(case, &["true"]));
        container.create_with(&["--console-socket", path.to_str().unwrap()]).fails(1);
        container.state_command().fails(1);
    });
}

/// Unix sockets have short names; a deep directory does not.
#[test]
fn a_console_socket_with_a_long_path() {
    case(needs!(Runj), |case| {
        let deep = case.path("deep").join("d".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let short = case.path("short");
        std::os::unix::fs::symlink(&deep, &short).unwrap();
        let console = Console::new(short.join("socket"));
        let container = case.container(&terminal_bundle(case, &["echo", "done"]));
        let mut create = container.creator(&["--console-socket", deep.join("socket").to_str().unwrap()]).spawn();
        let mut terminal = console.accept();
        assert!(create.wait().success(), "{}", container.stderr());
        container.start().ok();
        assert!(output(&mut terminal).contains("done"));
        assert!(container.wait().success());
    });
}

/// `run` on a terminal of the harness; returns what it showed and its exit code.
fn run_on_terminal(case: &Case, bundle: &Bundle, drive: impl FnOnce(&mut Terminal)) -> (String, Option<i32>) {
    let container = case.container(bundle);
    let (mut terminal, slave) = Terminal::open();
    terminal.resize(100, 40);
    let mut run = container.runner(&[]).terminal(&slave).spawn();
    drop(slave);
    drive(&mut terminal);
    let text = output(&mut terminal);
    (text, run.wait().code())
}

#[test]
fn run_gives_its_own_terminal() {
    case(needs!(), |case| {
        let check =
            ["tty", "--and", "ctty", "--and", "ttyname", "--and", "wait-winsize", "100", "40", "--and", "exit", "6"];
        let (text, code) = run_on_terminal(case, &terminal_bundle(case, &check), |_| {});
        assert_eq!(code, Some(6), "{text}");
    });
}

#[test]
fn run_follows_the_windows_size() {
    case(needs!(), |case| {
        let bundle = terminal_bundle(
            case,
            &["wait-winsize", "100", "40", "--and", "echo", "ready", "--and", "wait-winsize", "61", "23"],
        );
        let (text, code) = run_on_terminal(case, &bundle, |terminal| {
            terminal.read_until("ready");
            terminal.resize(61, 23);
        });
        assert_eq!(code, Some(0), "{text}");
    });
}

/// The terminal is raw: Ctrl-C goes to the program and not to runj.
#[test]
fn run_passes_ctrl_c_on() {
    case(needs!(), |case| {
        let container = case.container(&terminal_bundle(case, &["trap"]));
        let (mut terminal, slave) = Terminal::open();
        let mut run = container.runner(&[]).terminal(&slave).spawn();
        drop(slave);
        terminal.read_until("ready");
        terminal.type_text("\u{3}");
        terminal.read_until("SIGINT");
        container.kill("KILL").ok();
        assert_eq!(run.wait().code(), Some(128 + libc::SIGKILL), "{}", output(&mut terminal));
    });
}

#[test]
fn run_shows_all_output() {
    case(needs!(), |case| {
        let (text, code) =
            run_on_terminal(case, &terminal_bundle(case, &["write", "2", "--and", "echo", "the end"]), |_| {});
        assert_eq!(code, Some(0));
        assert!(text.trim_end().ends_with("the end"), "{:?}", &text[text.len().saturating_sub(80)..]);
        assert_eq!(text.replace('\r', "").len(), (2 << 20) + "the end\n".len());
    });
}

/// Whatever happens to the program, the caller's terminal is as it was.
#[test]
fn run_leaves_the_terminal_as_it_was() {
    case(needs!(), |case| {
        let (terminal, slave) = Terminal::open();
        let before = nix::sys::termios::tcgetattr(&slave).unwrap();
        for check in [["exit", "1"], ["die", "KILL"]] {
            let container = case.container(&terminal_bundle(case, &check));
            // Not as its controlling terminal, which FreeBSD revokes when the session ends.
            let end = || Stdio::Fd(slave.try_clone().unwrap());
            let mut run = container.runner(&[]).stdin(end()).stdout(end()).stderr(end()).session().spawn();
            assert!([Some(1), Some(137)].contains(&run.wait().code()));
        }
        let after = nix::sys::termios::tcgetattr(&slave).unwrap();
        assert_eq!(
            (before.local_flags, before.input_flags, before.output_flags),
            (after.local_flags, after.input_flags, after.output_flags)
        );
        drop(terminal);
    });
}

/// The jail must not stay behind because the terminal's master is still open.
#[test]
fn delete_does_not_wait_for_the_terminal() {
    case(needs!(), |case| {
        let (container, terminal) = started(case, &terminal_bundle(case, &["sleep"]));
        container.delete_force().ok();
        drop(terminal);
    });
}

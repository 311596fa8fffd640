//! Recorded transcripts through the state machines, and the whole runner on a guest made by `scripts/linux-guest`.

use super::boot::{Boot, Failure, PanicWatch, Step};
use super::machine::command_line;
use super::options::{Accelerator, Options, Surroundings, arguments, words};
use super::run;
use super::scan::{Lines, Piece, Returns, Scanner, strip_escapes};
use clap::Parser;
use std::path::{Path, PathBuf};

const NONCE: &str = "12345678";

fn send(text: &str) -> Vec<Step> {
    vec![Step::Send(text.to_owned())]
}

fn options(more: &[&str]) -> Options {
    let mut words = vec!["vm"];
    words.extend(more);
    Options::try_parse_from(words).unwrap()
}

// --- words and options ---

#[test]
fn words_as_a_shell_splits_them() {
    let text = "--image '/a b/c' # a comment\n--qemu-arg \"console=ttyS0 \\\"x\\\"\" a\\ b '' x#y\\\n z";
    let expected = ["--image", "/a b/c", "--qemu-arg", "console=ttyS0 \"x\"", "a b", "", "x#y", "z"];
    assert_eq!(words(text).unwrap(), expected);
    for unclosed in ["'a", "\"a", "a\\"] {
        assert!(words(unclosed).is_err(), "{unclosed}");
    }
}

#[test]
fn options_of_the_machine_come_first_and_lose() {
    let surroundings = Surroundings { variable: Some("--image /a --memory 100 --qemu-arg -x".to_owned()), file: None };
    let given = ["vm", "--memory", "200", "--qemu-arg", "-y", "--", "echo", "hi"].map(str::to_owned);
    let options = Options::try_parse_from(arguments(&surroundings, given).unwrap()).unwrap();
    assert_eq!(options.image.as_deref(), Some(Path::new("/a")));
    assert_eq!(options.memory, 200);
    assert_eq!(options.qemu_arg, ["-x", "-y"]);
    assert_eq!(options.script(), "echo hi");
}

#[test]
fn file_of_the_machine_is_read_unless_the_variable_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vm");
    std::fs::write(&file, "# mine\n--accel tcg\n").unwrap();
    let surroundings = Surroundings { variable: None, file: Some(file.clone()) };
    assert_eq!(arguments(&surroundings, ["vm".to_owned()]).unwrap(), ["vm", "--accel", "tcg"]);
    let surroundings = Surroundings { variable: Some("--cpus 2".to_owned()), file: Some(file) };
    assert_eq!(arguments(&surroundings, ["vm".to_owned()]).unwrap(), ["vm", "--cpus", "2"]);
    let surroundings = Surroundings { variable: Some("-- reboot".to_owned()), file: None };
    assert!(arguments(&surroundings, ["vm".to_owned()]).is_err());
}

#[test]
fn refusals_say_what_to_do() {
    let refusal = |more: &[&str]| options(more).check().unwrap_err().to_string();
    assert!(refusal(&["--", "true"]).starts_with("no image: give --image"));
    assert!(refusal(&["--image", "/nonexistent", "--", "true"]).contains("/nonexistent"));
    assert!(refusal(&["--image", "/", "--", "true"]).contains("not a regular file"));
    assert!(refusal(&["--image", "/x"]).starts_with("nothing to run"));
    assert!(refusal(&["--shell", "--", "true"]).contains("exclude each other"));
    assert!(refusal(&["--qemu-arg", "-kernel", "--loader-set", "x", "--", "true"]).contains("NAME=VALUE"));
    options(&["--qemu-arg", "-kernel", "--qemu-arg", "/k", "--", "true"]).check().unwrap();
}

#[test]
fn no_qemu_and_compressed_images_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("disk,1");
    std::fs::write(&image, "raw").unwrap();
    let image = image.to_str().unwrap();
    let error = run(&options(&["--image", image, "--qemu", "/nonexistent/qemu", "--", "true"]), &mut Vec::new());
    assert!(error.unwrap_err().to_string().starts_with("no qemu: /nonexistent/qemu"));

    let line = command_line(&options(&["--image", image]), Path::new("/p"), Accelerator::Tcg).unwrap().join(" ");
    assert!(line.contains("-snapshot"), "{line}");
    assert!(line.contains(&format!("if=virtio,format=raw,file={}", image.replace(',', ",,"))), "{line}");
    assert!(line.find("disk,,1").unwrap() < line.find("file=/p").unwrap(), "{line}");

    std::fs::write(image, b"QFI\xfb....").unwrap();
    let line = command_line(&options(&["--image", image]), Path::new("/p"), Accelerator::Tcg).unwrap().join(" ");
    assert!(line.contains("format=qcow2"), "{line}");
    std::fs::write(image, b"\xfd7zXZ\0..").unwrap();
    let error = command_line(&options(&["--image", image]), Path::new("/p"), Accelerator::Tcg).unwrap_err();
    assert!(error.to_string().contains("compressed"), "{error}");
}

// --- from power-on to a shell ---

#[test]
fn login_prompt_then_csh() {
    let mut boot = Boot::new(NONCE, &[]);
    assert_eq!(boot.feed(b"Consoles: serial port\r\nBooting [/boot/kernel/kernel]...\r\n"), []);
    assert_eq!(boot.feed(b"FreeBSD/amd64 (freebsd) (ttyu0)\r\n\r\nlogin: "), []);
    assert_eq!(boot.quiet(), send("root\n"));
    assert_eq!(boot.quiet(), []);
    assert_eq!(boot.feed(b"root\r\nFreeBSD 14.3-RELEASE GENERIC\r\n\r\nroot@freebsd:~ # "), []);
    assert_eq!(boot.quiet(), send("echo @@1234''5678@@\n"));
    // the terminal's echo of the question is not the answer
    assert_eq!(boot.feed(b"echo @@1234''5678@@\r\n"), []);
    assert_eq!(boot.feed(b"@@12345678@@\r\nroot@freebsd:~ # "), [Step::Shell]);
    assert_eq!(boot.quiet(), []);
}

#[test]
fn single_user_and_escape_sequences() {
    let mut boot = Boot::new(NONCE, &[]);
    boot.feed(b"Enter full pathname of shell or RETURN for /bin/sh: ");
    assert_eq!(boot.quiet(), send("\n"));
    boot.feed(b"\r\n# ");
    assert_eq!(boot.quiet(), send("echo @@1234''5678@@\n"));

    let mut boot = Boot::new(NONCE, &[]);
    boot.feed(b"\x1b[?2004h/ # \x1b[6n");
    assert_eq!(boot.quiet(), send("echo @@1234''5678@@\n"));
}

#[test]
fn a_password_is_refused_clearly() {
    let mut boot = Boot::new(NONCE, &[]);
    for _ in 0..3 {
        boot.feed(b"login: ");
        assert_eq!(boot.quiet(), send("root\n"));
        boot.feed(b"root\r\nPassword:");
        assert_eq!(boot.quiet(), send("\n"));
    }
    assert_eq!(boot.feed(b"\r\nLogin incorrect\r\n"), [Step::Failed(Failure::LoginRefused)]);
}

#[test]
fn guests_that_give_no_shell() {
    let mut boot = Boot::new(NONCE, &[]);
    boot.feed(b"Mounting from ufs:/dev/vtbd0p2 failed with error 19.\r\n\r\nmountroot> ");
    assert_eq!(boot.quiet(), [Step::Failed(Failure::NoRoot)]);

    let mut boot = Boot::new(NONCE, &[]);
    let steps = boot.feed(b"can't load 'kernel'\r\n");
    assert_eq!(steps, [Step::Failed(Failure::NoKernel)]);

    let mut boot = Boot::new(NONCE, &[]);
    boot.feed(b"panic: vm_fault: no way\r\n");
    assert_eq!(boot.feed(b"cpuid = 0\r\n"), [Step::Failed(Failure::Panic("vm_fault: no way".to_owned()))]);

    let mut boot = Boot::new(NONCE, &[]);
    let linux = b"[    1.1] Kernel panic - not syncing: Attempted to kill init!\r\n";
    assert_eq!(boot.feed(linux), [Step::Failed(Failure::Panic("Attempted to kill init!".to_owned()))]);
}

#[test]
fn loader_settings_are_typed_at_its_prompt() {
    let settings = ["kern.racct.enable=1".to_owned()];
    let mut boot = Boot::new(NONCE, &settings);
    assert_eq!(boot.feed(b"Hit [Enter] to boot immediately, or any other key for command prompt.\r"), send("\u{1b}"));
    boot.feed(b"\r\nType '?' for a list of commands, 'help' for more detailed help.\r\nOK ");
    assert_eq!(boot.quiet(), send("set kern.racct.enable=1\n"));
    boot.feed(b"set kern.racct.enable=1\r\nOK ");
    assert_eq!(boot.quiet(), send("boot\n"));
}

#[test]
fn a_program_that_prints_panic_is_no_panic() {
    let mut watch = PanicWatch::default();
    assert_eq!(watch.line("panic: runtime error: index out of range"), None);
    assert_eq!(watch.line("goroutine 1 [running]:"), None);
    for _ in 0..20 {
        assert_eq!(watch.line("main.main()"), None);
    }
    assert_eq!(watch.line("cpuid = 0"), None);
}

// --- marks ---

/// Feeds the bytes in pieces of every size; the output and the marks must not depend on it.
fn scan(bytes: &[u8]) -> (String, Vec<(u32, i32)>) {
    let mut results = (1..=bytes.len().max(1)).map(|size| {
        let mut scanner = Scanner::new(NONCE);
        let (mut output, mut marks) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(size) {
            for piece in scanner.feed(chunk) {
                match piece {
                    Piece::Output(text) => output.extend(text),
                    Piece::Mark { sequence, status } => marks.push((sequence, status)),
                }
            }
        }
        output.extend(scanner.finish());
        (String::from_utf8(output).unwrap(), marks)
    });
    let first = results.next().unwrap();
    for other in results {
        assert_eq!(other, first);
    }
    first
}

#[test]
fn marks_are_taken_out_and_carriage_returns_dropped() {
    assert_eq!(scan(b"one\r\ntwo@@12345678:7:42@@\r\nthree"), ("one\ntwothree".to_owned(), vec![(7, 42)]));
    assert_eq!(scan(b"@@12345678:1:0@@\r\r\n@@12345678:1:0@@\r\n"), (String::new(), vec![(1, 0), (1, 0)]));
}

#[test]
fn what_only_looks_like_a_mark_is_output() {
    for text in ["@@12345678:3:$?@@ x", "@@@@1234", "a@@12345678:99999999999:1@@", "@@12345678:1:2:3@@b", "50%\r40%"] {
        assert_eq!(scan(text.as_bytes()), (text.to_owned(), vec![]), "{text}");
    }
    assert_eq!(scan(b"echo @@12345678:2:$?@@\r\n@@12345678:2:0@@\r\n").1, [(2, 0)]);
}

#[test]
fn a_raw_terminal_gets_its_carriage_returns() {
    let mut scanner = Scanner::new(NONCE);
    scanner.set_returns(Returns::Keep);
    assert_eq!(scanner.feed(b"a\r\nb"), [Piece::Output(b"a\r\nb".to_vec())]);
}

#[test]
fn output_is_not_held_back() {
    let mut scanner = Scanner::new(NONCE);
    assert_eq!(scanner.feed(b"prompt? "), [Piece::Output(b"prompt? ".to_vec())]);
    assert_eq!(scanner.feed(b"mail@@"), [Piece::Output(b"mail".to_vec())]);
    assert_eq!(scanner.feed(b"host"), [Piece::Output(b"@@host".to_vec())]);
}

#[test]
fn lines_without_escapes_and_without_bounds() {
    let mut lines = Lines::default();
    assert_eq!(lines.feed(b"a\x1b[31mb\x1b[0m\r\nc"), ["ab"]);
    assert_eq!(lines.tail(), "c");
    lines.feed(&vec![b'x'; 1 << 20]);
    assert!(lines.tail().len() <= 8192);
    assert_eq!(strip_escapes("\u{1b}[6n/ # \u{7}"), "/ # ");
}

// --- the whole runner ---

/// Runs the runner on the Linux guest that RUNJ_LINUX_GUEST names.
fn on_linux_guest(behaviour: &str, more: &[&str]) -> (anyhow::Result<u8>, String) {
    let guest = PathBuf::from(std::env::var_os("RUNJ_LINUX_GUEST").expect("make vm-selftest makes a guest"));
    let kernel = guest.join("kernel").display().to_string();
    let initrd = guest.join("initrd").display().to_string();
    let append = format!("console=ttyS0 quiet panic=1 guest={behaviour} ");
    let mut words = vec!["--accel", "tcg", "--memory", "256", "--boot-timeout", "120", "--timeout", "60"];
    for word in ["-kernel", &kernel, "-initrd", &initrd, "-append", &append] {
        words.extend(["--qemu-arg", word]);
    }
    words.extend(more);
    let mut output = Vec::new();
    let result = run(&options(&words), &mut output);
    (result, String::from_utf8_lossy(&output).into_owned())
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn runs_a_command_with_its_payload_and_returns_its_status() {
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().join("things");
    std::fs::create_dir(&directory).unwrap();
    // larger than any buffer on the way
    let long: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    std::fs::write(directory.join("long"), &long).unwrap();
    let directory = directory.to_str().unwrap();
    let script = "cat things/long; printf 'to stderr' >&2; stat -c %u things/long >/tmp/owner; read x </tmp/owner; \
                  exit $((x + 42))";
    let (result, output) = on_linux_guest("shell", &["--payload", directory, "--", script]);
    assert_eq!(result.unwrap(), 42);
    assert_eq!(output, format!("{long}to stderr"));
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn logs_in_where_there_is_a_login_prompt() {
    let (result, output) = on_linux_guest("login", &["--", "id -u"]);
    assert_eq!((result.unwrap(), output.as_str()), (0, "0\n"));
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn says_that_the_guest_has_a_password() {
    let (result, _) = on_linux_guest("password", &["--", "true"]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("root's password is not empty"), "{error}");
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn says_that_the_kernel_panicked() {
    let (result, _) = on_linux_guest("panic", &["--", "true"]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("the guest's kernel panicked"), "{error}");

    let script = "echo before; sync; echo c >/proc/sysrq-trigger; sleep 100";
    let (result, output) = on_linux_guest("shell", &["--", script]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("the guest's kernel panicked"), "{error}");
    assert!(output.starts_with("before\n"), "{output}");
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn gives_up_on_time() {
    let (result, _) = on_linux_guest("silent", &["--boot-timeout", "15", "--", "true"]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("no prompt on the serial line within 15 s"), "{error}");

    let script = "echo begun; sleep 1000";
    let (result, output) = on_linux_guest("shell", &["--timeout", "3", "--", script]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("the command did not end within 3 s"), "{error}");
    assert_eq!(output, "begun\n");
}

#[test]
#[ignore = "needs a guest: make vm-selftest"]
fn says_that_the_payload_is_too_large() {
    let files = tempfile::tempdir().unwrap();
    let large = files.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(200 << 20).unwrap();
    let payload = large.to_str().unwrap();
    let (result, _) = on_linux_guest("shell", &["--memory", "220", "--payload", payload, "--", "true"]);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("payload"), "{error}");
}

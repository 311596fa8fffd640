//! The command line, without privilege: what is printed, what is refused, and with which exit code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

fn runj() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("runj"))
}

/// A bundle with this configuration and an empty root.
fn bundle(config: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

const GOOD: &[u8] = br#"{"ociVersion":"1.3.0","root":{"path":"root"},"process":{"args":["/bin/true"],"cwd":"/"}}"#;

/// One line, beginning with the program's name.
fn one_line() -> impl Predicate<str> {
    predicate::function(|text: &str| text.starts_with("runj: ") && text.trim_end().lines().count() == 1)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `create` in a scratch state root; as root it must leave nothing there.
fn create(bundle: &Path, id: &str) -> assert_cmd::assert::Assert {
    let state = bundle.join("state");
    let assert = runj().arg("--root").arg(&state).args(["create", "--", id]).arg(bundle).assert();
    if is_root() && state.exists() {
        let left: Vec<_> = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
    }
    assert
}

#[test]
fn version_names_the_revision_and_the_spec() {
    runj().arg("--version").assert().success().stdout(contains("runj version ").and(contains("commit: ")));
    runj().arg("--version").assert().stdout(contains("spec: 1.3.0"));
}

#[test]
fn help_says_what_the_emulation_is_not() {
    runj().arg("--help").assert().success().stdout(contains("not a security boundary"));
}

#[rstest]
#[case(&[])]
#[case(&["nonsense"])]
#[case(&["create"])]
#[case(&["kill", "c1", "NOPE"])]
#[case(&["state", "../etc"])]
#[case(&["state", ""])]
#[case(&["--log-format", "xml", "list"])]
fn usage_errors_end_with_1(#[case] args: &[&str]) {
    runj().args(args).assert().code(1);
}

/// podman takes success of `checkpoint --help` for "can checkpoint".
#[rstest]
#[case(&["checkpoint", "--help"])]
#[case(&["checkpoint", "--image-path", "/x", "c1"])]
#[case(&["--log-format=json", "restore", "--bundle", "/b", "--pid-file", "/p", "--detach", "c1"])]
#[case(&["restore", "--lsm-mount-context"])]
fn processes_cannot_be_saved(#[case] args: &[&str]) {
    runj().args(args).assert().code(1).stderr(contains("not supported: the processes of a jail").and(one_line()));
}

#[test]
fn features_are_a_document_of_the_spec() {
    let output = runj().arg("features").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let features: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&"1.0.0".into(), &"1.3.0".into()));
    let hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    assert_eq!(features["hooks"], serde_json::json!(hooks));
    for option in ["ro", "rbind", "nosuid", "tmpcopyup"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&option.into()), "{option}");
    }
    if cfg!(target_os = "linux") {
        assert!(features["annotations"]["runj.jails"].as_str().unwrap().contains("not a security boundary"));
    }
}

#[rstest]
#[case(&["update", "c1"], "nothing to change")]
#[case(&["update", "--memory", "lots", "c1"], "is not a number of bytes")]
#[case(&["update", "--cpus", "0", "c1"], "is not a positive number of processors")]
#[case(&["update", "--cpu-share", "5", "--memory-reservation", "-1", "c1"], "--cpu-share, --memory-reservation: jails have no such limit")]
#[case(&["update", "--resources", "/nonexistent", "c1"], "/nonexistent: no such file")]
#[case(&["update", "--memory", "64m", "c1"], "container c1 does not exist")]
#[case(&["events", "--interval", "0s", "c1"], "must be greater than zero")]
#[case(&["events", "--stats", "c1"], "container c1 does not exist")]
#[case(&["ps", "c1"], "container c1 does not exist")]
#[case(&["ps", "c1", "-o", "pid"], "ps(1) is not run")]
fn verbs_of_engines_refuse_in_words(#[case] args: &[&str], #[case] words: &str) {
    if args[0] == "update" && !is_root() {
        runj().args(args).assert().code(1).stderr(contains("update"));
        return;
    }
    let root = tempfile::tempdir().unwrap();
    runj().arg("--root").arg(root.path()).args(args).assert().code(1).stderr(contains(words));
}

#[rstest]
#[case(r#"{"cpu":{"shares":5},"blockIO":{"weight":3}}"#, "jails have none of these limits: blockIO.weight, cpu.shares")]
#[case("[]", "resources: must be an object")]
#[case("{", "resources: EOF")]
#[case(r#"{"memory":{"limit":"much"}}"#, "resources: memory.limit: ")]
fn resources_are_read_from_standard_input(#[case] text: &str, #[case] words: &str) {
    if is_root() {
        runj().args(["update", "--resources=-", "c1"]).write_stdin(text).assert().code(1).stderr(contains(words));
    }
}

#[test]
fn flags_of_other_runtimes_are_accepted() {
    let dir = bundle(GOOD);
    let flags = ["--systemd-cgroup", "--cgroup-manager", "disabled", "--rootless", "false", "--debug"];
    runj().args(flags).arg("plan").arg(dir.path()).assert().success();
}

#[rstest]
#[case("freebsd")]
#[case("linux")]
fn plan_shows_commands_for_either_system(#[case] system: &str) {
    let dir = bundle(GOOD);
    let assert = runj().args(["plan", "--system", system]).arg(dir.path()).assert().success();
    assert.stdout(contains("jail -c name=container").and(contains("jexec container /bin/true")));
}

#[test]
fn plan_as_json_is_what_is_stored() {
    let dir = bundle(GOOD);
    let output = runj().args(["plan", "-f", "json", "--id", "a.b"]).arg(dir.path()).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["jail"][0], serde_json::json!(["name", { "text": "a%2Eb" }]));
}

#[test]
fn plan_for_the_facts_of_another_machine() {
    let dir = bundle(
        br#"{"ociVersion":"1.3.0","root":{"path":"root"},"process":{"args":["x"],"cwd":"/"},
        "freebsd":{"jail":{"vnet":"new"}}}"#,
    );
    let facts = runj().args(["plan", "--system", "freebsd", "--show-facts"]).output().unwrap().stdout;
    let mut facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
    facts["jailParams"].as_array_mut().unwrap().retain(|name| name != "vnet");
    let file = dir.path().join("facts.json");
    std::fs::write(&file, facts.to_string()).unwrap();
    let assert = runj().args(["plan", "--facts"]).arg(&file).arg(dir.path()).assert().code(1);
    assert.stderr(contains("freebsd.jail.vnet: this kernel does not know the jail parameter vnet").and(one_line()));
}

#[rstest]
#[case(b"", "config.json: EOF")]
#[case(b"{", "config.json: EOF")]
#[case(b"\xff\xfe", "config.json: not UTF-8 at byte 0")]
#[case(br#"{"ociVersion":"3.0.0","process":{"args":["x"],"cwd":"/"}}"#, "ociVersion: \"3.0.0\" is not supported")]
#[case(br#"{"ociVersion":"1.3.0","root":{"path":"nowhere"}}"#, "root.path: ")]
#[case(br#"{"ociVersion":"1.3.0","root":{"path":"config.json"}}"#, "not a directory")]
#[case(br#"{"ociVersion":"1.3.0","root":{"path":"/"}}"#, "the host's own root")]
#[case(br#"{"ociVersion":"1.3.0","process":{"args":[],"cwd":"/"}}"#, "process.args: empty")]
fn bad_bundles_name_file_and_property(#[case] config: &[u8], #[case] message: &str) {
    let dir = bundle(config);
    runj().arg("plan").arg(dir.path()).assert().code(1).stderr(contains(message).and(one_line()));
    if is_root() {
        create(dir.path(), "bad").code(1).stderr(contains(message).and(one_line()));
    }
}

#[test]
fn no_bundle_and_no_config() {
    let dir = tempfile::tempdir().unwrap();
    runj().arg("plan").arg(dir.path()).assert().code(1).stderr(contains("no config.json in it"));
    runj().arg("plan").arg(dir.path().join("x")).assert().code(1).stderr(contains("No such file"));
}

#[test]
fn a_large_configuration_is_not_read() {
    let dir = bundle(GOOD);
    let file = std::fs::File::create(dir.path().join("config.json")).unwrap();
    file.set_len(100 << 20).unwrap();
    runj().arg("plan").arg(dir.path()).assert().code(1).stderr(contains("larger than 16 MiB"));
}

#[test]
fn the_log_gets_one_json_object() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    runj().arg("--log").arg(&log).args(["--log-format", "json", "plan", "/nonexistent"]).assert().code(1);
    let object: serde_json::Value = serde_json::from_slice(&std::fs::read(&log).unwrap()).unwrap();
    assert_eq!(object["level"], "error");
    assert!(object["msg"].as_str().unwrap().contains("/nonexistent"));
}

#[test]
fn unknown_containers() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = runj();
    state.arg("--root").arg(dir.path()).args(["state", "nobody"]);
    state.assert().code(1).stderr("runj: container nobody does not exist\n");
    let mut list = runj();
    list.arg("--root").arg(dir.path().join("none")).args(["list", "-f", "json"]);
    list.assert().success().stdout("[]\n");
    if is_root() {
        for verb in ["start", "kill", "delete", "pause", "resume"] {
            let mut command = runj();
            command.arg("--root").arg(dir.path()).args([verb, "nobody"]);
            command.assert().code(1).stderr(contains("container nobody does not exist"));
        }
        let mut delete = runj();
        delete.arg("--root").arg(dir.path()).args(["delete", "--force", "nobody"]).assert().success();
    }
}

/// The program as somebody without privilege runs it, which takes a copy that everybody can reach.
fn unprivileged(dir: &Path) -> Command {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let program = dir.join("runj");
    if !program.exists() {
        // By another process: a descriptor of ours for writing could be inherited by another test's child, and
        // the program would be busy.
        let copy = std::process::Command::new("cp").arg(assert_cmd::cargo::cargo_bin!("runj")).arg(&program).status();
        assert!(copy.unwrap().success());
    }
    for path in [dir, &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = std::process::Command::new(program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    Command::from_std(command)
}

#[test]
fn what_needs_root_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for verb in ["create", "start", "kill", "delete", "run", "pause", "resume"] {
        unprivileged(dir.path()).args([verb, "c1"]).assert().code(1).stderr(contains("needs root").and(one_line()));
    }
    unprivileged(dir.path()).args(["exec", "c1", "true"]).assert().code(1).stderr(contains("exec needs root"));
}

#[test]
fn what_needs_no_root_works_without() {
    let dir = bundle(GOOD);
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    unprivileged(copy.path()).arg("plan").arg(dir.path()).assert().success();
    unprivileged(copy.path()).arg("--version").assert().success();
    unprivileged(copy.path()).arg("--help").assert().success();
}

#[test]
fn preserved_descriptors_must_be_there() {
    if is_root() {
        let dir = bundle(GOOD);
        let mut command = runj();
        command.arg("--root").arg(dir.path().join("state"));
        command.args(["create", "--preserve-fds", "60", "c1"]).arg(dir.path());
        command.assert().code(1).stderr(contains("--preserve-fds 60: descriptor"));
    }
}

#[test]
fn consoles_and_terminals_go_together() {
    if !is_root() {
        return;
    }
    let with = GOOD.to_vec();
    let terminal = String::from_utf8(with).unwrap().replace(r#""cwd""#, r#""terminal":true,"cwd""#);
    let dir = bundle(terminal.as_bytes());
    create(dir.path(), "c1").code(1).stderr(contains("process.terminal: true needs --console-socket"));
    let socket = dir.path().join("config.json");
    let mut command = runj();
    command.arg("--root").arg(dir.path().join("state")).arg("create").arg("--console-socket").arg(&socket);
    command.arg("c1").arg(dir.path()).assert().code(1).stderr(contains("--console-socket"));
    let plain = bundle(GOOD);
    let mut command = runj();
    command.arg("--root").arg(plain.path().join("state")).arg("create").arg("--console-socket").arg(&socket);
    command.arg("c1").arg(plain.path()).assert().code(1).stderr(contains("there is no terminal to send"));
}

#[test]
fn spec_writes_a_valid_configuration_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    runj().arg("spec").arg("-b").arg(dir.path()).assert().success();
    runj().arg("plan").arg(dir.path()).assert().success();
    runj().args(["demo", "spec", "-b"]).arg(dir.path()).assert().code(1).stderr(contains("exists; remove it first"));
}

const ENGINE: &[u8] = br#"{"ociVersion":"1.3.0","root":{"path":"root"},"hostname":"web","annotations":{"a":"b"},
    "process":{"args":["/bin/sh"],"cwd":"/","terminal":true,"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"]}},
    "linux":{"maskedPaths":["/a","/b"],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}"#;

#[test]
fn plan_explains_every_property() {
    let dir = bundle(ENGINE);
    let text = runj().args(["plan", "--explain", "--system", "freebsd"]).arg(dir.path()).assert().success();
    text.stdout(
        contains("applied  hostname = \"web\": host.hostname=web: the jail's host name\n")
            .and(contains("ignored  linux.maskedPaths[1] = \"/b\": is for Linux alone\n"))
            .and(contains("applied  process.cwd = \"/\": ")),
    );
    let json = runj().args(["plan", "-e", "-f", "json", "-s", "linux"]).arg(dir.path()).assert().success();
    let lines: serde_json::Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(
        lines[0],
        serde_json::json!({"property": "annotations.a", "value": "b", "status": "applied",
        "effect": "shown by state and given to hooks"})
    );
    assert_eq!(lines.as_array().map(Vec::len), Some(12));
}

#[test]
fn plan_explains_what_it_refuses_and_fails() {
    let dir =
        bundle(br#"{"ociVersion":"1.3.0","root":{"path":"nowhere"},"process":{"cwd":7,"args":["a"]},"hostname":"a"}"#);
    let outcome = runj().args(["plan", "--explain"]).arg(dir.path()).assert().code(1);
    outcome
        .stdout(
            contains("refused  process.cwd = 7: invalid type")
                .and(contains("refused  root.path = \"nowhere\": "))
                .and(contains("applied  hostname = \"a\": ")),
        )
        .stderr(contains("process.cwd: invalid type: integer `7`, expected a string; root.path: ").and(one_line()));
}

#[test]
fn create_names_what_it_ignores_in_one_line() {
    if !is_root() {
        return;
    }
    let dir = bundle(ENGINE);
    let log = dir.path().join("log");
    let mut command = runj();
    command.arg("--root").arg(dir.path().join("state")).args(["--debug", "--log"]).arg(&log);
    command.args(["create", "c1"]).arg(dir.path()).assert().code(1).stderr(contains("process.terminal"));
    let log = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ignored")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let names = "linux.maskedPaths, linux.seccomp, process.capabilities\"";
    assert!(lines[0].ends_with(names), "{}", lines[0]);
}

/// The log would take the number of a standard descriptor that is not there, and get what is written to that.
#[test]
fn standard_descriptors_that_are_closed_are_not_taken_by_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    Command::new("sh")
        .args(["-c", r#"exec "$0" --root "$1" --log "$2" state nobody 2>&-"#])
        .arg(assert_cmd::cargo::cargo_bin!("runj"))
        .args([dir.path(), &log])
        .assert()
        .code(1);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_closed_pipe_is_an_error_and_no_death() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("runj"))
        .arg("features")
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line().eval(&String::from_utf8_lossy(&output.stderr)), "{output:?}");
}

/// `demo` is a program of its own, which is found beside runj.
#[test]
fn a_runj_without_its_demo_program_says_so() {
    // A link, since a copy that is still open for writing, in a child of another test, cannot be executed.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = dir.path().join("runj");
    std::fs::hard_link(assert_cmd::cargo::cargo_bin!("runj"), &alone).unwrap();
    Command::new(&alone).args(["demo", "spec"]).assert().code(1).stderr(
        one_line()
            .and(contains("demo is the program runj-demo, which is not installed: "))
            .and(contains("/runj-demo\n")),
    );
    Command::new(&alone).arg("spec").arg("-b").arg(dir.path()).assert().success();
}

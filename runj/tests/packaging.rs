//! What `make install` puts where, and the rc.d script of FreeBSD.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rstest::rstest;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, script).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The files below a directory, with their modes.
fn files(top: &Path, directory: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(top, &path, found);
        } else {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            found.push((path.strip_prefix(top).unwrap().to_str().unwrap().to_owned(), mode));
        }
    }
}

/// pkg-plist, which names manual pages as ports compress them, and not what `USE_RC_SUBR` adds.
fn expected(system: &str) -> Vec<(String, u32)> {
    let list = fs::read_to_string(tree("packaging/freebsd/pkg-plist")).unwrap();
    let examples = if system == "FreeBSD" { "share/examples/runj" } else { "share/doc/runj/examples" };
    let place = |line: &str| {
        let line = line.replace("%%DOCSDIR%%", "share/doc/runj").replace("%%EXAMPLESDIR%%", examples);
        line.strip_suffix(".gz").map(str::to_owned).unwrap_or(line)
    };
    let mut names: Vec<String> = list.lines().map(place).collect();
    if system == "FreeBSD" {
        names.push("etc/rc.d/runj".to_owned());
    }
    names.sort();
    let is_program = |name: &str| {
        name.starts_with("bin/")
            || name.starts_with("etc/")
            || (name.starts_with(examples) && !name.ends_with("README.md"))
    };
    names.into_iter().map(|name| (name.clone(), if is_program(&name) { 0o755 } else { 0o644 })).collect()
}

#[rstest]
#[case("FreeBSD")]
#[case("Linux")]
fn everything_is_installed_where_it_belongs(#[case] system: &str) {
    let dir = tempfile::tempdir().unwrap();
    let built = dir.path().join("target/release");
    program(&built.join("runj"), "");
    program(&built.join("runj-demo"), "");
    program(&built.join("containerd-shim-runj-v1"), "");
    program(&dir.path().join("bin/uname"), &format!("#!/bin/sh\necho {system}\n"));
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.path().join("bin").display());
    let install = tree("scripts/install");
    Command::new(install)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", dir.path().join("target"))
        .env_remove("CARGO_BUILD_TARGET")
        .env("DESTDIR", dir.path().join("stage"))
        .env("PREFIX", "/opt/runj")
        .assert()
        .success();
    let top = dir.path().join("stage/opt/runj");
    let mut found = Vec::new();
    files(&top, &top, &mut found);
    found.sort();
    assert_eq!(found, expected(system));
    if system == "FreeBSD" {
        let script = fs::read_to_string(top.join("etc/rc.d/runj")).unwrap();
        assert!(script.contains("\t/opt/runj/bin/runj --root"), "{script}");
    }
}

/// The script with a stand-in for rc.subr(8), which calls what `start_cmd` names.
#[rstest]
#[case("exit 0", true)]
#[case("exit 1", false)]
fn the_rc_script_collects_in_every_state_directory(#[case] outcome: &str, #[case] succeeds: bool) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    program(&dir.path().join("bin/runj"), &format!("#!/bin/sh\necho \"$@\" >>{here}/calls\n{outcome}\n"));
    let subr = "load_rc_config() { :; }\nrun_rc_command() { eval \"\\${${1}_cmd}\"; }\n";
    fs::write(dir.path().join("rc.subr"), subr).unwrap();
    for root in ["run", "shim/default", "shim/k8s.io"] {
        fs::create_dir_all(dir.path().join(root)).unwrap();
    }
    let script = fs::read_to_string(tree("packaging/freebsd/files/runj.in")).unwrap();
    let script = script.replace("/etc/rc.subr", &format!("{here}/rc.subr")).replace("%%PREFIX%%", here);
    program(&dir.path().join("rc"), &script);
    let run = Command::new(dir.path().join("rc"))
        .arg("start")
        .env("runj_roots", format!("{here}/run {here}/missing {here}/shim/*"))
        .assert();
    if succeeds {
        run.success()
    } else {
        run.failure()
    };
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    let expected = ["run", "shim/default", "shim/k8s.io"].map(|root| format!("--root {here}/{root} gc\n"));
    assert_eq!(calls, expected.concat());
}

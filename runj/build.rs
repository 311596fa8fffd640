//! Gives the program its git revision: from `REV_OVERRIDE` at the top of the
//! tree (a release tarball without git), else from git, else `unknown`. And has a release for FreeBSD linked without what
//! unwinding needs.
#![allow(clippy::disallowed_methods)] // a build script runs git

use std::path::Path;
use std::process::Command;

fn main() {
    let top = Path::new("..");
    let override_file = top.join("REV_OVERRIDE");
    println!("cargo::rerun-if-changed={}", override_file.display());
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/refs/heads");
    let revision = std::fs::read_to_string(&override_file)
        .map(|text| text.trim().to_owned())
        .ok()
        .filter(|text| !text.is_empty())
        .or_else(git_revision)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=RUNJ_REVISION={revision}");
    println!("cargo::rerun-if-changed=freebsd.ld");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    // The profile release aborts on panic.
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "freebsd") {
        let script = std::path::absolute("freebsd.ld").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=runj=-Wl,-T,{},--no-eh-frame-hdr", script.display());
    }
}

fn git_revision() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

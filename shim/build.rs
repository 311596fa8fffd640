//! Generates the messages and services of `proto/`, and gives the program its git revision as `runj` has it: from
//! `REV_OVERRIDE` at the top of the tree (a release tarball without git), else from git, else `unknown`.
#![allow(clippy::disallowed_methods)] // a build script runs git

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use ttrpc_codegen::{Codegen, Customize, ProtobufCustomize};

const FILES: &[&str] = &[
    "cgroup1/stats/metrics.proto",
    "events/task_events.proto",
    "runtime/bootstrap/v1/bootstrap.proto",
    "runtime/task/v3/shim.proto",
    "services/ttrpc/events/v1/events.proto",
    "types/event.proto",
    "types/fieldpath.proto",
    "types/introspection.proto",
    "types/mount.proto",
    "types/runc/options/oci.proto",
    "types/runtimeoptions/v1/api.proto",
    "types/task/task.proto",
];

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let directory = std::env::var("OUT_DIR").map_err(std::io::Error::other)?;
    Codegen::new()
        .inputs(FILES.iter().map(|file| format!("proto/{file}")))
        .include("proto")
        .rust_protobuf()
        .rust_protobuf_customize(ProtobufCustomize::default().gen_mod_rs(true))
        .customize(Customize { async_all: true, ..Default::default() })
        .run()?;
    // The generator of messages lists its files there; that of services does not.
    let mut modules = OpenOptions::new().append(true).open(Path::new(&directory).join("mod.rs"))?;
    writeln!(modules, "pub mod events_ttrpc;\npub mod shim_ttrpc;")?;
    note_revision();
    Ok(())
}

fn note_revision() {
    let override_file = Path::new("../REV_OVERRIDE");
    println!("cargo::rerun-if-changed={}", override_file.display());
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/refs/heads");
    let revision = std::fs::read_to_string(override_file)
        .map(|text| text.trim().to_owned())
        .ok()
        .filter(|text| !text.is_empty())
        .or_else(git_revision)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=RUNJ_REVISION={revision}");
}

fn git_revision() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

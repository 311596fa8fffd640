//! containerd-shim-runj-v1: containerd's way to runj, by the name that containerd and nerdctl hard-code on FreeBSD.
//!
//! The task service does not exist yet: every call but `-v` says so and fails, so that containerd reports it
//! instead of waiting.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|arg| arg == "-v" || arg == "-version" || arg == "--version") {
        println!("containerd-shim-runj-v1 version {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "containerd-shim-runj-v1 {}: the containerd task service is not implemented in this version",
        env!("CARGO_PKG_VERSION")
    );
    ExitCode::FAILURE
}

//! Runs a command in a virtual machine: boots it under QEMU with a snapshot, brings files in as a second disk,
//! works through the root shell on its serial line, and ends with the command's exit status.
//!
//! Made for FreeBSD guests (`make vm-test`), but nothing here depends on the guest beyond a root shell, `tar` and a
//! virtio disk. Errors of the runner itself end it with 125.
#![allow(clippy::disallowed_methods)] // a test tool, not the runtime: it runs programs and has threads

#[path = "../vm/mod.rs"]
mod vm;

use clap::Parser;
use std::process::ExitCode;

/// The exit code for what went wrong with the machine rather than in it.
const RUNNER_FAILED: u8 = 125;

fn main() -> ExitCode {
    let arguments = match vm::options::arguments(&vm::options::Surroundings::of_this_process(), std::env::args()) {
        Ok(arguments) => arguments,
        Err(error) => return failed(&error),
    };
    let options = match vm::options::Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { RUNNER_FAILED } else { 0 };
            // a closed terminal is nobody to complain to
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match vm::run(&options, &mut std::io::stdout()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("vm: {error:#}");
    ExitCode::from(RUNNER_FAILED)
}

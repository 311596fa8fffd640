//! runj: an OCI runtime for FreeBSD jails.

use std::process::ExitCode;

fn main() -> ExitCode {
    runj::cli::main()
}

//! runj: an OCI runtime for FreeBSD jails.

use std::process::ExitCode;

use runj::sys::arena::Arena;

#[global_allocator]
static MEMORY: Arena = Arena::new();

fn main() -> ExitCode {
    runj::cli::main()
}

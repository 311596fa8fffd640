//! `runj demo`: what fetches FreeBSD, and makes bundles and images.

use std::process::ExitCode;

fn main() -> ExitCode {
    runj::cli::demo_main().into()
}

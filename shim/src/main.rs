//! containerd-shim-runj-v1: containerd's way to runj. See the library.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use shim::args::{Action, Args};
use shim::sys::ffi;
use shim::{bootstrap, cleanup, info, server};

/// The socket that `start` passes on.
const SOCKET: i32 = 3;

fn main() -> ExitCode {
    let outcome = Args::parse(std::env::args_os().skip(1)).and_then(run);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(std::io::stderr(), "containerd-shim-runj-v1: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), String> {
    match args.action {
        Action::Version => version().map_err(|error| format!("standard output: {error}")),
        Action::Info => block_on(info::info()),
        Action::Start => bootstrap::start(args),
        Action::Delete => block_on(cleanup::delete(&args)),
        Action::Serve => {
            let socket = ffi::inherited(SOCKET).map_err(|errno| {
                format!("descriptor {SOCKET}: {}: containerd runs start, which runs this", errno.desc())
            })?;
            block_on(server::serve(args, socket.into()))
        }
    }
}

fn version() -> std::io::Result<()> {
    let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("RUNJ_REVISION"));
    writeln!(std::io::stdout(), "containerd-shim-runj-v1:\n  Version:  {version}\n  Revision: {revision}")
}

/// One thread for everything.
fn block_on(work: impl Future<Output = shim::error::Result<()>>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(work).map_err(|error| error.text)
}

//! The command line: what was typed → a request → one call → its output.
//!
//! Compatible with Go runj, with runc's conventions, and with what conmon and buildah pass.

mod container;
mod demo;
mod exec;
mod list;
mod plan;
mod run;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use log::LevelFilter;

use crate::log::Format;
use crate::runtime::{Error, Runtime};
use crate::state::store::Store;
use crate::sys::{DEFAULT_STATE_ROOT, Host};

/// What `--version` shows, after the name.
const VERSION: &str =
    concat!("version ", env!("CARGO_PKG_VERSION"), "\ncommit: ", env!("RUNJ_REVISION"), "\nspec: 1.3.0");

/// OCI runtime for FreeBSD jails
///
/// On Linux the same program runs on an emulation of jail(2), which is for development and is not a security boundary.
#[derive(Debug, Parser)]
#[command(name = "runj", version = VERSION, propagate_version = false, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Directory for the state of containers
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_STATE_ROOT)]
    root: PathBuf,
    /// File that log lines are appended to [default: standard error]
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Form of log lines
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: Format,
    /// Least important lines that are logged: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
    /// Log everything
    #[arg(long, global = true)]
    debug: bool,
    /// Ignored: for callers that know cgroups
    #[arg(long, global = true, hide = true)]
    systemd_cgroup: bool,
    /// Ignored: for callers that know cgroups
    #[arg(long, global = true, hide = true, value_name = "X")]
    cgroup_manager: Option<String>,
    /// Ignored: runj needs root
    #[arg(long, global = true, hide = true, value_name = "X")]
    rootless: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a container: its jail, in which its program waits for start
    Create(container::Create),
    /// Start the program of a created container
    Start(container::Id),
    /// Show the state of a container as JSON
    State(container::Id),
    /// Send a signal to a container
    Kill(container::Kill),
    /// Delete a stopped container and everything that was made for it
    Delete(container::Delete),
    /// Create, start, attend in the foreground, delete
    Run(run::Run),
    /// Execute a program in a running container
    Exec(exec::Exec),
    /// The same under the names of Go runj
    #[command(visible_alias = "ext")]
    Extension {
        #[command(subcommand)]
        command: Extension,
    },
    /// Stop every process of a container
    Pause(container::Id),
    /// Let a paused container go on
    Resume(container::Id),
    /// List the processes of a container, as the host numbers them
    Ps(list::Ps),
    /// List containers
    List(list::List),
    /// Show what create would do with a bundle, for this system or the other one
    Plan(plan::PlanArgs),
    /// Write a sample config.json
    Spec(demo::Spec),
    /// Bundles to try things with
    Demo {
        #[command(subcommand)]
        command: demo::Demo,
    },
}

#[derive(Debug, Subcommand)]
enum Extension {
    /// Execute a program in a running container
    Exec(exec::Exec),
}

/// Parses, calls, prints an error once; returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    if let Err(error) = init_log(&cli.global) {
        return fail(&format!("--log: {error}"), 1);
    }
    match dispatch(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.downcast_ref::<Error>().map_or(1, Error::exit_code);
            fail(&format!("{error:#}"), code)
        }
    }
}

/// One line on standard error, one object in the log.
fn fail(message: &str, code: u8) -> ExitCode {
    let line = message.replace('\n', " ");
    if crate::log::has_file() {
        log::error!("{line}");
    }
    let _ = writeln!(std::io::stderr(), "runj: {line}");
    ExitCode::from(code)
}

fn init_log(global: &Global) -> std::io::Result<()> {
    // podman parses the whole JSON log as one object: unless asked for, nothing but the error is in it.
    let unasked = match (global.debug, global.log_format, &global.log) {
        (true, _, _) => LevelFilter::Debug,
        (false, Format::Json, Some(_)) => LevelFilter::Error,
        _ => LevelFilter::Warn,
    };
    crate::log::init(global.log.as_deref(), global.log_format, global.log_level.unwrap_or(unasked))
}

fn dispatch(cli: &Cli) -> anyhow::Result<u8> {
    let host = Host::new(&cli.global.root);
    let store = Store::new(&cli.global.root);
    let runtime = Runtime { kernel: &host, store: &store };
    match &cli.command {
        Command::Create(args) => args.call(&runtime)?,
        Command::Start(args) => args.start(&runtime)?,
        Command::State(args) => args.state(&runtime)?,
        Command::Kill(args) => args.call(&runtime)?,
        Command::Delete(args) => args.call(&runtime)?,
        Command::Pause(args) => args.pause(&runtime)?,
        Command::Resume(args) => args.resume(&runtime)?,
        Command::Ps(args) => args.call(&runtime)?,
        Command::List(args) => args.call(&runtime)?,
        Command::Plan(args) => args.call(&runtime)?,
        Command::Spec(args) => args.call()?,
        Command::Demo { command } => command.call()?,
        Command::Run(args) => return args.call(&runtime),
        Command::Exec(args) | Command::Extension { command: Extension::Exec(args) } => return args.call(&runtime),
    }
    Ok(0)
}

/// Refuses early, and in words, what only root can do.
fn need_root(verb: &str) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    anyhow::bail!("{verb} needs root: making and entering jails is root's alone")
}

/// Prints to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

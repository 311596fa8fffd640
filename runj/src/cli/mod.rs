//! The command line: what was typed → a request → one call → its output.
//!
//! Compatible with Go runj, with runc's conventions, and with what conmon and buildah pass.

mod container;
mod demo;
mod doctor;
#[cfg(test)]
mod documents;
mod events;
mod exec;
mod features;
mod gc;
mod list;
mod plain;
mod plan;
mod ps;
mod run;
mod stats;
mod unsupported;
mod update;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use log::LevelFilter;

use crate::log::Format;
use crate::runtime::create::check_preserved;
use crate::runtime::{Error, Runtime};
use crate::state::store::Store;
use crate::sys::{DEFAULT_STATE_ROOT, Host};

pub use demo::main as demo_main;

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

impl Default for Global {
    fn default() -> Self {
        Self {
            root: DEFAULT_STATE_ROOT.into(),
            log: None,
            log_format: Format::Text,
            log_level: None,
            debug: false,
            systemd_cgroup: false,
            cgroup_manager: None,
            rootless: None,
        }
    }
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
    Ps(ps::Ps),
    /// List containers
    List(list::List),
    /// Release what interrupted creations and earlier boots left
    Gc(gc::Gc),
    /// Change the limits of a container
    Update(update::Update),
    /// Show what a container uses, and when memory was short
    Events(events::Events),
    /// Show what containers use: a table that is renewed, or JSON
    Stats(stats::Stats),
    /// Look for what keeps containers from running on this machine, and say what to do
    Doctor(doctor::Doctor),
    /// Show what runj understands, as JSON
    Features,
    /// Not possible: a jail's processes cannot be saved
    #[command(hide = true, disable_help_flag = true)]
    Checkpoint(unsupported::Anything),
    /// Not possible: a jail's processes cannot be saved
    #[command(hide = true, disable_help_flag = true)]
    Restore(unsupported::Anything),
    /// Show what create would do with a bundle, for this system or the other one
    Plan(plan::PlanArgs),
    /// Write a sample config.json
    Spec(demo::Spec),
    /// Bundles to try things with
    Demo(unsupported::Anything),
}

#[derive(Debug, Subcommand)]
enum Extension {
    /// Execute a program in a running container
    Exec(exec::Exec),
}

impl Command {
    /// How many descriptors from 3 on are the program's.
    fn preserve_fds(&self) -> u16 {
        match self {
            Self::Create(args) => args.creation.preserve_fds,
            Self::Run(args) => args.creation.preserve_fds,
            Self::Exec(args) | Self::Extension { command: Extension::Exec(args) } => args.preserve_fds,
            _ => 0,
        }
    }
}

/// Parses what was typed, its first word the name of the program; calls, prints an error once; returns the exit code.
pub fn main(args: Vec<OsString>) -> u8 {
    if let Some((at, _)) = before_verb(&args).filter(|(at, _)| args[*at] == "demo") {
        return demo::hand_over(&args, at).unwrap_or_else(|error| fail(&format!("{error:#}"), 1));
    }
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // Before anything is opened: the log would take the number of a descriptor that is not there.
    if let Err(error) = check_preserved(cli.command.preserve_fds()) {
        return fail(&error.to_string(), 1);
    }
    obey(&cli.global, || dispatch(&cli))
}

/// The help that was asked for, or what is wrong with a command line.
fn refuse(error: &clap::Error) -> u8 {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let _ = error.print();
    u8::from(!asked)
}

/// Calls, prints an error once; returns the exit code.
fn obey(global: &Global, call: impl FnOnce() -> anyhow::Result<u8>) -> u8 {
    if let Err(error) = init_log(global) {
        return fail(&format!("--log: {error}"), 1);
    }
    match call() {
        Ok(code) => code,
        Err(error) => {
            let code = error.downcast_ref::<Error>().map_or(1, Error::exit_code);
            fail(&format!("{error:#}"), code)
        }
    }
}

/// Parses. Building the description of every option costs more than most verbs do: what engines type is read without
/// one, for the other forms of a verb that is called often only its own options are described; help and whatever is odd take
/// the whole.
fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let Some((at, global)) = before_verb(&args).filter(|(at, _)| args.iter().skip(at + 1).all(|word| !is_global(word)))
    else {
        return Cli::try_parse_from(args);
    };
    match args.get(at).and_then(|verb| verb.to_str()) {
        Some("create") => parse_plain(&args, at, global, Command::Create),
        Some("start") => parse_plain(&args, at, global, Command::Start),
        Some("state") => parse_plain(&args, at, global, Command::State),
        Some("kill") => parse_plain(&args, at, global, Command::Kill),
        Some("delete") => parse_plain(&args, at, global, Command::Delete),
        Some("run") => parse_plain(&args, at, global, Command::Run),
        Some("exec") => parse_plain(&args, at, global, Command::Exec),
        Some("list") => parse_alone(&args, at, global, Command::List),
        Some("pause") => parse_plain(&args, at, global, Command::Pause),
        Some("resume") => parse_plain(&args, at, global, Command::Resume),
        Some("ps") => parse_alone(&args, at, global, Command::Ps),
        Some("update") => parse_alone(&args, at, global, Command::Update),
        Some("events") => parse_alone(&args, at, global, Command::Events),
        Some("stats") => parse_alone(&args, at, global, Command::Stats),
        _ => Cli::try_parse_from(args),
    }
}

/// The global options that take a value, and those that do not.
const WITH_VALUE: &[&str] = &["--root", "--log", "--log-format", "--log-level", "--cgroup-manager", "--rootless"];
const FLAGS: &[&str] = &["--debug", "--systemd-cgroup"];

/// Where the verb is, and the global options before it; none if there is no verb or anything odd before it.
fn before_verb(args: &[OsString]) -> Option<(usize, Global)> {
    let mut global = Global::default();
    let mut seen = Vec::new();
    let mut words = args.iter().enumerate().skip(1);
    while let Some((at, word)) = words.next() {
        let word = word.to_str()?;
        if !word.starts_with('-') {
            return Some((at, global));
        }
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(OsStr::new(value))));
        let value = match value {
            Some(value) => value,
            None if WITH_VALUE.contains(&name) => words.next()?.1,
            None => OsStr::new(""),
        };
        // What clap says of a word that is there twice, or that lacks or has a value, is said by it.
        let odd = value.as_encoded_bytes().starts_with(b"-") || value.is_empty() != FLAGS.contains(&name);
        if odd || seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match name {
            "--root" => global.root = value.into(),
            "--log" => global.log = Some(value.into()),
            "--log-format" => global.log_format = Format::from_str(value.to_str()?, false).ok()?,
            "--log-level" => global.log_level = Some(value.to_str()?.parse().ok()?),
            "--cgroup-manager" => global.cgroup_manager = Some(value.to_str()?.to_owned()),
            "--rootless" => global.rootless = Some(value.to_str()?.to_owned()),
            "--debug" => global.debug = true,
            "--systemd-cgroup" => global.systemd_cgroup = true,
            _ => return None,
        }
    }
    None
}

/// Whether a word behind the verb may be a global option or ask for help.
fn is_global(word: &OsStr) -> bool {
    let Some(word) = word.to_str() else { return word.as_encoded_bytes().starts_with(b"-") };
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    let asks_for_help = name == "--help" || (word.starts_with('-') && !word.starts_with("--") && word.contains('h'));
    WITH_VALUE.contains(&name) || FLAGS.contains(&name) || asks_for_help
}

/// Reads what stands behind the verb, or leaves it to clap.
fn parse_plain<A: Args + plain::Plain>(
    args: &[OsString],
    at: usize,
    global: Global,
    wrap: fn(A) -> Command,
) -> Result<Cli, clap::Error> {
    match A::read(&args[at + 1..]) {
        Some(read) => Ok(Cli { global, command: wrap(read) }),
        None => parse_alone(args, at, global, wrap),
    }
}

/// Parses what stands behind the verb.
fn parse_alone<A: Args>(
    args: &[OsString],
    at: usize,
    global: Global,
    wrap: fn(A) -> Command,
) -> Result<Cli, clap::Error> {
    let verb = args.get(at).map(|verb| verb.to_string_lossy()).unwrap_or_default();
    let command = A::augment_args(clap::Command::new("runj").bin_name(format!("runj {verb}")));
    let mut matches = command.try_get_matches_from(args.iter().skip(at))?;
    Ok(Cli { global, command: wrap(A::from_arg_matches_mut(&mut matches)?) })
}

/// One line on standard error, one object in the log.
fn fail(message: &str, code: u8) -> u8 {
    let line = shown(&message.replace('\n', " "));
    if crate::log::has_file() {
        log::error!("{line}");
    }
    let _ = writeln!(std::io::stderr(), "runj: {line}");
    code
}

/// A text for a terminal: what a name or a path may hold to command it is escaped.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
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
        Command::Gc(args) => args.call(&runtime)?,
        Command::Update(args) => args.call(&runtime)?,
        Command::Events(args) => args.call(&runtime)?,
        Command::Stats(args) => args.call(&runtime)?,
        Command::Features => features::call(runtime.kernel)?,
        Command::Checkpoint(_) => return Err(unsupported::error("checkpoint")),
        Command::Restore(_) => return Err(unsupported::error("restore")),
        Command::Plan(args) => args.call(&runtime)?,
        Command::Spec(args) => args.call()?,
        Command::Demo(_) => anyhow::bail!("demo: an option before it is not understood"),
        Command::Run(args) => return args.call(&runtime),
        Command::Doctor(args) => return args.call(&runtime),
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
    use plain::Plain;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case("runj create --bundle /b --pid-file /p c1")]
    #[case("runj --root /r --systemd-cgroup create c1 /b --log-format json --preserve-fds 2 --no-pivot")]
    #[case("runj --log=/l --debug start c1")]
    #[case("runj state --root /r c1")]
    #[case("runj kill -a c1 9")]
    #[case("runj --rootless false --cgroup-manager disabled delete -f c1")]
    #[case("runj run -d --keep c1")]
    #[case("runj --log-format json --log-level info --cgroup-manager x --rootless=true state c1")]
    #[case("runj exec c1 ls -h")]
    #[case("runj exec c1 tail -fh")]
    #[case("runj --root=-x state c1")]
    #[case("runj state -- c1")]
    #[case("runj exec -t -e A=1 c1 sh -c x --root /inside")]
    #[case("runj list -q -f json")]
    #[case("runj pause c1")]
    #[case("runj resume c1")]
    #[case("runj ps --format json c1")]
    #[case("runj update --resources=- c1")]
    #[case("runj update --memory -1 --pids-limit 5 c1")]
    #[case("runj events --stats --interval 1s c1")]
    #[case("runj stats --no-stream -f json c1 c2")]
    fn a_verb_alone_parses_as_among_all(#[case] line: &str) {
        let alone = parse(args(line)).unwrap();
        let among_all = Cli::try_parse_from(args(line)).unwrap();
        assert_eq!(format!("{alone:?}"), format!("{among_all:?}"));
    }

    /// Words of which some make a command line.
    fn words() -> impl Strategy<Value = Vec<OsString>> {
        const WORDS: &[&str] = &[
            "c1",
            "c1",
            "c2",
            "",
            "/b",
            "9",
            "KILL",
            "-",
            "--",
            "--bundle",
            "-b",
            "--bundle=/b",
            "-b/b",
            "--pid-file",
            "--no-pivot",
            "--preserve-fds",
            "--preserve-fds=3",
            "--jail-name",
            "--console-socket",
            "--no-new-keyring",
            "--force",
            "-f",
            "--force=x",
            "--all",
            "-a",
            "-p",
            "--pid",
            "--pid=7",
            "-d",
            "--detach",
            "-td",
            "--keep",
            "--no-subreaper",
            "--tty",
            "--cwd",
            "-u",
            "--user",
            "--env",
            "-eA=1",
            "--process",
            "-p=x",
            "--forc",
            "a b",
            "-1",
        ];
        proptest::collection::vec(proptest::sample::select(WORDS).prop_map(OsString::from), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn what_is_read_without_clap_is_what_clap_reads(
            verb in proptest::sample::select(vec!["create", "start", "kill", "delete", "run", "exec"]),
            words in words(),
        ) {
            let read = match verb {
                "create" => container::Create::read(&words).map(Command::Create),
                "start" => container::Id::read(&words).map(Command::Start),
                "kill" => container::Kill::read(&words).map(Command::Kill),
                "delete" => container::Delete::read(&words).map(Command::Delete),
                "run" => run::Run::read(&words).map(Command::Run),
                _ => exec::Exec::read(&words).map(Command::Exec),
            };
            if let Some(read) = read {
                let line = ["runj".into(), verb.into()].into_iter().chain(words);
                let clap = Cli::try_parse_from(line).map(|cli| format!("{:?}", cli.command));
                prop_assert_eq!(Ok(format!("{read:?}")), clap.map_err(|error| error.to_string()));
            }
        }
    }

    #[test]
    fn what_commands_a_terminal_is_escaped() {
        assert_eq!(shown("/a\x1b[31m\n\u{9b}b ä"), "/a\\u{1b}[31m\\n\\u{9b}b ä");
    }

    /// Every flag that engines pass, as fixtures/engines has them.
    #[rstest]
    #[case("podman")]
    #[case("buildah")]
    #[case("go-runc")]
    fn what_engines_type_is_understood(#[case] engine: &str) {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engines");
        let text = std::fs::read(fixtures.join(engine).with_extension("json")).unwrap();
        let invocations: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text).unwrap();
        for (name, invocation) in invocations {
            let argv: Vec<String> = serde_json::from_value(invocation["argv"].clone()).unwrap();
            let parsed = parse(argv.into_iter().map(|word| word.replace("{id}", "c1").into()).collect());
            match name.as_str() {
                "version" => assert_eq!(parsed.unwrap_err().kind(), ErrorKind::DisplayVersion),
                _ => drop(parsed.unwrap_or_else(|error| panic!("{engine} {name}: {error}"))),
            }
        }
    }

    #[rstest]
    #[case("runj create")]
    #[case("runj start c1 c2")]
    #[case("runj kill c1 NOPE")]
    #[case("runj --root")]
    #[case("runj")]
    #[case("runj update --memory x c1")]
    #[case("runj events --interval 0s c1")]
    #[case("runj stats --interval 0s")]
    #[case("runj run --checkpoint c1")]
    #[case("runj --root= state c1")]
    #[case("runj --root /a --root /b state c1")]
    #[case("runj --root --debug state c1")]
    #[case("runj --debug=yes state c1")]
    #[case("runj --log-level much state c1")]
    #[case("runj --force delete c1")]
    #[case("runj -- state c1")]
    #[case("runj state --force c1")]
    fn errors(#[case] line: &str) {
        let alone = parse(args(line)).unwrap_err().kind();
        assert_eq!(alone, Cli::try_parse_from(args(line)).unwrap_err().kind());
    }
}

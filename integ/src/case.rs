//! One test: its needs, a process of its own, and the proof that it left nothing.
//!
//! The body runs in a second process of the test program, which is the reaper of all that it starts and is killed
//! when its time is over or the first process dies. On Linux that process is a machine of its own as far as
//! namespaces go (processes, mounts, network, host name, IPC), with a propagating mount tree as systemd makes it:
//! nothing that a test or a bug does reaches the real one. On FreeBSD it runs on the machine itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::leaks::Leaks;
use crate::needs::{self, Missing};
use crate::run::Stdio;
use crate::{Bundle, Console, Container, Need, Program, ffi, locate, report, sweep, wait};

/// The variable that tells the second process that it is one, and its directory.
const MARK: &str = "INTEG_CASE";

/// The longest that a test may take, in seconds, unless `INTEG_LONGEST` says otherwise.
const LONGEST: u64 = 150;

fn longest() -> Duration {
    let given = std::env::var("INTEG_LONGEST").ok().and_then(|text| text.parse().ok());
    given.map_or_else(|| wait::seconds(LONGEST), Duration::from_secs)
}

/// The file of what a test has counted.
const FIGURES: &str = "figures";

/// A test's surroundings.
#[derive(Debug)]
pub struct Case {
    dir: PathBuf,
    count: AtomicU32,
}

/// Runs a test if its needs are met. To be called once, by a function that cargo knows as a test.
#[track_caller]
pub fn case(needs: &[Need], body: impl FnOnce(&Case)) {
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    if let Some(dir) = locate::variable(MARK) {
        inside(&dir, body);
        return;
    }
    let began = Instant::now();
    match needs::missing(needs) {
        Some(Missing::Inapplicable(reason)) => {
            eprintln!("{test}: not applicable: {reason}");
            report::note("inapplicable", test, began.elapsed(), &reason);
            return;
        }
        Some(Missing::Skipped(reason)) => {
            let forbidden = needs::skips_are_failures();
            report::note(if forbidden { "failed" } else { "skipped" }, test, began.elapsed(), &reason);
            assert!(!forbidden, "{test}: must not be skipped, but: {reason}");
            eprintln!("{test}: skipped: {reason}");
            return;
        }
        None => {}
    }
    sweep::once();
    let dir = new_directory();
    let output = second_process(test, &dir).run();
    let passed = output.status.success();
    report::note(if passed { "passed" } else { "failed" }, test, began.elapsed(), "");
    if passed {
        print!("{}", fs::read_to_string(dir.join(FIGURES)).unwrap_or_default());
        sweep::remove_directory(&dir);
        return;
    }
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    print_logs(&dir);
    panic!("{test}: failed ({}); kept until the next run: {}", output.status, dir.display());
}

/// A directory whose name says whose it is, for the sweep.
fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("{}{}-{number}", sweep::MARK, std::process::id()));
    fs::create_dir(&dir).expect("a directory for the test");
    dir
}

fn second_process(test: &str, dir: &Path) -> Program {
    let program = std::env::current_exe().expect("own path");
    let second = Program::new(program)
        .args(["--exact", test, "--nocapture", "--include-ignored", "--test-threads=1"])
        .env_inherit()
        .env(MARK, &dir.to_string_lossy())
        .session()
        .die_with_parent()
        .deadline(longest())
        .stdout(Stdio::Piped);
    #[cfg(target_os = "linux")]
    let second = second.namespaces(
        libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC,
    );
    second
}

/// The second process.
fn inside(dir: &Path, body: impl FnOnce(&Case)) {
    surroundings();
    ffi::become_reaper().expect("reaper");
    let case = Case::at(dir);
    let before = Leaks::now(&case);
    let result = catch_unwind(AssertUnwindSafe(|| body(&case)));
    if let Err(panic) = result {
        // What is left tells what happened; the first process and the sweep remove it.
        ffi::kill_descendants();
        resume_unwind(panic);
    }
    before.assert_none(&case);
}

/// Makes the namespaces of the second process a machine.
#[cfg(target_os = "linux")]
fn surroundings() {
    use nix::mount::{MsFlags, mount};
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).expect("shared mounts");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).expect("proc");
    nix::unistd::sethostname("integ-host").expect("host name");
    crate::net::loopback_up();
}

#[cfg(not(target_os = "linux"))]
fn surroundings() {}

/// Prints what containers wrote.
fn print_logs(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir.join("logs")) else {
        return;
    };
    let files: BTreeMap<_, _> = entries.flatten().map(|entry| (entry.file_name(), entry.path())).collect();
    for (name, path) in files {
        let bytes = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
        if !text.is_empty() {
            eprintln!("---- {}\n{text}", name.to_string_lossy());
        }
    }
}

impl Case {
    /// The surroundings of a program that is no test (the benchmark): this directory, whose name marks what it makes.
    #[track_caller]
    pub fn at(dir: &Path) -> Self {
        let case = Self { dir: dir.to_owned(), count: AtomicU32::new(0) };
        fs::create_dir_all(case.root()).expect("state root");
        case
    }

    /// A directory of this test's own.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The runtime's state directory (`--root`).
    pub fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Notes a line of what was counted or measured; `--nocapture` shows it when the test has passed.
    pub fn figure(&self, line: &str) {
        let mut file = fs::File::options().create(true).append(true).open(self.path(FIGURES)).expect("figures");
        writeln!(file, "{line}").expect("figures");
    }

    /// Where output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        let logs = self.dir.join("logs");
        fs::create_dir_all(&logs).expect("logs");
        logs.join(name)
    }

    /// What the names of everything that this test makes begin with.
    pub fn marker(&self) -> String {
        self.dir.file_name().expect("a name").to_string_lossy().into_owned()
    }

    /// A number that this test has not had yet.
    pub fn number(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A container id of this test's own.
    pub fn id(&self) -> String {
        format!("{}-{}", self.marker(), self.number())
    }

    /// The runtime with `--root` and these arguments.
    pub fn runj<T: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Program {
        self.runtime().arg("--root").arg(self.root()).args(arguments)
    }

    /// The runtime without any argument.
    pub fn runtime(&self) -> Program {
        Program::new(locate::runtime().expect("a runtime"))
    }

    /// integ-inside, on the host.
    pub fn outside<T: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Program {
        Program::new(locate::inside().expect("integ-inside")).args(arguments)
    }

    /// A bundle made from a fixture.
    #[track_caller]
    pub fn bundle(&self, fixture: &str) -> Bundle {
        Bundle::new(self, fixture)
    }

    /// A container of a bundle, not created yet.
    pub fn container<'a>(&'a self, bundle: &Bundle) -> Container<'a> {
        Container::new(self, bundle.dir())
    }

    /// A container that runs this in the minimal bundle.
    #[track_caller]
    pub fn running(&self, check: &[&str]) -> Container<'_> {
        let container = self.container(&self.bundle("minimal").args(check));
        container.create().ok();
        container.start().ok();
        container
    }

    /// Runs the bundle to its end and panics unless the program in it succeeds.
    #[track_caller]
    pub fn passes(&self, bundle: &Bundle) {
        let container = self.container(bundle);
        container.create().ok();
        container.start().ok();
        container.passes();
        container.delete().ok();
    }

    /// A console socket.
    #[track_caller]
    pub fn console(&self) -> Console {
        Console::new(self.path(&format!("console{}", self.number())))
    }

    /// The JSON lines that `integ-inside hook` wrote to a file.
    pub fn records(&self, path: impl AsRef<Path>) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }
}

//! Engines replayed: their exact command lines and environments, which are data below `fixtures/engines`, run in the
//! way of conmon: the runtime's standard descriptors are the container's, its pid file is read when it has ended, and
//! what it wrote to stderr, or to a log of one JSON object, is the error.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::container::Done;
use crate::run::Stdio;
use crate::{Bundle, Case, Program, ffi, locate, until};

/// How much of the runtime's stderr conmon reads.
const ERROR_SIZE: usize = 8192;

/// One container as an engine drives it.
#[derive(Debug)]
pub struct Replay<'a> {
    case: &'a Case,
    invocations: Value,
    bundle: PathBuf,
    state: PathBuf,
    id: String,
}

impl<'a> Replay<'a> {
    /// The invocations of this engine, for a bundle.
    #[track_caller]
    pub fn new(case: &'a Case, engine: &str, bundle: &Bundle) -> Self {
        let path = locate::fixtures().join("engines").join(engine).with_extension("json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let invocations = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let id = case.id();
        let state = case.path(&format!("engine-{id}"));
        fs::create_dir(&state).expect("the engine's directory");
        Self { case, invocations, bundle: bundle.dir().to_owned(), state, id }
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The engine's directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where `{console}` is.
    pub fn console(&self) -> PathBuf {
        self.state.join("console")
    }

    /// An invocation, not run yet.
    #[track_caller]
    pub fn program(&self, name: &str) -> Program {
        let invocation = &self.invocations[name];
        let list = |key: &str| -> Vec<String> {
            let words = invocation[key].as_array().unwrap_or_else(|| panic!("{name}: no {key}"));
            words.iter().map(|word| self.fill(word.as_str().expect("a text"))).collect()
        };
        let argv = list("argv");
        let mut program = Program::new(&argv[0]).args(&argv[1..]).env_clear();
        for entry in list("env") {
            let (name, value) = entry.split_once('=').expect("NAME=VALUE");
            program = program.env(name, value);
        }
        program.cwd(&self.bundle)
    }

    fn fill(&self, word: &str) -> String {
        let runtime = locate::runtime().expect("a runtime");
        let places = [
            ("{runtime}", runtime.as_path()),
            ("{root}", &self.case.root()),
            ("{bundle}", &self.bundle),
            ("{state}", &self.state),
            ("{console}", &self.console()),
            ("{id}", Path::new(&self.id)),
        ];
        places.iter().fold(word.to_owned(), |word, (place, path)| word.replace(place, &path.to_string_lossy()))
    }

    /// Runs an invocation.
    #[track_caller]
    pub fn run(&self, name: &str) -> Done {
        Done::run(self.program(name))
    }

    /// Runs an invocation that has to succeed; returns its output.
    #[track_caller]
    pub fn ok(&self, name: &str) -> String {
        self.run(name).ok()
    }

    /// `create` as conmon does it: the pid from the pid file, or the error.
    #[track_caller]
    pub fn create(&self, name: &str, pid_file: &Path) -> Result<i32, String> {
        let done = Done::run(self.attached(name, "ctr"));
        if done.output.status.success() { Ok(number(pid_file)) } else { Err(self.error(&done)) }
    }

    /// `exec` as conmon does it: a pid file that is not there is the only sign of failure.
    #[track_caller]
    pub fn exec(&self, name: &str, process: &Value) -> Result<i32, String> {
        fs::write(self.state.join("exec-process"), process.to_string()).expect("exec-process");
        let pid_file = self.state.join("exec_pid");
        let _ = fs::remove_file(&pid_file);
        let done = Done::run(self.attached(name, "exec"));
        if pid_file.exists() { Ok(number(&pid_file)) } else { Err(self.error(&done)) }
    }

    fn attached(&self, name: &str, log: &str) -> Program {
        let file = |kind: &str| Stdio::File(self.state.join(format!("{log}.{kind}")));
        self.program(name).stdout(file("out")).stderr(file("err"))
    }

    /// What the container wrote to stdout.
    pub fn stdout(&self, log: &str) -> String {
        fs::read_to_string(self.state.join(format!("{log}.out"))).unwrap_or_default()
    }

    /// What the container wrote to stderr.
    pub fn stderr(&self, log: &str) -> String {
        fs::read_to_string(self.state.join(format!("{log}.err"))).unwrap_or_default()
    }

    /// The error as podman finds it: the message of the log, if the whole of it is one object, else the text on stderr.
    fn error(&self, done: &Done) -> String {
        let log = fs::read(self.state.join("oci-log")).unwrap_or_default();
        let object: Option<Value> = serde_json::from_slice(&log).ok();
        let message = object.and_then(|object| object["msg"].as_str().map(str::to_owned));
        let _ = fs::remove_file(self.state.join("oci-log"));
        message.unwrap_or_else(|| done.stderr().chars().take(ERROR_SIZE).collect())
    }

    /// The exit code of a process whose reaper the harness is.
    #[track_caller]
    pub fn wait(&self, pid: i32) -> std::process::ExitStatus {
        use std::os::unix::process::ExitStatusExt;
        let status = until("the end of the process", || ffi::try_wait(pid).expect("a child of the reaper"));
        std::process::ExitStatus::from_raw(status)
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if self.case.root().join(&self.id).exists() {
            self.case.runj(["delete", "--force", &self.id]).run();
        }
    }
}

/// The number at the beginning of a file, as atoi(3) reads it.
fn number(path: &Path) -> i32 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{}: {text:?}", path.display()))
}

/// The exit code that podman gives for an error of the runtime.
pub fn podman_code(message: &str) -> i32 {
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["permission denied", "operation not permitted"]) {
        126
    } else if has(&["executable file not found in", "no such file or directory", "open executable"]) {
        127
    } else {
        125
    }
}

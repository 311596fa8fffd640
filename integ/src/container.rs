//! A container, through the real program.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use serde_json::Value;

use crate::run::Stdio;
use crate::{Case, Program, ffi, until, wait};

/// A container id and its bundle; deleted by force when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    case: &'a Case,
    id: String,
    bundle: PathBuf,
}

/// What a verb did, with the words of tests.
#[derive(Debug)]
pub struct Done {
    /// The command line.
    pub name: String,
    /// Its end and output.
    pub output: Output,
}

impl Done {
    /// Runs a program.
    #[track_caller]
    pub fn run(program: Program) -> Self {
        Self { name: program.name(), output: program.run() }
    }

    /// Its standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Its standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn describe(&self) -> String {
        format!("{}: {}\nstdout: {}\nstderr: {}", self.name, self.output.status, self.stdout(), self.stderr())
    }

    /// Panics unless it succeeded; returns its standard output.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert!(self.output.status.success(), "{}", self.describe());
        self.stdout()
    }

    /// Panics unless it ended with this code and exactly one line on stderr, which is returned.
    #[track_caller]
    pub fn fails(&self, code: i32) -> String {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.describe());
        let text = self.stderr();
        let lines = text.lines().filter(|line| !line.is_empty()).count();
        assert!(lines == 1 || !crate::locate::is_runj(), "one line on stderr: {}", self.describe());
        text
    }

    /// Panics unless it failed in this way and says this.
    #[track_caller]
    pub fn fails_with(&self, code: i32, words: &str) -> &Self {
        let text = self.fails(code);
        assert!(text.contains(words), "says {words:?}: {}", self.describe());
        self
    }
}

impl<'a> Container<'a> {
    /// A container that is not created yet.
    pub fn new(case: &'a Case, bundle: &Path) -> Self {
        Self { case, id: case.id(), bundle: bundle.to_owned() }
    }

    /// The same with another id.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `create`, with options, not run yet. Its output, and the container's, goes to files.
    pub fn creator(&self, options: &[&str]) -> Program {
        let program = self.case.runj(["create", "--bundle"]).arg(&self.bundle).args(options);
        let program =
            if options.contains(&"--pid-file") { program } else { program.arg("--pid-file").arg(self.pid_file()) };
        let program = program.arg(&self.id);
        program.stdout(Stdio::File(self.log("out"))).stderr(Stdio::File(self.log("err")))
    }

    /// `create`.
    #[track_caller]
    pub fn create(&self) -> Done {
        self.create_with(&[])
    }

    /// `create` with options.
    #[track_caller]
    pub fn create_with(&self, options: &[&str]) -> Done {
        Done::run(self.creator(options))
    }

    /// `start`.
    #[track_caller]
    pub fn start(&self) -> Done {
        Done::run(self.case.runj(["start", &self.id]))
    }

    /// `state`.
    #[track_caller]
    pub fn state_command(&self) -> Done {
        Done::run(self.case.runj(["state", &self.id]))
    }

    /// What `state` prints.
    #[track_caller]
    pub fn state(&self) -> Value {
        let text = self.state_command().ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("state: {error}: {text}"))
    }

    /// The status.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until the status is this.
    #[track_caller]
    pub fn until_status(&self, status: &str) {
        let mut last = String::new();
        until(&format!("status {status}"), || {
            last = self.status();
            (last == status).then_some(())
        });
    }

    /// The pid of the container's process, as `create` reported it: also of one that has ended.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.pid_file()).expect("the pid file");
        text.parse().unwrap_or_else(|error| panic!("pid file: {text:?}: {error}"))
    }

    /// Where `create` writes the pid.
    pub fn pid_file(&self) -> PathBuf {
        self.log("pid")
    }

    /// `kill`.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Done {
        Done::run(self.case.runj(["kill", &self.id, signal]))
    }

    /// `kill` with other arguments.
    #[track_caller]
    pub fn kill_with(&self, options: &[&str], signal: Option<&str>) -> Done {
        Done::run(self.case.runj(["kill"]).args(options).arg(&self.id).args(signal))
    }

    /// `delete`.
    #[track_caller]
    pub fn delete(&self) -> Done {
        Done::run(self.case.runj(["delete", &self.id]))
    }

    /// `delete --force`.
    #[track_caller]
    pub fn delete_force(&self) -> Done {
        Done::run(self.case.runj(["delete", "--force", &self.id]))
    }

    /// `exec`, not run yet.
    pub fn executor(&self, options: &[&str], command: &[&str]) -> Program {
        self.case.runj(["exec"]).args(options).arg(&self.id).args(command)
    }

    /// `exec` of integ-inside.
    #[track_caller]
    pub fn exec(&self, check: &[&str]) -> Done {
        self.exec_with(&[], check)
    }

    /// `exec` of integ-inside with options.
    #[track_caller]
    pub fn exec_with(&self, options: &[&str], check: &[&str]) -> Done {
        Done::run(self.executor(options, &["/integ-inside"]).args(check))
    }

    /// `run`, not run yet.
    pub fn runner(&self, options: &[&str]) -> Program {
        self.case.runj(["run", "--bundle"]).arg(&self.bundle).args(options).arg(&self.id)
    }

    /// Waits for the container's process, whose reaper the harness is.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        let pid = self.pid();
        let status = until("the end of the container's process", || match ffi::try_wait(pid) {
            Ok(status) => status,
            Err(error) => panic!("wait for the container's process {pid}: {error}"),
        });
        ExitStatus::from_raw(status)
    }

    /// Waits for the end of the container's process and panics unless it succeeded.
    #[track_caller]
    pub fn passes(&self) {
        let status = self.wait();
        assert!(status.success(), "{status}\nstdout: {}\nstderr: {}", self.stdout(), self.stderr());
    }

    /// What the container (and `create`) wrote to stdout.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.log("out")).unwrap_or_default()
    }

    /// What the container (and `create`) wrote to stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.log("err")).unwrap_or_default()
    }

    /// Waits until the container has written this.
    #[track_caller]
    pub fn until_stdout(&self, text: &str) {
        until(&format!("{text:?} on stdout"), || self.stdout().contains(text).then_some(()));
    }

    fn log(&self, kind: &str) -> PathBuf {
        let name: String = self.id.chars().take(60).map(|c| if c == '/' { '_' } else { c }).collect();
        self.case.log(&format!("{name}.{kind}"))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if self.case.root().join(&self.id).exists() {
            self.case.runj(["delete", "--force", &self.id]).deadline(wait::patience()).run();
        }
    }
}

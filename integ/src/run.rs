//! Running programs: the one place where the harness starts any.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::{Duration, Instant};

use crate::{ffi, locate, wait};

/// What a program finds as a standard descriptor.
#[derive(Debug)]
pub enum Stdio {
    /// /dev/null.
    Null,
    /// A pipe to the harness.
    Piped,
    /// A file, written from its start. A container outlives its `create`, so a pipe would not end.
    File(PathBuf),
    /// A descriptor, a terminal's say.
    Fd(OwnedFd),
    /// Nothing: closed.
    Closed,
}

/// A program about to be started.
#[derive(Debug)]
pub struct Program {
    argv: Vec<Vec<u8>>,
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    input: Option<Vec<u8>>,
    stdio: [Stdio; 3],
    fds: Vec<(RawFd, OwnedFd)>,
    session: bool,
    controlling: bool,
    umask: Option<u32>,
    signals: Vec<i32>,
    nofile: Option<u64>,
    die_with_parent: bool,
    traced: bool,
    namespaces: i32,
    join: Vec<PathBuf>,
    deadline: Duration,
}

/// A started program.
#[derive(Debug)]
pub struct Running {
    /// Its pid.
    pub pid: i32,
    /// The other end of its standard input.
    pub stdin: Option<File>,
    /// The other end of its standard output.
    pub stdout: Option<File>,
    /// The other end of its standard error.
    pub stderr: Option<File>,
    name: String,
    files: [Option<PathBuf>; 2],
    deadline: Instant,
    status: Option<ExitStatus>,
}

impl Program {
    /// A program by path, with a plain environment, nothing on stdin and its output caught.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = if path.components().count() > 1 {
            path.to_owned()
        } else {
            let name = path.to_string_lossy();
            locate::program(&name).unwrap_or_else(|| panic!("{name}: not found"))
        };
        Self {
            argv: vec![path.as_os_str().as_bytes().to_vec()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]),
            cwd: None,
            input: None,
            stdio: [Stdio::Null, Stdio::Piped, Stdio::Piped],
            fds: Vec::new(),
            session: false,
            controlling: false,
            umask: None,
            signals: Vec::new(),
            nofile: None,
            die_with_parent: false,
            traced: false,
            namespaces: 0,
            join: Vec::new(),
            deadline: wait::patience(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.argv.push(argument.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().as_bytes().to_vec()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self
    }

    /// Starts from the environment of the harness.
    #[must_use]
    pub fn env_inherit(mut self) -> Self {
        for entry in ffi::environment() {
            if let Some((name, value)) = entry.split_once('=') {
                self.env.insert(name.to_owned(), value.to_owned());
            }
        }
        self
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cwd = Some(directory.into());
        self
    }

    /// What the program reads from its standard input.
    #[must_use]
    pub fn input(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.input = Some(text.into());
        self.stdio[0] = Stdio::Piped;
        self
    }

    /// Standard input.
    #[must_use]
    pub fn stdin(mut self, stdio: Stdio) -> Self {
        self.stdio[0] = stdio;
        self
    }

    /// Standard output.
    #[must_use]
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.stdio[1] = stdio;
        self
    }

    /// Standard error.
    #[must_use]
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.stdio[2] = stdio;
        self
    }

    /// A terminal as all three, and as the controlling terminal of a new session.
    #[must_use]
    pub fn terminal(mut self, slave: &OwnedFd) -> Self {
        for stdio in &mut self.stdio {
            *stdio = Stdio::Fd(slave.try_clone().expect("dup"));
        }
        self.session = true;
        self.controlling = true;
        self
    }

    /// Passes a descriptor under a number.
    #[must_use]
    pub fn fd(mut self, number: RawFd, fd: impl Into<OwnedFd>) -> Self {
        self.fds.push((number, fd.into()));
        self
    }

    /// The file mode creation mask that the program inherits.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Signals that the program inherits blocked and ignored.
    #[must_use]
    pub fn without_signals(mut self, signals: &[i32]) -> Self {
        self.signals = signals.to_vec();
        self
    }

    /// The limit of descriptors that the program inherits.
    #[must_use]
    pub fn nofile(mut self, limit: u64) -> Self {
        self.nofile = Some(limit);
        self
    }

    /// A session of its own.
    #[must_use]
    pub fn session(mut self) -> Self {
        self.session = true;
        self
    }

    /// Ends with the thread that started it, whatever ends that.
    #[must_use]
    pub fn die_with_parent(mut self) -> Self {
        self.die_with_parent = true;
        self
    }

    /// Traced by its parent (ptrace(2)): it stops when it is executed.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// In new namespaces (`CLONE_NEW*`; Linux).
    #[must_use]
    pub fn namespaces(mut self, flags: i32) -> Self {
        self.namespaces = flags;
        self
    }

    /// In another process's network (Linux).
    #[must_use]
    pub fn in_network_of(mut self, pid: i32) -> Self {
        self.join.push(PathBuf::from(format!("/proc/{pid}/ns/net")));
        self
    }

    /// Another deadline than [`wait::patience`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Its command line, for messages.
    pub fn name(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
        words.join(" ")
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let name = self.name();
        self.start().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn start(self) -> io::Result<Running> {
        let name = self.name();
        let mut ours: [Option<File>; 3] = [None, None, None];
        let mut files = [None, None];
        let mut theirs: Vec<(RawFd, OwnedFd)> = self.fds;
        let closed = self.stdio.iter().any(|stdio| matches!(stdio, Stdio::Closed));
        for (number, stdio) in self.stdio.into_iter().enumerate() {
            let fd: OwnedFd = match stdio {
                Stdio::Null => File::options().read(true).write(true).open("/dev/null")?.into(),
                Stdio::Fd(fd) => fd,
                Stdio::Closed => continue,
                Stdio::File(path) => {
                    let file = if number == 0 { File::open(&path)? } else { File::create(&path)? };
                    if number > 0 {
                        files[number - 1] = Some(path);
                    }
                    file.into()
                }
                Stdio::Piped => {
                    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
                    let (mine, its) = if number == 0 { (write, read) } else { (read, write) };
                    ours[number] = Some(mine.into());
                    its
                }
            };
            theirs.push((number as RawFd, fd));
        }
        let strings = |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let argv = strings(self.argv)?;
        let env = strings(self.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect())?;
        let cwd = self.cwd.map(|path| CString::new(path.as_os_str().as_bytes())).transpose()?;
        let join = self.join.iter().map(File::open).collect::<io::Result<Vec<_>>>()?;
        fs::metadata(std::ffi::OsStr::from_bytes(argv[0].to_bytes()))?;
        let _gap = closed.then(StandardGap::new).transpose()?;
        let pid = ffi::spawn(&ffi::Spawn {
            argv: &argv,
            env: &env,
            cwd: cwd.as_deref(),
            fds: &theirs.iter().map(|(number, fd)| (*number, fd.as_raw_fd())).collect::<Vec<_>>(),
            session: self.session,
            controlling: self.controlling,
            umask: self.umask,
            signals: &self.signals,
            nofile: self.nofile,
            die_with_parent: self.die_with_parent,
            traced: self.traced,
            namespaces: self.namespaces,
            join: &join.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(),
        })?;
        drop(theirs);
        let [mut stdin, stdout, stderr] = ours;
        if let Some(input) = self.input {
            let mut pipe = stdin.take().expect("piped");
            // A program that does not read its input is its own matter.
            let _ = pipe.write_all(&input);
        }
        let deadline = Instant::now() + self.deadline;
        Ok(Running { pid, stdin, stdout, stderr, name, files, deadline, status: None })
    }

    /// Runs it to its end; what it wrote to a file counts as its output too.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().output()
    }

    /// Runs it and panics unless it succeeds; returns what it wrote to stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        let name = self.name();
        let output = self.run();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{name}: {}\nstdout: {}\nstderr: {}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
}

/// Marks the standard descriptors of the harness close-on-exec while a program is started without one of them.
struct StandardGap;

impl StandardGap {
    fn new() -> io::Result<Self> {
        Self::set(nix::fcntl::FdFlag::FD_CLOEXEC)?;
        Ok(Self)
    }

    fn set(flag: nix::fcntl::FdFlag) -> io::Result<()> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(flag))?;
        }
        Ok(())
    }
}

impl Drop for StandardGap {
    fn drop(&mut self) {
        let _ = Self::set(nix::fcntl::FdFlag::empty());
    }
}

impl Running {
    /// Whether it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = ffi::try_wait(self.pid).expect("wait").map(ExitStatus::from_raw);
        }
        self.status
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            if Instant::now() > self.deadline {
                let _ = ffi::kill(self.pid, libc::SIGKILL);
                let _ = ffi::wait(self.pid);
                panic!("{}: did not end in time", self.name);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn kill(&self, signal: i32) {
        ffi::kill(self.pid, signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for its end and gathers its output. Its input ends first.
    #[track_caller]
    pub fn output(mut self) -> Output {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let expired = !self.gather(&mut stdout, &mut stderr);
        if expired {
            let _ = ffi::kill(self.pid, libc::SIGKILL);
            let _ = ffi::wait(self.pid);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            panic!("{}: did not end in time\nstdout: {}\nstderr: {}", self.name, text(&stdout), text(&stderr));
        }
        let status = self.wait();
        for (path, text) in self.files.iter().zip([&mut stdout, &mut stderr]) {
            if let Some(path) = path {
                *text = fs::read(path).unwrap_or_default();
            }
        }
        Output { status, stdout, stderr }
    }

    /// Reads both pipes until they end; false when the time is over before that.
    fn gather(&mut self, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut buffer = vec![0; 1 << 16];
        while self.stdout.is_some() || self.stderr.is_some() {
            if Instant::now() > self.deadline {
                return false;
            }
            let pipes = [&self.stdout, &self.stderr];
            let mut fds: Vec<PollFd<'_>> = pipes
                .iter()
                .filter_map(|pipe| pipe.as_ref())
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
                .collect();
            if poll(&mut fds, PollTimeout::from(100u8)).unwrap_or(0) == 0 {
                continue;
            }
            drop(fds);
            for (pipe, text) in [(&mut self.stdout, &mut *stdout), (&mut self.stderr, &mut *stderr)] {
                let ready = pipe.as_ref().is_some_and(|pipe| {
                    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
                    poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) > 0
                });
                if ready {
                    match pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
                        Some(Ok(count)) if count > 0 => text.extend_from_slice(&buffer[..count]),
                        _ => *pipe = None,
                    }
                }
            }
        }
        true
    }

    /// Reads from stdout until this text has come; returns all that was read.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        let pipe = self.stdout.as_mut().expect("stdout is piped");
        crate::console::read_until(pipe, text)
    }
}

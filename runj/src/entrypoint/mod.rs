//! The entrypoint: the forked child that enters the jail and becomes the container's program.
//!
//! It sanitises itself before anything else, tells its creator what it reached, and waits for `start`. It has no
//! environment, no descriptor and no controlling terminal of its creator's.

pub mod credentials;
pub mod report;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::hook;
use crate::id::Jid;
use crate::plan::Hooks;
use crate::plan::process::ProcessPlan;
use crate::state::{OciState, Status};
use crate::sys::limit::Limits;
use crate::sys::unix::{self, BrokenPipes};
use crate::sys::{Kernel, SysError};
use report::{Failure, Report};

/// The umask of a container whose bundle names none.
const DEFAULT_UMASK: u16 = 0o022;

/// What the creator writes when its hooks are done.
pub const PROCEED: u8 = b'p';
/// What the creator writes when the container is recorded.
pub const COMMIT: u8 = b'c';
/// What `start` writes.
pub const START: u8 = b's';

/// How the child talks with those who wait for it.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a> {
    /// `exec`: it goes on at once; the report ends by close-on-exec.
    Exec {
        /// Where reports go.
        report: BorrowedFd<'a>,
    },
    /// `create`: it waits for its creator, then for `start`.
    Create {
        /// Where reports to the creator go.
        report: BorrowedFd<'a>,
        /// From the creator: [`PROCEED`] with the pid if there are hooks, then [`COMMIT`]; its end means that the creator died.
        commit: BorrowedFd<'a>,
        /// `start.fifo`, opened read-write.
        start: BorrowedFd<'a>,
        /// `status.fifo`, opened read-write.
        status: BorrowedFd<'a>,
        /// The hooks.
        hooks: &'a Hooks,
        /// The state for the hooks.
        state: &'a OciState,
    },
}

/// Everything that the child needs, prepared before it is forked.
#[derive(Clone, Copy, Debug)]
pub struct Entrypoint<'a> {
    /// The jail.
    pub jid: Jid,
    /// The jail's root on the host.
    pub root: &'a Path,
    /// The program.
    pub process: &'a ProcessPlan,
    /// Limits that have to be joined.
    pub limits: &'a Limits,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u16,
    /// The terminal.
    pub terminal: Option<BorrowedFd<'a>>,
    /// Whom to tell.
    pub gate: Gate<'a>,
}

/// The child's whole life. Returns only when it failed; the failure has been reported.
pub fn run(kernel: &impl Kernel, entrypoint: &Entrypoint<'_>) -> i32 {
    let failure = match become_container(kernel, entrypoint) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let exit = i32::from(failure.exit);
    // Before `start` the creator listens, after it `start` does; nobody reads the other one any more.
    let outlets = match entrypoint.gate {
        Gate::Exec { report } => [Some(report), None],
        Gate::Create { report, status, .. } => [Some(report), Some(status)],
    };
    for outlet in outlets.into_iter().flatten() {
        let _ = send(outlet, &Report::Failed(failure.clone()));
    }
    exit
}

fn become_container(kernel: &impl Kernel, entrypoint: &Entrypoint<'_>) -> Result<std::convert::Infallible, Failure> {
    sanitise(kernel, entrypoint)?;
    kernel.limits_join(entrypoint.limits).map_err(|error| Failure::new("limits", error))?;
    let mut state_of_hooks = None;
    if let Gate::Create { commit, hooks, state, .. } = entrypoint.gate {
        // Without hooks there is nothing to wait for: until COMMIT nothing is done that the creator's end would not undo.
        if hooks.any_before_program() {
            await_byte(commit, PROCEED)?;
            // On Linux a process of the jail does not know its number on the host.
            state_of_hooks = Some(OciState { pid: Some(receive_pid(commit)?), ..state.clone() });
        }
    }
    kernel.jail_enter(entrypoint.jid).map_err(|error| Failure::new("enter the jail", error))?;
    if let (Gate::Create { hooks, .. }, Some(state)) = (entrypoint.gate, &state_of_hooks) {
        hook::run_all("createContainer", &hooks.create_container, &hook_state(state, Status::Creating)?)
            .map_err(|error| Failure::new("createContainer", error))?;
    }
    kernel.jail_attach(entrypoint.jid, entrypoint.root).map_err(|error| Failure::new("attach to the jail", error))?;

    let process = entrypoint.process;
    if let Some(terminal) = entrypoint.terminal {
        take_terminal(terminal, process)?;
    }
    let environment = credentials::environment(process);
    change_directory(&process.cwd)?;
    let program = find_program(&process.args, &environment)?;
    let status = match entrypoint.gate {
        Gate::Exec { report } => report,
        Gate::Create { report, commit, start, status, hooks, .. } => {
            send(report, &Report::Ready)?;
            await_byte(commit, COMMIT)?;
            await_byte(start, START)?;
            if let Some(state) = &state_of_hooks {
                hook::run_all("startContainer", &hooks.start_container, &hook_state(state, Status::Created)?)
                    .map_err(|error| Failure::new("startContainer", error))?;
            }
            status
        }
    };
    execute(kernel, entrypoint, &program, &environment, status)
}

/// Leaves everything of the creator's behind.
fn sanitise(kernel: &impl Kernel, entrypoint: &Entrypoint<'_>) -> Result<(), Failure> {
    let mut keep: BTreeSet<RawFd> = (0..3 + RawFd::from(entrypoint.preserve_fds)).collect();
    keep.extend(entrypoint.terminal.map(|fd| fd.as_raw_fd()));
    match entrypoint.gate {
        Gate::Exec { report } => keep.extend([report.as_raw_fd()]),
        Gate::Create { report, commit, start, status, .. } => {
            keep.extend([report, commit, start, status].map(|fd| fd.as_raw_fd()));
        }
    }
    unix::close_descriptors_except(&keep);
    nix::unistd::setsid().map_err(|errno| Failure::new("setsid", SysError::new("setsid", errno)))?;
    unix::reset_signals();
    // Until the program is executed: a hook that does not read its state, or a creator that is gone, is no reason to die.
    unix::set_broken_pipes(BrokenPipes::AreErrors);
    nix::sys::stat::umask(mode(DEFAULT_UMASK));
    kernel.forbid_tracing().map_err(|error| Failure::new("forbid tracing", error))?;
    unix::clear_environment();
    for fd in (3..).take(entrypoint.preserve_fds.into()) {
        unix::keep_on_exec(fd).map_err(|error| Failure::new("preserve descriptors", error))?;
    }
    Ok(())
}

fn mode(bits: u16) -> nix::sys::stat::Mode {
    #[allow(clippy::useless_conversion)] // mode_t has 16 bits on FreeBSD, 32 on Linux
    nix::sys::stat::Mode::from_bits_truncate(bits.into())
}

fn hook_state(state: &OciState, status: Status) -> Result<Vec<u8>, Failure> {
    let state = OciState { status, pid: Some(nix::unistd::getpid().as_raw()), ..state.clone() };
    serde_json::to_vec(&state).map_err(|error| Failure::new("state for the hooks", error))
}

/// Waits for one byte; the end of the file means that nobody will send it any more.
fn await_byte(fd: BorrowedFd<'_>, expected: u8) -> Result<(), Failure> {
    let mut byte = [0];
    loop {
        match nix::unistd::read(fd, &mut byte) {
            Ok(1) if byte[0] == expected => return Ok(()),
            Ok(_) => return Err(Failure::new("wait", "the creator is gone")),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new("wait", SysError::new("wait", errno))),
        }
    }
}

/// Reads the number by which the host knows this process, as [`proceed`] sends it.
fn receive_pid(fd: BorrowedFd<'_>) -> Result<i32, Failure> {
    let mut bytes = [0; 4];
    match nix::unistd::read(fd, &mut bytes) {
        Ok(4) => Ok(i32::from_ne_bytes(bytes)),
        _ => Err(Failure::new("wait", "the creator is gone")),
    }
}

fn send(fd: BorrowedFd<'_>, report: &Report) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(report).map_err(|error| Failure::new("report", error))?;
    line.push(b'\n');
    Descriptor(fd).write_all(&line).map_err(|error| Failure::new("report", error))
}

/// Makes the terminal the session's, inside the jail: only then its name works there.
fn take_terminal(terminal: BorrowedFd<'_>, process: &ProcessPlan) -> Result<(), Failure> {
    let failed = |error: SysError| Failure::new("terminal", error);
    unix::set_controlling_terminal(terminal).map_err(failed)?;
    let owner = nix::unistd::Uid::from_raw(process.user.uid);
    nix::unistd::fchown(terminal, Some(owner), None)
        .map_err(|errno| failed(SysError::new("owner of the terminal", errno)))?;
    unix::replace_stdio(terminal, terminal, terminal).map_err(failed)
}

/// chdir(2), inside the jail and as its root.
fn change_directory(cwd: &Path) -> Result<(), Failure> {
    nix::unistd::chdir(cwd).map_err(|errno| {
        Failure::new("working directory", SysError::new(format!("process.cwd {}", cwd.display()), errno))
    })
}

/// Finds the program as execvp(3) does, with the container's PATH, inside the jail.
fn find_program(args: &[String], environment: &[String]) -> Result<PathBuf, Failure> {
    /// What libc takes where there is no PATH.
    const DEFAULT_PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";
    let name = args.first().map(String::as_str).unwrap_or_default();
    if name.contains('/') {
        let path = PathBuf::from(name);
        return check_program(&path)
            .map(|()| path)
            .map_err(|errno| Failure::exec(name, &format!("stat {name}"), errno));
    }
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = None;
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match check_program(&candidate) {
            Ok(()) if !name.is_empty() => return Ok(candidate),
            Err(errno @ (Errno::EACCES | Errno::EISDIR)) => denied = Some((candidate, errno)),
            _ => {}
        }
    }
    match denied {
        Some((candidate, errno)) => Err(Failure::exec(name, &candidate.display().to_string(), errno)),
        None => Err(Failure::not_in_path(name)),
    }
}

fn check_program(path: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG if stat.st_mode & 0o111 != 0 => Ok(()),
        libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

/// The last steps: limits, privileges, the mark that says "executing", execve(2).
fn execute(
    kernel: &impl Kernel,
    entrypoint: &Entrypoint<'_>,
    program: &Path,
    environment: &[String],
    status: BorrowedFd<'_>,
) -> Result<std::convert::Infallible, Failure> {
    let process = entrypoint.process;
    let text = |text: &[u8]| CString::new(text).map_err(|error| Failure::new("arguments", error));
    let path = text(program.as_os_str().as_bytes())?;
    let args = process.args.iter().map(|arg| text(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let env = environment.iter().map(|entry| text(entry.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    for limit in &process.rlimits {
        kernel.set_rlimit(limit).map_err(|error| Failure::new("process.rlimits", error))?;
    }
    if process.no_new_privileges {
        kernel.set_no_new_privileges().map_err(|error| Failure::new("process.noNewPrivileges", error))?;
    }
    nix::sys::stat::umask(mode(process.umask.unwrap_or(DEFAULT_UMASK)));
    kernel.become_user(&process.user).map_err(|error| Failure::new("process.user", error))?;
    send(status, &Report::Executing)?;
    unix::set_broken_pipes(BrokenPipes::Kill);
    let Err(errno) = nix::unistd::execve(&path, &args, &env);
    unix::set_broken_pipes(BrokenPipes::AreErrors);
    Err(Failure::exec(&process.args[0], &program.display().to_string(), errno))
}

/// Reads reports until the other side is closed or `until` says that this one is enough.
pub fn receive(fd: impl AsFd, until: impl Fn(&Report) -> bool) -> std::io::Result<Vec<Report>> {
    let mut reader = std::io::BufReader::with_capacity(512, Descriptor(fd.as_fd()));
    let mut reports = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        // A line is at most a path and an error text.
        let count = std::io::BufRead::read_line(&mut Read::by_ref(&mut reader).take(1 << 20), &mut line)?;
        if count == 0 {
            return Ok(reports);
        }
        let report: Report = serde_json::from_str(&line)?;
        let enough = until(&report);
        reports.push(report);
        if enough {
            return Ok(reports);
        }
    }
}

/// Tells an entrypoint that its creator's hooks are done, and by which pid the host knows it. One write: a pipe does
/// not tear so little.
pub fn proceed(fd: BorrowedFd<'_>, pid: i32) -> std::io::Result<()> {
    let mut message = vec![PROCEED];
    message.extend(pid.to_ne_bytes());
    Descriptor(fd).write_all(&message)
}

/// Writes one byte to an entrypoint that waits for it.
pub fn signal_byte(fd: BorrowedFd<'_>, byte: u8) -> std::io::Result<()> {
    Descriptor(fd).write_all(&[byte])
}

/// A descriptor as something to read from and write to.
struct Descriptor<'a>(BorrowedFd<'a>);

impl Read for Descriptor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(nix::unistd::read(self.0, buffer)?)
    }
}

impl Write for Descriptor<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(nix::unistd::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

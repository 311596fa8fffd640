//! Hooks: programs of the bundle's author that run at points of the lifecycle
//! (runtime-spec, config.md "POSIX-platform Hooks").
//!
//! The container's state on standard input, exactly the hook's argv and environment, a session of its own, no
//! descriptor of runj's. After its time the whole process group is killed.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use thiserror::Error;

use crate::plan::Hook;
use crate::sys::{SysError, unix};

/// How much of what a hook prints is kept for the error text, in bytes.
const OUTPUT_KEPT: usize = 2048;

/// A hook that did not succeed.
#[derive(Debug, Error)]
#[error("hook {kind}[{index}] {path}: {reason}", path = path.display())]
pub struct HookError {
    /// Its kind, as `createRuntime`
    pub kind: &'static str,
    /// Its place in the list
    pub index: usize,
    /// Its program
    pub path: PathBuf,
    /// What happened
    pub reason: String,
}

/// Runs the hooks of a kind in order, each with `state` on its standard input; the first that fails ends it.
pub fn run_all(kind: &'static str, hooks: &[Hook], state: &[u8]) -> Result<(), HookError> {
    for (index, hook) in hooks.iter().enumerate() {
        run(hook, state).map_err(|reason| HookError { kind, index, path: hook.path.clone(), reason })?;
    }
    Ok(())
}

/// Runs one hook to its end.
fn run(hook: &Hook, state: &[u8]) -> Result<(), String> {
    let deadline = hook
        .timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let spawned = spawn(hook).map_err(|error| error.to_string())?;
    let outcome = attend(spawned, state, deadline);
    match outcome {
        Ok((WaitStatus::Exited(_, 0), _)) => Ok(()),
        Ok((WaitStatus::Exited(_, 127), output)) if output.starts_with(b"execve: ") => {
            Err(String::from_utf8_lossy(&output[8..]).into_owned())
        }
        Ok((WaitStatus::Exited(_, code), output)) => Err(format!("exit status {code}{}", quoted(&output))),
        Ok((WaitStatus::Signaled(_, signal, _), output)) => Err(format!("killed by {signal}{}", quoted(&output))),
        Ok((status, _)) => Err(format!("{status:?}")),
        Err(Unfinished::TimedOut) => Err(format!("killed after its timeout of {} s", hook.timeout.unwrap_or_default())),
        Err(Unfinished::Error(errno)) => Err(errno.to_string()),
    }
}

fn quoted(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    match text.trim() {
        "" => String::new(),
        // One line per error.
        text => format!(": {}", text.replace('\n', " | ")),
    }
}

struct Spawned {
    pid: Pid,
    stdin: OwnedFd,
    output: OwnedFd,
}

fn spawn(hook: &Hook) -> Result<Spawned, SysError> {
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|_| SysError::new(format!("hook {}", hook.path.display()), Errno::EINVAL))
    };
    let path = text(hook.path.as_os_str().as_bytes())?;
    let args = match hook.args.as_slice() {
        [] => vec![path.clone()],
        args => args.iter().map(|arg| text(arg.as_bytes())).collect::<Result<_, _>>()?,
    };
    let env = hook.env.iter().map(|entry| text(entry.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let (their_stdin, stdin) = unix::pipe()?;
    let (output, their_output) = unix::pipe()?;
    let pid = unix::fork(&mut || {
        let _ = nix::unistd::setsid();
        unix::reset_signals();
        let stdio = unix::replace_stdio(their_stdin.as_fd(), their_output.as_fd(), their_output.as_fd());
        let errno = match stdio {
            Ok(()) => {
                unix::close_descriptors_except(&[0, 1, 2].into());
                let Err(errno) = nix::unistd::execve(&path, &args, &env);
                errno
            }
            Err(error) => error.errno,
        };
        let message = format!("execve: {}", errno.desc());
        let _ = nix::unistd::write(std::io::stderr(), message.as_bytes());
        127
    })?;
    Ok(Spawned { pid: Pid::from_raw(pid), stdin, output })
}

enum Unfinished {
    TimedOut,
    Error(Errno),
}

impl From<Errno> for Unfinished {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// Feeds the hook, keeps the end of what it prints, waits for it, kills its group when its time is over.
fn attend(spawned: Spawned, state: &[u8], deadline: Option<Instant>) -> Result<(WaitStatus, Vec<u8>), Unfinished> {
    let Spawned { pid, stdin, output } = spawned;
    let result = attend_until_exit(pid, stdin, &output, state, deadline);
    if result.is_err() {
        // It leads a session of its own, so its pid is its group.
        let _ = nix::sys::signal::killpg(pid, nix::sys::signal::SIGKILL);
        let _ = waitpid(pid, None);
    }
    result
}

fn attend_until_exit(
    pid: Pid,
    stdin: OwnedFd,
    output: &OwnedFd,
    state: &[u8],
    deadline: Option<Instant>,
) -> Result<(WaitStatus, Vec<u8>), Unfinished> {
    let mut kept = Vec::new();
    unix::set_nonblocking(stdin.as_fd())?;
    unix::set_nonblocking(output.as_fd())?;
    let mut writer = Some(std::fs::File::from(stdin));
    let mut rest = state;
    let mut open_output = true;
    loop {
        if let Some(file) = &mut writer {
            match file.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // A hook need not read its state.
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                writer = None;
            }
        }
        open_output = open_output && drain(output, &mut kept);
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Err(Errno::EINTR) => continue,
            other => {
                let status = other?;
                drain(output, &mut kept);
                return Ok((status, kept));
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Unfinished::TimedOut);
        }
        // Its output ends with it, as a rule; a short wait covers a hook that closed its own.
        let longest = Duration::from_millis(if open_output { 50 } else { 1 });
        let wait = left.map_or(longest, |left| left.min(longest));
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        let mut fds = Vec::with_capacity(2);
        if open_output {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        if let Some(file) = &writer {
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLOUT));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads what is there; false at the end of file.
fn drain(output: &OwnedFd, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match nix::unistd::read(output.as_fd(), &mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                let surplus = kept.len().saturating_sub(OUTPUT_KEPT);
                kept.drain(..surplus);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["A=1".into()],
            timeout: None,
        }
    }

    #[test]
    fn state_argv_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let script = format!("cat > {0}; echo \"$0 $A ${{HOME-none}}\" >> {0}", file.display());
        run_all("prestart", &[shell(&script)], b"{\"id\":1}").unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"id\":1}sh 1 none\n");
    }

    #[test]
    fn a_hook_that_reads_nothing_of_a_large_state() {
        run_all("prestart", &[shell("exit 0")], &vec![b'x'; 1 << 20]).unwrap();
    }

    #[test]
    fn failures_say_what_happened() {
        let error = |hook| run_all("poststop", &[hook], b"").unwrap_err().to_string();
        assert_eq!(error(shell("echo why >&2; exit 3")), "hook poststop[0] /bin/sh: exit status 3: why");
        assert_eq!(error(shell("kill -9 $$")), "hook poststop[0] /bin/sh: killed by SIGKILL");
        let missing = Hook { path: "/nonexistent/hook".into(), ..Hook::default() };
        assert_eq!(error(missing), "hook poststop[0] /nonexistent/hook: No such file or directory");
    }

    #[test]
    fn a_timeout_kills_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let hook = Hook { timeout: Some(1), ..shell(&script) };
        let error = run_all("prestart", &[hook], b"").unwrap_err().to_string();
        assert!(error.contains("killed after its timeout of 1 s"), "{error}");
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let host = crate::sys::Host::new(dir.path());
        while crate::sys::Processes::identity(&host, pid).unwrap().is_some() {
            assert!(Instant::now() < deadline, "the hook's child {pid} lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_first_failure_ends_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("made");
        let hooks = [shell("exit 1"), shell(&format!("touch {}", file.display()))];
        assert_eq!(run_all("prestart", &hooks, b"").unwrap_err().index, 0);
        assert!(!file.exists());
    }
}

//! A program that reads a container's output (`binary://`): standard output on its descriptor 3, standard error on 4;
//! on 5 it says when it is ready.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Logger, Ready};
use crate::error::{Error, Result};
use crate::reaper::{Exit, Reaper};
use crate::runj::{null, pipe_to_us};
use crate::sys::spawn::{Group, spawn};

/// How long a logger may take to become ready.
const READY: Duration = Duration::from_secs(10);

/// How long it may take to end after its input has ended, and again after SIGTERM.
const END: Duration = Duration::from_secs(10);

/// Whose output a logger reads.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The container or exec.
    pub id: &'a str,
    /// The containerd namespace.
    pub namespace: &'a str,
}

/// A logger that is at work.
#[derive(Debug)]
pub struct RunningLogger {
    pid: Pid,
    exit: oneshot::Receiver<Exit>,
}

/// Starts a logger and waits until it is ready; returns the pipes that it reads.
pub async fn start(logger: &Logger, whose: Whose<'_>, reaper: &Reaper) -> Result<(RunningLogger, [OwnedFd; 2])> {
    let refuse = |error: std::io::Error| Error::unknown(format!("logger {}: {error}", logger.program.display()));
    let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| refuse(errno.into()));
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    let (mut ready, signal) = pipe_to_us().map_err(refuse)?;
    let nothing = null().map_err(refuse)?;
    let fds = [nothing.as_fd(), nothing.as_fd(), nothing.as_fd(), out.as_fd(), err.as_fd(), signal.as_fd()];
    let args: Vec<&[u8]> = logger.args.iter().map(String::as_bytes).collect();
    let env = [("CONTAINER_ID", whose.id.as_bytes()), ("CONTAINER_NAMESPACE", whose.namespace.as_bytes())];
    let pid = spawn(&logger.program, &args, &env, &fds, Group::Own).map_err(|errno| refuse(errno.into()))?;
    let running = RunningLogger { pid, exit: reaper.exit_of(pid.as_raw()) };
    drop((out, err, signal));
    let mut byte = [0];
    let problem = match timeout(READY, ready.read(&mut byte)).await {
        Ok(Ok(1)) => None,
        Ok(Ok(_)) if logger.ready == Ready::Closing => None,
        Ok(Ok(_)) => Some("ended without saying that it is ready".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("not ready within {} s", READY.as_secs())),
    };
    match problem {
        None => Ok((running, [stdout, stderr])),
        Some(problem) => {
            let _ = kill(pid, Signal::SIGKILL);
            Err(Error::unknown(format!("logger {}: {problem}", logger.program.display())))
        }
    }
}

impl RunningLogger {
    /// Waits for its end, which follows that of its input.
    pub async fn end(mut self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if timeout(END, &mut self.exit).await.is_ok() {
                return;
            }
            log::warn!("logger {}: still there after {} s: {signal}", self.pid, END.as_secs());
            // It was not reaped, so the pid is still its own.
            let _ = kill(self.pid, signal);
        }
    }
}

//! Attending to a child in the foreground: signals are forwarded, the terminal is relayed, the exit status
//! becomes ours.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{self, SetArg, Termios};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Error, Result};
use crate::sys::{SysError, unix};

/// What runj passes on to the container instead of obeying it.
const FORWARDED: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
];

/// How much is held of either direction of a terminal, in bytes.
const BUFFER: usize = 16 << 10;

/// Begins to hold signals back, before there is a child to pass them on to.
pub fn watch() -> Result<()> {
    let mut signals = FORWARDED.to_vec();
    signals.extend([libc::SIGCHLD, libc::SIGWINCH]);
    Ok(unix::watch_signals(&signals)?)
}

/// Attends to a child until it ends; returns its exit code, 128 + n for a signal.
pub fn attend(pid: i32, master: Option<OwnedFd>) -> Result<u8> {
    let pid = Pid::from_raw(pid);
    match master {
        None => wait(pid),
        Some(master) => {
            let raw = RawTerminal::enter();
            let outcome = relay(pid, &master);
            drop(raw);
            outcome
        }
    }
}

fn wait(pid: Pid) -> Result<u8> {
    loop {
        if let Some(code) = reap(pid)? {
            return Ok(code);
        }
        forward(pid, &wait_for(&mut [])?);
    }
}

fn wait_for(fds: &mut [PollFd<'_>]) -> Result<Vec<i32>> {
    Ok(unix::wait_for_io(fds).map_err(|errno| SysError::new("wait", errno))?)
}

fn forward(pid: Pid, signals: &[i32]) {
    for &number in signals.iter().filter(|number| FORWARDED.contains(number)) {
        if let Ok(signal) = nix::sys::signal::Signal::try_from(number) {
            // It is our child and not reaped: its pid is its own.
            let _ = nix::sys::signal::kill(pid, signal);
        }
    }
}

fn reap(pid: Pid) -> Result<Option<u8>> {
    loop {
        return match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))),
            Ok(_) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(Error::Sys(SysError::new(format!("wait for {pid}"), errno))),
        };
    }
}

/// One direction of the terminal.
#[derive(Default)]
struct Flow {
    held: Vec<u8>,
    ended: bool,
}

impl Flow {
    fn wants_input(&self) -> bool {
        !self.ended && self.held.len() < BUFFER
    }

    /// Reads once; the end of the file and an error end the flow (a terminal without processes answers EIO on Linux
    /// and the end of the file on FreeBSD).
    fn fill(&mut self, from: BorrowedFd<'_>) {
        let mut buffer = [0; BUFFER];
        match nix::unistd::read(from, &mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.held.extend_from_slice(&buffer[..count]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.ended = true,
        }
    }

    fn flush(&mut self, to: BorrowedFd<'_>) {
        match nix::unistd::write(to, &self.held) {
            Ok(count) => {
                self.held.drain(..count);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.ended = true;
                self.held.clear();
            }
        }
    }
}

fn relay(pid: Pid, master: &OwnedFd) -> Result<u8> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    unix::set_nonblocking(master.as_fd()).map_err(|errno| SysError::new("terminal", errno))?;
    copy_size(stdin.as_fd(), master.as_fd());
    let (mut input, mut output) = (Flow::default(), Flow::default());
    let mut code = None;
    loop {
        code = match code {
            None => reap(pid)?,
            known => known,
        };
        if let Some(code) = code {
            // What the terminal still holds is shown to the last byte; who else holds it open is not waited for.
            drain(&mut output, master, stdout.as_fd());
            return Ok(code);
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, output.wants_input());
        flags.set(PollFlags::POLLOUT, !input.held.is_empty());
        let mut fds = Vec::with_capacity(3);
        // A hang-up is reported whether asked for or not: an ended terminal must not be polled.
        if !output.ended {
            fds.push(PollFd::new(master.as_fd(), flags));
        }
        if input.wants_input() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        if !output.held.is_empty() {
            fds.push(PollFd::new(stdout.as_fd(), PollFlags::POLLOUT));
        }
        let signals = wait_for(&mut fds)?;
        let ready = |fd: BorrowedFd<'_>, flag: PollFlags| {
            use std::os::fd::AsRawFd;
            fds.iter().any(|entry| {
                entry.as_fd().as_raw_fd() == fd.as_raw_fd()
                    && entry.revents().is_some_and(|got| got.intersects(flag | PollFlags::POLLHUP | PollFlags::POLLERR))
            })
        };
        let from_master = ready(master.as_fd(), PollFlags::POLLIN);
        let to_master = ready(master.as_fd(), PollFlags::POLLOUT);
        let from_stdin = ready(stdin.as_fd(), PollFlags::POLLIN);
        let to_stdout = ready(stdout.as_fd(), PollFlags::POLLOUT);
        drop(fds);
        if signals.contains(&libc::SIGWINCH) {
            copy_size(stdin.as_fd(), master.as_fd());
        }
        forward(pid, &signals);
        if from_master && output.wants_input() {
            output.fill(master.as_fd());
        }
        if to_master && !input.held.is_empty() {
            input.flush(master.as_fd());
        }
        if from_stdin && input.wants_input() {
            input.fill(stdin.as_fd());
        }
        if to_stdout && !output.held.is_empty() {
            output.flush(stdout.as_fd());
        }
    }
}

fn drain(output: &mut Flow, master: &OwnedFd, stdout: BorrowedFd<'_>) {
    loop {
        while !output.held.is_empty() {
            output.flush(stdout);
        }
        let before = output.held.len();
        if output.ended {
            return;
        }
        output.fill(master.as_fd());
        if output.held.len() == before {
            return;
        }
    }
}

/// Gives the terminal the size of ours.
fn copy_size(ours: BorrowedFd<'_>, master: BorrowedFd<'_>) {
    if let Some((rows, columns)) = unix::window_size(ours) {
        let _ = unix::set_window_size(master, rows, columns);
    }
}

/// Our own terminal in raw mode, for as long as this lives.
struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let before = if stdin.is_terminal() { termios::tcgetattr(&stdin).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            termios::cfmakeraw(&mut raw);
            let _ = termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw);
        }
        Self { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

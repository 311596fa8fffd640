//! The only unsafe code of the shim: the environment, an inherited socket, children, a terminal's window.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::unix::AsyncFd;

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// The environment as `NAME=value`. std's own way needs dlsym(3), which a static FreeBSD program does not have.
pub fn environment() -> Vec<CString> {
    let mut list = Vec::new();
    // SAFETY: the C library's NULL-terminated array of strings; the shim never changes it.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            list.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    list
}

/// Takes over a descriptor that this program was started with, if it is open. To be called once for each number,
/// before anything else is opened.
pub fn inherited(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: fcntl(2) on a number; it is refused unless the number is open.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by the contract above nothing else in this program owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A copy of a descriptor with at least this number, closed on execve.
pub fn duplicate(fd: BorrowedFd<'_>, least: RawFd) -> nix::Result<OwnedFd> {
    let number = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes a descriptor that came with a message (`SCM_RIGHTS`) and is there already; nothing if none came.
pub fn receive(stream: &UnixStream) -> nix::Result<Option<OwnedFd>> {
    let mut payload = [0; 256];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made them, for us alone.
            let mut fds = numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) });
            received = received.or(fds.next());
            fds.for_each(drop);
        }
    }
    Ok(received)
}

/// Takes the end of one child that has ended, if there is one. Not by nix, whose way loses a child that a real-time
/// signal has ended.
pub fn reap() -> nix::Result<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes one integer, which lives until the call returns.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })?;
    Ok((pid > 0).then(|| (pid, ExitStatus::from_raw(status))))
}

/// A descriptor whose readiness the runtime watches. To be called within the runtime.
pub fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its number and stays open until the AsyncFd, which owns it now, is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

/// Sets the size of a terminal's window; the programs in it get SIGWINCH.
pub fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize, which lives until the call returns.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// How many bytes of a pipe nobody has read yet.
pub fn unread(pipe: BorrowedFd<'_>) -> nix::Result<i32> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes a number, which lives until the call returns.
    Errno::result(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) }).map(|_| count)
}

/// Makes this process the reaper of its descendants (procctl(2)).
#[cfg(target_os = "freebsd")]
pub fn acquire_reaper() -> nix::Result<()> {
    // Not 0 for the calling process: FreeBSD 12.1 refuses it (EPERM).
    let own = libc::id_t::from(std::process::id());
    // SAFETY: PROC_REAP_ACQUIRE takes no argument.
    let result = unsafe { libc::procctl(libc::P_PID, own, libc::PROC_REAP_ACQUIRE, std::ptr::null_mut()) };
    Errno::result(result).map(drop)
}

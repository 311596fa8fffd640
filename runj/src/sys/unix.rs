//! What both systems share: fork, descriptors, the environment. The one place that forks.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::unistd::ForkResult;

use super::{Result, SysError};

/// Forks; the child runs `child` and exits with what it returns, without unwinding into the caller.
/// Returns the child's pid.
pub fn fork(child: &mut dyn FnMut() -> i32) -> Result<i32> {
    // SAFETY: runj is single-threaded (clippy.toml forbids threads), so the child may do what any process may.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child.as_raw()),
        Ok(ForkResult::Child) => {
            let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(70);
            // SAFETY: _exit takes any number and runs no handler of the parent's.
            unsafe { libc::_exit(status) }
        }
        Err(errno) => Err(SysError::new("fork", errno)),
    }
}

/// Closes every descriptor of the calling process that is not in `keep`. Called in a child.
pub fn close_descriptors_except(keep: &BTreeSet<RawFd>) {
    let mut first = 0;
    for &fd in keep {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

/// The highest descriptor that may be open, bounded where the limit is absurd.
fn descriptor_limit() -> RawFd {
    let soft =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    RawFd::try_from(soft.min(1 << 20)).unwrap_or(1024)
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    if super::imp::close_range(first, last) {
        return;
    }
    for fd in first..=last.min(descriptor_limit()) {
        // SAFETY: the caller gave up every descriptor that it did not name; nothing owns them any more.
        unsafe { libc::close(fd) };
    }
}

unsafe extern "C" {
    static mut environ: *const *const libc::c_char;
}

/// The environment of this process, as `NAME=value`. (std looks `environ` up by dlsym on FreeBSD, which fails
/// in a static program.)
pub fn environment() -> Vec<OsString> {
    let mut list = Vec::new();
    // SAFETY: environ is the C library's NULL-terminated array of NUL-terminated strings; runj is
    // single-threaded and changes it only in `clear_environment`.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            list.push(OsString::from_vec(CStr::from_ptr(*entry).to_bytes().to_vec()));
            entry = entry.add(1);
        }
    }
    list
}

/// Wipes the environment of this process, the memory included (it can be read in /proc and by ps(1)).
/// Called in a child.
pub fn clear_environment() {
    // SAFETY: as in `environment`; each string is writable memory of this process's stack or heap of at least
    // strlen bytes, and nothing else holds references into it in a forked child.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = (*entry).cast_mut();
            std::ptr::write_bytes(text, 0, libc::strlen(text));
            entry = entry.add(1);
        }
        environ = std::ptr::null();
    }
}

/// Resets every signal to its default action and unblocks all. Called in a child.
pub fn reset_signals() {
    for number in 1..=super::SIGNAL_MAX {
        // SAFETY: SIG_DFL is a valid action for every signal; the ones that cannot be set answer EINVAL.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let none = nix::sys::signal::SigSet::empty();
    let _ = nix::sys::signal::sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&none), None);
}

/// Makes descriptor `fd` the controlling terminal of this session (tty(4): `TIOCSCTTY`).
pub fn set_controlling_terminal(fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: TIOCSCTTY takes an int by value and no memory.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY as _, 0) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new("controlling terminal", errno))
}

/// Sets the size of a terminal (`TIOCSWINSZ`), in characters.
pub fn set_window_size(fd: std::os::fd::BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    use std::os::fd::AsRawFd;
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize, which lives through the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ as _, &size) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new("window size", errno))
}

//! What both systems share: fork, descriptors, the environment. The one place that forks.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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
        Err(errno) => Err(SysError::with_message("fork", errno, no_process(errno))),
    }
}

/// Why no process could be started: the number's own text says no more than to try again.
pub fn no_process(errno: Errno) -> String {
    match errno {
        Errno::EAGAIN => "no more processes are allowed: the user, its cgroup or the machine is at its limit".into(),
        errno => errno.desc().to_owned(),
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

/// Wipes the environment of this process, the memory included (it can be read in /proc and by ps(1)).
/// Called in a child.
pub fn clear_environment() {
    // SAFETY: environ is the C library's NULL-terminated array of NUL-terminated strings; each string is writable memory of this process's stack or heap of at least
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
    let changed = super::imp::changed_signals();
    for number in (1..=super::SIGNAL_MAX).filter(|number| changed & 1 << (number - 1) != 0) {
        // SAFETY: SIG_DFL is a valid action for every signal; the ones that cannot be set answer EINVAL.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let none = nix::sys::signal::SigSet::empty();
    let _ = nix::sys::signal::sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&none), None);
}

/// Makes descriptor `fd` the controlling terminal of this session (tty(4): `TIOCSCTTY`).
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an int by value and no memory.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY as _, 0) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new("controlling terminal", errno))
}

/// Sets the size of a terminal (`TIOCSWINSZ`), in characters.
pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize, which lives through the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ as _, &size) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new("window size", errno))
}

/// A pipe whose ends are closed on exec: (read, write).
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| SysError::new("pipe", errno))
}

/// Makes reads and writes of this descriptor return at once.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Makes reads and writes of this descriptor wait.
pub fn set_blocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK)).map(drop)
}

/// Puts descriptors in the places of 0, 1 and 2, not closed on exec. Called in a child.
pub fn replace_stdio(stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<()> {
    // Out of the way first, should one of them be 0, 1 or 2 already.
    let mut copies = Vec::with_capacity(3);
    for fd in [stdin, stdout, stderr] {
        let copy = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3));
        copies.push(copy.map_err(|errno| SysError::new("standard descriptors", errno))?);
    }
    for (place, copy) in copies.into_iter().enumerate() {
        let place = RawFd::try_from(place).unwrap_or(0);
        // SAFETY: dup2 closes what `place` was; 0 to 2 belong to no Rust object, std uses them by number.
        let result = unsafe { libc::dup2(copy, place) };
        Errno::result(result).map_err(|errno| SysError::new("standard descriptors", errno))?;
        // SAFETY: `copy` was made above and is owned by nobody else.
        unsafe { libc::close(copy) };
    }
    Ok(())
}

/// Lets a descriptor survive execve(2).
pub fn keep_on_exec(fd: RawFd) -> Result<()> {
    // SAFETY: F_SETFD takes an int by value and no memory; a number that is not open answers EBADF.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new(format!("descriptor {fd}"), errno))
}

/// Whether a descriptor is open, and whether it is a directory.
pub fn descriptor_kind(fd: RawFd) -> Result<DescriptorKind> {
    // SAFETY: fstat of a number that is not open answers EBADF; the borrow ends with this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let stat = nix::sys::stat::fstat(borrowed).map_err(|errno| SysError::new(format!("descriptor {fd}"), errno))?;
    let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Ok(if directory { DescriptorKind::Directory } else { DescriptorKind::Other })
}

/// What an open descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorKind {
    /// A directory: it may not enter a jail.
    Directory,
    /// Anything else.
    Other,
}

/// The signals that arrived since they were last taken, one bit each.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

extern "C" fn note_arrival(signal: libc::c_int) {
    if let Some(bit) = u32::try_from(signal).ok().and_then(|number| 1u64.checked_shl(number)) {
        ARRIVED.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Blocks `signals` and notes their arrival, which happens only while [`wait_for_io`] waits.
pub fn watch_signals(signals: &[i32]) -> Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask};
    let error = |errno| SysError::new("signal handlers", errno);
    let mut set = SigSet::empty();
    let action = SigAction::new(SigHandler::Handler(note_arrival), SaFlags::empty(), SigSet::empty());
    for &number in signals {
        let Ok(signal) = nix::sys::signal::Signal::try_from(number) else { continue };
        set.add(signal);
        // SAFETY: the handler only sets a bit in an atomic.
        unsafe { sigaction(signal, &action) }.map_err(error)?;
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).map_err(error)
}

/// Waits until a descriptor is ready or a watched signal arrives; returns the signals that did.
pub fn wait_for_io(fds: &mut [nix::poll::PollFd<'_>]) -> nix::Result<Vec<i32>> {
    let none = nix::sys::signal::SigSet::empty();
    match nix::poll::ppoll(fds, None, Some(none)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    let bits = ARRIVED.swap(0, Ordering::Relaxed);
    Ok((1..64).filter(|number| bits & (1 << number) != 0).collect())
}

/// The size of a terminal in characters, rows first; none if it is no terminal.
pub fn window_size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one struct winsize, which lives through the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &mut size) };
    (result == 0).then_some((size.ws_row, size.ws_col))
}

/// What a write to a closed pipe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenPipes {
    /// It answers `EPIPE`.
    AreErrors,
    /// It kills, as a program expects.
    Kill,
}

/// Chooses what a write to a closed pipe does. Called in a child.
pub fn set_broken_pipes(to: BrokenPipes) {
    let action = if to == BrokenPipes::Kill { libc::SIG_DFL } else { libc::SIG_IGN };
    // SAFETY: both are valid actions.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}

/// Major and minor number of a device node; none if the path is no device node.
pub fn device_numbers(path: &std::path::Path) -> std::io::Result<Option<(u64, u64)>> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let status = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !status.file_type().is_char_device() && !status.file_type().is_block_device() {
        return Ok(None);
    }
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Some((number(libc::major(status.rdev()).into()), number(libc::minor(status.rdev()).into()))))
}

/// Whether there is something to read, or the other side has closed, before this time is over.
pub fn readable_within(fd: BorrowedFd<'_>, time: Duration) -> bool {
    polled(fd, PollFlags::POLLIN, time)
}

/// Whether every writer of a FIFO has closed it before this time is over.
pub fn hangs_up_within(fd: BorrowedFd<'_>, time: Duration) -> bool {
    polled(fd, PollFlags::empty(), time)
}

/// A signal that interrupts it ends it too.
fn polled(fd: BorrowedFd<'_>, flags: PollFlags, time: Duration) -> bool {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(fd, flags)], timeout).is_ok_and(|ready| ready > 0)
}

/// Reads a regular file, of which a read(2) that returns less than it may has reached the end.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = vec![0; 2048];
    let mut length = 0;
    loop {
        match std::io::Read::read(&mut file, &mut bytes[length..]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            count => length += count?,
        }
        if length < bytes.len() {
            bytes.truncate(length);
            return Ok(bytes);
        }
        bytes.resize(2 * length, 0);
    }
}

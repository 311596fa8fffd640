//! The only unsafe code of the harness: fork and execve, the environment, the reaper, terminals.
//!
//! std's `Command` and `env::vars` are not used: both crash in a static FreeBSD program, and the tests are
//! linked statically for machines without Rust.
#![allow(unsafe_code)]

pub mod ptrace;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// The environment as `NAME=value`.
pub fn environment() -> Vec<String> {
    let mut list = Vec::new();
    // SAFETY: the C library's NULL-terminated array; the harness never changes it.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            list.push(CStr::from_ptr(*entry).to_string_lossy().into_owned());
            entry = entry.add(1);
        }
    }
    list
}

/// Everything that the child does between fork and execve, made ready beforehand.
pub struct Spawn<'a> {
    /// The program, its first element being the path too.
    pub argv: &'a [CString],
    /// The environment.
    pub env: &'a [CString],
    /// The working directory.
    pub cwd: Option<&'a CStr>,
    /// (number in the child, descriptor here). All others are closed on execve.
    pub fds: &'a [(RawFd, RawFd)],
    /// A session of its own.
    pub session: bool,
    /// Descriptor 0 becomes the controlling terminal.
    pub controlling: bool,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Signals that the child inherits blocked and ignored.
    pub signals: &'a [i32],
    /// A limit on descriptors.
    pub nofile: Option<u64>,
    /// Die when the calling thread does.
    pub die_with_parent: bool,
    /// Traced by the parent.
    pub traced: bool,
    /// New namespaces (`CLONE_NEW*`; Linux).
    pub namespaces: i32,
    /// Namespaces to join (Linux).
    pub join: &'a [RawFd],
}

/// Starts a program; returns its pid. What fails in the child ends it with 120.
pub fn spawn(spawn: &Spawn<'_>) -> io::Result<i32> {
    let pointers = |list: &[CString]| {
        let mut pointers: Vec<*const libc::c_char> = list.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (argv, envp) = (pointers(spawn.argv), pointers(spawn.env));
    let mut moved: Vec<(RawFd, RawFd)> = spawn.fds.to_vec();
    // SAFETY: between fork and execve the child calls only what is safe after a fork of a process with threads:
    // plain system calls on memory made ready before.
    unsafe {
        match fork(spawn.namespaces) {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                child(spawn, &argv, &envp, &mut moved);
                libc::_exit(120)
            }
            pid => Ok(pid),
        }
    }
}

/// # Safety
///
/// As fork(2).
#[cfg(target_os = "linux")]
unsafe fn fork(namespaces: i32) -> i32 {
    if namespaces == 0 {
        // SAFETY: see above.
        return unsafe { libc::fork() };
    }
    let flags = i64::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack, clone(2) is a fork(2).
    unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as i32 }
}

/// # Safety
///
/// As fork(2).
#[cfg(not(target_os = "linux"))]
unsafe fn fork(_: i32) -> i32 {
    // SAFETY: see above.
    unsafe { libc::fork() }
}

/// # Safety
///
/// To be called in a child after fork; returns only if something failed.
unsafe fn child(
    spawn: &Spawn<'_>,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
    moved: &mut [(RawFd, RawFd)],
) {
    // SAFETY: system calls on numbers and on strings that live in the parent's copied memory.
    unsafe {
        #[cfg(target_os = "linux")]
        {
            for &fd in spawn.join {
                if libc::setns(fd, 0) != 0 {
                    return;
                }
            }
            if spawn.die_with_parent {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            }
        }
        #[cfg(target_os = "freebsd")]
        if spawn.die_with_parent {
            let mut signal = libc::SIGKILL;
            libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast());
        }
        if spawn.traced && !ptrace::trace_me() {
            return;
        }
        if spawn.session && libc::setsid() < 0 {
            return;
        }
        // First out of the way of the numbers that are wanted, then into place.
        for (_, fd) in moved.iter_mut() {
            *fd = libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, 200);
            if *fd < 0 {
                return;
            }
        }
        for &(target, fd) in moved.iter() {
            if libc::dup2(fd, target) < 0 {
                return;
            }
        }
        if spawn.controlling && libc::ioctl(0, libc::TIOCSCTTY as _, 0) != 0 {
            return;
        }
        if let Some(directory) = spawn.cwd
            && libc::chdir(directory.as_ptr()) != 0
        {
            return;
        }
        if let Some(mask) = spawn.umask {
            libc::umask(mask as libc::mode_t);
        }
        if let Some(limit) = spawn.nofile {
            let limit = libc::rlimit { rlim_cur: limit as _, rlim_max: limit as _ };
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
        // Rust ignores SIGPIPE; a program expects the default.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in spawn.signals {
            libc::sigaddset(&mut set, signal);
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
        libc::execve(argv[0], argv.as_ptr(), envp.as_ptr());
    }
}

/// The wait status of a child, if it has ended. `None`: it still runs.
pub fn try_wait(pid: i32) -> io::Result<Option<i32>> {
    let mut status = 0;
    // SAFETY: the status is written to a local.
    match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => Ok(Some(status)),
    }
}

/// Waits for a child.
pub fn wait(pid: i32) -> io::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: as above.
        if unsafe { libc::waitpid(pid, &mut status, 0) } >= 0 {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Collects every child that has ended; whoever still waits for one of them comes too late.
pub fn reap_all() {
    while matches!(try_wait(-1), Ok(Some(_))) {}
}

/// Sends a signal.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes this process the parent of its orphaned descendants, so that it can wait for containers.
pub fn become_reaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    #[cfg(target_os = "freebsd")]
    // SAFETY: the request takes no data.
    let result =
        unsafe { libc::procctl(libc::P_PID, libc::getpid() as _, libc::PROC_REAP_ACQUIRE, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Structures of sys/procctl.h that libc lacks.
#[cfg(target_os = "freebsd")]
mod reaper {
    /// `struct procctl_reaper_pidinfo`
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct PidInfo {
        pub pid: libc::pid_t,
        pub subtree: libc::pid_t,
        pub flags: libc::c_uint,
        pub pad: [libc::c_uint; 15],
    }

    /// `struct procctl_reaper_pids`
    #[repr(C)]
    pub(super) struct Pids {
        pub count: libc::c_uint,
        pub pad: [libc::c_uint; 15],
        pub pids: *mut PidInfo,
    }

    /// `struct procctl_reaper_kill`
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Kill {
        pub signal: libc::c_int,
        pub flags: libc::c_uint,
        pub subtree: libc::pid_t,
        pub killed: libc::c_uint,
        pub failed: libc::pid_t,
        pub pad: [libc::c_uint; 15],
    }

    pub(super) const VALID: libc::c_uint = 1;
    pub(super) const ZOMBIE: libc::c_uint = 8;
}

/// Living descendants of this reaper.
#[cfg(target_os = "freebsd")]
pub fn descendants() -> io::Result<Vec<i32>> {
    let mut list = vec![reaper::PidInfo::default(); 4096];
    let mut request = reaper::Pids { count: list.len() as _, pad: [0; 15], pids: list.as_mut_ptr() };
    // SAFETY: the request names a buffer and how many entries it has.
    let result =
        unsafe { libc::procctl(libc::P_PID, libc::getpid() as _, libc::PROC_REAP_GETPIDS, (&raw mut request).cast()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let valid = list.iter().take_while(|entry| entry.flags & reaper::VALID != 0);
    Ok(valid.filter(|entry| entry.flags & reaper::ZOMBIE == 0).map(|entry| entry.pid).collect())
}

/// Kills every descendant of this reaper.
#[cfg(target_os = "freebsd")]
pub fn kill_descendants() {
    let mut request = reaper::Kill { signal: libc::SIGKILL, ..reaper::Kill::default() };
    // SAFETY: the request is valid and this process is a reaper.
    unsafe { libc::procctl(libc::P_PID, libc::getpid() as _, libc::PROC_REAP_KILL, (&raw mut request).cast()) };
}

/// Kills every other process of the test's own pid namespace.
#[cfg(target_os = "linux")]
pub fn kill_descendants() {
    assert_eq!(std::process::id(), 1, "only in a namespace of one's own");
    let _ = kill(-1, libc::SIGKILL);
}

/// Sets the wall clock so many seconds on (or back).
pub fn step_clock(seconds: i64) -> io::Result<()> {
    // SAFETY: all zero is a value.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: writes one struct timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    now.tv_sec += seconds;
    // SAFETY: reads one struct timespec.
    let result = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &now) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the size of a terminal's window.
pub fn set_window(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Renames an interface of the network that the caller is in (`SIOCSIFNAME`).
pub fn rename_interface(from: &str, to: &str) -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsRawFd;
    let name = |text: &str| {
        let mut bytes = [0u8; 16];
        let slots = bytes.iter_mut().take(15);
        slots.zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
        bytes
    };
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let to = name(to);
    // An ifreq of Linux has 40 bytes and holds the new name, one of FreeBSD 32 and a pointer to it.
    let mut request = [0u8; 40];
    request[..16].copy_from_slice(&name(from));
    #[cfg(target_os = "linux")]
    let number = {
        request[16..32].copy_from_slice(&to);
        libc::SIOCSIFNAME
    };
    #[cfg(target_os = "freebsd")]
    let number: libc::c_ulong = {
        request[16..24].copy_from_slice(&(to.as_ptr() as usize).to_ne_bytes());
        0x8020_6928
    };
    // SAFETY: the request reads an ifreq, which is no longer than `request`, and a name, which lives through it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number, request.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes ownership of a descriptor that came through a socket.
pub fn own(fd: RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the kernel made the descriptor for us just now; nobody else knows it.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

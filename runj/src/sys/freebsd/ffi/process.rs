//! What a process asks about others and does to itself.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{chars, sysctl};

/// An entry of the kernel's process list.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its jail as the caller sees it: 0 for the caller's own.
    pub jid: i32,
    /// When it started, in microseconds after 1970 by the present clock.
    pub start: i64,
    /// Its parent.
    pub parent: i32,
    /// Its effective user id.
    pub uid: u32,
    /// The device number of its controlling terminal.
    pub terminal: libc::dev_t,
    /// Its CPU time in programs and in the kernel, in microseconds.
    pub cpu: (i64, i64),
    /// The same of its children that ended and were waited for.
    pub children: (i64, i64),
    /// Its resident memory, in pages.
    pub resident: libc::segsz_t,
    /// Its program's name, with NULs behind it.
    name: [c_char; libc::COMMLEN + 1],
    /// Whether it is only waiting to be reaped.
    pub zombie: bool,
}

const _: () = assert!(size_of::<libc::kinfo_proc>() == 1088);

impl Process {
    /// Its program's name.
    pub fn name(&self) -> String {
        chars(&self.name).to_string_lossy().into_owned()
    }
}

/// The arguments of a process (`kern.proc.args`), each with a NUL behind it; none for one that has none or is gone.
pub fn arguments(pid: i32) -> Vec<u8> {
    sysctl(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_ARGS, pid]).unwrap_or_default()
}

/// How many files a process has open; none where the kernel (before 13) does not count them or the process is gone.
pub fn open_files(pid: i32) -> Option<u64> {
    let count = sysctl(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_NFDS, pid]).ok()?;
    u64::try_from(c_int::from_ne_bytes(count.try_into().ok()?)).ok()
}

/// The name of a terminal's device, without `/dev/` (devname(3)); none if there is none.
pub fn terminal_name(device: libc::dev_t) -> Option<String> {
    // sys/param.h: NODEV.
    if device == libc::dev_t::MAX {
        return None;
    }
    let mut name: [c_char; 64] = [0; 64];
    // SAFETY: writes a C string of at most the length that is said to be there, and returns it or null.
    let found = unsafe { libc::devname_r(device, libc::S_IFCHR, name.as_mut_ptr(), 64) };
    (!found.is_null()).then(|| chars(&name).to_string_lossy().into_owned())
}

/// The processes that `kern.proc` lists under these numbers (sys/sysctl.h: `KERN_PROC_PROC`, `KERN_PROC_PID`).
pub fn processes(what: &[c_int]) -> nix::Result<Vec<Process>> {
    let list = sysctl(&[&[libc::CTL_KERN, libc::KERN_PROC], what].concat())?;
    Ok(list
        .chunks_exact(size_of::<libc::kinfo_proc>())
        .filter_map(|entry| entry.try_into().ok())
        .map(process)
        .collect())
}

/// The signals that a process ignores or catches, the first the lowest bit; none if there is no such process.
pub fn changed_signals(pid: c_int) -> Option<u128> {
    let list = sysctl(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid]).ok()?;
    let process = information(list.first_chunk()?);
    let bits = |set: libc::sigset_t| {
        // SAFETY: a sigset_t is four numbers of 32 bits (sys/_sigset.h), the first signals in the first.
        let words = unsafe { std::mem::transmute::<libc::sigset_t, [u32; 4]>(set) };
        words.iter().rev().fold(0, |bits, word| bits << 32 | u128::from(*word))
    };
    // The kernel never notes of SIGCONT that it is ignored (kern_sig.c: kern_sigaction).
    Some(bits(process.ki_sigignore) | bits(process.ki_sigcatch) | 1 << (libc::SIGCONT - 1))
}

/// What the kernel tells of a process.
fn information(entry: &[u8; size_of::<libc::kinfo_proc>()]) -> libc::kinfo_proc {
    // SAFETY: it has the size of a kinfo_proc, which the kernel filled and whose size it checks with
    // ki_structsize since FreeBSD 5; integers, arrays and pointers, so that any bytes are a value.
    unsafe { entry.as_ptr().cast::<libc::kinfo_proc>().read_unaligned() }
}

fn process(entry: &[u8; size_of::<libc::kinfo_proc>()]) -> Process {
    let entry = information(entry);
    Process {
        pid: entry.ki_pid,
        jid: entry.ki_jid,
        start: microseconds(entry.ki_start),
        parent: entry.ki_ppid,
        uid: entry.ki_uid,
        terminal: entry.ki_tdev,
        cpu: (microseconds(entry.ki_rusage.ru_utime), microseconds(entry.ki_rusage.ru_stime)),
        children: (microseconds(entry.ki_rusage_ch.ru_utime), microseconds(entry.ki_rusage_ch.ru_stime)),
        resident: entry.ki_rssize,
        name: entry.ki_comm,
        zombie: entry.ki_stat == libc::SZOMB,
    }
}

fn microseconds(time: libc::timeval) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_usec
}

/// `kern.boottime`, in microseconds after 1970 by the present clock.
pub fn boot_time() -> nix::Result<i64> {
    let value = sysctl(&[libc::CTL_KERN, libc::KERN_BOOTTIME])?;
    if value.len() != size_of::<libc::timeval>() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the bytes are a struct timeval, two integers.
    Ok(microseconds(unsafe { value.as_ptr().cast::<libc::timeval>().read_unaligned() }))
}

/// Bytes of a page (getpagesize(3)).
pub fn page_size() -> c_int {
    // SAFETY: takes nothing.
    unsafe { libc::getpagesize() }
}

/// procctl(2) on the calling process, for the commands whose argument is one int.
pub fn process_control(command: c_int, mut argument: c_int) -> nix::Result<()> {
    let pid = nix::unistd::getpid().as_raw().into();
    // SAFETY: the commands of the callers read one int.
    Errno::result(unsafe { libc::procctl(libc::P_PID, pid, command, (&raw mut argument).cast()) }).map(drop)
}

/// setrlimit(2).
pub fn set_rlimit(resource: c_int, soft: u64, hard: u64) -> nix::Result<()> {
    let number = |value: u64| libc::rlim_t::try_from(value).unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit { rlim_cur: number(soft), rlim_max: number(hard) };
    // SAFETY: reads one struct rlimit.
    Errno::result(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}

/// kill(2), with the signals that nix has no name for.
pub fn kill(pid: i32, signal: c_int) -> nix::Result<()> {
    // SAFETY: takes two numbers.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// setlogin(2): of the whole session.
pub fn set_login(name: &CStr) -> nix::Result<()> {
    // SAFETY: the name is a C string.
    Errno::result(unsafe { libc::setlogin(name.as_ptr()) }).map(drop)
}

/// closefrom(2).
pub fn close_from(first: c_int) {
    // SAFETY: the caller gave up every descriptor from `first` on; nothing owns them any more.
    unsafe { libc::closefrom(first) };
}

/// close_range(2), by number since the C library of 12.1 lacks it. A kernel without it answers with SIGSYS.
pub fn close_range(first: c_int, last: c_int) -> nix::Result<()> {
    const CLOSE_RANGE: c_int = 575;
    // SAFETY: takes three numbers; the caller gave up every descriptor in the range.
    Errno::result(unsafe { libc::syscall(CLOSE_RANGE, first, last, 0) }).map(drop)
}

/// A terminal pair's master (posix_openpt(2), grantpt(3), unlockpt(3)) and the name of its slave.
pub fn open_pty() -> nix::Result<(OwnedFd, CString)> {
    // SAFETY: takes a number; what it returns is a new descriptor that nothing else owns.
    let master = unsafe {
        OwnedFd::from_raw_fd(Errno::result(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC))?)
    };
    // SAFETY: take a descriptor, which is open.
    Errno::result(unsafe { libc::grantpt(master.as_raw_fd()) })?;
    // SAFETY: as for grantpt.
    Errno::result(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
    // SAFETY: as for grantpt; the C string it returns lives until the next call in this single-threaded process.
    let name = unsafe {
        let name = libc::ptsname(master.as_raw_fd());
        if name.is_null() {
            return Err(Errno::last());
        }
        CStr::from_ptr(name).to_owned()
    };
    Ok((master, name))
}

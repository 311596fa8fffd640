//! ptrace(2): a process that stops at its system calls.

use std::io;

/// A system call that a traced process is about to make: its number and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// Of this system.
    pub number: i64,
    /// As they stand in its registers.
    pub arguments: [u64; 6],
}

#[cfg(target_os = "freebsd")]
mod request {
    pub(super) const TRACE_ME: libc::c_int = 0;
    pub(super) const KILL: libc::c_int = 8;
    pub(super) const ATTACH: libc::c_int = 10;
    pub(super) const DETACH: libc::c_int = 11;
    pub(super) const ENTERED: libc::c_int = 4;
}

/// One request; `address` is what it says that it is. What the kernel answers is its own error, or 0.
///
/// # Safety
///
/// The kernel may write at `address` what the request says.
#[cfg(target_os = "freebsd")]
unsafe fn request(number: libc::c_int, pid: i32, address: *mut libc::c_char, data: i32) -> io::Result<()> {
    // SAFETY: the caller's promise.
    if unsafe { libc::ptrace(number, pid, address, data) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As above.
///
/// # Safety
///
/// The kernel may write at `address` what the request says.
#[cfg(target_os = "linux")]
unsafe fn request(number: libc::c_uint, pid: i32, address: *mut libc::c_void, data: i32) -> io::Result<()> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::ptrace(number, pid, address, data as usize) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the calling process one that its parent traces: it stops when it has executed a program.
pub(super) fn trace_me() -> bool {
    #[cfg(target_os = "linux")]
    let number = libc::PTRACE_TRACEME;
    #[cfg(target_os = "freebsd")]
    let number = request::TRACE_ME;
    // SAFETY: touches no memory.
    unsafe { request(number, 0, std::ptr::null_mut(), 0) }.is_ok()
}

/// Traces a process, waits until it has stopped, and lets it go on.
pub fn trace(pid: i32) -> io::Result<()> {
    #[cfg(target_os = "freebsd")]
    let (attach, detach) = (request::ATTACH, request::DETACH);
    #[cfg(target_os = "linux")]
    let (attach, detach) = (libc::PTRACE_ATTACH, libc::PTRACE_DETACH);
    // SAFETY: neither touches memory of ours; FreeBSD reads an address of 1 as: it goes on where it stopped.
    unsafe {
        request(attach, pid, std::ptr::without_provenance_mut(1), 0)?;
        super::wait(pid)?;
        request(detach, pid, std::ptr::without_provenance_mut(1), 0)
    }
}

/// Lets a process that has just executed its program tell calls from signals, and die with its tracer.
pub fn begin(pid: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: touches no memory of ours.
    unsafe {
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        request(libc::PTRACE_SETOPTIONS, pid, std::ptr::null_mut(), options)?;
    }
    // A traced process of FreeBSD is always killed with its tracer, and lwpinfo says what stopped it.
    let _ = pid;
    Ok(())
}

/// Lets a stopped process go on to its next system call, with this signal (0: none).
pub fn to_call(pid: i32, signal: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    let number = libc::PTRACE_SYSCALL;
    #[cfg(target_os = "freebsd")]
    let number = libc::PT_TO_SCE;
    // SAFETY: touches no memory of ours; FreeBSD reads an address of 1 as: it goes on where it stopped.
    unsafe { request(number, pid, std::ptr::without_provenance_mut(1), signal) }
}

/// Kills a stopped process. On Linux the call that it has entered is not made; FreeBSD makes it first.
pub fn kill(pid: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return super::kill(pid, libc::SIGKILL);
    #[cfg(target_os = "freebsd")]
    // SAFETY: touches no memory of ours.
    unsafe {
        request(request::KILL, pid, std::ptr::null_mut(), 0)
    }
}

/// The call that a process has stopped at the entry of; none if something else stopped it.
#[cfg(target_os = "linux")]
pub fn entered(pid: i32) -> io::Result<Option<Entered>> {
    let info = nix::sys::ptrace::syscall_info(nix::unistd::Pid::from_raw(pid))?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: this operation says that the kernel has filled this member of the union.
    let entry = unsafe { info.u.entry };
    Ok(Some(Entered { number: entry.nr as i64, arguments: entry.args }))
}

/// The call that a process has stopped at the entry of; none if something else stopped it.
#[cfg(target_os = "freebsd")]
pub fn entered(pid: i32) -> io::Result<Option<Entered>> {
    // SAFETY: all zero is a value.
    let mut info: libc::ptrace_lwpinfo = unsafe { std::mem::zeroed() };
    let size = |bytes: usize| bytes as libc::c_int;
    // SAFETY: the kernel writes as many bytes of the structure as it is told that there are.
    unsafe { request(libc::PT_LWPINFO, pid, (&raw mut info).cast(), size(size_of_val(&info))) }?;
    if info.pl_flags & request::ENTERED == 0 {
        return Ok(None);
    }
    let mut arguments = [0u64; 16];
    let count = arguments.len().min(info.pl_syscall_narg as usize);
    // SAFETY: as above; there are no more than 16.
    unsafe { request(libc::PT_GET_SC_ARGS, info.pl_lwpid, arguments.as_mut_ptr().cast(), size(8 * count)) }?;
    let (first, _) = arguments.split_first_chunk().expect("more than six");
    Ok(Some(Entered { number: i64::from(info.pl_syscall_code), arguments: *first }))
}

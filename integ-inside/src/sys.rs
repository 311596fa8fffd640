//! What nix does not offer, as safe functions. The only place with `unsafe`, but for `main` itself.
#![allow(unsafe_code)]

use std::ffi::CStr;
#[cfg(target_os = "freebsd")]
use std::ffi::CString;
use std::io;

unsafe extern "C" {
    /// Declared here because std looks it up with dlsym on FreeBSD, which fails in a static program.
    static environ: *const *const libc::c_char;
}

/// Copies up to `count` strings of an array that ends with a null pointer.
///
/// # Safety
///
/// `array` is null or points to pointers to NUL-terminated strings, `count` of them or ended by a null pointer.
pub unsafe fn strings(array: *const *const libc::c_char, count: usize) -> Vec<String> {
    let mut list = Vec::new();
    for index in 0..count {
        // SAFETY: see above; the loop ends at the null pointer.
        let entry = if array.is_null() { array.cast() } else { unsafe { *array.add(index) } };
        if entry.is_null() {
            break;
        }
        // SAFETY: see above.
        list.push(unsafe { CStr::from_ptr(entry) }.to_string_lossy().into_owned());
    }
    list
}

/// The environment as `NAME=value`, in its order.
pub fn environment() -> Vec<String> {
    // SAFETY: environ is the C library's NULL-terminated array; this program never changes it.
    unsafe { strings(environ, usize::MAX) }
}

/// The name of the NIS domain.
pub fn domainname() -> io::Result<String> {
    let mut buffer = vec![0u8; 257];
    // SAFETY: the buffer is as long as said, with one byte more for the NUL.
    let result = unsafe { libc::getdomainname(buffer.as_mut_ptr().cast(), 256) };
    check(result)?;
    Ok(CStr::from_bytes_until_nul(&buffer).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default())
}

/// Sets the host name.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length belong together.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len() as _) })
}

/// A text from sysctl(3).
#[cfg(target_os = "freebsd")]
pub fn sysctl_text(name: &str) -> io::Result<String> {
    let bytes = sysctl(name)?;
    Ok(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(&bytes)).into_owned())
}

/// The bytes of a value of sysctl(3).
#[cfg(target_os = "freebsd")]
pub fn sysctl(name: &str) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    let mut length = 0;
    // SAFETY: asks for the length only.
    check(unsafe { libc::sysctlbyname(name.as_ptr(), std::ptr::null_mut(), &mut length, std::ptr::null(), 0) })?;
    let mut buffer = vec![0u8; length * 2 + 64];
    length = buffer.len();
    // SAFETY: the buffer has `length` bytes; the kernel writes at most as many and says how many.
    check(unsafe { libc::sysctlbyname(name.as_ptr(), buffer.as_mut_ptr().cast(), &mut length, std::ptr::null(), 0) })?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Whether a descriptor is open.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD only looks, whatever the number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// The handler of a signal as a number: `SIG_DFL`, `SIG_IGN` or an address; `None` if there is no such signal.
pub fn disposition(signal: i32) -> Option<usize> {
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only reads the present action.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    (result == 0).then_some(action.sa_sigaction)
}

/// Ignores a signal, or takes its default again.
pub fn ignore(signal: i32) {
    // SAFETY: no handler of ours is installed.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Blocks every signal that can be blocked, so that [`next_signal`] sees them. Each gets a handler too: FreeBSD drops
/// one that is ignored by default (SIGWINCH), blocked or not.
pub fn block_all_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    for signal in nix::sys::signal::Signal::iterator() {
        // SAFETY: the handler does nothing; the signals that take none answer EINVAL.
        unsafe { libc::signal(signal as libc::c_int, nothing as *const () as libc::sighandler_t) };
    }
    nix::sys::signal::SigSet::all().thread_block().ok();
}

/// Waits for a signal that is blocked.
pub fn next_signal() -> i32 {
    let set = nix::sys::signal::SigSet::all();
    let mut signal = 0;
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::sigwait(set.as_ref(), &mut signal) };
    signal
}

/// Forks; the child runs `child` and exits with what it returns. Returns the child's pid.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = child();
            // SAFETY: takes any number.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// Takes memory that stays in use: writes to each page. The memory is never given back.
pub fn allocate(bytes: usize) -> io::Result<()> {
    // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for offset in (0..bytes).step_by(4096) {
        // SAFETY: inside the mapping just made, which nothing else knows.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
    Ok(())
}

/// Locks one page into memory.
pub fn mlock_page() -> io::Result<()> {
    let page = vec![0u8; 4096];
    // SAFETY: the vector outlives the call; the lock ends with the process at the latest.
    check(unsafe { libc::mlock(page.as_ptr().cast(), page.len()) })
}

/// Sets and clears the system's immutable flag of a file.
#[cfg(target_os = "freebsd")]
pub fn chflags(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::chflags(path.as_ptr(), libc::SF_IMMUTABLE as _) })?;
    // SAFETY: as above.
    check(unsafe { libc::chflags(path.as_ptr(), 0) })
}

/// Kinds of System V IPC.
#[derive(Clone, Copy)]
pub enum SysV {
    /// Message queues.
    Messages,
    /// Semaphores.
    Semaphores,
    /// Shared memory.
    Memory,
}

/// Finds (`create` 0) or makes (`IPC_CREAT`) the object with this key.
pub fn sysv_get(kind: SysV, key: libc::key_t, create: i32) -> io::Result<i32> {
    let flags = create | 0o600;
    // SAFETY: the three calls take numbers only.
    let id = unsafe {
        match kind {
            SysV::Messages => libc::msgget(key, flags),
            SysV::Semaphores => libc::semget(key, 1, flags),
            SysV::Memory => libc::shmget(key, 4096, flags),
        }
    };
    check(id)?;
    Ok(id)
}

/// Looks at an object by its id (`IPC_STAT`).
pub fn sysv_look(kind: SysV, id: i32) -> io::Result<()> {
    // Larger than each of the three structures (at most 120 bytes on either system).
    let mut status = [0u64; 64];
    let status = status.as_mut_ptr();
    // SAFETY: IPC_STAT writes one structure, for which there is room; semctl's union is passed as the pointer it holds.
    check(unsafe {
        match kind {
            SysV::Messages => libc::msgctl(id, libc::IPC_STAT, status.cast()),
            SysV::Semaphores => libc::semctl(id, 0, libc::IPC_STAT, status),
            SysV::Memory => libc::shmctl(id, libc::IPC_STAT, status.cast()),
        }
    })
}

/// Removes an object.
pub fn sysv_remove(kind: SysV, id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID takes no argument and touches no memory of ours.
    check(unsafe {
        match kind {
            SysV::Messages => libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()),
            SysV::Semaphores => libc::semctl(id, 0, libc::IPC_RMID),
            SysV::Memory => libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()),
        }
    })
}

/// Mounts a file system without a source.
pub fn mount(kind: &str, directory: &str) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::mount::mount(Some(kind), directory, Some(kind), nix::mount::MsFlags::empty(), None::<&str>)?;
    #[cfg(target_os = "freebsd")]
    {
        let words: Vec<CString> =
            ["fstype", kind, "fspath", directory].into_iter().map(CString::new).collect::<Result<_, _>>()?;
        let mut vector: Vec<libc::iovec> = words
            .iter()
            .map(|word| libc::iovec {
                iov_base: word.as_ptr().cast_mut().cast(),
                iov_len: word.as_bytes_with_nul().len(),
            })
            .collect();
        // SAFETY: the vector and what it points to outlive the call, which reads only.
        check(unsafe { libc::nmount(vector.as_mut_ptr(), vector.len() as _, 0) })?;
    }
    Ok(())
}

/// Whether the process can gain no privilege by executing a file.
pub fn no_new_privileges() -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only.
    let value = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    #[cfg(target_os = "linux")]
    check(value)?;
    #[cfg(target_os = "freebsd")]
    let value = {
        const PROC_NO_NEW_PRIVS_STATUS: libc::c_int = 20;
        let mut value: libc::c_int = 0;
        // SAFETY: the request writes one int.
        let asked = check(unsafe {
            libc::procctl(libc::P_PID, libc::getpid() as _, PROC_NO_NEW_PRIVS_STATUS, (&raw mut value).cast())
        });
        match asked {
            // A kernel that cannot do it has not done it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => 0,
            other => other.map(|()| value)?,
        }
    };
    Ok(value == 1)
}

/// Columns and rows of a terminal.
pub fn window_size(fd: i32) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize.
    check(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) })?;
    Ok((size.ws_col, size.ws_row))
}

/// Sends a signal to this process with its default action.
pub fn die(signal: i32) -> io::Result<()> {
    // SAFETY: no handler of ours is installed; then a signal to ourselves, with all unblocked.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    nix::sys::signal::SigSet::all().thread_unblock()?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::kill(libc::getpid(), signal) })
}

/// The number of a signal that kill(2) takes, without nix's list.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::kill(pid, signal) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An inherited descriptor, for the time of one call.
pub fn borrow<'a>(fd: i32) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: callers pass descriptors that they found open; nothing in this program closes them.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

//! FreeBSD: the kernel itself, by system calls alone.

mod cpuset;
mod devfs;
mod examine;
mod ffi;
mod inside;
mod interfaces;
mod jails;
mod mounts;
mod processes;
mod rctl;

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::jail::System;
use super::{Installed, Result, SysError};

/// Where the state lives if nobody says otherwise.
pub const DEFAULT_STATE_ROOT: &str = "/var/run/runj";

/// The highest signal number (`_SIG_MAXSIG`).
pub const SIGNAL_MAX: i32 = 128;

/// The signals whose action may not be the default, the first the lowest bit: each, if the kernel does not say.
pub fn changed_signals() -> u128 {
    ffi::changed_signals(nix::unistd::getpid().as_raw()).unwrap_or(u128::MAX)
}

/// This system.
pub const SYSTEM: System = System::Freebsd;

/// The first real-time signal (`SIGRTMIN`).
pub fn realtime_minimum() -> i32 {
    65
}

/// What is installed here.
pub fn installed() -> Result<Option<Installed>> {
    let text = |name: &'static std::ffi::CStr| {
        let value = ffi::sysctl_value(name)
            .map_err(|errno| SysError::new(format!("sysctl {}", name.to_string_lossy()), errno))?;
        Ok(String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned())
    };
    let (machine, arch) = (text(c"hw.machine")?, text(c"hw.machine_arch")?);
    Ok(Some(Installed { machine, arch, release: text(c"kern.osrelease")? }))
}

/// The time. Asked of the kernel itself: libc prepares, at the first time, to answer without it, which costs more than
/// the few answers that a verb needs.
pub fn now() -> SystemTime {
    ffi::now().map_or_else(|_| SystemTime::now(), |since_1970| SystemTime::UNIX_EPOCH + since_1970)
}

/// Sets the flags of a file without following it; true, since there are flags here.
pub(super) fn set_file_flags(directory: BorrowedFd<'_>, name: &OsStr, flags: u32) -> nix::Result<bool> {
    ffi::set_file_flags(directory, name, flags).map(|()| true)
}

/// Closes a range of descriptors in one call; false if this kernel cannot.
pub(super) fn close_range(first: i32, last: i32) -> bool {
    if last == i32::MAX {
        ffi::close_from(first);
        return true;
    }
    // Where the kernel lacks the call it kills (SIGSYS).
    osreldate() >= 1_300_000 && ffi::close_range(first, last).is_ok()
}

/// `kern.osreldate`; 0 if it cannot be read.
fn osreldate() -> u32 {
    static OSRELDATE: OnceLock<u32> = OnceLock::new();
    *OSRELDATE.get_or_init(|| ffi::sysctl_int(c"kern.osreldate").ok().and_then(|n| n.try_into().ok()).unwrap_or(0))
}

/// This machine. It keeps nothing of its own: the kernel knows its jails.
#[derive(Debug)]
pub struct Host;

impl Host {
    /// This machine, whatever the state root.
    pub fn new(_state_root: &Path) -> Self {
        Self
    }
}

/// Gives libc the functions of malloc(3) from a [`Heap`](crate::sys::heap::Heap), those that its own ones have for the
/// preparation of thread-local storage too, without which a static program would have its malloc(3) beside this.
#[macro_export]
macro_rules! give_malloc {
    ($heap:ident) => {
        mod malloc {
            use std::ffi::{c_int, c_void};

            use super::$heap as HEAP;

            #[unsafe(no_mangle)]
            extern "C" fn malloc(size: usize) -> *mut c_void {
                HEAP.c_malloc(size)
            }
            #[unsafe(no_mangle)]
            extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
                HEAP.c_calloc(count, size)
            }
            #[unsafe(no_mangle)]
            unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
                // SAFETY: all memory of C is of this heap.
                unsafe { HEAP.c_realloc(memory, size) }
            }
            #[unsafe(no_mangle)]
            unsafe extern "C" fn free(memory: *mut c_void) {
                // SAFETY: as above.
                unsafe { HEAP.c_free(memory) }
            }
            #[unsafe(no_mangle)]
            extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
                if align.is_power_of_two() { HEAP.c_memalign(align, size) } else { std::ptr::null_mut() }
            }
            #[unsafe(no_mangle)]
            unsafe extern "C" fn posix_memalign(memory: *mut *mut c_void, align: usize, size: usize) -> c_int {
                if !align.is_power_of_two() || align < size_of::<usize>() {
                    return libc::EINVAL;
                }
                let new = HEAP.c_memalign(align, size);
                if new.is_null() {
                    return libc::ENOMEM;
                }
                // SAFETY: the caller's pointer to a pointer.
                unsafe { *memory = new };
                0
            }

            // Weak: where something else brings libc's malloc(3) in all the same, as libthr does, these are its own.
            #[cfg(target_arch = "x86_64")]
            std::arch::global_asm!(
                ".text",
                ".weak __je_bootstrap_malloc, __je_bootstrap_calloc, __je_bootstrap_free",
                "__je_bootstrap_malloc: jmp malloc",
                "__je_bootstrap_calloc: jmp calloc",
                "__je_bootstrap_free: jmp free",
            );
            #[cfg(target_arch = "aarch64")]
            std::arch::global_asm!(
                ".text",
                ".weak __je_bootstrap_malloc, __je_bootstrap_calloc, __je_bootstrap_free",
                "__je_bootstrap_malloc: b malloc",
                "__je_bootstrap_calloc: b calloc",
                "__je_bootstrap_free: b free",
            );
        }
    };
}

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

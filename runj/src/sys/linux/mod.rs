//! Linux: jail(2) emulated on namespaces.
//!
//! It is not a security boundary (docs/linux-emulation.md). A jail is a keeper process in its own namespaces and an
//! entry in the registry; whatever is done to the jail is done in the keeper's namespaces.

mod capabilities;
mod cgroup;
mod cpuset;
mod devfs;
mod examine;
mod ffi;
mod filesystem;
mod interfaces;
mod jails;
mod keeper;
mod mounts;
mod namespaces;
mod netlink;
mod params;
mod processes;
mod registry;
mod usage;
mod views;

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::jail::System;
use super::{Installed, Result, SysError};
use crate::id::Jid;
use registry::{Jail, Registry};

/// Where the state lives if nobody says otherwise.
pub const DEFAULT_STATE_ROOT: &str = "/run/runj";

/// The highest signal number (`_NSIG`).
pub const SIGNAL_MAX: i32 = 64;

/// The signals whose action may not be the default, the first the lowest bit: each, since to ask costs more.
pub const fn changed_signals() -> u128 {
    u128::MAX
}

/// This system.
pub const SYSTEM: System = System::Linux;

/// The first real-time signal that the C library leaves to programs.
pub fn realtime_minimum() -> i32 {
    libc::SIGRTMIN()
}

/// No FreeBSD runs here.
pub fn installed() -> Result<Option<Installed>> {
    Ok(None)
}

/// False: file flags are FreeBSD's.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn set_file_flags(_: BorrowedFd<'_>, _: &OsStr, _: u32) -> nix::Result<bool> {
    Ok(false)
}

/// Closes a range of descriptors by close_range(2); false if the kernel lacks it.
pub(super) fn close_range(first: i32, last: i32) -> bool {
    ffi::close_range(first, last)
}

/// This machine: the emulation, with its registries below the state root.
#[derive(Debug)]
pub struct Host {
    registry: Registry,
    rulesets: PathBuf,
    /// The jail whose namespaces the calling process, a child, has entered.
    entered: OnceCell<namespaces::Entered>,
}

impl Host {
    /// The emulation that keeps its jails and devfs rulesets below this directory, which need not exist.
    pub fn new(state_root: &Path) -> Self {
        Self {
            registry: Registry::new(state_root.join(".jails")),
            rulesets: state_root.join(".rulesets"),
            entered: OnceCell::new(),
        }
    }

    /// A living jail and a descriptor of its keeper.
    ///
    /// # Errors
    /// `EINVAL` for one that is gone, as jail_attach(2).
    fn jail(&self, jid: Jid) -> Result<(Jail, OwnedFd)> {
        let failed = |errno| SysError::new(format!("jail {jid}"), errno);
        let jail = self.registry.load(jid).map_err(failed)?.ok_or_else(|| failed(Errno::EINVAL))?;
        match namespaces::keeper(&jail) {
            Err(Errno::ESRCH) => Err(failed(Errno::EINVAL)),
            Err(errno) => Err(failed(errno)),
            Ok(keeper) => Ok((jail, keeper)),
        }
    }
}

/// The time.
pub fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Leaves libc its own malloc(3), which prepares nothing.
#[macro_export]
macro_rules! give_malloc {
    ($heap:ident) => {};
}

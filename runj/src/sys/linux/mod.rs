//! Linux: jail(2) emulated on namespaces.
//!
//! It is not a security boundary (docs/linux-emulation.md).

use std::path::{Path, PathBuf};

use super::jail::System;

/// Where the state lives if nobody says otherwise.
pub const DEFAULT_STATE_ROOT: &str = "/run/runj";

/// The highest signal number (`_NSIG`).
pub const SIGNAL_MAX: i32 = 64;

/// This system.
pub const SYSTEM: System = System::Linux;

/// The first real-time signal that the C library leaves to programs.
pub fn realtime_minimum() -> i32 {
    libc::SIGRTMIN()
}

/// Closes a range of descriptors by close_range(2); false if the kernel lacks it.
#[allow(unsafe_code)]
pub(super) fn close_range(first: i32, last: i32) -> bool {
    // SAFETY: takes three numbers; the caller gave up every descriptor in the range.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

/// This machine: the emulation, with its registry below the state root.
#[derive(Debug)]
pub struct Host {
    #[allow(dead_code)]
    jails: PathBuf,
}

impl Host {
    /// The emulation that keeps its jails below this directory.
    pub fn new(state_root: &Path) -> Self {
        Self { jails: state_root.join(".jails") }
    }
}

//! Processes as values. Pure.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// A process, told from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its pid on the host.
    pub pid: i32,
    /// When it started, since boot: microseconds on FreeBSD (`ki_start - kern.boottime`), clock ticks on Linux
    /// (field 22 of /proc/PID/stat). Steps of the clock do not move it.
    pub start: u64,
}

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that the console's owner holds.
    pub master: OwnedFd,
    /// The end that the process gets as 0, 1 and 2.
    pub slave: OwnedFd,
    /// The slave's name (`/dev/pts/3`).
    pub name: String,
}

/// A resource limit of a process (getrlimit(2)), by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The name, as `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit; `u64::MAX` is infinity.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is infinity.
    pub hard: u64,
}

/// Who a process becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

//! What a container uses, as values. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::process::ProcessIdentity;

/// What the kernel's account of a container says: racct on FreeBSD, a cgroup on Linux. What it does not say is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its processes, also of those that ended.
    pub cpu: Option<CpuTime>,
    /// How often and how long a CPU limit held it up.
    pub throttling: Option<Throttling>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// The most memory that it had, in bytes.
    pub memory_peak: Option<u64>,
    /// How often its memory limit was hit.
    pub memory_failures: Option<u64>,
    /// How many of its processes were killed because it lacked memory.
    pub memory_kills: Option<u64>,
    /// Swap, in bytes.
    pub swap: Option<u64>,
    /// Number of processes (on Linux: of tasks).
    pub processes: Option<u64>,
    /// Open files: the sizes of their tables.
    pub open_files: Option<u64>,
    /// What was read and written, by device.
    pub io: Option<Vec<DeviceTransfers>>,
    /// What is read and written at present, in bytes of a second.
    pub io_rate: Option<(u64, u64)>,
    /// Whatever else the kernel accounts, under its own names.
    pub raw: BTreeMap<String, u64>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// All of it.
    pub total: Duration,
    /// In programs; zero where the kernel does not tell them apart.
    pub user: Duration,
    /// In the kernel; zero where the kernel does not tell them apart.
    pub system: Duration,
}

/// What was read from and written to a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceTransfers {
    /// Its major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// What a CPU limit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods that have passed.
    pub periods: u64,
    /// Those in which the limit was hit.
    pub throttled: u64,
    /// How long processes waited for the next one, in all.
    pub time: Duration,
}

/// A living process, as ps(1) shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessView {
    /// Who it is.
    pub identity: ProcessIdentity,
    /// Its parent's pid on the host.
    pub parent: i32,
    /// Its effective user id.
    pub uid: u32,
    /// Its controlling terminal, without `/dev/`.
    pub terminal: Option<String>,
    /// How long ago it started.
    pub age: Duration,
    /// Its CPU time.
    pub cpu: CpuTime,
    /// The CPU time of its children that ended and were waited for.
    pub children: CpuTime,
    /// Its resident memory, in bytes; what it shares counts for each who shares it.
    pub resident: u64,
    /// How many files it has open, where the kernel tells.
    pub open_files: Option<u64>,
    /// Its arguments, or its name in brackets where it has none.
    pub command: String,
}

impl CpuTime {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, user: self.user + other.user, system: self.system + other.system }
    }

    /// Of its parts.
    pub fn of(user: Duration, system: Duration) -> Self {
        Self { total: user + system, user, system }
    }
}

/// The words of a command line as the kernel keeps them, each with a NUL behind it, on one line.
pub fn command_line(words: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.trim_end_matches('\0').replace('\0', " ");
    // What a program writes there must not look like another row of a table.
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if line.is_empty() { format!("[{name}]") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(command_line(b"sh\0-c\0a\nb\0", "sh"), "sh -c a?b");
        assert_eq!(command_line(b"", "kthread"), "[kthread]");
    }
}

//! What a container uses, in the shape of runc's `events`: the kernel's account of it (racct, a cgroup), and where that
//! says nothing, the sum of its living processes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Error, Result, Runtime};
use crate::state::{Record, Status};
use crate::sys::Kernel;
use crate::sys::limit::Limits;
use crate::sys::usage::{CpuTime, DeviceTransfers, ProcessView, Throttling, Usage};

/// The figures of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// CPU.
    pub cpu: Cpu,
    /// Nothing: there is no set of CPUs.
    pub cpuset: Nothing,
    /// Memory.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Transfers, where the kernel accounts them by device.
    pub blkio: Blkio,
    /// Nothing.
    pub hugetlb: Nothing,
    /// Nothing.
    pub intel_rdt: Nothing,
    /// Null, as of a container whose interfaces runj does not make.
    pub network_interfaces: (),
    /// Open files.
    #[serde(skip)]
    pub open_files: Option<u64>,
    /// Bytes that are read and written in a second, where the kernel tells at once.
    #[serde(skip)]
    pub io_rate: Option<(u64, u64)>,
}

/// Transfers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes, by device and direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
}

/// Transfers from or to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// `Read` or `Write`.
    pub op: &'static str,
    /// Bytes.
    pub value: u64,
}

impl Blkio {
    fn of(devices: &[DeviceTransfers]) -> Self {
        let entries = devices.iter().flat_map(|device| {
            let entry = |op, value| BlkioEntry { major: device.major, minor: device.minor, op, value };
            [entry("Read", device.read), entry("Write", device.written)]
        });
        Self { io_service_bytes_recursive: Some(entries.collect()) }
    }

    /// Bytes that were read and written in all.
    pub fn transferred(&self) -> Option<(u64, u64)> {
        let entries = self.io_service_bytes_recursive.as_ref()?;
        let sum = |op| entries.iter().filter(|entry| entry.op == op).fold(0, |sum: u64, e| sum.saturating_add(e.value));
        Some((sum("Read"), sum("Write")))
    }
}

/// An object without properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nothing {}

/// CPU time, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// How a limit held it up.
    pub throttling: CpuThrottling,
}

/// CPU time, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// How a CPU limit held processes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuThrottling {
    /// Periods.
    pub periods: u64,
    /// Of these, with the limit hit.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
}

/// Memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Memory without swap.
    pub usage: MemoryEntry,
    /// Swap.
    pub swap: MemoryEntry,
    /// What else the kernel accounts, under its own names.
    pub raw: BTreeMap<String, u64>,
}

/// A kind of memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit; the largest number is none.
    pub limit: u64,
    /// In use.
    pub usage: u64,
    /// The most that was in use.
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be; 0 is no limit.
    pub limit: u64,
}

/// The figures of a living container.
pub fn stats<K: Kernel>(runtime: &Runtime<'_, K>, record: &Record) -> Result<Stats> {
    let status = runtime.status(record)?;
    let (Some(jid), Status::Created | Status::Running | Status::Paused) = (record.jid, status) else {
        return Err(Error::Status { id: record.id.clone(), status, needs: "there is nothing to account" });
    };
    let usage = runtime.kernel.usage(&record.jail_name, &record.limits)?;
    Ok(combine(usage, &runtime.kernel.views(jid)?, &record.limits))
}

/// The account first. Its CPU time can be coarser than that of the processes, and includes those that ended; theirs is
/// finer, and includes the ended ones that were waited for inside. So neither can be too much, and the larger is nearer.
pub(super) fn combine(usage: Usage, processes: &[ProcessView], limits: &Limits) -> Stats {
    let sum = processes.iter().fold(CpuTime::default(), |sum, view| sum.plus(view.cpu).plus(view.children));
    let account = usage.cpu.unwrap_or_default();
    let cpu = if account.total >= sum.total { account } else { sum };
    // An account without parts is divided as the processes are.
    let (user, system) =
        if cpu.user + cpu.system > Duration::ZERO { (cpu.user, cpu.system) } else { (sum.user, sum.system) };
    let throttling = usage.throttling.unwrap_or_default();
    let resident = processes.iter().fold(0, |sum: u64, view| sum.saturating_add(view.resident));
    let memory = usage.memory.unwrap_or(resident);
    let open: Option<u64> = processes.iter().map(|view| view.open_files).sum();
    Stats {
        cpu: Cpu {
            usage: CpuUsage { total: nanos(cpu.total), kernel: nanos(system), user: nanos(user) },
            throttling: throttled(throttling),
        },
        cpuset: Nothing {},
        memory: Memory {
            usage: MemoryEntry {
                limit: limits.memory.unwrap_or(u64::MAX),
                usage: memory,
                max: usage.memory_peak.unwrap_or(0),
                failcnt: usage.memory_failures.unwrap_or(0),
            },
            swap: MemoryEntry {
                limit: limits.swap.unwrap_or(u64::MAX),
                usage: usage.swap.unwrap_or(0),
                max: 0,
                failcnt: 0,
            },
            raw: usage.raw,
        },
        pids: Pids { current: usage.processes.unwrap_or(processes.len() as u64), limit: limits.pids.unwrap_or(0) },
        blkio: usage.io.as_deref().map_or(Blkio { io_service_bytes_recursive: None }, Blkio::of),
        hugetlb: Nothing {},
        intel_rdt: Nothing {},
        network_interfaces: (),
        open_files: open.or(usage.open_files),
        io_rate: usage.io_rate,
    }
}

fn throttled(throttling: Throttling) -> CpuThrottling {
    CpuThrottling {
        periods: throttling.periods,
        throttled_periods: throttling.throttled,
        throttled_time: nanos(throttling.time),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::ProcessIdentity;

    fn process(millis: u64, children: u64) -> ProcessView {
        let time = |millis| CpuTime::of(Duration::from_millis(millis), Duration::ZERO);
        ProcessView {
            identity: ProcessIdentity { pid: 5, start: 1 },
            parent: 1,
            uid: 0,
            terminal: None,
            age: Duration::from_secs(9),
            cpu: time(millis),
            children: time(children),
            resident: 1000,
            open_files: Some(4),
            command: String::new(),
        }
    }

    #[test]
    fn without_an_account_processes_are_added_up() {
        let stats = combine(Usage::default(), &[process(1, 2), process(3, 0)], &Limits::default());
        assert_eq!((stats.cpu.usage.total, stats.cpu.usage.user), (6_000_000, 6_000_000));
        assert_eq!((stats.memory.usage.usage, stats.memory.usage.limit), (2000, u64::MAX));
        assert_eq!(stats.pids, Pids { current: 2, limit: 0 });
        assert_eq!((stats.open_files, stats.blkio.transferred()), (Some(8), None));
    }

    #[test]
    fn the_account_is_preferred_and_a_finer_time_to_a_coarse_one() {
        let account = |seconds| Usage {
            cpu: Some(CpuTime { total: Duration::from_secs(seconds), ..CpuTime::default() }),
            memory: Some(7),
            processes: Some(1),
            ..Usage::default()
        };
        let limits = Limits { memory: Some(64), pids: Some(3), ..Limits::default() };
        let ended = combine(account(5), &[process(1900, 0)], &limits);
        assert_eq!((ended.cpu.usage.total, ended.cpu.usage.user), (5_000_000_000, 1_900_000_000));
        assert_eq!(combine(account(1), &[process(1900, 0)], &limits).cpu.usage.total, 1_900_000_000);
        assert_eq!((ended.memory.usage.usage, ended.memory.usage.limit, ended.pids.limit), (7, 64, 3));
    }

    #[test]
    fn the_shape_is_runcs() {
        let value = serde_json::to_value(combine(Usage::default(), &[], &Limits::default())).unwrap();
        for pointer in [
            "/cpu/usage/total",
            "/cpu/throttling/throttledPeriods",
            "/memory/usage/failcnt",
            "/memory/swap/limit",
            "/memory/raw",
            "/pids/current",
            "/blkio",
            "/hugetlb",
            "/intel_rdt",
        ] {
            assert!(value.pointer(pointer).is_some(), "{pointer}: {value}");
        }
        assert!(value["network_interfaces"].is_null());
    }
}

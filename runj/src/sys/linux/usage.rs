//! What a cgroup accounts, version 1 and 2.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::cgroup::{self, Layout};
use super::views;
use crate::sys::limit::Limits;
use crate::sys::usage::{CpuTime, DeviceTransfers, Throttling, Usage};
use crate::sys::{Result, SysError};

/// The account of the cgroup; empty if there is none.
pub fn usage(limits: &Limits) -> Result<Usage> {
    let (Some(group), Some(layout)) = (cgroup::group(limits)?, cgroup::layout()) else { return Ok(Usage::default()) };
    let ticks = views::ticks_per_second().map_err(|errno: Errno| SysError::new("clock ticks of a second", errno))?;
    let file = |controller: &'static str| Files(layout.directory(controller, &group));
    Ok(match &layout {
        Layout::Unified(_) => unified(&file("")),
        Layout::Split(_) => split(&file, ticks),
    })
}

/// The files of a controller, if it is there.
struct Files(Option<PathBuf>);

impl Files {
    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.0.as_deref()?.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// Lines of a name and a number.
    fn table(&self, name: &str) -> BTreeMap<String, u64> {
        self.text(name).map(|text| table(&text)).unwrap_or_default()
    }
}

fn table(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn throttling(table: &BTreeMap<String, u64>, time: &str, unit: fn(u64) -> Duration) -> Option<Throttling> {
    Some(Throttling {
        periods: *table.get("nr_periods")?,
        throttled: *table.get("nr_throttled")?,
        time: unit(*table.get(time)?),
    })
}

/// A line of `io.stat`: `8:0 rbytes=1 wbytes=2 …`.
fn device_unified(line: &str) -> Option<DeviceTransfers> {
    let (device, rest) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let of = |key: &str| rest.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok()).unwrap_or(0);
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some(DeviceTransfers { major, minor, read: of("rbytes="), written: of("wbytes=") })
}

/// Lines of a device, an operation and bytes: `8:0 Read 1`.
fn devices_split(text: &str) -> Vec<DeviceTransfers> {
    let mut devices: Vec<DeviceTransfers> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[device, operation, bytes] = words.as_slice() else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor), Ok(bytes)) = (major.parse(), minor.parse(), bytes.parse()) else { continue };
        if !devices.iter().any(|known| (known.major, known.minor) == (major, minor)) {
            devices.push(DeviceTransfers { major, minor, read: 0, written: 0 });
        }
        let known = devices.iter_mut().find(|known| (known.major, known.minor) == (major, minor));
        match (known, operation) {
            (Some(known), "Read") => known.read = bytes,
            (Some(known), "Write") => known.written = bytes,
            _ => {}
        }
    }
    devices
}

fn unified(files: &Files) -> Usage {
    let cpu = files.table("cpu.stat");
    let micros = |name: &str| cpu.get(name).map(|count| Duration::from_micros(*count));
    let events = files.table("memory.events");
    Usage {
        cpu: micros("usage_usec").map(|total| CpuTime {
            total,
            user: micros("user_usec").unwrap_or_default(),
            system: micros("system_usec").unwrap_or_default(),
        }),
        throttling: throttling(&cpu, "throttled_usec", Duration::from_micros),
        memory: files.number("memory.current"),
        memory_peak: files.number("memory.peak"),
        memory_failures: events.get("max").copied(),
        memory_kills: events.get("oom_kill").copied(),
        swap: files.number("memory.swap.current"),
        processes: files.number("pids.current"),
        io: files.text("io.stat").map(|text| text.lines().filter_map(device_unified).collect()),
        raw: files.table("memory.stat"),
        ..Usage::default()
    }
}

fn split(files: &dyn Fn(&'static str) -> Files, ticks: u64) -> Usage {
    let (memory, account, cpu) = (files("memory"), files("cpuacct"), files("cpu"));
    let parts = account.table("cpuacct.stat");
    let part = |name: &str| parts.get(name).map_or(Duration::ZERO, |count| views::ticks(*count, ticks));
    let with_swap = memory.number("memory.memsw.usage_in_bytes");
    let used = memory.number("memory.usage_in_bytes");
    Usage {
        cpu: account.number("cpuacct.usage").map(|total| CpuTime {
            total: Duration::from_nanos(total),
            user: part("user"),
            system: part("system"),
        }),
        throttling: throttling(&cpu.table("cpu.stat"), "throttled_time", Duration::from_nanos),
        memory: used,
        memory_peak: memory.number("memory.max_usage_in_bytes"),
        memory_failures: memory.number("memory.failcnt"),
        memory_kills: memory.table("memory.oom_control").get("oom_kill").copied(),
        swap: with_swap.zip(used).map(|(both, memory)| both.saturating_sub(memory)),
        processes: files("pids").number("pids.current"),
        io: files("blkio").text("blkio.throttle.io_service_bytes_recursive").map(|text| devices_split(&text)),
        raw: memory.table("memory.stat"),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(content: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in content {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let files = Files(Some(directory.path().to_owned()));
        (directory, files)
    }

    fn device(major: u64, minor: u64, read: u64, written: u64) -> DeviceTransfers {
        DeviceTransfers { major, minor, read, written }
    }

    #[test]
    fn version_2() {
        let (_directory, files) = files(&[
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.events", "low 0\nmax 7\noom_kill 1\n"),
            ("memory.stat", "anon 5\n"),
            ("pids.current", "2\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:1 rbytes=5 wbytes=6\n"),
        ]);
        let usage = unified(&files);
        assert_eq!(usage.cpu.unwrap().total, Duration::from_micros(30));
        assert_eq!(usage.throttling.unwrap().throttled, 3);
        assert_eq!(usage.io.clone().unwrap(), [device(8, 0, 1, 2), device(254, 1, 5, 6)]);
        assert_eq!((usage.memory, usage.memory_peak, usage.processes), (Some(4096), None, Some(2)));
        assert_eq!((usage.memory_failures, usage.memory_kills, usage.raw["anon"]), (Some(7), Some(1), 5));
    }

    #[test]
    fn version_1() {
        let content = [
            ("cpuacct.usage", "3000"),
            ("cpuacct.stat", "user 100\nsystem 50\n"),
            ("memory.usage_in_bytes", "10"),
            ("memory.memsw.usage_in_bytes", "12"),
            ("memory.oom_control", "oom_kill_disable 0\noom_kill 2\n"),
            ("pids.current", "1"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n254:1 Read 5\nTotal 8\n",
            ),
        ];
        let (directory, _) = files(&content);
        let usage = split(&|_| Files(Some(directory.path().to_owned())), 100);
        let cpu = usage.cpu.unwrap();
        assert_eq!((cpu.total, cpu.user), (Duration::from_nanos(3000), Duration::from_secs(1)));
        assert_eq!((usage.memory, usage.swap, usage.memory_kills), (Some(10), Some(2), Some(2)));
        assert_eq!(usage.throttling, None);
        assert_eq!(usage.io.unwrap(), [device(8, 0, 1, 2), device(254, 1, 5, 0)]);
    }

    #[test]
    fn no_group_has_no_account() {
        assert_eq!(usage(&Limits::default()), Ok(Usage::default()));
    }
}

//! `stats`: what containers use over a time, from two samples of the figures that `events` shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::events::is_living;
use super::stats::{Stats, stats};
use super::{Error, Result, Runtime};
use crate::id::ContainerId;
use crate::sys::Kernel;

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// The container.
    pub id: ContainerId,
    /// CPU time, in percent of one processor.
    pub cpu_percent: f64,
    /// Memory, in bytes.
    pub memory: Amount,
    /// Processes (on Linux: tasks).
    pub pids: Amount,
    /// Open files; on FreeBSD before 13 the sizes of their tables.
    pub open_files: Option<u64>,
    /// Transfers, where the kernel tells.
    pub io: Option<Transfers>,
}

/// How much of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// In use.
    pub usage: u64,
    /// At most.
    pub limit: Option<u64>,
}

/// Transfers from and to file systems, in bytes of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfers {
    /// Read.
    pub read_per_second: u64,
    /// Written.
    pub written_per_second: u64,
}

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// One interval.
    One,
    /// Until the containers have stopped; for all containers without end.
    Endless,
}

/// Figures, and when they were taken.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    stats: Stats,
}

/// Hands what these containers use to `show`, after each interval. None named are all that live, whichever these are.
///
/// # Errors
/// A container that is named and does not live at the start; whatever `show` says.
pub fn watch<K: Kernel, E: From<Error>>(
    runtime: &Runtime<'_, K>,
    named: &[ContainerId],
    interval: Duration,
    rounds: Rounds,
    mut show: impl FnMut(&[Load]) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut before = BTreeMap::new();
    for id in named {
        before.insert(id.clone(), sample(runtime, id)?);
    }
    if named.is_empty() {
        before = living(runtime, &runtime.store.ids().map_err(Error::from)?)?;
    }
    loop {
        std::thread::sleep(interval);
        let after = match named {
            [] => living(runtime, &runtime.store.ids().map_err(Error::from)?)?,
            named => living(runtime, named)?,
        };
        let loads: Vec<Load> =
            after.iter().filter_map(|(id, after)| before.get(id).map(|before| load(id, before, after))).collect();
        show(&loads)?;
        if rounds == Rounds::One || (!named.is_empty() && after.is_empty()) {
            return Ok(());
        }
        before = after;
    }
}

fn sample<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<Sample> {
    let stats = stats(runtime, &runtime.store.read(id)?)?;
    Ok(Sample { at: Instant::now(), stats })
}

/// Samples of those that live.
fn living<K: Kernel>(runtime: &Runtime<'_, K>, ids: &[ContainerId]) -> Result<BTreeMap<ContainerId, Sample>> {
    let mut samples = BTreeMap::new();
    for id in ids {
        match sample(runtime, id) {
            Ok(sample) => drop(samples.insert(id.clone(), sample)),
            // One that has stopped, also since it was looked at, or whose record is broken, which `list` shows.
            Err(_) if !is_living(runtime, id).unwrap_or(false) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(samples)
}

/// What was used between two samples.
fn load(id: &ContainerId, before: &Sample, after: &Sample) -> Load {
    let time = after.at.saturating_duration_since(before.at).max(Duration::from_millis(1));
    let nanos = after.stats.cpu.usage.total.saturating_sub(before.stats.cpu.usage.total);
    let percent = Duration::from_nanos(nanos).as_secs_f64() / time.as_secs_f64() * 100.0;
    let per_second = |before: u64, after: u64| {
        let bytes = u128::from(after.saturating_sub(before)) * 1000 / time.as_millis();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    let stats = &after.stats;
    let sums = before.stats.blkio.transferred().zip(stats.blkio.transferred());
    let io =
        stats.io_rate.or(sums.map(|(before, after)| (per_second(before.0, after.0), per_second(before.1, after.1))));
    Load {
        id: id.clone(),
        cpu_percent: (percent * 100.0).round() / 100.0,
        memory: Amount {
            usage: stats.memory.usage.usage,
            limit: Some(stats.memory.usage.limit).filter(|limit| *limit != u64::MAX),
        },
        pids: Amount { usage: stats.pids.current, limit: Some(stats.pids.limit).filter(|limit| *limit != 0) },
        open_files: stats.open_files,
        io: io.map(|(read, written)| Transfers { read_per_second: read, written_per_second: written }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::combine;
    use super::*;
    use crate::sys::limit::Limits;
    use crate::sys::usage::{CpuTime, DeviceTransfers, Usage};

    fn sample(at: Instant, cpu: u64, read: u64, rate: Option<(u64, u64)>) -> Sample {
        let device = DeviceTransfers { major: 8, minor: 0, read, written: 5 };
        let usage = Usage {
            cpu: Some(CpuTime::of(Duration::from_millis(cpu), Duration::ZERO)),
            memory: Some(4096),
            processes: Some(3),
            io: Some(vec![device, DeviceTransfers { minor: 1, ..device }]),
            io_rate: rate,
            ..Usage::default()
        };
        Sample { at, stats: combine(usage, &[], &Limits { memory: Some(8192), ..Limits::default() }) }
    }

    #[test]
    fn two_samples_are_a_load() {
        let id: ContainerId = "c1".parse().unwrap();
        let now = Instant::now();
        let later = now + Duration::from_millis(500);
        let shown = load(&id, &sample(now, 1000, 100, None), &sample(later, 1250, 600, None));
        let io = Transfers { read_per_second: 2000, written_per_second: 0 };
        let expected = Load {
            id: id.clone(),
            cpu_percent: 50.0,
            memory: Amount { usage: 4096, limit: Some(8192) },
            pids: Amount { usage: 3, limit: None },
            open_files: Some(0),
            io: Some(io),
        };
        assert_eq!(shown, expected);
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!((&json["cpuPercent"], &json["pids"]["limit"]), (&50.0.into(), &serde_json::Value::Null));
        // The kernel's own rates are nearer, and what went back, with processes that ended, is nothing.
        let rates = load(&id, &sample(now, 1000, 100, None), &sample(now, 900, 100, Some((8, 9))));
        assert_eq!((rates.cpu_percent, rates.io.unwrap().written_per_second), (0.0, 9));
    }
}

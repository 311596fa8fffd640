//! What `runj events --stats` prints, as the message that containerd's clients know: `io.containerd.cgroups.v1.Metrics`.
//! Pure.

use protobuf::well_known_types::any::Any;
use protobuf::{Message, MessageFull};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::proto::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, MemoryEntry, MemoryStat, Metrics, PidsStat, Throttle,
};

/// The line that runc and runj print.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    cpu: Cpu,
    memory: Memory,
    pids: Pids,
    blkio: Blkio,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Blkio {
    io_service_bytes_recursive: Vec<Transferred>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transferred {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    usage: CpuTimes,
    throttling: Throttling,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuTimes {
    total: u64,
    percpu: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    cache: u64,
    usage: Entry,
    swap: Entry,
    kernel: Entry,
    raw: Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    limit: u64,
    usage: u64,
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    rss: u64,
    total_inactive_file: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: u64,
    limit: u64,
}

fn transferred(entry: Transferred) -> BlkIOEntry {
    let Transferred { major, minor, op, value } = entry;
    BlkIOEntry { major, minor, op, value, ..Default::default() }
}

/// Translates runj's line.
pub fn metrics(line: &[u8]) -> Result<Any> {
    let line: Line =
        serde_json::from_slice(line).map_err(|error| Error::unknown(format!("runj events --stats: {error}")))?;
    let Data { cpu, memory, pids, blkio } = line.data;
    let usage = CPUUsage {
        total: cpu.usage.total,
        kernel: cpu.usage.kernel,
        user: cpu.usage.user,
        per_cpu: cpu.usage.percpu,
        ..Default::default()
    };
    let throttling = Throttle {
        periods: cpu.throttling.periods,
        throttled_periods: cpu.throttling.throttled_periods,
        throttled_time: cpu.throttling.throttled_time,
        ..Default::default()
    };
    let entry = |entry: Entry| MemoryEntry {
        limit: entry.limit,
        usage: entry.usage,
        max: entry.max,
        failcnt: entry.failcnt,
        ..Default::default()
    };
    let memory = MemoryStat {
        cache: memory.cache,
        rss: memory.raw.rss,
        total_inactive_file: memory.raw.total_inactive_file,
        usage: Some(entry(memory.usage)).into(),
        swap: Some(entry(memory.swap)).into(),
        kernel: Some(entry(memory.kernel)).into(),
        ..Default::default()
    };
    let metrics = Metrics {
        pids: Some(PidsStat { current: pids.current, limit: pids.limit, ..Default::default() }).into(),
        cpu: Some(CPUStat { usage: Some(usage).into(), throttling: Some(throttling).into(), ..Default::default() })
            .into(),
        memory: Some(memory).into(),
        blkio: Some(BlkIOStat {
            io_service_bytes_recursive: blkio.io_service_bytes_recursive.into_iter().map(transferred).collect(),
            ..Default::default()
        })
        .into(),
        ..Default::default()
    };
    let value = metrics.write_to_bytes().map_err(|error| Error::unknown(error.to_string()))?;
    Ok(Any { type_url: Metrics::descriptor().full_name().to_owned(), value, ..Any::default() })
}

/// What `runj events --oom` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kills {
    oom_kills: Option<u64>,
}

/// How many processes were killed for want of memory; 0 where the kernel does not tell.
pub fn memory_kills(line: &[u8]) -> Result<u64> {
    let kills: Kills =
        serde_json::from_slice(line).map_err(|error| Error::unknown(format!("runj events --oom: {error}")))?;
    Ok(kills.oom_kills.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_runc() {
        let line = br#"{"type":"stats","id":"x","data":{"cpu":{"usage":{"total":7,"percpu":[3,4],"kernel":1,"user":6},
            "throttling":{"throttledPeriods":2}},"memory":{"usage":{"limit":100,"usage":50,"max":60,"failcnt":0},
            "raw":{"rss":40}},"pids":{"current":3},"blkio":{"ioServiceBytesRecursive":[{"major":8,"minor":1,"op":"Read","value":9}]},"hugetlb":null}}"#;
        let any = metrics(line).unwrap();
        assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
        let metrics = Metrics::parse_from_bytes(&any.value).unwrap();
        assert_eq!(metrics.pids.current, 3);
        let read = &metrics.blkio.io_service_bytes_recursive[0];
        assert_eq!((read.major, read.minor, read.op.as_str(), read.value), (8, 1, "Read", 9));
        assert_eq!(memory_kills(br#"{"id":"c1","oomKills":2}"#).unwrap(), 2);
        assert_eq!(memory_kills(br#"{"id":"c1","oomKills":null}"#).unwrap(), 0);
        assert_eq!(metrics.cpu.usage.per_cpu, [3, 4]);
        assert_eq!(metrics.cpu.throttling.throttled_periods, 2);
        assert_eq!((metrics.memory.usage.usage, metrics.memory.rss), (50, 40));
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        assert!(metrics(b"").unwrap_err().text.starts_with("runj events --stats: "));
    }
}

//! `stats`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::events::interval;
use super::list::{Format, table};
use super::print;
use crate::id::ContainerId;
use crate::runtime::Runtime;
use crate::runtime::load::{Amount, Load, Rounds, watch};
use crate::sys::Kernel;

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub struct Stats {
    /// Show figures once, after one interval
    #[arg(long)]
    no_stream: bool,
    /// How long figures are taken for, as 500ms, 5s or 1m30s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// How figures are shown; json is an array for each interval
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// Ids of containers [default: all that live]
    id: Vec<ContainerId>,
}

impl Stats {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let rounds = if self.no_stream { Rounds::One } else { Rounds::Endless };
        let clear = !self.no_stream && self.format == Format::Table && std::io::stdout().is_terminal();
        watch(runtime, &self.id, self.interval, rounds, |loads| match self.format {
            Format::Json => print(&(serde_json::to_string(loads)? + "\n")),
            Format::Table => print(&format!("{}{}", if clear { CLEAR } else { "" }, shown(loads))),
        })
    }
}

fn shown(loads: &[Load]) -> String {
    let head = ["ID", "CPU %", "MEMORY / LIMIT", "MEM %", "PIDS / LIMIT", "FILES", "READ/S", "WRITE/S"];
    table(std::iter::once(head.map(str::to_owned)).chain(loads.iter().map(row)))
}

fn row(load: &Load) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let of = |amount: Amount, show: fn(u64) -> String| {
        format!("{} / {}", show(amount.usage), or_dash(amount.limit.map(show)))
    };
    let share = load.memory.limit.map(|limit| {
        let thousandths = u128::from(load.memory.usage) * 1000 / u128::from(limit.max(1));
        format!("{}.{}", thousandths / 10, thousandths % 10)
    });
    [
        load.id.to_string(),
        format!("{:.1}", load.cpu_percent),
        of(load.memory, size),
        or_dash(share),
        of(load.pids, |count| count.to_string()),
        or_dash(load.open_files.map(|count| count.to_string())),
        or_dash(load.io.map(|io| size(io.read_per_second))),
        or_dash(load.io.map(|io| size(io.written_per_second))),
    ]
}

/// Bytes with a unit of a power of 1024, as `--memory` takes them, and one digit behind the point.
fn size(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}B"),
        _ => format!("{}.{}{}", tenths / 10, tenths % 10, units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::runtime::load::Transfers;

    #[rstest]
    #[case(0, "0B")]
    #[case(1023, "1023B")]
    #[case(1536, "1.5K")]
    #[case(64 << 20, "64.0M")]
    #[case(u64::MAX, "15.9E")]
    fn sizes_are_short(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(size(bytes), text);
    }

    #[test]
    fn a_row_has_what_is_known() {
        let load = Load {
            id: "web".parse().unwrap(),
            cpu_percent: 12.345,
            memory: Amount { usage: 3 << 20, limit: Some(4 << 20) },
            pids: Amount { usage: 2, limit: None },
            open_files: None,
            io: Some(Transfers { read_per_second: 0, written_per_second: 2048 }),
        };
        let expected = "\
ID    CPU %   MEMORY / LIMIT   MEM %   PIDS / LIMIT   FILES   READ/S   WRITE/S
web   12.3    3.0M / 4.0M      75.0    2 / -          -       0B       2.0K
";
        assert_eq!(shown(&[load]), expected);
        assert_eq!(shown(&[]).lines().count(), 1);
    }
}

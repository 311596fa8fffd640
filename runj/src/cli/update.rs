//! `update`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Arg, ArgMatches, Args, FromArgMatches};

use super::need_root;
use crate::bundle::read_file;
use crate::config::MAX_CONFIG;
use crate::config::resources::LinuxResources;
use crate::id::ContainerId;
use crate::plan::limit::Change;
use crate::runtime::Runtime;
use crate::runtime::update::update;
use crate::sys::Kernel;
use crate::sys::limit::{CPU_PERIOD, parse_amount};

#[derive(Debug, Args)]
pub struct Update {
    /// Read limits from FILE (- is standard input), an object like linux.resources in config.json; other options of
    /// limits are ignored then, as by runc
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Memory: bytes, or a number with k, m, g, t; -1 lifts the limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Memory and swap together, not less than the memory; -1 lifts the limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Number of processes; -1 lifts the limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// CPU time in a period, in microseconds; -1 lifts the limit
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// The period, in microseconds [default: 100000]
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Number of processors' worth of CPU time, as 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_quota", "cpu_period"], value_parser = processors)]
    cpus: Option<i64>,
    /// The processors that may be used, as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// A rule of rctl(8) without its subject, as openfiles:deny=64 or vmemoryuse:log=2g; the amount -1 lifts it. May be
    /// repeated. On Linux only what a cgroup can do: memoryuse:sigkill, maxproc:deny, pcpu:deny
    #[arg(long, value_name = "RULE")]
    rctl: Vec<String>,
    /// The container's id
    id: ContainerId,
    #[command(flatten)]
    foreign: Foreign,
}

/// The names of runc's options for limits that jails have not, of those that were given.
#[derive(Debug)]
struct Foreign(Vec<&'static str>);

const FOREIGN: [&str; 12] = [
    "blkio-weight",
    "cpu-burst",
    "cpu-idle",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-share",
    "cpuset-mems",
    "kernel-memory",
    "kernel-memory-tcp",
    "l3-cache-schema",
    "mem-bw-schema",
    "memory-reservation",
];

impl Args for Foreign {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(FOREIGN.map(|name| Arg::new(name).long(name).hide(true).allow_hyphen_values(true)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Foreign {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(FOREIGN.into_iter().filter(|name| matches.contains_id(name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Update {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("update")?;
        let change = match &self.resources {
            Some(path) => change_of_file(path)?,
            None => self.change_of_flags()?,
        };
        Ok(update(runtime, &self.id, &change)?)
    }

    fn change_of_flags(&self) -> anyhow::Result<Change> {
        let Foreign(foreign) = &self.foreign;
        ensure!(foreign.is_empty(), "--{}: jails have no such limit", foreign.join(", --"));
        let mut change = Change { rules: self.rctl.clone(), ..Change::default() };
        let resources = &mut change.resources;
        resources.memory.limit = self.memory;
        resources.memory.swap = self.memory_swap;
        resources.pids.limit = self.pids_limit;
        resources.cpu.quota = self.cpu_quota.or(self.cpus);
        resources.cpu.cpus.clone_from(&self.cpuset_cpus);
        resources.cpu.period = self.cpu_period.or(self.cpus.map(|_| CPU_PERIOD));
        ensure!(!change.is_empty(), "nothing to change: give limits or --resources FILE");
        Ok(change)
    }
}

/// What engines write there is more than jails have: the rest is warned about, unless there is nothing else.
fn change_of_file(path: &Path) -> anyhow::Result<Change> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_CONFIG + 1).read_to_end(&mut bytes).context("standard input")?;
        bytes
    } else {
        read_file(path)?.with_context(|| format!("{}: no such file", path.display()))?
    };
    let (resources, ignored) = LinuxResources::parse(&bytes)?;
    let change = Change { resources, rules: Vec::new() };
    if !ignored.is_empty() && change.is_empty() {
        bail!("resources: jails have none of these limits: {}", ignored.join(", "));
    }
    for property in ignored {
        log::warn!("resources.{property}: jails have no such limit, it is not applied");
    }
    Ok(change)
}

/// Bytes as runc spells them: a number, with k, m, g, t or p for powers of 1024, and b or ib behind.
fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let refuse = || "is not a number of bytes, nor -1 for no limit".to_owned();
    parse_amount(text).and_then(|number| i64::try_from(number).ok()).ok_or_else(refuse)
}

/// `--cpus` as a quota in [`CPU_PERIOD`].
fn processors(text: &str) -> Result<i64, String> {
    let refuse = || "is not a positive number of processors".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain("00000".chars()).take(5).collect();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(&part) {
        return Err(refuse());
    }
    let quota: i64 = format!("{whole}{part}").parse().map_err(|_| refuse())?;
    if quota > 0 { Ok(quota) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("-1", Ok(-1))]
    #[case("512", Ok(512))]
    #[case("64m", Ok(64 << 20))]
    #[case("64M", Ok(64 << 20))]
    #[case("1GiB", Ok(1 << 30))]
    #[case("2kb", Ok(2048))]
    #[case("7b", Ok(7))]
    #[case("", Err(()))]
    #[case("m", Err(()))]
    #[case("-2", Err(()))]
    #[case("1x", Err(()))]
    #[case("9000000000g", Err(()))]
    fn sizes(#[case] text: &str, #[case] size: Result<i64, ()>) {
        assert_eq!(bytes(text).map_err(drop), size);
    }

    #[rstest]
    #[case("1", Ok(100_000))]
    #[case("1.5", Ok(150_000))]
    #[case(".25", Ok(25_000))]
    #[case("0", Err(()))]
    #[case("-1", Err(()))]
    #[case("x", Err(()))]
    fn cpus(#[case] text: &str, #[case] quota: Result<i64, ()>) {
        assert_eq!(processors(text).map_err(drop), quota);
    }
}

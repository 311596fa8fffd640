//! containerd's way to a container: our shim against its own for runc, under a containerd of the benchmark's own.

use std::time::Instant;

use anyhow::{Context, ensure};
use integ::needs::Missing;
use integ::{Case, Containerd, Need, Program, containerd, locate, needs};

use crate::measure::Sample;
use crate::place::Place;
use crate::table::{Pairs, Table};

const PEER: &str = "containerd-shim-runc-v2";
const RUNTIMES: [&str; 2] = [containerd::RUNTIME, "io.containerd.runc.v2"];

/// How many execs of one container share what they take.
const EXECS: u16 = 20;

/// Memory of the shims, and what `ctr run` and `ctr task exec` take with each.
pub fn shims(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    if let Some(Missing::Skipped(reason) | Missing::Inapplicable(reason)) =
        needs::missing(&[Need::Linux, Need::Containerd])
    {
        table.omit("containerd", &reason);
        return Ok(());
    }
    if let Some(name) = [PEER, "runc"].into_iter().find(|name| locate::program(name).is_none()) {
        table.omit("containerd", &format!("no {name}"));
        return Ok(());
    }
    let case = Case::at(&place.directory.join(format!("bench-{}", std::process::id())));
    let containerd = Containerd::start(&case);
    let run = |runtime: &str| timed(containerd.run_by(runtime, &["--rm"], &case.id(), &["true"]));
    let (mut pairs, mut client, mut without) = (Pairs::default(), Pairs::default(), Pairs::default());
    for round in 0..=table.rounds {
        let (ours, theirs, version) = (run(RUNTIMES[0])?, run(RUNTIMES[1])?, timed(containerd.ctr(["version"]))?);
        let id = case.id();
        let create = timed(containerd.ctr(["containers", "create", containerd::IMAGE, &id]))?;
        let delete = timed(containerd.ctr(["containers", "delete", &id]))?;
        if round > 0 {
            pairs.push(ours, theirs);
            client.push(ours, version);
            without.push(
                Sample { seconds: create.seconds + delete.seconds - version.seconds, ..Sample::default() },
                theirs,
            );
        }
    }
    table.add("ctr run --rm", PEER, &pairs);
    table.add("ctr run --rm", "ctr version", &client);
    // A container that is never run: what ctr and containerd take, one start of ctr too much left out.
    table.add("ctr containers create, delete", &format!("ctr run --rm with {PEER}"), &without);

    let ids = RUNTIMES.map(|runtime| {
        let id = case.id();
        containerd.run_by(runtime, &["--detach"], &id, &["sleep"]).ok();
        id
    });
    let memory =
        || -> anyhow::Result<[Memory; 2]> { Ok([of_shim(&containerd, &ids[0])?, of_shim(&containerd, &ids[1])?]) };
    let idle = memory()?;
    table.level("shim, one container: resident", PEER, idle[0].resident, idle[1].resident, "KiB");
    table.level("shim, one container: its share", PEER, idle[0].share, idle[1].share, "KiB");
    let (mut pairs, mut client) = (Pairs::default(), Pairs::default());
    let spent =
        || -> anyhow::Result<[f64; 2]> { Ok([spent_by(&containerd, &ids[0])?, spent_by(&containerd, &ids[1])?]) };
    let before = spent()?;
    for round in 0..=table.rounds {
        let exec = |id: &str| timed(containerd.exec(&[], &format!("e{round}"), id, &["true"]));
        let (ours, theirs, version) = (exec(&ids[0])?, exec(&ids[1])?, timed(containerd.ctr(["version"]))?);
        if round > 0 {
            pairs.push(ours, theirs);
            client.push(ours, version);
        }
    }
    table.add("ctr task exec", PEER, &pairs);
    table.add("ctr task exec", "ctr version", &client);
    let after = spent()?;
    let each = |side: usize| (after[side] - before[side]) / (table.rounds + 1) as f64;
    table.level("ctr task exec: processor time below containerd", PEER, each(0), each(1), "ms");
    let idle = memory()?;
    table.level("shim, after execs: resident", PEER, idle[0].resident, idle[1].resident, "KiB");
    for number in 0..EXECS {
        for id in &ids {
            containerd.exec(&["--detach"], &format!("s{number}"), id, &["sleep"]).ok();
        }
    }
    let busy = memory()?;
    let each = |side: usize| (busy[side].resident - idle[side].resident).max(0.0) / f64::from(EXECS);
    table.level("shim, each living exec", PEER, each(0), each(1), "KiB");
    for id in &ids {
        containerd.remove(id);
    }
    Ok(())
}

/// What a process has of the machine's memory, in KiB.
struct Memory {
    resident: f64,
    /// The same, with what it shares counted by how many share it.
    share: f64,
}

fn of_shim(containerd: &Containerd<'_>, id: &str) -> anyhow::Result<Memory> {
    let pid = containerd.shim_of(id).context("no shim")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.with_context(|| format!("/proc/{pid}/smaps_rollup: no {name}"))
    };
    Ok(Memory { resident: line("Rss:")?, share: line("Pss:")? })
}

/// Processor time of a shim and of what it has waited for, in milliseconds (proc(5): fields 14 to 17 of stat).
fn spent_by(containerd: &Containerd<'_>, id: &str) -> anyhow::Result<f64> {
    let pid = containerd.shim_of(id).context("no shim")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    // USER_HZ is 100 on every processor.
    Ok(ticks * 10.0)
}

fn timed(program: Program) -> anyhow::Result<Sample> {
    let name = program.name();
    let begin = Instant::now();
    let output = program.run();
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Sample { seconds, ..Sample::default() })
}

//! What is measured.

use std::process::Command;
use std::thread;

use anyhow::Context;

use crate::measure::{self, Sample, run};
use crate::place::{MOUNTS, Place, Wish, peers};
use crate::table::{Pairs, Table};

const TRUE: &[&str] = &["/bin/floor", "nothing"];
const SLEEP: &[&str] = &["/bin/floor", "sleep"];
const FLOOR: &str = "the kernel's part alone";
const KEPT: &str = "the kernel's part with a keeper";
const NOTHING: &str = "a program that ends at once";

/// `run` of a static program that does nothing, with mounts and a network stack of its own.
pub fn runs(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    for (name, mounts, vnet) in [
        ("run true", 0, false),
        ("run true, 5 mounts", 5, false),
        ("run true, 50 mounts", MOUNTS, false),
        ("run true, vnet", 0, true),
    ] {
        place.configure(&Wish { program: TRUE, tmpfs: mounts, vnet, ..Wish::default() })?;
        let net = if vnet { "vnet" } else { "shared" };
        table.compare(
            name,
            FLOOR,
            || place.runj(&place.of_bundle("run", "r")),
            || place.floor_run("run", net, mounts, TRUE),
        )?;
        if cfg!(target_os = "linux") {
            table.compare(
                name,
                KEPT,
                || place.runj(&place.of_bundle("run", "r")),
                || place.floor_run("keep", net, mounts, TRUE),
            )?;
        }
    }
    Ok(())
}

/// A whole life, against the kernel's part and against the other runtimes.
pub fn lives(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    place.configure(&Wish { program: TRUE, ..Wish::default() })?;
    let ours = || place.life(|args| place.runj(args));
    let mut pairs = Pairs::default();
    for _ in 0..table.rounds {
        // One program for each of the three verbs that the caller starts.
        let floor = run(place.floor_run("run", "shared", 0, TRUE))?
            + run(place.floor_nothing())?
            + run(place.floor_nothing())?
            + run(place.floor_nothing())?;
        pairs.push(ours()?, floor);
    }
    table.add("create+start+wait+delete", FLOOR, &pairs);
    place.configure(&Wish { program: TRUE, proc: cfg!(target_os = "linux"), ..Wish::default() })?;
    for peer in peers() {
        let mut pairs = Pairs::default();
        for _ in 0..table.rounds {
            pairs.push(ours()?, place.life(|args| place.peer(&peer, args)).context(peer.name)?);
        }
        table.add("create+start+wait+delete", peer.name, &pairs);
        table.compare(
            "run true",
            peer.name,
            || place.runj(&place.of_bundle("run", "r")),
            || place.peer(&peer, &place.of_bundle("run", "r")),
        )?;
    }
    Ok(())
}

/// Each verb, against a program that is started and ends.
pub fn verbs(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    place.configure(&Wish { program: SLEEP, ..Wish::default() })?;
    let names = ["create", "start", "state", "exec", "list", "kill", "delete"];
    let mut rows = vec![Pairs::default(); names.len()];
    for round in 0..=table.rounds {
        let mut program = 0;
        for (name, row) in names.iter().zip(&mut rows) {
            let args: &[&str] = match *name {
                "exec" => &["exec", "v", "/bin/floor", "nothing"],
                "list" => &["list"],
                "kill" => &["kill", "v", "KILL"],
                "delete" => {
                    // Whoever created it, an engine, waits for its end.
                    measure::reap(program, libc::SIGKILL)?;
                    &["delete", "v"]
                }
                verb => &[verb, "v"],
            };
            let ours = if *name == "create" {
                let (sample, pid) = place.create(|args| place.runj(args), "v")?;
                program = pid;
                sample
            } else {
                run(place.runj(args)).with_context(|| (*name).to_owned())?
            };
            let pair = (ours, run(place.floor_nothing())?);
            if round > 0 {
                row.push(pair.0, pair.1);
            }
        }
    }
    for (name, row) in names.iter().zip(&rows) {
        table.add(name, NOTHING, row);
    }
    table.compare("plan", NOTHING, || place.runj(&["plan", place.of_bundle("", "")[2]]), || place.floor_nothing())
}

/// The verbs with ever more containers beside theirs.
pub fn scale(place: &Place, table: &mut Table, most: usize) -> anyhow::Result<()> {
    place.configure(&Wish { program: SLEEP, ..Wish::default() })?;
    let mut present = 0;
    for count in [1, 10, 100, 1000].into_iter().filter(|&count| count <= most) {
        while present < count {
            let id = format!("c{present}");
            run(place.runj(&place.of_bundle("create", &id)))?;
            run(place.runj(&["start", &id]))?;
            present += 1;
        }
        let (mut state, mut exec, mut create, mut delete) =
            (Pairs::default(), Pairs::default(), Pairs::default(), Pairs::default());
        for _ in 0..table.rounds {
            state.push(run(place.runj(&["state", "c0"]))?, run(place.floor_nothing())?);
            exec.push(run(place.runj(&["exec", "c0", "/bin/floor", "nothing"]))?, run(place.floor_nothing())?);
            let (created, program) = place.create(|args| place.runj(args), "new")?;
            create.push(created, run(place.floor_nothing())?);
            // Whoever created it, an engine, waits for its end meanwhile.
            let deleted = thread::scope(|scope| {
                let engine = scope.spawn(move || measure::reap(program, libc::SIGKILL));
                let deleted = run(place.runj(&["delete", "--force", "new"]));
                if deleted.is_err() {
                    let _ = integ::ffi::kill(program, libc::SIGKILL);
                }
                engine.join().unwrap_or_else(|_| anyhow::bail!("the engine failed"))?;
                deleted
            })?;
            delete.push(deleted, run(place.floor_nothing())?);
        }
        for (name, pairs) in [("state", state), ("exec", exec), ("create", create), ("delete", delete)] {
            table.add(&format!("{name}, {count} present"), NOTHING, &pairs);
        }
        table.compare(
            &format!("list, {count} present"),
            "a read of a small file for each",
            || place.runj(&["list"]),
            || place.floor_read(),
        )?;
    }
    #[cfg(target_os = "linux")]
    table.note("private memory of one idle", private_memory()? / number(present), "KiB");
    for id in 0..present {
        run(place.runj(&["delete", "--force", &format!("c{id}")]))?;
    }
    Ok(())
}

/// Lives from eight clients at once.
pub fn storm(place: &Place, table: &mut Table, lives: usize) -> anyhow::Result<()> {
    const CLIENTS: usize = 8;
    place.configure(&Wish { program: TRUE, ..Wish::default() })?;
    let at_once = |life: &(dyn Fn(&str) -> Command + Sync)| {
        let begin = std::time::Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn(move || {
                        (0..lives / CLIENTS).try_for_each(|_| run(life(&format!("s{client}"))).map(drop))
                    })
                })
                .collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|_| anyhow::bail!("a client failed")))
        })?;
        anyhow::Ok(Sample { seconds: begin.elapsed().as_secs_f64(), ..Sample::default() })
    };
    let ours = at_once(&|id| place.runj(&place.of_bundle("run", id)))?;
    let theirs = at_once(&|_| place.floor_run("run", "shared", 0, TRUE))?;
    let mut pairs = Pairs::default();
    pairs.push(ours, theirs);
    table.add(&format!("{lives} runs from {CLIENTS} clients"), FLOOR, &pairs);
    table.note("lives a second", number(lives) / ours.seconds, "");
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // of a small number
fn number(count: usize) -> f64 {
    count as f64
}

/// Private KiB of all keepers and of the programs that they keep.
#[cfg(target_os = "linux")]
fn private_memory() -> anyhow::Result<f64> {
    let mut total = 0.0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if !line.starts_with("runj: jail") && line.replace('\0', " ").trim_end() != SLEEP.join(" ") {
            continue;
        }
        let rollup = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        total += private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(total)
}

/// System calls and forks of each verb's own process, where strace is installed.
pub fn counts(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok(());
    }
    place.configure(&Wish { program: SLEEP, ..Wish::default() })?;
    let of_bundle = place.of_bundle("create", "t");
    let verbs: [&[&str]; 7] = [
        &of_bundle,
        &["start", "t"],
        &["state", "t"],
        &["exec", "t", "/bin/floor", "nothing"],
        &["list"],
        &["kill", "t", "KILL"],
        &["delete", "--force", "t"],
    ];
    let file = place.directory.join("trace");
    for args in verbs {
        let runj = place.runj(args);
        let mut traced = Command::new("strace");
        traced.args(["-qq", "-o"]).arg(&file).arg(runj.get_program()).args(runj.get_args());
        run(traced)?;
        let trace = std::fs::read_to_string(&file)?;
        let is_fork = |line: &&str| ["clone(", "clone3(", "fork(", "vfork("].iter().any(|call| line.starts_with(call));
        table.note(&format!("{}: system calls", args[0]), number(trace.lines().count()), "");
        table.note(&format!("{}: forks", args[0]), number(trace.lines().filter(is_fork).count()), "");
    }
    Ok(())
}

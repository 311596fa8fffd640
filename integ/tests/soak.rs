//! The same life many times over, undisturbed, with random kills, and from many clients: what one leaves in a hundred
//! shows here. `make soak` has the long forms of these tests.
//!
//! The variables say how much; `INTEG_LONGEST` has to allow for it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods)]
#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use integ::container::Done;
use integ::ffi;
use integ::leaks::Leaks;
use integ::net::Network;
use integ::prelude::*;
use integ::run::Stdio;

/// How long a jail may go on dying. Not stretched on a slow machine: nothing is computed.
const DYING: Duration = Duration::from_secs(5);

/// How many clients kill at random.
const KILLERS: usize = 4;

/// How many lives between two looks at what is left.
const ROUND: u32 = 100;

/// A number from the environment.
fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Numbers that nobody foresees, from a seed that is printed (xorshift).
struct Random(u64);

impl Random {
    fn new(case: &Case, client: usize) -> Self {
        static SEED: AtomicU64 = AtomicU64::new(0);
        if SEED.load(Relaxed) == 0 {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let given = std::env::var("SOAK_SEED").ok().map(|text| text.parse::<u64>().unwrap());
            let seed = given.unwrap_or_else(|| now.subsec_nanos().into());
            if SEED.swap(seed | 1, Relaxed) == 0 {
                case.figure(&format!("SOAK_SEED={seed}"));
            }
        }
        Self(SEED.load(Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(client as u64 * 2 + 1))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Panics unless all is as it was, once what was dying is dead.
fn assert_nothing_left(case: &Case, before: &Leaks, when: &str) {
    let end = Instant::now() + DYING;
    loop {
        let left = before.differences(&Leaks::now(case));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "after {when}:\n{}", left.join("\n"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn many_lives_leave_nothing() {
    case(needs!(Runj, Vnet), |case| {
        let cycles = number("INTEG_CYCLES", 5);
        let mut network = Network::new(case).with_bridge();
        let pair = network.pair();
        let data = case.path("data");
        std::fs::create_dir(&data).unwrap();
        let bundle = case
            .bundle("minimal")
            .mount("/data", "nullfs", data.to_str().unwrap(), &[])
            .mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"])
            .mount("/dev/fd", "fdescfs", "fdescfs", &[])
            .mount("/proc", "procfs", "proc", &[])
            .set("/freebsd/jail", json!({"vnet": "new", "vnetInterfaces": [pair]}))
            .args(&["if-up", &pair, "10.77.0.11/24", "--and", "write-file", "/tmp/x", "y", "--and", "sleep"]);
        let before = Leaks::now(case);
        for cycle in 0..cycles {
            let container = case.container(&bundle);
            container.create().ok();
            container.start().ok();
            container.exec(&["interface", &pair]).ok();
            container.delete_force().ok();
            // As the engine does: a process that nobody reaps keeps its jail, and with it the memory of a network stack.
            container.wait();
            assert!(network.exists(&pair), "cycle {cycle}: the interface is gone");
        }
        assert_nothing_left(case, &before, &format!("{cycles} lives"));
        case.figure(&format!("{cycles} lives, and nothing left"));
    });
}

/// What the clients did.
#[derive(Debug, Default)]
struct Tally {
    /// Verb: how often it was begun, how often killed before its end.
    verbs: BTreeMap<&'static str, (u32, u32)>,
    /// How long each takes that is not killed, as a moving average.
    takes: BTreeMap<&'static str, Duration>,
}

impl Tally {
    /// When to kill: at a random moment of the verb's life, or never.
    fn moment(&self, verb: &str, random: &mut Random) -> Option<Duration> {
        let takes = *self.takes.get(verb)?;
        (random.below(3) > 0).then(|| Duration::from_nanos(random.below(takes.as_nanos() as u64 * 5 / 4)))
    }

    fn note(&mut self, verb: &'static str, killed: bool, took: Duration) {
        let (begun, ended) = self.verbs.entry(verb).or_default();
        *begun += 1;
        *ended += u32::from(killed);
        if !killed {
            let average = self.takes.entry(verb).or_insert(took);
            *average = (*average * 7 + took) / 8;
        }
    }
}

/// Carries out a verb, perhaps killed; true if it came to its end.
fn perhaps(tally: &Mutex<Tally>, random: &mut Random, verb: &'static str, program: Program) -> bool {
    let moment = tally.lock().unwrap().moment(verb, random);
    let began = Instant::now();
    let mut running = program.spawn();
    if let Some(moment) = moment {
        std::thread::sleep(moment);
        running.kill(libc::SIGKILL);
    }
    let killed = running.wait().code().is_none();
    tally.lock().unwrap().note(verb, killed, began.elapsed());
    !killed
}

/// One life in which any verb may be killed at any moment. Whatever is left is known, and released.
fn life(case: &Case, container: &Container<'_>, tally: &Mutex<Tally>, random: &mut Random) {
    let quiet = |program: Program| program.stdout(Stdio::Null).stderr(Stdio::Null);
    let id = container.id();
    let _ = std::fs::remove_file(container.pid_file());
    perhaps(tally, random, "create", container.creator(&[]));
    perhaps(tally, random, "start", quiet(case.runj(["start", id])));
    perhaps(tally, random, "exec", quiet(container.executor(&[], &["/integ-inside", "true"])));
    perhaps(tally, random, "delete", quiet(case.runj(["delete", "--force", id])));
    if random.below(4) == 0 {
        perhaps(tally, random, "gc", quiet(case.runj(["gc"])));
    }
    let listed = case.runj(["list", "-q"]).ok().lines().any(|line| line == id);
    let known = container.state_command().output.status.success();
    assert!(listed || !known, "{id}: state knows what list does not");
    container.delete_force().ok();
    container.state_command().fails_with(1, "exist");
}

#[test]
fn random_kills_leave_nothing() {
    case(needs!(Runj, Vnet), |case| {
        let (cycles, seconds) = (number("SOAK_CYCLES", 40), number("SOAK_SECONDS", 100));
        let mut network = Network::new(case);
        let data = case.path("data");
        std::fs::create_dir(&data).unwrap();
        let bundles: Vec<_> = (0..KILLERS)
            .map(|_| {
                case.bundle("minimal")
                    .mount("/data", "nullfs", data.to_str().unwrap(), &[])
                    .mount("/made/tmp", "tmpfs", "tmpfs", &[])
                    .set("/root/readonly", json!(true))
                    .set("/freebsd/jail", json!({"vnet": "new", "vnetInterfaces": [network.pair()]}))
                    .set("/linux", json!({"resources": {"pids": {"limit": 64}}}))
                    .args(&["fds", "--and", "sleep"])
            })
            .collect();
        let trees: Vec<_> = bundles.iter().map(Bundle::tree).collect();
        let (before, began) = (Leaks::now(case), Instant::now());
        let (tally, mut done, mut round) = (Mutex::new(Tally::default()), 0, 0);
        while done < cycles && began.elapsed() < Duration::from_secs(seconds.into()) {
            let (left, taken) = (ROUND.min(cycles - done), AtomicU32::new(0));
            std::thread::scope(|scope| {
                for (client, bundle) in bundles.iter().enumerate() {
                    let (tally, taken) = (&tally, &taken);
                    scope.spawn(move || {
                        let mut random = Random::new(case, round * KILLERS + client);
                        let container =
                            Container::new(case, bundle.dir()).with_id(&format!("{}-c{client}", case.marker()));
                        while taken.fetch_add(1, Relaxed) < left {
                            life(case, &container, tally, &mut random);
                        }
                    });
                }
            });
            (done, round) = (done + left, round + 1);
            case.runj(["gc"]).ok();
            assert_nothing_left(case, &before, &format!("{done} lives"));
            for (bundle, tree) in bundles.iter().zip(&trees) {
                assert_eq!(bundle.tree(), *tree, "after {done} lives");
            }
        }
        let tally = tally.into_inner().unwrap();
        let killed: u32 = tally.verbs.values().map(|(_, killed)| killed).sum();
        let took = began.elapsed().as_secs();
        case.figure(&format!("{done} of {cycles} lives in {took} s, {killed} verbs killed, nothing left"));
        for (verb, (begun, killed)) in &tally.verbs {
            let takes = tally.takes.get(verb);
            case.figure(&format!("  {verb}: {killed} of {begun} killed; undisturbed it takes {takes:?}"));
        }
        assert!(killed > done / 4, "{killed}");
    });
}

/// Runs the same thing from each client at once; returns how many succeeded.
fn winners(clients: usize, act: impl Fn(usize) -> Done + Sync) -> usize {
    let (barrier, count) = (Barrier::new(clients), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (barrier, count, act) = (&barrier, &count, &act);
            scope.spawn(move || {
                barrier.wait();
                count.fetch_add(u32::from(act(client).output.status.success()), Relaxed);
            });
        }
    });
    count.into_inner() as usize
}

#[test]
fn of_many_clients_one_wins_each_container() {
    case(needs!(Runj), |case| {
        let (clients, count) = (number("SOAK_CLIENTS", 8) as usize, number("SOAK_CONTAINERS", 5));
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]);
        let containers: Vec<_> = (0..count).map(|_| Container::new(case, bundle.dir())).collect();
        for container in &containers {
            let create = |client: usize| {
                let program = case.runj(["create", "--bundle"]).arg(bundle.dir()).arg(container.id());
                let log = |kind: &str| Stdio::File(case.log(&format!("{client}.{kind}")));
                Done::run(program.stdout(log("out")).stderr(log("err")))
            };
            assert_eq!(winners(clients, create), 1);
            assert_eq!(winners(clients, |_| container.start()), 1);
        }
        let list: Value = serde_json::from_str(&case.runj(["list", "-f", "json"]).ok()).unwrap();
        let running = list.as_array().unwrap().iter().filter(|entry| entry["status"] == "running").count();
        assert_eq!(running, count as usize);
        for container in &containers {
            assert_eq!(winners(clients, |_| container.delete_force()), clients);
            container.state_command().fails_with(1, "exist");
        }
        case.figure(&format!(
            "{clients} clients, {count} containers: one created each, one started it, all deletions worked"
        ));
    });
}

/// Any verb against any: every one ends within its deadline, no id is lost or half there, and a program ran no more often
/// than `start` succeeded, which did no more often than `create`.
#[test]
fn any_verb_against_any() {
    case(needs!(Runj), |case| {
        let clients = number("SOAK_CLIENTS", 8) as usize;
        let (count, seconds) = (number("SOAK_CONTAINERS", 5) as usize, number("SOAK_STORM", 8));
        let bundles: Vec<_> = (0..count)
            .map(|_| case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]))
            .map(|bundle| bundle.args(&["append", "/data/ran", "x", "--and", "sleep"]))
            .collect();
        let ids: Vec<_> = bundles.iter().map(|_| case.id()).collect();
        let (created, started): (Vec<_>, Vec<_>) = ids.iter().map(|_| (AtomicU32::new(0), AtomicU32::new(0))).unzip();
        let verbs = AtomicU32::new(0);
        let end = Instant::now() + Duration::from_secs(seconds.into());
        std::thread::scope(|scope| {
            for client in 0..clients {
                let (bundles, ids, created, started, verbs) = (&bundles, &ids, &created, &started, &verbs);
                scope.spawn(move || {
                    let mut random = Random::new(case, client);
                    let log = |kind: &str| Stdio::File(case.log(&format!("{client}.{kind}")));
                    while Instant::now() < end {
                        let which = random.below(count as u64) as usize;
                        let id = ids[which].as_str();
                        let verb = match random.below(17) {
                            0..4 => vec!["create", "--bundle", bundles[which].dir().to_str().unwrap(), id],
                            4..7 => vec!["start", id],
                            7 => vec!["exec", id, "/integ-inside", "true"],
                            8 => vec!["kill", id, "KILL"],
                            9 => vec!["pause", id],
                            10 => vec!["resume", id],
                            11 => vec!["delete", id],
                            12 => vec!["delete", "--force", id],
                            13 => vec!["list"],
                            14 => vec!["state", id],
                            15 => vec!["ps", id],
                            _ => vec!["gc"],
                        };
                        let output = case.runj(&verb).stdout(log("out")).stderr(log("err")).run();
                        let said = String::from_utf8_lossy(&output.stderr).into_owned();
                        assert!(!said.contains("panicked"), "{verb:?}: {said}");
                        // The program of exec may be killed with its jail; then its status is all there is to say.
                        let killed = verb[0] == "exec" && output.status.code() == Some(128 + 9);
                        assert!(output.status.success() || killed || !said.is_empty(), "{verb:?}: {}", output.status);
                        match (verb[0], output.status.success()) {
                            ("create", true) => drop(created[which].fetch_add(1, Relaxed)),
                            ("start", true) => drop(started[which].fetch_add(1, Relaxed)),
                            ("list" | "gc", false) => panic!("{verb:?}: {said}"),
                            ("delete", false) => assert!(verb[1] != "--force", "{said}"),
                            _ => {}
                        }
                        verbs.fetch_add(1, Relaxed);
                    }
                });
            }
            // An exec whose program was paused waits for somebody to resume it, and all are about to leave.
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            for id in &ids {
                case.runj(["delete", "--force", id]).ok();
            }
        });
        case.runj(["list", "-f", "json"]).ok();
        for (which, id) in ids.iter().enumerate() {
            case.runj(["delete", "--force", id]).ok();
            Done::run(case.runj(["state", id])).fails_with(1, "exist");
            let ran = std::fs::read_to_string(bundles[which].in_root("data/ran")).unwrap_or_default();
            let (created, started) = (created[which].load(Relaxed), started[which].load(Relaxed));
            assert!(started <= created, "{id}: created {created} times, started {started} times");
            let ran = ran.lines().count() as u32;
            assert!(ran <= started, "{id}: started {started} times, ran {ran} times");
        }
        ffi::reap_all();
        let sum = |counts: &[AtomicU32]| counts.iter().map(|count| count.load(Relaxed)).sum::<u32>();
        let (verbs, created, started) = (verbs.into_inner(), sum(&created), sum(&started));
        case.figure(&format!(
            "{clients} clients, {count} containers, {seconds} s: {verbs} verbs, {created} creations, {started} starts"
        ));
    });
}

//! Whether a test left something: what there is before and after it, by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Case, Program, ffi, locate, wait};

/// What there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaks(BTreeMap<&'static str, BTreeSet<String>>);

impl Leaks {
    /// What there is.
    pub fn now(case: &Case) -> Self {
        ffi::reap_all();
        Self(BTreeMap::from([
            ("mount", numbered(mounts())),
            ("process", processes()),
            ("interface", interfaces()),
            ("filter rule", numbered(rules())),
            ("jail", jails(case)),
            ("System V IPC", numbered(ipc())),
            ("state", state(&case.root())),
            ("host name", BTreeSet::from([hostname()])),
            ("limit", limits(case)),
        ]))
    }

    /// Every difference, as a line.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, before) in &self.0 {
            let now = &after.0[kind];
            lines.extend(now.difference(before).map(|entry| format!("{kind} left: {entry}")));
            let gone = before.difference(now).filter(|entry| *kind != "mount" || stands(entry));
            lines.extend(gone.map(|entry| format!("{kind} gone: {entry}")));
        }
        lines
    }

    /// Panics unless all is as it was, within some seconds: processes and interfaces take their time to go.
    #[track_caller]
    pub fn assert_none(&self, case: &Case) {
        let end = Instant::now() + wait::seconds(5);
        loop {
            let lines = self.differences(&Self::now(case));
            if lines.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "the test left something:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether the directory of a mount is still there. Linux takes a mount away with its directory, in every namespace, and
/// whoever removes that works on the real host, beside the test.
fn stands(mount: &str) -> bool {
    mount.split(' ').next().is_some_and(|directory| Path::new(directory).exists())
}

/// Equal lines made distinct, so that a set keeps them all.
fn numbered(lines: Vec<String>) -> BTreeSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    lines
        .into_iter()
        .map(|line| {
            let count = counts.entry(line.clone()).or_default();
            *count += 1;
            if *count == 1 { line } else { format!("{line} ({count})") }
        })
        .collect()
}

/// The output of a program that may not be there.
fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let Some(path) = locate::program(program) else {
        return Vec::new();
    };
    let output = Program::new(path).args(arguments).run();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Mounts, as `DIRECTORY TYPE`.
#[cfg(target_os = "linux")]
pub fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        Some(format!("{} {}", left.split(' ').nth(4)?, right.split(' ').next()?))
    };
    text.lines().filter_map(line).collect()
}

/// Mounts, as `DIRECTORY TYPE`.
#[cfg(not(target_os = "linux"))]
pub fn mounts() -> Vec<String> {
    let line = |line: String| {
        let mut words = line.split_whitespace().skip(1);
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    lines("mount", &["-p"]).into_iter().filter_map(line).collect()
}

/// Living processes other than this one. A zombie that nobody has reaped yet is none.
#[cfg(target_os = "linux")]
fn processes() -> BTreeSet<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own);
    pids.filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = status.rsplit_once(") ")?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        let alive = !rest.starts_with('Z') && !rest.starts_with('X');
        alive.then(|| format!("{} {command}", name.replace('(', "")))
    })
    .collect()
}

#[cfg(not(target_os = "linux"))]
fn processes() -> BTreeSet<String> {
    ffi::descendants().unwrap_or_default().iter().map(i32::to_string).collect()
}

/// Interfaces and their addresses.
fn interfaces() -> BTreeSet<String> {
    let entries = nix::ifaddrs::getifaddrs().expect("interfaces");
    let link_local = |text: &str| text.starts_with("[fe80");
    entries
        .filter_map(|entry| {
            let address = entry.address.map(|address| address.to_string()).unwrap_or_default();
            // A link's own address comes and goes with its state.
            (!link_local(&address)).then(|| match address.contains(['.', '[']) {
                true => format!("{} {address}", entry.interface_name),
                false => entry.interface_name,
            })
        })
        .collect()
}

#[cfg(target_os = "linux")]
fn rules() -> Vec<String> {
    lines("nft", &["list", "ruleset"])
}

#[cfg(not(target_os = "linux"))]
fn rules() -> Vec<String> {
    [["-sr"], ["-sn"]].iter().flat_map(|what| lines("pfctl", &["-a", crate::net::ANCHOR, what[0]])).collect()
}

/// The emulation's jails are in its registry, below the state directory: a directory for each number, and a name. An
/// empty directory is a number that was burnt.
#[cfg(target_os = "linux")]
fn jails(case: &Case) -> BTreeSet<String> {
    let registry = case.root().join(".jails");
    let numbers = names(&registry).into_iter().filter(|name| registry.join(name).join("jail.json").exists());
    numbers.chain(names(&registry.join("names"))).collect()
}

#[cfg(not(target_os = "linux"))]
fn jails(case: &Case) -> BTreeSet<String> {
    let marker = case.marker();
    lines("jls", &["-d", "jid", "name"]).into_iter().filter(|line| line.contains(&marker)).collect()
}

#[cfg(target_os = "linux")]
fn ipc() -> Vec<String> {
    let table = |kind: &str| {
        let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        text.lines().skip(1).map(|line| format!("{kind} {}", line.trim())).collect::<Vec<_>>()
    };
    ["msg", "sem", "shm"].into_iter().flat_map(table).collect()
}

#[cfg(not(target_os = "linux"))]
fn ipc() -> Vec<String> {
    lines("ipcs", &[]).into_iter().filter(|line| line.starts_with(['q', 's', 'm'])).collect()
}

/// State of containers: everything in the state directory but what begins with a dot (locks, allocations).
fn state(root: &Path) -> BTreeSet<String> {
    names(root).into_iter().filter(|name| !name.starts_with('.')).collect()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn hostname() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// cgroups with this test's mark.
#[cfg(target_os = "linux")]
fn limits(case: &Case) -> BTreeSet<String> {
    fn below(directory: &Path, marker: &str, depth: u32, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(marker) {
                found.insert(entry.path().to_string_lossy().into_owned());
            }
            if depth > 0 {
                below(&entry.path(), marker, depth - 1, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    below(Path::new("/sys/fs/cgroup"), &case.marker(), 3, &mut found);
    found
}

/// rctl rules and devfs rule sets.
#[cfg(not(target_os = "linux"))]
fn limits(case: &Case) -> BTreeSet<String> {
    let marker = case.marker();
    let rules = lines("rctl", &[]).into_iter().filter(|line| line.contains(&marker));
    rules.chain(lines("devfs", &["rule", "showsets"]).into_iter().map(|set| format!("devfs rule set {set}"))).collect()
}

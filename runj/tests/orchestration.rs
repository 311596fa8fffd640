//! The verbs over a kernel in memory: every call that can fail is made to fail, and nothing may be left.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use runj::config::resources::LinuxResources;
use runj::id::ContainerId;
use runj::plan::facts;
use runj::plan::limit::Change;
use runj::runtime::console::ConsoleWish;
use runj::runtime::create::{CreateRequest, Created, create};
use runj::runtime::delete::{Force, delete};
use runj::runtime::events::{EventKind, once};
use runj::runtime::gc::{self, Abandoned, Reason};
use runj::runtime::kill::{Recipient, kill};
use runj::runtime::list::{Row, list};
use runj::runtime::start::start;
use runj::runtime::state::state;
use runj::runtime::update::update;
use runj::runtime::{Error, Runtime};
use runj::signal::Signal;
use runj::state::Status;
use runj::state::store::Store;
use runj::sys::fake::{FakeHost, Fault, World};
use tempfile::TempDir;

/// A bundle with one of everything that leaves a trace.
struct Bench {
    directory: TempDir,
    kernel: FakeHost,
    store: Store,
    world: World,
    tree: Vec<PathBuf>,
}

impl Bench {
    fn new(program: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("bundle");
        let source = directory.path().join("source");
        std::fs::create_dir_all(bundle.join("root")).unwrap();
        std::fs::create_dir_all(&source).unwrap();
        let hook_mark = directory.path().join("poststop");
        let config = serde_json::json!({
            "ociVersion": "1.3.0",
            "root": { "path": "root", "readonly": true },
            "process": { "args": [program, "60"], "cwd": "/", "env": ["PATH=/usr/bin:/bin"],
                "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }], "noNewPrivileges": true },
            "mounts": [
                { "destination": "/dev", "type": "devfs" },
                { "destination": "/data/deep", "type": "nullfs", "source": source },
                { "destination": "/data/deep/er/tmp", "type": "tmpfs" },
                { "destination": "/etc/hosts", "type": "nullfs", "source": bundle.join("config.json") }
            ],
            "hooks": { "poststop": [{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo x >> {}", hook_mark.display())] }] },
            "linux": { "resources": { "pids": { "limit": 10 } } },
            "freebsd": { "jail": { "ip4": "new", "ip4Addr": ["10.9.8.7", "10.9.8.6"], "interface": "lo0" } }
        });
        std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let mut facts = facts::freebsd14();
        facts.racct = true;
        let kernel = FakeHost::new(facts, &["epair0b"]);
        // The administrator's, and to be left alone.
        kernel.change(|world| {
            world.aliases.insert("lo0 10.9.8.6/32".to_owned());
            world.mounts.push((bundle.join("root/dev"), 999));
        });
        let store = Store::new(&directory.path().join("state"));
        let world = kernel.world();
        let tree = tree(&bundle.join("root"));
        Self { directory, kernel, store, world, tree }
    }

    /// The same bundle with its own network stack and an interface in it.
    fn with_vnet(program: &str) -> Self {
        let bench = Self::new(program);
        let path = bench.bundle().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["freebsd"] = serde_json::json!({ "jail": { "vnet": "new", "vnetInterfaces": ["epair0b"] } });
        std::fs::write(path, config.to_string()).unwrap();
        bench
    }

    fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    fn runtime(&self) -> Runtime<'_, FakeHost> {
        Runtime { kernel: &self.kernel, store: &self.store }
    }

    fn create(&self) -> Result<Created, Error> {
        let request = CreateRequest {
            id: id(),
            bundle: self.bundle(),
            console: ConsoleWish::Absent,
            pid_file: Some(self.directory.path().join("pid")),
            jail_name: id(),
            preserve_fds: 0,
        };
        create(&self.runtime(), &request)
    }

    fn delete(&self, force: Force) -> Result<(), Error> {
        delete(&self.runtime(), &id(), force)
    }

    fn assert_nothing_is_left(&self, when: &str) {
        assert_eq!(self.kernel.world(), self.world, "{when}");
        assert_eq!(tree(&self.bundle().join("root")), self.tree, "{when}");
        assert_eq!(tree(&self.directory.path().join("source")), [PathBuf::new()], "{when}");
        assert_eq!(self.store.ids().unwrap(), [], "{when}");
    }

    fn status(&self) -> Status {
        state(&self.runtime(), &id()).unwrap().status
    }
}

fn id() -> ContainerId {
    "c1".parse().unwrap()
}

fn reap(created: &Created) {
    let _ = waitpid(Pid::from_raw(created.init.pid), None);
}

/// Changes the record on disk.
fn edit(bench: &Bench, change: impl FnOnce(&mut serde_json::Value)) {
    let path = bench.store.directory(&id()).join("state.json");
    let mut record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(&path, record.to_string()).unwrap();
}

fn tree(root: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) {
        found.push(directory.strip_prefix(root).unwrap().to_path_buf());
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries {
            walk(root, &entry.unwrap().path(), found);
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

#[test]
fn a_whole_life() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    let pid_file = std::fs::read_to_string(bench.directory.path().join("pid")).unwrap();
    assert_eq!(pid_file, created.init.pid.to_string());
    assert_eq!(bench.status(), Status::Created);
    assert!(matches!(bench.delete(Force::No), Err(Error::Status { status: Status::Created, .. })));
    start(&bench.runtime(), &id()).unwrap();
    assert_eq!(bench.status(), Status::Running);
    assert!(matches!(start(&bench.runtime(), &id()), Err(Error::Status { status: Status::Running, .. })));
    assert!(matches!(bench.delete(Force::No), Err(Error::Status { status: Status::Running, .. })));
    kill(&bench.runtime(), &id(), Signal::KILL, Recipient::Init).unwrap();
    reap(&created);
    assert_eq!(bench.status(), Status::Stopped);
    assert!(kill(&bench.runtime(), &id(), Signal::KILL, Recipient::Init).is_err());
    bench.delete(Force::No).unwrap();
    bench.assert_nothing_is_left("after delete");
    assert_eq!(std::fs::read_to_string(bench.directory.path().join("poststop")).unwrap(), "x\n");
    assert!(bench.delete(Force::No).is_err());
    bench.delete(Force::Yes).unwrap();
}

#[test]
fn every_call_of_create_may_fail() {
    for make in [Bench::new, Bench::with_vnet] {
        let total = {
            let bench = make("sleep");
            bench.kernel.inject(Fault::Never);
            let created = bench.create().unwrap();
            let total = bench.kernel.calls().len();
            bench.delete(Force::Yes).unwrap();
            reap(&created);
            total
        };
        assert!(total >= 25, "{total} calls");
        for n in 1..=total {
            let bench = make("sleep");
            bench.kernel.inject(Fault::Parent(n));
            let when = |bench: &Bench| format!("call {n} of create ({:?}) failed", bench.kernel.calls().get(n - 1));
            match bench.create() {
                Err(error) => assert!(error.to_string().contains("injected fault"), "{}: {error}", when(&bench)),
                Ok(created) => {
                    // Only what create does not depend on.
                    panic!("{}: create succeeded with {created:?}", when(&bench));
                }
            }
            bench.assert_nothing_is_left(&when(&bench));
            assert!(!bench.directory.path().join("pid").exists());
        }
    }
}

#[test]
fn every_call_of_the_child_may_fail() {
    let mut failed = 0;
    for n in 1..100 {
        let bench = Bench::new("sleep");
        bench.kernel.inject(Fault::Child(n));
        match bench.create() {
            Err(error) => {
                assert!(error.to_string().contains("injected fault"), "child call {n}: {error}");
                failed += 1;
                bench.assert_nothing_is_left(&format!("call {n} of the child failed"));
            }
            Ok(created) => {
                let started = start(&bench.runtime(), &id());
                if started.is_ok() {
                    bench.delete(Force::Yes).unwrap();
                    reap(&created);
                    assert!(failed >= 6, "{failed} calls");
                    return;
                }
                failed += 1;
                reap(&created);
                assert_eq!(bench.status(), Status::Stopped, "child call {n}");
                bench.delete(Force::No).unwrap();
                bench.assert_nothing_is_left(&format!("call {n} of the child failed"));
            }
        }
    }
    panic!("no end");
}

#[test]
fn every_call_of_delete_may_fail_and_the_next_one_finishes() {
    for make in [Bench::new, Bench::with_vnet] {
        for n in 1.. {
            let bench = make("sleep");
            let created = bench.create().unwrap();
            start(&bench.runtime(), &id()).unwrap();
            bench.kernel.inject(Fault::Parent(n));
            let outcome = bench.delete(Force::Yes);
            let calls = bench.kernel.calls();
            bench.kernel.inject(Fault::Never);
            let when = format!("call {n} of delete ({:?}) failed", calls.get(n - 1));
            let over = calls.len() < n;
            if let Err(error) = &outcome {
                assert!(error.to_string().contains("injected fault"), "{when}: {error}");
                assert_eq!(bench.store.ids().unwrap(), [id()], "{when}: the record must stay");
                bench.delete(Force::Yes).unwrap();
            } else {
                assert!(over, "{when}: swallowed");
            }
            reap(&created);
            bench.assert_nothing_is_left(&when);
            if over {
                break;
            }
        }
    }
}

#[test]
fn every_call_of_start_may_fail() {
    for n in 1.. {
        let bench = Bench::new("sleep");
        let created = bench.create().unwrap();
        bench.kernel.inject(Fault::Parent(n));
        let outcome = start(&bench.runtime(), &id());
        let calls = bench.kernel.calls();
        bench.kernel.inject(Fault::Never);
        let over = calls.len() < n;
        assert_eq!(outcome.is_ok(), over, "call {n} of start ({:?})", calls.get(n - 1));
        bench.delete(Force::Yes).unwrap();
        reap(&created);
        bench.assert_nothing_is_left(&format!("call {n} of start failed"));
        if over {
            return;
        }
    }
}

#[test]
fn a_jail_of_somebody_else_is_left_alone() {
    let bench = Bench::new("sleep");
    let root = bench.bundle().join("root").canonicalize().unwrap();
    bench.kernel.change(|world| {
        world.jails.insert(77, ("c1".to_owned(), root));
    });
    let error = bench.create().unwrap_err().to_string();
    assert!(error.contains("already exists as jid 77"), "{error}");
    assert!(bench.kernel.world().jails.contains_key(&77));
    assert_eq!(bench.store.ids().unwrap(), []);
}

#[test]
fn a_program_that_is_not_there_fails_create_with_127() {
    let bench = Bench::new("no-such-program");
    let error = bench.create().unwrap_err();
    assert_eq!(error.exit_code(), 127);
    assert_eq!(error.to_string(), "exec \"no-such-program\": executable file not found in $PATH");
    bench.assert_nothing_is_left("after a missing program");
    assert!(bench.directory.path().join("poststop").exists(), "poststop runs after a failed create");
}

#[test]
fn a_pid_that_was_reused_is_not_signalled() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    start(&bench.runtime(), &id()).unwrap();
    kill(&bench.runtime(), &id(), Signal::KILL, Recipient::Init).unwrap();
    reap(&created);
    // Another process under the recorded pid: ours, with another start time. Linux counts those in ticks of 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    edit(&bench, |record| record["init"]["pid"] = stranger.id().into());
    assert_eq!(bench.status(), Status::Stopped);
    assert!(kill(&bench.runtime(), &id(), Signal::KILL, Recipient::Init).is_err());
    bench.delete(Force::Yes).unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    bench.assert_nothing_is_left("after a reused pid");
}

#[test]
fn a_record_of_an_earlier_boot_is_stopped_and_releases_files_alone() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    edit(&bench, |record| record["bootId"] = "an earlier one".into());
    assert_eq!(bench.status(), Status::Stopped);
    // What is there under the same names now is not of that record.
    bench.delete(Force::No).unwrap();
    assert_eq!(bench.kernel.world().jails.len(), 1);
    assert_eq!(tree(&bench.bundle().join("root")), bench.tree);
    nix::sys::signal::kill(Pid::from_raw(created.init.pid), nix::sys::signal::SIGKILL).unwrap();
    reap(&created);
}

#[test]
fn a_torn_state_directory_is_shown_and_removed() {
    let bench = Bench::new("sleep");
    let directory = bench.store.directory(&id());
    std::fs::create_dir_all(&directory).unwrap();
    for content in [None, Some(""), Some("{\"version\":1")] {
        std::fs::create_dir_all(&directory).unwrap();
        if let Some(content) = content {
            std::fs::write(directory.join("state.json"), content).unwrap();
        }
        assert!(matches!(list(&bench.runtime()).unwrap().as_slice(), [Row::Broken { .. }]));
        assert!(state(&bench.runtime(), &id()).is_err());
        bench.delete(Force::Yes).unwrap();
        bench.assert_nothing_is_left("after a torn record");
    }
}

#[test]
fn of_many_starts_one_succeeds() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    let mut children = Vec::new();
    for _ in 0..8 {
        let child = runj::sys::unix::fork(&mut || i32::from(start(&bench.runtime(), &id()).is_err())).unwrap();
        children.push(child);
    }
    let succeeded = children
        .into_iter()
        .filter(|child| matches!(waitpid(Pid::from_raw(*child), None), Ok(nix::sys::wait::WaitStatus::Exited(_, 0))))
        .count();
    assert_eq!(succeeded, 1);
    assert_eq!(bench.status(), Status::Running);
    bench.delete(Force::Yes).unwrap();
    reap(&created);
}

#[test]
fn gc_takes_interrupted_creations_and_leaves_the_others() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    let found = || gc::find(&bench.runtime()).unwrap();
    assert_eq!(found(), [], "a container that waits for its start is its owner's");
    edit(&bench, |record| record["stage"] = "creating".into());
    assert_eq!(found(), [], "its creator, this process, lives");
    edit(&bench, |record| record["operator"]["start"] = 1.into());
    let interrupted = Abandoned::Container(id(), Reason::Interrupted);
    assert_eq!(found(), std::slice::from_ref(&interrupted));
    assert!(matches!(list(&bench.runtime()).unwrap().as_slice(), [Row::Container(_, Some(Reason::Interrupted))]));
    assert!(gc::release(&bench.runtime(), &interrupted).unwrap());
    reap(&created);
    bench.assert_nothing_is_left("after gc");
    assert!(!gc::release(&bench.runtime(), &interrupted).unwrap(), "it is gone");
}

#[test]
fn gc_looks_again_before_it_releases() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    let taken_for = Abandoned::Container(id(), Reason::NoRecord(String::new()));
    assert!(!gc::release(&bench.runtime(), &taken_for).unwrap());
    assert_eq!(bench.status(), Status::Created);
    bench.delete(Force::Yes).unwrap();
    reap(&created);
}

#[test]
fn gc_takes_what_an_earlier_boot_left() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    bench.delete(Force::Yes).unwrap();
    reap(&created);
    std::fs::create_dir_all(bench.store.directory(&id())).unwrap();
    let torn = gc::find(&bench.runtime()).unwrap();
    assert!(matches!(torn.as_slice(), [Abandoned::Container(_, Reason::NoRecord(_))]), "{torn:?}");
    assert!(gc::release(&bench.runtime(), &torn[0]).unwrap());
    let created = bench.create().unwrap();
    edit(&bench, |record| record["bootId"] = "an earlier one".into());
    let found = gc::find(&bench.runtime()).unwrap();
    assert_eq!(found, [Abandoned::Container(id(), Reason::EarlierBoot)]);
    assert!(gc::release(&bench.runtime(), &found[0]).unwrap());
    assert_eq!(bench.store.ids().unwrap(), []);
    nix::sys::signal::kill(Pid::from_raw(created.init.pid), nix::sys::signal::SIGKILL).unwrap();
    reap(&created);
}

#[test]
fn gc_takes_the_ruleset_of_a_container_whose_directory_was_removed() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    assert_eq!(bench.kernel.world().rulesets.len(), 1);
    nix::sys::signal::kill(Pid::from_raw(created.init.pid), nix::sys::signal::SIGKILL).unwrap();
    reap(&created);
    std::fs::remove_dir_all(bench.store.directory(&id())).unwrap();
    let found = gc::find(&bench.runtime()).unwrap();
    assert!(matches!(found.as_slice(), [Abandoned::Ruleset(_)]), "{found:?}");
    assert!(gc::release(&bench.runtime(), &found[0]).unwrap());
    assert_eq!(bench.kernel.world().rulesets.len(), 0);
    assert_eq!(gc::find(&bench.runtime()).unwrap(), []);
}

#[test]
fn a_start_that_was_killed_is_made_up_for() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    edit(&bench, |record| record["stage"] = "starting".into());
    let error = start(&bench.runtime(), &id()).unwrap_err();
    assert!(error.to_string().contains("another start has taken it"), "{error}");
    edit(&bench, |record| record["operator"]["start"] = 1.into());
    assert_eq!(bench.status(), Status::Created);
    start(&bench.runtime(), &id()).unwrap();
    assert_eq!(bench.status(), Status::Running);
    bench.delete(Force::Yes).unwrap();
    reap(&created);
}

#[test]
fn gc_takes_what_an_interrupted_removal_left() {
    let bench = Bench::new("sleep");
    std::fs::create_dir_all(bench.store.root()).unwrap();
    let remains = |pid: u32| {
        let directory = bench.store.root().join(format!(".removed-{pid}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("plan.json"), "{}").unwrap();
        directory
    };
    remains(std::process::id());
    assert_eq!(gc::find(&bench.runtime()).unwrap(), [], "who removes it lives");
    let left = Abandoned::Remains(remains(0x3fff_ffff));
    assert_eq!(gc::find(&bench.runtime()).unwrap(), std::slice::from_ref(&left));
    assert!(gc::release(&bench.runtime(), &left).unwrap());
    gc::release(&bench.runtime(), &left).expect("what another gc has removed is gone");
    // A process with the pid of one that was killed at it finds its own name taken.
    let created = bench.create().unwrap();
    bench.delete(Force::Yes).unwrap();
    reap(&created);
    bench.assert_nothing_is_left("after a removal under a taken name");
    assert!(!bench.store.root().join(format!(".removed-{}", std::process::id())).exists());
}

/// The kernel's limits are the record's, whichever call of `update` fails.
#[test]
fn an_update_is_done_or_undone() {
    let bench = Bench::new("sleep");
    let created = bench.create().unwrap();
    let before = bench.kernel.world().limits["c1"].clone();
    let resources = LinuxResources::parse(br#"{"pids":{"limit":20},"memory":{"limit":1048576}}"#).unwrap().0;
    let change = Change { resources, rules: vec!["openfiles:deny=9".to_owned()] };
    let run = || update(&bench.runtime(), &id(), &change);
    let stored = || bench.store.read(&id()).unwrap().limits;
    assert_eq!(stored(), before);
    bench.kernel.inject(Fault::Never);
    let mut n = 0;
    loop {
        n += 1;
        bench.kernel.inject(Fault::Parent(n));
        let outcome = run();
        bench.kernel.inject(Fault::Never);
        if outcome.is_ok() {
            break;
        }
        assert_eq!(bench.kernel.world().limits["c1"], before, "call {n}: {outcome:?}");
        assert_eq!(stored(), before, "call {n}");
    }
    assert!(n > 3, "every call was made to fail: {n}");
    let after = bench.kernel.world().limits["c1"].clone();
    assert_eq!((after.pids, after.memory, stored()), (Some(20), Some(1 << 20), after.clone()));
    // What asks for nothing new asks the kernel for nothing.
    bench.kernel.inject(Fault::Never);
    run().unwrap();
    assert!(!bench.kernel.calls().contains(&"limits_replace"));
    bench.delete(Force::Yes).unwrap();
    reap(&created);
    bench.assert_nothing_is_left("update and delete");
}

/// A bundle without limits costs no question about them.
#[test]
fn without_limits_no_call_is_about_them() {
    let bench = Bench::new("sleep");
    let path = bench.bundle().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let run = || {
        bench.kernel.inject(Fault::Never);
        let created = bench.create().unwrap();
        start(&bench.runtime(), &id()).unwrap();
        bench.delete(Force::Yes).unwrap();
        reap(&created);
        bench
            .kernel
            .calls()
            .into_iter()
            .filter(|call| call.starts_with("limits_") || ["accounts", "processors"].contains(call))
            .collect()
    };
    let calls: Vec<_> = run();
    assert_eq!(calls, ["accounts", "limits_missing", "limits_add", "limits_remove"]);
    config["linux"] = serde_json::json!({"resources": {"pids": {"limit": 0}, "devices": [{"allow": false}]}});
    std::fs::write(path, config.to_string()).unwrap();
    assert_eq!(run(), [""; 0]);
}

/// Whoever asked for a limit gets it or an error.
#[test]
fn limits_that_do_not_hold_leave_nothing() {
    let mut bench = Bench::new("sleep");
    bench.kernel = FakeHost::new(facts::freebsd14(), &["epair0b"]);
    bench.world = bench.kernel.world();
    let error = bench.create().unwrap_err().to_string();
    assert!(error.contains("linux.resources.pids.limit: the kernel accounts no resources"), "{error}");
    bench.assert_nothing_is_left("a refused limit");
}

#[test]
fn limits_of_an_update_survive_the_start_and_are_released() {
    let bench = Bench::new("sleep");
    let path = bench.bundle().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["linux"] = serde_json::json!({});
    std::fs::write(path, config.to_string()).unwrap();
    let created = bench.create().unwrap();
    assert!(bench.kernel.world().limits.is_empty());
    let change = Change { rules: vec!["openfiles:deny=9".to_owned()], ..Change::default() };
    update(&bench.runtime(), &id(), &change).unwrap();
    start(&bench.runtime(), &id()).unwrap();
    let rules = bench.store.read(&id()).unwrap().limits.rules;
    assert_eq!(rules.iter().map(ToString::to_string).collect::<Vec<_>>(), change.rules);
    let stats = once(&bench.runtime(), &id()).unwrap();
    assert!(matches!(stats, EventKind::Stats(stats) if stats.pids.current == 1));
    bench.delete(Force::Yes).unwrap();
    reap(&created);
    bench.assert_nothing_is_left("update of a container without limits");
    assert!(matches!(update(&bench.runtime(), &id(), &change), Err(Error::State(_))));
}

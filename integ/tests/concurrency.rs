//! Many verbs at once, on one container and on many.
#![allow(clippy::expect_used, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::thread;

use integ::container::Done;
use integ::prelude::*;
use integ::run::Stdio;

/// Runs the same thing several times at once; returns what became of each.
fn at_once<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (barrier, act) = (&barrier, &act);
                scope.spawn(move || {
                    barrier.wait();
                    act(number)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn successes(results: &[Done]) -> usize {
    results.iter().filter(|done| done.output.status.success()).count()
}

/// runc's losers wait for ever for the winner's end of the FIFO.
#[test]
fn of_several_starts_one_succeeds() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["append", "/data/ran", "x", "--and", "sleep"]));
        container.create().ok();
        let results = at_once(6, |_| container.start());
        assert_eq!(successes(&results), 1);
        let ran = case.path("bundle1/root/data/ran");
        let text = || std::fs::read_to_string(&ran).unwrap_or_default();
        until("the program", || text().ends_with('\n').then_some(()));
        assert_eq!(text(), "x\n");
        assert_eq!(container.status(), "running");
    });
}

/// Of runc's several may fail, or all.
#[test]
fn of_several_creates_of_one_id_one_succeeds() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let id = case.id();
        let create = |number: usize| {
            let program = case.runj(["create", "--bundle"]).arg(bundle.dir()).arg(&id);
            let log = |kind: &str| Stdio::File(case.log(&format!("{number}.{kind}")));
            Done::run(program.stdout(log("out")).stderr(log("err")))
        };
        let results = at_once(6, create);
        assert_eq!(successes(&results), 1);
        let container = Container::new(case, bundle.dir()).with_id(&id);
        assert_eq!(container.status(), "created");
        container.delete_force().ok();
    });
}

#[test]
fn several_forced_deletes_all_succeed() {
    case(needs!(Runj), |case| {
        let container = case.running(&["fork", "3", "--and", "sleep"]);
        let results = at_once(6, |_| container.delete_force());
        assert_eq!(successes(&results), 6, "{results:?}");
        container.state_command().fails(1);
    });
}

#[test]
fn start_and_forced_delete_do_not_hang() {
    case(needs!(), |case| {
        for _ in 0..5 {
            let container = case.container(&case.bundle("minimal").args(&["sleep"]));
            container.create().ok();
            at_once(2, |number| if number == 0 { container.start() } else { container.delete_force() });
            container.delete_force().ok();
            container.state_command().fails(1);
        }
    });
}

#[test]
fn create_and_forced_delete_leave_nothing_in_any_order() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]);
        for _ in 0..5 {
            let container = Container::new(case, bundle.dir());
            at_once(2, |number| if number == 0 { container.create() } else { container.delete_force() });
            container.delete_force().ok();
            container.state_command().fails(1);
        }
    });
}

/// Readers take no lock and never see half a file.
#[test]
fn state_is_whole_at_any_time() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    container.create().ok();
                    container.start().ok();
                    container.delete_force().ok();
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let state = container.state_command();
                match state.output.status.code() {
                    Some(0) => drop(serde_json::from_str::<Value>(&state.stdout()).unwrap()),
                    _ => assert!(
                        state.stderr().contains("exist") || state.stderr().contains("no record"),
                        "{}",
                        state.stderr()
                    ),
                }
                case.runj(["list"]).ok();
            }
        });
    });
}

#[test]
fn many_lives_at_once() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["exit", "5"]);
        at_once(8, |_| {
            for _ in 0..3 {
                let container = Container::new(case, bundle.dir());
                container.create().ok();
                container.start().ok();
                assert_eq!(container.wait().code(), Some(5));
                container.delete().ok();
            }
        });
    });
}

#[test]
fn many_execs_at_once() {
    case(needs!(), |case| {
        let container = case.running(&["sleep"]);
        let texts = at_once(8, |number| container.exec(&["echo", &number.to_string()]).ok());
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(text.trim(), number.to_string());
        }
    });
}

#[test]
fn two_hundred_containers() {
    case(needs!(Runj), |case| {
        const COUNT: usize = 200;
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let containers: Vec<_> = (0..COUNT).map(|_| Container::new(case, bundle.dir())).collect();
        let share = |worker: usize| containers.iter().skip(worker).step_by(4);
        at_once(4, |worker| {
            for container in share(worker) {
                container.create().ok();
                container.start().ok();
            }
        });
        let list: Value = serde_json::from_str(&case.runj(["list", "-f", "json"]).ok()).unwrap();
        let running = list.as_array().unwrap().iter().filter(|entry| entry["status"] == "running").count();
        assert_eq!(running, COUNT);
        at_once(4, |worker| share(worker).for_each(|container| drop(container.delete_force().ok())));
        assert_eq!(case.runj(["list", "-q"]).ok(), "");
    });
}

/// A container that is deleted by force while its program is about to be executed: here its state directory goes away, with
/// all the time in the world. `start` was not too late for it, and whoever has its id then was not started.
#[rstest]
#[case::gone(false)]
#[case::replaced(true)]
fn a_start_is_not_the_next_containers(#[case] replaced: bool) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let bundle = bundle.hook("startContainer", &["touch", "/data/begun", "--and", "wait-file", "/data/go"]);
        let container = case.container(&bundle);
        container.create().ok();
        let next = case.container(&case.bundle("minimal").args(&["sleep"])).with_id(container.id());
        let (directory, away) = (case.root().join(container.id()), case.root().join(".away"));
        thread::scope(|scope| {
            let start = scope.spawn(|| container.start());
            until("the hook", || bundle.in_root("data/begun").exists().then_some(()));
            std::fs::rename(&directory, &away).unwrap();
            if replaced {
                next.create_with(&["--jail-name", &case.id()]).ok();
            }
            std::fs::write(bundle.in_root("data/go"), "").unwrap();
            start.join().unwrap().ok();
        });
        if replaced {
            assert_eq!(next.status(), "created");
            next.start().ok();
            next.delete_force().ok();
        }
        std::fs::rename(&away, &directory).unwrap();
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
    });
}

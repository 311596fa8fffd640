//! Each verb killed before each of its system calls that may change something: what it had made is known, and released.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::prelude::*;
use integ::trace::{End, kill_before};

/// Kills a verb at one point after the other until it comes to its end; returns how many points there were.
fn at_every_point(mut attempt: impl FnMut(usize) -> End) -> usize {
    for point in 1..2000 {
        if let End::Ended(status) = attempt(point) {
            assert!(status.success(), "{status}");
            return point - 1;
        }
    }
    panic!("the verb has no end");
}

/// A bundle of which every kind of thing that the emulation has is made.
fn bundle(case: &Case) -> Bundle {
    let source = case.path("source");
    std::fs::create_dir_all(&source).unwrap();
    case.bundle("minimal")
        .mount("/dev", "devfs", "devfs", &[])
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .mount("/made/deep", "nullfs", source.to_str().unwrap(), &[])
        .set("/root/readonly", json!(true))
        .set("/linux", json!({ "cgroupsPath": format!("/{}", case.marker()) }))
        .args(&["sleep"])
}

/// What a state directory holds without any container: locks, counters, and a file that the next writer replaces.
const KEPT: &[&str] = &[".jails", ".rulesets", ".ruleset-owners", ".ruleset-owners.lock", ".ruleset-owners.new"];

/// The verbs tell the truth about what is left, and the id can be used again once it is gone.
fn released(container: &Container<'_>, case: &Case, when: &str) {
    let listed = case.runj(["list"]).ok();
    let state = container.state_command();
    if state.output.status.success() {
        assert!(listed.contains(container.id()), "{when}: {listed}");
    }
    container.delete_force().ok();
    container.state_command().fails_with(1, "exist");
    case.runj(["gc"]).ok();
    let names = std::fs::read_dir(case.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| !KEPT.contains(&name.as_str())).collect();
    assert!(left.is_empty(), "{when}: {left:?}");
}

#[test]
fn create() {
    case(needs!(Runj), |case| {
        let bundle = bundle(case);
        let tree = bundle.tree();
        let points = at_every_point(|point| {
            let container = Container::new(case, bundle.dir()).with_id(&case.marker());
            let end = kill_before(container.creator(&[]), point);
            let when = format!("point {point}, {end:?}");
            if point % 2 == 0 && matches!(end, End::Killed(_)) {
                // A creation that was interrupted is released without anybody who knows its id.
                case.runj(["gc"]).ok();
            }
            released(&container, case, &when);
            assert_eq!(bundle.tree(), tree, "{when}");
            end
        });
        assert!(points > 50, "{points}");
    });
}

#[test]
fn start() {
    case(needs!(Runj), |case| {
        let bundle = bundle(case);
        let points = at_every_point(|point| {
            let container = Container::new(case, bundle.dir());
            container.create().ok();
            let end = kill_before(case.runj(["start", container.id()]), point);
            let status = container.status();
            match status.as_str() {
                // The next one starts it, unless the byte of the killed one arrives first.
                "created" => {
                    let next = container.start();
                    assert!(next.output.status.success() || next.stderr().contains("is running"), "{}", next.stderr());
                }
                status => assert_eq!(status, "running", "point {point}, {end:?}"),
            }
            container.until_status("running");
            released(&container, case, &format!("point {point}, {end:?}"));
            end
        });
        assert!(points > 5, "{points}");
    });
}

#[test]
fn exec() {
    case(needs!(Runj), |case| {
        let container = case.container(&bundle(case));
        container.create().ok();
        container.start().ok();
        let points = at_every_point(|point| {
            let end = kill_before(container.executor(&[], &["/integ-inside", "true"]), point);
            assert_eq!(container.status(), "running", "point {point}, {end:?}");
            container.exec(&["true"]).ok();
            end
        });
        assert!(points > 5, "{points}");
        released(&container, case, "at the end");
    });
}

#[test]
fn delete() {
    case(needs!(Runj), |case| {
        let bundle = bundle(case).args(&["fork", "2", "--and", "daemon", "2", "--and", "sleep"]);
        let tree = bundle.tree();
        let points = at_every_point(|point| {
            let container = Container::new(case, bundle.dir());
            container.create().ok();
            container.start().ok();
            let end = kill_before(case.runj(["delete", "--force", container.id()]), point);
            let when = format!("point {point}, {end:?}");
            released(&container, case, &when);
            assert_eq!(bundle.tree(), tree, "{when}");
            end
        });
        assert!(points > 20, "{points}");
    });
}

#[test]
fn pause_and_resume() {
    case(needs!(Runj), |case| {
        let container = case.container(&bundle(case));
        container.create().ok();
        container.start().ok();
        for verb in ["pause", "resume"] {
            let points = at_every_point(|point| {
                let end = kill_before(case.runj([verb, container.id()]), point);
                let status = container.status();
                assert!(["running", "paused"].contains(&status.as_str()), "{verb}, point {point}, {end:?}: {status}");
                if matches!(end, End::Killed(_)) {
                    let back = if verb == "pause" { "resume" } else { "pause" };
                    case.runj([back, container.id()]).run();
                }
                end
            });
            assert!(points > 3, "{verb}: {points}");
        }
        container.exec(&["true"]).ok();
        released(&container, case, "at the end");
    });
}

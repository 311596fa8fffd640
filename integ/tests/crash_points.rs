//! Each verb killed at each of its system calls that may change something: what it had made is known, and released.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::ffi;
use integ::net::Network;
use integ::prelude::*;
use integ::trace::{End, calls, kill_at};

/// Kills a verb at one point after the other until it comes to its end; returns how many points there were.
fn at_every_point(case: &Case, verb: &str, mut attempt: impl FnMut(usize) -> End) -> usize {
    for point in 1..2000 {
        if let End::Ended(status) = attempt(point) {
            assert!(status.success(), "{status}");
            case.figure(&format!("{verb}: {} points", point - 1));
            return point - 1;
        }
    }
    panic!("the verb has no end");
}

/// Which things of a host a bundle uses that another one cannot use with them.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The host's network; on FreeBSD with an address of its own.
    Shared,
    /// A network stack with an interface of the host's.
    Stack,
}

/// A bundle for which every kind of thing is made that this system has.
fn bundle(case: &Case, network: &mut Network<'_>, kind: Kind) -> Bundle {
    let source = case.path("source");
    std::fs::create_dir_all(&source).unwrap();
    let jail = match kind {
        Kind::Stack => json!({"vnet": "new", "vnetInterfaces": [network.pair()]}),
        Kind::Shared if cfg!(target_os = "freebsd") => {
            json!({"ip4": "new", "ip4Addr": ["10.78.0.1"], "interface": network.alias_interface()})
        }
        Kind::Shared => json!({"ip4": "inherit"}),
    };
    case.bundle("minimal")
        .mount("/dev", "devfs", "devfs", &[])
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .mount("/made/deep", "nullfs", source.to_str().unwrap(), &[])
        .set("/root/readonly", json!(true))
        .set("/freebsd/jail", jail)
        .set("/freebsd/devices", json!([{"path": "full", "mode": 0o640}]))
        .set("/linux", json!({ "cgroupsPath": format!("/{}", case.marker()), "resources": {"pids": {"limit": 64}} }))
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
    // A jail lives until its last process is reaped, and with it its network stack: of many, more than a small machine has.
    ffi::reap_all();
    let names = std::fs::read_dir(case.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| !KEPT.contains(&name.as_str())).collect();
    assert!(left.is_empty(), "{when}: {left:?}");
}

#[rstest]
#[case::shared(Kind::Shared)]
#[case::stack(Kind::Stack)]
fn create(#[case] kind: Kind) {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let bundle = bundle(case, &mut network, kind);
        let tree = bundle.tree();
        let points = at_every_point(case, "create", |point| {
            let container = Container::new(case, bundle.dir()).with_id(&case.marker());
            let end = kill_at(container.creator(&[]), point);
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
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let bundle = bundle(case, &mut network, Kind::Shared);
        let points = at_every_point(case, "start", |point| {
            let container = Container::new(case, bundle.dir());
            container.create().ok();
            let end = kill_at(case.runj(["start", container.id()]), point);
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
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let container = case.container(&bundle(case, &mut network, Kind::Shared));
        container.create().ok();
        container.start().ok();
        let points = at_every_point(case, "exec", |point| {
            let end = kill_at(container.executor(&[], &["/integ-inside", "true"]), point);
            assert_eq!(container.status(), "running", "point {point}, {end:?}");
            container.exec(&["true"]).ok();
            end
        });
        // FreeBSD's released program gets by with one call less.
        let enough = if cfg!(target_os = "freebsd") { 4 } else { 5 };
        assert!(points >= enough, "{points}");
        released(&container, case, "at the end");
    });
}

#[rstest]
#[case::shared(Kind::Shared)]
#[case::stack(Kind::Stack)]
fn delete(#[case] kind: Kind) {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let bundle = bundle(case, &mut network, kind).args(&["fork", "2", "--and", "daemon", "2", "--and", "sleep"]);
        let tree = bundle.tree();
        let points = at_every_point(case, "delete", |point| {
            let container = Container::new(case, bundle.dir());
            container.create().ok();
            container.start().ok();
            let end = kill_at(case.runj(["delete", "--force", container.id()]), point);
            let when = format!("point {point}, {end:?}");
            released(&container, case, &when);
            assert_eq!(bundle.tree(), tree, "{when}");
            end
        });
        assert!(points > 20, "{points}");
    });
}

#[test]
fn run() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let bundle = bundle(case, &mut network, Kind::Shared).args(&["true"]);
        let points = at_every_point(case, "run", |point| {
            let container = Container::new(case, bundle.dir());
            let end = kill_at(container.runner(&[]), point);
            released(&container, case, &format!("point {point}, {end:?}"));
            end
        });
        assert!(points > 80, "{points}");
    });
}

#[test]
fn pause_and_resume() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let container = case.container(&bundle(case, &mut network, Kind::Shared));
        container.create().ok();
        container.start().ok();
        for verb in ["pause", "resume"] {
            let points = at_every_point(case, verb, |point| {
                let end = kill_at(case.runj([verb, container.id()]), point);
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

/// Limits are the old or the new ones, the next update is obeyed, and none stays when the container goes.
#[test]
fn update() {
    case(needs!(Runj, Vnet, Limits), |case| {
        let mut network = Network::new(case);
        let container = case.container(&bundle(case, &mut network, Kind::Shared));
        container.create().ok();
        container.start().ok();
        let limit = |number: usize| case.runj(["update", "--pids-limit", &number.to_string(), container.id()]);
        let points = at_every_point(case, "update", |point| {
            let end = kill_at(limit(100 + point), point);
            assert_eq!(container.status(), "running", "point {point}, {end:?}");
            if matches!(end, End::Killed(_)) {
                limit(64).ok();
            }
            end
        });
        assert!(points > 3, "{points}");
        released(&container, case, "at the end");
    });
}

#[test]
fn kill() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let bundle = bundle(case, &mut network, Kind::Shared);
        for options in [&[][..], &["--all"]] {
            at_every_point(case, "kill", |point| {
                let container = Container::new(case, bundle.dir());
                container.create().ok();
                container.start().ok();
                let end = kill_at(case.runj(["kill"]).args(options).args([container.id(), "KILL"]), point);
                let status = container.status();
                assert!(["running", "stopped"].contains(&status.as_str()), "point {point}, {end:?}: {status}");
                container.kill("KILL");
                container.wait();
                container.until_status("stopped");
                container.delete().ok();
                ffi::reap_all();
                end
            });
        }
    });
}

#[test]
fn gc() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let container = case.container(&bundle(case, &mut network, Kind::Shared));
        // Late, so that nearly all is made that there is to release.
        let late = calls(container.creator(&[])).len() * 3 / 4;
        container.delete_force().ok();
        let points = at_every_point(case, "gc", |point| {
            let interrupted = kill_at(container.creator(&[]), late);
            assert!(case.runj(["gc", "--dry-run"]).ok().contains(container.id()), "{interrupted:?}");
            let end = kill_at(case.runj(["gc"]), point);
            case.runj(["gc"]).ok();
            container.state_command().fails_with(1, "exist");
            released(&container, case, &format!("point {point}, {end:?}"));
            end
        });
        assert!(points > 20, "{points}");
    });
}

/// What the methods of the boundary's traits do that change something, as calls of this system; more in the comment of
/// [`every_call_that_changes_something_has_a_point`].
#[cfg(target_os = "linux")]
const CHANGES: &[(&str, &str, &str)] = &[
    ("jail_create", "clone", ""),
    ("jail_create", "write", "/jail.json.new"),
    ("jail_remove", "pidfd_send_signal", ""),
    ("jail_remove", "unlink", "/jail.json"),
    ("limits_add", "mkdir", "/sys/fs/cgroup/"),
    ("limits_add", "write", "/pids.max"),
    ("limits_replace", "write", "/pids.max"),
    ("limits_remove", "unlink", "/sys/fs/cgroup/"),
    ("create_target", "mkdir", "deep"),
    ("remove_target", "unlink", "deep"),
    ("mount", "move_mount", ""),
    ("unmount", "umount", "/root"),
    ("ruleset_add", "write", "/.rulesets/"),
    ("ruleset_remove", "unlink", "/.rulesets/"),
    // RTM_NEWLINK, for both directions.
    ("interface_move", "send", "16"),
    ("interface_return", "send", "16"),
    ("signal", "pidfd_send_signal", ""),
    ("signal_all", "clone", ""),
    ("fork", "clone", ""),
];

/// As above.
#[cfg(target_os = "freebsd")]
const CHANGES: &[(&str, &str, &str)] = &[
    ("jail_create", "jail_set", ""),
    ("jail_remove", "jail_remove", ""),
    ("limits_add", "rctl_add_rule", ""),
    ("limits_replace", "rctl_add_rule", ""),
    ("limits_replace", "rctl_remove_rule", ""),
    ("limits_remove", "rctl_remove_rule", ""),
    ("create_target", "mkdir", ""),
    ("remove_target", "unlink", ""),
    ("mount", "nmount", ""),
    ("unmount", "unmount", ""),
    ("unmount_inner", "fork", ""),
    // DEVFSIO_RADD, DEVFSIO_RDEL
    ("ruleset_add", "ioctl", "0xc0ec4400"),
    ("ruleset_remove", "ioctl", "0x80044401"),
    // SIOCAIFADDR, SIOCDIFADDR
    ("alias_add", "ioctl", "0x8044692b"),
    ("alias_remove", "ioctl", "0x80206919"),
    // SIOCSIFVNET, SIOCSIFRVNET
    ("interface_move", "ioctl", "0xc020695a"),
    ("interface_return", "ioctl", "0xc020695b"),
    ("signal", "kill", ""),
    ("signal_all", "fork", ""),
    ("fork", "fork", ""),
];

/// Methods that change nothing here: Linux has no aliases to give and no inner mounts to undo.
const NOT_HERE: &[&str] = if cfg!(target_os = "linux") { &["alias_add", "alias_remove", "unmount_inner"] } else { &[] };

/// Those that ask.
const QUESTIONS: &[&str] = &[
    "accounts",
    "alias_exists",
    "boot_id",
    "examine",
    "facts",
    "facts_of",
    "identity",
    "interface",
    "jail_find",
    "limits_missing",
    "members",
    "mount_id",
    "processors",
    "resolve",
    "ruleset_exists",
    "usage",
    "views",
];

/// Those whose effect ends with the process that calls them: a child's, or a descriptor's.
const OF_THE_PROCESS: &[&str] = &[
    "become_user",
    "forbid_tracing",
    "jail_attach",
    "jail_enter",
    "limits_join",
    "open_pty",
    "set_no_new_privileges",
    "set_rlimit",
];

/// The methods of the traits in `runj/src/sys/mod.rs` are sorted into the lists above, and each of those that change
/// something shows as a call at which the tests above kill a verb. So a method that is added fails this test until it is
/// sorted, and one that changes something until a bundle here makes a verb call it.
#[test]
fn every_call_that_changes_something_has_a_point() {
    let source = include_str!("../../runj/src/sys/mod.rs");
    let methods = source.lines().filter_map(|line| line.strip_prefix("    fn ")?.split('(').next());
    let changing = || CHANGES.iter().map(|(method, _, _)| *method);
    for method in methods {
        let sorted = changing().chain([QUESTIONS, OF_THE_PROCESS, NOT_HERE].concat()).any(|known| known == method);
        assert!(sorted, "{method} of runj/src/sys/mod.rs: does it change something? Then it needs a point here");
    }
    case(needs!(Runj, Vnet, Limits), |case| {
        let mut network = Network::new(case);
        let mut points = Vec::new();
        for kind in [Kind::Shared, Kind::Stack] {
            let container = case.container(&bundle(case, &mut network, kind));
            let id = container.id();
            points.extend(calls(container.creator(&[])));
            let verbs: [&[&str]; 6] = [
                &["start", id],
                &["pause", id],
                &["resume", id],
                &["update", "--pids-limit", "70", id],
                &["kill", "--all", id, "WINCH"],
                &["delete", "--force", id],
            ];
            points.extend(verbs.into_iter().flat_map(|verb| calls(case.runj(verb))));
        }
        for (method, name, object) in CHANGES {
            let found = points.iter().any(|call| call.name == *name && call.object.contains(object));
            assert!(found, "{method}: no verb is killed at {name} {object}: {points:?}");
        }
    });
}

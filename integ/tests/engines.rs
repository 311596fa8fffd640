//! The command sequences of podman, buildah and runc's callers as they are on FreeBSD, replayed. Where podman and
//! buildah themselves are at hand (Linux), `podman.rs` and `buildah.rs` run them.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::net::Network;
use integ::prelude::*;
use integ::replay::{Replay, podman_code};

/// A bundle as podman writes it, with the files that it mounts.
fn podman(case: &Case, check: &[&str]) -> Bundle {
    let bundle = case.bundle("engines/podman").args(check);
    for file in ["containerenv", "hosts"] {
        std::fs::write(bundle.dir().join(file), "").unwrap();
    }
    std::fs::create_dir(bundle.dir().join("volume")).unwrap();
    bundle
}

/// What `podman run` does, from create to rm.
#[rstest]
#[case::with_a_json_log("create")]
#[case::with_plain_errors("create-plain")]
fn podman_run(#[case] create: &str) {
    case(needs!(Runj), |case| {
        let check =
            ["echo", "started", "--and", "write-file", "/v/made", "x", "--and", "writable", "/t", "--and", "trap"];
        let bundle = podman(case, &check);
        let engine = Replay::new(case, "podman", &bundle);
        let pid = engine.create(create, &engine.state().join("pidfile")).unwrap();
        assert_eq!(engine.ok("start"), "");
        until("its output", || engine.stdout("ctr").contains("ready").then_some(()));
        assert!(engine.stdout("ctr").starts_with("started\n"));
        assert_eq!(std::fs::read_to_string(bundle.dir().join("volume/made")).unwrap(), "x");
        for verb in ["pause", "unpause", "kill"] {
            assert_eq!(engine.ok(verb), "");
        }
        until("the signal", || engine.stdout("ctr").contains("TERM").then_some(()));
        engine.ok("kill-all");
        assert_eq!(engine.wait(pid).to_string(), "signal: 9 (SIGKILL)");
        engine.ok("rm");
        // podman does not mind, and asks again.
        engine.ok("rm");
        assert!(!bundle.in_root("t").exists(), "{:?}", bundle.tree());
    });
}

/// The jail has the container's name: `ps -J`, rctl and `ifconfig -j` of podman go by it.
#[test]
fn the_jail_is_named_as_the_container() {
    case(needs!(Runj), |case| {
        let engine = Replay::new(case, "podman", &podman(case, &["sleep"]));
        engine.create("create", &engine.state().join("pidfile")).unwrap();
        let state: Value = serde_json::from_str(&case.runj(["state", engine.id()]).ok()).unwrap();
        assert_eq!(state["jail"]["name"], engine.id());
        engine.ok("rm");
    });
}

#[rstest]
#[case::not_there(&["no-such-program"], 127)]
#[case::not_there_by_path(&["/no/such/program"], 127)]
#[case::not_executable(&["/etc"], 126)]
fn podman_knows_why_a_program_does_not_start(#[case] command: &[&str], #[case] code: i32) {
    case(needs!(Runj), |case| {
        for create in ["create", "create-plain"] {
            let bundle = podman(case, &[]).set("/process/args", json!(command));
            let engine = Replay::new(case, "podman", &bundle);
            let pid_file = engine.state().join("pidfile");
            let error = engine.create(create, &pid_file).unwrap_err();
            assert_eq!(podman_code(&error), code, "{error}");
            assert!(!pid_file.exists());
            engine.ok("rm");
        }
        let engine = Replay::new(case, "podman", &podman(case, &["sleep"]));
        engine.create("create", &engine.state().join("pidfile")).unwrap();
        engine.ok("start");
        let process = json!({"args": command, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
        let error = engine.exec("exec", &process).unwrap_err();
        assert_eq!(podman_code(&error), code, "{error}");
        engine.ok("rm");
    });
}

#[test]
fn podman_exec() {
    case(needs!(Runj), |case| {
        let engine = Replay::new(case, "podman", &podman(case, &["sleep"]));
        engine.create("create", &engine.state().join("pidfile")).unwrap();
        engine.ok("start");
        let args = [
            "/integ-inside",
            "uid",
            "1000",
            "--and",
            "env-has",
            "A=b",
            "--and",
            "echo",
            "inside",
            "--and",
            "exit",
            "5",
        ];
        let process = json!({"terminal": false, "user": {"uid": 1000, "gid": 1000, "additionalGids": [1000]}, "args": args,
            "env": ["A=b"], "cwd": "/tmp", "noNewPrivileges": false});
        let pid = engine.exec("exec", &process).unwrap();
        assert_eq!(engine.wait(pid).code(), Some(5));
        assert_eq!(engine.stdout("exec"), "inside\n");
        engine.ok("rm");
    });
}

#[test]
fn podman_with_terminals() {
    case(needs!(Runj), |case| {
        let bundle =
            podman(case, &["tty", "--and", "echo", "outer", "--and", "sleep"]).set("/process/terminal", json!(true));
        let engine = Replay::new(case, "podman", &bundle);
        let console = Console::new(engine.console());
        let pid = engine.create("create-terminal", &engine.state().join("pidfile")).unwrap();
        let mut terminal = console.accept();
        assert_eq!(terminal.extra, 0);
        engine.ok("start");
        terminal.read_until("outer");
        let process = json!({"terminal": true, "args": ["/integ-inside", "tty", "--and", "exit", "3"], "cwd": "/",
            "user": {"uid": 0, "gid": 0}, "env": [], "consoleSize": {"height": 24, "width": 80}});
        let inner = engine.exec("exec-terminal", &process).unwrap();
        // Its program would be hung up on without it.
        let _terminal = console.accept();
        assert_eq!(engine.wait(inner).code(), Some(3));
        engine.ok("kill-all");
        engine.wait(pid);
        engine.ok("rm");
    });
}

/// From FreeBSD 13.3 on podman lets the container's own jail have the network stack, and sets it up between create and
/// start.
#[test]
fn podman_configures_the_network_between_create_and_start() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let check = ["address", "10.77.3.2", "--and", "udp-serve", "10.77.3.2:4077"];
        let bundle = podman(case, &check).set("/annotations/org.freebsd.jail.vnet", json!("new"));
        let engine = Replay::new(case, "podman", &bundle);
        let pid = engine.create("create", &engine.state().join("pidfile")).unwrap();
        let interface = network.pair();
        move_into(&interface, engine.id(), pid, "10.77.3.2/24");
        engine.ok("start");
        until("its output", || engine.stdout("ctr").contains("ready").then_some(()));
        // Once more from the outside: a container of the pod in the same network.
        let member = podman(case, &["udp-send", "10.77.3.2:4077", "hello"]);
        let member = member.set("/annotations/org.freebsd.parentJail", json!(engine.id()));
        let second = Replay::new(case, "podman", &member);
        let inner = second.create("create", &second.state().join("pidfile")).unwrap();
        let state: Value = serde_json::from_str(&case.runj(["state", second.id()]).ok()).unwrap();
        assert_eq!(state["jail"]["name"], format!("{}.{}", engine.id(), second.id()));
        second.ok("start");
        assert!(second.wait(inner).success(), "{}", second.stderr("ctr"));
        second.ok("rm");
        engine.ok("rm");
    });
}

/// What the engine does with ifconfig and route.
#[cfg(target_os = "linux")]
fn move_into(interface: &str, _jail: &str, pid: i32, address: &str) {
    Program::new("ip").args(["link", "set", interface, "netns", &pid.to_string()]).ok();
    for arguments in [["addr", "add", address, "dev", interface].as_slice(), &["link", "set", interface, "up"]] {
        Program::new("ip").args(arguments).in_network_of(pid).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn move_into(interface: &str, jail: &str, _pid: i32, address: &str) {
    Program::new("ifconfig").args([interface, "vnet", jail]).ok();
    // podman uses `ifconfig -j`, which kernels before 13.3 come without.
    for (interface, address) in [("lo0", "127.0.0.1/8"), (interface, address)] {
        Program::new("jexec").args([jail, "/integ-inside", "if-up", interface, address]).ok();
    }
}

/// A pod's first container stays; the others come and go.
#[test]
fn podman_pod() {
    case(needs!(Runj), |case| {
        let infra = Replay::new(case, "podman", &podman(case, &["sleep"]));
        infra.create("create", &infra.state().join("pidfile")).unwrap();
        infra.ok("start");
        for _ in 0..2 {
            let member = podman(case, &["hostname", "f604185d7fa8", "--and", "exit", "7"]);
            let member = member.set("/annotations/org.freebsd.parentJail", json!(infra.id()));
            let engine = Replay::new(case, "podman", &member);
            let pid = engine.create("create", &engine.state().join("pidfile")).unwrap();
            engine.ok("start");
            assert_eq!(engine.wait(pid).code(), Some(7));
            engine.ok("rm");
        }
        infra.ok("rm");
    });
}

#[test]
fn podman_update() {
    case(needs!(Runj, Limits), |case| {
        let bundle = podman(case, &["sleep"]).set("/linux/cgroupsPath", json!(format!("/{}-u", case.marker())));
        let engine = Replay::new(case, "podman", &bundle);
        engine.create("create", &engine.state().join("pidfile")).unwrap();
        engine.ok("start");
        let resources =
            json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}, "cpu": {"quota": 50000, "period": 100_000}});
        std::fs::write(engine.state().join("resources"), resources.to_string()).unwrap();
        engine.ok("update");
        let event: Value = serde_json::from_str(&case.runj(["events", "--stats", engine.id()]).ok()).unwrap();
        let (memory, pids) = (&event["data"]["memory"]["usage"]["limit"], &event["data"]["pids"]["limit"]);
        assert_eq!((memory.as_u64(), pids.as_u64()), (Some(64 << 20), Some(33)));
        engine.ok("rm");
    });
}

#[test]
fn podman_probes() {
    case(needs!(Runj), |case| {
        let engine = Replay::new(case, "podman", &podman(case, &["sleep"]));
        assert!(engine.ok("version").starts_with("runj version "));
        for probe in ["checkpoint", "restore", "restore-conmon"] {
            engine.run(probe).fails_with(1, "not supported");
        }
    });
}

/// A child of buildah's: it waits for the pid itself and asks for the state meanwhile.
#[test]
fn buildah_run() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("engines/buildah").args(&["echo", "built", "--and", "exit", "4"]);
        std::fs::write(bundle.dir().join("hosts"), "").unwrap();
        let engine = Replay::new(case, "buildah", &bundle);
        let status =
            || serde_json::from_str::<Value>(&engine.ok("state")).unwrap()["status"].as_str().unwrap().to_owned();
        let pid = engine.create("create", &bundle.dir().join("pid")).unwrap();
        assert_eq!(status(), "created");
        engine.ok("start");
        until("stopped", || (status() == "stopped").then_some(()));
        assert_eq!(engine.wait(pid).code(), Some(4));
        // It answers until it is deleted.
        assert_eq!(status(), "stopped");
        assert_eq!(engine.stdout("ctr"), "built\n");
        engine.ok("delete");
        engine.run("state").fails_with(1, "does not exist");
    });
}

#[test]
fn buildah_is_interrupted() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("engines/buildah").args(&["sleep"]);
        std::fs::write(bundle.dir().join("hosts"), "").unwrap();
        let engine = Replay::new(case, "buildah", &bundle);
        let pid = engine.create("create", &bundle.dir().join("pid")).unwrap();
        engine.ok("start");
        engine.run("delete").fails_with(1, "is running");
        engine.ok("interrupt");
        assert_eq!(engine.wait(pid).to_string(), "signal: 9 (SIGKILL)");
        engine.run("kill").fails_with(1, "is stopped");
        engine.ok("delete");
    });
}

#[test]
fn callers_of_runc() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let engine = Replay::new(case, "go-runc", &bundle);
        let json = |name: &str| serde_json::from_str::<Value>(&engine.ok(name)).unwrap();
        let pid = engine.create("create", &engine.state().join("pidfile")).unwrap();
        engine.ok("start");
        assert_eq!((&json("state")["pid"], &json("state")["status"]), (&json!(pid), &json!("running")));
        assert_eq!(json("list").as_array().unwrap().len(), 1);
        assert_eq!(json("ps"), json!([pid]));
        assert_eq!(json("stats")["data"]["pids"]["current"], 1);
        let process =
            json!({"args": ["/integ-inside", "exit", "6"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0}});
        let inner = engine.exec("exec", &process).unwrap();
        assert_eq!(engine.wait(inner).code(), Some(6));
        engine.ok("pause");
        assert_eq!(json("state")["status"], "paused");
        engine.ok("resume");
        // Nothing to change is no error.
        engine.program("update").input("{}").ok();
        engine.ok("kill");
        engine.wait(pid);
        engine.ok("delete");
        engine.ok("delete-force");
        assert_eq!(json("list"), json!([]));
        assert_eq!(json("features")["ociVersionMax"], "1.3.0");
    });
}

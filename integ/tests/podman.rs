//! podman and conmon, as they are packaged, with runj for their runtime.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::console::Terminal;
use integ::container::Done;
use integ::engine::{Engine, IMAGE};
use integ::prelude::*;

#[rstest]
#[case::zero(&["true"], 0)]
#[case::three(&["sh", "-c", "exit 3"], 3)]
#[case::not_executable(&["/etc/passwd"], 126)]
#[case::not_there(&["no-such-program"], 127)]
#[case::not_there_by_path(&["/no/such/program"], 127)]
#[case::killed(&["sh", "-c", "kill -9 $$"], 137)]
fn exit_codes(#[case] command: &[&str], #[case] code: i32) {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let done = engine.run(&["--rm"], command);
        assert_eq!(done.output.status.code(), Some(code), "{done:?}");
        assert_eq!(engine.ok(&["ps", "-aq"]), "", "--rm removes it");
    });
}

#[test]
fn a_life() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start(
            "web",
            &["--label", "a=b"],
            "echo started; echo trouble >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done",
        );
        assert_eq!(engine.inspect("web", "{{.State.Status}} {{.OCIRuntime}}"), "running runj");
        until("its output", || engine.done(&["logs", "web"]).stdout().contains("started").then_some(()));
        assert!(engine.done(&["logs", "web"]).stderr().contains("trouble"));
        assert!(engine.ok(&["top", "web", "args"]).contains("sleep 0.1"));
        // Its program sees the signal and ends in its own way, within the time that stop gives it.
        engine.ok(&["stop", "-t", "10", "web"]);
        assert_eq!(engine.inspect("web", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
        engine.ok(&["start", "web"]);
        engine.ok(&["restart", "-t", "10", "web"]);
        assert_eq!(engine.inspect("web", "{{.State.Status}}"), "running");
        engine.ok(&["kill", "web"]);
        engine.ok(&["wait", "web"]);
        assert_eq!(engine.inspect("web", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
        engine.ok(&["start", "web"]);
        engine.ok(&["rm", "-f", "-t", "0", "web"]);
        engine.done(&["inspect", "web"]).output.clone().assert().failure();
        assert_eq!(case.runj(["list", "-q"]).ok(), "");
    });
}

/// A program that does not care for the signal is killed when the time is over.
#[test]
fn stop_has_a_timeout() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("deaf", &[], "trap '' TERM; while :; do sleep 0.1; done");
        engine.ok(&["stop", "-t", "1", "deaf"]);
        assert_eq!(engine.inspect("deaf", "{{.State.ExitCode}}"), "137");
    });
}

#[test]
fn signals_reach_the_program() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("one", &[], "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done");
        until("ready", || engine.ok(&["logs", "one"]).contains("ready").then_some(()));
        engine.ok(&["kill", "--signal", "USR1", "one"]);
        until("the signal", || engine.ok(&["logs", "one"]).contains("usr1").then_some(()));
        assert_eq!(engine.inspect("one", "{{.State.Status}}"), "running");
    });
}

#[rstest]
#[case::status(&["sh", "-c", "exit 5"], 5)]
#[case::not_executable(&["/etc/passwd"], 126)]
#[case::not_there(&["no-such-program"], 127)]
fn exec_has_its_exit_code(#[case] command: &[&str], #[case] code: i32) {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("one", &[], "sleep 1000");
        let done = Done::run(engine.podman(["exec", "one"]).args(command));
        assert_eq!(done.output.status.code(), Some(code), "{done:?}");
        assert_eq!(engine.inspect("one", "{{.State.Status}}"), "running");
    });
}

#[test]
fn exec_gets_input_user_directory_and_environment() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("one", &["--env", "A=1"], "sleep 1000");
        let options = ["exec", "-i", "--user", "alice", "--workdir", "/work", "--env", "B=2", "one"];
        let script = "read line; echo $line $(id -u):$(id -g) $PWD $A$B $HOME";
        let text = engine.podman(options).args(["sh", "-c", script]).input("typed\n").ok();
        assert_eq!(text, "typed 1000:1000 /work 12 /work\n");
        engine.ok(&["exec", "-d", "one", "sh", "-c", "echo made > /work/mark"]);
        until("the detached program", || {
            engine.done(&["exec", "one", "cat", "/work/mark"]).stdout().contains("made").then_some(())
        });
    });
}

#[test]
fn pause_stops_and_unpause_goes_on() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("one", &[], "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done");
        let count = || engine.ok(&["logs", "one"]).lines().count();
        until("output", || (count() > 3).then_some(()));
        engine.ok(&["pause", "one"]);
        assert_eq!(engine.inspect("one", "{{.State.Status}}"), "paused");
        let pid = engine.inspect("one", "{{.State.Pid}}");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert!(stat.contains(") T "), "{stat}");
        let before = count();
        engine.ok(&["unpause", "one"]);
        until("more output", || (count() > before).then_some(()));
    });
}

#[test]
fn figures_of_stats_are_of_the_cgroup() {
    case(needs!(Podman, Runj, Limits), |case| {
        let engine = Engine::new(case);
        engine.start(
            "one",
            &["--memory", "64m", "--pids-limit", "50"],
            "head -c 16m /dev/zero | tail -c 16m > /dev/null; sleep 1000 & sleep 1000",
        );
        let id = engine.inspect("one", "{{.Id}}");
        let pid = engine.inspect("one", "{{.State.Pid}}");
        let group = format!("{}/libpod-{id}", engine.group());
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(groups.contains(&group), "{groups}");
        let v1 = format!("/sys/fs/cgroup/pids{group}/pids.current");
        let pids = || {
            std::fs::read_to_string(&v1)
                .or_else(|_| std::fs::read_to_string(format!("/sys/fs/cgroup{group}/pids.current")))
        };
        let format = ["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemLimit}}", "one"];
        until("the same figures", || {
            let wanted = format!("{} 67108864\n", pids().unwrap().trim());
            (engine.ok(&format) == wanted).then_some(())
        });
        engine.ok(&["update", "--memory", "96m", "one"]);
        let files = ["memory/", ""].map(|tree| format!("/sys/fs/cgroup/{tree}"));
        let limit = files.iter().find_map(|tree| {
            let at =
                |name: &str| std::fs::read_to_string(format!("{tree}{}/{name}", group.trim_start_matches('/'))).ok();
            at("memory.limit_in_bytes").or_else(|| at("memory.max"))
        });
        assert_eq!(limit.as_deref(), Some("100663296\n"));
    });
}

#[test]
fn limits_hold() {
    case(needs!(Podman, Runj, Limits), |case| {
        let engine = Engine::new(case);
        let greedy = engine.run(&["--rm", "--memory", "16m"], &["sh", "-c", "exec tail -c 100m /dev/zero"]);
        assert_eq!(greedy.output.status.code(), Some(137), "{greedy:?}");
        let many = engine.run(&["--rm", "--pids-limit", "4"], &["sh", "-c", "for i in 1 2 3 4 5 6; do sleep 5 & done"]);
        assert!(many.stderr().contains("can't fork"), "{many:?}");
    });
}

#[test]
fn volumes_of_directories_and_files() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let (directory, file) = (case.path("volume"), case.path("file"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("in"), "from the host\n").unwrap();
        std::fs::write(&file, "one file\n").unwrap();
        let mounts = [format!("{}:/v", directory.display()), format!("{}:/etc/one:ro", file.display())];
        let script = "cat /v/in /etc/one; echo out > /v/out; echo no > /etc/one || echo refused";
        let text = engine.sh(&["-v", &mounts[0], "-v", &mounts[1], "-v", "named:/n"], script);
        assert_eq!(text, "from the host\none file\nrefused\n");
        assert_eq!(std::fs::read_to_string(directory.join("out")).unwrap(), "out\n");
        engine.sh(&["-v", "named:/n"], "echo kept > /n/x");
        assert_eq!(engine.sh(&["-v", "named:/n"], "cat /n/x"), "kept\n");
    });
}

#[test]
fn properties_are_obeyed() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let options = [
            "--user",
            "1000:1001",
            "--workdir",
            "/work",
            "--ulimit",
            "nofile=99:100",
            "--ulimit",
            "nproc=500:600",
            "--env",
            "A=b c",
            "--uts",
            "private",
            "--hostname",
            "box",
            "--umask",
            "027",
        ];
        let script = "echo $(id -u):$(id -g) $PWD $(ulimit -n) $(ulimit -Hn) $A $(hostname) $(umask) $container";
        assert_eq!(engine.sh(&options, script), "1000:1001 /work 99 100 b c box 0027 podman\n");
        let script = "touch /x 2>&1; touch /tmp/x && echo writable";
        let text = engine.sh(&["--read-only"], script);
        assert!(text.contains("Read-only file system") && text.ends_with("writable\n"), "{text}");
        let text =
            engine.sh(&["--tmpfs", "/t:size=1m,mode=1777"], "stat -c %a /t; head -c 2m /dev/zero > /t/x || echo full");
        assert!(text.starts_with("1777\n") && text.ends_with("full\n"), "{text}");
        let script = "grep NoNewPrivs /proc/self/status; for i in null zero full random urandom tty; do test -c /dev/$i || echo no $i; done";
        assert_eq!(engine.sh(&["--security-opt", "no-new-privileges"], script), "NoNewPrivs:\t1\n");
    });
}

#[test]
fn a_terminal_in_the_foreground() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let (mut terminal, slave) = Terminal::open();
        terminal.resize(101, 31);
        let mut running = engine.runner(&["--rm", "-it"], &["sh"]).terminal(&slave).spawn();
        drop(slave);
        terminal.type_text("tty; stty size; echo $((6*7)).\n");
        let text = terminal.read_until("42.");
        assert!(text.contains("/dev/pts/0") && text.contains("31 101"), "{text}");
        terminal.resize(77, 22);
        until("the new size", || {
            terminal.type_text("stty size; echo $((1+1)).\n");
            terminal.read_until("2.").contains("22 77").then_some(())
        });
        terminal.type_text("exit 9\n");
        terminal.read_to_end();
        assert_eq!(running.wait().code(), Some(9));
    });
}

#[test]
fn a_terminal_for_exec_and_attach() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.run(&["-dit", "--name", "shell"], &["sh"]).ok();
        let (mut terminal, slave) = Terminal::open();
        let mut exec = engine.podman(["exec", "-it", "shell", "sh"]).terminal(&slave).spawn();
        drop(slave);
        terminal.type_text("test -t 0 && tty; exit 4\n");
        assert!(String::from_utf8_lossy(&terminal.read_to_end()).contains("/dev/pts/1"));
        assert_eq!(exec.wait().code(), Some(4));
        let (mut terminal, slave) = Terminal::open();
        let mut attached = engine.podman(["attach", "shell"]).terminal(&slave).spawn();
        drop(slave);
        terminal.type_text("echo $((20+3)).\n");
        terminal.read_until("23.");
        // The keys that leave the container running; podman wants to read them one by one.
        let status = until("detached", || {
            for key in ["\u{10}", "\u{11}"] {
                terminal.type_text(key);
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            attached.try_wait()
        });
        assert!(status.success());
        assert_eq!(engine.inspect("shell", "{{.State.Status}}"), "running");
    });
}

#[test]
fn attach_without_a_terminal_gets_the_output_to_its_end() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start("one", &[], "while ! test -e /go; do echo tick; sleep 0.05; done; echo late; exit 6");
        let mut attached = engine.podman(["attach", "--no-stdin", "one"]).spawn();
        attached.read_until("tick");
        engine.ok(&["exec", "one", "touch", "/go"]);
        attached.read_until("late");
        attached.wait();
        assert_eq!(engine.ok(&["wait", "one"]).trim(), "6");
    });
}

#[test]
fn a_health_check_is_run() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.start(
            "one",
            &["--health-cmd", "test -e /well", "--health-interval", "disable", "--health-retries", "1"],
            "sleep 1000",
        );
        assert_eq!(engine.done(&["healthcheck", "run", "one"]).output.status.code(), Some(1));
        engine.ok(&["exec", "one", "touch", "/well"]);
        engine.ok(&["healthcheck", "run", "one"]);
        assert_eq!(engine.inspect("one", "{{.State.Health.Status}}"), "healthy");
    });
}

#[test]
fn containers_of_a_pod_share_a_network_and_a_name() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let group = engine.group();
        let options =
            ["--infra-image", IMAGE, "--infra-command", "sleep 1000", "--network", "none", "--hostname", "pod"];
        Done::run(engine.podman(["pod", "create", "--name", "p", "--cgroup-parent", &group]).args(options)).ok();
        let member = |name: &str, script: &str| {
            Done::run(engine.podman(["run", "-d", "--pod", "p", "--name", name, IMAGE, "sh", "-c", script])).ok()
        };
        member("server", "nc -ll -p 7777 -e echo answer");
        member("client", "sleep 1000");
        let ask = || engine.done(&["exec", "client", "sh", "-c", "nc 127.0.0.1 7777 < /dev/null; hostname"]);
        until("an answer", || (ask().stdout() == "answer\npod\n").then_some(()));
        let space = |name: &str| {
            let pid = engine.inspect(name, "{{.State.Pid}}");
            std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
        };
        assert_eq!(space("server"), space("client"));
        assert_ne!(space("server"), std::fs::read_link("/proc/self/ns/net").unwrap());
        engine.ok(&["pod", "stop", "-t", "0", "p"]);
        engine.ok(&["pod", "rm", "p"]);
    });
}

#[test]
fn networks_none_and_host() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let none = engine.sh(&["--network", "none"], "ls /sys/class/net; ip -o -4 addr show lo");
        assert!(none.contains("127.0.0.1/8"), "{none}");
        let space = "readlink /proc/self/ns/net";
        let host = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(engine.sh(&["--network", "host"], space).trim(), host.to_string_lossy());
        assert_ne!(engine.sh(&["--network", "none"], space).trim(), host.to_string_lossy());
    });
}

/// The engine makes the network and hands it over by path.
#[test]
fn a_network_of_the_engine() {
    case(needs!(Podman, Runj, Vnet), |case| {
        let engine = Engine::new(case);
        engine.start("web", &["--network", "podman", "-p", "7070:7777"], "nc -ll -p 7777 -e printf answer");
        let address = engine.inspect("web", "{{.NetworkSettings.IPAddress}}");
        assert!(address.starts_with("10.88."), "{address}");
        case.outside(["tcp-connect", &format!("{address}:7777"), "answer"]).ok();
        assert!(engine.ok(&["exec", "web", "ip", "-o", "-4", "addr", "show", "eth0"]).contains(&address));
        let other = engine.sh(&["--network", "podman"], &format!("nc {address} 7777 < /dev/null"));
        assert_eq!(other, "answer");
    });
}

/// What the emulation cannot be, it does not pretend to be.
#[rstest]
#[case::processes(&["--pid", "host"], "cannot share the processes of the host")]
#[case::sysctl(&["--network", "none", "--sysctl", "net.ipv4.ip_forward=1"], "linux.sysctl.net.ipv4.ip_forward")]
#[case::another_node(&["--device", "/dev/null:/dev/other"], "the host has no node /dev/other")]
fn what_cannot_be_honoured_is_refused(#[case] options: &[&str], #[case] words: &str) {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let done = engine.run(&[&["--rm"], options].concat(), &["true"]);
        assert!(!done.output.status.success() && done.stderr().contains(words), "{done:?}");
    });
}

#[test]
fn devices_are_added() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let script = "test -c /dev/kmsg && echo there";
        assert_eq!(engine.sh(&["--device", "/dev/kmsg"], script), "there\n");
        assert_eq!(engine.sh(&[], &format!("{script} || echo not")), "not\n");
    });
}

/// With runj among `runtime_supports_json` podman reads the error from the log: one object and nothing else.
#[test]
fn errors_come_through_the_json_log() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        engine.configure("runtime_supports_json = [\"runj\"]");
        let done = engine.run(&["--rm", "--cpu-shares", "9"], &["no-such-program"]);
        assert_eq!(done.output.status.code(), Some(127), "{done:?}");
        let text = done.stderr();
        assert!(text.contains("executable file not found in") && !text.contains("not applied"), "{text}");
        assert_eq!(engine.run(&["--rm", "--cpu-shares", "9"], &["echo", "fine"]).ok(), "fine\n");
    });
}

#[test]
fn cgroups_can_be_disabled() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        // The option's name in podman 4, and in later ones.
        engine.configure("runtime_supports_nocgroup = [\"runj\"]\nruntime_supports_nocgroups = [\"runj\"]");
        let options = ["run", "--rm", "--cgroups", "disabled", IMAGE, "cat", "/proc/self/cgroup"];
        assert!(!engine.ok(&options).contains("libpod-"));
    });
}

#[test]
fn podman_knows_the_runtime() {
    case(needs!(Podman, Runj), |case| {
        let engine = Engine::new(case);
        let info: Value = serde_json::from_str(&engine.ok(&["info", "--format", "json"])).unwrap();
        let runtime = &info["host"]["ociRuntime"];
        assert_eq!(runtime["name"], "runj");
        assert!(runtime["version"].as_str().unwrap().starts_with("runj version "), "{runtime}");
        engine.start("one", &[], "sleep 1000");
        let checkpoint = engine.done(&["container", "checkpoint", "one"]);
        assert!(!checkpoint.output.status.success(), "{checkpoint:?}");
        assert_eq!(engine.inspect("one", "{{.State.Status}}"), "running");
    });
}

#[test]
fn thirty_at_once() {
    case(needs!(Podman, Runj), |case| {
        const COUNT: usize = 30;
        let engine = Engine::new(case);
        let names: Vec<String> = (0..COUNT).map(|number| format!("c{number}")).collect();
        let started: Vec<_> = names
            .iter()
            .map(|name| {
                engine
                    .runner(&["-d", "--name", name], &["sh", "-c", "echo $HOSTNAME; sleep 1000"])
                    .deadline(integ::wait::seconds(100))
                    .spawn()
            })
            .collect();
        for running in started {
            let output = running.output();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(engine.ok(&["ps", "-q"]).lines().count(), COUNT);
        engine.podman(["rm", "-fa", "-t", "0"]).deadline(integ::wait::seconds(100)).ok();
        assert_eq!(engine.ok(&["ps", "-aq"]), "");
    });
}

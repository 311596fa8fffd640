//! The shim under a real containerd, driven by `ctr`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;

use integ::console::Terminal;
use integ::containerd::task_events;
use integ::prelude::*;
use integ::{Containerd, ffi};

#[test]
fn output_and_exit_status() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let check = ["echo", "out", "--and", "echo-error", "err", "--and", "exit", "42"];
        let output = containerd.run(&["--rm"], &case.id(), &check).run();
        assert_eq!(output.status.code(), Some(42), "{output:?}");
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
        let output = containerd.run(&["--rm"], &case.id(), &["die", "TERM"]).run();
        assert_eq!(output.status.code(), Some(128 + 15), "{output:?}");
        assert_eq!(containerd.tasks(), Vec::<[String; 3]>::new());
    });
}

#[test]
fn output_is_complete_to_the_last_byte() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let output = containerd.run(&["--rm"], &case.id(), &["write", "8", "--and", "echo", "the end"]).run();
        assert_eq!(output.stdout.len(), (8 << 20) + 8);
        assert!(output.stdout.ends_with(b"the end\n"));
    });
}

#[test]
fn a_terminal() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let (mut terminal, slave) = Terminal::open();
        terminal.resize(97, 31);
        let check = ["tty", "--and", "wait-winsize", "97", "31", "--and", "echo", "ready", "--and", "cat"];
        let mut client = containerd.run(&["--rm", "--tty"], &case.id(), &check).terminal(&slave).spawn();
        drop(slave);
        terminal.read_until("ready");
        terminal.type_text("typed\n");
        // Once by the terminal's echo, once by the program.
        terminal.read_until("\ntyped");
        terminal.type_text("\u{4}");
        assert!(client.wait().success());
    });
}

#[test]
fn the_output_of_a_terminal_is_complete() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let (mut terminal, slave) = Terminal::open();
        let check = ["write", "1", "--and", "echo", "the end"];
        let mut client = containerd.run(&["--rm", "--tty"], &case.id(), &check).terminal(&slave).spawn();
        drop(slave);
        let text = String::from_utf8_lossy(&terminal.read_to_end()).into_owned();
        assert!(client.wait().success());
        assert!(text.contains("the end"), "{:?}", &text[text.len().saturating_sub(80)..]);
        // 64 bytes a line, and the carriage return that the container's terminal puts before each end.
        assert_eq!(text.matches("\r\n").count(), (1 << 14) + 1);
    });
}

#[test]
fn execs() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let id = containerd.running(&["sleep"]);
        let output = containerd.exec(&[], "e1", &id, &["echo", "beside", "--and", "exit", "7"]).run();
        assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"beside\n"[..]), "{output:?}");
        // Its standard input ends when the client's does.
        let text = containerd.exec(&[], "e2", &id, &["cat"]).input("through\n").ok();
        assert_eq!(text, "through\n");
        let user = containerd.exec(&["--user", "1001:1002"], "e3", &id, &["uid", "1001", "--and", "gid", "1002"]);
        user.ok();
        let (mut terminal, slave) = Terminal::open();
        let check = ["tty", "--and", "echo", "ready", "--and", "cat"];
        let mut client = containerd.exec(&["--tty"], "e4", &id, &check).terminal(&slave).spawn();
        drop(slave);
        terminal.read_until("ready");
        terminal.type_text("\u{4}");
        assert!(client.wait().success());
        containerd.remove(&id);
    });
}

#[test]
fn an_error_of_runj_is_read_by_the_user() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let id = containerd.running(&["sleep"]);
        let exec = containerd.ctr(["task", "exec", "--exec-id", "e", &id, "/no/such"]).run();
        let text = String::from_utf8_lossy(&exec.stderr).into_owned();
        assert!(!exec.status.success() && text.contains("/no/such: no such file or directory"), "{text}");
        containerd.remove(&id);

        let ext = case.path("runj.ext.json");
        fs::write(&ext, r#"{"network":{"ipv4":{"adr":[]}}}"#).unwrap();
        let options = ["--rm", "--runtime-config-path", ext.to_str().unwrap()];
        let refused = containerd.run(&options, &case.id(), &["true"]).run();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains("runj.ext.json: network.ipv4.adr: unknown field"), "{text}");
        fs::write(&ext, r#"{"network":{"ipv4":{"mode":"inherit"}}}"#).unwrap();
        containerd.run(&options, &case.id(), &["address", "127.0.0.1"]).ok();
    });
}

#[test]
fn signals_pause_and_resume() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let log = case.path("output.log");
        let id = case.id();
        let uri = format!("file://{}", log.display());
        containerd.run(&["--detach", "--log-uri", &uri], &id, &["trap"]).ok();
        let logged = |text: &str| {
            until(text, || fs::read_to_string(&log).unwrap_or_default().contains(text).then_some(()));
        };
        logged("ready");
        containerd.ctr(["task", "kill", "--signal", "USR1", &id]).ok();
        logged("USR1");
        containerd.ctr(["task", "pause", &id]).ok();
        containerd.await_status(&id, "PAUSED");
        containerd.ctr(["task", "kill", "--signal", "USR2", &id]).ok();
        containerd.ctr(["task", "resume", &id]).ok();
        logged("USR2");
        containerd.await_status(&id, "RUNNING");
        let pid = containerd.tasks()[0][1].clone();
        let listed = containerd.ctr(["task", "ps", &id]).ok();
        assert!(listed.lines().any(|line| line.split_whitespace().next() == Some(&pid)), "{pid}: {listed}");
        containerd.remove(&id);
    });
}

#[test]
fn figures_are_runjs_and_want_of_memory_is_told() {
    case(needs!(Linux, Runj, Containerd, Limits), |case| {
        let mut containerd = Containerd::start(case);
        let file = containerd.listen();
        let limited = ["--detach", "--memory-limit", "67108864"];
        let id = case.id();
        containerd.run(&limited, &id, &["fork", "2", "--and", "allocate", "16", "--and", "sleep"]).ok();
        let metrics = until("three processes and their memory", || {
            let metrics: Value =
                serde_json::from_str(&containerd.ctr(["task", "metrics", "--format", "json", &id]).ok()).unwrap();
            let big = metrics["memory"]["usage"]["usage"].as_u64().unwrap_or(0) > 16 << 20;
            (big && metrics["pids"]["current"] == 3).then_some(metrics)
        });
        assert_eq!(metrics["memory"]["usage"]["limit"], 64 << 20, "{metrics}");
        let told: Value = serde_json::from_str(&containerd.runj(["events", "--stats", &id]).ok()).unwrap();
        let usage = |figures: &Value| figures["memory"]["usage"]["usage"].as_f64().unwrap();
        let (theirs, ours) = (usage(&metrics), usage(&told["data"]));
        assert!((theirs - ours).abs() < ours * 0.05, "{theirs} {ours}");
        // An exec that takes too much, and then the first process of another container.
        let status = containerd.exec(&[], "e1", &id, &["allocate", "200", "--and", "sleep"]).run().status;
        assert_eq!(status.code(), Some(137));
        containerd.remove(&id);
        let greedy = case.id();
        containerd.run(&limited, &greedy, &["allocate", "200", "--and", "sleep"]).ok();
        containerd.await_status(&greedy, "STOPPED");
        containerd.remove(&greedy);
        let ends = until("the ends are told", || {
            let events = task_events(&file);
            let ends: Vec<String> = events
                .iter()
                .filter(|(topic, _)| topic == "oom" || topic == "exit")
                .map(|(topic, event)| {
                    let whose = if event["container_id"] == json!(id) { "first" } else { "greedy" };
                    format!("{topic} {whose}")
                })
                .collect();
            (ends.len() == 5).then_some(ends)
        });
        assert_eq!(ends, ["oom first", "exit first", "exit first", "oom greedy", "exit greedy"]);
    });
}

#[test]
fn events_come_in_order() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let mut containerd = Containerd::start(case);
        let file = containerd.listen();
        let id = containerd.running(&["sleep"]);
        containerd.exec(&[], "e1", &id, &["exit", "3"]).run();
        // It is still there when the first process ends.
        containerd.exec(&["--detach"], "e2", &id, &["sleep"]).ok();
        containerd.ctr(["task", "pause", &id]).ok();
        containerd.ctr(["task", "resume", &id]).ok();
        containerd.remove(&id);
        let events = until("the end of the task is told", || {
            let events = task_events(&file);
            events.iter().any(|(topic, event)| topic == "delete" && event["id"].is_null()).then_some(events)
        });
        let line = |(topic, event): &(String, Value)| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().replace(&id, "init");
            let process = if event["exec_id"].is_null() { text("id") } else { text("exec_id") };
            format!("{topic} {process} {}", event["exit_status"].as_u64().unwrap_or(0))
        };
        let lines: Vec<String> = events.iter().map(line).collect();
        let expected = [
            "create  0",
            "start  0",
            "exec-added e1 0",
            "exec-started e1 0",
            "exit e1 3",
            "delete e1 3",
            "exec-added e2 0",
            "exec-started e2 0",
            "paused  0",
            "resumed  0",
            "exit e2 137",
            "exit init 137",
            "delete  137",
        ];
        assert_eq!(lines, expected);
        assert!(events.iter().all(|(_, event)| event["container_id"] == *id), "{events:?}");
    });
}

#[test]
fn a_restart_of_containerd_loses_no_container() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let mut containerd = Containerd::start(case);
        let ids: Vec<String> = (0..3).map(|_| containerd.running(&["sleep"])).collect();
        let before = containerd.tasks();
        containerd.restart();
        assert_eq!(containerd.tasks(), before);
        assert_eq!(containerd.exec(&[], "e", &ids[0], &["echo", "after"]).ok(), "after\n");
        let output = containerd.remove(&ids[0]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("exit code 137"), "{output:?}");
        // One ends while containerd is away.
        let shim = containerd.shim_of(&ids[1]).unwrap();
        let pid: i32 = before.iter().find(|task| task[0] == ids[1]).unwrap()[1].parse().unwrap();
        ffi::kill(pid, libc::SIGKILL).unwrap();
        containerd.await_status(&ids[1], "STOPPED");
        assert_eq!(containerd.shim_of(&ids[1]), Some(shim));
        containerd.remove(&ids[1]);
        containerd.remove(&ids[2]);
    });
}

#[test]
fn a_killed_shim_leaves_nothing() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let mut containerd = Containerd::start(case);
        let file = containerd.listen();
        let id = containerd.running(&["daemon", "2", "--and", "sleep"]);
        ffi::kill(containerd.shim_of(&id).unwrap(), libc::SIGKILL).unwrap();
        until("the task is gone", || containerd.tasks().is_empty().then_some(()));
        containerd.ctr(["container", "delete", &id]).ok();
        let ended =
            |topic: &str| task_events(&file).iter().any(|(name, event)| name == topic && event["exit_status"] == 137);
        until("its end is told", || (ended("exit") && ended("delete")).then_some(()));
        // A second of its name finds nothing in its way.
        containerd.run(&["--rm"], &id, &["true"]).ok();
    });
}

#[test]
fn fifty_at_once() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let clients: Vec<_> = (0..50_i32)
            .map(|number| {
                let status = number.to_string();
                containerd.run(&["--rm"], &case.id(), &["echo", &status, "--and", "exit", &status])
            })
            .map(|program| program.deadline(integ::wait::seconds(100)).spawn())
            .collect();
        for (number, client) in (0..).zip(clients) {
            let output = client.output();
            assert_eq!(output.status.code(), Some(number), "{output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), number.to_string());
        }
        assert!(containerd.tasks().is_empty());
    });
}

#[test]
fn two_namespaces_use_one_id() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let (id, other) = (containerd.running(&["sleep"]), format!("{}-other", case.marker()));
        let state = containerd.state(&id);
        assert_eq!((&state["id"], &state["status"]), (&json!(id), &json!("running")));
        assert_eq!(state["jail"]["name"], format!("{}--{id}", case.marker()));
        let image = case.path("containerd/image.tar");
        containerd.ctr_in(&other, ["image", "import", "--snapshotter", "native"]).arg(image).ok();
        let run = ["run", "--rm", "--runtime", "wtf.sbk.runj.v1", "--snapshotter", "native", "integ.local/inside:1"];
        let second = containerd.ctr_in(&other, run).args([&id, "/integ-inside", "echo", "second"]);
        assert_eq!(second.ok(), "second\n");
        assert_eq!(containerd.state(&id)["status"], "running");
        containerd.remove(&id);
    });
}

#[test]
fn a_client_comes_back_to_a_terminal() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let id = case.id();
        let (mut terminal, slave) = Terminal::open();
        let check = ["echo", "ready", "--and", "cat"];
        let mut client = containerd.run(&["--tty"], &id, &check).terminal(&slave).spawn();
        drop(slave);
        terminal.read_until("ready");
        ffi::kill(client.pid, libc::SIGKILL).unwrap();
        client.wait();
        let (mut terminal, slave) = Terminal::open();
        let mut client = containerd.ctr(["task", "attach", &id]).terminal(&slave).spawn();
        drop(slave);
        until("the client is attached", || {
            terminal.type_text("x\n");
            terminal.has_output(200).then_some(())
        });
        terminal.read_until("\nx");
        terminal.type_text("\u{4}");
        assert!(client.wait().success());
        // The client has deleted the task.
        containerd.ctr(["container", "delete", &id]).ok();
    });
}

#[test]
fn a_running_task_is_deleted_by_force() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let id = case.id();
        let create = ["container", "create", "--runtime", "wtf.sbk.runj.v1", "--snapshotter", "native"];
        containerd.ctr(create).args(["integ.local/inside:1", &id, "/integ-inside", "sleep"]).ok();
        containerd.ctr(["task", "start", "--detach", &id]).ok();
        containerd.ctr(["task", "delete", "--force", &id]).run();
        until("the task is gone", || containerd.tasks().is_empty().then_some(()));
        containerd.ctr(["container", "delete", &id]).ok();
    });
}

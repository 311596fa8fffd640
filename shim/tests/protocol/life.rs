//! A container's life: states, events in order, what runj is asked for.

use protobuf::Message;
use shim::proto::introspection::RuntimeInfo;
use shim::proto::metrics::Metrics;
use shim::proto::oci::{Options, ProcessDetails};
use shim::proto::shim as api;
use shim::proto::task::Status;

use crate::harness::{Bench, ID, any, program, run, until, within};

#[test]
fn from_create_to_shutdown() {
    run(async {
        let bench = Bench::start("exit 3").await;
        let pid = bench.create().await;
        let state = bench.state("").await;
        assert_eq!((state.pid, state.status, state.id.as_str()), (pid, Status::CREATED.into(), ID));
        assert_eq!((state.stdout, state.stderr, state.terminal), (bench.text("out"), bench.text("err"), false));
        assert_eq!(bench.start_process("").await.unwrap(), pid);
        assert_eq!(bench.wait("").await, 3);
        let state = bench.state("").await;
        assert_eq!((state.pid, state.status, state.exit_status), (pid, Status::STOPPED.into(), 3));
        assert!(state.exited_at.seconds > 0);
        assert!(bench.path("shim.json").exists());
        assert_eq!(bench.delete("").await.unwrap(), 3);
        bench.heard(&["create c1 out", "start c1", "exit c1 3", "delete c1 3"]).await;
        let calls = [
            "--log runj-init.json --log-format json create --bundle BUNDLE --jail-name tests--c1 --pid-file pid-init c1",
            "start c1",
            "kill --all c1 KILL",
            "delete --force c1",
        ];
        let bundle = bench.path("");
        let bundle = bundle.to_string_lossy();
        let here: Vec<String> =
            bench.calls().iter().map(|line| line.replace(bundle.trim_end_matches('/'), "BUNDLE")).collect();
        assert_eq!(here, calls);
        // Nothing is left for `delete`, which containerd runs all the same.
        assert!(!bench.path("shim.json").exists());
        bench.shutdown().await;
    });
}

#[test]
fn one_that_ends_at_once_is_told_after_its_start() {
    run(async {
        for _ in 0..5 {
            let bench = Bench::start("kill -KILL $$").await;
            bench.create().await;
            bench.exec("e", "exit 4").await.unwrap();
            bench.start_process("").await.unwrap();
            assert_eq!(bench.wait("").await, 137);
            bench.delete("").await.unwrap();
            bench.heard(&["create c1 out", "exec-added e", "start c1", "exit c1 137", "delete c1 137"]).await;
            bench.shutdown().await;
        }
    });
}

#[test]
fn the_first_process_ends_last() {
    run(async {
        let bench = Bench::start("while :; do sleep 1; done").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        for (id, text) in [("e1", "exit 7"), ("e2", "exec sleep 1000"), ("e3", "exec sleep 1000")] {
            bench.exec(id, text).await.unwrap();
            assert_eq!(bench.state(id).await.status, Status::CREATED.into());
            bench.start_process(id).await.unwrap();
        }
        assert_eq!(bench.wait("e1").await, 7);
        assert_eq!(bench.state("e2").await.status, Status::RUNNING.into());
        bench.kill("e2", libc::SIGTERM).await.unwrap();
        assert_eq!(bench.wait("e2").await, 128 + 15);
        assert_eq!(bench.delete("e2").await.unwrap(), 128 + 15);
        bench.kill("", libc::SIGKILL).await.unwrap();
        assert_eq!(bench.wait("").await, 137);
        assert_eq!(bench.wait("e3").await, 137);
        bench.delete("").await.unwrap();
        let events = [
            "create c1 out",
            "start c1",
            "exec-added e1",
            "exec-started e1",
            "exec-added e2",
            "exec-started e2",
            "exec-added e3",
            "exec-started e3",
            "exit e1 7",
            "exit e2 143",
            "delete e2 143",
            "exit e3 137",
            "exit c1 137",
            "delete c1 137",
        ];
        // e1 ends while the others are started.
        until(|| bench.heard.len() == events.len()).await;
        let mut sorted = bench.heard.lines();
        let at = sorted.iter().position(|line| line == "exit e1 7").unwrap();
        let line = sorted.remove(at);
        sorted.insert(8, line);
        assert_eq!(sorted, events);
        bench.shutdown().await;
    });
}

#[test]
fn one_that_was_never_started_is_deleted() {
    run(async {
        let bench = Bench::start("exit 0").await;
        bench.create().await;
        assert_eq!(bench.delete("").await.unwrap(), 137);
        bench.heard(&["create c1 out", "exit c1 137", "delete c1 137"]).await;
        bench.shutdown().await;
    });
}

#[test]
fn pause_and_resume() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        let request = api::PauseRequest { id: ID.into(), ..Default::default() };
        bench.task.pause(within(), &request).await.unwrap();
        assert_eq!(bench.state("").await.status, Status::PAUSED.into());
        let request = api::ResumeRequest { id: ID.into(), ..Default::default() };
        bench.task.resume(within(), &request).await.unwrap();
        assert_eq!(bench.state("").await.status, Status::RUNNING.into());
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        bench.delete("").await.unwrap();
        bench.heard(&["create c1 out", "start c1", "paused c1", "resumed c1", "exit c1 137", "delete c1 137"]).await;
        bench.shutdown().await;
    });
}

#[test]
fn processes_figures_and_limits_are_runjs() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        let pid = bench.create().await;
        bench.start_process("").await.unwrap();
        bench.exec("e1", "exec sleep 1000").await.unwrap();
        let exec = bench.start_process("e1").await.unwrap();
        let request = api::PidsRequest { id: ID.into(), ..Default::default() };
        let processes = bench.task.pids(within(), &request).await.unwrap().processes;
        let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [pid, exec]);
        assert!(processes[0].info.is_none());
        assert_eq!(processes[1].info.type_url, "containerd.runc.v1.ProcessDetails");
        assert_eq!(ProcessDetails::parse_from_bytes(&processes[1].info.value).unwrap().exec_id, "e1");

        let request = api::StatsRequest { id: ID.into(), ..Default::default() };
        let stats = bench.task.stats(within(), &request).await.unwrap().stats.unwrap();
        let metrics = Metrics::parse_from_bytes(&stats.value).unwrap();
        assert_eq!((metrics.pids.current, metrics.memory.usage.usage), (3, 4096));

        let resources = br#"{"memory":{"limit":1048576}}"#.to_vec();
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
        let request = api::UpdateTaskRequest {
            id: ID.into(),
            resources: Some(any(type_url, resources.clone())).into(),
            ..Default::default()
        };
        bench.task.update(within(), &request).await.unwrap();
        assert_eq!(std::fs::read(bench.path("state/tests/c1/resources")).unwrap(), resources);
        let calls = bench.calls();
        assert!(calls.contains(&"update --resources - c1".to_owned()), "{calls:?}");
        assert!(calls.contains(&"events --stats c1".to_owned()), "{calls:?}");
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

/// Once for each time, and before the end that it explains; not where the kernel does not tell.
#[cfg(target_os = "linux")]
#[test]
fn want_of_memory_is_told() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        bench.exec("e1", "kill -KILL $$").await.unwrap();
        bench.start_process("e1").await.unwrap();
        bench.wait("e1").await;
        let kills = bench.path("state/tests/c1/kills");
        for (exec, count) in [("e2", "2"), ("e3", "2")] {
            std::fs::write(&kills, count).unwrap();
            bench.exec(exec, "kill -KILL $$").await.unwrap();
            bench.start_process(exec).await.unwrap();
            bench.wait(exec).await;
        }
        std::fs::write(&kills, "3").unwrap();
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        let mut expected = vec!["create c1 out", "start c1"];
        expected.extend(["exec-added e1", "exec-started e1", "exit e1 137"]);
        expected.extend(["exec-added e2", "exec-started e2", "oom c1", "exit e2 137"]);
        expected.extend(["exec-added e3", "exec-started e3", "exit e3 137", "oom c1", "exit c1 137"]);
        bench.heard(&expected).await;
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn events_wait_for_containerd() {
    run(async {
        let mut bench = Bench::start("exit 0").await;
        bench.create().await;
        bench.heard(&["create c1 out"]).await;
        let mut containerd = bench.containerd.take().unwrap();
        containerd.shutdown().await.unwrap();
        drop(containerd);
        std::fs::remove_file(bench.path("ttrpc")).unwrap();
        bench.start_process("").await.unwrap();
        bench.wait("").await;
        assert_eq!(bench.heard.len(), 1);
        bench.listen().await;
        bench.heard(&["create c1 out", "start c1", "exit c1 0"]).await;
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn shutdown_never_comes_before_the_container() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        let request = api::ShutdownRequest { id: ID.into(), now: true, ..Default::default() };
        bench.task.shutdown(within(), &request).await.unwrap();
        assert_eq!(bench.state("").await.status, Status::CREATED.into());
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn delete_cleans_up_after_a_shim_that_was_killed() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        bench.kill_shim().await;
        let elsewhere = tempfile::tempdir().unwrap();
        let bundle = bench.path("");
        let output = program(elsewhere.path())
            .args(["-namespace", "tests", "-id", ID, "-bundle", bundle.to_str().unwrap(), "delete"])
            .calls(bench.path("calls"))
            .output();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let response = api::DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
        assert_eq!(response.exit_status, 137);
        assert_eq!(bench.calls().last().unwrap(), "delete --force c1");
        assert!(!bench.path("shim.json").exists() && !bench.path("state/tests/c1").exists());
        assert_eq!(std::fs::read_dir(bench.path("s")).unwrap().count(), 0);
    });
}

#[test]
fn info_names_the_runtime_and_its_features() {
    let directory = tempfile::tempdir().unwrap();
    let runj = directory.path().join("runj");
    std::fs::write(&runj, include_str!("runj.sh")).unwrap();
    std::fs::set_permissions(&runj, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = Options { binary_name: runj.to_string_lossy().into_owned(), ..Default::default() };
    let options = any("containerd.runc.v1.Options", options.write_to_bytes().unwrap());
    let output = program(directory.path()).args(["-info"]).input(options.write_to_bytes().unwrap()).output();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let info = RuntimeInfo::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((info.name.as_str(), info.version.version.as_str()), ("wtf.sbk.runj.v1", env!("CARGO_PKG_VERSION")));
    assert_eq!(info.options.unwrap(), options);
    assert!(info.features.type_url.ends_with("/features/Features"));
    assert_eq!(info.features.value, b"{\"ociVersionMax\":\"1.3.0\"}\n");
}

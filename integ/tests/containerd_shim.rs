//! The shim under a real containerd and over the real runj, asked directly: what `ctr` cannot ask, and what it would be too
//! slow for.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::Path;

use integ::Containerd;
use integ::prelude::*;
use protobuf::Message;
use protobuf::well_known_types::any::Any;
use shim::proto::metrics::Metrics;
use shim::proto::shim as api;
use shim::proto::shim_ttrpc::TaskClient;
use ttrpc::Code;
use ttrpc::r#async::Client;
use ttrpc::context;

/// Runs a conversation with a container's shim.
fn with_shim<T: Future<Output = ()>>(containerd: &Containerd<'_>, id: &str, talk: impl FnOnce(TaskClient) -> T) {
    let address = fs::read_to_string(containerd.bundle(id).join("address")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { talk(TaskClient::new(Client::connect(&address).await.unwrap())).await });
}

fn within() -> context::Context {
    context::with_timeout(i64::try_from(integ::wait::patience().as_nanos()).unwrap())
}

fn typed(kind: &str, value: &Value) -> Any {
    let type_url = format!("types.containerd.io/opencontainers/runtime-spec/1/{kind}");
    Any { type_url, value: value.to_string().into_bytes(), ..Any::default() }
}

async fn update(task: &TaskClient, id: &str, resources: &Value) -> ttrpc::Result<()> {
    let resources = Some(typed("LinuxResources", resources)).into();
    let request = api::UpdateTaskRequest { id: id.into(), resources, ..Default::default() };
    task.update(within(), &request).await.map(drop)
}

#[test]
fn limits_are_changed_and_figures_and_processes_are_runjs() {
    case(needs!(Linux, Runj, Containerd, Limits), |case| {
        let containerd = Containerd::start(case);
        let id = case.id();
        let check = ["fork", "2", "--and", "sleep"];
        containerd.run(&["--detach", "--memory-limit", "67108864"], &id, &check).ok();
        let told = || -> Value { serde_json::from_str(&containerd.runj(["events", "--stats", &id]).ok()).unwrap() };
        until("three processes", || (told()["data"]["pids"]["current"] == 3).then_some(()));
        with_shim(&containerd, &id, async |task| {
            update(&task, &id, &json!({"memory": {"limit": 48 << 20}, "pids": {"limit": 50}})).await.unwrap();
            let request = api::StatsRequest { id: id.clone(), ..Default::default() };
            let stats = task.stats(within(), &request).await.unwrap().stats.unwrap();
            let metrics = Metrics::parse_from_bytes(&stats.value).unwrap();
            let figures = (metrics.memory.usage.limit, metrics.pids.limit, metrics.pids.current);
            assert_eq!(figures, (48 << 20, 50, 3));
            let runjs = told();
            let number = |part: &str, name: &str| runjs["data"][part][name].clone();
            assert_eq!(number("memory", "usage")["limit"], 48 << 20, "{runjs}");
            assert_eq!((number("pids", "limit"), number("pids", "current")), (json!(50), json!(3)));

            let request = api::PidsRequest { id: id.clone(), ..Default::default() };
            let processes = task.pids(within(), &request).await.unwrap().processes;
            let mut pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
            let listed = containerd.runj(["ps", "--format", "json", &id]).ok();
            let mut runjs: Vec<u32> = serde_json::from_str(&listed).unwrap();
            pids.sort_unstable();
            runjs.sort_unstable();
            assert_eq!((pids.len(), pids), (3, runjs));

            // What runj refuses is read, and changes nothing.
            let refused = update(&task, &id, &json!({"memory": {"limit": "much"}})).await.unwrap_err();
            let ttrpc::Error::RpcStatus(status) = &refused else { panic!("{refused}") };
            assert!(status.code() == Code::UNKNOWN && status.message.contains("memory.limit"), "{refused}");
            assert_eq!(told()["data"]["memory"]["usage"]["limit"], 48 << 20);
        });
        containerd.remove(&id);
    });
}

/// What a shim holds: KiB of memory, descriptors.
fn held(shim: i32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = line.split_whitespace().next().unwrap().parse().unwrap();
    (resident, fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count())
}

async fn exec(task: &TaskClient, id: &str, exec: &str, check: &[&str]) -> ttrpc::Result<()> {
    let args: Vec<&str> = ["/integ-inside"].iter().chain(check).copied().collect();
    let spec = json!({"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": []});
    let request = api::ExecProcessRequest {
        id: id.into(),
        exec_id: exec.into(),
        spec: Some(typed("Process", &spec)).into(),
        ..Default::default()
    };
    task.exec(within(), &request).await?;
    let request = api::StartRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
    task.start(within(), &request).await.map(drop)
}

async fn end(task: &TaskClient, id: &str, exec: &str) -> u32 {
    let request = api::WaitRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
    task.wait(within(), &request).await.unwrap();
    let request = api::DeleteRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
    task.delete(within(), &request).await.unwrap().exit_status
}

#[test]
fn a_thousand_execs_leave_nothing_in_the_shim() {
    const LIVING: u32 = 100;
    case(needs!(Linux, Runj, Containerd), |case| {
        let containerd = Containerd::start(case);
        let id = containerd.running(&["sleep"]);
        let shim = containerd.shim_of(&id).unwrap();
        let files = || fs::read_dir(containerd.bundle(&id)).unwrap().count();
        with_shim(&containerd, &id, async |task| {
            let once = async |number: u32| {
                let name = format!("e{number}");
                exec(&task, &id, &name, &["exit", &(number % 7).to_string()]).await.unwrap();
                assert_eq!(end(&task, &id, &name).await, number % 7);
            };
            for number in 0..50 {
                once(number).await;
            }
            let (before, in_bundle) = (held(shim), files());
            for number in 50..1050 {
                once(number).await;
            }
            let after = held(shim);
            assert_eq!((after.1, files()), (before.1, in_bundle));
            assert!(after.0 <= before.0 + 256, "{before:?} {after:?}");

            let hundred = async || {
                for number in 0..LIVING {
                    exec(&task, &id, &format!("s{number}"), &["sleep"]).await.unwrap();
                }
                let full = held(shim);
                for number in 0..LIVING {
                    let exec_id = format!("s{number}");
                    let request = api::KillRequest { exec_id, id: id.clone(), signal: 9, ..Default::default() };
                    task.kill(within(), &request).await.unwrap();
                    assert_eq!(end(&task, &id, &request.exec_id).await, 137);
                }
                full
            };
            let full = hundred().await;
            assert!(full.0 <= after.0 + u64::from(LIVING) * 64, "{after:?} {full:?}");
            // What they took is had again by later ones.
            let again = hundred().await;
            assert!(again.0 <= full.0 + 256, "{full:?} {again:?}");
            assert_eq!((held(shim).1, files()), (before.1, in_bundle));
            println!(
                "KiB and descriptors: {before:?}, {after:?} after a thousand, {full:?} with {LIVING}, {again:?} again"
            );
        });
        containerd.remove(&id);
    });
}

/// Fills a file system to its last byte.
fn fill(directory: &Path) {
    let mut file = fs::File::create(directory.join("filler")).unwrap();
    for size in [1 << 16, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let state = case.path("containerd/state");
        fs::create_dir_all(&state).unwrap();
        Program::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "integ"]).arg(&state).ok();
        let containerd = Containerd::start(case);
        let runjs = Path::new("/run/containerd");
        Program::new("mount").args(["-o", "remount,size=4m"]).arg(runjs).ok();
        let id = containerd.running(&["sleep"]);
        let second = containerd.running(&["sleep"]);

        // The bundles, in which the shim has its files.
        fill(&state);
        let refused = containerd.exec(&[], "e1", &id, &["true"]).run();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains("process-1.json: No space left on device"), "{text}");
        containerd.remove(&second);
        fs::remove_file(state.join("filler")).unwrap();
        assert_eq!(containerd.exec(&[], "e2", &id, &["echo", "room"]).ok(), "room\n");

        // What runj keeps of its containers.
        fill(runjs);
        let third = case.id();
        let refused = containerd.run(&["--rm"], &third, &["true"]).run();
        let text = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(!refused.status.success() && text.contains("no space left on device"), "{text}");
        containerd.remove(&id);
        fs::remove_file(runjs.join("filler")).unwrap();
        containerd.run(&["--rm"], &third, &["true"]).ok();
        drop(containerd);
        until("nothing uses the bundles", || Program::new("umount").arg(&state).run().status.success().then_some(()));
    });
}

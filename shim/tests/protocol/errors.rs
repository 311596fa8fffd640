//! What is refused, by code and in words.

use rstest::rstest;
use shim::proto::shim as api;
use shim::proto::task::Status;
use ttrpc::Code;

use crate::harness::{Bench, ID, any, program, run, within};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: ttrpc::Result<T>, code: Code, words: &str) {
    match result {
        Err(ttrpc::Error::RpcStatus(status)) => {
            assert_eq!(status.code(), code, "{}", status.message());
            assert!(status.message().contains(words), "{:?} has {words:?}", status.message());
        }
        other => panic!("{code:?} {words:?} expected, got {other:?}"),
    }
}

/// Makes a request of this type for the container.
macro_rules! request {
    ($name:ident) => {
        api::$name { id: ID.into(), ..Default::default() }
    };
}

#[test]
fn without_a_container_every_call_says_so() {
    run(async {
        let bench = Bench::start("").await;
        let (task, words) = (&bench.task, "container c1: not found");
        refused(bench.start_process("").await, Code::NOT_FOUND, words);
        refused(task.state(within(), &request!(StateRequest)).await, Code::NOT_FOUND, words);
        refused(task.wait(within(), &request!(WaitRequest)).await, Code::NOT_FOUND, words);
        refused(bench.kill("", 9).await, Code::NOT_FOUND, words);
        refused(bench.delete("").await, Code::NOT_FOUND, words);
        refused(bench.exec("e", "").await, Code::NOT_FOUND, words);
        refused(task.resize_pty(within(), &request!(ResizePtyRequest)).await, Code::NOT_FOUND, words);
        refused(task.close_io(within(), &request!(CloseIORequest)).await, Code::NOT_FOUND, words);
        refused(task.pids(within(), &request!(PidsRequest)).await, Code::NOT_FOUND, words);
        refused(task.pause(within(), &request!(PauseRequest)).await, Code::NOT_FOUND, words);
        refused(task.resume(within(), &request!(ResumeRequest)).await, Code::NOT_FOUND, words);
        refused(task.checkpoint(within(), &request!(CheckpointTaskRequest)).await, Code::NOT_FOUND, words);
        refused(task.update(within(), &request!(UpdateTaskRequest)).await, Code::NOT_FOUND, words);
        refused(task.stats(within(), &request!(StatsRequest)).await, Code::NOT_FOUND, words);
        assert_eq!(bench.calls(), Vec::<String>::new());
        bench.shutdown().await;
    });
}

#[test]
fn at_the_wrong_time() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        refused(bench.task.create(within(), &bench.create_request()).await, Code::ALREADY_EXISTS, "already exists");
        let other = api::CreateTaskRequest { id: "c2".into(), ..bench.create_request() };
        refused(bench.task.create(within(), &other).await, Code::FAILED_PRECONDITION, "serves another container");
        bench.exec("e1", "exit 0").await.unwrap();
        refused(bench.start_process("e1").await, Code::FAILED_PRECONDITION, "is not running");
        refused(bench.kill("e1", 9).await, Code::FAILED_PRECONDITION, "is not started");
        bench.start_process("").await.unwrap();
        refused(bench.start_process("").await, Code::FAILED_PRECONDITION, "was started already");
        refused(bench.delete("").await, Code::FAILED_PRECONDITION, "is running: kill it first");
        refused(bench.exec("e1", "exit 0").await, Code::ALREADY_EXISTS, "exec e1 of container c1: already exists");
        refused(bench.start_process("e9").await, Code::NOT_FOUND, "exec e9 of container c1: not found");
        let resize = bench.task.resize_pty(within(), &request!(ResizePtyRequest)).await;
        refused(resize, Code::FAILED_PRECONDITION, "has no terminal");
        let checkpoint = bench.task.checkpoint(within(), &request!(CheckpointTaskRequest)).await;
        refused(checkpoint, Code::UNIMPLEMENTED, "cannot be checkpointed");
        let update = bench.task.update(within(), &request!(UpdateTaskRequest)).await;
        refused(update, Code::INVALID_ARGUMENT, "resources of type");
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        refused(bench.kill("", 9).await, Code::NOT_FOUND, "process already finished");
        refused(bench.start_process("e1").await, Code::FAILED_PRECONDITION, "is not running");
        bench.delete("").await.unwrap();
        refused(bench.delete("").await, Code::NOT_FOUND, "container c1: not found");
        bench.shutdown().await;
    });
}

#[rstest]
#[case::by_words("refuse", "config.json: process.args: missing", "config.json: process.args: missing")]
#[case::by_death("die", "", "create: exit status 137 without a message")]
fn a_creation_that_runj_refuses(#[case] file: &str, #[case] text: &str, #[case] words: &str) {
    run(async {
        let bench = Bench::start("exit 0").await;
        std::fs::write(bench.path(file), text).unwrap();
        refused(bench.task.create(within(), &bench.create_request()).await, Code::UNKNOWN, words);
        assert_eq!(bench.calls().last().unwrap(), "delete --force c1");
        assert!(!bench.path("shim.json").exists());
        // The next one is not in its way.
        std::fs::remove_file(bench.path(file)).unwrap();
        bench.create().await;
        bench.delete("").await.unwrap();
        bench.heard(&["create c1 out", "exit c1 137", "delete c1 137"]).await;
        bench.shutdown().await;
    });
}

#[test]
fn what_cannot_be_understood_or_is_not_there() {
    run(async {
        let bench = Bench::start("exit 0").await;
        let good = bench.create_request();
        let kata = Some(any("kata.Options", Vec::new())).into();
        let cases = [
            (api::CreateTaskRequest { options: kata, ..good.clone() }, Code::INVALID_ARGUMENT, "type kata.Options"),
            (api::CreateTaskRequest { stdout: "npipe:////x".into(), ..good.clone() }, Code::INVALID_ARGUMENT, "npipe"),
            (api::CreateTaskRequest { stdout: "/nowhere".into(), ..good.clone() }, Code::NOT_FOUND, "/nowhere"),
            (
                api::CreateTaskRequest { stdin: "file:///x".into(), ..good.clone() },
                Code::INVALID_ARGUMENT,
                "must be a FIFO",
            ),
            (api::CreateTaskRequest { checkpoint: "/c".into(), ..good.clone() }, Code::UNIMPLEMENTED, "checkpoint"),
            (
                api::CreateTaskRequest { stdout: "binary:///no/logger".into(), ..good.clone() },
                Code::UNKNOWN,
                "logger /no/logger: No such file",
            ),
        ];
        for (request, code, words) in cases {
            refused(bench.task.create(within(), &request).await, code, words);
        }
        bench.shutdown().await;
    });
}

#[test]
fn an_exec_that_cannot_be_executed() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        bench.exec("e1", "missing").await.unwrap();
        refused(bench.start_process("e1").await, Code::UNKNOWN, "exec: missing: no such file or directory");
        assert_eq!(bench.state("e1").await.status, Status::STOPPED.into());
        assert_eq!(bench.wait("e1").await, 1);
        bench.delete("e1").await.unwrap();
        let spec = api::ExecProcessRequest { exec_id: "e2".into(), ..request!(ExecProcessRequest) };
        refused(bench.task.exec(within(), &spec).await, Code::INVALID_ARGUMENT, "specification of type");
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[rstest]
#[case(&["-namespace", "n", "-id", "../x", "delete"], "not an identifier")]
#[case(&["-namespace", "n", "-id", "x"], "descriptor 3")]
#[case(&["start"], "-namespace \"\": not an identifier")]
#[case(&["stop"], "stop: not an action")]
fn a_bad_command_line(#[case] args: &[&str], #[case] words: &str) {
    let directory = tempfile::tempdir().unwrap();
    let output = program(directory.path()).args(args).output();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text.starts_with("containerd-shim-runj-v1: ") && text.contains(words), "{text}");
}

#[test]
fn the_version() {
    let output = program(&std::env::temp_dir()).args(["-v"]).output();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(concat!("Version:  ", env!("CARGO_PKG_VERSION"))), "{text}");
}

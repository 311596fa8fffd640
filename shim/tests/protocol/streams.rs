//! Streams: nothing is cut off, whoever reads them.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use shim::proto::shim as api;

use crate::harness::{Bench, ID, run, until, within};

/// Opens a FIFO for reading, as a client does.
fn reader(bench: &Bench, name: &str) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(bench.path(name)).unwrap()
}

/// Reads to the end.
async fn all(mut file: std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    run(async {
        let bench = Bench::start("i=0; while [ $i -lt 500 ]; do echo 'sixty-four bytes, more or less, in each line'; i=$((i+1)); done; echo the end; echo error >&2").await;
        let (out, err) = (reader(&bench, "out"), reader(&bench, "err"));
        bench.create().await;
        bench.start_process("").await.unwrap();
        assert_eq!(bench.wait("").await, 0);
        bench.heard(&["create c1 out", "start c1", "exit c1 0"]).await;
        // All of it is in the FIFO when the exit is told.
        let text = String::from_utf8(all(out).await).unwrap();
        assert_eq!(text.lines().count(), 501);
        assert!(text.ends_with("the end\n"));
        assert_eq!(all(err).await, b"error\n");
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

/// ctr stops reading when it hears of the end.
#[test]
fn the_end_is_told_when_a_slow_client_has_read() {
    run(async {
        let bench = Bench::start("echo the last line").await;
        let mut out = reader(&bench, "out");
        bench.create().await;
        bench.start_process("").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let told = bench.heard.lines();
        assert!(!told.iter().any(|event| event.starts_with("exit")), "{told:?}");
        let mut buffer = [0; 100];
        let count = out.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"the last line\n");
        assert_eq!(bench.wait("").await, 0);
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn more_than_a_pipe_holds() {
    run(async {
        let bench = Bench::start("dd if=/dev/zero bs=65536 count=64 2>/dev/null").await;
        let out = reader(&bench, "out");
        bench.create().await;
        bench.start_process("").await.unwrap();
        let (bytes, status) = tokio::join!(all(out), bench.wait(""));
        assert_eq!((bytes.len(), status), (64 << 16, 0));
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn a_client_that_goes_away_ends_nothing() {
    run(async {
        let bench = Bench::start("read -r line; echo again; exit 6").await;
        drop(reader(&bench, "out"));
        let request = api::CreateTaskRequest { stdin: bench.text("in"), ..bench.create_request() };
        bench.task.create(within(), &request).await.unwrap();
        bench.start_process("").await.unwrap();
        drop(reader(&bench, "out"));
        // The next client.
        let out = reader(&bench, "out");
        std::fs::OpenOptions::new().write(true).open(bench.path("in")).unwrap().write_all(b"go\n").unwrap();
        assert_eq!(bench.wait("").await, 6);
        assert_eq!(all(out).await, b"again\n");
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn standard_input_ends_with_close_io() {
    run(async {
        let bench = Bench::start("cat; echo ended").await;
        let out = reader(&bench, "out");
        let request = api::CreateTaskRequest { stdin: bench.text("in"), ..bench.create_request() };
        bench.task.create(within(), &request).await.unwrap();
        bench.start_process("").await.unwrap();
        let mut input = std::fs::OpenOptions::new().write(true).open(bench.path("in")).unwrap();
        input.write_all(b"one\n").unwrap();
        drop(input);
        // That was a client; containerd has not closed it.
        let mut input = std::fs::OpenOptions::new().write(true).open(bench.path("in")).unwrap();
        input.write_all(b"two\n").unwrap();
        let request = api::CloseIORequest { id: ID.into(), stdin: true, ..Default::default() };
        bench.task.close_io(within(), &request).await.unwrap();
        drop(input);
        assert_eq!(bench.wait("").await, 0);
        assert_eq!(all(out).await, b"one\ntwo\nended\n");
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn a_file() {
    run(async {
        let bench = Bench::start("echo out; echo err >&2").await;
        let uri = format!("file://{}", bench.text("logs/new/file"));
        let request = api::CreateTaskRequest { stdout: uri.clone(), stderr: uri, ..bench.create_request() };
        bench.task.create(within(), &request).await.unwrap();
        bench.start_process("").await.unwrap();
        bench.wait("").await;
        assert_eq!(std::fs::read_to_string(bench.path("logs/new/file")).unwrap(), "out\nerr\n");
        bench.delete("").await.unwrap();
        bench.shutdown().await;
    });
}

#[test]
fn a_logger_reads_to_the_end() {
    run(async {
        let bench = Bench::start("echo out; echo err >&2").await;
        let logger = bench.path("logger");
        let text = "#!/bin/sh\n{ echo \"$CONTAINER_NAMESPACE $CONTAINER_ID $*\"; cat <&3; cat <&4; } >\"$2\" 5>&- &\nexec 5>&-\nwait\n";
        std::fs::write(&logger, text).unwrap();
        std::fs::set_permissions(&logger, PermissionsExt::from_mode(0o755)).unwrap();
        let uri = format!("binary://{}?path={}", logger.display(), bench.text("logged"));
        let request = api::CreateTaskRequest { stdout: uri.clone(), stderr: uri, ..bench.create_request() };
        bench.task.create(within(), &request).await.unwrap();
        bench.start_process("").await.unwrap();
        bench.wait("").await;
        // Delete waits for it.
        bench.delete("").await.unwrap();
        let logged = std::fs::read_to_string(bench.path("logged")).unwrap();
        assert_eq!(logged, format!("tests c1 path {}\nout\nerr\n", bench.text("logged")));
        bench.shutdown().await;
    });
}

#[test]
fn an_exec_has_its_own() {
    run(async {
        let bench = Bench::start("exec sleep 1000").await;
        bench.create().await;
        bench.start_process("").await.unwrap();
        bench.exec_to("e1", "echo of the exec", "exec").await;
        let out = reader(&bench, "exec");
        bench.start_process("e1").await.unwrap();
        bench.wait("e1").await;
        assert_eq!(all(out).await, b"of the exec\n");
        bench.kill("", libc::SIGKILL).await.unwrap();
        bench.wait("").await;
        bench.delete("").await.unwrap();
        until(|| !bench.path("process-1.json").exists()).await;
        bench.shutdown().await;
    });
}

//! A containerd without containerd: starts the real shim with a stand-in for runj, speaks ttrpc to it and hears its events.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::sys::wait::{WaitStatus, waitpid};
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::empty::Empty;
use protobuf::{Message, MessageFull};
use shim::proto::bootstrap::{BootstrapParams, BootstrapResult};
use shim::proto::events::ForwardRequest;
use shim::proto::events_ttrpc::{Events, create_events};
use shim::proto::oci::Options;
use shim::proto::shim as api;
use shim::proto::shim_ttrpc::TaskClient;
use shim::proto::task_events as event;
use shim::sys::spawn::{Group, spawn};
use tempfile::TempDir;
use ttrpc::r#async::{Client, Server, TtrpcContext};
use ttrpc::context;

/// The id of every test's container.
pub const ID: &str = "c1";

/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was heard: lines like `exit e1 3`.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl Events for Heard {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.unwrap_or_default();
        assert_eq!(envelope.namespace, "tests");
        assert!(envelope.timestamp.seconds > 1_600_000_000);
        let any = envelope.event.unwrap_or_default();
        let topic = envelope.topic.strip_prefix("/tasks/").unwrap().to_owned();
        self.0.lock().unwrap().push(format!("{topic} {}", describe(&any)));
        Ok(Empty::default())
    }
}

/// What an event says besides its topic.
fn describe(any: &Any) -> String {
    fn read<M: MessageFull>(any: &Any) -> Option<M> {
        (any.type_url == M::descriptor().full_name()).then(|| M::parse_from_bytes(&any.value).unwrap())
    }
    if let Some(event) = read::<event::TaskCreate>(any) {
        assert!(event.pid > 0);
        return format!("{} {}", event.container_id, event.io.stdout.rsplit('/').next().unwrap());
    }
    if let Some(event) = read::<event::TaskStart>(any) {
        return event.container_id;
    }
    if let Some(event) = read::<event::TaskExit>(any) {
        assert!(event.pid > 0 && event.exited_at.seconds > 1_600_000_000);
        return format!("{} {}", event.id, event.exit_status);
    }
    if let Some(event) = read::<event::TaskDelete>(any) {
        return format!("{} {}", if event.id.is_empty() { event.container_id } else { event.id }, event.exit_status);
    }
    if let Some(event) = read::<event::TaskExecAdded>(any) {
        return event.exec_id;
    }
    if let Some(event) = read::<event::TaskExecStarted>(any) {
        return event.exec_id;
    }
    if let Some(event) = read::<event::TaskPaused>(any) {
        return event.container_id;
    }
    if let Some(event) = read::<event::TaskOOM>(any) {
        return event.container_id;
    }
    read::<event::TaskResumed>(any).unwrap().container_id
}

/// A shim and what it was started with.
pub struct Bench {
    directory: TempDir,
    /// The task service.
    pub task: TaskClient,
    /// The events so far.
    pub heard: Heard,
    /// Who hears them.
    pub containerd: Option<Server>,
    shim: i32,
}

/// Runs a test on one thread.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, test).await.expect("the test takes too long") });
}

/// The program under test, about to be started. Not by std's `Command`, which crashes in a static FreeBSD program.
pub struct Program {
    directory: PathBuf,
    calls: PathBuf,
    args: Vec<Vec<u8>>,
    input: Vec<u8>,
}

/// The program under test, in this directory: `RUNJ_SHIM`, else what cargo built.
pub fn program(directory: &Path) -> Program {
    Program { directory: directory.to_owned(), calls: directory.join("calls"), args: Vec::new(), input: Vec::new() }
}

impl Program {
    /// Adds arguments.
    pub fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().as_bytes().to_vec()));
        self
    }

    /// What it reads from its standard input.
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = bytes;
        self
    }

    /// Where the stand-in for runj notes how it is called, unless in the directory.
    pub fn calls(mut self, file: PathBuf) -> Self {
        self.calls = file;
        self
    }

    /// Runs it to its end.
    pub fn output(self) -> Output {
        let mut files: [File; 3] = std::array::from_fn(|_| tempfile::tempfile().unwrap());
        files[0].write_all(&self.input).unwrap();
        files[0].rewind().unwrap();
        let own = std::env::var_os("RUNJ_SHIM").unwrap_or_else(|| env!("CARGO_BIN_EXE_containerd-shim-runj-v1").into());
        let mut words: Vec<&[u8]> = vec![b"-c", br#"cd "$0" && exec "$@""#, self.directory.as_os_str().as_bytes()];
        words.push(own.as_bytes());
        words.extend(self.args.iter().map(Vec::as_slice));
        let env: [(&str, &[u8]); 1] = [("CALLS", self.calls.as_os_str().as_bytes())];
        let fds = [files[0].as_fd(), files[1].as_fd(), files[2].as_fd()];
        let pid = spawn(Path::new("/bin/sh"), &words, &env, &fds, Group::Same).unwrap();
        let status = match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(_, code) => code << 8,
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            other => panic!("{other:?}"),
        };
        let [_, stdout, stderr] = files.map(|mut file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Output { status: ExitStatus::from_raw(status), stdout, stderr }
    }
}

impl Bench {
    /// Starts a shim whose container's program is this shell text.
    pub async fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let runj = path.join("runj");
        std::fs::write(&runj, include_str!("runj.sh")).unwrap();
        std::fs::set_permissions(&runj, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(path.join("program"), text).unwrap();
        std::fs::write(path.join("config.json"), "{}").unwrap();
        for name in ["out", "err", "in", "exec"] {
            nix::unistd::mkfifo(&path.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let heard = Heard::default();
        let containerd = listen(path, &heard).await;
        let result = boot(path);
        let task = TaskClient::new(Client::connect(&result.address).await.unwrap());
        let mut bench = Self { directory, task, heard, containerd: Some(containerd), shim: 0 };
        let request = api::ConnectRequest { id: ID.into(), ..Default::default() };
        bench.shim = bench.task.connect(within(), &request).await.unwrap().shim_pid as i32;
        bench
    }

    /// A file of the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Listens for events again.
    pub async fn listen(&mut self) {
        self.containerd = Some(listen(self.directory.path(), &self.heard).await);
    }

    /// What creates the container, with FIFOs as its output.
    pub fn create_request(&self) -> api::CreateTaskRequest {
        let options = Options { binary_name: self.text("runj"), root: self.text("state"), ..Default::default() };
        api::CreateTaskRequest {
            id: ID.into(),
            bundle: self.directory.path().to_string_lossy().into_owned(),
            stdout: self.text("out"),
            stderr: self.text("err"),
            options: Some(any("containerd.runc.v1.Options", options.write_to_bytes().unwrap())).into(),
            ..Default::default()
        }
    }

    /// A path as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Creates the container.
    pub async fn create(&self) -> u32 {
        self.task.create(within(), &self.create_request()).await.unwrap().pid
    }

    /// Starts the container, or an exec.
    pub async fn start_process(&self, exec_id: &str) -> ttrpc::Result<u32> {
        let request = api::StartRequest { id: ID.into(), exec_id: exec_id.into(), ..Default::default() };
        Ok(self.task.start(within(), &request).await?.pid)
    }

    /// Adds an exec of a shell text.
    pub async fn exec(&self, exec_id: &str, text: &str) -> ttrpc::Result<()> {
        self.task.exec(within(), &exec_request(exec_id, text)).await.map(drop)
    }

    /// Adds an exec whose output goes to a FIFO.
    pub async fn exec_to(&self, exec_id: &str, text: &str, fifo: &str) {
        let request = api::ExecProcessRequest { stdout: self.text(fifo), ..exec_request(exec_id, text) };
        self.task.exec(within(), &request).await.unwrap();
    }

    /// Waits for the end; returns the exit status.
    pub async fn wait(&self, exec_id: &str) -> u32 {
        let request = api::WaitRequest { id: ID.into(), exec_id: exec_id.into(), ..Default::default() };
        let response = self.task.wait(within(), &request).await;
        let response = response.unwrap_or_else(|error| panic!("wait {exec_id:?}: {error}: {:#?}", self.calls()));
        assert!(response.exited_at.seconds > 1_600_000_000);
        response.exit_status
    }

    /// The state.
    pub async fn state(&self, exec_id: &str) -> api::StateResponse {
        let request = api::StateRequest { id: ID.into(), exec_id: exec_id.into(), ..Default::default() };
        self.task.state(within(), &request).await.unwrap()
    }

    /// Sends a signal.
    pub async fn kill(&self, exec_id: &str, signal: i32) -> ttrpc::Result<()> {
        let request = api::KillRequest {
            id: ID.into(),
            exec_id: exec_id.into(),
            signal: signal.unsigned_abs(),
            ..Default::default()
        };
        self.task.kill(within(), &request).await.map(drop)
    }

    /// Deletes; returns the exit status.
    pub async fn delete(&self, exec_id: &str) -> ttrpc::Result<u32> {
        let request = api::DeleteRequest { id: ID.into(), exec_id: exec_id.into(), ..Default::default() };
        Ok(self.task.delete(within(), &request).await?.exit_status)
    }

    /// Waits until these events were heard, and no others.
    pub async fn heard(&self, expected: &[&str]) {
        until(|| self.heard.len() >= expected.len()).await;
        assert_eq!(self.heard.lines(), expected);
    }

    /// The calls of runj so far, without the state directory.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let root = format!("--root {}/tests ", self.text("state"));
        let here = format!("{}/", self.directory.path().display());
        text.lines().map(|line| line.strip_prefix(&root).expect("--root").replace(&here, "")).collect()
    }

    /// Kills the shim.
    pub async fn kill_shim(&self) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.shim), nix::sys::signal::Signal::SIGKILL).unwrap();
        until(|| !is_alive(self.shim)).await;
    }

    /// Tells the shim to go, and sees it gone with its socket.
    pub async fn shutdown(self) {
        let request = api::ShutdownRequest { id: ID.into(), ..Default::default() };
        // It may be gone before its answer is.
        let _ = self.task.shutdown(within(), &request).await;
        until(|| !is_alive(self.shim)).await;
        let sockets: Vec<_> = std::fs::read_dir(self.path("s")).unwrap().collect();
        assert!(sockets.is_empty(), "{sockets:?}");
    }
}

fn exec_request(exec_id: &str, text: &str) -> api::ExecProcessRequest {
    let spec = format!("{{\"args\":[\"{text}\"]}}").into_bytes();
    api::ExecProcessRequest {
        id: ID.into(),
        exec_id: exec_id.into(),
        spec: Some(any("types.containerd.io/opencontainers/runtime-spec/1/Process", spec)).into(),
        ..Default::default()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.shim > 0 && is_alive(self.shim) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.shim), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn is_alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match state.rsplit_once(") ") {
        Some((_, rest)) => !rest.starts_with('Z'),
        None => {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok() && !Path::new("/proc/self").exists()
        }
    }
}

/// Waits for a condition.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn listen(directory: &Path, heard: &Heard) -> Server {
    let socket = directory.join("ttrpc");
    let _ = std::fs::remove_file(&socket);
    let services: HashMap<_, _> = create_events(Arc::new(heard.clone()));
    let mut server = Server::new().bind(&format!("unix://{}", socket.display())).unwrap().register_service(services);
    server.start().await.unwrap();
    server
}

/// Runs `start` in the way of containerd 2.3.
fn boot(directory: &Path) -> BootstrapResult {
    let params = BootstrapParams {
        instance_id: ID.into(),
        namespace: "tests".into(),
        containerd_ttrpc_address: directory.join("ttrpc").to_string_lossy().into_owned(),
        socket_dir: Some(directory.join("s").to_string_lossy().into_owned()),
        ..Default::default()
    };
    let output = program(directory).args(["start"]).input(params.write_to_bytes().unwrap()).output();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let result = BootstrapResult::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
    assert_eq!(std::fs::read_to_string(directory.join("address")).unwrap(), result.address);
    result
}

/// A message of a type.
pub fn any(type_url: &str, value: Vec<u8>) -> Any {
    Any { type_url: type_url.into(), value, ..Any::default() }
}

/// A deadline for a call.
pub fn within() -> context::Context {
    context::with_timeout(i64::try_from(PATIENCE.as_nanos()).unwrap())
}

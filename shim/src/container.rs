//! A container: what containerd asks of it, as runs of runj, and what becomes of it, as events.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protobuf::well_known_types::any::Any;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::events::{Events, timestamp};
use crate::launch::Launch;
use crate::options::TaskOptions;
use crate::process::{Process, Status};
use crate::proto::shim::CreateTaskRequest;
use crate::proto::task_events::{
    TaskCreate, TaskDelete, TaskExit, TaskIO, TaskOOM, TaskPaused, TaskResumed, TaskStart,
};
use crate::reaper::{Exit, Reaper};
use crate::record::Record;
use crate::rootfs::Rootfs;
use crate::runj::{self, Runj};
use crate::stats;
use crate::stdio::Streams;
use crate::stdio::logger::Whose;
use crate::{spec, sys};

/// How long the other processes of a container may take to die before they are killed once more.
const DEATH: Duration = Duration::from_secs(1);

/// How long a killed first process may take to be reaped.
const REAPED: Duration = Duration::from_secs(10);

/// The exit status of a process that SIGKILL has ended.
const KILLED: u32 = 128 + 9;

/// What all containers share.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The containerd namespace.
    pub namespace: String,
    /// The reaper.
    pub reaper: Arc<Reaper>,
    /// The events.
    pub events: Events,
}

/// A container.
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its first process.
    pub init: Arc<Process>,
    /// What it shares.
    pub(crate) around: Surroundings,
    pub(crate) runj: Runj,
    pub(crate) execs: Mutex<Execs>,
    /// How many execs are being started or run.
    pub(crate) running: watch::Sender<usize>,
    rootfs: Rootfs,
    record: Record,
    /// How many processes were killed for want of memory, as far as was told.
    memory_kills: AtomicU64,
    /// Held while it is started: its end is not told before its start.
    starting: tokio::sync::Mutex<()>,
    /// Held while it is deleted.
    deleting: tokio::sync::Mutex<()>,
}

/// The execs of a container.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    pub known: HashMap<String, Arc<Process>>,
    /// The first process has ended: no other may be started.
    pub closed: bool,
    /// How many were started, for the names of files.
    pub count: u64,
}

impl Container {
    /// Creates a container: mounts its root, runs `runj create`, tells containerd.
    pub async fn create(around: Surroundings, request: &CreateTaskRequest) -> Result<Arc<Self>> {
        if !request.checkpoint.is_empty() || !request.parent_checkpoint.is_empty() {
            return Err(Error::unimplemented("jails cannot be restored from a checkpoint"));
        }
        let bundle = PathBuf::from(&request.bundle);
        let options = TaskOptions::parse(request.options.as_ref())?;
        let root = options.root.unwrap_or_else(|| Path::new(sys::STATE_DIRECTORY).join("runj"));
        let runj = Runj {
            program: runj::find(options.program.as_deref())?,
            root: root.join(&around.namespace),
            reaper: Arc::clone(&around.reaper),
        };
        let rootfs = Rootfs::new(&bundle, &request.rootfs)?;
        if let Some(ext) = options.ext {
            write(&bundle.join("runj.ext.json"), &ext)?;
        } else {
            make_network_explicit(&bundle.join("config.json"))?;
        }
        let record = Record { program: runj.program.clone(), root: runj.root.clone(), mounts: rootfs.targets() };
        record.save(&bundle)?;
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let container = Self {
            id: request.id.clone(),
            bundle,
            init: Arc::new(Process::init(&request.id, streams)),
            around,
            runj,
            execs: Mutex::default(),
            running: watch::Sender::new(0),
            rootfs,
            record,
            memory_kills: AtomicU64::new(0),
            starting: tokio::sync::Mutex::default(),
            deleting: tokio::sync::Mutex::default(),
        };
        container.make(request).await
    }

    async fn make(self, request: &CreateTaskRequest) -> Result<Arc<Self>> {
        if let Err(error) = self.rootfs.mount().await {
            self.record.remove(&self.bundle);
            return Err(error);
        }
        let jail = format!("{}--{}", self.around.namespace, self.id);
        let bundle = self.bundle.as_os_str();
        let verb: [&OsStr; 5] = ["create".as_ref(), "--bundle".as_ref(), bundle, "--jail-name".as_ref(), jail.as_ref()];
        let launch = Launch {
            verb: &verb,
            id: &self.id,
            streams: &self.init.streams,
            whose: Whose { id: &self.id, namespace: &self.around.namespace },
            bundle: &self.bundle,
            tag: "init",
        };
        let (born, exit) = match launch.run(&self.runj).await {
            Ok(launched) => launched,
            Err(failed) => {
                self.undo().await;
                return Err(failed.error);
            }
        };
        self.init.born(born, Status::Created);
        let container = Arc::new(self);
        container.around.events.publish(&TaskCreate {
            container_id: container.id.clone(),
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.clone(),
            io: Some(TaskIO {
                stdin: request.stdin.clone(),
                stdout: request.stdout.clone(),
                stderr: request.stderr.clone(),
                terminal: request.terminal,
                ..TaskIO::default()
            })
            .into(),
            pid: container.init.proto_pid(),
            ..TaskCreate::default()
        });
        tokio::spawn(Arc::clone(&container).attend(exit));
        Ok(container)
    }

    /// Takes back what a failed creation has made.
    async fn undo(&self) {
        let deleted = self.call(&["delete", "--force"], &[]).await.map(drop);
        self.init.release().await;
        match deleted.and(self.rootfs.unmount().await) {
            Ok(()) => self.record.remove(&self.bundle),
            // containerd runs the shim's `delete` next, which reads the record.
            Err(error) => log::error!("{}: after a failed creation: {error}", self.id),
        }
    }

    /// Waits for the end of the first process, ends all others, and tells it after theirs.
    async fn attend(self: Arc<Self>, exit: oneshot::Receiver<Exit>) {
        let Ok(exit) = exit.await else { return };
        self.execs().closed = true;
        drop(self.starting.lock().await);
        let mut running = self.running.subscribe();
        loop {
            // Refused where nobody is left, which is as well.
            if let Err(error) = self.call(&["kill", "--all"], &["KILL"]).await {
                log::debug!("{}: {error}", self.id);
            }
            if timeout(DEATH, running.wait_for(|count| *count == 0)).await.is_ok() {
                break;
            }
        }
        self.tell_exit(&self.init, exit).await;
    }

    /// Notes the end of a process and tells it.
    pub(crate) async fn tell_exit(&self, process: &Process, exit: Exit) {
        self.tell_memory_kills(exit).await;
        process.ended(exit).await;
        self.around.events.publish(&TaskExit {
            container_id: self.id.clone(),
            id: process.id.clone(),
            pid: process.proto_pid(),
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)).into(),
            ..TaskExit::default()
        });
    }

    /// Tells that memory was short, if that is why the kernel killed a process.
    async fn tell_memory_kills(&self, exit: Exit) {
        if exit.status != KILLED || !sys::COUNTS_MEMORY_KILLS {
            return;
        }
        let line = self.call(&["events", "--oom"], &[]).await;
        let kills = match line.and_then(|line| stats::memory_kills(&line)) {
            Ok(kills) => kills,
            Err(error) => return log::debug!("{}: {error}", self.id),
        };
        if self.memory_kills.swap(kills, Ordering::Relaxed) < kills {
            self.around.events.publish(&TaskOOM { container_id: self.id.clone(), ..TaskOOM::default() });
        }
    }

    /// Starts the first process; returns its pid.
    pub async fn start(&self) -> Result<u32> {
        let _starting = self.starting.lock().await;
        if self.init.status() != Status::Created {
            return Err(Error::precondition(format!("container {}: was started already", self.id)));
        }
        self.call(&["start"], &[]).await?;
        self.init.becomes(Status::Running);
        let pid = self.init.proto_pid();
        self.around.events.publish(&TaskStart { container_id: self.id.clone(), pid, ..TaskStart::default() });
        Ok(pid)
    }

    /// Stops all processes.
    pub async fn pause(&self) -> Result<()> {
        self.call(&["pause"], &[]).await?;
        self.init.becomes(Status::Paused);
        self.around.events.publish(&TaskPaused { container_id: self.id.clone(), ..TaskPaused::default() });
        Ok(())
    }

    /// Lets all processes go on.
    pub async fn resume(&self) -> Result<()> {
        self.call(&["resume"], &[]).await?;
        self.init.becomes(Status::Running);
        self.around.events.publish(&TaskResumed { container_id: self.id.clone(), ..TaskResumed::default() });
        Ok(())
    }

    /// Sends a signal to a process, or to all of them.
    pub async fn kill(&self, process: &Process, signal: u32, all: bool) -> Result<()> {
        let ended = || Error::not_found(format!("{}: process already finished", process.id));
        if process.status() == Status::Stopped {
            return Err(ended());
        }
        let signal = signal.to_string();
        let is_init = process.id == self.id;
        let pid = process.pid().to_string();
        let sent = match (is_init, all) {
            (true, true) => self.call(&["kill", "--all"], &[&signal]).await,
            (true, false) => self.call(&["kill"], &[&signal]).await,
            (false, _) if pid == "0" => {
                return Err(Error::precondition(format!("exec {}: is not started", process.id)));
            }
            (false, _) => self.call(&["kill", "--pid", &pid], &[&signal]).await,
        };
        // It may have ended while runj looked for it; its end may not be noted yet.
        let gone = sent.as_ref().is_err_and(|error| error.text.contains("there is no process to signal"));
        if gone { Err(ended()) } else { sent.map(drop) }
    }

    /// The pids of all processes, as the host numbers them.
    pub async fn pids(&self) -> Result<Vec<u32>> {
        let list = self.call(&["ps", "--format", "json"], &[]).await?;
        serde_json::from_slice(&list).map_err(|error| Error::unknown(format!("runj ps: {error}")))
    }

    /// What it uses.
    pub async fn stats(&self) -> Result<Any> {
        stats::metrics(&self.call(&["events", "--stats"], &[]).await?)
    }

    /// Changes its limits; `resources` is the JSON of `linux.resources`.
    pub async fn update(&self, resources: &[u8]) -> Result<()> {
        let args: [&OsStr; 4] = ["update".as_ref(), "--resources".as_ref(), "-".as_ref(), self.id.as_ref()];
        self.runj.call(&args, Some(resources)).await.map(drop).map_err(Error::from)
    }

    /// Deletes it; returns the end of its first process.
    pub async fn delete(&self) -> Result<Exit> {
        let _deleting = self.deleting.lock().await;
        if matches!(self.init.status(), Status::Running | Status::Paused) {
            return Err(Error::precondition(format!("container {}: is running: kill it first", self.id)));
        }
        self.call(&["delete", "--force"], &[]).await?;
        let exit = timeout(REAPED, self.init.wait()).await;
        let exit = exit.map_err(|_| Error::unknown(format!("container {}: its process does not end", self.id)))??;
        self.rootfs.unmount().await?;
        self.init.release().await;
        self.record.remove(&self.bundle);
        self.around.events.publish(&TaskDelete {
            container_id: self.id.clone(),
            pid: self.init.proto_pid(),
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)).into(),
            ..TaskDelete::default()
        });
        Ok(exit)
    }

    /// The first process, or an exec.
    pub fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(Arc::clone(&self.init));
        }
        let known = self.execs().known.get(exec_id).cloned();
        known.ok_or_else(|| Error::not_found(format!("exec {exec_id} of container {}: not found", self.id)))
    }

    pub(crate) fn execs(&self) -> MutexGuard<'_, Execs> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `runj VERB… ID …`.
    async fn call(&self, verb: &[&str], rest: &[&str]) -> Result<Vec<u8>> {
        let id = [self.id.as_str()];
        let args: Vec<&OsStr> = [verb, &id, rest].into_iter().flatten().map(OsStr::new).collect();
        Ok(self.runj.call(&args, None).await?)
    }
}

/// Writes a file of the bundle.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::file(path, error))
}

fn make_network_explicit(path: &Path) -> Result<()> {
    let config = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    match spec::explicit(&config)? {
        Some(config) => write(path, &config),
        None => Ok(()),
    }
}

//! Execs: further programs in a container.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use crate::container::{Container, write};
use crate::error::{Error, Result};
use crate::events::timestamp;
use crate::launch::Launch;
use crate::process::{Process, Status};
use crate::proto::task_events::{TaskDelete, TaskExecAdded, TaskExecStarted};
use crate::reaper::Exit;
use crate::stdio::Streams;
use crate::stdio::logger::Whose;

/// The ending of the type of `process` in a request.
const PROCESS: &str = "/Process";

impl Container {
    /// Notes an exec and the program that it is to run, an object like `process` in `config.json`.
    pub fn add_exec(&self, id: &str, streams: Streams, spec_type: &str, spec: &[u8]) -> Result<()> {
        if !spec_type.ends_with(PROCESS) {
            return Err(Error::invalid(format!("exec {id}: a specification of type {spec_type} is not understood")));
        }
        if id == self.id {
            return Err(Error::already_exists(format!("exec {id}: has the id of its container")));
        }
        let mut execs = self.execs();
        if execs.known.contains_key(id) {
            return Err(Error::already_exists(format!("exec {id} of container {}: already exists", self.id)));
        }
        execs.count += 1;
        let process = Process::exec(id, streams, execs.count, spec.to_vec());
        execs.known.insert(id.to_owned(), Arc::new(process));
        drop(execs);
        self.around.events.publish(&TaskExecAdded {
            container_id: self.id.clone(),
            exec_id: id.to_owned(),
            ..TaskExecAdded::default()
        });
        Ok(())
    }

    /// Starts an exec; returns its pid.
    pub async fn start_exec(self: &Arc<Self>, process: Arc<Process>) -> Result<u32> {
        {
            let execs = self.execs();
            if execs.closed || self.init.status() != Status::Running {
                return Err(Error::precondition(format!("container {}: is not running", self.id)));
            }
            if !process.claim() {
                return Err(Error::precondition(format!("exec {}: was started already", process.id)));
            }
            self.running.send_modify(|count| *count += 1);
        }
        let launched = self.launch_exec(&process).await;
        let exit = match launched {
            Ok(exit) => exit,
            Err((status, error)) => {
                process.ended(Exit { status, at: SystemTime::now() }).await;
                self.running.send_modify(|count| *count -= 1);
                return Err(error);
            }
        };
        let pid = process.proto_pid();
        self.around.events.publish(&TaskExecStarted {
            container_id: self.id.clone(),
            exec_id: process.id.clone(),
            pid,
            ..TaskExecStarted::default()
        });
        tokio::spawn(Arc::clone(self).attend_exec(process, exit));
        Ok(pid)
    }

    async fn launch_exec(&self, process: &Process) -> std::result::Result<oneshot::Receiver<Exit>, (u32, Error)> {
        let tag = process.number.to_string();
        let file = self.bundle.join(format!("process-{tag}.json"));
        write(&file, &process.spec).map_err(|error| (255, error))?;
        let verb: [&OsStr; 4] = ["exec".as_ref(), "--process".as_ref(), file.as_os_str(), "--detach".as_ref()];
        let launch = Launch {
            verb: &verb,
            id: &self.id,
            streams: &process.streams,
            whose: Whose { id: &process.id, namespace: &self.around.namespace },
            bundle: &self.bundle,
            tag: &tag,
        };
        let launched = launch.run(&self.runj).await;
        let _ = std::fs::remove_file(&file);
        let (born, exit) = launched.map_err(|failed| (failed.status, failed.error))?;
        process.born(born, Status::Running);
        Ok(exit)
    }

    async fn attend_exec(self: Arc<Self>, process: Arc<Process>, exit: oneshot::Receiver<Exit>) {
        if let Ok(exit) = exit.await {
            self.tell_exit(&process, exit).await;
        }
        self.running.send_modify(|count| *count -= 1);
    }

    /// The exec that has this pid.
    pub fn exec_of(&self, pid: u32) -> Option<String> {
        let execs = self.execs();
        let mut running = execs.known.values().filter(|process| process.status() == Status::Running);
        running.find(|process| process.proto_pid() == pid).map(|process| process.id.clone())
    }

    /// Forgets an exec that has ended or was not started; returns its end.
    pub async fn delete_exec(&self, process: &Process) -> Result<Option<Exit>> {
        if process.is_busy() {
            return Err(Error::precondition(format!("exec {}: is running: kill it first", process.id)));
        }
        if self.execs().known.remove(&process.id).is_none() {
            return Err(Error::not_found(format!("exec {} of container {}: not found", process.id, self.id)));
        }
        process.release().await;
        let exit = process.exit();
        self.around.events.publish(&TaskDelete {
            container_id: self.id.clone(),
            id: process.id.clone(),
            pid: process.proto_pid(),
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..TaskDelete::default()
        });
        Ok(exit)
    }
}

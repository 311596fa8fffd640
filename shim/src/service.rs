//! containerd's task service (`containerd.task.v3.Task`, and the same as v2): each call is found its container and
//! process, and answered.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::empty::Empty;
use protobuf::{Message, MessageFull};
use tokio::sync::watch;
use ttrpc::r#async::{Service, TtrpcContext};

use crate::container::{Container, Surroundings};
use crate::error::{Error, Result};
use crate::events::timestamp;
use crate::proto::oci::ProcessDetails;
use crate::proto::shim as api;
use crate::proto::shim_ttrpc::{Task, create_task};
use crate::proto::task::ProcessInfo;
use crate::stdio::Streams;

/// The task service of one container.
#[derive(Clone)]
pub struct TaskService(Arc<Inner>);

struct Inner {
    around: Surroundings,
    place: Mutex<Place>,
    shutdown: watch::Sender<bool>,
}

/// The one container that a shim serves.
enum Place {
    Empty,
    Taken,
    Container(Arc<Container>),
}

impl TaskService {
    /// A service without a container yet. `shutdown` becomes true when containerd has no more use for it.
    pub fn new(around: Surroundings, shutdown: watch::Sender<bool>) -> Self {
        Self(Arc::new(Inner { around, place: Mutex::new(Place::Empty), shutdown }))
    }

    /// Its methods under the names of both versions, which differ in nothing else.
    pub fn methods(&self) -> std::collections::HashMap<String, Service> {
        let service: Arc<dyn Task + Send + Sync> = Arc::new(self.clone());
        let mut both = create_task(Arc::clone(&service));
        let second = create_task(service).into_values().map(|service| ("containerd.task.v2.Task".to_owned(), service));
        both.extend(second);
        both
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &str) -> Result<Arc<Container>> {
        match &*self.place() {
            Place::Container(container) if container.id == id => Ok(Arc::clone(container)),
            _ => Err(Error::not_found(format!("container {id}: not found"))),
        }
    }

    /// Claims the place for a container.
    fn take(&self, id: &str) -> Result<()> {
        let mut place = self.place();
        match &*place {
            Place::Empty => {
                *place = Place::Taken;
                Ok(())
            }
            Place::Container(container) if container.id == id => {
                Err(Error::already_exists(format!("container {id}: already exists")))
            }
            _ => Err(Error::precondition(format!("container {id}: this shim serves another container"))),
        }
    }

    async fn create_container(self, request: api::CreateTaskRequest) -> Result<api::CreateTaskResponse> {
        self.take(&request.id)?;
        let created = Container::create(self.0.around.clone(), &request).await;
        let mut place = self.place();
        match created {
            Ok(container) => {
                let pid = container.init.proto_pid();
                *place = Place::Container(container);
                Ok(api::CreateTaskResponse { pid, ..Default::default() })
            }
            Err(error) => {
                *place = Place::Empty;
                Err(error)
            }
        }
    }

    async fn delete_process(self, request: api::DeleteRequest) -> Result<api::DeleteResponse> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let exit = if request.exec_id.is_empty() {
            let exit = container.delete().await?;
            *self.place() = Place::Empty;
            Some(exit)
        } else {
            container.delete_exec(&process).await?
        };
        Ok(api::DeleteResponse {
            pid: process.proto_pid(),
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }
}

/// Runs a call to its end even if containerd gives up on it: half a creation is none.
async fn whole<T: Send + 'static>(call: impl Future<Output = Result<T>> + Send + 'static) -> ttrpc::Result<T> {
    let result = tokio::spawn(call).await;
    let result = result.unwrap_or_else(|error| Err(Error::unknown(format!("the call broke off: {error}"))));
    result.map_err(|error| {
        log::info!("{error}");
        error.into()
    })
}

fn size(request: &api::ResizePtyRequest) -> Result<(u16, u16)> {
    let number =
        |value: u32| u16::try_from(value).map_err(|_| Error::invalid(format!("window size {value}: too large")));
    Ok((number(request.height)?, number(request.width)?))
}

#[async_trait]
impl Task for TaskService {
    async fn create(
        &self,
        _: &TtrpcContext,
        request: api::CreateTaskRequest,
    ) -> ttrpc::Result<api::CreateTaskResponse> {
        whole(self.clone().create_container(request)).await
    }

    async fn start(&self, _: &TtrpcContext, request: api::StartRequest) -> ttrpc::Result<api::StartResponse> {
        let container = self.container(&request.id)?;
        whole(async move {
            let pid = match request.exec_id.as_str() {
                "" => container.start().await?,
                id => container.start_exec(container.process(id)?).await?,
            };
            Ok(api::StartResponse { pid, ..Default::default() })
        })
        .await
    }

    async fn state(&self, _: &TtrpcContext, request: api::StateRequest) -> ttrpc::Result<api::StateResponse> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let exit = process.exit();
        Ok(api::StateResponse {
            id: process.id.clone(),
            bundle: container.bundle.to_string_lossy().into_owned(),
            pid: process.proto_pid(),
            status: crate::proto::task::Status::from(process.status()).into(),
            stdin: process.streams.stdin.clone(),
            stdout: process.streams.stdout.clone(),
            stderr: process.streams.stderr.clone(),
            terminal: process.streams.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            exec_id: request.exec_id,
            ..Default::default()
        })
    }

    async fn wait(&self, _: &TtrpcContext, request: api::WaitRequest) -> ttrpc::Result<api::WaitResponse> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        let exit = process.wait().await?;
        let exited_at = Some(timestamp(exit.at)).into();
        Ok(api::WaitResponse { exit_status: exit.status, exited_at, ..Default::default() })
    }

    async fn kill(&self, _: &TtrpcContext, request: api::KillRequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        whole(async move { container.kill(&process, request.signal, request.all).await }).await?;
        Ok(Empty::default())
    }

    async fn delete(&self, _: &TtrpcContext, request: api::DeleteRequest) -> ttrpc::Result<api::DeleteResponse> {
        whole(self.clone().delete_process(request)).await
    }

    async fn exec(&self, _: &TtrpcContext, request: api::ExecProcessRequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        let streams = Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        container.add_exec(&request.exec_id, streams, &request.spec.type_url, &request.spec.value)?;
        Ok(Empty::default())
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: api::ResizePtyRequest) -> ttrpc::Result<Empty> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        let (rows, columns) = size(&request)?;
        process.resize(rows, columns)?;
        Ok(Empty::default())
    }

    async fn close_io(&self, _: &TtrpcContext, request: api::CloseIORequest) -> ttrpc::Result<Empty> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        if request.stdin {
            process.close_stdin();
        }
        Ok(Empty::default())
    }

    async fn pids(&self, _: &TtrpcContext, request: api::PidsRequest) -> ttrpc::Result<api::PidsResponse> {
        let container = self.container(&request.id)?;
        let pids = container.pids().await?;
        let info = |pid: u32| {
            let exec_id = container.exec_of(pid)?;
            let details = ProcessDetails { exec_id, ..Default::default() };
            let type_url = ProcessDetails::descriptor().full_name().to_owned();
            Some(Any { type_url, value: details.write_to_bytes().ok()?, ..Any::default() })
        };
        let one = |pid: u32| ProcessInfo { pid, info: info(pid).into(), ..Default::default() };
        Ok(api::PidsResponse { processes: pids.into_iter().map(one).collect(), ..Default::default() })
    }

    async fn pause(&self, _: &TtrpcContext, request: api::PauseRequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        whole(async move { container.pause().await }).await?;
        Ok(Empty::default())
    }

    async fn resume(&self, _: &TtrpcContext, request: api::ResumeRequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        whole(async move { container.resume().await }).await?;
        Ok(Empty::default())
    }

    async fn checkpoint(&self, _: &TtrpcContext, request: api::CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        self.container(&request.id)?;
        Err(Error::unimplemented("jails cannot be checkpointed").into())
    }

    async fn update(&self, _: &TtrpcContext, request: api::UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        let Any { type_url, value, .. } = request.resources.unwrap_or_default();
        if !type_url.ends_with("/LinuxResources") {
            return Err(Error::invalid(format!("resources of type {type_url}: understood is LinuxResources")).into());
        }
        whole(async move { container.update(&value).await }).await?;
        Ok(Empty::default())
    }

    async fn stats(&self, _: &TtrpcContext, request: api::StatsRequest) -> ttrpc::Result<api::StatsResponse> {
        let stats = self.container(&request.id)?.stats().await?;
        Ok(api::StatsResponse { stats: Some(stats).into(), ..Default::default() })
    }

    async fn connect(&self, _: &TtrpcContext, request: api::ConnectRequest) -> ttrpc::Result<api::ConnectResponse> {
        let task_pid = self.container(&request.id).map_or(0, |container| container.init.proto_pid());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(api::ConnectResponse { shim_pid: std::process::id(), task_pid, version, ..Default::default() })
    }

    async fn shutdown(&self, _: &TtrpcContext, _: api::ShutdownRequest) -> ttrpc::Result<Empty> {
        // Never before its container: containerd asks at other times too.
        if matches!(*self.place(), Place::Empty) {
            self.0.shutdown.send_replace(true);
        }
        Ok(Empty::default())
    }
}

//! The shim itself: serves the task service on the socket that it was started with, until its container is gone.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use tokio::sync::watch;
use ttrpc::r#async::Server;
use ttrpc::r#async::transport::Listener;

use crate::args::Args;
use crate::container::Surroundings;
use crate::error::{Error, Result};
use crate::events::{Address, Events};
use crate::reaper::Reaper;
use crate::service::TaskService;
use crate::sys;

/// How long the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// Serves until containerd says that it is enough.
pub async fn serve(args: Args, socket: UnixListener) -> Result<()> {
    let level = if args.debug { LevelFilter::Debug } else { LevelFilter::Info };
    // containerd makes the FIFO; where there is none, nobody reads.
    let logs = crate::log::init(Path::new("log"), level, &args.id, &args.namespace);
    sys::become_reaper().map_err(|errno| Error::unknown(format!("become a reaper: {}", errno.desc())))?;
    let path = socket.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
    let reaper = Reaper::start().map_err(|error| Error::unknown(format!("SIGCHLD: {error}")))?;
    let address = Address {
        ttrpc: std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty()),
        grpc: args.address,
        binary: args.publish_binary.into(),
    };
    let events = Events::start(&args.namespace, address, Arc::clone(&reaper));
    let around = Surroundings { namespace: args.namespace, reaper, events: events.clone() };
    let (sender, mut shutdown) = watch::channel(false);
    let service = TaskService::new(around, sender);
    let listener = Listener::try_from(socket).map_err(|error| Error::unknown(format!("socket: {error}")))?;
    let mut server = Server::new().add_listener(listener).register_service(service.methods());
    server.start().await.map_err(|error| Error::unknown(format!("socket: {error}")))?;
    log::debug!("serving (log: {logs:?})");
    let over = shutdown.wait_for(|over| *over).await.map(drop);
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    events.flush(LAST_EVENTS).await;
    let stopped = server.shutdown().await;
    over.map_err(|error| Error::unknown(error.to_string()))?;
    stopped.map_err(|error| Error::unknown(format!("socket: {error}")))
}

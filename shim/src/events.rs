//! Events: one after the other, in the order in which they happened, to containerd's ttrpc socket.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::{Message, MessageFull};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use ttrpc::r#async::Client;
use ttrpc::context;

use crate::proto::event::Envelope;
use crate::proto::events::ForwardRequest;
use crate::proto::events_ttrpc::EventsClient;
use crate::proto::task_events as message;
use crate::reaper::Reaper;
use crate::runj::null;
use crate::sys::spawn::{Group, spawn};

/// How many events wait for containerd at most; later ones are lost with a line in the log.
const WAITING: usize = 4096;

/// How long one event is tried: containerd may be restarting.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// How containerd is told.
#[derive(Clone, Debug)]
pub struct Address {
    /// Its ttrpc socket, which all but the oldest have (`TTRPC_ADDRESS`).
    pub ttrpc: Option<String>,
    /// Its grpc socket, for the program that publishes.
    pub grpc: OsString,
    /// The program that publishes where there is no ttrpc socket (`-publish-binary`).
    pub binary: PathBuf,
}

/// An event with a topic of containerd's.
pub trait Event: MessageFull {
    /// The topic.
    const TOPIC: &'static str;
}

macro_rules! topics {
    ($($message:ident $topic:literal),* $(,)?) => {
        $(impl Event for message::$message { const TOPIC: &'static str = $topic; })*
    };
}

topics! {
    TaskCreate "/tasks/create",
    TaskStart "/tasks/start",
    TaskExit "/tasks/exit",
    TaskDelete "/tasks/delete",
    TaskExecAdded "/tasks/exec-added",
    TaskExecStarted "/tasks/exec-started",
    TaskPaused "/tasks/paused",
    TaskResumed "/tasks/resumed",
    TaskOOM "/tasks/oom",
}

enum Item {
    Event(Envelope),
    /// Everything before this was told.
    Flush(oneshot::Sender<()>),
}

/// The queue of events.
#[derive(Clone, Debug)]
pub struct Events {
    namespace: String,
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

impl Events {
    /// Starts to tell, in the runtime that this is called in.
    pub fn start(namespace: &str, address: Address, reaper: Arc<Reaper>) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let publisher = Publisher { address, reaper, client: None };
        tokio::spawn(publisher.run(items, Arc::clone(&waiting)));
        Self { namespace: namespace.to_owned(), queue, waiting }
    }

    /// Takes an event; it happened now.
    pub fn publish<E: Event>(&self, event: &E) {
        let value = match event.write_to_bytes() {
            Ok(value) => value,
            Err(error) => return log::error!("event {}: {error}", E::TOPIC),
        };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return log::error!("event {}: lost, since {WAITING} others wait for containerd", E::TOPIC);
        }
        let any = Any { type_url: E::descriptor().full_name().to_owned(), value, ..Any::default() };
        let envelope = Envelope {
            timestamp: Some(timestamp(SystemTime::now())).into(),
            namespace: self.namespace.clone(),
            topic: E::TOPIC.to_owned(),
            event: Some(any).into(),
            ..Envelope::default()
        };
        // The receiver lives as long as the runtime.
        let _ = self.queue.send(Item::Event(envelope));
    }

    /// Waits until everything was told, for some time.
    pub async fn flush(&self, limit: Duration) {
        let (sender, told) = oneshot::channel();
        let _ = self.queue.send(Item::Flush(sender));
        if timeout(limit, told).await.is_err() {
            log::warn!("{} events were not told to containerd", self.waiting.load(Ordering::Relaxed));
        }
    }
}

/// A time as protobuf has it.
pub fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(), ..Timestamp::default() }
}

struct Publisher {
    address: Address,
    reaper: Arc<Reaper>,
    client: Option<EventsClient>,
}

impl Publisher {
    async fn run(mut self, mut items: mpsc::UnboundedReceiver<Item>, waiting: Arc<AtomicUsize>) {
        while let Some(item) = items.recv().await {
            match item {
                Item::Event(envelope) => {
                    self.tell(envelope).await;
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Item::Flush(done) => drop(done.send(())),
            }
        }
    }

    async fn tell(&mut self, envelope: Envelope) {
        let topic = envelope.topic.clone();
        let request = ForwardRequest { envelope: Some(envelope).into(), ..ForwardRequest::default() };
        let began = Instant::now();
        let mut pause = PAUSE / 16;
        loop {
            let told = match &self.address.ttrpc {
                Some(address) => forward(&mut self.client, address, &request).await,
                None => self.by_program(&request.envelope).await,
            };
            let Err(error) = told else { return };
            self.client = None;
            if began.elapsed() > PATIENCE {
                return log::error!("event {topic}: lost: {error}");
            }
            log::debug!("event {topic}: {error}");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    }

    async fn by_program(&self, envelope: &Envelope) -> Result<(), String> {
        let words = |error: std::io::Error| format!("{}: {error}", self.address.binary.display());
        let event = envelope.event.write_to_bytes().map_err(|error| error.to_string())?;
        let (mut writer, reader) = pipe::pipe().map_err(words)?;
        let (stdin, nothing) = (reader.into_blocking_fd().map_err(words)?, null().map_err(words)?);
        let args: [&[u8]; 7] = [
            b"--address",
            self.address.grpc.as_bytes(),
            b"publish",
            b"--topic",
            envelope.topic.as_bytes(),
            b"--namespace",
            envelope.namespace.as_bytes(),
        ];
        let fds = [stdin.as_fd(), nothing.as_fd(), nothing.as_fd()];
        let pid = spawn(&self.address.binary, &args, &[], &fds, Group::Same).map_err(|errno| words(errno.into()))?;
        let exit = self.reaper.exit_of(pid.as_raw());
        drop(stdin);
        writer.write_all(&event).await.map_err(words)?;
        drop(writer);
        match timeout(ATTEMPT, exit).await {
            Ok(Ok(exit)) if exit.status == 0 => Ok(()),
            Ok(Ok(exit)) => Err(format!("{}: exit status {}", self.address.binary.display(), exit.status)),
            Ok(Err(_)) | Err(_) => Err(format!("{}: did not end in time", self.address.binary.display())),
        }
    }
}

async fn forward(client: &mut Option<EventsClient>, address: &str, request: &ForwardRequest) -> Result<(), String> {
    let connected = match client.take() {
        Some(client) => client,
        None => {
            let address = if address.contains("://") { address.to_owned() } else { format!("unix://{address}") };
            EventsClient::new(Client::connect(&address).await.map_err(|error| error.to_string())?)
        }
    };
    let context = context::with_timeout(i64::try_from(ATTEMPT.as_nanos()).unwrap_or(i64::MAX));
    connected.forward(context, request).await.map_err(|error| error.to_string())?;
    *client = Some(connected);
    Ok(())
}

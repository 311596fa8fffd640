//! A process of a container: its first one, or an exec. What is known of it and what is held for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::proto::task::Status as ProtoStatus;
use crate::reaper::Exit;
use crate::stdio::open::Held;
use crate::stdio::terminal::Terminal;
use crate::stdio::{self, Streams};

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not started.
    Created,
    /// Started.
    Running,
    /// Started, and stopped with its container.
    Paused,
    /// Ended, or could not be started.
    Stopped,
}

impl From<Status> for ProtoStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Created => Self::CREATED,
            Status::Running => Self::RUNNING,
            Status::Paused => Self::PAUSED,
            Status::Stopped => Self::STOPPED,
        }
    }
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// The exec's id, or the container's.
    pub id: String,
    /// Its streams, as requested.
    pub streams: Streams,
    /// Which exec of its container it is; 0 for the first process.
    pub number: u64,
    /// The program of an exec, an object like `process` in `config.json`.
    pub spec: Vec<u8>,
    life: Mutex<Life>,
    end: watch::Sender<Option<Exit>>,
}

#[derive(Debug)]
struct Life {
    status: Status,
    /// Somebody starts it.
    claimed: bool,
    pid: i32,
    held: Held,
    /// Its standard input was closed, perhaps before it was made: a client may be quicker than runj.
    stdin_closed: bool,
    terminal: Option<Terminal>,
    /// The window's size, rows first, that was asked for before there was a terminal.
    window: Option<(u16, u16)>,
}

/// A process that was made.
#[derive(Debug)]
pub struct Born {
    /// Its pid on the host.
    pub pid: i32,
    /// What the shim holds for it.
    pub held: Held,
    /// Its terminal.
    pub terminal: Option<Terminal>,
}

impl Process {
    /// The first process of a container, not made yet.
    pub fn init(id: &str, streams: Streams) -> Self {
        Self::exec(id, streams, 0, Vec::new())
    }

    /// An exec, not made yet.
    pub fn exec(id: &str, streams: Streams, number: u64, spec: Vec<u8>) -> Self {
        let life = Life {
            status: Status::Created,
            claimed: false,
            pid: 0,
            held: Held::default(),
            stdin_closed: false,
            terminal: None,
            window: None,
        };
        let (life, end) = (Mutex::new(life), watch::Sender::new(None));
        Self { id: id.to_owned(), streams, number, spec, life, end }
    }

    /// Claims its start: of several at once, one gets it.
    pub fn claim(&self) -> bool {
        let mut life = self.life();
        life.status == Status::Created && !std::mem::replace(&mut life.claimed, true)
    }

    /// Notes that it was made, and its status from now on.
    pub fn born(&self, born: Born, status: Status) {
        let mut life = self.life();
        life.status = status;
        life.pid = born.pid;
        life.held = born.held;
        if life.stdin_closed {
            life.held.stdin = None;
        }
        life.terminal = born.terminal;
        if let (Some(terminal), Some((rows, columns))) = (&life.terminal, life.window) {
            if let Err(errno) = terminal.resize(rows, columns) {
                log::warn!("{}: resize the terminal: {}", self.id, errno.desc());
            }
        }
    }

    /// Notes another status, unless it has ended.
    pub fn becomes(&self, status: Status) {
        let mut life = self.life();
        if life.status != Status::Stopped {
            life.status = status;
        }
    }

    /// Notes its end, after all output of its terminal was copied and its client has read what the FIFOs hold.
    pub async fn ended(&self, exit: Exit) {
        let terminal = self.life().terminal.take();
        if let Some(terminal) = terminal {
            terminal.drain().await;
        }
        let outputs: Vec<_> = self.life().held.outputs.iter().filter_map(|file| file.try_clone().ok()).collect();
        stdio::until_read(&outputs).await;
        let mut life = self.life();
        life.status = Status::Stopped;
        life.held.stdin = None;
        self.end.send_replace(Some(exit));
    }

    /// Lets go of its streams; what a logger has got, it may finish.
    pub async fn release(&self) {
        let held = std::mem::take(&mut self.life().held);
        if let Some(logger) = held.logger {
            logger.end().await;
        }
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.life().status
    }

    /// Whether it is being started or has not ended.
    pub fn is_busy(&self) -> bool {
        let life = self.life();
        match life.status {
            Status::Created => life.claimed,
            Status::Running | Status::Paused => true,
            Status::Stopped => false,
        }
    }

    /// Its pid on the host; 0 if there is none.
    pub fn pid(&self) -> i32 {
        self.life().pid
    }

    /// Its pid as containerd has it.
    pub fn proto_pid(&self) -> u32 {
        self.pid().unsigned_abs()
    }

    /// Its end, if it has ended.
    pub fn exit(&self) -> Option<Exit> {
        *self.end.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<Exit> {
        let mut end = self.end.subscribe();
        let exit = end.wait_for(Option::is_some).await.map(|exit| *exit);
        exit.ok().flatten().ok_or_else(|| Error::unknown("the shim is ending"))
    }

    /// Closes the shim's end of its standard input.
    pub fn close_stdin(&self) {
        let mut life = self.life();
        life.stdin_closed = true;
        life.held.stdin = None;
    }

    /// Sets the size of its window, now or when there is one.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        if !self.streams.terminal {
            return Err(Error::precondition(format!("{}: has no terminal", self.id)));
        }
        let mut life = self.life();
        if life.status == Status::Stopped {
            return Err(Error::precondition(format!("{}: has ended", self.id)));
        }
        life.window = Some((rows, columns));
        match &life.terminal {
            Some(terminal) => terminal
                .resize(rows, columns)
                .map_err(|errno| Error::unknown(format!("{}: resize the terminal: {}", self.id, errno.desc()))),
            None => Ok(()),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

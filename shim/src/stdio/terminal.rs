//! A terminal: its master comes from runj by a console socket and is copied from and to the client's FIFOs.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::sys::ffi;

/// How much is copied at once, in bytes.
const BUFFER: usize = 4096;

/// How long the drain of a terminal may stand still before the end of its process is told.
const STALLED: Duration = Duration::from_secs(5);

/// The socket on which runj hands over a terminal.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Makes it. `path` must be short (`sun_path`), such as a name in the working directory.
    pub fn bind(path: &Path) -> Result<Self> {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        Ok(Self { listener: listener.map_err(|error| Error::file(path, error))?, path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the terminal's master after runj has succeeded: it has connected and sent by then.
    pub fn receive(self) -> Result<OwnedFd> {
        let (stream, _) = self.listener.accept().map_err(|error| Error::file(&self.path, error))?;
        let master = ffi::receive(&stream).map_err(|errno| Error::file(&self.path, errno.desc()))?;
        master.ok_or_else(|| Error::file(&self.path, "no terminal came"))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A terminal that is copied.
#[derive(Debug)]
pub struct Terminal {
    master: Arc<AsyncFd<OwnedFd>>,
    input: JoinHandle<()>,
    output: JoinHandle<()>,
    copied: Arc<AtomicU64>,
}

impl Terminal {
    /// Starts to copy.
    pub fn start(master: OwnedFd, stdin: OwnedFd, stdout: OwnedFd) -> io::Result<Self> {
        set_nonblocking(master.as_fd())?;
        let master = Arc::new(ffi::watched(master)?);
        let copied = Arc::new(AtomicU64::new(0));
        let input = tokio::spawn(copy_in(Source::new(stdin)?, Arc::clone(&master)));
        let output = tokio::spawn(copy_out(Arc::clone(&master), Sink::new(stdout)?, Arc::clone(&copied)));
        Ok(Self { master, input, output, copied })
    }

    /// Sets the size of its window.
    pub fn resize(&self, rows: u16, columns: u16) -> nix::Result<()> {
        ffi::set_window_size(self.master.get_ref().as_fd(), rows, columns)
    }

    /// Waits until all output was copied. A client that reads nothing delays this for [`STALLED`]; the copying goes on.
    pub async fn drain(mut self) {
        self.input.abort();
        let mut before = self.copied.load(Ordering::Relaxed);
        while tokio::time::timeout(STALLED, &mut self.output).await.is_err() {
            let now = self.copied.load(Ordering::Relaxed);
            if now == before {
                log::warn!("a client does not read: the end of its process is told before all output was read");
                return;
            }
            before = now;
        }
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Where a terminal's input comes from.
enum Source {
    Fifo(pipe::Receiver),
    /// /dev/null: a terminal without input is not ended by that.
    Nothing,
}

impl Source {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        match pipe::Receiver::from_owned_fd(fd) {
            Ok(receiver) => Ok(Self::Fifo(receiver)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// Where a terminal's output goes.
enum Sink {
    Pipe(pipe::Sender),
    File(std::fs::File),
}

impl Sink {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let copy = fd.try_clone()?;
        match pipe::Sender::from_owned_fd(fd) {
            Ok(sender) => Ok(Self::Pipe(sender)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(Self::File(copy.into())),
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Pipe(sender) => sender.write_all(bytes).await,
            Self::File(file) => file.write_all(bytes),
        }
    }
}

async fn copy_in(source: Source, master: Arc<AsyncFd<OwnedFd>>) {
    let Source::Fifo(mut fifo) = source else { return };
    let mut buffer = vec![0; BUFFER];
    // Ends with the terminal, or when the client has closed its end and containerd this one.
    while let Ok(count @ 1..) = fifo.read(&mut buffer).await {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = master
                .async_io(tokio::io::Interest::WRITABLE, |fd| nix::unistd::write(fd, rest).map_err(io::Error::from))
                .await;
            match written {
                Ok(count) => rest = &rest[count..],
                Err(_) => return,
            }
        }
    }
}

async fn copy_out(master: Arc<AsyncFd<OwnedFd>>, mut sink: Sink, copied: Arc<AtomicU64>) {
    let mut buffer = vec![0; BUFFER];
    let mut lost = false;
    loop {
        let read = master
            .async_io(tokio::io::Interest::READABLE, |fd| nix::unistd::read(fd, &mut buffer).map_err(io::Error::from))
            .await;
        let count = match read {
            // The last program that had it open has closed it; Linux says EIO.
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        // Read on all the same: a terminal that nobody reads stops its programs.
        if let Err(error) = sink.write(&buffer[..count]).await {
            if !std::mem::replace(&mut lost, true) {
                log::error!("write a terminal's output: {error}: it is lost from here on");
            }
        }
        copied.fetch_add(count as u64, Ordering::Relaxed);
    }
}

//! Opening the streams of a process.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::logger::{self, RunningLogger, Whose};
use super::{Stream, Streams};
use crate::error::{Error, Result};
use crate::reaper::Reaper;
use crate::runj::null;

/// Opened streams.
#[derive(Debug)]
pub struct Opened {
    /// What the program reads.
    pub stdin: OwnedFd,
    /// What it writes to.
    pub stdout: OwnedFd,
    /// What it writes to.
    pub stderr: OwnedFd,
    /// What the shim holds.
    pub held: Held,
}

/// What the shim holds while a process lives.
#[derive(Debug, Default)]
pub struct Held {
    /// Another end of the standard input, so that it ends when containerd closes it, and not when a client goes away.
    pub stdin: Option<File>,
    /// Other ends of the output, so that a client that went away ends no program by SIGPIPE.
    pub outputs: Vec<File>,
    /// The program that reads the output.
    pub logger: Option<RunningLogger>,
}

/// Opens all three, without waiting for a client: a FIFO opens at once when its other end is open too.
pub async fn open(streams: &Streams, whose: Whose<'_>, reaper: &Reaper) -> Result<Opened> {
    let mut held = Held::default();
    let stdin = match Stream::parse(&streams.stdin)? {
        Stream::Null => null_device()?,
        Stream::Path(path) => {
            let (file, other) = open_fifo(&path, Direction::Read)?;
            held.stdin = other;
            file
        }
        Stream::File(_) | Stream::Logger(_) => {
            return Err(Error::invalid(format!("standard input {}: must be a FIFO", streams.stdin)));
        }
    };
    // A terminal has one stream of output.
    let texts = if streams.terminal { [streams.stdout.as_str(), ""] } else { [&*streams.stdout, &*streams.stderr] };
    let [stdout, stderr] = [Stream::parse(texts[0])?, Stream::parse(texts[1])?];
    let logged = [&stdout, &stderr].into_iter().find_map(|stream| match stream {
        Stream::Logger(logger) => Some(logger.clone()),
        _ => None,
    });
    let mut pipes = [None, None];
    if let Some(logger) = logged {
        let (running, ends) = logger::start(&logger, whose, reaper).await?;
        held.logger = Some(running);
        pipes = ends.map(Some);
    }
    let mut output = |stream: &Stream, pipe: Option<OwnedFd>| match (stream, pipe) {
        (Stream::Null, _) => null_device(),
        (Stream::Path(path), _) => {
            let (file, other) = open_fifo(path, Direction::Write)?;
            held.outputs.extend(other);
            Ok(file)
        }
        (Stream::File(path), _) => append(path),
        (Stream::Logger(_), Some(pipe)) => Ok(pipe),
        (Stream::Logger(_), None) => Err(Error::unknown("the logger has no pipe for this stream")),
    };
    let [first, second] = pipes;
    let stdout = output(&stdout, first)?;
    let stderr = output(&stderr, second)?;
    Ok(Opened { stdin, stdout, stderr, held })
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Read,
    Write,
}

/// Opens a FIFO in one direction, which blocks, and the other end of it; of another kind of file there is none.
fn open_fifo(path: &Path, direction: Direction) -> Result<(OwnedFd, Option<File>)> {
    let refuse = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("{}: {error}", path.display())),
        _ => Error::file(path, error),
    };
    let is_fifo = std::fs::metadata(path).map_err(refuse)?.file_type().is_fifo();
    let mut reading = OpenOptions::new();
    reading.read(true).custom_flags(libc::O_NONBLOCK);
    let mut writing = OpenOptions::new();
    writing.write(true).append(true).custom_flags(libc::O_NONBLOCK);
    // The reader first: a writer without one is refused.
    let reader = (is_fifo || direction == Direction::Read).then(|| reading.open(path)).transpose().map_err(refuse)?;
    let writer = (is_fifo || direction == Direction::Write).then(|| writing.open(path)).transpose().map_err(refuse)?;
    let (ours, other) = match direction {
        Direction::Read => (reader, writer),
        Direction::Write => (writer, reader),
    };
    let ours: OwnedFd = ours.ok_or_else(|| Error::file(path, "not opened"))?.into();
    set_blocking(&ours).map_err(|errno| Error::file(path, errno.desc()))?;
    Ok((ours, other))
}

fn set_blocking(fd: &impl AsFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).map(drop)
}

fn append(path: &Path) -> Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
    file.map(OwnedFd::from).map_err(|error| Error::file(path, error))
}

fn null_device() -> Result<OwnedFd> {
    null().map_err(|error| Error::file(Path::new("/dev/null"), error))
}

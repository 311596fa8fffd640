//! Standard streams as containerd names them: a FIFO, `file://`, `binary://`, `binary-v2://`, or nothing.
//!
//! A program without a terminal gets the FIFO, the file or the logger's pipe itself as its descriptor: nothing is copied,
//! so nothing can be cut off, and a shim that is killed breaks no stream. Only a terminal is copied ([`terminal`]).

pub mod logger;
pub mod open;
pub mod terminal;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::ffi;

/// The streams of a process, as requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether they belong to a terminal.
    pub terminal: bool,
}

/// How long a client may read nothing of what a process has left before the process's end is told all the same.
const UNREAD: Duration = Duration::from_secs(1);

/// Waits until clients have read all that is in these FIFOs. One that is told of the end closes its own ends at once, as
/// ctr does, and what it has not read by then would be lost.
pub async fn until_read(outputs: &[File]) {
    let unread = || outputs.iter().map(|output| ffi::unread(output.as_fd()).unwrap_or(0)).sum();
    let (mut left, mut since) = (unread(), Instant::now());
    while left > 0 && since.elapsed() < UNREAD {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now: i32 = unread();
        if now != left {
            (left, since) = (now, Instant::now());
        }
    }
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Nothing: /dev/null.
    Null,
    /// A FIFO, or whatever else is there.
    Path(PathBuf),
    /// A file that is made and appended to.
    File(PathBuf),
    /// A program that reads.
    Logger(Logger),
}

/// A program that reads both output streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logger {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// How it says that it is ready.
    pub ready: Ready,
}

/// How a logger says that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// By closing its descriptor 5, with or without a byte (`binary`).
    Closing,
    /// By a byte on descriptor 5 (`binary-v2`).
    Byte,
}

impl Stream {
    /// Reads a path or an address.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: &str| Error::invalid(format!("stream {text}: {reason}"));
        if text.is_empty() {
            return Ok(Self::Null);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Path(text.into()));
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = PathBuf::from(decode(path).ok_or_else(|| invalid("is not well escaped"))?);
        if !path.is_absolute() {
            return Err(invalid("the path must be absolute"));
        }
        let logger = |ready| -> Result<Self> {
            let args = arguments(query).ok_or_else(|| invalid("is not well escaped"))?;
            Ok(Self::Logger(Logger { program: path.clone(), args, ready }))
        };
        match scheme {
            "fifo" => Ok(Self::Path(path)),
            "file" => Ok(Self::File(path)),
            "binary" => logger(Ready::Closing),
            "binary-v2" => logger(Ready::Byte),
            _ => Err(invalid("understood are fifo, file, binary and binary-v2")),
        }
    }
}

/// Names and values of a query, in order, as the words of a command line.
fn arguments(query: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        words.push(decode(&name.replace('+', " "))?);
        if !value.is_empty() {
            words.push(decode(&value.replace('+', " "))?);
        }
    }
    Some(words)
}

/// Undoes %XX; nothing if what comes out is not UTF-8 or an escape is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn logger(program: &str, args: &[&str], ready: Ready) -> Stream {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Stream::Logger(Logger { program: program.into(), args, ready })
    }

    #[rstest]
    #[case("", Stream::Null)]
    #[case("/run/x/0-stdout", Stream::Path("/run/x/0-stdout".into()))]
    #[case("fifo:///run/x", Stream::Path("/run/x".into()))]
    #[case("file:///var/log/a%20b", Stream::File("/var/log/a b".into()))]
    #[case("binary:///bin/l", logger("/bin/l", &[], Ready::Closing))]
    #[case("binary:///bin/l?_N=%2Fvar&x", logger("/bin/l", &["_N", "/var", "x"], Ready::Closing))]
    #[case("binary-v2:///bin/l?a=b+c", logger("/bin/l", &["a", "b c"], Ready::Byte))]
    fn streams(#[case] text: &str, #[case] stream: Stream) {
        assert_eq!(Stream::parse(text).unwrap(), stream);
    }

    #[rstest]
    #[case("npipe:////./x")]
    #[case("file://relative")]
    #[case("file:///a%2")]
    #[case("binary:///l?a=%zz")]
    fn refused(#[case] text: &str) {
        assert!(Stream::parse(text).unwrap_err().text.starts_with("stream "));
    }
}

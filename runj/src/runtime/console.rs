//! The console socket: the terminal's master goes to whoever listens on it (runc's protocol: one descriptor by
//! `SCM_RIGHTS`, the terminal's name as payload).

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{Error, Result};
use crate::sys::process::Pty;
use crate::sys::unix;

/// The longest path that fits into a socket address everywhere (`sun_path` has 104 bytes on FreeBSD, 108 on Linux).
const SHORT_PATH: usize = 100;

/// Where the terminal of a container goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleWish {
    /// Nowhere: there is none.
    Absent,
    /// To a socket.
    Socket(PathBuf),
    /// To the caller, who attends to it in the foreground.
    Foreground,
}

/// A destination that is there.
#[derive(Debug)]
pub enum Console {
    /// There is no terminal.
    Absent,
    /// Connected before anything is changed.
    Socket(UnixStream),
    /// The caller gets the master.
    Foreground,
}

impl Console {
    /// Holds the wish against the bundle and connects.
    pub fn prepare(wish: &ConsoleWish, terminal: bool) -> Result<Self> {
        match (wish, terminal) {
            (ConsoleWish::Socket(path), true) => connect(path).map(Self::Socket),
            (ConsoleWish::Socket(_), false) => {
                Err(Error::argument("--console-socket", "process.terminal is false: there is no terminal to send"))
            }
            (ConsoleWish::Foreground, true) => Ok(Self::Foreground),
            (ConsoleWish::Foreground | ConsoleWish::Absent, false) => Ok(Self::Absent),
            (ConsoleWish::Absent, true) => {
                Err(Error::argument("process.terminal", "true needs --console-socket, to which the terminal is sent"))
            }
        }
    }

    /// Delivers the master: to the socket, or back to the caller.
    pub fn deliver(self, pty: Option<(OwnedFd, String)>) -> Result<Option<OwnedFd>> {
        let Some((master, name)) = pty else { return Ok(None) };
        match self {
            Self::Socket(stream) => {
                let fds = [master.as_raw_fd()];
                let rights = [ControlMessage::ScmRights(&fds)];
                let payload = [IoSlice::new(name.as_bytes())];
                sendmsg::<()>(stream.as_raw_fd(), &payload, &rights, MsgFlags::empty(), None)
                    .map_err(|errno| Error::argument("--console-socket", errno.desc()))?;
                Ok(None)
            }
            Self::Foreground => Ok(Some(master)),
            Self::Absent => Ok(None),
        }
    }
}

impl ConsoleWish {
    /// The window's size, rows first, that the program finds: the bundle's, else that of the caller who attends to it.
    pub fn window_size(&self, configured: Option<(u16, u16)>) -> Option<(u16, u16)> {
        configured.or_else(|| match self {
            Self::Foreground => unix::window_size(std::io::stdin().as_fd()),
            Self::Absent | Self::Socket(_) => None,
        })
    }
}

/// Splits a terminal: the slave for the child, the master with its name for the console.
pub fn split(pty: Pty) -> (OwnedFd, (OwnedFd, String)) {
    (pty.slave, (pty.master, pty.name))
}

fn connect(path: &Path) -> Result<UnixStream> {
    let connected = match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if path.as_os_str().len() > SHORT_PATH => connect_from(directory, name.as_ref()),
        _ => UnixStream::connect(path),
    };
    connected.map_err(|error| Error::argument(format!("--console-socket {}", path.display()), error))
}

/// Connects by a name that is short when seen from its directory, and comes back.
fn connect_from(directory: &Path, name: &Path) -> std::io::Result<UnixStream> {
    let here = std::fs::File::open(".")?;
    std::env::set_current_dir(directory)?;
    let connected = UnixStream::connect(name);
    nix::unistd::fchdir(&here)?;
    connected
}

//! Terminals: the peer of a console socket, and a terminal to run a program on.

use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::{ffi, wait};

/// A console socket that waits for a terminal.
#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
}

/// The master side of a terminal.
#[derive(Debug)]
pub struct Terminal {
    master: fs::File,
    /// Other descriptors that came along; there must be none.
    pub extra: usize,
}

impl Console {
    /// A socket at this path.
    #[track_caller]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let listener = UnixListener::bind(&path).expect("console socket");
        Self { listener, path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the terminal.
    #[track_caller]
    pub fn accept(&self) -> Terminal {
        wait_readable(&self.listener, "a connection to the console socket");
        let (stream, _) = self.listener.accept().expect("accept");
        receive(&stream).expect("a terminal through the console socket")
    }

    /// Whether someone has connected.
    pub fn is_pending(&self) -> bool {
        readable(&self.listener, 0)
    }
}

fn receive(stream: &UnixStream) -> io::Result<Terminal> {
    wait_readable(stream, "a message on the console socket");
    let mut bytes = [0; 4096];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 8]);
    let mut vector = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut space), MsgFlags::empty())?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = control {
            fds.extend(list.into_iter().map(ffi::own));
        }
    }
    let extra = fds.len().saturating_sub(1);
    let master = fds.into_iter().next().ok_or_else(|| io::Error::other("no descriptor"))?;
    nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(Terminal { master: master.into(), extra })
}

fn readable(fd: &impl AsFd, milliseconds: u16) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(milliseconds)).unwrap_or(0) > 0
}

#[track_caller]
fn wait_readable(fd: &impl AsFd, what: &str) {
    let end = Instant::now() + wait::patience();
    while !readable(fd, 100) {
        assert!(Instant::now() < end, "{what}: not within {:?}", wait::patience());
    }
}

impl Terminal {
    /// A terminal of the harness; returns the slave side too.
    #[track_caller]
    pub fn open() -> (Self, OwnedFd) {
        let pair = nix::pty::openpty(None, None).expect("openpty");
        for fd in [&pair.master, &pair.slave] {
            let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(fd, flag).expect("close on exec");
        }
        (Self { master: pair.master.into(), extra: 0 }, pair.slave)
    }

    /// Sets the window's size.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        ffi::set_window(self.master.as_fd(), columns, rows).expect("window size");
    }

    /// Types.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Whether there is something to read, within some milliseconds.
    pub fn has_output(&self, milliseconds: u16) -> bool {
        readable(&self.master, milliseconds)
    }

    /// Reads until this text has come; returns all that was read.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        read_until(&mut self.master, text)
    }

    /// Reads to the end: the last process has closed the slave (FreeBSD: end of file, Linux: EIO).
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            wait_readable(&self.master, "the end of the terminal's output");
            match self.master.read(&mut buffer) {
                Ok(0) => return text,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return text,
                Err(error) => panic!("read from the terminal: {error}"),
            }
        }
    }
}

/// Reads until this text has come.
#[track_caller]
pub fn read_until(source: &mut fs::File, text: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&read).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        let end = Instant::now() + wait::patience();
        while !readable(source, 100) {
            assert!(Instant::now() < end, "{text:?} did not come in time, only {so_far:?}");
        }
        match source.read(&mut buffer) {
            Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
            _ => panic!("{text:?} did not come before the end, only {so_far:?}"),
        }
    }
}

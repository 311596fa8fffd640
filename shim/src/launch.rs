//! `runj create` and `runj exec`: the two verbs that leave a process, with its streams or its terminal.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::process::Born;
use crate::reaper::Exit;
use crate::runj::{Failure, Runj, null};
use crate::stdio::Streams;
use crate::stdio::logger::Whose;
use crate::stdio::open::open;
use crate::stdio::terminal::{ConsoleSocket, Terminal};

/// What is to be launched.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The verb and its options.
    pub verb: &'a [&'a OsStr],
    /// The container's id.
    pub id: &'a str,
    /// Its streams.
    pub streams: &'a Streams,
    /// Whose they are.
    pub whose: Whose<'a>,
    /// The bundle, in which runj's files are made for the while.
    pub bundle: &'a Path,
    /// What their names end in.
    pub tag: &'a str,
}

/// Why nothing was launched.
#[derive(Debug)]
pub struct LaunchError {
    /// The exit status that stands for it.
    pub status: u32,
    /// The error.
    pub error: Error,
}

impl From<Error> for LaunchError {
    fn from(error: Error) -> Self {
        Self { status: 255, error }
    }
}

impl From<Failure> for LaunchError {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status, error: failure.into() }
    }
}

impl Launch<'_> {
    /// Runs runj; returns the process and its end to come.
    pub async fn run(self, runj: &Runj) -> Result<(Born, oneshot::Receiver<Exit>), LaunchError> {
        let opened = open(self.streams, self.whose, &runj.reaper).await?;
        // A name in the working directory, which is the bundle: its whole path may be too long for a socket.
        let console = self.streams.terminal.then(|| ConsoleSocket::bind(Path::new(&format!("console-{}", self.tag))));
        let console = console.transpose()?;
        let pid_file = self.bundle.join(format!("pid-{}", self.tag));
        let mut args: Vec<&OsStr> = self.verb.to_vec();
        args.extend(["--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some(console) = &console {
            args.extend(["--console-socket".as_ref(), console.path().as_os_str()]);
        }
        args.push(self.id.as_ref());
        let log = self.bundle.join(format!("runj-{}.json", self.tag));
        // Its pid is known only when runj has ended, and it may have ended before.
        let expected = runj.reaper.expect();
        if console.is_some() {
            let null = null().map_err(|error| Error::file(Path::new("/dev/null"), error))?;
            runj.launch(&args, [null.as_fd(), null.as_fd(), null.as_fd()], &log).await?;
        } else {
            let stdio = [opened.stdin.as_fd(), opened.stdout.as_fd(), opened.stderr.as_fd()];
            runj.launch(&args, stdio, &log).await?;
        }
        let pid = read_pid(&pid_file)?;
        let exit = runj.reaper.exit_of(pid);
        drop(expected);
        let terminal = console.map(|console| -> Result<Terminal, Error> {
            Terminal::start(console.receive()?, opened.stdin, opened.stdout)
                .map_err(|error| Error::unknown(format!("terminal: {error}")))
        });
        Ok((Born { pid, held: opened.held, terminal: terminal.transpose()? }, exit))
    }
}

fn read_pid(file: &PathBuf) -> Result<i32, Error> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::file(file, error))?;
    let _ = std::fs::remove_file(file);
    text.trim().parse().map_err(|error| Error::file(file, error))
}

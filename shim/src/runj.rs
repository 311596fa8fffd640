//! The `runj` program: every verb is one run of it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::capture::Capture;
use crate::error::{Error, Result};
use crate::reaper::{Exit, Reaper};
use crate::sys::spawn::{Group, spawn};

/// How runj is run.
#[derive(Clone, Debug)]
pub struct Runj {
    /// The program.
    pub program: PathBuf,
    /// Its state directory, of one containerd namespace.
    pub root: PathBuf,
    /// Who gets its end.
    pub reaper: Arc<Reaper>,
}

/// A failed run.
#[derive(Debug)]
pub struct Failure {
    /// Its exit status; 126 and 127 where a program could not be executed.
    pub status: u32,
    /// Its message.
    pub text: String,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::unknown(failure.text)
    }
}

/// One line of the log.
#[derive(Deserialize)]
struct LogLine {
    level: String,
    msg: String,
}

impl Runj {
    /// Runs a verb to its end; returns what it prints. `input` is its standard input.
    pub async fn call(&self, args: &[&OsStr], input: Option<&[u8]>) -> std::result::Result<Vec<u8>, Failure> {
        let refuse = |error: std::io::Error| self.not_started(&error);
        let (stdout, out) = pipe_to_us().map_err(refuse)?;
        let (stderr, err) = pipe_to_us().map_err(refuse)?;
        let (stdin, mut writer) = match input {
            Some(_) => {
                let (writer, reader) = pipe::pipe().map_err(refuse)?;
                (reader.into_blocking_fd().map_err(refuse)?, Some(writer))
            }
            None => (null().map_err(refuse)?, None),
        };
        let mut exit = self.start(args, [stdin.as_fd(), out.as_fd(), err.as_fd()]).map_err(refuse)?;
        drop((stdin, out, err));
        let (mut stdout, mut stderr) = (Capture::new(stdout), Capture::new(stderr));
        let feed = async {
            if let (Some(writer), Some(input)) = (&mut writer, input) {
                // One that does not read to the end says why by itself.
                let _ = writer.write_all(input).await;
            }
            drop(writer);
        };
        let talk = async {
            tokio::join!(feed, stdout.fill(), stderr.fill());
        };
        // A program that runj leaves behind (a hook's daemon) may keep the pipes open.
        let early = tokio::select! {
            biased;
            () = talk => None,
            exit = &mut exit => Some(exit),
        };
        let exit = match early {
            Some(exit) => exit,
            None => exit.await,
        };
        let status = exit.map_or(255, |exit| exit.status);
        let (stdout, stderr) = (stdout.rest(), stderr.rest());
        if status == 0 {
            return Ok(stdout);
        }
        let said = String::from_utf8_lossy(&stderr);
        let text = said.trim().strip_prefix("runj: ").unwrap_or(said.trim());
        Err(self.failure(args, status, text))
    }

    /// Runs a verb whose standard descriptors are a container's; its message comes by the log file.
    pub async fn launch(
        &self,
        args: &[&OsStr],
        stdio: [BorrowedFd<'_>; 3],
        log: &Path,
    ) -> std::result::Result<(), Failure> {
        let mut all: Vec<&OsStr> = vec!["--log".as_ref(), log.as_os_str(), "--log-format".as_ref(), "json".as_ref()];
        all.extend(args);
        let exit = self.start(&all, stdio).map_err(|error| self.not_started(&error))?;
        let status = exit.await.map_or(255, |exit| exit.status);
        let lines = std::fs::read_to_string(log).unwrap_or_default();
        let _ = std::fs::remove_file(log);
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
        let (errors, others): (Vec<LogLine>, Vec<LogLine>) = lines.partition(|line| line.level == "error");
        for line in others {
            log::info!("runj {}: {}: {}", args[0].to_string_lossy(), line.level, line.msg);
        }
        if status == 0 {
            return Ok(());
        }
        Err(self.failure(args, status, errors.last().map_or("", |line| &line.msg)))
    }

    fn start(&self, args: &[&OsStr], stdio: [BorrowedFd<'_>; 3]) -> std::io::Result<oneshot::Receiver<Exit>> {
        let mut all: Vec<&[u8]> = vec![b"--root", self.root.as_os_str().as_bytes()];
        all.extend(args.iter().map(|arg| arg.as_bytes()));
        let pid: Pid = spawn(&self.program, &all, &[], &stdio, Group::Same)?;
        // Nothing was awaited since it was started, so it cannot have been reaped yet.
        Ok(self.reaper.exit_of(pid.as_raw()))
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure { status: 255, text: format!("{}: {error}", self.program.display()) }
    }

    fn failure(&self, args: &[&OsStr], status: u32, text: &str) -> Failure {
        let text = if text.is_empty() {
            format!("{} {}: exit status {status} without a message", self.program.display(), args[0].to_string_lossy())
        } else {
            text.to_owned()
        };
        Failure { status, text }
    }
}

/// A pipe: our end, which is read without blocking, and that of a program.
pub fn pipe_to_us() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (sender, receiver) = pipe::pipe()?;
    Ok((receiver, sender.into_blocking_fd()?))
}

/// /dev/null.
pub fn null() -> std::io::Result<OwnedFd> {
    Ok(std::fs::File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Finds the program: the one asked for (a path, or a name in `PATH`), else the one beside the shim, else `runj` in
/// `PATH`.
pub fn find(asked: Option<&str>) -> Result<PathBuf> {
    let named = asked.unwrap_or("runj");
    if named.contains('/') {
        return executable(Path::new(named))
            .ok_or_else(|| Error::not_found(format!("{named}: not an executable file")));
    }
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("runj")));
    let beside = beside.filter(|_| asked.is_none()).and_then(|path| executable(&path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .or_else(|| std::env::split_paths(&path).find_map(|directory| executable(&directory.join(named))))
        .ok_or_else(|| Error::not_found(format!("{named}: neither beside the shim nor in PATH")))
}

fn executable(path: &Path) -> Option<PathBuf> {
    let metadata = std::fs::metadata(path).ok()?;
    let fits = path.is_absolute() && metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    fits.then(|| path.to_owned())
}

//! `start`: the waiting entrypoint is let go, and its exec confirmed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{Error, MOMENT, Result, Runtime};
use crate::entrypoint::report::Report;
use crate::entrypoint::{self, START};
use crate::hook;
use crate::id::ContainerId;
use crate::plan::Plan;
use crate::signal::Signal;
use crate::state::store::{Locked, StateError};
use crate::state::{OciState, Record, Stage, Status};
use crate::sys::{Kernel, SysError, unix};

/// Starts a created container; returns when its program was executed.
pub fn start<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<()> {
    let (mut record, mut locked) = take(runtime, id)?;
    // Nobody waits with a lock in hand for a program that takes its time to be executed.
    let reports = let_go(&runtime.store.directory(id), || match locked.take() {
        Some(locked) => claim(runtime, &locked, &mut record),
        None => Ok(()),
    })?;
    match reports.as_slice() {
        [Report::Executing] => {}
        [.., Report::Failed(failure)] => return Err(failure.clone().into()),
        _ => return Err(why_nothing_is_said(runtime, &record)?),
    }
    match locked {
        Some(locked) => Ok(locked.save(&Record { stage: Stage::Running, ..record })?),
        None => match note(runtime, &record)? {
            Some((record, plan)) => poststart(runtime, &record, &plan),
            None => Ok(()),
        },
    }
}

/// Lets the entrypoint go; returns what it says until its program has the process, or until it has ended. If that takes more
/// than a moment, `slow` is called meanwhile.
fn let_go(directory: &Path, slow: impl FnOnce() -> Result<()>) -> Result<Vec<Report>> {
    let open = || {
        // The reader first: what the entrypoint says must find one.
        let status = open_fifo(&directory.join("status.fifo"), OFlag::O_RDONLY)?;
        let start = open_start_fifo(directory)?;
        entrypoint::signal_byte(start.as_fd(), START)?;
        Ok::<_, std::io::Error>(status)
    };
    // One that has ended says nothing.
    let Ok(status) = open() else { return Ok(Vec::new()) };
    // What has hung up has said everything, and a read of it does not wait.
    if !unix::hangs_up_within(status.as_fd(), MOMENT) {
        slow()?;
        unix::set_blocking(status.as_fd()).map_err(|errno| SysError::new("status.fifo", errno))?;
    }
    Ok(entrypoint::receive(&status, |_| false).unwrap_or_default())
}

/// Why an entrypoint has ended without a word: it died, or it has become the program since an earlier start, which was
/// killed after its byte, let it go and has perhaps read the answer.
fn why_nothing_is_said<K: Kernel>(runtime: &Runtime<'_, K>, record: &Record) -> Result<Error> {
    Ok(match runtime.status(record)? {
        Status::Running => not_created(&record.id, Status::Running),
        _ => Error::Died { id: record.id.clone(), what: "started" },
    })
}

/// Notes that the program was executed. Nothing is left to note if the container has been deleted by force since, and
/// perhaps another has its id.
fn note<K: Kernel>(runtime: &Runtime<'_, K>, started: &Record) -> Result<Option<(Record, Plan)>> {
    let locked = match runtime.store.lock(&started.id) {
        Err(StateError::NotFound { .. }) => return Ok(None),
        locked => locked?,
    };
    // Its limits may have been changed meanwhile.
    let Some(record) = locked.record()?.filter(|record| record.init == started.init) else { return Ok(None) };
    let record = Record { stage: Stage::Running, ..record };
    locked.save(&record)?;
    Ok(Some((record, runtime.store.read_plan(&started.id)?)))
}

/// Claims the start: of several at once, one gets it, by the lock, or by the record where there are hooks, since nobody
/// waits for a hook with a lock in hand.
fn take<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<(Record, Option<Locked>)> {
    let locked = runtime.store.lock(id)?;
    let mut record = runtime.store.read(id)?;
    let status = runtime.status(&record)?;
    if status != Status::Created {
        return Err(not_created(id, status));
    }
    // A start that was killed before it let the entrypoint go is made up for by the next one.
    if record.stage != Stage::Created && runtime.operator_lives(&record)? {
        return Err(Error::Status { id: id.clone(), status, needs: "another start has taken it" });
    }
    if !record.hooks {
        return Ok((record, Some(locked)));
    }
    claim(runtime, &locked, &mut record)?;
    Ok((record, None))
}

/// Records that the start is this process's.
fn claim<K: Kernel>(runtime: &Runtime<'_, K>, locked: &Locked, record: &mut Record) -> Result<()> {
    record.stage = Stage::Starting;
    record.operator = runtime.this_process()?;
    Ok(locked.save(record)?)
}

fn not_created(id: &ContainerId, status: Status) -> Error {
    Error::Status { id: id.clone(), status, needs: "only a created container can be started" }
}

/// A poststart hook that fails ends the container (runtime-spec 1.3, runtime.md "Lifecycle").
fn poststart<K: Kernel>(runtime: &Runtime<'_, K>, record: &Record, plan: &Plan) -> Result<()> {
    if plan.hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(&OciState::new(record, Status::Running)).unwrap_or_default();
    hook::run_all("poststart", &plan.hooks.poststart, &state).map_err(|error| {
        if let Some(jid) = record.jid {
            let _ = runtime.kernel.signal_all(jid, Signal::KILL.number());
        }
        error.into()
    })
}

/// Opens the FIFO on which an entrypoint waits; `ENXIO` if there is none (it ended, or it executed).
pub(super) fn open_start_fifo(directory: &Path) -> std::io::Result<File> {
    open_fifo(&directory.join("start.fifo"), OFlag::O_WRONLY)
}

fn open_fifo(path: &Path, access: OFlag) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    match access {
        OFlag::O_WRONLY => options.write(true),
        _ => options.read(true),
    };
    let file = options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits()).open(path)?;
    // A program may have replaced it, had it a way here; it has none, but a file that is no FIFO never answers.
    if std::os::unix::fs::FileTypeExt::is_fifo(&file.metadata()?.file_type()) {
        Ok(file)
    } else {
        Err(Errno::ENXIO.into())
    }
}

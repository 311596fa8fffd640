//! `delete`: everything that `create` made is released. A failed `create` ends here too.

use std::time::{Duration, Instant};

use super::{Error, Result, Runtime};
use crate::hook;
use crate::id::ContainerId;
use crate::resource::{self, Boot};
use crate::signal::Signal;
use crate::state::store::{Locked, StateError};
use crate::state::{OciState, Record, Status};
use crate::sys::Kernel;

/// How much of a container may be left for `delete` to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It must have stopped.
    No,
    /// It is killed; one that does not exist is deleted already.
    Yes,
}

/// How long a killed process may take to die.
const DEATH: Duration = Duration::from_secs(10);

/// Deletes a container.
pub fn delete<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId, force: Force) -> Result<()> {
    match force {
        Force::No => {
            let locked = runtime.store.lock(id)?;
            let record = runtime.store.read(id)?;
            let status = runtime.status(&record)?;
            if status != Status::Stopped {
                return Err(Error::Status { id: id.clone(), status, needs: "kill it first, or delete --force" });
            }
            dismantle(runtime, Some(record), locked)
        }
        Force::Yes => {
            match runtime.store.read(id) {
                // Killed before the lock is asked for: whoever holds it may be waiting for this process.
                Ok(record) => kill_init(runtime, &record)?,
                Err(StateError::NotFound { .. }) => return Ok(()),
                Err(StateError::NoRecord { .. } | StateError::Format { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            match runtime.store.lock(id) {
                Ok(locked) => dismantle(runtime, locked.record().ok().flatten(), locked),
                Err(StateError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Releases everything that the record and the journal name, runs `poststop`, and removes the record. What cannot
/// be released stays recorded. A record that is missing or torn does not keep the journal from being released.
pub fn dismantle<K: Kernel>(runtime: &Runtime<'_, K>, record: Option<Record>, locked: Locked) -> Result<()> {
    let hooks = record.as_ref().is_some_and(|record| record.hooks);
    let plan = if hooks { locked.plan().ok().flatten() } else { None };
    let boot = match &record {
        Some(record) => {
            kill_init(runtime, record)?;
            runtime.boot_of(record)?
        }
        None => Boot::Same,
    };
    let leftovers = resource::release(runtime.kernel, runtime.store, &locked.resources()?, boot);
    if !leftovers.is_empty() {
        return Err(Error::Leftovers { id: locked.id().clone(), leftovers });
    }
    if let (Some(record), Some(plan)) = (&record, &plan) {
        let state = serde_json::to_vec(&OciState::new(record, Status::Stopped)).unwrap_or_default();
        for hook in &plan.hooks.poststop {
            // The spec has a failure logged and the rest go on.
            if let Err(error) = hook::run_all("poststop", std::slice::from_ref(hook), &state) {
                log::warn!("{error}");
            }
        }
    }
    locked.remove()?;
    Ok(())
}

/// Kills the recorded process, if it is still the one, and waits until it is dead.
fn kill_init<K: Kernel>(runtime: &Runtime<'_, K>, record: &Record) -> Result<()> {
    let Some(init) = record.init else { return Ok(()) };
    if runtime.boot_of(record)? == Boot::Earlier || !runtime.kernel.signal(&init, Signal::KILL.number())? {
        return Ok(());
    }
    let deadline = Instant::now() + DEATH;
    while runtime.kernel.identity(init.pid)? == Some(init) {
        if Instant::now() > deadline {
            return Err(Error::argument(format!("process {}", init.pid), "still alive 10 s after SIGKILL"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

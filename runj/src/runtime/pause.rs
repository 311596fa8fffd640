//! `pause` and `resume`: SIGSTOP and SIGCONT to every process of the jail.
//!
//! A process can see that it was stopped and continued; there is no freezer for jails.

use super::{Error, Result, Runtime};
use crate::id::ContainerId;
use crate::signal::Signal;
use crate::state::{Record, Stage, Status};
use crate::sys::Kernel;

/// Stops every process of a running container.
pub fn pause<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<()> {
    change(runtime, id, Status::Running, "only a running container can be paused", Signal::STOP, Stage::Paused)
}

/// Lets a paused container go on.
pub fn resume<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<()> {
    change(runtime, id, Status::Paused, "only a paused container can be resumed", Signal::CONT, Stage::Running)
}

fn change<K: Kernel>(
    runtime: &Runtime<'_, K>,
    id: &ContainerId,
    from: Status,
    needs: &'static str,
    signal: Signal,
    stage: Stage,
) -> Result<()> {
    /// A process that is being forked while the signal is sent may miss it once, not twice in a row.
    const ROUNDS: u32 = 3;
    let locked = runtime.store.lock(id)?;
    let record = runtime.store.read(id)?;
    let status = runtime.status(&record)?;
    let (Some(jid), true) = (record.jid, status == from) else {
        return Err(Error::Status { id: id.clone(), status, needs });
    };
    let mut count = 0;
    for _ in 0..ROUNDS {
        runtime.kernel.signal_all(jid, signal.number())?;
        let now = runtime.kernel.members(jid)?.len();
        if now == count {
            break;
        }
        count = now;
    }
    locked.save(&Record { stage, ..record })?;
    Ok(())
}

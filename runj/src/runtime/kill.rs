//! `kill`: a signal to the container's process, to one of its processes, or to all.

use super::{Error, Result, Runtime};
use crate::id::ContainerId;
use crate::signal::Signal;
use crate::state::Status;
use crate::sys::Kernel;

/// Who gets the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The first process.
    Init,
    /// Every process of the jail.
    All,
    /// The member of the jail that the host knows by this pid.
    Pid(i32),
}

/// Sends a signal.
pub fn kill<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId, signal: Signal, recipient: Recipient) -> Result<()> {
    let record = runtime.store.read(id)?;
    let status = runtime.status(&record)?;
    let not_running = |status| Error::Status { id: id.clone(), status, needs: "there is no process to signal" };
    let sent = match (recipient, record.init, record.jid) {
        // Others may live after the first one has ended.
        (Recipient::All, _, Some(jid)) => runtime.kernel.signal_all(jid, signal.number())?,
        (Recipient::Init, Some(init), _) if status != Status::Stopped => {
            runtime.kernel.signal(&init, signal.number())?
        }
        (Recipient::Pid(pid), _, Some(jid)) => {
            let member = runtime.kernel.members(jid)?.into_iter().find(|member| member.pid == pid);
            let member = member
                .ok_or_else(|| Error::argument(format!("--pid {pid}"), format!("is no process of container {id}")))?;
            runtime.kernel.signal(&member, signal.number())?
        }
        _ => false,
    };
    if sent { Ok(()) } else { Err(not_running(runtime.status(&record)?)) }
}

//! `events`: figures of a container at an interval, and processes that were killed for want of memory, until it stops.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::stats::{Stats, stats};
use super::{Result, Runtime};
use crate::id::ContainerId;
use crate::state::store::StateError;
use crate::state::{Record, Status};
use crate::sys::Kernel;

/// How often it is seen whether the container still lives.
const LOOK: Duration = Duration::from_millis(100);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum EventKind {
    /// Time passed.
    Stats(Box<Stats>),
    /// The kernel killed a process because memory was short. (FreeBSD does not tell.)
    Oom,
}

/// The figures now.
pub fn once<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<EventKind> {
    let record = runtime.store.read(id)?;
    Ok(EventKind::Stats(Box::new(stats(runtime, &record)?)))
}

/// How many of its processes were killed because memory was short, also of one that has stopped; none where nobody
/// counts.
pub fn kills<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<Option<u64>> {
    let record = runtime.store.read(id)?;
    Ok(runtime.kernel.usage(&record.jail_name, &record.limits)?.memory_kills)
}

/// Hands each event to `show` until the container has stopped or `show` fails.
pub fn follow<K: Kernel, E: From<super::Error>>(
    runtime: &Runtime<'_, K>,
    id: &ContainerId,
    interval: Duration,
    mut show: impl FnMut(EventKind) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let record = runtime.store.read(id).map_err(super::Error::from)?;
    // Refuses one that has stopped already.
    stats(runtime, &record)?;
    let mut kills = memory_kills(runtime, &record)?;
    let mut next = Instant::now() + interval;
    loop {
        let living = is_living(runtime, id)?;
        let now = memory_kills(runtime, &record)?;
        if now > kills {
            kills = now;
            show(EventKind::Oom)?;
        }
        if !living {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            match once(runtime, id) {
                Ok(event) => show(event)?,
                // It stopped since it was looked at.
                Err(_) if !is_living(runtime, id)? => {}
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
    }
}

pub(super) fn is_living<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<bool> {
    match runtime.store.read(id) {
        Ok(record) => Ok(runtime.status(&record)? != Status::Stopped),
        Err(StateError::NotFound { .. } | StateError::NoRecord { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How many of its processes were killed so far; 0 where nobody counts, or when the account is gone.
fn memory_kills<K: Kernel>(runtime: &Runtime<'_, K>, record: &Record) -> Result<u64> {
    Ok(runtime.kernel.usage(&record.jail_name, &record.limits)?.memory_kills.unwrap_or(0))
}

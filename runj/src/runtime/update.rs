//! `update`: other limits for a living container, all of them or none.

use std::collections::BTreeSet;

use super::{Error, Result, Runtime, of_property};
use crate::config::annotations::is_engine;
use crate::id::ContainerId;
use crate::plan::limit::{Change, confines};
use crate::resource::Resource;
use crate::state::store::StateError;
use crate::state::{Record, Status};
use crate::sys::Kernel;
use crate::sys::jail::HostFacts;

/// Changes the limits of a container; after an error they are what they were.
pub fn update<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId, change: &Change) -> Result<()> {
    let locked = runtime.store.lock(id)?;
    let record = locked.record()?.ok_or_else(|| StateError::NoRecord { id: id.clone() })?;
    let status = runtime.status(&record)?;
    if !matches!(status, Status::Created | Status::Running | Status::Paused) {
        return Err(Error::Status { id: id.clone(), status, needs: "limits are changed while it lives" });
    }
    let facts = runtime.kernel.facts_of(Some(&BTreeSet::new()))?;
    let mut facts = HostFacts { racct: runtime.kernel.accounts()?, ..facts };
    if confines(&change.resources) {
        facts.processors = runtime.kernel.processors()?;
    }
    let mut change = change.clone();
    if is_engine(&record.annotations) {
        change.resources.drop_unasked_swap();
    }
    let limits = change.apply(&record.limits, &facts)?;
    if limits == record.limits {
        return Ok(());
    }
    let jail = &record.jail_name;
    // A container that was created without limits has nothing to be released yet.
    if !locked.resources()?.iter().any(|resource| matches!(resource, Resource::Limits { .. })) {
        locked.intend(&Resource::Limits { jail: jail.clone(), limits: limits.clone(), made: Vec::new() })?;
    }
    let replaced = runtime.kernel.limits_replace(jail, &record.limits, &limits).map_err(of_property("limits"));
    let stored = replaced.and_then(|()| Ok(locked.save(&Record { limits: limits.clone(), ..record.clone() })?));
    stored.map_err(|error| match runtime.kernel.limits_replace(jail, &limits, &record.limits) {
        Ok(()) => error,
        Err(undo) => Error::Undo { error: Box::new(error), undo: Box::new(undo.into()) },
    })
}

//! `gc`: what no living operation owns is released: interrupted creations, records of an earlier boot, rulesets of
//! containers that are gone. Containers that have merely stopped are their owner's, and stay.

use std::path::PathBuf;

use super::{Result, Runtime, delete};
use crate::id::ContainerId;
use crate::resource::Boot;
use crate::state::store::StateError;
use crate::state::{Record, Stage};
use crate::sys::Kernel;

/// Why nobody will use a container any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its creator died before it wrote a record that can be read.
    NoRecord(String),
    /// Its creator died.
    Interrupted,
    /// The machine has been booted since.
    EarlierBoot,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRecord(error) => write!(f, "its record cannot be read ({error})"),
            Self::Interrupted => f.write_str("its creation was interrupted"),
            Self::EarlierBoot => f.write_str("it is of an earlier boot"),
        }
    }
}

/// What `gc` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// A container.
    Container(ContainerId, Reason),
    /// A devfs ruleset.
    Ruleset(u16),
    /// What is left of the directory of a container that was deleted.
    Remains(PathBuf),
}

impl std::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container(id, reason) => write!(f, "container {id}: {reason}"),
            Self::Ruleset(number) => write!(f, "devfs ruleset {number}: its container is gone"),
            Self::Remains(path) => write!(f, "{}: its removal was interrupted", path.display()),
        }
    }
}

/// Everything that is abandoned. Takes no lock and changes nothing.
pub fn find<K: Kernel>(runtime: &Runtime<'_, K>) -> Result<Vec<Abandoned>> {
    let mut found = Vec::new();
    for id in runtime.store.ids()? {
        let reason = match runtime.store.read(&id) {
            Ok(record) => runtime.abandoned(&record)?,
            Err(StateError::NotFound { .. }) => None,
            Err(error @ (StateError::NoRecord { .. } | StateError::Format { .. })) => {
                Some(Reason::NoRecord(error.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        found.extend(reason.map(|reason| Abandoned::Container(id, reason)));
    }
    let lives = |pid| runtime.kernel.identity(pid).is_ok_and(|process| process.is_some());
    found.extend(runtime.store.remains(lives)?.into_iter().map(Abandoned::Remains));
    found.extend(runtime.store.orphaned_rulesets()?.into_iter().map(Abandoned::Ruleset));
    Ok(found)
}

/// Releases one of them; false if meanwhile it is somebody's or gone.
pub fn release<K: Kernel>(runtime: &Runtime<'_, K>, abandoned: &Abandoned) -> Result<bool> {
    let id = match abandoned {
        Abandoned::Container(id, _) => id,
        Abandoned::Ruleset(number) => {
            runtime.kernel.ruleset_remove(*number)?;
            runtime.store.release_ruleset(*number)?;
            return Ok(true);
        }
        Abandoned::Remains(path) => {
            runtime.store.remove_remains(path)?;
            return Ok(true);
        }
    };
    let locked = match runtime.store.lock(id) {
        Err(StateError::NotFound { .. }) => return Ok(false),
        other => other?,
    };
    // A creator holds the lock until its record is written: what is missing now stays missing.
    let record = match locked.record() {
        Err(StateError::Format { .. }) => None,
        record => record?,
    };
    let ours = match &record {
        Some(record) => runtime.abandoned(record)?.is_some(),
        None => true,
    };
    if ours {
        delete::dismantle(runtime, record, locked)?;
    }
    Ok(ours)
}

impl<K: Kernel> Runtime<'_, K> {
    /// Why nobody will use the container of this record any more, if that is so.
    pub fn abandoned(&self, record: &Record) -> Result<Option<Reason>> {
        if self.boot_of(record)? == Boot::Earlier {
            return Ok(Some(Reason::EarlierBoot));
        }
        let interrupted = record.stage == Stage::Creating && !self.operator_lives(record)?;
        Ok(interrupted.then_some(Reason::Interrupted))
    }
}

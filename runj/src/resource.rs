//! Everything that `create` makes outside the state directory, and how it is released.
//!
//! One list for undo, delete and crash. An intent says what was there before; releasing acts on the difference
//! alone, finds each thing gone acceptable, collects every error and goes on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::Jid;
use crate::signal::Signal;
use crate::state::store::{StateError, Store};
use crate::sys::limit::Limits;
use crate::sys::mount::{MountId, TargetKind};
use crate::sys::net::{InterfaceAlias, MovedInterface};
use crate::sys::{Kernel, SysError};

/// One thing that was made, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// The last `count` components of `path` beneath `base` did not exist and were made to be mounted on.
    Target {
        /// The root, or the source of the mount that it lies in.
        base: PathBuf,
        /// Relative to it.
        path: PathBuf,
        /// How many components.
        count: usize,
        /// What the last one is.
        kind: TargetKind,
    },
    /// A mount on the absolute `path` of the host.
    Mount {
        /// Where.
        path: PathBuf,
        /// What was mounted there before.
        before: Option<MountId>,
    },
    /// A devfs ruleset.
    Ruleset {
        /// Its number.
        number: u16,
    },
    /// A jail; no other had its name when this was written.
    Jail {
        /// Its name.
        name: String,
        /// Its root, which tells it from a later one of that name.
        path: PathBuf,
    },
    /// Limits of the jail of that name.
    Limits {
        /// The jail's name.
        jail: String,
        /// What was applied.
        limits: Limits,
        /// The directories of its cgroup that did not exist.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        made: Vec<PathBuf>,
    },
    /// An address that the interface did not carry before.
    Alias(InterfaceAlias),
    /// An interface that was on the host.
    Interface(MovedInterface),
}

/// Why something could not be released.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Processes that do not die.
    #[error("jail {name}: {count} processes are left after SIGKILL")]
    Survivors {
        /// The jail.
        name: String,
        /// How many.
        count: usize,
    },
}

/// Which of the resources of a record still mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The record is of this boot, or nobody can tell.
    Same,
    /// The record is of an earlier boot: jails, mounts, rules and addresses went with it, files did not.
    Earlier,
}

/// Releases the resources, oldest first in the list; returns what could not be released.
///
/// The order does not follow from the list alone: processes end first, interfaces are taken back while the jail
/// lives (the kernel returns them under whatever name they have), mounts go when nobody uses them, and rules,
/// which outlive the jail, go last.
pub fn release(kernel: &impl Kernel, store: &Store, resources: &[Resource], boot: Boot) -> Vec<ReleaseError> {
    let mut errors = Vec::new();
    let mut keep = |outcome: Result<(), ReleaseError>| errors.extend(outcome.err());
    let newest_first = || resources.iter().rev();
    if boot == Boot::Same {
        let jail = resources.iter().find_map(|resource| match resource {
            Resource::Jail { name, path } => Some((name, path)),
            _ => None,
        });
        let living = match jail.map(|(name, path)| (kernel.jail_find(name), path)) {
            None | Some((Ok(None), _)) => None,
            Some((Ok(Some(view)), path)) => (view.path == *path).then_some(view.jid),
            Some((Err(error), _)) => {
                keep(Err(error.into()));
                None
            }
        };
        if let (Some(jid), Some((name, _))) = (living, jail) {
            let moved: Vec<&MovedInterface> = newest_first()
                .filter_map(|resource| match resource {
                    Resource::Interface(interface) => Some(interface),
                    _ => None,
                })
                .collect();
            if !moved.is_empty() {
                keep(kill_all(kernel, jid, name));
            }
            for interface in moved {
                keep(kernel.interface_return(jid, interface).map_err(Into::into));
            }
            keep(kernel.unmount_inner(jid).map_err(Into::into));
            keep(kernel.jail_remove(jid).map_err(Into::into));
        }
        for resource in newest_first() {
            match resource {
                Resource::Limits { jail, limits, made } => {
                    keep(kernel.limits_remove(jail, limits, made).map_err(Into::into));
                }
                Resource::Alias(alias) => keep(kernel.alias_remove(alias).map_err(Into::into)),
                Resource::Mount { path, before } => keep(kernel.unmount(path, before.as_ref()).map_err(Into::into)),
                _ => {}
            }
        }
    }
    for resource in newest_first() {
        match resource {
            Resource::Target { base, path, count, kind } => {
                keep(kernel.remove_target(base, path, *count, *kind).map_err(Into::into));
            }
            Resource::Ruleset { number } => {
                let removed = if boot == Boot::Same { kernel.ruleset_remove(*number) } else { Ok(()) };
                keep(removed.map_err(Into::into));
                keep(store.release_ruleset(*number).map_err(Into::into));
            }
            _ => {}
        }
    }
    errors
}

/// Kills every process of the jail until only zombies are left.
fn kill_all(kernel: &impl Kernel, jid: Jid, name: &str) -> Result<(), ReleaseError> {
    const ROUNDS: u32 = 2000;
    let mut left = 0;
    for round in 0..ROUNDS {
        kernel.signal_all(jid, Signal::KILL.number())?;
        left = kernel.members(jid)?.len();
        if left == 0 {
            return Ok(());
        }
        if round > 2 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    Err(ReleaseError::Survivors { name: name.to_owned(), count: left })
}

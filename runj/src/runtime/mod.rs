//! The verbs: one file each, straight lines over plan, record and kernel.

pub mod console;
pub mod create;
pub mod delete;
pub mod devices;
pub mod doctor;
pub mod events;
pub mod exec;
pub mod foreground;
pub mod gc;
pub mod kill;
pub mod list;
pub mod load;
pub mod mounts;
pub mod pause;
pub mod planning;
pub mod run;
pub mod start;
pub mod state;
pub mod stats;
pub mod update;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::bundle::BundleError;
use crate::config::ConfigError;
use crate::entrypoint::report::Failure;
use crate::hook::HookError;
use crate::id::ContainerId;
use crate::plan::Problems;
use crate::plan::limit::Refusal;
use crate::resource::{Boot, ReleaseError};
use crate::state::store::{StateError, Store};
use crate::state::{Observation, Record, Stage, Status};
use crate::sys::process::ProcessIdentity;
use crate::sys::{Kernel, SysError};

/// How long what takes no time may take: the end of a process that has closed its files, and what runj's own child does while
/// the lock is held for it.
const MOMENT: Duration = Duration::from_millis(20);

/// What every verb works with.
#[derive(Debug)]
pub struct Runtime<'a, K> {
    /// The system.
    pub kernel: &'a K,
    /// The state directory.
    pub store: &'a Store,
}

/// Why a verb failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A configuration that does not parse.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A configuration that cannot be applied.
    #[error(transparent)]
    Plan(#[from] Problems),
    /// Limits that cannot be changed.
    #[error(transparent)]
    Limits(#[from] Refusal),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A hook.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The child.
    #[error(transparent)]
    Entrypoint(#[from] Failure),
    /// The kernel, asked for a property of the bundle.
    #[error("{property}: {error}")]
    Property {
        /// The property.
        property: String,
        /// Its words.
        error: SysError,
    },
    /// A verb that the container's status forbids.
    #[error("container {id} is {status}: {needs}")]
    Status {
        /// The container.
        id: ContainerId,
        /// Its status.
        status: Status,
        /// What the verb needs.
        needs: &'static str,
    },
    /// The child ended without a word.
    #[error("container {id}: its process ended while it was {what}")]
    Died {
        /// The container.
        id: ContainerId,
        /// What it was at.
        what: &'static str,
    },
    /// Somebody else deleted the container meanwhile.
    #[error("container {id} was deleted while it was created")]
    Overtaken {
        /// The container.
        id: ContainerId,
    },
    /// An argument.
    #[error("{argument}: {message}")]
    Argument {
        /// Which.
        argument: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file that runj reads or writes for its caller.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What could not be released.
    #[error("container {id}: {count} left behind, delete --force tries again: {list}", count = leftovers.len(), list = join(leftovers))]
    Leftovers {
        /// The container.
        id: ContainerId,
        /// What and why.
        leftovers: Vec<ReleaseError>,
    },
    /// A failure whose undoing failed as well.
    #[error("{error}; and then: {undo}")]
    Undo {
        /// What went wrong first.
        error: Box<Error>,
        /// What went wrong after.
        undo: Box<Error>,
    },
}

fn join(errors: &[ReleaseError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// The exit code of the command: 127 and 126 for a program that cannot be found or executed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Entrypoint(failure) => failure.exit,
            Self::Undo { error, .. } => error.exit_code(),
            _ => 1,
        }
    }

    /// An argument that cannot be used.
    pub fn argument(argument: impl Into<String>, message: impl ToString) -> Self {
        Self::Argument { argument: argument.into(), message: message.to_string() }
    }
}

/// The outcome of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives an error of the kernel the property that asked for it.
pub(crate) fn of_property(property: impl Into<String>) -> impl FnOnce(SysError) -> Error {
    move |error| Error::Property { property: property.into(), error }
}

impl<K: Kernel> Runtime<'_, K> {
    /// Whether a record is of this boot. Where the kernel has no boot id, nobody can tell.
    pub fn boot_of(&self, record: &Record) -> Result<Boot> {
        let now = self.kernel.boot_id()?;
        let differs = now.is_some() && record.boot_id.is_some() && now != record.boot_id;
        Ok(if differs { Boot::Earlier } else { Boot::Same })
    }

    /// Who this process is, to be recorded as the operator of a container.
    fn this_process(&self) -> Result<Option<ProcessIdentity>> {
        Ok(self.kernel.identity(nix::unistd::getpid().as_raw())?)
    }

    /// Whether the recorded operator is still at work.
    fn operator_lives(&self, record: &Record) -> Result<bool> {
        match record.operator {
            Some(operator) => Ok(self.kernel.identity(operator.pid)? == Some(operator)),
            None => Ok(false),
        }
    }

    /// The status of a record, from what is alive now.
    pub fn status(&self, record: &Record) -> Result<Status> {
        let same_boot = self.boot_of(record)? == Boot::Same;
        let init_alive = match record.init {
            Some(init) if same_boot => self.kernel.identity(init.pid)? == Some(init),
            _ => false,
        };
        let may_wait = matches!(record.stage, Stage::Created | Stage::Starting);
        let waiting = init_alive && may_wait && self.is_waiting(&record.id)?;
        let ended = init_alive && may_wait && !waiting && self.ends_in_a_moment(record)?;
        Ok(record.status(Observation { init_alive: init_alive && !ended, waiting }))
    }

    /// Whether an entrypoint holds the start FIFO open; execve(2) closes it, and so does its end.
    fn is_waiting(&self, id: &ContainerId) -> Result<bool> {
        let directory = self.store.directory(id);
        match start::open_start_fifo(&directory) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENOENT)) => Ok(false),
            Err(error) => Err(Error::File { path: directory, error }),
        }
    }

    /// Whether the recorded process is about to end: it closes its files a moment before the kernel counts it as dead.
    fn ends_in_a_moment(&self, record: &Record) -> Result<bool> {
        let begin = Instant::now();
        while begin.elapsed() < MOMENT {
            if let Some(init) = record.init
                && self.kernel.identity(init.pid)? != Some(init)
            {
                return Ok(true);
            }
            std::thread::sleep(MOMENT / 10);
        }
        Ok(false)
    }
}

//! `run`: create, start, attend in the foreground, delete.

use super::create::{CreateRequest, create};
use super::delete::{Force, delete};
use super::{Error, Result, Runtime, foreground, start};
use crate::sys::Kernel;

/// Whether `run` stays with the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It waits, and deletes the container at the end.
    ForegroundAndDelete,
    /// It waits, and leaves the stopped container.
    ForegroundAndKeep,
    /// It returns when the program was executed.
    Detach,
}

/// Runs a container; returns the exit code for the caller.
pub fn run<K: Kernel>(runtime: &Runtime<'_, K>, request: &CreateRequest, stay: Stay) -> Result<u8> {
    if stay != Stay::Detach {
        foreground::watch()?;
    }
    let created = create(runtime, request)?;
    let outcome = start::start(runtime, &request.id).and_then(|()| match stay {
        Stay::Detach => Ok(0),
        _ => foreground::attend(created.init.pid, created.master),
    });
    let failed = outcome.is_err();
    if failed || stay == Stay::ForegroundAndDelete {
        // The child is ours: reap it, if it is not.
        let pid = nix::unistd::Pid::from_raw(created.init.pid);
        if failed {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
        if let Err(undo) = delete(runtime, &request.id, Force::Yes) {
            return Err(match outcome {
                Ok(_) => undo,
                Err(error) => Error::Undo { error: Box::new(error), undo: Box::new(undo) },
            });
        }
    }
    outcome
}

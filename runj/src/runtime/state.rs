//! `state`: what a container is now. Takes no lock and writes nothing.

use super::{Result, Runtime};
use crate::id::ContainerId;
use crate::state::OciState;
use crate::sys::Kernel;

/// The state of a container.
pub fn state<K: Kernel>(runtime: &Runtime<'_, K>, id: &ContainerId) -> Result<OciState> {
    let record = runtime.store.read(id)?;
    let status = runtime.status(&record)?;
    Ok(OciState::new(&record, status))
}

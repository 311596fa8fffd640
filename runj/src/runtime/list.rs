//! `list`: every container of the state root. Takes no lock and writes nothing.

use super::gc::Reason;
use super::{Result, Runtime};
use crate::id::ContainerId;
use crate::state::OciState;
use crate::state::store::StateError;
use crate::sys::Kernel;

/// One row of the list.
#[derive(Debug)]
pub enum Row {
    /// A container, and why nobody will use it any more, if that is so.
    Container(Box<OciState>, Option<Reason>),
    /// A directory whose record is missing or unreadable; `delete --force` and `gc` remove it.
    Broken {
        /// Its id.
        id: ContainerId,
        /// What is wrong.
        reason: String,
    },
}

/// All containers, by id.
pub fn list<K: Kernel>(runtime: &Runtime<'_, K>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for id in runtime.store.ids()? {
        match runtime.store.read(&id) {
            Ok(record) => {
                let status = runtime.status(&record)?;
                rows.push(Row::Container(Box::new(OciState::new(&record, status)), runtime.abandoned(&record)?));
            }
            // Deleted since the directory was read.
            Err(StateError::NotFound { .. }) => {}
            Err(error) => rows.push(Row::Broken { id, reason: error.to_string() }),
        }
    }
    Ok(rows)
}

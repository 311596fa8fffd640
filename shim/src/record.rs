//! What the shim's `delete` has to know when the shim itself is gone: `shim.json` in the bundle, from before anything is
//! made until everything is released.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The file's name.
const FILE: &str = "shim.json";

/// What was made, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The runj program.
    pub program: PathBuf,
    /// Its state directory.
    pub root: PathBuf,
    /// Where the root file system was mounted, in order.
    pub mounts: Vec<PathBuf>,
}

impl Record {
    /// Reads it; nothing if nothing was made.
    pub fn read(bundle: &Path) -> Result<Option<Self>> {
        let path = bundle.join(FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| Error::file(&path, error))?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::file(&path, error))
    }

    /// Writes it.
    pub fn save(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|error| Error::file(&path, error))?;
        std::fs::write(&path, bytes).map_err(|error| Error::file(&path, error))
    }

    /// Removes it: all is released.
    pub fn remove(&self, bundle: &Path) {
        let path = bundle.join(FILE);
        if let Err(error) = std::fs::remove_file(&path) {
            log::warn!("{}: {error}", path.display());
        }
    }
}

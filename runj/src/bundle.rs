//! A bundle on disk: its canonical directory and the bytes of its two files. Read once, by `create`.

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::MAX_CONFIG;

/// A bundle's files.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute and free of links.
    pub directory: PathBuf,
    /// The bytes of `config.json`.
    pub config: Vec<u8>,
    /// The bytes of `runj.ext.json`, if there is one.
    pub ext: Option<Vec<u8>>,
}

/// Why a bundle cannot be read.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The directory or a file in it.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not a directory.
    #[error("bundle {path}: not a directory", path = path.display())]
    NotDirectory {
        /// Which.
        path: PathBuf,
    },
    /// No `config.json`.
    #[error("bundle {directory}: no config.json in it", directory = directory.display())]
    NoConfig {
        /// Which.
        directory: PathBuf,
    },
    /// A file that is too large, or not a file.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Bundle {
    /// Reads the bundle in `directory`.
    pub fn read(directory: &Path) -> Result<Self, BundleError> {
        let io = |error| BundleError::Io { path: directory.to_path_buf(), error };
        let canonical = directory.canonicalize().map_err(io)?;
        if !canonical.is_dir() {
            return Err(BundleError::NotDirectory { path: canonical });
        }
        let config = read_file(&canonical.join("config.json"))?
            .ok_or_else(|| BundleError::NoConfig { directory: canonical.clone() })?;
        let ext = read_file(&canonical.join("runj.ext.json"))?;
        Ok(Self { directory: canonical, config, ext })
    }
}

/// The bytes of a regular file of at most [`MAX_CONFIG`] bytes; none if it does not exist.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, BundleError> {
    use std::os::unix::fs::OpenOptionsExt;
    let io = |error| BundleError::Io { path: path.to_path_buf(), error };
    let reason = |reason: String| BundleError::File { path: path.to_path_buf(), reason };
    // Without blocking, for the case that it is a FIFO.
    let flags = (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC).bits();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io)?,
    };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(reason("not a file".to_owned()));
    }
    if metadata.len() > MAX_CONFIG {
        return Err(reason(format!("larger than {} MiB", MAX_CONFIG >> 20)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

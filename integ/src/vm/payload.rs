//! The second disk: a tar archive of the files to bring in and of the command, padded to whole sectors.
//!
//! The command travels in the archive because a terminal line holds 255 bytes on FreeBSD.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Disks are offered in multiples of this.
const SECTOR: u64 = 512;

/// A payload on the host, removed when dropped.
pub struct Payload {
    _directory: TempDir,
    file: PathBuf,
    mark: String,
    size: u64,
}

impl Payload {
    /// Packs `paths`, each under its own name, and `script` as `<mark>/run`.
    pub fn build(paths: &[PathBuf], script: &str, limit: u64) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("runj-vm-").tempdir().context("make a temporary directory")?;
        // The archive's first member, by whose name the guest's side tells this disk from others.
        let mark = format!(
            "payload-{}",
            directory.path().file_name().unwrap_or_default().to_string_lossy().trim_start_matches("runj-vm-")
        );
        let own = directory.path().join(&mark);
        fs::create_dir(&own).with_context(|| format!("make {}", own.display()))?;
        fs::write(own.join("run"), format!("{script}\n")).with_context(|| format!("write {}/run", own.display()))?;

        let file = directory.path().join("payload.tar");
        let mut tar = Command::new("tar");
        // ustar is what every guest's tar reads
        tar.arg("--format=ustar").arg("-cf").arg(&file);
        tar.arg("-C").arg(directory.path()).arg(&mark);
        for path in paths {
            let (parent, name) = place(path)?;
            tar.arg("-C").arg(parent).arg(name);
        }
        let output = tar.output().context("run tar")?;
        if !output.status.success() {
            bail!("tar of the payload: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut size = fs::metadata(&file).with_context(|| format!("{}", file.display()))?.len();
        if size > limit {
            bail!("payload too large: {} MiB, and this machine can take {} MiB", size >> 20, limit >> 20);
        }
        let padding = size.next_multiple_of(SECTOR) - size;
        let mut end =
            fs::OpenOptions::new().append(true).open(&file).with_context(|| format!("open {}", file.display()))?;
        end.write_all(&vec![0; usize::try_from(padding)?]).with_context(|| format!("write {}", file.display()))?;
        size += padding;
        Ok(Self { _directory: directory, file, mark, size })
    }

    /// The archive on the host.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The name that the archive begins with, and the directory in it that holds the command.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Splits a path into the directory to go to and the name to pack, so that the archive holds the name alone (a link
/// keeps its own). The directory is absolute: tar takes each `-C` relative to the one before.
fn place(path: &Path) -> Result<(PathBuf, OsString)> {
    let whole = || fs::canonicalize(path).with_context(|| format!("payload {}", path.display()));
    let path = if path.file_name().is_some() { whole().map(|_| path.to_owned())? } else { whole()? };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("payload {}: has no name", path.display());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = fs::canonicalize(parent).with_context(|| format!("payload {}", path.display()))?;
    Ok((parent, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_begins_with_the_mark_and_fills_sectors() {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("one"), "1").unwrap();
        let payload = Payload::build(&[files.path().join("one")], "echo hello", 1 << 20).unwrap();
        let bytes = fs::read(payload.file()).unwrap();
        assert!(bytes.starts_with(payload.mark().as_bytes()));
        assert_eq!(bytes.len() as u64 % SECTOR, 0);
        assert_eq!(bytes.len() as u64, payload.size());
        let list = Command::new("tar").arg("-tf").arg(payload.file()).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert_eq!(list.lines().count(), 3, "{list}");
        assert!(list.lines().any(|line| line == "one"));
    }

    #[test]
    fn too_large_is_said_before_anything_boots() {
        let error = Payload::build(&[], "true", 1).err().unwrap();
        assert!(error.to_string().starts_with("payload too large"), "{error}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = Payload::build(&[PathBuf::from("/nonexistent/x")], "true", 1 << 20).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}

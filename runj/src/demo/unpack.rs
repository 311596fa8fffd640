//! Archives into directories: FreeBSD's base system, and the layers of an image, one upon the other.
//!
//! [`archive`](super::archive) lets no name lead out by itself, and [`Tree`] follows no link out; what is left to
//! decide here is what is made and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use fs_err as fs;

use super::archive::{self, Entry, Kind};
use crate::sys::tree::{Attributes, Links, Owners, Tree};

/// How a layer names what it takes away (OCI image-spec, layer.md).
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A directory that is filled from archives.
pub struct Unpacker {
    tree: Tree,
    layers: bool,
    /// Set last: a directory's time changes with what is put into it, and its mode may forbid that.
    directories: BTreeMap<PathBuf, Attributes>,
    flags: Vec<(PathBuf, u32)>,
    /// What the present layer brought, which its own whiteouts do not touch.
    brought: BTreeSet<PathBuf>,
    left: LeftOut,
}

/// What an archive held and the directory does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Device nodes below dev.
    pub devices: u64,
    /// Files whose flags could not be set.
    pub flags: u64,
    /// Files with extended attributes or access control lists.
    pub extended: u64,
}

impl Unpacker {
    /// For one archive in which no entry goes through a link.
    pub fn base(root: &Path, owners: Owners) -> anyhow::Result<Self> {
        Ok(Self::new(Tree::open(root, owners, Links::Refused)?, false))
    }

    /// For the layers of an image, in their order.
    pub fn layers(root: &Path, owners: Owners) -> anyhow::Result<Self> {
        Ok(Self::new(Tree::open(root, owners, Links::Inside)?, true))
    }

    fn new(tree: Tree, layers: bool) -> Self {
        let (directories, flags, brought) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { tree, layers, directories, flags, brought, left: LeftOut::default() }
    }

    /// Unpacks one archive.
    pub fn unpack(&mut self, tar: impl Read) -> anyhow::Result<()> {
        self.brought.clear();
        archive::read(tar, |entry, content| self.entry(entry, content))
    }

    /// Sets what is set last; returns what was left out.
    pub fn finish(mut self) -> anyhow::Result<LeftOut> {
        for (path, attributes) in self.directories.iter().rev() {
            self.tree.finish_directory(path, *attributes)?;
        }
        for index in 0..self.flags.len() {
            let (path, flags) = &self.flags[index];
            match self.tree.set_flags(path, *flags) {
                Ok(true) => {}
                Ok(false) => self.left.flags += 1,
                Err(error) => {
                    // Or what was unpacked could not be removed.
                    for (path, _) in &self.flags[..index] {
                        let _ = self.tree.set_flags(path, 0);
                    }
                    return Err(error).context("file flags");
                }
            }
        }
        Ok(self.left)
    }

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> anyhow::Result<()> {
        let path = &entry.path;
        if path.as_os_str().is_empty() {
            ensure!(entry.kind == Kind::Directory, "the root is no directory");
            self.directories.insert(path.clone(), entry.attributes);
            return Ok(());
        }
        if self.layers && self.whiteout(path)? {
            return Ok(());
        }
        if entry.kind == Kind::Device {
            ensure!(path.starts_with("dev"), "a device node outside dev; it is not made");
            self.left.devices += 1;
            return Ok(());
        }
        // What replaces a directory takes its attributes with it.
        if entry.kind != Kind::Directory {
            self.forget(path);
        }
        match &entry.kind {
            Kind::Directory => {
                self.tree.directory(path)?;
                self.directories.insert(path.clone(), entry.attributes);
            }
            Kind::File => {
                let mut file = self.tree.file(path)?;
                std::io::copy(content, &mut file)?;
                self.tree.finish(path, &file, entry.attributes)?;
            }
            Kind::Symlink(target) => self.tree.symlink(path, target.as_os_str(), entry.attributes)?,
            Kind::HardLink(target) => self.tree.hard_link(path, target)?,
            Kind::Fifo => self.tree.fifo(path, entry.attributes)?,
            Kind::Device => {}
        }
        if entry.flags != 0 {
            self.flags.push((path.clone(), entry.flags));
        }
        self.left.extended += u64::from(entry.extended);
        if self.layers {
            self.brought.insert(path.clone());
        }
        Ok(())
    }

    /// Takes away what a whiteout names, of lower layers only; false if the entry is none.
    fn whiteout(&mut self, path: &Path) -> anyhow::Result<bool> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(false) };
        let directory = path.parent().unwrap_or(Path::new(""));
        if name == OPAQUE {
            self.clear(directory)?;
        } else if !hidden.starts_with(WHITEOUT) {
            // (Names of aufs' own with two marks mean nothing here.)
            if matches!(hidden, b"" | b"." | b"..") {
                bail!("a whiteout of no name");
            }
            self.take_away(&directory.join(OsStr::from_bytes(hidden)))?;
        }
        Ok(true)
    }

    fn clear(&mut self, directory: &Path) -> anyhow::Result<()> {
        for name in self.tree.names(directory)? {
            self.take_away(&directory.join(name))?;
        }
        Ok(())
    }

    /// Removes a path, or what of it the present layer did not bring.
    fn take_away(&mut self, path: &Path) -> anyhow::Result<()> {
        if under(&self.brought, path).next().is_some() {
            return self.clear(path);
        }
        self.forget(path);
        Ok(self.tree.remove(path)?)
    }

    fn forget(&mut self, path: &Path) {
        let gone: Vec<PathBuf> = self
            .directories
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .map(|(directory, _)| directory.clone())
            .take_while(|directory| directory.starts_with(path))
            .collect();
        for directory in gone {
            self.directories.remove(&directory);
        }
        // A file that is replaced loses its flags; there are few of them.
        self.flags.retain(|(flagged, _)| !flagged.starts_with(path));
    }
}

/// The members of a set that are `path` or beneath it: paths sort by component, so they stand together.
fn under<'a>(set: &'a BTreeSet<PathBuf>, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
    set.range::<Path, _>((Bound::Included(path), Bound::Unbounded)).take_while(move |member| member.starts_with(path))
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.devices, "device nodes below dev (a devfs is mounted there)"),
            (self.flags, "files' flags (this file system has none)"),
            (self.extended, "files' extended attributes"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        write!(f, "left out: {}", parts.collect::<Vec<_>>().join(", "))
    }
}

/// A directory that gets its name when it is complete, and is removed if that never happens.
pub struct Staged {
    path: PathBuf,
    target: PathBuf,
    complete: bool,
}

impl Staged {
    /// Makes the directory beside `target`, which must not exist.
    pub fn new(target: &Path) -> anyhow::Result<Self> {
        ensure!(!target.is_symlink() && !target.exists(), "{}: exists; remove it first", target.display());
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().with_context(|| format!("{}: names no directory", target.display()))?);
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        fs::create_dir(&path)?;
        Ok(Self { path, target: target.to_owned(), complete: false })
    }

    /// Where it is until then.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub fn commit(mut self) -> anyhow::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.complete {
            if let Err(error) = std::fs::remove_dir_all(&self.path) {
                log::warn!("{}: {error}: what was unpacked is left there", self.path.display());
            }
        }
    }
}

#[cfg(test)]
#[path = "unpack/tests.rs"]
mod tests;

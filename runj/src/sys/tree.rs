//! A tree that is written beneath a directory by somebody else's names: by descriptors, following no link, so that
//! nothing outside the directory is reached whatever was put into it before.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, mkfifoat, symlinkat, unlinkat};

use super::{Result, SysError, beneath};

/// How deep a path may be; removing a tree holds two descriptors for each level.
pub const MAX_DEPTH: usize = 256;

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Those that are given; needs root.
    Given,
    /// The caller's, whoever is given.
    Caller,
}

/// What becomes of a link where a directory of the way should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is an error (`ELOOP`).
    Refused,
    /// It is followed as after chroot(2) into the tree: it cannot lead out.
    Inside,
}

/// Mode, owner and time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits with set-user-id, set-group-id and sticky (07777).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification, in seconds since 1970.
    pub mtime: i64,
}

/// The directory that is filled.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    root: OwnedFd,
    owners: Owners,
    links: Links,
    /// The directory that was used last: files come sorted.
    last: Option<(PathBuf, OwnedFd)>,
}

impl Tree {
    /// The directory at `path`, which exists.
    pub fn open(path: &Path, owners: Owners, links: Links) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, path, flags, Mode::empty())
            .map_err(|errno| SysError::new(path.display().to_string(), errno))?;
        Ok(Self { path: path.to_owned(), root, owners, links, last: None })
    }

    /// Makes a directory; one that is there is kept with what is in it, anything else is replaced.
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        self.at(path, |parent, name| match mkdirat(parent, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) if kind(&status(parent, name)?) == SFlag::S_IFDIR => Ok(()),
            Err(Errno::EEXIST) => {
                unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
                mkdirat(parent, name, Mode::S_IRWXU)
            }
            other => other,
        })
    }

    /// Makes an empty file in the place of whatever is there, to be written and given to [`Tree::finish`].
    pub fn file(&mut self, path: &Path) -> Result<File> {
        self.at(path, |parent, name| {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            replacing(parent, name, || openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)).map(File::from)
        })
    }

    /// Gives a file that was written its owner, mode and time, in this order: a new owner clears set-user-id.
    pub fn finish(&self, path: &Path, file: &File, attributes: Attributes) -> Result<()> {
        self.set(file, attributes).map_err(|errno| self.error(path, errno))
    }

    /// Makes a symbolic link in the place of whatever is there. Where it leads is not looked at.
    pub fn symlink(&mut self, path: &Path, target: &OsStr, attributes: Attributes) -> Result<()> {
        let owners = self.owners;
        self.at(path, |parent, name| {
            replacing(parent, name, || symlinkat(target, parent, name))?;
            if owners == Owners::Given {
                let (uid, gid) = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
                fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            }
            let time = TimeSpec::new(attributes.mtime, 0);
            utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
        })
    }

    /// Gives a file or link of this tree another name, in the place of whatever is there.
    pub fn hard_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        if path == target {
            return Ok(());
        }
        let (directory, file) = split(target).map_err(|errno| self.error(target, errno))?;
        let source = self.walk_existing(directory).map_err(|errno| self.error(target, errno))?;
        let found = status(&source, file).map_err(|errno| self.error(target, errno))?;
        if kind(&found) == SFlag::S_IFDIR {
            return Err(self.error(target, Errno::EISDIR));
        }
        self.at(path, |parent, name| {
            // The same file under both names already: replacing one would lose it when they are one directory's.
            if status(parent, name).is_ok_and(|at| (at.st_dev, at.st_ino) == (found.st_dev, found.st_ino)) {
                return Ok(());
            }
            replacing(parent, name, || linkat(&source, file, parent, name, LinkatFlags::empty()))
        })
    }

    /// Makes a FIFO in the place of whatever is there.
    pub fn fifo(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let made = self.at(path, |parent, name| {
            replacing(parent, name, || mkfifoat(parent, name, Mode::S_IRUSR | Mode::S_IWUSR))?;
            openat(
                parent,
                name,
                OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        })?;
        self.set(&made, attributes).map_err(|errno| self.error(path, errno))
    }

    /// Gives a directory (the root for an empty path) its owner, mode and time; false if there is none by now.
    pub fn finish_directory(&mut self, path: &Path, attributes: Attributes) -> Result<bool> {
        let set = |tree: &mut Self| {
            let directory = if path.as_os_str().is_empty() {
                tree.root.try_clone().map_err(|_| Errno::EMFILE)?
            } else {
                tree.walk(path)?
            };
            tree.set(&directory, attributes)
        };
        match set(self) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => Ok(false),
            Err(errno) => Err(self.error(path, errno)),
        }
    }

    /// Sets file flags (chflags(2)); false where the system or the file system has none.
    pub fn set_flags(&mut self, path: &Path, flags: u32) -> Result<bool> {
        self.at(path, |parent, name| match super::imp::set_file_flags(parent.as_fd(), name, flags) {
            Err(Errno::EOPNOTSUPP) => Ok(false),
            other => other,
        })
    }

    /// Removes what is at `path`, with all that is in it; nothing there is success.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        self.last = None;
        let (directory, name) = split(path).map_err(|errno| self.error(path, errno))?;
        let removed = self.walk_existing(directory).and_then(|parent| remove(&parent, name, MAX_DEPTH));
        match removed {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
            Err(errno) => Err(self.error(path, errno)),
        }
    }

    /// The names in a directory; none if there is no such directory.
    pub fn names(&mut self, path: &Path) -> Result<Vec<OsString>> {
        let list = |tree: &mut Self| names(&tree.walk_existing(path)?);
        match list(self) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Vec::new()),
            other => other.map_err(|errno| self.error(path, errno)),
        }
    }

    /// Runs `act` on the directory and the name of a path.
    fn at<T>(&mut self, path: &Path, act: impl FnOnce(&OwnedFd, &OsStr) -> nix::Result<T>) -> Result<T> {
        let (directory, name) = split(path).map_err(|errno| self.error(path, errno))?;
        let parent = match self.last.take() {
            Some((last, fd)) if last == directory => Ok(fd),
            _ => self.walk(directory),
        };
        let parent = parent.map_err(|errno| self.error(path, errno))?;
        let result = act(&parent, name).map_err(|errno| self.error(path, errno));
        self.last = Some((directory.to_owned(), parent));
        result
    }

    /// Opens a directory beneath the root and makes what is missing of it.
    fn walk(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.descend(path, |parent, name| {
            let mode = Mode::from_bits_truncate(0o755);
            mkdirat(parent, name, mode)?;
            let directory = open_directory(parent, name)?;
            fchmod(&directory, mode)?;
            Ok(directory)
        })
    }

    fn walk_existing(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.descend(path, |_, _| Err(Errno::ENOENT))
    }

    fn descend(&self, path: &Path, missing: impl Fn(&OwnedFd, &OsStr) -> nix::Result<OwnedFd>) -> nix::Result<OwnedFd> {
        let straight = |path: &Path| {
            let mut directory = self.root.try_clone().map_err(|_| Errno::EMFILE)?;
            for part in path.components() {
                let Component::Normal(name) = part else { return Err(Errno::EINVAL) };
                directory = match open_directory(&directory, name) {
                    Err(Errno::ENOENT) => missing(&directory, name)?,
                    // Three words for a link that is not followed; a file is `ENOTDIR` too.
                    Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => {
                        let link = kind(&status(&directory, name)?) == SFlag::S_IFLNK;
                        return Err(if link { Errno::ELOOP } else { Errno::ENOTDIR });
                    }
                    other => other?,
                };
            }
            Ok(directory)
        };
        match straight(path) {
            Err(Errno::ELOOP) if self.links == Links::Inside => {
                let resolved = beneath::resolve(&self.path, path).map_err(|error| error.errno)?;
                straight(&resolved.path)
            }
            other => other,
        }
    }

    fn set(&self, file: impl AsFd, attributes: Attributes) -> nix::Result<()> {
        #[allow(clippy::useless_conversion)] // mode_t has 16 bits on FreeBSD, 32 on Linux
        let mut mode = Mode::from_bits_truncate((attributes.mode & 0o7777).into());
        if self.owners == Owners::Given {
            fchown(&file, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
        } else {
            // Another's set-user-id is not the caller's.
            mode.remove(Mode::S_ISUID | Mode::S_ISGID);
        }
        fchmod(&file, mode)?;
        let time = TimeSpec::new(attributes.mtime, 0);
        futimens(file, &time, &time)
    }

    fn error(&self, path: &Path, errno: Errno) -> SysError {
        let what = self.path.join(path).display().to_string();
        match errno {
            Errno::ELOOP => SysError::with_message(what, errno, "leads through a symbolic link"),
            _ => SysError::new(what, errno),
        }
    }
}

/// Directory and name of a path without dots.
fn split(path: &Path) -> nix::Result<(&Path, &OsStr)> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if plain => Ok((parent, name)),
        _ => Err(Errno::EINVAL),
    }
}

/// Makes something, removing first what has its name.
fn replacing<T>(parent: &OwnedFd, name: &OsStr, make: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    match make() {
        Err(Errno::EEXIST) => {
            remove(parent, name, MAX_DEPTH)?;
            make()
        }
        other => other,
    }
}

fn remove(parent: &OwnedFd, name: &OsStr, depth: usize) -> nix::Result<()> {
    if kind(&status(parent, name)?) != SFlag::S_IFDIR {
        return unlinkat(parent, name, UnlinkatFlags::NoRemoveDir);
    }
    let deeper = depth.checked_sub(1).ok_or(Errno::ENAMETOOLONG)?;
    let directory = open_directory(parent, name)?;
    for name in names(&directory)? {
        remove(&directory, &name, deeper)?;
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

fn names(directory: &OwnedFd) -> nix::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStrExt;
    // An own open: a copy of the descriptor would share the place in the directory.
    let mut entries = Dir::from_fd(open_directory(directory, OsStr::new("."))?)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn open_directory(parent: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn status(parent: &OwnedFd, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

//! Mounts: nmount(2), unmount(2), statfs(2).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{fchdir, getcwd};

use super::ffi::{self, Options};
use super::{Host, devfs, inside, jails};
use crate::id::Jid;
use crate::sys::jail::FILES_ON_FILES;
use crate::sys::mount::{DeviceRule, MountFlags, MountId, MountRequest, Resolved, TargetKind};
use crate::sys::{Mounts, Result, SysError, beneath, copy};

/// How often a busy mount, or a busy place for one, is tried again, a few milliseconds apart, before it is forced or
/// reported: the processes of a jail that was just removed take that long to let go.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(4);

/// How deep a stack of mounts on one path may be.
const MAX_STACK: u32 = 1000;

impl Mounts for Host {
    fn resolve(&self, _jid: Option<Jid>, root: &Path, destination: &Path) -> Result<Resolved> {
        beneath::resolve(root, destination)
    }

    fn create_target(&self, _jid: Option<Jid>, root: &Path, path: &Path, kind: TargetKind) -> Result<()> {
        beneath::create(root, path, kind)
    }

    fn remove_target(&self, root: &Path, path: &Path, count: usize, kind: TargetKind) -> Result<()> {
        beneath::remove(root, path, count, kind)
    }

    fn mount(&self, _jid: Option<Jid>, root: &Path, path: &Path, request: &MountRequest) -> Result<()> {
        let failed = |errno| SysError::new(describe(root, path, request), errno);
        let (target, lower) = cover(root, path, request)?;
        target.check().map_err(failed)?;
        if let Some(lower) = lower {
            // The kernel has moved the working directory into what now covers it.
            let upper = here().map_err(failed)?;
            copy::tree(lower, upper).map_err(|errno| {
                SysError::new(format!("copy {} up into its tmpfs", root.join(path).display()), errno)
            })?;
            if request.flags.read_only {
                make_read_only(request).map_err(|refusal| {
                    SysError::with_message(describe(root, path, request), refusal.errno, refusal.message)
                })?;
            }
        }
        Ok(())
    }

    fn mount_id(&self, path: &Path) -> Result<Option<MountId>> {
        let failed = |errno| SysError::new(format!("file system at {}", path.display()), errno);
        let text = ffi::c_string(path).map_err(failed)?;
        match ffi::statfs(&text) {
            Ok(mounted) if mounted.on == path => {
                let [first, second] = mounted.id;
                Ok(Some(MountId(format!("FSID:{first}:{second}"))))
            }
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn unmount(&self, path: &Path, before: Option<&MountId>) -> Result<()> {
        for _ in 0..MAX_STACK {
            match self.mount_id(path)? {
                Some(id) if Some(&id) != before => unmount(&id),
                _ => return Ok(()),
            }
            .map_err(|errno| SysError::new(format!("unmount {}", path.display()), errno))?;
        }
        Err(SysError::with_message(format!("unmount {}", path.display()), Errno::EBUSY, "there is no end of mounts"))
    }

    fn unmount_inner(&self, jid: Jid) -> Result<()> {
        if jails::number(jid, "allow.mount")?.unwrap_or(0) == 0 {
            return Ok(());
        }
        // From inside the kernel itself tells what the jail mounted from what was mounted for it, and refuses that.
        let answer = inside::ask(self, jid, || {
            for _ in 0..MAX_STACK {
                // Whoever lives could mount again.
                let killed = ffi::kill(-1, libc::SIGKILL);
                let newest_first = ffi::mounts()?.into_iter().rev();
                let undone = newest_first.filter(|mounted| {
                    let path = ffi::c_string(&mounted.on);
                    path.and_then(|path| ffi::unmount(&path, libc::MNT_FORCE)).is_ok()
                });
                if undone.count() == 0 && killed == Err(Errno::ESRCH) {
                    return Ok(Vec::new());
                }
            }
            Err(Errno::EBUSY)
        });
        answer.map(drop)
    }

    fn ruleset_exists(&self, number: u16) -> Result<bool> {
        devfs::exists(number)
    }

    fn ruleset_add(&self, number: u16, rules: &[DeviceRule]) -> Result<()> {
        devfs::add(number, rules)
    }

    fn ruleset_remove(&self, number: u16) -> Result<()> {
        devfs::remove(number)
    }
}

/// Mounts; returns the place, entered, and for a copy up what is covered now.
///
/// When several containers of one root are made at once, the kernel refuses a directory that another mount is at work on
/// (`EBUSY`: `VI_MOUNT` in vfs_mount.c) or that was covered since it was looked up (`ENOENT`: vn_path_to_global_path in
/// vfs_cache.c). That passes, so it is tried again from the start.
fn cover(root: &Path, path: &Path, request: &MountRequest) -> Result<(Target, Option<OwnedFd>)> {
    let failed = |errno| SysError::new(describe(root, path, request), errno);
    let mut tries = BUSY_TRIES;
    loop {
        // nmount(2) follows links in the path that it is given; a working directory and a name in it have none.
        let target = Target::enter(root, path)?;
        let lower = request.copy_up.then(here).transpose().map_err(failed)?;
        // What is copied up has to be written first.
        let writable = MountFlags { read_only: request.flags.read_only && !request.copy_up, ..request.flags };
        let refusal = match options(request, &target.name).nmount(flags(writable)) {
            Ok(()) => return Ok((target, lower)),
            Err(refusal) => refusal,
        };
        let passes = match refusal.errno {
            Errno::EBUSY => true,
            Errno::ENOENT => request.source.as_deref().is_none_or(Path::exists),
            _ => false,
        };
        if passes && tries > 0 {
            tries -= 1;
            std::thread::sleep(BUSY_PAUSE);
            continue;
        }
        let message = match hint(refusal.errno, request) {
            Some(hint) => format!("{} ({hint})", refusal.message),
            None => refusal.message,
        };
        return Err(SysError::with_message(describe(root, path, request), refusal.errno, message));
    }
}

/// The place of a mount, entered: a name in the working directory, which is left again when this is dropped.
struct Target {
    name: PathBuf,
    back: OwnedFd,
    file: bool,
}

impl Target {
    fn enter(root: &Path, path: &Path) -> Result<Self> {
        let failed = |errno| SysError::new(format!("enter {}", root.join(path).display()), errno);
        let back = here().map_err(failed)?;
        let at = |name: &Path, file, back| Self { name: name.to_owned(), back, file };
        let directory = match beneath::open_with(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOTDIR => None,
            other => Some(other?),
        };
        if let Some(directory) = directory {
            fchdir(directory).map_err(failed)?;
            return Ok(at(Path::new("."), false, back));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(failed(Errno::ENOTDIR)) };
        fchdir(beneath::open_with(root, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?).map_err(failed)?;
        let target = at(Path::new(name), true, back);
        let status = fstatat(nix::fcntl::AT_FDCWD, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => Err(failed(Errno::ELOOP)),
            _ => Ok(target),
        }
    }

    /// Takes a mount away again that a link put in the file's place led elsewhere.
    fn check(&self) -> nix::Result<()> {
        if !self.file {
            return Ok(());
        }
        let mounted = ffi::statfs(&ffi::c_string(&self.name)?)?;
        if mounted.on == getcwd()?.join(&self.name) {
            return Ok(());
        }
        let [first, second] = mounted.id;
        unmount(&MountId(format!("FSID:{first}:{second}")))?;
        Err(Errno::ELOOP)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A directory that was open can be entered, unless it was removed; then there is no way back.
        let _ = fchdir(&self.back);
    }
}

fn here() -> nix::Result<OwnedFd> {
    open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Makes the file system that the working directory is the root of read-only.
fn make_read_only(request: &MountRequest) -> Result<(), ffi::Refusal> {
    let mut options = Options::default();
    options.push_text("fstype", &request.fstype);
    options.push_text("fspath", ".");
    options.push("ro", None);
    options.nmount(flags(request.flags) | libc::MNT_UPDATE)
}

fn describe(root: &Path, path: &Path, request: &MountRequest) -> String {
    let source = request.source.as_ref().map_or_else(|| request.fstype.clone(), |path| path.display().to_string());
    format!("mount {source} on {} ({})", root.join(path).display(), request.fstype)
}

/// What nmount(2) is given.
fn options(request: &MountRequest, target: &Path) -> Options {
    let mut options = Options::default();
    options.push_text("fstype", &request.fstype);
    options.push_text("fspath", target);
    let source = request.source.as_deref().unwrap_or(Path::new(&request.fstype));
    options.push_text("from", source);
    if request.fstype == "nullfs" {
        // Older kernels know it by this name alone.
        options.push_text("target", source);
    }
    if let Some(ruleset) = request.ruleset {
        options.push_text("ruleset", ruleset.to_string());
    }
    for (name, value) in &request.options {
        match value {
            Some(value) => options.push_text(name, value),
            None => options.push(name, None),
        }
    }
    options
}

/// Flags are understood by every file system, as options some refuse them. `nodev` is how FreeBSD is, and a nullfs never
/// has the mounts below it.
fn flags(flags: MountFlags) -> i32 {
    [
        (flags.read_only, libc::MNT_RDONLY),
        (flags.no_exec, libc::MNT_NOEXEC),
        (flags.no_suid, libc::MNT_NOSUID),
        (flags.no_atime, libc::MNT_NOATIME),
        (flags.no_symfollow, libc::MNT_NOSYMFOLLOW),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .sum()
}

/// What a bare number means here.
fn hint(errno: Errno, request: &MountRequest) -> Option<String> {
    match (errno, request.fstype.as_str()) {
        (Errno::EDEADLK, "nullfs") => Some("the source is mounted there already".into()),
        (Errno::ENODEV, fstype) => Some(format!("the kernel has no {fstype}: kldload {fstype} (see runj doctor)")),
        (Errno::EPERM, fstype) if ffi::sysctl_int(c"security.jail.jailed").is_ok_and(|jailed| jailed != 0) => {
            Some(format!("this is a jail that may not mount {fstype}: runj doctor says what it lacks"))
        }
        (Errno::ENOTDIR, "nullfs") if super::osreldate() < FILES_ON_FILES => {
            Some("a file is mounted on a file since FreeBSD 13.2; before, on a directory".into())
        }
        _ => None,
    }
}

fn unmount(id: &MountId) -> nix::Result<()> {
    let target = ffi::c_string(&id.0)?;
    for _ in 0..BUSY_TRIES {
        match ffi::unmount(&target, libc::MNT_BYFSID) {
            Err(Errno::EBUSY) => std::thread::sleep(BUSY_PAUSE),
            Err(Errno::ENOENT) => return Ok(()),
            other => return other,
        }
    }
    match ffi::unmount(&target, libc::MNT_BYFSID | libc::MNT_FORCE) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

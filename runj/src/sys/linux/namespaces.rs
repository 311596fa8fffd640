//! Going into the namespaces of a keeper, for good or for a visit.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use super::registry::{Jail, errno};
use super::{ffi, processes};

/// All namespaces of a jail that a process can enter; into that of processes one is born.
pub const ALL: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWNET);

/// Their names in /proc.
const SPACES: [(CloneFlags, &str); 4] = [
    (CloneFlags::CLONE_NEWNS, "mnt"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
    (CloneFlags::CLONE_NEWIPC, "ipc"),
    (CloneFlags::CLONE_NEWNET, "net"),
];

/// A descriptor of the keeper, which is certain to be the recorded process.
///
/// # Errors
/// `ESRCH` if it is gone.
pub fn keeper(jail: &Jail) -> Result<OwnedFd> {
    let process = ffi::pidfd_open(jail.keeper.pid)?;
    if processes::identity(jail.keeper.pid)? == Some(jail.keeper) { Ok(process) } else { Err(Errno::ESRCH) }
}

/// A descriptor of a process that the caller knows to live: its child.
pub fn process(pid: i32) -> Result<OwnedFd> {
    ffi::pidfd_open(pid)
}

/// The namespaces of a jail, opened for a process that goes into them for good.
#[derive(Debug)]
pub struct Entered {
    /// The jail; its registry may not be seen from inside.
    pub jail: Jail,
    mounts: File,
}

/// Takes the calling process into the namespaces of a jail. Goes by /proc, because the process may have been born
/// into the jail's process namespace, where the keeper has another pid.
///
/// # Errors
/// `EINVAL` for a jail that is gone.
pub fn enter(jail: Jail) -> Result<Entered> {
    let keeper = jail.keeper.pid;
    let open = |name: &str| {
        File::open(format!("/proc/{keeper}/ns/{name}")).or_else(|error| match errno(&error) {
            errno if processes::has_ended(keeper, errno)? => Err(Errno::EINVAL),
            errno => Err(errno),
        })
    };
    let others = SPACES[1..].iter().map(|(space, name)| Ok((open(name)?, *space))).collect::<Result<Vec<_>>>()?;
    let mounts = open("mnt")?;
    if processes::identity(jail.keeper.pid)? != Some(jail.keeper) {
        return Err(Errno::EINVAL);
    }
    others.into_iter().try_for_each(|(file, space)| setns(file, space))?;
    setns(&mounts, CloneFlags::CLONE_NEWNS)?;
    Ok(Entered { jail, mounts })
}

impl Entered {
    /// Does `work` while no other process changes the root of the mount namespace, entered again: whoever entered
    /// while another was changing it holds the old root.
    pub fn with_root_at_rest<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mounts = self.mounts.try_clone().map_err(|error| errno(&error))?;
        let lock = Flock::lock(mounts, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        setns(&*lock, CloneFlags::CLONE_NEWNS)?;
        work()
    }
}

/// The path at which the calling process, which is in the jail's mount namespace, sees the jail's root: `root`
/// until the first attach has made it `/`.
pub fn root_inside(jail: &Jail, root: &Path) -> Result<PathBuf> {
    let attached = ffi::mount_point(c"/")?.id != jail.old_root;
    Ok(if attached { PathBuf::from("/") } else { root.to_owned() })
}

/// What brings a visitor home: its own namespaces, root and working directory.
struct Home {
    spaces: Vec<(CloneFlags, File)>,
    root: OwnedFd,
    here: OwnedFd,
}

impl Home {
    fn remember(spaces: CloneFlags) -> Result<Self> {
        let spaces = SPACES
            .into_iter()
            .filter(|(space, _)| spaces.contains(*space))
            .map(|(space, name)| Ok((space, File::open(format!("/proc/self/ns/{name}")).map_err(|e| errno(&e))?)))
            .collect::<Result<_>>()?;
        let directory = |path: &str| open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        Ok(Self { spaces, root: directory("/")?, here: directory(".")? })
    }

    fn return_to(&self) -> Result<()> {
        for (space, file) in &self.spaces {
            setns(file, *space)?;
        }
        // Entering a mount namespace has set both to its root.
        nix::unistd::fchdir(&self.root)?;
        nix::unistd::chroot(".")?;
        nix::unistd::fchdir(&self.here)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(errno) = self.return_to() {
            // Whatever this process did next would happen in the wrong place.
            log::error!("return from the namespaces of a jail: {errno}");
            std::process::abort();
        }
    }
}

/// Does `work` inside some namespaces of the keeper, and comes back. Needs a process with one thread for the mount
/// namespace.
pub fn visit<T>(keeper: &OwnedFd, spaces: CloneFlags, work: impl FnOnce() -> T) -> Result<T> {
    let home = Home::remember(spaces)?;
    // If this fails nothing was entered; to return is harmless.
    setns(keeper, spaces)?;
    let result = work();
    drop(home);
    Ok(result)
}

/// Does `work` (a fork) while children are born into the keeper's process namespace.
pub fn with_children_inside<T>(keeper: &OwnedFd, work: impl FnOnce() -> T) -> Result<T> {
    let this = ffi::pidfd_open(processes::own_pid())?;
    setns(keeper, CloneFlags::CLONE_NEWPID)?;
    let result = work();
    setns(&this, CloneFlags::CLONE_NEWPID)?;
    Ok(result)
}

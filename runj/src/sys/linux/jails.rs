//! jail_set, jail_attach and jail_remove, emulated.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir, pivot_root};

use super::keeper::{Keeper, Task};
use super::params::{self, Refusal, Space, Wanted};
use super::registry::{Claim, Jail};
use super::{Host, capabilities, cgroup, cpuset, examine, ffi, filesystem, interfaces, namespaces, processes, usage};
use crate::id::Jid;
use crate::sys::examination::Examination;
use crate::sys::jail::{HostFacts, JailParams, JailView, System};
use crate::sys::limit::Limits;
use crate::sys::processors::Processors;
use crate::sys::usage::Usage;
use crate::sys::{Jails, Result, SysError, unix};

/// How long the processes of a jail may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

impl Host {
    fn create(&self, params: &JailParams) -> Result<Jid, Refusal> {
        let wanted = params::wanted(params)?;
        let parent = wanted.parent().map(|name| self.parent(name)).transpose()?;
        let path = std::fs::canonicalize(&wanted.path)
            .and_then(|path| if path.is_dir() { Ok(path) } else { Err(std::io::ErrorKind::NotADirectory.into()) })
            .map_err(|error| error.raw_os_error().map_or(Errno::ENOTDIR, Errno::from_raw))?;
        let claim = self.registry.claim(wanted.jid, wanted.name.as_deref())?;
        let made = self.make(&wanted, &claim, path, params, parent.as_ref());
        if made.is_err() {
            self.registry.remove(claim.jid, &claim.name)?;
        }
        made.map(|()| claim.jid)
    }

    /// The descriptor of the parent's keeper.
    fn parent(&self, name: &str) -> Result<OwnedFd, Refusal> {
        let unknown = || Refusal::new(Errno::ENOENT, format!("jail \"{name}\" not found"));
        let jail = self.registry.find(name)?.ok_or_else(unknown)?;
        namespaces::keeper(&jail).map_err(|_| unknown())
    }

    /// Starts the keeper, gives it its addresses, and records the jail.
    fn make(
        &self,
        wanted: &Wanted,
        claim: &Claim,
        path: PathBuf,
        params: &JailParams,
        parent: Option<&OwnedFd>,
    ) -> Result<(), Refusal> {
        let task = task(wanted, claim.jid, &path, parent)?;
        let keeper = Keeper::start(&task).map_err(|(step, errno)| {
            let message = if step == "process" { unix::no_process(errno) } else { format!("{step}: {}", errno.desc()) };
            Refusal::new(errno, message)
        })?;
        let identity = processes::identity(keeper.pid)?.ok_or(Errno::ESRCH)?;
        let addressed = wanted.net == Space::Own && !wanted.addresses.is_empty();
        if !wanted.addresses.is_empty() && !addressed {
            log::warn!("jail {}: its network is another's, where its addresses mean nothing", claim.name);
        }
        let veth = addressed.then(|| interfaces::give_addresses(keeper.pid, &wanted.addresses)).transpose()?;
        let jail = Jail {
            jid: claim.jid,
            name: claim.name.clone(),
            path,
            params: params.clone(),
            keeper: identity,
            boot: processes::boot_id()?,
            old_root: keeper.old_root,
            veth,
        };
        let kept = self.registry.save(&jail).and_then(|()| keeper.commit());
        if let (Err(_), Some(veth)) = (kept, &jail.veth) {
            let _ = interfaces::remove(veth);
        }
        Ok(kept?)
    }

    fn remove(&self, jail: &Jail) -> nix::Result<()> {
        for jid in self.registry.below(&jail.name)? {
            if let Some(child) = self.registry.load(jid)? {
                self.remove(&child)?;
            }
        }
        if self.registry.is_alive(jail)? {
            kill(jail)?;
        }
        if let Some(veth) = &jail.veth {
            interfaces::remove(veth)?;
        }
        self.registry.remove(jail.jid, &jail.name)
    }
}

/// What the keeper of a jail has to become.
fn task(wanted: &Wanted, jid: Jid, path: &Path, parent: Option<&OwnedFd>) -> Result<Task, Refusal> {
    let mut spaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let mut joined = Vec::new();
    let kinds = [
        (&wanted.uts, CloneFlags::CLONE_NEWUTS),
        (&wanted.ipc, CloneFlags::CLONE_NEWIPC),
        (&wanted.net, CloneFlags::CLONE_NEWNET),
    ];
    for (space, kind) in kinds {
        match (space, parent) {
            (Space::Own, _) => spaces |= kind,
            (Space::Joined(path), _) => {
                let file = std::fs::File::open(path).map_err(|error| {
                    let errno = super::registry::errno(&error);
                    Refusal::new(errno, format!("{}: {}", path.display(), errno.desc()))
                })?;
                joined.push((file.into(), kind));
            }
            (Space::Shared, Some(parent)) => {
                joined.push((parent.try_clone().map_err(|error| super::registry::errno(&error))?, kind));
            }
            (Space::Shared, None) => {}
        }
    }
    let names = (wanted.uts == Space::Own)
        .then(|| Ok::<_, Errno>((ffi::c_string(wanted.hostname.as_str())?, ffi::c_string(wanted.domainname.as_str())?)))
        .transpose()?;
    let root = (path != Path::new("/")).then(|| filesystem::c_path(path)).transpose()?;
    let title = CString::new(format!("runj: jail {jid}")).unwrap_or_default();
    Ok(Task { spaces, joined, root, names, title, arguments: processes::own_arguments()? })
}

/// Kills the keeper and with it every process of the jail; returns when none lives.
fn kill(jail: &Jail) -> nix::Result<()> {
    let Ok(keeper) = namespaces::keeper(jail) else { return Ok(()) };
    match ffi::pidfd_send_signal(&keeper, libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno),
    }
    let deadline = Instant::now() + PATIENCE;
    let mut pause = 1;
    // The keeper's death ends only when the parents of all its processes have reaped them, and some of these
    // parents are outside, the caller perhaps. So it counts as dead when only the dead are left.
    while !is_over(&keeper, jail.keeper.pid, pause)? {
        if Instant::now() > deadline {
            return Err(Errno::EBUSY);
        }
        pause = (pause * 2).min(50);
    }
    // If it is a child of this process (created and removed by one): the caller's other children are not touched.
    let _ = waitpid(Pid::from_raw(jail.keeper.pid), Some(WaitPidFlag::WNOHANG));
    Ok(())
}

/// Waits up to `pause` milliseconds for the keeper's end; else says whether nothing alive is left.
fn is_over(keeper: &OwnedFd, pid: i32, pause: u8) -> nix::Result<bool> {
    use std::os::fd::AsFd;
    let mut ends = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ends, PollTimeout::from(pause))? > 0 {
        return Ok(true);
    }
    // From here on no process can be born into the jail.
    Ok(processes::has_left_its_namespaces(pid) && processes::members(pid)?.is_empty())
}

/// Makes the jail's root the root of the calling process and, the first time, of its mount namespace.
fn take_root(jail: &Jail, root: &Path) -> nix::Result<()> {
    let inside = namespaces::root_inside(jail, root)?;
    if inside != Path::new("/") {
        chdir(&inside)?;
        pivot_root(".", ".")?;
        // The old root now lies on the new one; without it nothing of the host can be seen or kept busy.
        umount2(".", MntFlags::MNT_DETACH)?;
    }
    chdir("/")
}

impl Jails for Host {
    fn facts_of(&self, wanted: Option<&BTreeSet<String>>) -> Result<HostFacts> {
        let wanted = |name: &&str| wanted.is_none_or(|wanted| wanted.contains(*name));
        Ok(HostFacts {
            system: System::Linux,
            osreldate: 0,
            jail_params: params::known().filter(wanted).map(str::to_owned).collect(),
            racct: false,
            processors: Processors::default(),
        })
    }

    fn examine(&self) -> Result<Examination> {
        examine::examine()
    }

    fn accounts(&self) -> Result<bool> {
        Ok(cgroup::is_available())
    }

    fn processors(&self) -> Result<Processors> {
        cpuset::processors()
    }

    fn jail_create(&self, params: &JailParams) -> Result<Jid> {
        self.create(params).map_err(|refusal| {
            let operation = format!("create jail {}", params.text("name").unwrap_or_default());
            SysError::with_message(operation.trim_end(), refusal.errno, refusal.message)
        })
    }

    fn jail_find(&self, name: &str) -> Result<Option<JailView>> {
        self.registry
            .find(name)
            .map(|jail| jail.map(|jail| JailView { jid: jail.jid, path: jail.path }))
            .map_err(|errno| SysError::new(format!("find jail {name}"), errno))
    }

    fn jail_enter(&self, jid: Jid) -> Result<()> {
        let failed = |errno| SysError::new(format!("enter jail {jid}"), errno);
        let jail = self.registry.load(jid).and_then(|jail| jail.ok_or(Errno::EINVAL)).map_err(failed)?;
        let entered = namespaces::enter(jail).map_err(failed)?;
        self.entered.set(entered).map_err(|_| failed(Errno::EALREADY))
    }

    fn jail_attach(&self, jid: Jid, root: &Path) -> Result<()> {
        let failed = |errno| SysError::new(format!("attach to jail {jid}"), errno);
        let entered = self.entered.get().filter(|entered| entered.jail.jid == jid);
        let entered = entered.ok_or_else(|| failed(Errno::EINVAL))?;
        // Newer FreeBSD kernels refuse it, because it is a way out.
        if let Some(number) = ffi::directory_descriptor() {
            let message = format!("descriptor {number} is a directory");
            return Err(SysError::with_message(format!("attach to jail {jid}"), Errno::EPERM, message));
        }
        entered.with_root_at_rest(|| take_root(&entered.jail, root)).map_err(failed)?;
        capabilities::restrict(&capabilities::bounding_set(&entered.jail.params)).map_err(failed)
    }

    fn jail_remove(&self, jid: Jid) -> Result<()> {
        let failed = |errno| match errno {
            Errno::EBUSY => {
                let message = format!("processes did not die within {} seconds", PATIENCE.as_secs());
                SysError::with_message(format!("remove jail {jid}"), errno, message)
            }
            errno => SysError::new(format!("remove jail {jid}"), errno),
        };
        match self.registry.load(jid).map_err(failed)? {
            Some(jail) => self.remove(&jail).map_err(failed),
            None => Ok(()),
        }
    }

    fn limits_add(&self, _jail: &str, limits: &Limits) -> Result<()> {
        cgroup::add(limits)
    }

    fn limits_replace(&self, _jail: &str, old: &Limits, new: &Limits) -> Result<()> {
        cgroup::replace(old, new)
    }

    fn usage(&self, _jail: &str, limits: &Limits) -> Result<Usage> {
        usage::usage(limits)
    }

    fn limits_join(&self, limits: &Limits) -> Result<()> {
        cgroup::join(limits)
    }

    fn limits_missing(&self, limits: &Limits) -> Result<Vec<PathBuf>> {
        cgroup::missing(limits)
    }

    fn limits_remove(&self, _jail: &str, limits: &Limits, made: &[PathBuf]) -> Result<()> {
        cgroup::remove(limits, made)
    }
}

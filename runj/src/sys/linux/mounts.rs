//! Mounts of a jail, made in its own mount namespace, and of the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

use super::filesystem::{self, Refused, bind, make};
use super::{Host, devfs, ffi, namespaces, processes};
use crate::id::Jid;
use crate::sys::mount::{DeviceRule, MountFlags, MountId, MountRequest, Resolved, TargetKind};
use crate::sys::{Mounts, Result, SysError, beneath, unix};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What a type of FreeBSD is here.
enum Filesystem<'a> {
    Bind,
    Devfs,
    Descriptors,
    Cgroups,
    Native { fstype: &'a str, read_only: bool },
}

impl<'a> Filesystem<'a> {
    fn of(fstype: &'a str) -> Self {
        match fstype {
            "nullfs" | "bind" | "rbind" => Self::Bind,
            "devfs" => Self::Devfs,
            "fdescfs" => Self::Descriptors,
            "cgroup" | "cgroup2" => Self::Cgroups,
            "procfs" | "linprocfs" => Self::Native { fstype: "proc", read_only: false },
            "linsysfs" => Self::Native { fstype: "sysfs", read_only: true },
            fstype => Self::Native { fstype, read_only: false },
        }
    }
}

impl Host {
    /// Does `work` where the jail's mounts are (on the host without a jail), with the path of the root there.
    fn at_mounts<T>(&self, jid: Option<Jid>, root: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let Some(jid) = jid else { return work(root) };
        let failed = |errno| SysError::new(format!("jail {jid}: mount namespace"), errno);
        let (jail, keeper) = self.jail(jid)?;
        let inside = || work(&namespaces::root_inside(&jail, root).map_err(failed)?);
        namespaces::visit(&keeper, CloneFlags::CLONE_NEWNS, inside).map_err(failed)?
    }

    /// proc shows the process namespace of whoever mounts it, so a child that was born there does.
    fn mount_proc(&self, jid: Jid, root: &Path, path: &Path, request: &MountRequest) -> Result<(), Refused> {
        let (jail, keeper) = self.jail(jid).map_err(|error| Refused::from(error.errno))?;
        let mut child = || {
            let work = || {
                nix::sched::setns(&keeper, CloneFlags::CLONE_NEWNS)?;
                let root = namespaces::root_inside(&jail, root)?;
                attach(&native("proc", request, false)?, &root, path)
            };
            work().map_or_else(|refused: Refused| refused.errno as i32, |()| 0)
        };
        let child = namespaces::with_children_inside(&keeper, || unix::fork(&mut child))?;
        match processes::wait_status(child.map_err(|error| Refused::from(error.errno))?)? {
            0 => Ok(()),
            status => Err(Errno::from_raw(status).into()),
        }
    }

    /// Makes the mount outside (sources are paths of the host) or inside (what belongs to a namespace), and
    /// attaches it inside.
    fn mount_inside(
        &self,
        jid: Option<Jid>,
        root: &Path,
        path: &Path,
        request: &MountRequest,
    ) -> Result<Result<(), Refused>> {
        let inside = |work: &dyn Fn(&Path) -> Result<(), Refused>| self.at_mounts(jid, root, |root| Ok(work(root)));
        match (Filesystem::of(&request.fstype), jid) {
            (Filesystem::Bind, _) => {
                let source = request.source.as_deref().ok_or(Refused::from(Errno::EINVAL));
                match source.and_then(|source| bind(source, &request.flags)) {
                    Ok(mount) => inside(&|root| attach(&mount, root, path)),
                    Err(refused) => Ok(Err(refused)),
                }
            }
            (Filesystem::Devfs, _) => {
                let made = self.device_rules(request).map_err(Refused::from);
                match made.and_then(|rules| devfs::make(&rules, &request.flags)) {
                    Ok((mount, terminals)) => inside(&|root| {
                        attach(&mount, root, path)?;
                        if terminals { attach_terminals(&mount) } else { Ok(()) }
                    }),
                    Err(refused) => Ok(Err(refused)),
                }
            }
            (Filesystem::Descriptors, _) => inside(&|root| mount_descriptors(root, path)),
            (Filesystem::Cgroups, _) => {
                let flags = MountFlags { read_only: true, recursive: true, ..request.flags };
                match bind(Path::new(CGROUPS), &flags) {
                    Ok(mount) => inside(&|root| attach(&mount, root, path)),
                    Err(refused) => {
                        log::info!("{} is left out: {CGROUPS}: {}", path.display(), refused.errno.desc());
                        Ok(Ok(()))
                    }
                }
            }
            (Filesystem::Native { fstype: "proc", .. }, Some(jid)) => Ok(self.mount_proc(jid, root, path, request)),
            // These show the network or the IPC of whoever mounts them.
            (Filesystem::Native { fstype: fstype @ ("sysfs" | "mqueue"), read_only }, Some(jid)) => {
                let (jail, keeper) = self.jail(jid)?;
                let work = || {
                    let root = namespaces::root_inside(&jail, root)?;
                    attach(&native(fstype, request, read_only)?, &root, path)
                };
                let visit = namespaces::visit(&keeper, namespaces::ALL, work);
                Ok(visit.unwrap_or_else(|errno| Err(errno.into())))
            }
            (Filesystem::Native { fstype, read_only }, _) => inside(&|root| {
                let mount = native(fstype, request, read_only)?;
                if request.copy_up {
                    let target = beneath::open_with(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
                    let target = target.map_err(|error| Refused::from(error.errno))?;
                    filesystem::copy_up(target, &mount, &request.options)?;
                    let (set, clear) = filesystem::attributes(&request.flags);
                    ffi::set_mount_attributes(&mount, ffi::Depth::One, set, clear)?;
                }
                attach(&mount, root, path)
            }),
        }
    }

    /// The rules of this mount, else those of its ruleset.
    fn device_rules(&self, request: &MountRequest) -> nix::Result<Vec<DeviceRule>> {
        match request.ruleset {
            Some(number) if request.rules.is_empty() => {
                devfs::rules_of(&self.rulesets, &devfs::ruleset(&self.rulesets, number)?)
            }
            _ => devfs::rules_of(&self.rulesets, &request.rules),
        }
    }
}

/// A file system that this kernel knows.
fn native(fstype: &str, request: &MountRequest, read_only: bool) -> Result<OwnedFd, Refused> {
    let read_only = (read_only || request.flags.read_only) && !request.copy_up;
    let flags = MountFlags { read_only, ..request.flags };
    let source = request.source.as_deref().unwrap_or(Path::new(fstype));
    make(fstype, Some(source), &request.options, &flags)
}

/// Attaches a mount at the resolved path; a link that stands there by now is refused.
fn attach(mount: impl AsFd, root: &Path, path: &Path) -> Result<(), Refused> {
    let target = beneath::open_with(root, path, OFlag::O_PATH).map_err(|error| Refused::from(error.errno))?;
    Ok(ffi::move_mount(mount, target)?)
}

/// Terminals of the jail's own on the `pts` of its devfs.
fn attach_terminals(devfs: &OwnedFd) -> Result<(), Refused> {
    let options: Vec<_> = [("mode", Some("0620")), ("ptmxmode", Some("0666")), ("gid", Some("5"))]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
        .collect();
    let flags = MountFlags { no_suid: true, no_exec: true, ..MountFlags::default() };
    let mount = make("devpts", Some(Path::new("devpts")), &options, &flags)?;
    let target = openat(devfs, "pts", OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(ffi::move_mount(mount, target)?)
}

/// fdescfs: the link that the emulated devfs has shows the same; elsewhere a directory of links is mounted.
fn mount_descriptors(root: &Path, path: &Path) -> Result<(), Refused> {
    if is_descriptor_link(root, path) { Ok(()) } else { attach(devfs::make_descriptors()?, root, path) }
}

/// Whether a path, resolved but for its last component, is a link to the descriptors of whoever follows it.
fn is_descriptor_link(root: &Path, path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    beneath::open_with(root, parent, OFlag::O_PATH)
        .ok()
        .and_then(|parent| readlinkat(parent, name).ok())
        .is_some_and(|target| target == devfs::FD_LINK)
}

impl Mounts for Host {
    fn resolve(&self, jid: Option<Jid>, root: &Path, destination: &Path) -> Result<Resolved> {
        self.at_mounts(jid, root, |root| {
            // FreeBSD shows a directory where the emulation has a link to what is different for each process.
            let descriptors = Path::new("dev/fd");
            if destination == Path::new("/dev/fd") && is_descriptor_link(root, descriptors) {
                let kind = Some(TargetKind::Directory);
                return Ok(Resolved { path: descriptors.to_owned(), missing: 0, kind });
            }
            beneath::resolve(root, destination)
        })
    }

    fn create_target(&self, jid: Option<Jid>, root: &Path, path: &Path, kind: TargetKind) -> Result<()> {
        self.at_mounts(jid, root, |root| beneath::create(root, path, kind))
    }

    fn remove_target(&self, root: &Path, path: &Path, count: usize, kind: TargetKind) -> Result<()> {
        beneath::remove(root, path, count, kind)
    }

    fn mount(&self, jid: Option<Jid>, root: &Path, path: &Path, request: &MountRequest) -> Result<()> {
        self.mount_inside(jid, root, path, request)?.map_err(|refused| {
            let on = root.join(path);
            let what = request.source.as_deref().map(|source| format!("{} on ", source.display())).unwrap_or_default();
            let operation = format!("mount {what}{} ({})", on.display(), request.fstype);
            if refused.words.is_empty() {
                SysError::new(operation, refused.errno)
            } else {
                SysError::with_message(operation, refused.errno, format!("{}: {}", refused.errno.desc(), refused.words))
            }
        })
    }

    fn mount_id(&self, path: &Path) -> Result<Option<MountId>> {
        match filesystem::c_path(path).and_then(|path| ffi::mount_point(&path)) {
            Ok(point) => Ok(point.is_root.then(|| MountId(point.id.to_string()))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(SysError::new(format!("mount on {}", path.display()), errno)),
        }
    }

    fn unmount(&self, path: &Path, before: Option<&MountId>) -> Result<()> {
        loop {
            match self.mount_id(path)? {
                Some(id) if Some(&id) != before => {}
                _ => return Ok(()),
            }
            // Detached, so that a process that still looks at it (a scanner of disks) holds nothing up.
            match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
                Err(errno) => return Err(SysError::new(format!("unmount {}", path.display()), errno)),
            }
        }
    }

    fn unmount_inner(&self, _jid: Jid) -> Result<()> {
        Ok(())
    }

    fn ruleset_exists(&self, number: u16) -> Result<bool> {
        if devfs::OWN_RULESETS.contains(&number) {
            return Ok(true);
        }
        devfs::ruleset(&self.rulesets, number)
            .map(|rules| !rules.is_empty())
            .map_err(|errno| SysError::new(format!("devfs ruleset {number}"), errno))
    }

    fn ruleset_add(&self, number: u16, rules: &[DeviceRule]) -> Result<()> {
        devfs::ruleset_add(&self.rulesets, number, rules)
            .map_err(|errno| SysError::new(format!("devfs ruleset {number}: add"), errno))
    }

    fn ruleset_remove(&self, number: u16) -> Result<()> {
        devfs::ruleset_remove(&self.rulesets, number)
            .map_err(|errno| SysError::new(format!("devfs ruleset {number}: remove"), errno))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    use nix::sys::stat::fstat;
    use proptest::prelude::*;

    use super::*;

    type Found = (libc::dev_t, libc::ino_t);

    /// What the kernel finds when it resolves a path as after chroot(2).
    fn kernel(root: &Path, path: &str) -> nix::Result<Found> {
        let root = std::fs::File::open(root).unwrap();
        let how = OpenHow::new().flags(OFlag::O_PATH).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        // openat2(2): anything that is renamed or mounted on the machine meanwhile may make it give up at a `..`.
        let found = loop {
            match openat2(&root, path, how) {
                Err(Errno::EAGAIN) => {}
                other => break other?,
            }
        };
        fstat(found).map(|status| (status.st_dev, status.st_ino))
    }

    fn ours(root: &Path, path: &str) -> Result<Option<Found>> {
        let at = beneath::resolve(root, Path::new(path))?;
        let open = || beneath::open_with(root, &at.path, OFlag::O_PATH);
        let status = at.kind.map(|_| fstat(open().unwrap()).unwrap());
        Ok(status.map(|status| (status.st_dev, status.st_ino)))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn resolves_as_the_kernel_does(
            links in proptest::collection::vec(("[ab](/[abx]){0,1}", "/?(\\.\\./){0,2}[abx](/([abx]|\\.\\.)){0,2}"), 0..6),
            path in "/?([abx]|\\.\\.)(/([abx]|\\.\\.)){0,5}",
        ) {
            let top = tempfile::tempdir().unwrap();
            let root = top.path().canonicalize().unwrap();
            for directory in ["a/b", "b/x"] {
                std::fs::create_dir_all(root.join(directory)).unwrap();
            }
            std::fs::write(root.join("a/x"), "").unwrap();
            for (link, target) in &links {
                let _ = std::fs::remove_dir(root.join(link)).or_else(|_| std::fs::remove_file(root.join(link)));
                let _ = symlink(target, root.join(link));
            }
            match kernel(&root, &path) {
                Ok(found) => prop_assert_eq!(ours(&root, &path).unwrap(), Some(found)),
                // The kernel finds nothing where a missing name is taken back by `..`.
                Err(Errno::ENOENT) => {}
                Err(errno) => prop_assert_eq!(ours(&root, &path).unwrap_err().errno, errno),
            }
        }
    }
}

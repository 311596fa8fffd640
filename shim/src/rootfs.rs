//! The root file system of a container: mounted before it is created, unmounted when it is deleted.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::proto::mount::Mount;
use crate::sys::{self, MountRequest};

/// How often a mount in use is tried before it is taken away, and how long in between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// What containerd has mounted on `BUNDLE/rootfs`, or below it, in order.
pub struct Rootfs(Vec<(MountRequest, PathBuf)>);

impl Rootfs {
    /// Reads the request.
    pub fn new(bundle: &Path, mounts: &[Mount]) -> Result<Self> {
        let one = |mount: &Mount| {
            let below = Path::new(&mount.target);
            let sound = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            if !sound {
                return Err(Error::invalid(format!("rootfs mount target {}: must lie in the rootfs", mount.target)));
            }
            let request = MountRequest {
                fstype: mount.type_.clone(),
                source: mount.source.clone(),
                options: mount.options.clone(),
            };
            Ok((request, directory(bundle).join(below)))
        };
        mounts.iter().map(one).collect::<Result<_>>().map(Self)
    }

    /// Mounts all, or nothing.
    pub async fn mount(&self) -> Result<()> {
        for (index, (request, target)) in self.0.iter().enumerate() {
            let mounted = std::fs::create_dir_all(target)
                .map_err(|error| format!("{}: {error}", target.display()))
                .and_then(|()| sys::mount(request, target));
            if let Err(text) = mounted {
                let made = self.0[..index].iter().map(|(_, target)| target.as_path());
                if let Err(error) = unmount_all(made.rev()).await {
                    log::error!("{error}");
                }
                return Err(Error::unknown(text));
            }
        }
        Ok(())
    }

    /// Unmounts all that [`Self::mount`] has mounted, in reverse.
    pub async fn unmount(&self) -> Result<()> {
        unmount_all(self.0.iter().rev().map(|(_, target)| target.as_path())).await
    }

    /// Where it mounts, in order.
    pub fn targets(&self) -> Vec<PathBuf> {
        self.0.iter().map(|(_, target)| target.clone()).collect()
    }
}

/// `BUNDLE/rootfs`.
pub fn directory(bundle: &Path) -> PathBuf {
    bundle.join("rootfs")
}

/// Unmounts these directories in this order; what is not mounted is none. All are tried, the first error is reported.
pub async fn unmount_all(targets: impl Iterator<Item = &Path>) -> Result<()> {
    let mut outcome = Ok(());
    for target in targets {
        let one = unmount(target).await;
        outcome =
            outcome.and(one.map_err(|errno| Error::unknown(format!("unmount {}: {}", target.display(), errno.desc()))));
    }
    outcome
}

async fn unmount(target: &Path) -> nix::Result<()> {
    for _ in 0..TRIES {
        match sys::unmount(target) {
            Ok(()) => return Ok(()),
            // Nothing is mounted there, or nothing is there at all.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) => tokio::time::sleep(PAUSE).await,
            Err(errno) => return Err(errno),
        }
    }
    log::warn!("{}: still in use, taken away", target.display());
    sys::unmount_now(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_in_the_rootfs() {
        let mount = |target: &str| Mount { target: target.to_owned(), ..Default::default() };
        let targets = Rootfs::new(Path::new("/b"), &[mount(""), mount("a/b")]).unwrap().targets();
        assert_eq!(targets, [Path::new("/b/rootfs/"), Path::new("/b/rootfs/a/b")]);
        for target in ["../x", "a/../../b", "/etc"] {
            assert!(Rootfs::new(Path::new("/b"), &[mount(target)]).is_err(), "{target}");
        }
    }
}

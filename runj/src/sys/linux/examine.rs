//! What `doctor` asks the machine. What may be tried without a trace is tried.

use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, getpid};

use super::netlink::Socket;
use super::{cgroup, ffi};
use crate::sys::examination::{Examination, Linux};
use crate::sys::{Result, SysError, unix};

/// What jails are made of, by its name in `/proc/self/ns`.
const NAMESPACES: [(&str, &str); 5] =
    [("pid", "processes"), ("mnt", "mounts"), ("uts", "host names"), ("ipc", "System V IPC"), ("net", "networks")];

pub(super) fn examine() -> Result<Examination> {
    let release = nix::sys::utsname::uname().map_err(|errno| SysError::new("uname", errno))?;
    let is_missing = |name: &str| !Path::new("/proc/self/ns").join(name).exists();
    let root = geteuid().is_root();
    Ok(Examination::Linux(Linux {
        release: release.release().to_string_lossy().into_owned(),
        missing_namespaces: NAMESPACES.iter().filter(|(name, _)| is_missing(name)).map(|(_, what)| *what).collect(),
        cgroups: cgroup::examine(),
        overlay: root.then(|| ffi::fsopen(c"overlay").is_ok()),
        pairs: if root { Some(can_make_pairs()?) } else { None },
    }))
}

/// Tries it in a network that ends with the child.
fn can_make_pairs() -> Result<bool> {
    let mut child = || {
        let tried = unshare(CloneFlags::CLONE_NEWNET)
            .and_then(|()| Socket::new())
            .and_then(|socket| socket.create_pair("doctor0", "doctor1", getpid().as_raw()));
        i32::from(tried.is_err())
    };
    let pid = unix::fork(&mut child)?;
    match waitpid(Pid::from_raw(pid), None) {
        Ok(WaitStatus::Exited(_, code)) => Ok(code == 0),
        Ok(_) => Ok(false),
        Err(errno) => Err(SysError::new("wait for a child", errno)),
    }
}

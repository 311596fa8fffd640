//! FreeBSD: mounts by nmount(2), orphans by `PROC_REAP_ACQUIRE`.

use std::path::Path;

use nix::mount::{MntFlags, Nmount};

use super::{MountRequest, ffi};

/// Where containerd keeps what lives until the next boot.
pub const STATE_DIRECTORY: &str = "/var/run/containerd";

/// Whether the kernel tells how many processes it killed because memory was short.
pub const COUNTS_MEMORY_KILLS: bool = false;

/// How often a mount is tried that the kernel refuses to avoid a deadlock with another one (`EDEADLK`).
const TRIES: u32 = 5;

/// Makes this process the parent of all orphans below it.
pub fn become_reaper() -> nix::Result<()> {
    ffi::acquire_reaper()
}

/// Mounts on a directory.
///
/// # Errors
///
/// A text that names the mount and the kernel's reason.
pub fn mount(request: &MountRequest, target: &Path) -> Result<(), String> {
    let fstype = if matches!(request.fstype.as_str(), "bind" | "none" | "") { "nullfs" } else { &request.fstype };
    let mut tries = 0;
    loop {
        let (flags, options) = parse(&request.options);
        let mut call = Nmount::new();
        call.str_opt_owned("fstype", fstype).str_opt_owned("fspath", target);
        // nullfs calls it target, all others from.
        call.str_opt_owned(if fstype == "nullfs" { "target" } else { "from" }, request.source.as_str());
        for (name, value) in options {
            match value {
                Some(value) => call.str_opt_owned(name, value),
                None => call.null_opt_owned(name),
            };
        }
        let Err(error) = call.nmount(flags) else { return Ok(()) };
        tries += 1;
        if error.error() != nix::errno::Errno::EDEADLK || tries == TRIES {
            let said = error.errmsg().map(|text| format!(" ({text})")).unwrap_or_default();
            let errno = error.error().desc();
            return Err(format!("mount {} on {} ({fstype}): {errno}{said}", request.source, target.display()));
        }
    }
}

/// Unmounts; `EINVAL` where nothing is mounted.
pub fn unmount(target: &Path) -> nix::Result<()> {
    nix::mount::unmount(target, MntFlags::empty())
}

/// Unmounts what is still in use.
pub fn unmount_now(target: &Path) -> nix::Result<()> {
    nix::mount::unmount(target, MntFlags::MNT_FORCE)
}

/// Options as mount(8) reads them: flags, and what the file system itself has to understand.
fn parse(options: &[String]) -> (MntFlags, Vec<(&str, Option<&str>)>) {
    let mut flags = MntFlags::empty();
    let mut rest = Vec::new();
    for option in options {
        match option.as_str() {
            "rw" => flags.remove(MntFlags::MNT_RDONLY),
            "ro" => flags.insert(MntFlags::MNT_RDONLY),
            "nosuid" => flags.insert(MntFlags::MNT_NOSUID),
            "noexec" => flags.insert(MntFlags::MNT_NOEXEC),
            "noatime" => flags.insert(MntFlags::MNT_NOATIME),
            "union" => flags.insert(MntFlags::MNT_UNION),
            // A nullfs mount is what Linux calls a bind mount; it has neither propagation nor nodev.
            "bind" | "rbind" | "private" | "rprivate" | "nodev" | "defaults" | "" => {}
            other => rest.push(other.split_once('=').map_or((other, None), |(name, value)| (name, Some(value)))),
        }
    }
    (flags, rest)
}

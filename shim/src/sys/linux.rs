//! Linux: mounts by mount(2), orphans by `PR_SET_CHILD_SUBREAPER`.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::MountRequest;

/// Where containerd keeps what lives until the next boot.
pub const STATE_DIRECTORY: &str = "/run/containerd";

/// Whether the kernel tells how many processes it killed because memory was short.
pub const COUNTS_MEMORY_KILLS: bool = true;

/// The longest text of options that the kernel takes: a page with its NUL.
const MAX_DATA: usize = 4095;

/// Makes this process the parent of all orphans below it.
pub fn become_reaper() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// Mounts on a directory.
///
/// # Errors
///
/// A text that names the mount and the kernel's reason.
pub fn mount(request: &MountRequest, target: &Path) -> Result<(), String> {
    let (flags, data) = parse(&request.options);
    let bind = flags.contains(MsFlags::MS_BIND) || request.fstype == "bind";
    let flags = if bind { flags | MsFlags::MS_BIND } else { flags };
    let call = |flags: MsFlags, data: &str| {
        let data = Some(data).filter(|data| !data.is_empty());
        nix::mount::mount(Some(request.source.as_str()), target, Some(request.fstype.as_str()), flags, data)
    };
    let failed = |errno: Errno| {
        format!("mount {} on {} ({}): {}", request.source, target.display(), request.fstype, errno.desc())
    };
    if data.len() > MAX_DATA {
        return Err(format!("{}: the options are longer than the kernel's {MAX_DATA} bytes", failed(Errno::E2BIG)));
    }
    // A bind mount takes its other flags only when it is mounted again.
    let propagation = flags & (MsFlags::MS_PRIVATE | MsFlags::MS_SLAVE | MsFlags::MS_SHARED | MsFlags::MS_UNBINDABLE);
    let rest = flags - propagation;
    let first = if bind { rest & (MsFlags::MS_BIND | MsFlags::MS_REC) } else { rest };
    call(first, &data).map_err(failed)?;
    let again = if bind && rest != first { call(rest | MsFlags::MS_REMOUNT, &data) } else { Ok(()) };
    let shared = if propagation.is_empty() { Ok(()) } else { call(propagation | (flags & MsFlags::MS_REC), "") };
    again.and(shared).map_err(|errno| {
        let _ = unmount_now(target);
        failed(errno)
    })
}

/// Unmounts; `EINVAL` where nothing is mounted.
pub fn unmount(target: &Path) -> nix::Result<()> {
    umount2(target, MntFlags::UMOUNT_NOFOLLOW)
}

/// Unmounts what is still in use.
pub fn unmount_now(target: &Path) -> nix::Result<()> {
    umount2(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
}

/// Options as mount(8) reads them: flags, and what the file system itself has to understand.
fn parse(options: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match option.as_str() {
            "rw" => flags.remove(MsFlags::MS_RDONLY),
            "suid" => flags.remove(MsFlags::MS_NOSUID),
            "dev" => flags.remove(MsFlags::MS_NODEV),
            "exec" => flags.remove(MsFlags::MS_NOEXEC),
            "atime" => flags.remove(MsFlags::MS_NOATIME),
            "ro" => flags.insert(MsFlags::MS_RDONLY),
            "nosuid" => flags.insert(MsFlags::MS_NOSUID),
            "nodev" => flags.insert(MsFlags::MS_NODEV),
            "noexec" => flags.insert(MsFlags::MS_NOEXEC),
            "noatime" => flags.insert(MsFlags::MS_NOATIME),
            "nodiratime" => flags.insert(MsFlags::MS_NODIRATIME),
            "relatime" => flags.insert(MsFlags::MS_RELATIME),
            "strictatime" => flags.insert(MsFlags::MS_STRICTATIME),
            "sync" => flags.insert(MsFlags::MS_SYNCHRONOUS),
            "dirsync" => flags.insert(MsFlags::MS_DIRSYNC),
            "bind" => flags.insert(MsFlags::MS_BIND),
            "rbind" => flags.insert(MsFlags::MS_BIND | MsFlags::MS_REC),
            "private" => flags.insert(MsFlags::MS_PRIVATE),
            "rprivate" => flags.insert(MsFlags::MS_PRIVATE | MsFlags::MS_REC),
            "slave" => flags.insert(MsFlags::MS_SLAVE),
            "rslave" => flags.insert(MsFlags::MS_SLAVE | MsFlags::MS_REC),
            "shared" => flags.insert(MsFlags::MS_SHARED),
            "rshared" => flags.insert(MsFlags::MS_SHARED | MsFlags::MS_REC),
            "defaults" | "" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_what_the_file_system_reads() {
        let options = ["ro", "nosuid", "lowerdir=/a:/b", "rw", "rbind", "index=off"].map(str::to_owned);
        let (flags, data) = parse(&options);
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_BIND | MsFlags::MS_REC);
        assert_eq!(data, "lowerdir=/a:/b,index=off");
    }
}

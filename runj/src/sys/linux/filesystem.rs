//! Detached mounts: a file system that is made and filled before anyone sees it, then attached where it belongs.
//!
//! A destination is a descriptor, so neither a link nor a change of the tree can lead a mount astray.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::ffi::{self, Depth, attribute, c_string};
use crate::sys::copy;
use crate::sys::mount::MountFlags;

/// Why a mount was refused: the number, and the kernel's words where it gave any.
#[derive(Debug)]
pub struct Refused {
    /// The number.
    pub errno: Errno,
    /// The words, else empty.
    pub words: String,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self { errno, words: String::new() }
    }
}

/// The attributes that flags set and clear.
pub fn attributes(flags: &MountFlags) -> (u64, u64) {
    let table = [
        (flags.read_only, attribute::READ_ONLY),
        (flags.no_exec, attribute::NO_EXEC),
        (flags.no_suid, attribute::NO_SUID),
        (flags.no_dev, attribute::NO_DEV),
        (flags.no_atime, attribute::NO_ACCESS_TIME),
        (flags.no_symfollow, attribute::NO_SYMFOLLOW),
    ];
    let set = table.into_iter().filter(|(on, _)| *on).fold(0, |set, (_, bit)| set | bit);
    (set, if flags.no_atime { attribute::ACCESS_TIME } else { 0 })
}

/// A new file system of a type that the kernel knows, as a detached mount.
pub fn make(
    fstype: &str,
    source: Option<&Path>,
    options: &[(String, Option<String>)],
    flags: &MountFlags,
) -> Result<OwnedFd, Refused> {
    let context = ffi::fsopen(&c_string(fstype)?)?;
    let refused = |errno| Refused { errno, words: kernel_words(&context) };
    if let Some(source) = source {
        ffi::fsconfig(&context, c"source", Some(&c_path(source)?)).map_err(refused)?;
    }
    for (key, value) in options {
        let value = value.as_deref().map(c_string).transpose()?;
        ffi::fsconfig(&context, &c_string(key.as_str())?, value.as_deref()).map_err(refused)?;
    }
    ffi::fsmount(&context, attributes(flags).0).map_err(refused)
}

/// A copy of what a path shows, as a detached mount.
pub fn bind(source: &Path, flags: &MountFlags) -> Result<OwnedFd, Refused> {
    let depth = if flags.recursive { Depth::Tree } else { Depth::One };
    let mount = ffi::open_tree(&c_path(source)?, depth)?;
    let (set, clear) = attributes(flags);
    ffi::set_mount_attributes(&mount, depth, set, clear)?;
    Ok(mount)
}

/// What the kernel says of a refusal (each message begins with its severity: `e tmpfs: Unknown parameter 'x'`).
fn kernel_words(context: &OwnedFd) -> String {
    let Ok(mut file) = context.try_clone().map(File::from) else { return String::new() };
    let mut words = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..length]);
        words.push(message.trim_start_matches(['e', 'w', 'i']).trim().to_owned());
    }
    words.join(", ")
}

/// A path as the kernel takes it.
pub fn c_path(path: &Path) -> nix::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

/// Fills a new file system with what a directory holds, and gives its root the directory's owner and mode where its
/// options name none, as tmpfs(5) of FreeBSD does.
pub fn copy_up(from: OwnedFd, to: &OwnedFd, options: &[(String, Option<String>)]) -> nix::Result<()> {
    let unnamed = |name: &str| options.iter().all(|(key, _)| key != name);
    let status = fstat(&from)?;
    let to = openat(to, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let uid = unnamed("uid").then(|| Uid::from_raw(status.st_uid));
    fchown(&to, uid, unnamed("gid").then(|| Gid::from_raw(status.st_gid)))?;
    if unnamed("mode") {
        fchmod(&to, Mode::from_bits_truncate(status.st_mode))?;
    }
    copy::tree(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_attributes() {
        let flags = MountFlags { read_only: true, no_exec: true, no_atime: true, ..MountFlags::default() };
        assert_eq!(attributes(&flags), (0x19, 0x70));
        assert_eq!(attributes(&MountFlags::default()), (0, 0));
    }
}

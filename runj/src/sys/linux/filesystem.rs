//! Detached mounts: a file system that is made and filled before anyone sees it, then attached where it belongs.
//!
//! A destination is a descriptor, so neither a link nor a change of the tree can lead a mount astray.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use super::ffi::{self, Depth, attribute, c_string};
use super::registry::errno;
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

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Copies all that a directory holds (with owners, modes, links and nodes, not with times) into another, which
/// nobody else sees yet.
pub fn copy_tree(from: impl AsFd, to: impl AsFd) -> nix::Result<()> {
    let status = fstat(&from)?;
    fchown(&to, Some(Uid::from_raw(status.st_uid)), Some(Gid::from_raw(status.st_gid)))?;
    fchmod(&to, permissions(&status))?;
    let mut entries = Dir::from_fd(openat(&from, ".", directory_flags(), Mode::empty())?)?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            copy_entry(&from, &to, name)?;
        }
    }
    Ok(())
}

fn copy_entry(from: impl AsFd, to: impl AsFd, name: &OsStr) -> nix::Result<()> {
    let status = fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => {
            mkdirat(&to, name, Mode::S_IRWXU)?;
            let open = |parent: &dyn AsDescriptor| openat(parent.descriptor(), name, directory_flags(), Mode::empty());
            return copy_tree(open(&from)?, open(&to)?);
        }
        SFlag::S_IFREG => copy_file(&from, &to, name)?,
        SFlag::S_IFLNK => symlinkat(readlinkat(&from, name)?.as_os_str(), &to, name)?,
        // A socket's node is of no use to anyone.
        SFlag::S_IFSOCK => return Ok(()),
        kind => mknodat(&to, name, kind, Mode::empty(), status.st_rdev)?,
    }
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    fchownat(&to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        fchmodat(&to, name, permissions(&status), FchmodatFlags::FollowSymlink)?;
    }
    Ok(())
}

/// Lets one closure serve two types of descriptor.
trait AsDescriptor {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsDescriptor for T {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

fn copy_file(from: impl AsFd, to: impl AsFd, name: &OsStr) -> nix::Result<()> {
    let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mut source = File::from(openat(from, name, read, Mode::empty())?);
    let mut target = File::from(openat(to, name, write, Mode::S_IRUSR | Mode::S_IWUSR)?);
    std::io::copy(&mut source, &mut target).map(drop).map_err(|error| errno(&error))
}

fn permissions(status: &FileStat) -> Mode {
    Mode::from_bits_truncate(status.st_mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn flags_are_attributes() {
        let flags = MountFlags { read_only: true, no_exec: true, no_atime: true, ..MountFlags::default() };
        assert_eq!(attributes(&flags), (0x19, 0x70));
        assert_eq!(attributes(&MountFlags::default()), (0, 0));
    }

    #[test]
    fn a_tree_is_copied_whole() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("from"), top.path().join("to"));
        fs_err::create_dir_all(from.join("a/b")).unwrap();
        fs_err::create_dir(&to).unwrap();
        fs_err::write(from.join("a/file"), "text").unwrap();
        fs_err::set_permissions(from.join("a/file"), PermissionsExt::from_mode(0o4750)).unwrap();
        symlink("../../../etc/passwd", from.join("a/b/link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        copy_tree(File::open(&from).unwrap(), File::open(&to).unwrap()).unwrap();
        assert_eq!(fs_err::read_to_string(to.join("a/file")).unwrap(), "text");
        assert_eq!(fs_err::metadata(to.join("a/file")).unwrap().permissions().mode() & 0o7777, 0o4750);
        assert_eq!(fs_err::read_link(to.join("a/b/link")).unwrap(), Path::new("../../../etc/passwd"));
        assert!(to.join("fifo").exists());
    }
}

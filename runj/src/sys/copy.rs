//! Copies a directory's content into another, both given as descriptors; follows no link.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

/// How deep a tree may be: each level holds two descriptors.
const MAX_DEPTH: usize = 256;

/// Copies directories, regular files and links with their owners and modes. Other things (sockets, devices) are left
/// out; what exists at the destination is an error.
pub fn tree(from: OwnedFd, to: OwnedFd) -> nix::Result<()> {
    directory(from, &to, MAX_DEPTH)
}

fn directory(from: OwnedFd, to: &OwnedFd, depth: usize) -> nix::Result<()> {
    let deeper = depth.checked_sub(1).ok_or(Errno::ENAMETOOLONG)?;
    let mut entries = Dir::from_fd(from.try_clone().map_err(number)?)?;
    for entry in entries.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            one(&from, to, entry.file_name(), deeper)?;
        }
    }
    Ok(())
}

fn one(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> nix::Result<()> {
    let status = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let (uid, gid) = (Some(Uid::from_raw(status.st_uid)), Some(Gid::from_raw(status.st_gid)));
    match kind(&status) {
        SFlag::S_IFDIR => {
            let source = open_directory(from, name)?;
            mkdirat(to, name, Mode::S_IRWXU)?;
            let copy = open_directory(to, name)?;
            directory(source, &copy, depth)?;
            fchown(&copy, uid, gid)?;
            fchmod(&copy, mode(&status))
        }
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let source = openat(from, name, flags, Mode::empty())?;
            // What was a file a moment ago may be anything by now.
            if kind(&fstat(&source)?) != SFlag::S_IFREG {
                return Ok(());
            }
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut copy = File::from(openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
            std::io::copy(&mut File::from(source), &mut copy).map_err(number)?;
            fchown(&copy, uid, gid)?;
            fchmod(&copy, mode(&status))
        }
        SFlag::S_IFLNK => {
            let target = readlinkat(from, name)?;
            symlinkat(target.as_os_str(), to, name)?;
            fchownat(to, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
        }
        _ => Ok(()),
    }
}

fn open_directory(parent: impl AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

fn mode(status: &FileStat) -> Mode {
    Mode::from_bits_truncate(status.st_mode & 0o7777)
}

fn number(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        fs_err::File::open(path).unwrap().into_parts().0.into()
    }

    #[test]
    fn copies_what_it_can_and_follows_no_link() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("from"), top.path().join("to"));
        fs_err::create_dir_all(from.join("a/b")).unwrap();
        fs_err::create_dir(&to).unwrap();
        fs_err::write(from.join("a/b/file"), "x".repeat(100_000)).unwrap();
        fs_err::set_permissions(from.join("a/b/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        fs_err::set_permissions(from.join("a/b"), PermissionsExt::from_mode(0o1777)).unwrap();
        symlink("/nowhere", from.join("a/link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), Mode::S_IRWXU).unwrap();

        tree(open(&from), open(&to)).unwrap();

        assert_eq!(fs_err::read(to.join("a/b/file")).unwrap().len(), 100_000);
        assert_eq!(fs_err::metadata(to.join("a/b/file")).unwrap().mode() & 0o7777, 0o4751);
        assert_eq!(fs_err::metadata(to.join("a/b")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs_err::read_link(to.join("a/link")).unwrap(), Path::new("/nowhere"));
        assert!(!to.join("fifo").exists());
        assert_eq!(tree(open(&from), open(&to)), Err(Errno::EEXIST));
    }

    #[test]
    fn a_tree_without_end_is_refused() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("from"), top.path().join("to"));
        fs_err::create_dir_all(from.join("d/".repeat(MAX_DEPTH))).unwrap();
        fs_err::create_dir(&to).unwrap();
        assert_eq!(tree(open(&from), open(&to)), Err(Errno::ENAMETOOLONG));
    }
}

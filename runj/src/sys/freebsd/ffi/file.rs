//! File flags.

use std::ffi::{CString, OsStr, c_char, c_int, c_ulong};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

unsafe extern "C" {
    fn chflagsat(fd: c_int, path: *const c_char, flags: c_ulong, atflag: c_int) -> c_int;
}

/// chflagsat(2) that follows no link.
pub fn set_file_flags(directory: BorrowedFd<'_>, name: &OsStr, flags: u32) -> nix::Result<()> {
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the name is a C string that lives through the call; the rest are numbers.
    let result = unsafe { chflagsat(directory.as_raw_fd(), name.as_ptr(), flags.into(), libc::AT_SYMLINK_NOFOLLOW) };
    Errno::result(result).map(drop)
}

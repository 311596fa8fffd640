//! What std does for a program before its main function, as far as runj needs it.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use super::unix::{BrokenPipes, set_broken_pipes};

/// The arguments, the program's name first.
///
/// # Safety
///
/// `argv` holds `argc` strings that end with NUL.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let words = 0..usize::try_from(argc).unwrap_or_default();
    // SAFETY: the caller vouches for the array and the strings.
    words.map(|index| OsStr::from_bytes(unsafe { CStr::from_ptr(*argv.add(index)) }.to_bytes()).to_owned()).collect()
}

/// Opens those of the three standard descriptors that the caller has closed, or the next file that is opened would
/// be taken for one; and turns what a closed pipe does into an error.
pub fn prepare() {
    for fd in 0..=2 {
        // SAFETY: asks for flags; the path is a string. open(2) takes the lowest descriptor that is free.
        let stays_closed =
            unsafe { libc::fcntl(fd, libc::F_GETFD) == -1 && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != fd };
        if stays_closed {
            std::process::abort();
        }
    }
    set_broken_pipes(BrokenPipes::AreErrors);
}

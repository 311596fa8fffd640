//! Starting programs. std's `Command` is not used: it crashes in a static FreeBSD program.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use super::ffi;

/// Above every number that a program is given.
const ABOVE: RawFd = 16;

/// Where the new program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// In the process group of the shim.
    Same,
    /// In a process group of its own.
    Own,
}

/// Starts a program; `fds` become its descriptors 0, 1, 2, …, all others are closed. `env` is added to the shim's
/// environment. Signals are as at a program's start. The child is reaped by [`crate::reaper`].
pub fn spawn(
    program: &Path,
    args: &[&[u8]],
    env: &[(&str, &[u8])],
    fds: &[BorrowedFd<'_>],
    group: Group,
) -> nix::Result<Pid> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let mut argv = vec![text(program.as_os_str().as_bytes())?];
    argv.extend(args.iter().map(|arg| text(arg)).collect::<Result<Vec<_>, _>>()?);
    let prefixes: Vec<Vec<u8>> = env.iter().map(|(name, _)| [name.as_bytes(), b"="].concat()).collect();
    let mut environment = ffi::environment();
    environment.retain(|entry| !prefixes.iter().any(|prefix| entry.to_bytes().starts_with(prefix)));
    for (prefix, (_, value)) in prefixes.iter().zip(env) {
        environment.push(text(&[prefix, *value].concat())?);
    }
    // Copies with high numbers, so that no dup2 overwrites the source of a later one.
    let copies = fds.iter().map(|fd| ffi::duplicate(*fd, ABOVE)).collect::<Result<Vec<OwnedFd>, _>>()?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, copy) in (0..).zip(&copies) {
        actions.add_dup2(copy.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    if group == Group::Own {
        flags |= PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
        attributes.set_pgroup(Pid::from_raw(0))?;
    }
    attributes.set_flags(flags)?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    posix_spawn(program, &actions, &attributes, &argv, &environment)
}

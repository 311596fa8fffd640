//! A question that has to be asked from inside a jail: a child attaches, asks, and answers through a pipe.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::{Host, jails};
use crate::id::Jid;
use crate::sys::{Jails, Processes, Result, SysError, unix};

/// What `ask` answers inside the jail; none if there is no such jail, or it is dying.
///
/// The child holds no descriptor but the pipe (a directory among them would be a way out of the jail) and
/// cannot be traced from inside.
pub(super) fn ask(host: &Host, jid: Jid, ask: impl Fn() -> nix::Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    let failed = |errno| SysError::new(format!("ask in jail {jid}"), errno);
    let Some(jail) = jails::find(jid)? else { return Ok(None) };
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let pid = unix::fork(&mut || {
        unix::close_descriptors_except(&BTreeSet::from([writer.as_raw_fd()]));
        let attached = host.forbid_tracing().and_then(|()| host.jail_attach(jid, &jail.path));
        let answer = attached.map_err(|error| error.errno).and_then(|()| ask());
        let (errno, bytes) = match &answer {
            Ok(bytes) => (0, &bytes[..]),
            Err(errno) => (*errno as i32, &[][..]),
        };
        let written = writer.write_all(&errno.to_ne_bytes()).and_then(|()| writer.write_all(bytes));
        i32::from(written.is_err())
    })?;
    drop(writer);
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    // Whoever ignores SIGCHLD has no child to wait for; the answer came through the pipe.
    while waitpid(Pid::from_raw(pid), None) == Err(Errno::EINTR) {}
    let (errno, bytes) = read.ok().and_then(|_| answer.split_first_chunk::<4>()).ok_or_else(|| {
        SysError::with_message(format!("ask in jail {jid}"), Errno::EIO, "the asking process was killed")
    })?;
    match i32::from_ne_bytes(*errno) {
        0 => Ok(Some(bytes.to_vec())),
        errno if errno == Errno::EINVAL as i32 && jails::find(jid)?.is_none() => Ok(None),
        errno => Err(failed(Errno::from_raw(errno))),
    }
}

//! The processors of a jail: cpuset_setaffinity(2) on the set that every jail has and its processes are put into as they
//! attach. It ends with the jail, and needs no accounting.

use nix::errno::Errno;

use super::ffi::{self, CpuOwner};
use crate::id::Jid;
use crate::sys::processors::Processors;
use crate::sys::{Result, SysError};

/// The processors of the machine, in a jail those of the jail.
pub(super) fn available() -> Result<Processors> {
    ffi::cpu_mask(CpuOwner::Root)
        .map(|mask| Processors::of_mask(&mask))
        .map_err(|errno| SysError::new("processors", errno))
}

/// Confines the jail's processes, also those that live, to processors.
pub(super) fn set(jid: Jid, processors: &Processors) -> Result<()> {
    let confined = || {
        let words = ffi::cpu_words()?;
        let mask = processors.mask(words).ok_or(Errno::EINVAL)?;
        ffi::set_cpu_mask(jid.0, &mask)
    };
    confined().map_err(|errno| {
        let operation = format!("processors {processors} for jail {jid}");
        match (errno, ffi::cpu_mask(CpuOwner::Jail(jid.0)).map(|mask| Processors::of_mask(&mask))) {
            (Errno::EINVAL, Ok(has)) => {
                let words = format!("the jail has {has}, and this kernel gives it none beside these");
                SysError::with_message(operation, errno, words)
            }
            (Errno::EDEADLK, _) => {
                let words = "a process of the jail has confined itself to others and would be left with none";
                SysError::with_message(operation, errno, words)
            }
            _ => SysError::new(operation, errno),
        }
    })
}

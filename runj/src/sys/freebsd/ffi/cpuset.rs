//! Sets of processors.

use std::ffi::c_int;

use nix::errno::Errno;

use super::sysctl_int;

/// Whose processors.
#[derive(Clone, Copy, Debug)]
pub enum CpuOwner {
    /// All that the caller can have: the machine's, or those of the jail that it is in.
    Root,
    /// A jail's.
    Jail(c_int),
}

impl CpuOwner {
    fn numbers(self) -> (c_int, c_int, libc::id_t) {
        match self {
            // -1 is the caller.
            Self::Root => (libc::CPU_LEVEL_ROOT, libc::CPU_WHICH_PID, -1),
            Self::Jail(jid) => (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_JAIL, jid.into()),
        }
    }
}

/// The kernel's cpuset_t in words: the size that it takes.
pub fn cpu_words() -> nix::Result<usize> {
    let bytes = usize::try_from(sysctl_int(c"kern.sched.cpusetsize")?).map_err(|_| Errno::EINVAL)?;
    Ok(bytes / size_of::<u64>())
}

/// cpuset_getaffinity(2).
pub fn cpu_mask(owner: CpuOwner) -> nix::Result<Vec<u64>> {
    let mut mask = vec![0u64; cpu_words()?];
    let (level, which, id) = owner.numbers();
    let size = size_of_val(mask.as_slice());
    // SAFETY: writes a cpuset_t, which is an array of longs, of as many bytes as are said to be there.
    Errno::result(unsafe { libc::cpuset_getaffinity(level, which, id, size, mask.as_mut_ptr().cast()) })?;
    Ok(mask)
}

/// cpuset_setaffinity(2), for a jail.
pub fn set_cpu_mask(jid: c_int, mask: &[u64]) -> nix::Result<()> {
    let (level, which, id) = CpuOwner::Jail(jid).numbers();
    // SAFETY: reads a cpuset_t, which is an array of longs, of as many bytes as are said to be there.
    Errno::result(unsafe { libc::cpuset_setaffinity(level, which, id, size_of_val(mask), mask.as_ptr().cast()) })
        .map(drop)
}

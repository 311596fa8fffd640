//! One command, timed from outside as a whole process.
#![allow(unsafe_code)]

use std::ops::Add;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

unsafe extern "C" {
    // The libc crate asks for an old version of it by name on FreeBSD, which a static program cannot.
    fn wait4(pid: libc::pid_t, status: *mut libc::c_int, options: libc::c_int, usage: *mut libc::rusage)
    -> libc::pid_t;
}

/// What one run cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Wall time, in seconds.
    pub seconds: f64,
    /// Processor time of the command and of what it waited for, in seconds: other programs disturb it less.
    pub processor: f64,
    /// Resident peak, in KiB.
    pub peak: i64,
}

impl Add for Sample {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            processor: self.processor + other.processor,
            peak: self.peak.max(other.peak),
        }
    }
}

/// Makes this process the one that inherits what its children leave behind, as an engine does.
pub fn become_reaper() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: takes numbers and no data.
    let result = unsafe {
        libc::procctl(libc::P_PID, libc::id_t::from(libc::getpid()), libc::PROC_REAP_ACQUIRE, std::ptr::null_mut())
    };
    ensure!(result == 0, "become a reaper: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Makes the mounts of this process its own (Linux): what it mounts and unmounts, the machine does not see.
pub fn own_mounts() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let none = std::ptr::null();
        // SAFETY: numbers, null pointers where none is needed, and a C string.
        let result = unsafe {
            libc::unshare(libc::CLONE_NEWNS)
                | libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
        };
        ensure!(result == 0, "mounts of its own: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

/// Where cgroups of both versions are mounted, hides the newer from this process: crun refuses such a machine even when it is
/// told to leave cgroups alone.
pub fn hide_hybrid_cgroups() {
    #[cfg(target_os = "linux")]
    if std::path::Path::new("/sys/fs/cgroup/unified").exists() {
        // SAFETY: a C string and a number.
        unsafe { libc::umount2(c"/sys/fs/cgroup/unified".as_ptr(), libc::MNT_DETACH) };
    }
}

/// Waits for a process that somebody left to this one, and that ends with this status of waitpid(2).
pub fn reap(pid: i32, expected: i32) -> anyhow::Result<Sample> {
    let begin = Instant::now();
    let mut status = 0;
    // SAFETY: a pointer to a live number.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    ensure!(waited == pid && status == expected, "process {pid}: status {status:#x}");
    Ok(Sample { seconds: begin.elapsed().as_secs_f64(), ..Sample::default() })
}

/// Runs a command to its end, with nothing on its standard descriptors.
pub fn run(mut command: Command) -> anyhow::Result<Sample> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let begin = Instant::now();
    let child = command.spawn()?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: rusage is a struct of numbers, for which zeroes are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type; the child is ours and waited for by nobody else.
    let waited = unsafe { wait4(pid, &raw mut status, 0, &raw mut usage) };
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(waited == pid && status == 0, "{command:?}: status {status:#x}");
    let processor = in_seconds(usage.ru_utime) + in_seconds(usage.ru_stime);
    Ok(Sample { seconds, processor, peak: usage.ru_maxrss })
}

#[allow(clippy::cast_precision_loss)] // of a few seconds
fn in_seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// The median; sorts the list.
pub fn median(list: &mut [f64]) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_middle() {
        assert!((super::median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}

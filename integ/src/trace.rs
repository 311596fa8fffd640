//! A program that is killed at one of its system calls: a crash at every point without a line for it in the program.

use std::process::ExitStatus;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Program, ffi};

/// How a traced program ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It was killed before this system call.
    Killed(i64),
    /// By itself, before it came so far.
    Ended(ExitStatus),
}

/// Calls that change nothing outside the process, or nothing that its death would not (a descriptor is closed): there
/// is no point in dying before one of them.
const HARMLESS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pidfd_open,
    libc::SYS_ppoll,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_statfs,
    libc::SYS_statx,
];

/// Those that newer machines do not have.
#[cfg(target_arch = "x86_64")]
const HARMLESS_AND_OLD: &[i64] = &[libc::SYS_access, libc::SYS_arch_prctl, libc::SYS_poll, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const HARMLESS_AND_OLD: &[i64] = &[];

/// Whether a call may change something: anything but what is known to be harmless.
fn changes((number, arguments): (i64, [u64; 6])) -> bool {
    match number {
        libc::SYS_openat => arguments[2] & libc::O_CREAT as u64 != 0,
        number => !HARMLESS.contains(&number) && !HARMLESS_AND_OLD.contains(&number),
    }
}

/// Runs a program and kills it with SIGKILL before its n-th call, from 1 on, that may change something. What it has
/// started lives on.
#[track_caller]
pub fn kill_before(program: Program, nth: usize) -> End {
    let name = program.name();
    let running = program.traced().spawn();
    let pid = Pid::from_raw(running.pid);
    let executed = waitpid(pid, None).expect("the traced program");
    assert_eq!(executed, WaitStatus::Stopped(pid, Signal::SIGTRAP), "{name}");
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).expect("trace");
    let (mut count, mut signal) = (0, None);
    loop {
        ptrace::syscall(pid, signal.take()).expect("trace");
        match ffi::wait(running.pid).map(|status| (WaitStatus::from_raw(pid, status), status)).expect("wait") {
            (Ok(WaitStatus::PtraceSyscall(_)), _) => {
                let entered = ffi::entered_call(pid).expect("a system call");
                if let Some(call) = entered.filter(|call| changes(*call)) {
                    count += 1;
                    if count == nth {
                        ffi::kill(running.pid, libc::SIGKILL).expect("kill");
                        ffi::wait(running.pid).expect("its end");
                        return End::Killed(call.0);
                    }
                }
            }
            (Ok(WaitStatus::Stopped(_, number)), _) => signal = Some(number),
            (Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)), status) => {
                return End::Ended(std::os::unix::process::ExitStatusExt::from_raw(status));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

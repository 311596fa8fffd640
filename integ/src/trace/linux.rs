//! System calls of Linux.

use std::fs;
use std::os::unix::fs::FileExt;

use super::Call;
use crate::ffi::ptrace::Entered;

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

/// Names of those that the tests ask for, the old and the new of each under one.
const NAMES: &[(i64, &str)] = &[
    (libc::SYS_clone, "clone"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_mkdirat, "mkdir"),
    (libc::SYS_mknodat, "mknod"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_openat, "open"),
    (libc::SYS_openat2, "open"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_renameat, "rename"),
    (libc::SYS_renameat2, "rename"),
    (libc::SYS_sendto, "send"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_umount2, "umount"),
    (libc::SYS_unlinkat, "unlink"),
    (libc::SYS_write, "write"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "unlink"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink"),
];

/// Whether a call may change something: anything but what is known to be harmless.
pub(super) fn changes(call: &Entered) -> bool {
    match call.number {
        libc::SYS_openat => call.arguments[2] & libc::O_CREAT as u64 != 0,
        number => !HARMLESS.contains(&number) && !HARMLESS_AND_OLD.contains(&number),
    }
}

/// The call, with the file that it writes to or names, or the type of the message that it sends to netlink(7).
pub(super) fn call(pid: i32, entered: &Entered) -> Call {
    let name = super::name(NAMES, entered.number);
    let arguments = entered.arguments;
    let object = match name.as_str() {
        "write" => {
            fs::read_link(format!("/proc/{pid}/fd/{}", arguments[0])).map(|path| path.display().to_string()).ok()
        }
        "send" => memory(pid, arguments[1] + 4, 2).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]).to_string()),
        "open" | "mkdir" | "unlink" | "rename" | "mknod" | "umount" => {
            // The *at calls have a directory first.
            let old = [libc::SYS_umount2].contains(&entered.number) || is_old(entered.number);
            text(pid, if old { arguments[0] } else { arguments[1] })
        }
        _ => None,
    };
    Call { name, object: object.unwrap_or_default() }
}

#[cfg(target_arch = "x86_64")]
fn is_old(number: i64) -> bool {
    [libc::SYS_mkdir, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_unlink].contains(&number)
}
#[cfg(not(target_arch = "x86_64"))]
fn is_old(_: i64) -> bool {
    false
}

/// Memory of a traced process.
fn memory(pid: i32, address: u64, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    let file = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let read = file.read_at(&mut bytes, address).ok()?;
    (read == count).then_some(bytes)
}

/// A C string of a traced process.
fn text(pid: i32, address: u64) -> Option<String> {
    let bytes = (0..4096).map_while(|offset| memory(pid, address + offset, 1)).flatten();
    let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).ok()
}

//! System calls of FreeBSD, by their numbers in sys/syscall.h, which never change; crate libc has none of them.

use super::Call;
use crate::ffi::ptrace::Entered;

const OPEN: i64 = 5;
const IOCTL: i64 = 54;
const SYSCTL: i64 = 202;
const OPENAT: i64 = 499;

/// Calls that change nothing outside the process, or nothing that its death would not (a descriptor is closed): there
/// is no point in dying at one of them.
const HARMLESS: &[i64] = &[
    1,   // exit, which is made before it is killed
    3,   // read
    6,   // close
    17,  // break
    20,  // getpid
    24,  // getuid
    25,  // geteuid
    33,  // access
    39,  // getppid
    43,  // getegid
    47,  // getgid
    49,  // getlogin
    53,  // sigaltstack
    58,  // readlink
    73,  // munmap
    74,  // mprotect
    75,  // madvise
    79,  // getgroups
    92,  // fcntl
    93,  // select
    116, // gettimeofday
    120, // readv
    165, // sysarch
    191, // pathconf
    192, // fpathconf
    194, // getrlimit
    209, // poll
    232, // clock_gettime
    240, // nanosleep
    244, // clock_nanosleep
    253, // issetugid
    303, // modfind
    326, // __getcwd
    331, // sched_yield
    340, // sigprocmask
    416, // sigaction
    417, // sigreturn
    432, // thr_self
    454, // _umtx_op
    475, // pread
    477, // mmap
    478, // lseek
    487, // cpuset_getaffinity
    489, // faccessat
    500, // readlinkat
    506, // jail_get
    525, // rctl_get_racct
    545, // ppoll
    551, // fstat
    552, // fstatat
    554, // getdirentries
    555, // statfs
    556, // fstatfs
    557, // getfsstat
    563, // getrandom
];

/// Names of those that the tests ask for.
const NAMES: &[(i64, &str)] = &[
    (2, "fork"),
    (4, "write"),
    (OPEN, "open"),
    (22, "unmount"),
    (37, "kill"),
    (IOCTL, "ioctl"),
    (132, "mkfifo"),
    (128, "rename"),
    (136, "mkdir"),
    (137, "unlink"),
    (10, "unlink"),
    (131, "flock"),
    (378, "nmount"),
    (496, "mkdir"),
    (497, "mkfifo"),
    (OPENAT, "open"),
    (501, "rename"),
    (503, "unlink"),
    (504, "posix_openpt"),
    (507, "jail_set"),
    (508, "jail_remove"),
    (528, "rctl_add_rule"),
    (529, "rctl_remove_rule"),
];

/// Whether a call may change something: anything but what is known to be harmless.
pub(super) fn changes(call: &Entered) -> bool {
    let creates = |flags: u64| flags & libc::O_CREAT as u64 != 0;
    match call.number {
        OPEN => creates(call.arguments[1]),
        OPENAT => creates(call.arguments[2]),
        // With a new value it sets one.
        SYSCTL => call.arguments[4] != 0,
        number => !HARMLESS.contains(&number),
    }
}

/// The call, with the request of an ioctl(2).
pub(super) fn call(_: i32, entered: &Entered) -> Call {
    let object = match entered.number {
        IOCTL => format!("{:#x}", entered.arguments[1] & 0xffff_ffff),
        _ => String::new(),
    };
    Call { name: super::name(NAMES, entered.number), object }
}

//! System V IPC: whether an object of the other side is seen.

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys::{self, SysV};

pub const CHECKS: &[Check] = &[Check {
    name: "sysv",
    usage: "msg|sem|shm create|remove|seen|hidden|disabled KEY",
    about: "makes or looks for the object with this key",
    run: sysv,
}];

fn sysv(args: &Args) -> Outcome {
    let kind = match args.text(0)? {
        "msg" => SysV::Messages,
        "sem" => SysV::Semaphores,
        "shm" => SysV::Memory,
        _ => return Err(Failure::usage(args.usage)),
    };
    let key: libc::key_t = args.value(2)?;
    match args.text(1)? {
        "create" => sys::sysv_get(kind, key, libc::IPC_CREAT | libc::IPC_EXCL).map(drop).attempt("created"),
        "remove" => sys::sysv_get(kind, key, 0).and_then(|id| sys::sysv_remove(kind, id)).attempt("removed"),
        "seen" => sys::sysv_get(kind, key, 0).map(drop).attempt("seen"),
        "hidden" => same(Some(libc::ENOENT), code(sys::sysv_get(kind, key, 0))),
        "disabled" => same(Some(libc::ENOSYS), code(sys::sysv_get(kind, key, libc::IPC_CREAT))),
        _ => Err(Failure::usage(args.usage)),
    }
}

fn code(result: std::io::Result<i32>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

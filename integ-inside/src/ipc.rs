//! System V IPC: whether an object of the other side is seen.

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys::{self, SysV};

pub const CHECKS: &[Check] = &[Check {
    name: "sysv",
    usage: "msg|sem|shm create|remove|id|disabled KEY, seen|hidden ID",
    about: "makes, removes or numbers the object with this key; looks at the one with this id",
    run: sysv,
}];

fn sysv(args: &Args) -> Outcome {
    let kind = match args.text(0)? {
        "msg" => SysV::Messages,
        "sem" => SysV::Semaphores,
        "shm" => SysV::Memory,
        _ => return Err(Failure::usage(args.usage)),
    };
    // Keys belong to the jail that made the object on FreeBSD, also where objects are shared; ids do not.
    let key: libc::key_t = args.value(2)?;
    match args.text(1)? {
        "create" => sys::sysv_get(kind, key, libc::IPC_CREAT | libc::IPC_EXCL).map(drop).attempt("created"),
        "remove" => sys::sysv_get(kind, key, 0).and_then(|id| sys::sysv_remove(kind, id)).attempt("removed"),
        "id" => sys::sysv_get(kind, key, 0).map(|id| println!("{id}")).attempt("an id"),
        "seen" => sys::sysv_look(kind, args.value(2)?).attempt("seen"),
        "hidden" => same(Some(libc::EINVAL), code(sys::sysv_look(kind, args.value(2)?))),
        "disabled" => same(Some(libc::ENOSYS), code(sys::sysv_get(kind, key, libc::IPC_CREAT))),
        _ => Err(Failure::usage(args.usage)),
    }
}

fn code<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

//! A program that is killed at one of its system calls: a crash at every point without a line for it in the program.

#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::Program;
use crate::ffi::{self, ptrace};

/// A system call that may change something, and at what: a file, a request, where the system lets one see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Its name, or its number if it is a rare one.
    pub name: String,
    /// Its object, or nothing.
    pub object: String,
}

/// How a traced program ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It was killed at this system call: on Linux before it, on FreeBSD, where the kernel makes it first, after it.
    Killed(Call),
    /// By itself, before it came so far.
    Ended(ExitStatus),
}

/// Runs a program and kills it with SIGKILL at its n-th call, from 1 on, that may change something. What it has started
/// lives on.
#[track_caller]
pub fn kill_at(program: Program, nth: usize) -> End {
    let mut count = 0;
    traced(program, |call| {
        count += 1;
        (count == nth).then_some(call)
    })
}

/// Runs a program and returns all of its calls that may change something. It has to succeed.
#[track_caller]
pub fn calls(program: Program) -> Vec<Call> {
    let (name, mut calls) = (program.name(), Vec::new());
    let end = traced(program, |call| {
        calls.push(call);
        None
    });
    assert!(matches!(end, End::Ended(status) if status.success()), "{name}: {end:?}");
    calls
}

/// Runs a program, shows each call that may change something to `choose`, and kills it where that returns one.
#[track_caller]
fn traced(program: Program, mut choose: impl FnMut(Call) -> Option<Call>) -> End {
    let name = program.name();
    let running = program.traced().spawn();
    let pid = running.pid;
    let executed = ffi::wait(pid).expect("the traced program");
    assert!(libc::WIFSTOPPED(executed) && libc::WSTOPSIG(executed) == libc::SIGTRAP, "{name}: {executed:#x}");
    ptrace::begin(pid).expect("trace");
    let mut signal = 0;
    loop {
        ptrace::to_call(pid, signal).expect("trace");
        let status = ffi::wait(pid).expect("wait");
        if !libc::WIFSTOPPED(status) {
            return End::Ended(ExitStatus::from_raw(status));
        }
        // Linux marks the stops at calls; on FreeBSD nothing but them raises this signal.
        signal = match libc::WSTOPSIG(status) & 0x7f {
            libc::SIGTRAP => 0,
            other => other,
        };
        if signal != 0 {
            continue;
        }
        let entered = ptrace::entered(pid).expect("a system call");
        let call = entered.filter(system::changes).map(|entered| system::call(pid, &entered));
        if let Some(call) = call.and_then(&mut choose) {
            ptrace::kill(pid).expect("kill");
            let status = ExitStatus::from_raw(ffi::wait(pid).expect("its end"));
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{name}: {status} at {call:?}");
            return End::Killed(call);
        }
    }
}

/// The name of a number in a table.
fn name(table: &[(i64, &str)], number: i64) -> String {
    let known = table.iter().find(|(other, _)| *other == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

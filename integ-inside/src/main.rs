//! Checks that run inside a jail: `integ-inside CHECK [ARG...] [--and CHECK [ARG...]]...`
//!
//! Owns what is observed from inside and nothing else: what was expected comes from the caller. A check that
//! holds is silent; one that does not writes one JSON line to stderr and the program ends with 1 (2 for a
//! check that does not exist or lacks an argument). `integ-inside --list` names them all.
//!
//! The program is linked statically, so it runs in an empty root filesystem. It has no runtime before `main`
//! (`no_main`): std's would replace the dispositions and descriptors that are to be observed.
#![cfg_attr(not(test), no_main)]
// A test program: it prints, and what it is given is as small as its caller made it.
#![allow(clippy::print_stdout, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod act;
mod files;
mod hook;
mod identity;
mod ipc;
mod link;
mod mounts;
mod net;
mod outcome;
mod permit;
mod ping;
mod processes;
mod signals;
mod sys;
mod terminal;

use outcome::{Args, Check, Failure, Outcome};

/// Every check, by subject.
fn checks() -> impl Iterator<Item = &'static Check> {
    [
        act::CHECKS,
        identity::CHECKS,
        files::CHECKS,
        mounts::CHECKS,
        terminal::CHECKS,
        signals::CHECKS,
        processes::CHECKS,
        net::CHECKS,
        link::CHECKS,
        permit::CHECKS,
        ipc::CHECKS,
        hook::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// Runs the checks in order until one does not hold; returns the exit code.
#[cfg_attr(test, allow(dead_code))]
fn run(argv: &[String]) -> i32 {
    let arguments = argv.get(1..).unwrap_or_default();
    if arguments.first().is_some_and(|argument| argument == "--list") {
        checks().for_each(|check| println!("{:<40} {}", format!("{} {}", check.name, check.usage), check.about));
        return 0;
    }
    for words in arguments.split(|argument| argument == "--and") {
        let name = words.first().map_or("", String::as_str);
        match run_one(name, words.get(1..).unwrap_or_default()) {
            Ok(()) => {}
            Err(failure) => {
                eprintln!("{}", failure.json(name));
                return failure.code();
            }
        }
    }
    0
}

fn run_one(name: &str, arguments: &[String]) -> Outcome {
    let check = checks().find(|check| check.name == name);
    let check = check.ok_or_else(|| Failure::usage("no such check: see --list"))?;
    (check.run)(&Args { list: arguments, usage: check.usage })
}

/// What the C library calls.
#[cfg(not(test))]
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    // SAFETY: the C library passes argc pointers to NUL-terminated strings that live as long as the process.
    run(&unsafe { sys::strings(argv, usize::try_from(argc).unwrap_or(0)) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = super::checks().map(|check| check.name).collect();
        assert_eq!(names.len(), super::checks().count());
    }
}

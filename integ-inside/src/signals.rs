//! Signals: what was inherited, and programs that treat them in a certain way.

use std::io::Write;

use nix::sys::signal::{SigSet, Signal};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "signals-clean", usage: "", about: "none is blocked, all have their default action", run: clean },
    Check { name: "die", usage: "SIGNAL", about: "dies by this signal", run: die },
    Check { name: "ignore", usage: "SIGNAL...", about: "ignores these from now on", run: ignore },
    Check {
        name: "trap",
        usage: "",
        about: "says ready, then the name of each signal that comes; never ends",
        run: trap,
    },
    Check { name: "kill", usage: "PID SIGNAL", about: "sends a signal", run: kill },
    Check { name: "no-process", usage: "PID", about: "kill(2) finds no such process", run: no_process },
];

/// The number of a signal: `9`, `KILL` or `SIGKILL`.
fn number(text: &str) -> Result<i32, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let name = format!("SIG{}", text.trim_start_matches("SIG"));
    name.parse::<Signal>().map(|signal| signal as i32).map_err(|_| Failure::usage(format!("{text}: no such signal")))
}

fn clean(_: &Args) -> Outcome {
    let mask = SigSet::thread_get_mask().attempt("a signal mask")?;
    let blocked: Vec<Signal> = mask.iter().collect();
    same(Vec::new(), blocked)?;
    let odd = |&signal: &i32| sys::disposition(signal).is_some_and(|handler| handler != libc::SIG_DFL);
    // 32 and 33 belong to Linux's thread library.
    same(Vec::<i32>::new(), (1..=64).filter(|signal| ![32, 33].contains(signal)).filter(odd).collect())
}

fn die(args: &Args) -> Outcome {
    let signal = number(args.text(0)?)?;
    sys::die(signal).attempt("dead")?;
    Err(Failure::differs(format!("dead by {signal}"), "alive"))
}

fn ignore(args: &Args) -> Outcome {
    for text in args.list {
        sys::ignore(number(text)?);
    }
    Ok(())
}

fn trap(_: &Args) -> Outcome {
    sys::block_all_signals();
    let mut output = std::io::stdout();
    writeln!(output, "ready").attempt("stdout")?;
    loop {
        let signal = sys::next_signal();
        match Signal::try_from(signal) {
            Ok(signal) => writeln!(output, "{}", signal.as_str()),
            Err(_) => writeln!(output, "{signal}"),
        }
        .attempt("stdout")?;
    }
}

fn kill(args: &Args) -> Outcome {
    sys::kill(args.value(0)?, number(args.text(1)?)?).attempt("kill")
}

fn no_process(args: &Args) -> Outcome {
    let pid: i32 = args.value(0)?;
    match sys::kill(pid, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => Err(Failure::differs(format!("{pid}: ESRCH"), format!("{other:?}"))),
    }
}

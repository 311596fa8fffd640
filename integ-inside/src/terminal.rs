//! The terminal.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "tty", usage: "", about: "0, 1 and 2 are one terminal", run: tty },
    Check { name: "not-tty", usage: "", about: "none of 0, 1 and 2 is a terminal", run: not_tty },
    Check { name: "ctty", usage: "", about: "/dev/tty opens: there is a controlling terminal", run: ctty },
    Check { name: "no-ctty", usage: "", about: "there is none", run: no_ctty },
    Check { name: "ttyname", usage: "", about: "the terminal has a name in /dev that can be opened", run: ttyname },
    Check { name: "winsize", usage: "COLUMNS ROWS", about: "the window's size", run: winsize },
    Check { name: "wait-winsize", usage: "COLUMNS ROWS", about: "it becomes that within 10 s", run: wait_winsize },
    Check {
        name: "foreground",
        usage: "",
        about: "its process group is the terminal's foreground group",
        run: foreground,
    },
];

fn terminals() -> [bool; 3] {
    [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
}

fn tty(_: &Args) -> Outcome {
    same([true; 3], terminals())
}

fn not_tty(_: &Args) -> Outcome {
    same([false; 3], terminals())
}

fn ctty(_: &Args) -> Outcome {
    OpenOptions::new().read(true).write(true).open("/dev/tty").map(drop).attempt("/dev/tty opens")
}

fn no_ctty(_: &Args) -> Outcome {
    match OpenOptions::new().read(true).open("/dev/tty") {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::differs("no controlling terminal", "/dev/tty opens")),
    }
}

fn ttyname(_: &Args) -> Outcome {
    let path = nix::unistd::ttyname(std::io::stdin()).attempt("a terminal with a name")?;
    OpenOptions::new().read(true).write(true).open(&path).map(drop).attempt(format!("{} opens", path.display()))
}

fn winsize(args: &Args) -> Outcome {
    same((args.value(0)?, args.value(1)?), sys::window_size(0).attempt("a window size")?)
}

fn wait_winsize(args: &Args) -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let outcome = winsize(args);
        if outcome.is_ok() || Instant::now() > end {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn foreground(_: &Args) -> Outcome {
    let group = nix::unistd::tcgetpgrp(std::io::stdin()).attempt("a foreground group")?;
    same(nix::unistd::getpgrp(), group)
}

//! Programs rather than checks: what tests need where there is no shell and no /bin.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "hello", usage: "", about: "prints a greeting", run: hello },
    Check { name: "true", usage: "", about: "nothing", run: |_| Ok(()) },
    Check { name: "false", usage: "", about: "fails", run: |_| Err(Failure::differs("true", "false")) },
    Check { name: "echo", usage: "[WORD]...", about: "prints its arguments", run: echo },
    Check { name: "echo-error", usage: "[WORD]...", about: "prints them to stderr", run: echo_error },
    Check { name: "args", usage: "[ARG]...", about: "prints its arguments as a JSON array", run: arguments },
    Check { name: "env-print", usage: "", about: "prints the environment", run: env_print },
    Check { name: "cat", usage: "[FILE]...", about: "copies files, or stdin, to stdout", run: cat },
    Check { name: "exit", usage: "N", about: "ends with this code", run: exit },
    Check { name: "sleep", usage: "[SECONDS]", about: "sleeps, without an argument forever", run: sleep },
    Check { name: "write", usage: "MIB", about: "writes so much to stdout, numbered lines of 64 bytes", run: write },
    Check { name: "touch", usage: "FILE", about: "makes an empty file", run: touch },
    Check { name: "remove", usage: "FILE", about: "removes a file", run: remove },
    Check {
        name: "wait-file",
        usage: "FILE [SECONDS]",
        about: "waits until a file is there, at most 30 s",
        run: wait_file,
    },
    Check { name: "exec", usage: "PROGRAM [ARG]...", about: "becomes another program", run: exec },
];

fn hello(_: &Args) -> Outcome {
    let host = nix::unistd::gethostname().unwrap_or_default();
    println!("hello from process {} on {}", std::process::id(), host.to_string_lossy());
    Ok(())
}

fn echo(args: &Args) -> Outcome {
    writeln!(io::stdout(), "{}", args.list.join(" ")).attempt("stdout")
}

fn echo_error(args: &Args) -> Outcome {
    writeln!(io::stderr(), "{}", args.list.join(" ")).attempt("stderr")
}

fn arguments(args: &Args) -> Outcome {
    println!("{}", serde_json::json!(args.list));
    Ok(())
}

fn env_print(_: &Args) -> Outcome {
    sys::environment().iter().for_each(|entry| println!("{entry}"));
    Ok(())
}

fn cat(args: &Args) -> Outcome {
    let mut output = io::stdout().lock();
    if args.list.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut output).attempt("stdin to stdout")?;
    }
    for path in args.list {
        let mut file = fs::File::open(path).attempt(path)?;
        io::copy(&mut file, &mut output).attempt(path)?;
    }
    output.flush().attempt("stdout")
}

fn exit(args: &Args) -> Outcome {
    std::process::exit(args.value(0)?)
}

fn sleep(args: &Args) -> Outcome {
    if !args.list.is_empty() {
        std::thread::sleep(Duration::from_secs(args.value(0)?));
        return Ok(());
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn write(args: &Args) -> Outcome {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for number in 0..args.value::<u64>(0)? << 14 {
        writeln!(output, "{number:063}").attempt("stdout")?;
    }
    output.flush().attempt("stdout")
}

fn touch(args: &Args) -> Outcome {
    OpenOptions::new().append(true).create(true).open(args.text(0)?).map(drop).attempt(args.text(0)?)
}

fn remove(args: &Args) -> Outcome {
    fs::remove_file(args.text(0)?).attempt(args.text(0)?)
}

fn wait_file(args: &Args) -> Outcome {
    let path = Path::new(args.text(0)?);
    let end = Instant::now() + Duration::from_secs(args.value_or(1, 30)?);
    while !path.exists() {
        if Instant::now() > end {
            return Err(Failure::differs(path.display(), "not there in time"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn exec(args: &Args) -> Outcome {
    let words: Result<Vec<_>, _> = args.list.iter().map(|word| std::ffi::CString::new(word.as_str())).collect();
    let words = words.attempt("no NUL")?;
    let program = words.first().ok_or_else(|| Failure::usage(args.usage))?;
    nix::unistd::execv(program, &words).attempt("execve").map(|never| match never {})
}

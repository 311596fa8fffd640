//! Processes: which are seen, and programs that make many.

use std::time::{Duration, Instant};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "processes", usage: "MIN [MAX]", about: "so many are seen, this one included", run: processes },
    Check { name: "fork", usage: "N", about: "leaves N sleeping children", run: fork },
    Check { name: "daemon", usage: "N", about: "leaves N sleeping orphans in sessions of their own", run: daemon },
    Check {
        name: "fork-bomb",
        usage: "N",
        about: "forks until refused, at most N times; prints the number",
        run: bomb,
    },
    Check { name: "allocate", usage: "MIB", about: "takes so much memory and keeps it", run: allocate },
    Check { name: "burn", usage: "[SECONDS]", about: "computes, without an argument forever", run: burn },
    Check {
        name: "open-files",
        usage: "N",
        about: "opens a file until refused, at most N times, and keeps them; prints the number",
        run: open_files,
    },
];

#[cfg(target_os = "linux")]
fn seen() -> Result<usize, Failure> {
    let entries = std::fs::read_dir("/proc").attempt("proc on /proc")?;
    let is_pid = |name: std::ffi::OsString| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
    let count = entries.filter_map(Result::ok).filter(|entry| is_pid(entry.file_name())).count();
    if count == 0 { Err(Failure::differs("proc on /proc", "no process in /proc")) } else { Ok(count) }
}

#[cfg(target_os = "freebsd")]
fn seen() -> Result<usize, Failure> {
    let bytes = sys::sysctl("kern.proc.proc").attempt("kern.proc.proc")?;
    Ok(bytes.len() / size_of::<libc::kinfo_proc>())
}

fn processes(args: &Args) -> Outcome {
    let minimum: usize = args.value(0)?;
    let maximum = args.value_or(1, minimum)?;
    let got = seen()?;
    if (minimum..=maximum).contains(&got) {
        return Ok(());
    }
    Err(Failure::differs(format!("{minimum} to {maximum}"), got))
}

fn sleep() -> i32 {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn fork(args: &Args) -> Outcome {
    for _ in 0..args.value::<u32>(0)? {
        sys::fork(sleep).attempt("fork")?;
    }
    Ok(())
}

fn daemon(args: &Args) -> Outcome {
    for _ in 0..args.value::<u32>(0)? {
        let middle = sys::fork(|| {
            let _ = nix::unistd::setsid();
            if sys::fork(sleep).is_ok() { 0 } else { 1 }
        })
        .attempt("fork")?;
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(middle), None).attempt("wait")?;
        if !matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)) {
            return Err(Failure::differs("a daemon", format!("{status:?}")));
        }
    }
    Ok(())
}

fn bomb(args: &Args) -> Outcome {
    let mut children = Vec::new();
    for _ in 0..args.value::<u32>(0)? {
        match sys::fork(sleep) {
            Ok(pid) => children.push(pid),
            Err(_) => break,
        }
    }
    println!("{}", children.len());
    for &pid in &children {
        sys::kill(pid, libc::SIGKILL).attempt("kill")?;
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).attempt("wait")?;
    }
    Ok(())
}

fn burn(args: &Args) -> Outcome {
    let end = match args.list.is_empty() {
        true => None,
        false => Some(Instant::now() + Duration::from_secs(args.value(0)?)),
    };
    let mut number: u64 = 1;
    while end.is_none_or(|end| Instant::now() < end) {
        for _ in 0..10_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    Ok(())
}

fn open_files(args: &Args) -> Outcome {
    let files: Vec<_> = (0..args.value::<u32>(0)?).map_while(|_| std::fs::File::open("/integ-inside").ok()).collect();
    println!("{}", files.len());
    std::mem::forget(files);
    Ok(())
}

fn allocate(args: &Args) -> Outcome {
    sys::allocate(args.value::<usize>(0)? << 20).attempt("memory")
}

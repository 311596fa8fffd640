//! Who the process is: arguments, environment, credentials, limits, names of the host.

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getegid, geteuid, getgid, getgroups, gethostname, getpgrp, getpid, getsid, getuid};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "env", usage: "[NAME=VALUE]...", about: "the environment is exactly this", run: env },
    Check { name: "env-has", usage: "NAME=VALUE", about: "the environment holds this", run: env_has },
    Check { name: "env-lacks", usage: "NAME", about: "no such variable", run: env_lacks },
    Check { name: "cwd", usage: "DIR", about: "the working directory", run: cwd },
    Check { name: "uid", usage: "N", about: "real and effective user", run: uid },
    Check { name: "gid", usage: "N", about: "real and effective group", run: gid },
    Check { name: "groups", usage: "[N]...", about: "all groups, without the effective one", run: groups },
    Check { name: "umask", usage: "OCTAL", about: "the file mode creation mask", run: mask },
    Check { name: "rlimit", usage: "NAME SOFT HARD", about: "a limit; N or unlimited", run: rlimit },
    Check {
        name: "no-new-privileges",
        usage: "true|false",
        about: "execve(2) gives no privilege",
        run: no_new_privileges,
    },
    Check { name: "session-leader", usage: "", about: "leads its session and process group", run: session_leader },
    Check { name: "hostname", usage: "NAME", about: "the host name", run: hostname },
    Check { name: "domainname", usage: "NAME", about: "the NIS domain", run: domainname },
    Check { name: "hostuuid", usage: "UUID|own", about: "kern.hostuuid; own: any but zeros (FreeBSD)", run: hostuuid },
    Check { name: "jailed", usage: "true|false", about: "security.jail.jailed (FreeBSD)", run: jailed },
];

fn env(args: &Args) -> Outcome {
    let mut got = sys::environment();
    got.sort();
    same(args.sorted(), got)
}

fn env_has(args: &Args) -> Outcome {
    let expected = args.text(0)?;
    let got = sys::environment();
    if got.iter().any(|entry| entry == expected) { Ok(()) } else { Err(Failure::differs(expected, format!("{got:?}"))) }
}

fn env_lacks(args: &Args) -> Outcome {
    let prefix = format!("{}=", args.text(0)?);
    match sys::environment().into_iter().find(|entry| entry.starts_with(&prefix)) {
        None => Ok(()),
        Some(entry) => Err(Failure::differs("no such variable", entry)),
    }
}

fn cwd(args: &Args) -> Outcome {
    let got = std::env::current_dir().attempt("a working directory")?;
    same(args.text(0)?, &got.to_string_lossy())
}

fn uid(args: &Args) -> Outcome {
    let expected: u32 = args.value(0)?;
    same((expected, expected), (getuid().as_raw(), geteuid().as_raw()))
}

fn gid(args: &Args) -> Outcome {
    let expected: u32 = args.value(0)?;
    same((expected, expected), (getgid().as_raw(), getegid().as_raw()))
}

/// FreeBSD puts the effective group first in the list; so it is taken out of both.
fn groups(args: &Args) -> Outcome {
    let own = getegid().as_raw();
    let tidy = |mut list: Vec<u32>| {
        list.retain(|&group| group != own);
        list.sort_unstable();
        list.dedup();
        list
    };
    let expected = (0..args.list.len()).map(|index| args.value(index)).collect::<Result<Vec<u32>, _>>()?;
    let got = getgroups().attempt("groups")?.into_iter().map(nix::unistd::Gid::as_raw).collect();
    same(tidy(expected), tidy(got))
}

fn mask(args: &Args) -> Outcome {
    let expected = args.octal(0)?;
    let got = umask(Mode::empty());
    umask(got);
    same(format!("{expected:03o}"), format!("{:03o}", got.bits()))
}

// The type of a limit differs: u64 on Linux, i64 on FreeBSD.
#[allow(clippy::unnecessary_cast)]
fn rlimit(args: &Args) -> Outcome {
    let number = |index| match args.text(index)? {
        "unlimited" => Ok(nix::sys::resource::RLIM_INFINITY as u64),
        _ => args.value::<u64>(index),
    };
    let (soft, hard) = getrlimit(resource(args.text(0)?)?).attempt("getrlimit")?;
    same((number(1)?, number(2)?), (soft as u64, hard as u64))
}

fn resource(name: &str) -> Result<Resource, Failure> {
    Ok(match name.strip_prefix("RLIMIT_").unwrap_or(name) {
        #[cfg(not(target_os = "freebsd"))]
        "AS" => Resource::RLIMIT_AS,
        #[cfg(target_os = "freebsd")]
        "AS" | "VMEM" => Resource::RLIMIT_VMEM,
        "CORE" => Resource::RLIMIT_CORE,
        "CPU" => Resource::RLIMIT_CPU,
        "DATA" => Resource::RLIMIT_DATA,
        "FSIZE" => Resource::RLIMIT_FSIZE,
        "MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "NOFILE" => Resource::RLIMIT_NOFILE,
        "NPROC" => Resource::RLIMIT_NPROC,
        "RSS" => Resource::RLIMIT_RSS,
        "STACK" => Resource::RLIMIT_STACK,
        #[cfg(target_os = "freebsd")]
        "KQUEUES" => Resource::RLIMIT_KQUEUES,
        #[cfg(target_os = "freebsd")]
        "NPTS" => Resource::RLIMIT_NPTS,
        #[cfg(target_os = "freebsd")]
        "SBSIZE" => Resource::RLIMIT_SBSIZE,
        #[cfg(target_os = "freebsd")]
        "SWAP" => Resource::RLIMIT_SWAP,
        other => return Err(Failure::usage(format!("{other}: not a limit of this system"))),
    })
}

fn no_new_privileges(args: &Args) -> Outcome {
    same(args.value::<bool>(0)?, sys::no_new_privileges().attempt("no_new_privs")?)
}

fn session_leader(_: &Args) -> Outcome {
    let own = getpid();
    let session = getsid(None).attempt("a session")?;
    same((own, own), (session, getpgrp()))
}

fn hostname(args: &Args) -> Outcome {
    let got = gethostname().attempt("a host name")?;
    same(args.text(0)?, &got.to_string_lossy())
}

fn domainname(args: &Args) -> Outcome {
    let got = sys::domainname().attempt("a domain name")?;
    // Linux shows an unset name as "(none)".
    same(args.text(0)?, if got == "(none)" { "" } else { &got })
}

#[cfg(target_os = "freebsd")]
fn hostuuid(args: &Args) -> Outcome {
    let got = sys::sysctl_text("kern.hostuuid").attempt("kern.hostuuid")?;
    match args.text(0)? {
        "own" if got.bytes().any(|byte| byte != b'0' && byte != b'-') => Ok(()),
        expected => same(expected, got.as_str()),
    }
}

#[cfg(target_os = "freebsd")]
fn jailed(args: &Args) -> Outcome {
    let got = sys::sysctl("security.jail.jailed").attempt("security.jail.jailed")?;
    same(args.value::<bool>(0)?, got.iter().any(|&byte| byte != 0))
}

#[cfg(not(target_os = "freebsd"))]
fn hostuuid(_: &Args) -> Outcome {
    Err(Failure::usage("FreeBSD only"))
}

#[cfg(not(target_os = "freebsd"))]
fn jailed(_: &Args) -> Outcome {
    Err(Failure::usage("FreeBSD only"))
}

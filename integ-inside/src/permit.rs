//! What `freebsd.jail.allow` allows: `NAME allowed|refused`.

use std::net::TcpListener;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::outcome::{Args, Check, Failure, Outcome};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "raw-sockets", usage: "allowed|refused", about: "a raw ICMP socket can be made", run: raw },
    Check { name: "set-hostname", usage: "allowed|refused NAME", about: "the host name can be set", run: hostname },
    Check { name: "mlock", usage: "allowed|refused", about: "memory can be locked beyond the limit", run: mlock },
    Check { name: "chflags", usage: "allowed|refused FILE", about: "system flags can be set (FreeBSD)", run: chflags },
    Check { name: "mount", usage: "allowed|refused TYPE DIR", about: "a file system can be mounted", run: mount },
    Check { name: "reserved-port", usage: "allowed|refused PORT", about: "a port below 1024 can be bound", run: port },
    Check { name: "unmount", usage: "allowed|refused DIR", about: "a file system can be unmounted", run: unmount },
];

/// Compares what was expected with a result, of which only a refusal for lack of privilege counts as one.
fn verdict(args: &Args, result: std::io::Result<()>) -> Outcome {
    let expected = if args.allowed(0)? { "allowed" } else { "refused" };
    match (args.allowed(0)?, result) {
        (true, Ok(())) => Ok(()),
        (true, Err(error)) => Err(Failure::differs(expected, error)),
        (false, Ok(())) => Err(Failure::differs(expected, "allowed")),
        (false, Err(error)) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::EAGAIN) => Ok(()),
            _ => Err(Failure::differs(expected, error)),
        },
    }
}

fn raw(args: &Args) -> Outcome {
    let made = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp);
    verdict(args, made.map(drop).map_err(Into::into))
}

fn hostname(args: &Args) -> Outcome {
    verdict(args, sys::set_hostname(args.text(1)?))
}

fn mlock(args: &Args) -> Outcome {
    // On Linux the permission is to exceed the limit; on FreeBSD the limit holds for all, and without the permission
    // nothing can be locked.
    #[cfg(target_os = "linux")]
    {
        use crate::outcome::Attempt;
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).attempt("a limit of 0")?;
    }
    verdict(args, sys::mlock_page())
}

#[cfg(target_os = "freebsd")]
fn chflags(args: &Args) -> Outcome {
    verdict(args, sys::chflags(args.text(1)?))
}

#[cfg(not(target_os = "freebsd"))]
fn chflags(_: &Args) -> Outcome {
    Err(Failure::usage("FreeBSD only"))
}

fn mount(args: &Args) -> Outcome {
    verdict(args, sys::mount(args.text(1)?, args.text(2)?))
}

fn port(args: &Args) -> Outcome {
    verdict(args, TcpListener::bind(("0.0.0.0", args.value(1)?)).map(drop))
}

#[cfg(target_os = "linux")]
fn unmount(args: &Args) -> Outcome {
    verdict(args, nix::mount::umount(args.text(1)?).map_err(Into::into))
}

#[cfg(target_os = "freebsd")]
fn unmount(args: &Args) -> Outcome {
    verdict(args, nix::mount::unmount(args.text(1)?, nix::mount::MntFlags::empty()).map_err(Into::into))
}

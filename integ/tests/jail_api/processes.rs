//! Processes: who they are, signals, terminals, limits, and what a child does to itself.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use integ::host::{dies, host, names, request, sleep_for_ever, succeeds};
use integ::{needs, until};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use runj::id::Jid;
use runj::sys::limit::Limits;
use runj::sys::process::{Credentials, ProcessIdentity, Rlimit};
use runj::sys::{Jails, Processes, unix};

#[test]
fn the_members_are_those_of_the_jail() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let (jail, other) = (place.create("web", &[]), place.create("other", &[]));
        let pids: BTreeSet<i32> = (0..3).map(|_| jail.start(sleep_for_ever)).collect();
        let stranger = other.start(sleep_for_ever);
        let attached = || host.members(jail.jid).unwrap().len() == 3 && host.members(other.jid).unwrap().len() == 1;
        until("all have attached", || attached().then_some(()));
        let members = host.members(jail.jid).unwrap();
        assert_eq!(members.iter().map(|member| member.pid).collect::<BTreeSet<_>>(), pids);
        assert_eq!(host.identity(members[0].pid), Ok(Some(members[0])));
        drop((jail, other));
        pids.into_iter().chain([stranger]).for_each(|pid| dies(pid, Signal::SIGKILL));
    });
}

#[test]
fn a_zombie_is_dead() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let pid = unix::fork(&mut sleep_for_ever).unwrap();
        let identity = host.identity(pid).unwrap().unwrap();
        assert_eq!(host.signal(&identity, 0), Ok(true));
        assert_eq!(host.signal(&identity, 9), Ok(true));
        until("its end", || host.identity(pid).unwrap().is_none().then_some(()));
        assert_eq!(host.signal(&identity, 9), Ok(false));
        dies(pid, Signal::SIGKILL);
        assert_eq!(host.identity(pid), Ok(None));
        assert_eq!(host.signal(&identity, 9), Ok(false));
    });
}

#[test]
fn a_later_process_with_the_same_pid_is_another() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let pid = unix::fork(&mut sleep_for_ever).unwrap();
        let now = host.identity(pid).unwrap().unwrap();
        let earlier = ProcessIdentity { start: now.start - 1, ..now };
        assert_eq!(host.signal(&earlier, 9), Ok(false));
        assert_eq!(host.identity(pid), Ok(Some(now)));
        assert_eq!(host.signal(&now, 9), Ok(true));
        dies(pid, Signal::SIGKILL);
    });
}

/// `ki_start` is told by the present clock, so it moves with it; the identity must not.
#[test]
fn an_identity_stays_what_it_is() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let pid = unix::fork(&mut sleep_for_ever).unwrap();
        let first = host.identity(pid).unwrap();
        for _ in 0..50 {
            assert_eq!(host.identity(pid).unwrap(), first);
        }
        host.signal(&first.unwrap(), 9).unwrap();
        dies(pid, Signal::SIGKILL);
        let later = unix::fork(&mut || 0).unwrap();
        succeeds(later);
    });
}

#[test]
fn one_signal_reaches_all_of_the_jail() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let (jail, other) = (place.create("web", &[]), place.create("other", &[]));
        assert_eq!(host.signal_all(jail.jid, 15), Ok(false), "there is none");
        let pids: Vec<i32> = (0..2).map(|_| jail.start(sleep_for_ever)).collect();
        let stranger = other.start(sleep_for_ever);
        until("all have attached", || (host.members(jail.jid).unwrap().len() == 2).then_some(()));
        assert_eq!(host.signal_all(jail.jid, 15), Ok(true));
        pids.into_iter().for_each(|pid| dies(pid, Signal::SIGTERM));
        assert!(host.identity(stranger).unwrap().is_some());
        assert_eq!(host.signal_all(Jid(999_998), 15), Ok(false), "no such jail");
        drop(other);
        dies(stranger, Signal::SIGKILL);
    });
}

#[test]
fn a_signal_to_all_does_not_reach_the_host() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let jail = place.create("web", &[]);
        let outside = unix::fork(&mut sleep_for_ever).unwrap();
        let pid = jail.start(|| {
            // What the jail's root does by itself.
            assert_eq!(nix::sys::signal::kill(Pid::from_raw(outside), Signal::SIGKILL), Err(Errno::ESRCH));
            let _ = nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
            0
        });
        succeeds(pid);
        let identity = host.identity(outside).unwrap();
        assert!(host.signal(&identity.expect("it lives"), 9).unwrap());
        dies(outside, Signal::SIGKILL);
    });
}

/// The slave is opened outside; its name has to work inside all the same.
#[test]
fn a_terminals_name_works_inside() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        jail.mounted("/dev", &request("devfs"));
        let pty = place.host.open_pty(jail.jid, &place.root).unwrap();
        let slave = pty.slave.as_raw_fd();
        let pid = jail.start_with(&[slave], || {
            nix::unistd::setsid().unwrap();
            unix::set_controlling_terminal(pty.slave.as_fd()).unwrap();
            assert_eq!(nix::unistd::ttyname(pty.slave.as_fd()).unwrap().to_str(), Some(pty.name.as_str()));
            for name in [pty.name.as_str(), "/dev/tty"] {
                let mut terminal = std::fs::File::options().write(true).open(name).unwrap();
                writeln!(terminal, "through {name}").unwrap();
            }
            // With the session ends what nobody has read yet.
            let mut line = [0; 3];
            std::fs::File::open(&pty.name).unwrap().read_exact(&mut line).unwrap();
            i32::from(&line != b"go\n")
        });
        let mut master = std::fs::File::from(pty.master.try_clone().unwrap());
        let mut heard = String::new();
        let mut buffer = [0; 256];
        while !heard.contains("through /dev/tty") {
            let length = master.read(&mut buffer).unwrap();
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        assert!(heard.contains(&format!("through {}", pty.name)), "{heard}");
        master.write_all(b"go\n").unwrap();
        succeeds(pid);
        // With its master open: a terminal that was opened inside would keep the jail.
        let jid = jail.jid;
        drop(jail);
        assert_eq!(place.host.members(jid), Ok(vec![]));
    });
}

#[test]
fn a_process_limits_itself() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        jail.run(|| {
            let limit = Rlimit { name: "RLIMIT_NOFILE".into(), soft: 64, hard: 128 };
            place.host.set_rlimit(&limit).unwrap();
            let kind = nix::sys::resource::Resource::RLIMIT_NOFILE;
            assert_eq!(nix::sys::resource::getrlimit(kind), Ok((64, 128)));
            let unknown = Rlimit { name: "RLIMIT_NONSENSE".into(), soft: 1, hard: 1 };
            assert_eq!(place.host.set_rlimit(&unknown).unwrap_err().errno, Errno::EINVAL);
            place.host.forbid_tracing().unwrap();
            place.host.become_user(&Credentials { uid: 1000, gid: 1001, groups: vec![7, 1001] }).unwrap();
            assert_eq!((nix::unistd::getuid().as_raw(), nix::unistd::geteuid().as_raw()), (1000, 1000));
            assert_eq!((nix::unistd::getgid().as_raw(), nix::unistd::getegid().as_raw()), (1001, 1001));
            let groups: BTreeSet<u32> = nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
            assert_eq!(groups, BTreeSet::from([7, 1001]));
            assert_eq!(nix::unistd::setuid(0.into()), Err(Errno::EPERM));
        });
    });
}

#[test]
fn no_new_privileges_or_a_release_that_has_them() {
    host(needs!(Runj), |place| {
        let facts = place.host.facts().unwrap();
        let mut child = || match place.host.set_no_new_privileges() {
            Ok(()) => 0,
            Err(error) => i32::from(facts.osreldate == 0 || !error.message.contains("FreeBSD 14.0")),
        };
        succeeds(unix::fork(&mut child).unwrap());
    });
}

/// Limits of rctl(8) by the jail's name, or of a cgroup.
#[test]
fn limits_hold_and_are_removed() {
    host(needs!(Runj, Limits), |place| {
        let host = &place.host;
        let name = place.name("web");
        let limits = Limits { cgroup: Some(format!("/{name}").into()), pids: Some(5), ..Limits::default() };
        let forks = |limits: Option<&Limits>| {
            let jail = place.create("web", &[]);
            if let Some(limits) = limits {
                // Twice: an interrupted create may have applied them already.
                host.limits_add(&name, limits).unwrap();
                host.limits_add(&name, limits).unwrap();
            }
            let mut child = || {
                unix::close_descriptors_except(&[0, 1, 2].into());
                limits.inspect(|limits| host.limits_join(limits).unwrap());
                host.jail_enter(jail.jid).unwrap();
                host.jail_attach(jail.jid, &place.root).unwrap();
                // The limit counts this process too.
                i32::try_from((0..8).take_while(|_| unix::fork(&mut sleep_for_ever).is_ok()).count()).unwrap()
            };
            let pid = host.fork(Some(jail.jid), &mut child).unwrap();
            let status = nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap();
            drop(jail);
            limits.inspect(|limits| host.limits_remove(&name, limits, &[]).unwrap());
            match status {
                nix::sys::wait::WaitStatus::Exited(_, count) => count,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(forks(Some(&limits)), 4);
        // They go by the name and outlive the jail; a later one of that name must not have them.
        assert_eq!(forks(None), 8);
        host.limits_remove(&name, &limits, &[]).unwrap();
    });
}

#[test]
fn a_limit_that_cannot_be_applied_is_refused() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let name = place.name("web");
        // The kernel counts in millionths of a second.
        let rule = format!("cputime:sigkill={}", i64::MAX);
        let much = Limits { rules: vec![rule.parse().unwrap()], ..Limits::default() };
        let error = host.limits_add(&name, &much).unwrap_err();
        let facts = host.facts().unwrap();
        if facts.osreldate > 0 && !host.accounts().unwrap() {
            assert!(error.message.contains("kern.racct.enable=1"), "{error}");
        } else {
            assert!(error.to_string().contains(&rule), "{error}");
        }
        host.limits_remove(&name, &much, &[]).unwrap();
    });
}

#[test]
fn a_jail_sees_its_own_processes_only() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        jail.mounted("/proc", &request("procfs"));
        let outside = nix::unistd::getpid().to_string();
        jail.run(|| {
            let own = nix::unistd::getpid().to_string();
            let listed = names("/proc");
            let mut numbers = listed.split(' ').filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(numbers.clone().any(|number| number == own), "{listed}");
            // The keeper of the emulation is process 1.
            assert!(numbers.all(|number| number == own || number == "1"), "{listed}; the host's: {outside}");
        });
    });
}

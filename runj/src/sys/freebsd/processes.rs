//! Processes: the kernel's list, signals, terminals, and what a child does to itself.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getpid, getsid, setgid, setgroups, setuid};

use super::ffi::{self, Process};
use super::{Host, inside, jails};
use crate::id::Jid;
use crate::sys::process::{Credentials, ProcessIdentity, Pty, Rlimit};
use crate::sys::usage::{CpuTime, ProcessView, command_line};
use crate::sys::{Processes, Result, SysError, unix};

impl Processes for Host {
    fn boot_id(&self) -> Result<Option<String>> {
        static BOOT: OnceLock<Option<String>> = OnceLock::new();
        if let Some(id) = BOOT.get() {
            return Ok(id.clone());
        }
        let id = match ffi::sysctl_value(c"kern.boot_id") {
            Ok(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(SysError::new("sysctl kern.boot_id", errno)),
        };
        Ok(BOOT.get_or_init(|| id).clone())
    }

    fn identity(&self, pid: i32) -> Result<Option<ProcessIdentity>> {
        let found = living(&[libc::KERN_PROC_PID, pid]).map_err(|errno| SysError::new(format!("process {pid}"), errno));
        Ok(found?.first().map(|(_, identity)| *identity))
    }

    fn signal(&self, process: &ProcessIdentity, signal: i32) -> Result<bool> {
        if self.identity(process.pid)? != Some(*process) {
            return Ok(false);
        }
        match ffi::kill(process.pid, signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => Err(SysError::new(format!("signal {signal} to process {}", process.pid), errno)),
        }
    }

    fn members(&self, jid: Jid) -> Result<Vec<ProcessIdentity>> {
        Ok(members(jid)?.into_iter().map(|(_, identity)| identity).collect())
    }

    fn views(&self, jid: Jid) -> Result<Vec<ProcessView>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(members(jid)?.into_iter().map(|(process, identity)| view(&process, identity, now)).collect())
    }

    fn signal_all(&self, jid: Jid, signal: i32) -> Result<bool> {
        // From inside, -1 is every process of the jail but the caller.
        let answer = inside::ask(self, jid, || match ffi::kill(-1, signal) {
            Ok(()) => Ok(vec![1]),
            Err(Errno::ESRCH) => Ok(vec![0]),
            Err(errno) => Err(errno),
        })?;
        Ok(answer.is_some_and(|answer| answer == [1]))
    }

    fn fork(&self, _jid: Option<Jid>, child: &mut dyn FnMut() -> i32) -> Result<i32> {
        unix::fork(child)
    }

    fn open_pty(&self, _jid: Jid, _root: &std::path::Path) -> Result<Pty> {
        // On the host: one that is opened inside keeps the jail dying for as long as its master is open.
        let failed = |errno| SysError::new("open a terminal", errno);
        let (master, name) = ffi::open_pty().map_err(failed)?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let slave = open(name.as_c_str(), flags, Mode::empty()).map_err(failed)?;
        Ok(Pty { master, slave, name: name.to_string_lossy().into_owned() })
    }

    fn forbid_tracing(&self) -> Result<()> {
        // Root of the jail could otherwise trace us between attaching and executing.
        ffi::process_control(libc::PROC_TRACE_CTL, libc::PROC_TRACE_CTL_DISABLE)
            .map_err(|errno| SysError::new("forbid tracing", errno))
    }

    fn set_no_new_privileges(&self) -> Result<()> {
        ffi::process_control(libc::PROC_NO_NEW_PRIVS_CTL, libc::PROC_NO_NEW_PRIVS_ENABLE).map_err(|errno| match errno {
            Errno::EINVAL => SysError::with_message("noNewPrivileges", errno, "needs FreeBSD 14.0 or newer"),
            _ => SysError::new("noNewPrivileges", errno),
        })
    }

    fn set_rlimit(&self, limit: &Rlimit) -> Result<()> {
        let resource = rlimit(&limit.name)
            .ok_or_else(|| SysError::with_message(&limit.name, Errno::EINVAL, "FreeBSD has no such limit"))?;
        ffi::set_rlimit(resource, limit.soft, limit.hard).map_err(|errno| SysError::new(&limit.name, errno))
    }

    fn become_user(&self, credentials: &Credentials) -> Result<()> {
        let Credentials { uid, gid, groups } = credentials;
        // Up to FreeBSD 14 the first of the groups *is* the effective one.
        let list: Vec<Gid> = std::iter::once(gid).chain(groups).map(|gid| Gid::from_raw(*gid)).collect();
        setgroups(&list).map_err(|errno| SysError::new(format!("groups {gid} {groups:?}"), errno))?;
        setgid(Gid::from_raw(*gid)).map_err(|errno| SysError::new(format!("group {gid}"), errno))?;
        // The login name belongs to the session: in one of its own, the host's must not be seen.
        if getsid(None) == Ok(getpid()) {
            ffi::set_login(c"").map_err(|errno| SysError::new("login name", errno))?;
        }
        setuid(Uid::from_raw(*uid)).map_err(|errno| SysError::new(format!("user {uid}"), errno))
    }
}

/// The living processes of a jail and of those below it.
fn members(jid: Jid) -> Result<Vec<(Process, ProcessIdentity)>> {
    let failed = |errno| SysError::new(format!("processes of jail {jid}"), errno);
    let Some(children) = jails::number(jid, "children.cur")? else { return Ok(Vec::new()) };
    let list = living(&[libc::KERN_PROC_PROC, 0]).map_err(failed)?;
    // Whether a jail is this one or a descendant of it.
    let mut inside = BTreeMap::from([(0, false), (jid.0, true)]);
    let mut members = Vec::new();
    for (process, identity) in list {
        if children > 0 && !inside.contains_key(&process.jid) {
            classify(process.jid, &mut inside)?;
        }
        if inside.get(&process.jid) == Some(&true) {
            members.push((process, identity));
        }
    }
    Ok(members)
}

/// What ps(1) shows of a process; `now` is the time after 1970.
fn view(process: &Process, identity: ProcessIdentity, now: Duration) -> ProcessView {
    let micros = |number: i64| Duration::from_micros(number.try_into().unwrap_or(0));
    let cpu = |(user, system): (i64, i64)| CpuTime::of(micros(user), micros(system));
    let page = u64::try_from(ffi::page_size()).unwrap_or(0);
    ProcessView {
        identity,
        parent: process.parent,
        uid: process.uid,
        terminal: ffi::terminal_name(process.terminal),
        age: now.saturating_sub(micros(process.start)),
        cpu: cpu(process.cpu),
        children: cpu(process.children),
        resident: u64::try_from(process.resident).unwrap_or(0).saturating_mul(page),
        open_files: ffi::open_files(process.pid),
        command: command_line(&ffi::arguments(process.pid), &process.name()),
    }
}

/// The living processes that `kern.proc` lists under these numbers; none if there is no such process.
fn living(what: &[i32]) -> nix::Result<Vec<(Process, ProcessIdentity)>> {
    loop {
        // Start times are told by the present clock, so the time of boot must be that of the same clock.
        let boot = ffi::boot_time()?;
        let list = match ffi::processes(what) {
            Err(Errno::ESRCH) => return Ok(Vec::new()),
            other => other?,
        };
        if ffi::boot_time()? == boot {
            let living = list.into_iter().filter(|process| !process.zombie);
            let start = |process: &Process| u64::try_from(process.start - boot).unwrap_or(0);
            return Ok(living.map(|p| (p, ProcessIdentity { pid: p.pid, start: start(&p) })).collect());
        }
    }
}

/// Finds out about a jail and its parents whether they lie inside the jails known to.
fn classify(jid: i32, inside: &mut BTreeMap<i32, bool>) -> Result<()> {
    let mut chain = vec![jid];
    let answer = loop {
        let here = chain[chain.len() - 1];
        match inside.get(&here) {
            Some(answer) => break *answer,
            None => chain.push(jails::number(Jid(here), "parent")?.unwrap_or(0)),
        }
    };
    inside.extend(chain.into_iter().map(|jid| (jid, answer)));
    Ok(())
}

/// The number of a limit (getrlimit(2)).
fn rlimit(name: &str) -> Option<i32> {
    Some(match name.strip_prefix("RLIMIT_")? {
        "CPU" => libc::RLIMIT_CPU,
        "FSIZE" => libc::RLIMIT_FSIZE,
        "DATA" => libc::RLIMIT_DATA,
        "STACK" => libc::RLIMIT_STACK,
        "CORE" => libc::RLIMIT_CORE,
        "RSS" => libc::RLIMIT_RSS,
        "MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "NPROC" => libc::RLIMIT_NPROC,
        "NOFILE" | "OFILE" => libc::RLIMIT_NOFILE,
        "SBSIZE" => libc::RLIMIT_SBSIZE,
        "VMEM" | "AS" => libc::RLIMIT_VMEM,
        "NPTS" => libc::RLIMIT_NPTS,
        "SWAP" => libc::RLIMIT_SWAP,
        "KQUEUES" => libc::RLIMIT_KQUEUES,
        "UMTXP" => libc::RLIMIT_UMTXP,
        // FreeBSD 14 and 15; older kernels answer EINVAL.
        "PIPEBUF" => 15,
        "VMM" => 16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_numbers() {
        assert_eq!(rlimit("RLIMIT_NOFILE"), Some(8));
        assert_eq!(rlimit("RLIMIT_AS"), rlimit("RLIMIT_VMEM"));
        assert_eq!(rlimit("RLIMIT_RTPRIO"), None);
        assert_eq!(rlimit("NOFILE"), None);
    }
}

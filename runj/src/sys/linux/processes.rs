//! Processes: /proc, signals, and what a child does to itself.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::registry::{Jail, errno};
use super::{Host, ffi, namespaces, views};
use crate::id::Jid;
use crate::sys::process::{Credentials, ProcessIdentity, Pty, Rlimit};
use crate::sys::usage::ProcessView;
use crate::sys::{Processes, Result, SysError, beneath, unix};

/// The pid of the calling process.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The identity of the calling process.
pub fn own_identity() -> nix::Result<ProcessIdentity> {
    identity(own_pid())?.ok_or(Errno::ESRCH)
}

/// Where the kernel put the arguments of the calling process (proc_pid_stat(5), fields 48 and 49).
pub fn own_arguments() -> nix::Result<std::ops::Range<usize>> {
    let text = std::fs::read("/proc/self/stat").map_err(|error| errno(&error))?;
    let mut fields = stat_fields(&text).ok_or(Errno::EBADMSG)?.skip(45).map_while(|field| field.trim().parse().ok());
    Ok(fields.next().unwrap_or(0)..fields.next().unwrap_or(0))
}

/// What tells one boot from the next.
pub fn boot_id() -> nix::Result<String> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT.get() {
        return Ok(id.clone());
    }
    let text = unix::read_file(Path::new("/proc/sys/kernel/random/boot_id")).map_err(|error| errno(&error))?;
    Ok(BOOT.get_or_init(|| String::from_utf8_lossy(&text).trim().to_owned()).clone())
}

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    start: u64,
}

impl Stat {
    fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The fields of proc_pid_stat(5) from the third on; the name, field 2, may hold anything.
pub fn stat_fields(text: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let after = text.iter().rposition(|&byte| byte == b')')? + 2;
    Some(text.get(after..)?.split(|&byte| byte == b' ').map(|field| std::str::from_utf8(field).unwrap_or_default()))
}

/// Reads state and start time (fields 3 and 22).
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let mut fields = stat_fields(text)?;
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

fn stat(pid: i32) -> nix::Result<Option<Stat>> {
    // The kernel gives all of it to one read; it has some 50 numbers and a name of at most 64 bytes.
    let mut text = [0; 2048];
    let read = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut text));
    match read {
        Ok(length) => parse_stat(&text[..length]).map(Some).ok_or(Errno::EBADMSG),
        Err(error) => match errno(&error) {
            Errno::ENOENT | Errno::ESRCH => Ok(None),
            errno => Err(errno),
        },
    }
}

/// The living process with this pid.
pub fn identity(pid: i32) -> nix::Result<Option<ProcessIdentity>> {
    Ok(stat(pid)?.filter(|stat| !stat.is_dead()).map(|stat| ProcessIdentity { pid, start: stat.start }))
}

/// What tells the process namespace of a process from others; none if it has ended.
fn process_space(pid: i32) -> nix::Result<Option<PathBuf>> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).map(Some).or_else(|error| match errno(&error) {
        errno if has_ended(pid, errno)? => Ok(None),
        errno => Err(errno),
    })
}

/// Whether this error at a link of `/proc/PID/ns` means that the process has ended. One that ends between the look-up and the
/// answer is `EACCES` (fs/proc/namespaces.c), as is one that may not be looked at.
pub fn has_ended(pid: i32, errno: Errno) -> nix::Result<bool> {
    Ok(matches!(errno, Errno::ENOENT | Errno::ESRCH) || (errno == Errno::EACCES && identity(pid)?.is_none()))
}

/// The living processes born into the keeper's process namespace, without the keeper.
pub fn members(keeper: i32) -> nix::Result<Vec<ProcessIdentity>> {
    let Some(wanted) = process_space(keeper)? else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(|error| errno(&error))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid != keeper
            && process_space(pid).is_ok_and(|found| found.as_ref() == Some(&wanted))
            && let Some(process) = identity(pid)?
        {
            list.push(process);
        }
    }
    Ok(list)
}

/// Whether a process has got so far in exiting that it has given up its namespaces.
pub fn has_left_its_namespaces(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).is_err()
}

/// Sends a signal to a process if it is still the same.
pub fn signal(process: &ProcessIdentity, number: i32) -> nix::Result<bool> {
    let descriptor = match ffi::pidfd_open(process.pid) {
        // EINVAL: the pid belongs to a thread by now.
        Err(Errno::ESRCH | Errno::EINVAL) => return Ok(false),
        other => other?,
    };
    if identity(process.pid)? != Some(*process) {
        return Ok(false);
    }
    match ffi::pidfd_send_signal(&descriptor, number) {
        Err(Errno::ESRCH) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Opens a terminal pair of the devpts that the jail has mounted, if it has.
fn jail_pty(jail: &Jail, keeper: &OwnedFd, root: &Path) -> nix::Result<Option<Pty>> {
    let open = || {
        let root = namespaces::root_inside(jail, root)?;
        for path in ["/dev/pts/ptmx", "/dev/ptmx"] {
            let Ok(at) = beneath::resolve(&root, Path::new(path)) else { continue };
            let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
            if at.kind.is_some()
                && is_devpts(&root, &at.path)
                && let Ok(master) = beneath::open_with(&root, &at.path, flags)
            {
                return pty(master).map(Some);
            }
        }
        Ok(None)
    };
    namespaces::visit(keeper, CloneFlags::CLONE_NEWNS, open)?
}

/// Whether a path lies on a devpts: only its `ptmx` is opened, because another file may do anything when opened.
fn is_devpts(root: &Path, path: &Path) -> bool {
    beneath::open_with(root, path, OFlag::O_PATH)
        .ok()
        .and_then(|fd| nix::sys::statfs::fstatfs(&fd).ok())
        .is_some_and(|status| status.filesystem_type() == nix::sys::statfs::FsType(0x1cd1))
}

fn pty(master: OwnedFd) -> nix::Result<Pty> {
    let (slave, number) = ffi::open_slave(&master)?;
    Ok(Pty { master, slave, name: format!("/dev/pts/{number}") })
}

/// The limit of this name on Linux; FreeBSD's `VMEM` is `AS`.
fn resource(name: &str) -> Option<Resource> {
    Some(match name.strip_prefix("RLIMIT_").unwrap_or(name) {
        "AS" | "VMEM" => Resource::RLIMIT_AS,
        "CORE" => Resource::RLIMIT_CORE,
        "CPU" => Resource::RLIMIT_CPU,
        "DATA" => Resource::RLIMIT_DATA,
        "FSIZE" => Resource::RLIMIT_FSIZE,
        "LOCKS" => Resource::RLIMIT_LOCKS,
        "MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "NICE" => Resource::RLIMIT_NICE,
        "NOFILE" => Resource::RLIMIT_NOFILE,
        "NPROC" => Resource::RLIMIT_NPROC,
        "RSS" => Resource::RLIMIT_RSS,
        "RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RTTIME" => Resource::RLIMIT_RTTIME,
        "SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

impl Processes for Host {
    fn boot_id(&self) -> Result<Option<String>> {
        boot_id().map(Some).map_err(|errno| SysError::new("boot id", errno))
    }

    fn identity(&self, pid: i32) -> Result<Option<ProcessIdentity>> {
        identity(pid).map_err(|errno| SysError::new(format!("process {pid}"), errno))
    }

    fn signal(&self, process: &ProcessIdentity, number: i32) -> Result<bool> {
        signal(process, number)
            .map_err(|errno| SysError::new(format!("process {}: signal {number}", process.pid), errno))
    }

    fn members(&self, jid: Jid) -> Result<Vec<ProcessIdentity>> {
        let failed = |errno| SysError::new(format!("jail {jid}: processes"), errno);
        match self.registry.living(jid).map_err(failed)? {
            Some(jail) => members(jail.keeper.pid).map_err(failed),
            None => Ok(Vec::new()),
        }
    }

    fn views(&self, jid: Jid) -> Result<Vec<ProcessView>> {
        let members = self.members(jid)?;
        views::views(&members).map_err(|errno| SysError::new(format!("jail {jid}: processes"), errno))
    }

    fn signal_all(&self, jid: Jid, number: i32) -> Result<bool> {
        let failed = |errno| SysError::new(format!("jail {jid}: signal {number} to all"), errno);
        let Some(jail) = self.registry.living(jid).map_err(failed)? else { return Ok(false) };
        let Ok(keeper) = namespaces::keeper(&jail) else { return Ok(false) };
        let mut kill = || ffi::kill_all(number).map_or_else(|errno| errno as i32, |()| 0);
        let child = match namespaces::with_children_inside(&keeper, || unix::fork(&mut kill)) {
            // It died meanwhile.
            Err(Errno::ESRCH) => return Ok(false),
            other => other.map_err(failed)?,
        };
        match wait_status(child?).map_err(failed)? {
            0 => Ok(true),
            status if status == Errno::ESRCH as i32 => Ok(false),
            status => Err(failed(Errno::from_raw(status))),
        }
    }

    fn fork(&self, jid: Option<Jid>, child: &mut dyn FnMut() -> i32) -> Result<i32> {
        let Some(jid) = jid else { return unix::fork(child) };
        let (_, keeper) = self.jail(jid)?;
        namespaces::with_children_inside(&keeper, || unix::fork(child))
            .map_err(|errno| SysError::new(format!("jail {jid}: process namespace"), errno))?
    }

    fn open_pty(&self, jid: Jid, root: &Path) -> Result<Pty> {
        let failed = |errno| SysError::new(format!("jail {jid}: terminal"), errno);
        let (jail, keeper) = self.jail(jid)?;
        if let Some(pty) = jail_pty(&jail, &keeper, root).map_err(failed)? {
            return Ok(pty);
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = nix::fcntl::open(&PathBuf::from("/dev/ptmx"), flags, Mode::empty());
        master.and_then(pty).map_err(failed)
    }

    fn forbid_tracing(&self) -> Result<()> {
        nix::sys::prctl::set_dumpable(false).map_err(|errno| SysError::new("forbid tracing", errno))
    }

    fn set_no_new_privileges(&self) -> Result<()> {
        nix::sys::prctl::set_no_new_privs().map_err(|errno| SysError::new("no new privileges", errno))
    }

    fn set_rlimit(&self, limit: &Rlimit) -> Result<()> {
        let resource = resource(&limit.name)
            .ok_or_else(|| SysError::with_message(limit.name.clone(), Errno::EINVAL, "unknown to this system"))?;
        setrlimit(resource, limit.soft, limit.hard).map_err(|errno| SysError::new(limit.name.clone(), errno))
    }

    fn become_user(&self, credentials: &Credentials) -> Result<()> {
        let Credentials { uid, gid, groups } = credentials;
        let failed = |what: &str| {
            let operation = format!("user {uid}: {what}");
            move |errno| SysError::new(operation, errno)
        };
        let mut list = vec![Gid::from_raw(*gid)];
        list.extend(groups.iter().filter(|group| *group != gid).map(|&group| Gid::from_raw(group)));
        setgroups(&list).map_err(failed("groups"))?;
        let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
        setresgid(gid, gid, gid).map_err(failed("group id"))?;
        setresuid(uid, uid, uid).map_err(failed("user id"))
    }
}

/// Waits for a child and returns its exit status; death by a signal is `ECHILD`.
pub fn wait_status(pid: i32) -> nix::Result<i32> {
    use nix::sys::wait::{WaitStatus, waitpid};
    loop {
        match waitpid(nix::unistd::Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status),
            Ok(_) => return Err(Errno::ECHILD),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("7 (sh) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 815 0 0 18446744073709551615", b'S', 815)]
    #[case("7 (a) Z 9 (b) R 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4 0", b'R', 4)]
    fn stat_is_read_after_the_last_parenthesis(#[case] text: &str, #[case] state: u8, #[case] start: u64) {
        assert_eq!(parse_stat(text.as_bytes()), Some(Stat { state, start }));
    }

    #[rstest]
    #[case("")]
    #[case("7 (sh)")]
    #[case("7 (sh) S 1")]
    fn half_a_stat_is_none(#[case] text: &str) {
        assert_eq!(parse_stat(text.as_bytes()), None);
    }

    /// A process that ends while it is looked at is no error.
    #[test]
    fn who_ends_meanwhile_has_no_process_space() {
        for _ in 0..500 {
            let pid = unix::fork(&mut || 0).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(move || nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap());
                while process_space(pid).unwrap().is_some() {}
            });
        }
    }

    #[test]
    fn this_process_lives_and_is_told_from_another() {
        let this = own_identity().unwrap();
        assert!(signal(&this, 0).unwrap());
        assert!(!signal(&ProcessIdentity { start: this.start + 1, ..this }, 0).unwrap());
        assert_eq!(identity(0x3fff_ffff).unwrap(), None);
    }

    #[test]
    fn limits_have_their_names() {
        assert_eq!(resource("RLIMIT_NOFILE"), Some(Resource::RLIMIT_NOFILE));
        assert_eq!(resource("RLIMIT_VMEM"), Some(Resource::RLIMIT_AS));
        assert_eq!(resource("RLIMIT_KQUEUES"), None);
    }
}

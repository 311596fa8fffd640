//! The keeper: the first process of a jail, which holds its namespaces and does nothing else.
//!
//! It is a forked child of its creator that lives for ever in little memory: after the fork it allocates nothing.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::stat::Mode;

use super::ffi;
use crate::sys::unix;

/// What a keeper makes of itself.
#[derive(Debug)]
pub struct Task {
    /// The namespaces that it gets.
    pub spaces: CloneFlags,
    /// The namespaces of others that it joins: a namespace file, or a process that is in them.
    pub joined: Vec<(OwnedFd, CloneFlags)>,
    /// The jail's root; none for `/`.
    pub root: Option<CString>,
    /// Host and domain name, with a UTS namespace of its own.
    pub names: Option<(CString, CString)>,
    /// The name of the process, 15 bytes.
    pub title: CString,
    /// Where its arguments, the creator's, lie in its memory.
    pub arguments: Range<usize>,
}

/// The steps of a keeper that can fail, as its messages name them.
const STEPS: [&str; 5] = ["ready", "join namespace", "mount namespace", "host name", "network"];
const JOIN: u8 = 1;
const MOUNT: u8 = 2;
const NAME: u8 = 3;
const NETWORK: u8 = 4;

/// A keeper that is ready and waits for the word that its jail is recorded; dropped without it, it ends.
#[derive(Debug)]
pub struct Keeper {
    /// Its pid.
    pub pid: i32,
    /// The mount that is its root until the first attach; 0 if it stays.
    pub old_root: u64,
    socket: OwnedFd,
}

impl Keeper {
    /// Starts a keeper and waits until it is ready.
    ///
    /// # Errors
    /// The step that failed, and its number.
    pub fn start(task: &Task) -> Result<Self, (&'static str, Errno)> {
        let setup = |errno| ("process", errno);
        let (socket, far) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(setup)?;
        let pid = ffi::clone_into(task.spaces, &mut || keep(task, far.as_fd().as_raw_fd())).map_err(setup)?;
        drop(far);
        let mut message = [0; 13];
        let length = recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()).map_err(setup)?;
        let [step, rest @ ..] = message;
        let [e0, e1, e2, e3, id @ ..] = rest;
        if length == message.len() && step == 0 {
            return Ok(Self { pid, old_root: u64::from_le_bytes(id), socket });
        }
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        let errno = if length == 0 { Errno::ECHILD } else { Errno::from_raw(i32::from_le_bytes([e0, e1, e2, e3])) };
        Err((STEPS.get(usize::from(step)).copied().unwrap_or("keeper"), errno))
    }

    /// Tells the keeper to stay.
    pub fn commit(self) -> nix::Result<()> {
        send(self.socket.as_raw_fd(), &[1], MsgFlags::MSG_NOSIGNAL).map(drop)
    }
}

/// The descriptor of the socket in the keeper.
const SOCKET: RawFd = 3;

fn keep(task: &Task, socket: RawFd) {
    let report = |socket: RawFd, step: u8, errno: i32, id: u64| {
        let mut message = [0; 13];
        message[0] = step;
        message[1..5].copy_from_slice(&errno.to_le_bytes());
        message[5..].copy_from_slice(&id.to_le_bytes());
        let _ = send(socket, &message, MsgFlags::MSG_NOSIGNAL);
    };
    let old_root = match become_keeper(task) {
        Ok(old_root) => old_root,
        Err((step, errno)) => {
            report(socket, step, errno as i32, 0);
            ffi::exit(1);
        }
    };
    forget_the_creator(task, socket);
    report(SOCKET, 0, 0, old_root);
    // End of file before the jail is recorded: its creator is gone and nobody would ever find this process.
    if recv(SOCKET, &mut [0], MsgFlags::empty()) != Ok(1) {
        ffi::exit(0);
    }
    ffi::close(SOCKET);
    ffi::pause_for_ever()
}

fn become_keeper(task: &Task) -> Result<u64, (u8, Errno)> {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(&task.title);
    for (space, kind) in &task.joined {
        setns(space, *kind).map_err(|errno| (JOIN, errno))?;
    }
    let old_root = own_mounts(task).map_err(|errno| (MOUNT, errno))?;
    if let Some((host, domain)) = &task.names {
        ffi::set_host_name(host).and_then(|()| ffi::set_domain_name(domain)).map_err(|errno| (NAME, errno))?;
    }
    if task.spaces.contains(CloneFlags::CLONE_NEWNET) {
        ffi::loopback_up().map_err(|errno| (NETWORK, errno))?;
    }
    Ok(old_root)
}

/// Mounts of the host still arrive (and go), none of the jail's leaves; the jail's root becomes a mount, with what
/// is mounted below it, so that it can become the root of the namespace.
fn own_mounts(task: &Task) -> nix::Result<u64> {
    let none: Option<&std::ffi::CStr> = None;
    mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    let old_root = match &task.root {
        None => 0,
        Some(root) => {
            mount(Some(root.as_c_str()), root.as_c_str(), none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
            ffi::mount_point(c"/")?.id
        }
    };
    nix::unistd::chdir(c"/")?;
    Ok(old_root)
}

/// Lets go of descriptors, environment, arguments and signal actions. Children that are left to the keeper are reaped by the
/// kernel, because SIGCHLD is ignored; whatever else comes is ignored too, as for every first process.
fn forget_the_creator(task: &Task, socket: RawFd) {
    if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR, Mode::empty()) {
        for number in 0..3 {
            let _ = ffi::duplicate_to(null.as_raw_fd(), number);
        }
        std::mem::forget(null);
    }
    if socket != SOCKET {
        let _ = ffi::duplicate_to(socket, SOCKET);
    }
    ffi::close_range(SOCKET + 1, RawFd::MAX);
    unix::clear_environment();
    ffi::overwrite_arguments(&task.arguments, &task.title);
    unix::reset_signals();
    ffi::ignore_signal(libc::SIGCHLD);
    let _ = nix::sys::prctl::set_dumpable(false);
}

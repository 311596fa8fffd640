//! The system calls that nix lacks. All `unsafe` of the emulation stands here, and nothing is decided here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;
use nix::sched::CloneFlags;

/// `AT_RECURSIVE`, `OPEN_TREE_*`, `MOVE_MOUNT_*`, `FSCONFIG_*`: linux/mount.h, linux/fcntl.h.
const AT_RECURSIVE: libc::c_int = 0x8000;
const AT_EMPTY_PATH: libc::c_int = 0x1000;
const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_BOTH_EMPTY: libc::c_int = 0x04 | 0x40;
const FSOPEN_CLOEXEC: libc::c_int = 1;
const FSMOUNT_CLOEXEC: libc::c_int = 1;
const FSCONFIG_SET_FLAG: libc::c_int = 0;
const FSCONFIG_SET_STRING: libc::c_int = 1;
const FSCONFIG_CMD_CREATE: libc::c_int = 6;

/// Attributes of a mount (`MOUNT_ATTR_*` in linux/mount.h).
pub mod attribute {
    pub const READ_ONLY: u64 = 0x1;
    pub const NO_SUID: u64 = 0x2;
    pub const NO_DEV: u64 = 0x4;
    pub const NO_EXEC: u64 = 0x8;
    pub const ACCESS_TIME: u64 = 0x70;
    pub const NO_ACCESS_TIME: u64 = 0x10;
    pub const NO_SYMFOLLOW: u64 = 0x0020_0000;
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Whether a clone or an open_tree(2) reaches what is mounted below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The mount alone.
    One,
    /// With everything below.
    Tree,
}

impl Depth {
    fn flag(self) -> libc::c_int {
        if self == Self::Tree { AT_RECURSIVE } else { 0 }
    }
}

fn descriptor(result: libc::c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for the caller; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes a range of descriptors by close_range(2); false if the kernel lacks it.
pub fn close_range(first: RawFd, last: RawFd) -> bool {
    // SAFETY: takes three numbers; the caller gave up every descriptor in the range.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

/// clone(2) as fork, the child in new namespaces. The child runs `child`, which may use nothing but system calls
/// and its stack, and ends with it.
pub fn clone_into(namespaces: CloneFlags, child: &mut dyn FnMut()) -> Result<i32> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    let none = 0 as libc::c_long;
    // SAFETY: with no stack given the child goes on with a copy of the parent's memory, as after fork; runj has one
    // thread. The pointers are null because the flags that use them are absent.
    let pid = Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) })?;
    if pid == 0 {
        child();
        exit(0);
    }
    i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)
}

/// Ends the calling process without running any handler.
pub fn exit(status: i32) -> ! {
    // SAFETY: takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// Waits for signals for ever.
pub fn pause_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing; returns after a handler, of which there is none.
        unsafe { libc::pause() };
    }
}

/// Ignores a signal. For SIGCHLD: children, adopted ones too, are reaped by the kernel.
pub fn ignore_signal(number: i32) {
    // SAFETY: SIG_IGN is valid for every signal.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// A descriptor of a process (pidfd_open(2)).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: takes two numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Signals the process of a descriptor (pidfd_send_signal(2)).
pub fn pidfd_send_signal(process: impl AsFd, signal: i32) -> Result<()> {
    let fd = process.as_fd().as_raw_fd();
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor lives through the call; no siginfo means that of kill(2).
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) }).map(drop)
}

/// A detached copy of the mount at a path of the calling process (open_tree(2)).
pub fn open_tree(path: &CStr, depth: Depth) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | depth.flag();
    // SAFETY: the path is NUL-terminated and lives through the call.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Attaches a detached mount at an open directory or file (move_mount(2)).
pub fn move_mount(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    let empty = c"".as_ptr();
    // SAFETY: descriptors and strings live through the call.
    let result = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, MOVE_MOUNT_BOTH_EMPTY) };
    Errno::result(result).map(drop)
}

/// Sets and clears attributes of a mount and makes it private (mount_setattr(2)).
pub fn set_mount_attributes(mount: impl AsFd, depth: Depth, set: u64, clear: u64) -> Result<()> {
    let attr = MountAttr { attr_set: set, attr_clr: clear, propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    let flags = AT_EMPTY_PATH | depth.flag();
    // SAFETY: the structure is the kernel's first version of mount_attr and its size is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Begins to make a file system (fsopen(2)).
pub fn fsopen(fstype: &CStr) -> Result<OwnedFd> {
    // SAFETY: the string lives through the call.
    descriptor(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })
}

/// Gives it an option (fsconfig(2)).
pub fn fsconfig(context: impl AsFd, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let command = if value.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG };
    let value = value.map_or(std::ptr::null(), CStr::as_ptr);
    let fd = context.as_fd().as_raw_fd();
    // SAFETY: the strings live through the call; a flag takes a null value.
    let result = unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key.as_ptr(), value, 0) };
    Errno::result(result).map(drop)
}

/// Makes it and returns it as a detached mount (fsmount(2)).
pub fn fsmount(context: impl AsFd, attributes: u64) -> Result<OwnedFd> {
    let fd = context.as_fd().as_raw_fd();
    let none: *const libc::c_char = std::ptr::null();
    // SAFETY: the creating command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: takes a descriptor and numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes) })
}

/// What statx(2) says of the mount that a path lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The mount's id; never used again where the kernel has such ids (6.8).
    pub id: u64,
    /// Whether the path is the root of the mount.
    pub is_root: bool,
}

/// The mount that a path lies on; a last component that is a link is not followed.
pub fn mount_point(path: &CStr) -> Result<MountPoint> {
    let ask = |mask: libc::c_uint| {
        let mut buffer = MaybeUninit::<libc::statx>::zeroed();
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
        // SAFETY: path and buffer live through the call; all-zero is a valid statx.
        let buffer = unsafe {
            Errno::result(libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, mask, buffer.as_mut_ptr()))?;
            buffer.assume_init()
        };
        Ok::<_, Errno>(buffer)
    };
    let mut answer = ask(libc::STATX_MNT_ID_UNIQUE)?;
    if answer.stx_mask & libc::STATX_MNT_ID_UNIQUE == 0 {
        answer = ask(libc::STATX_MNT_ID)?;
        if answer.stx_mask & libc::STATX_MNT_ID == 0 {
            return Err(Errno::ENOSYS);
        }
    }
    let is_root = u64::from(libc::STATX_ATTR_MOUNT_ROOT.unsigned_abs());
    Ok(MountPoint { id: answer.stx_mnt_id, is_root: answer.stx_attributes & is_root != 0 })
}

/// Sets the domain name of the calling process's UTS namespace.
pub fn set_domain_name(name: &CStr) -> Result<()> {
    // SAFETY: pointer and length describe the string.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr(), name.to_bytes().len()) }).map(drop)
}

/// Sets the host name of the calling process's UTS namespace.
pub fn set_host_name(name: &CStr) -> Result<()> {
    // SAFETY: pointer and length describe the string.
    Errno::result(unsafe { libc::sethostname(name.as_ptr(), name.to_bytes().len()) }).map(drop)
}

/// Writes a title over the arguments of this process, which ps(1) and /proc show to its jail.
/// `place` is where the kernel put them. Called in a child that reads its arguments no more.
pub fn overwrite_arguments(place: &std::ops::Range<usize>, title: &CStr) {
    let length = title.to_bytes().len().min(place.len().saturating_sub(1));
    let begin: *mut u8 = std::ptr::with_exposed_provenance_mut(place.start);
    if begin.is_null() || place.is_empty() {
        return;
    }
    // SAFETY: the kernel put the arguments there, on the stack, which is writable; the range is theirs, and nothing in
    // this process refers to them any more.
    unsafe {
        std::ptr::write_bytes(begin, 0, place.len());
        std::ptr::copy_nonoverlapping(title.to_bytes().as_ptr(), begin, length);
    }
}

/// Brings the loopback interface of the calling process's network namespace up.
pub fn loopback_up() -> Result<()> {
    // SAFETY: takes three numbers.
    let socket = descriptor(libc::c_long::from(unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    }))?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(c"lo".to_bytes_with_nul()) {
        *slot = libc::c_char::from_ne_bytes([*byte]);
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).map_err(|_| Errno::EINVAL)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) }).map(drop)
}

/// Takes a capability out of the bounding set; false for a number beyond the last.
pub fn drop_from_bounding_set(capability: u32) -> Result<bool> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: takes numbers.
    match Errno::result(unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), NONE, NONE, NONE)
    }) {
        Ok(_) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Empties the inheritable and the ambient set.
pub fn clear_inherited_capabilities() -> Result<()> {
    const NONE: libc::c_ulong = 0;
    /// `PR_CAP_AMBIENT_CLEAR_ALL`
    const CLEAR_ALL: libc::c_ulong = 4;
    /// `_LINUX_CAPABILITY_VERSION_3` and its two structures (capget(2)).
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut header = Header { version: 0x2008_0522, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 takes a header and two data structures, which live through both calls; prctl takes numbers.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()))?;
        for set in &mut data {
            set.inheritable = 0;
        }
        Errno::result(libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()))?;
        // The last argument of PR_CAP_AMBIENT_CLEAR_ALL must be zero.
        Errno::result(libc::prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL, NONE, NONE, NONE)).map(drop)
    }
}

/// Unlocks a terminal's slave and opens it through its master; returns it and its number.
pub fn open_slave(master: impl AsFd) -> Result<(OwnedFd, u32)> {
    let fd = master.as_fd().as_raw_fd();
    let unlock: libc::c_int = 0;
    let mut number: libc::c_uint = 0;
    // SAFETY: the first reads an int, the second writes one, both live through the call; the third takes flags.
    unsafe {
        Errno::result(libc::ioctl(fd, libc::TIOCSPTLCK as _, &unlock))?;
        Errno::result(libc::ioctl(fd, libc::TIOCGPTN as _, &mut number))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        Ok((descriptor(libc::c_long::from(libc::ioctl(fd, libc::TIOCGPTPEER as _, flags)))?, number))
    }
}

/// Sends a signal to every process of the caller's process namespace but itself and the first (kill(-1)).
pub fn kill_all(signal: i32) -> Result<()> {
    // SAFETY: takes two numbers.
    Errno::result(unsafe { libc::kill(-1, signal) }).map(drop)
}

/// A text as the kernel takes it.
///
/// # Errors
/// `EINVAL` for a text with a NUL.
pub fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

/// Makes `number` a copy of a descriptor, as dup2(2).
pub fn duplicate_to(fd: RawFd, number: RawFd) -> Result<()> {
    // SAFETY: takes two numbers; called in the keeper, which owns every descriptor and uses numbers only.
    Errno::result(unsafe { libc::dup2(fd, number) }).map(drop)
}

/// Closes a descriptor by its number. Called in the keeper.
pub fn close(number: RawFd) {
    // SAFETY: as in `duplicate_to`.
    unsafe { libc::close(number) };
}

/// The lowest open descriptor below 256 that is a directory.
pub fn directory_descriptor() -> Option<RawFd> {
    let mut all: Vec<libc::pollfd> = (0..256).map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    // SAFETY: pointer and length describe the array; a number that is no descriptor is marked as such.
    Errno::result(unsafe { libc::poll(all.as_mut_ptr(), 256, 0) }).ok()?;
    let open = all.into_iter().filter(|slot| slot.revents & libc::POLLNVAL == 0).map(|slot| slot.fd);
    open.into_iter().find(|&number| is_directory(number))
}

fn is_directory(number: RawFd) -> bool {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fstat writes one stat, which lives through the call; all-zero is a valid one.
    let status = unsafe {
        if libc::fstat(number, status.as_mut_ptr()) != 0 {
            return false;
        }
        status.assume_init()
    };
    status.st_mode & libc::S_IFMT == libc::S_IFDIR
}

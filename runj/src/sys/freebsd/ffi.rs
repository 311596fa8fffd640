//! The system calls that std and nix lack, and all `unsafe` of this host. Decides nothing: a call goes in, its
//! answer or its number comes out.
#![allow(unsafe_code)]

mod cpuset;
mod file;
mod net;
mod process;

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_uint, c_ulong, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

pub use cpuset::*;
pub use file::*;
pub use net::*;
pub use process::*;

/// How long the kernel's own words may get (`JAIL_ERRMSGLEN` is 1024, mount(8) takes 255).
const ERRMSG: usize = 256;

/// Names and values for jail_set(2), jail_get(2) and nmount(2). The kernel writes answers, and into jail_get's every
/// value, back into these buffers, so they are owned and writable.
#[derive(Debug, Default)]
pub struct Options(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// Why the kernel refused [`Options`].
#[derive(Debug)]
pub struct Refusal {
    /// The number.
    pub errno: Errno,
    /// The kernel's `errmsg`, else the text of the number.
    pub message: String,
}

impl Options {
    /// Appends a name with the bytes of its value, or with none.
    pub fn push(&mut self, name: &str, value: Option<Vec<u8>>) {
        self.0.push((with_nul(name.as_bytes()), value));
    }

    /// Appends a name with a text, which gets its closing NUL.
    pub fn push_text(&mut self, name: &str, text: impl AsRef<OsStr>) {
        self.push(name, Some(with_nul(text.as_ref().as_bytes())));
    }

    /// Appends a name with a number.
    pub fn push_int(&mut self, name: &str, number: i32) {
        self.push(name, Some(number.to_ne_bytes().to_vec()));
    }

    /// The bytes of a value, as the kernel left them.
    pub fn value(&self, name: &str) -> &[u8] {
        let found = self.0.iter().find(|(known, _)| known.strip_suffix(b"\0") == Some(name.as_bytes()));
        found.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    }

    /// A value as text, up to its NUL.
    pub fn value_text(&self, name: &str) -> OsString {
        text(self.value(name))
    }

    /// A value as a number; 0 if it is not one.
    pub fn value_int(&self, name: &str) -> i32 {
        self.value(name).try_into().map_or(0, i32::from_ne_bytes)
    }

    fn call(&mut self, call: impl FnOnce(*mut libc::iovec, c_uint) -> c_int) -> Result<c_int, Refusal> {
        self.push("errmsg", Some(vec![0; ERRMSG]));
        let mut vector = Vec::with_capacity(self.0.len() * 2);
        for (name, value) in &mut self.0 {
            vector.push(libc::iovec { iov_base: name.as_mut_ptr().cast(), iov_len: name.len() });
            vector.push(match value {
                Some(value) => libc::iovec { iov_base: value.as_mut_ptr().cast(), iov_len: value.len() },
                None => libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
            });
        }
        let count = c_uint::try_from(vector.len()).unwrap_or(c_uint::MAX);
        Errno::result(call(vector.as_mut_ptr(), count)).map_err(|errno| {
            let message = match self.value_text("errmsg") {
                words if words.is_empty() => errno.desc().to_owned(),
                words => words.to_string_lossy().into_owned(),
            };
            Refusal { errno, message }
        })
    }

    /// jail_set(2): the jail's number.
    pub fn jail_set(mut self, flags: c_int) -> Result<c_int, Refusal> {
        // SAFETY: `call` hands over an array of that many iovecs, each naming a live, writable buffer of its length.
        self.call(|vector, count| unsafe { libc::jail_set(vector, count, flags) })
    }

    /// jail_get(2): the jail's number; the values stand in the buffers after it.
    pub fn jail_get(&mut self, flags: c_int) -> Result<c_int, Refusal> {
        // SAFETY: as for jail_set.
        self.call(|vector, count| unsafe { libc::jail_get(vector, count, flags) })
    }

    /// nmount(2).
    pub fn nmount(mut self, flags: c_int) -> Result<(), Refusal> {
        // SAFETY: as for jail_set.
        self.call(|vector, count| unsafe { libc::nmount(vector, count, flags) }).map(drop)
    }
}

fn with_nul(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0"].concat()
}

/// The bytes before the first NUL.
fn text(bytes: &[u8]) -> OsString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    OsString::from_vec(bytes[..end].to_vec())
}

/// The bytes of a fixed array of the kernel's, as text.
fn chars(field: &[c_char]) -> OsString {
    // SAFETY: a char is a byte, signed or not.
    text(unsafe { std::slice::from_raw_parts(field.as_ptr().cast(), field.len()) })
}

/// A text for a call that takes a C string.
pub fn c_string(text: impl AsRef<OsStr>) -> nix::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// jail_attach(2).
pub fn jail_attach(jid: c_int) -> nix::Result<()> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::jail_attach(jid) }).map(drop)
}

/// jail_remove(2).
pub fn jail_remove(jid: c_int) -> nix::Result<()> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::jail_remove(jid) }).map(drop)
}

unsafe extern "C" {
    fn rctl_add_rule(inbuf: *const c_char, inlen: usize, outbuf: *mut c_char, outlen: usize) -> c_int;
    fn rctl_get_racct(inbuf: *const c_char, inlen: usize, outbuf: *mut c_char, outlen: usize) -> c_int;
    fn rctl_remove_rule(inbuf: *const c_char, inlen: usize, outbuf: *mut c_char, outlen: usize) -> c_int;
}

unsafe extern "C" {
    fn modfind(name: *const c_char) -> c_int;
}

/// modfind(2): whether the kernel has a module of this name.
pub fn module_find(name: &CStr) -> bool {
    // SAFETY: the name is a C string.
    unsafe { modfind(name.as_ptr()) >= 0 }
}

/// rctl_add_rule(2).
pub fn rule_add(rule: &CStr) -> nix::Result<()> {
    let bytes = rule.to_bytes_with_nul();
    // SAFETY: reads as many bytes as are said to be there; there is no output.
    Errno::result(unsafe { rctl_add_rule(bytes.as_ptr().cast(), bytes.len(), ptr::null_mut(), 0) }).map(drop)
}

/// rctl_remove_rule(2): every rule that matches the filter.
pub fn rule_remove(filter: &CStr) -> nix::Result<()> {
    let bytes = filter.to_bytes_with_nul();
    // SAFETY: as for rctl_add_rule.
    Errno::result(unsafe { rctl_remove_rule(bytes.as_ptr().cast(), bytes.len(), ptr::null_mut(), 0) }).map(drop)
}

/// rctl_get_racct(2): what the subject of the filter uses, as `RESOURCE=AMOUNT,…`.
pub fn racct(filter: &CStr) -> nix::Result<String> {
    // Two dozen names and numbers; a kernel that has more to say answers ERANGE.
    let mut answer = vec![0u8; 8192];
    let bytes = filter.to_bytes_with_nul();
    let (buffer, length) = (answer.as_mut_ptr().cast(), answer.len());
    // SAFETY: reads as many bytes as are said to be there, and writes no more than there is room for.
    Errno::result(unsafe { rctl_get_racct(bytes.as_ptr().cast(), bytes.len(), buffer, length) })?;
    Ok(text(&answer).to_string_lossy().into_owned())
}

/// unmount(2).
pub fn unmount(target: &CStr, flags: c_int) -> nix::Result<()> {
    // SAFETY: the target is a C string.
    Errno::result(unsafe { libc::unmount(target.as_ptr(), flags) }).map(drop)
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    /// `f_mntonname`: the directory it covers.
    pub on: PathBuf,
    /// `f_fsid`.
    pub id: [i32; 2],
}

const _: () = assert!(size_of::<libc::statfs>() == 2344 && size_of::<libc::fsid_t>() == size_of::<[i32; 2]>());

/// statfs(2): the file system that holds the path.
pub fn statfs(path: &CStr) -> nix::Result<Mounted> {
    // SAFETY: integers and arrays of them: all zero is a value.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and `status` is a struct statfs.
    Errno::result(unsafe { libc::statfs(path.as_ptr(), &raw mut status) })?;
    Ok(mounted(&status))
}

fn mounted(status: &libc::statfs) -> Mounted {
    // SAFETY: fsid_t is a struct of just two 32-bit integers, whose fields libc keeps private.
    let id = unsafe { std::mem::transmute::<libc::fsid_t, [i32; 2]>(status.f_fsid) };
    Mounted { on: PathBuf::from(chars(&status.f_mntonname)), id }
}

/// getfsstat(2): every mounted file system that the caller may see, oldest first.
pub fn mounts() -> nix::Result<Vec<Mounted>> {
    loop {
        // SAFETY: with no buffer it only counts.
        let count = Errno::result(unsafe { libc::getfsstat(ptr::null_mut(), 0, libc::MNT_NOWAIT) })?;
        // One more than there are: a full buffer may be short of some.
        let room = usize::try_from(count).map_err(|_| Errno::EOVERFLOW)? + 1;
        // SAFETY: integers and arrays of them: all zero is a value.
        let mut list: Vec<libc::statfs> = vec![unsafe { std::mem::zeroed() }; room];
        let size = (room * size_of::<libc::statfs>()).try_into().map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: the buffer has that many bytes.
        let filled = Errno::result(unsafe { libc::getfsstat(list.as_mut_ptr(), size, libc::MNT_NOWAIT) })?;
        let filled = usize::try_from(filled).map_err(|_| Errno::EOVERFLOW)?;
        if filled < room {
            return Ok(list[..filled].iter().map(mounted).collect());
        }
    }
}

/// clock_gettime(2) of `CLOCK_REALTIME`, as a system call: the time since 1970.
pub fn now() -> nix::Result<Duration> {
    // sys/syscall.h
    const SYS_CLOCK_GETTIME: c_int = 232;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a struct timespec.
    Errno::result(unsafe { libc::syscall(SYS_CLOCK_GETTIME, libc::CLOCK_REALTIME, &raw mut now) })?;
    let seconds = u64::try_from(now.tv_sec).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Duration::new(seconds, u32::try_from(now.tv_nsec).map_err(|_| Errno::EOVERFLOW)?))
}

/// sysctl(3): the bytes of a value, however long it is.
pub fn sysctl(mib: &[c_int]) -> nix::Result<Vec<u8>> {
    let count = c_uint::try_from(mib.len()).map_err(|_| Errno::EINVAL)?;
    // Room for a `struct kinfo_proc`, so that most values take one call, and no memory until their size is known.
    let mut first = [MaybeUninit::<u8>::uninit(); 2048];
    let mut length = first.len();
    // SAFETY: the buffer has `length` bytes; the names are an array of `count` numbers.
    let result =
        unsafe { libc::sysctl(mib.as_ptr(), count, first.as_mut_ptr().cast(), &raw mut length, ptr::null(), 0) };
    match Errno::result(result) {
        Err(Errno::ENOMEM) => {}
        Err(errno) => return Err(errno),
        Ok(_) => {
            // SAFETY: the kernel wrote that many.
            let value = unsafe { std::slice::from_raw_parts(first.as_ptr().cast::<u8>(), length.min(first.len())) };
            return Ok(value.to_vec());
        }
    }
    loop {
        // SAFETY: with no buffer it only says the length.
        Errno::result(unsafe { libc::sysctl(mib.as_ptr(), count, ptr::null_mut(), &raw mut length, ptr::null(), 0) })?;
        // What grows between the two calls, a list of processes, finds some room.
        length += length / 8 + 16;
        let mut value: Vec<u8> = vec![0; length];
        let buffer = value.as_mut_ptr().cast::<c_void>();
        // SAFETY: the buffer has `length` bytes; the names are an array of `count` numbers.
        let result = unsafe { libc::sysctl(mib.as_ptr(), count, buffer, &raw mut length, ptr::null(), 0) };
        match Errno::result(result) {
            Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(errno),
            Ok(_) => {
                value.truncate(length);
                return Ok(value);
            }
        }
    }
}

/// The numbers of a sysctl's name.
pub fn sysctl_mib(name: &CStr) -> nix::Result<Vec<c_int>> {
    let mut mib = [0; 24];
    let mut count = mib.len();
    // SAFETY: `mib` has room for `count` numbers.
    Errno::result(unsafe { libc::sysctlnametomib(name.as_ptr(), mib.as_mut_ptr(), &raw mut count) })?;
    Ok(mib[..count.min(mib.len())].to_vec())
}

/// The bytes of the sysctl of this name.
pub fn sysctl_value(name: &CStr) -> nix::Result<Vec<u8>> {
    sysctl(&sysctl_mib(name)?)
}

/// The sysctl of this name, a number.
pub fn sysctl_int(name: &CStr) -> nix::Result<i32> {
    sysctl_value(name)?.as_slice().try_into().map(i32::from_ne_bytes).map_err(|_| Errno::EINVAL)
}

/// `__FreeBSD_version` of the kernel.
pub fn osreldate() -> nix::Result<u32> {
    let value = sysctl(&[libc::CTL_KERN, libc::KERN_OSRELDATE])?;
    value.as_slice().try_into().map(u32::from_ne_bytes).map_err(|_| Errno::EINVAL)
}

/// Every name below a node of the sysctl tree, without the node's own and a closing dot; none below what is no node.
pub fn sysctl_names(node: &str) -> nix::Result<Vec<String>> {
    let mut names = Vec::new();
    each_sysctl_name(node, |name| {
        names.push(name);
        true
    })?;
    Ok(names)
}

/// Shows those names to `go_on`, until it says no or there are no more.
pub fn each_sysctl_name(node: &str, mut go_on: impl FnMut(String) -> bool) -> nix::Result<()> {
    // sys/sysctl.h: CTL_SYSCTL, CTL_SYSCTL_NAME and CTL_SYSCTL_NEXT, which sysctl(8) walks with.
    const NAME: [c_int; 2] = [0, 1];
    const NEXT: [c_int; 2] = [0, 2];
    let top = sysctl_mib(&c_string(node)?)?;
    let prefix = format!("{node}.");
    let mut mib = top.clone();
    loop {
        let next = match sysctl(&[&NEXT[..], &mib].concat()) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        mib = next.chunks_exact(4).filter_map(|number| number.try_into().ok().map(c_int::from_ne_bytes)).collect();
        if !mib.starts_with(&top) {
            return Ok(());
        }
        let name = text(&sysctl(&[&NAME[..], &mib].concat())?).to_string_lossy().into_owned();
        let below = name.strip_prefix(&prefix).map(|name| name.trim_end_matches('.').to_owned());
        if below.is_some_and(|name| !go_on(name)) {
            return Ok(());
        }
    }
}

/// sys/ioccom.h: the number of an ioctl.
const fn ioctl_number(direction: c_ulong, group: u8, number: u8, size: usize) -> c_ulong {
    direction | (((size as c_ulong) & 0x1fff) << 16) | ((group as c_ulong) << 8) | number as c_ulong
}
const IOC_IN: c_ulong = 0x8000_0000;
const IOC_INOUT: c_ulong = 0xc000_0000;

/// sys/fs/devfs/devfs.h: `struct devfs_rule`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DevfsRule {
    magic: u32,
    /// `dr_id`: ruleset << 16 | number
    pub id: u32,
    conditions: c_int,
    device_flags: c_int,
    pattern: [c_char; 200],
    actions: c_int,
    basic: c_int,
    uid: u32,
    gid: u32,
    mode: u16,
    include: u16,
}

const DEVFS_MAGIC: u32 = 0xdb0a_087a;
const DEVFSIO_RADD: c_ulong = ioctl_number(IOC_INOUT, b'D', 0, size_of::<DevfsRule>());
const DEVFSIO_RDEL: c_ulong = ioctl_number(IOC_IN, b'D', 1, size_of::<u32>());
const DEVFSIO_RGETNEXT: c_ulong = ioctl_number(IOC_INOUT, b'D', 4, size_of::<DevfsRule>());
const _: () = assert!(size_of::<DevfsRule>() == 236 && std::mem::offset_of!(DevfsRule, actions) == 216);
const _: () = assert!(DEVFSIO_RADD == 0xc0ec_4400 && DEVFSIO_RDEL == 0x8004_4401 && DEVFSIO_RGETNEXT == 0xc0ec_4404);

impl DevfsRule {
    /// The rule with this id that does nothing.
    pub fn new(id: u32) -> Self {
        Self {
            magic: DEVFS_MAGIC,
            id,
            conditions: 0,
            device_flags: 0,
            pattern: [0; 200],
            actions: 0,
            basic: 0,
            uid: 0,
            gid: 0,
            mode: 0,
            include: 0,
        }
    }

    /// `path PATTERN` (`DRC_PATHPTRN`); false if the pattern is too long.
    pub fn set_pattern(&mut self, pattern: &str) -> bool {
        let fits = pattern.len() < self.pattern.len();
        for (slot, byte) in self.pattern.iter_mut().zip(pattern.bytes()) {
            *slot = c_char::from_ne_bytes([byte]);
        }
        self.conditions |= 2;
        fits
    }

    /// `hide`, `unhide` (`DRA_BACTS` with `DRB_HIDE`, `DRB_UNHIDE`)
    pub fn set_visible(&mut self, visible: bool) {
        self.actions |= 1;
        self.basic |= if visible { 2 } else { 1 };
    }

    /// `user` (`DRA_UID`)
    pub fn set_uid(&mut self, uid: u32) {
        self.actions |= 2;
        self.uid = uid;
    }

    /// `group` (`DRA_GID`)
    pub fn set_gid(&mut self, gid: u32) {
        self.actions |= 4;
        self.gid = gid;
    }

    /// `mode` (`DRA_MODE`)
    pub fn set_mode(&mut self, mode: u16) {
        self.actions |= 8;
        self.mode = mode;
    }

    /// `include` (`DRA_INCSET`)
    pub fn set_include(&mut self, ruleset: u16) {
        self.actions |= 16;
        self.include = ruleset;
    }

    /// Adds the rule to the ruleset that its id names; `devfs` is the root of any devfs.
    pub fn add(mut self, devfs: BorrowedFd<'_>) -> nix::Result<()> {
        // SAFETY: DEVFSIO_RADD reads and writes one struct devfs_rule.
        Errno::result(unsafe { libc::ioctl(devfs.as_raw_fd(), DEVFSIO_RADD, &raw mut self) }).map(drop)
    }

    /// The id of the first rule after this one in its ruleset: `ENOENT` if there is none.
    pub fn next(mut self, devfs: BorrowedFd<'_>) -> nix::Result<u32> {
        // SAFETY: DEVFSIO_RGETNEXT reads and writes one struct devfs_rule.
        Errno::result(unsafe { libc::ioctl(devfs.as_raw_fd(), DEVFSIO_RGETNEXT, &raw mut self) })?;
        Ok(self.id)
    }
}

/// Deletes the devfs rule with this id.
pub fn devfs_rule_delete(devfs: BorrowedFd<'_>, id: u32) -> nix::Result<()> {
    // SAFETY: DEVFSIO_RDEL reads one devfs_rid, a 32-bit number.
    Errno::result(unsafe { libc::ioctl(devfs.as_raw_fd(), DEVFSIO_RDEL, &raw const id) }).map(drop)
}

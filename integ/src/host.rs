//! `runj::sys::Host` driven directly: jails, mounts and processes without the program, for the tests that pin what
//! the kernel does and the emulation copies.
//!
//! The body of such a test runs in a forked child of the test's process, because the emulation changes namespaces,
//! which only a process with one thread can.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use runj::id::Jid;
use runj::sys::jail::{JailParams, JailSys, ParamValue};
use runj::sys::mount::{MountFlags, MountId, MountRequest, TargetKind};
use runj::sys::{Host, Jails, Mounts, Processes, SysError, unix};

use crate::{Case, Need, case, locate};

/// Runs a test of the host in a process of its own; what it leaves on the machine fails it, as in any [`case`].
#[track_caller]
pub fn host(needs: &[Need], body: fn(&Place<'_>)) {
    case(needs, |case| {
        let mut child = || {
            std::panic::set_hook(Box::new(|info| drop(writeln!(std::io::stderr(), "{info}"))));
            body(&Place::new(case));
            0
        };
        succeeds(unix::fork(&mut child).expect("fork"));
    });
}

/// Waits for a child, which has to exit with 0.
#[track_caller]
pub fn succeeds(pid: i32) {
    assert_eq!(waitpid(Pid::from_raw(pid), None), Ok(WaitStatus::Exited(Pid::from_raw(pid), 0)));
}

/// Waits for a child, which has to die by a signal.
#[track_caller]
pub fn dies(pid: i32, signal: Signal) {
    assert_eq!(waitpid(Pid::from_raw(pid), None), Ok(WaitStatus::Signaled(Pid::from_raw(pid), signal, false)));
}

/// The work of a process that is only there to be found.
pub fn sleep_for_ever() -> i32 {
    loop {
        nix::unistd::pause();
    }
}

/// The names in a directory, sorted, with blanks between.
#[track_caller]
pub fn names(directory: impl AsRef<Path>) -> String {
    let directory = directory.as_ref();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let names: BTreeSet<_> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

/// A text parameter.
pub fn text(value: impl AsRef<str>) -> ParamValue {
    ParamValue::Text(value.as_ref().to_owned())
}

/// `disable`, `new`, `inherit`.
pub const DISABLE: ParamValue = ParamValue::Sys(JailSys::Disable);
/// See [`DISABLE`].
pub const NEW: ParamValue = ParamValue::Sys(JailSys::New);
/// See [`DISABLE`].
pub const INHERIT: ParamValue = ParamValue::Sys(JailSys::Inherit);

/// A mount with nothing special about it.
pub fn request(fstype: &str) -> MountRequest {
    MountRequest {
        fstype: fstype.to_owned(),
        source: None,
        flags: MountFlags::default(),
        options: Vec::new(),
        ruleset: None,
        rules: Vec::new(),
        copy_up: false,
    }
}

/// A nullfs mount.
pub fn nullfs(source: impl Into<PathBuf>, flags: MountFlags) -> MountRequest {
    MountRequest { source: Some(source.into()), flags, ..request("nullfs") }
}

/// Read-only.
pub const READ_ONLY: MountFlags = MountFlags {
    read_only: true,
    no_exec: false,
    no_suid: false,
    no_dev: false,
    no_atime: false,
    no_symfollow: false,
    recursive: false,
};

/// A test's surroundings: the host, and a root directory for jails.
#[derive(Debug)]
pub struct Place<'a> {
    /// The test.
    pub case: &'a Case,
    /// The host.
    pub host: Host,
    /// A root directory with `data dev etc mnt proc tmp`, a file `etc/inside`, and integ-inside.
    pub root: PathBuf,
}

impl<'a> Place<'a> {
    fn new(case: &'a Case) -> Self {
        let root = case.path("root");
        for directory in ["data", "dev", "etc", "mnt", "proc", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("root");
        }
        fs::write(root.join("etc/inside"), "inside").expect("a file in the root");
        let (inside, program) = (locate::inside().expect("integ-inside"), root.join("integ-inside"));
        if fs::hard_link(&inside, &program).is_err() {
            fs::copy(&inside, &program).expect("integ-inside in the root");
        }
        let root = root.canonicalize().expect("root");
        Self { case, host: Host::new(&case.root()), root }
    }

    /// A jail's name that carries the test's mark.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.case.marker())
    }

    /// The parameters of a jail that shares the host's network.
    pub fn params(&self, name: &str) -> JailParams {
        let mut params = JailParams::default();
        params.set("name", text(self.name(name)));
        params.set("path", text(self.root.to_string_lossy()));
        params.set("persist", ParamValue::Flag(true));
        params.set("ip4", INHERIT);
        params.set("ip6", INHERIT);
        params
    }

    /// A jail that shares the host's network, with other parameters, or other values of these.
    #[track_caller]
    pub fn create(&self, name: &str, more: &[(&str, ParamValue)]) -> Jail<'_> {
        let mut params = self.params(name);
        for (name, value) in more {
            params.set(name, value.clone());
        }
        self.create_of(&params)
    }

    /// A jail of just these parameters.
    #[track_caller]
    pub fn create_of(&self, params: &JailParams) -> Jail<'_> {
        let jid = self.host.jail_create(params).unwrap_or_else(|error| panic!("{error}"));
        Jail { place: self, jid, mounts: RefCell::default() }
    }

    /// An empty jail with a network stack of its own.
    #[track_caller]
    pub fn create_vnet(&self, name: &str) -> Jail<'_> {
        let mut params = self.params(name);
        params.0.retain(|(name, _)| !name.starts_with("ip"));
        params.set("vnet", NEW);
        self.create_of(&params)
    }

    /// Why a jail with these parameters is refused, the others being sound; proves that there is none.
    #[track_caller]
    pub fn refusal(&self, more: &[(&str, ParamValue)]) -> (Errno, String) {
        let mut params = self.params("refused");
        for (name, value) in more {
            params.set(name, value.clone());
        }
        let error = self.host.jail_create(&params).expect_err("a refusal");
        assert_eq!(self.host.jail_find(&self.name("refused")), Ok(None));
        (error.errno, error.message)
    }
}

/// A jail that is removed in the end, with its mounts.
#[derive(Debug)]
pub struct Jail<'a> {
    place: &'a Place<'a>,
    /// Its number.
    pub jid: Jid,
    mounts: RefCell<Vec<(PathBuf, Option<MountId>)>>,
}

impl Drop for Jail<'_> {
    fn drop(&mut self) {
        let host = &self.place.host;
        let removed = host.jail_remove(self.jid);
        let mounts = self.mounts.take();
        let unmounted = mounts.iter().rev().map(|(path, before)| host.unmount(path, before.as_ref()));
        let outcome: Result<Vec<()>, SysError> = std::iter::once(removed).chain(unmounted).collect();
        assert!(std::thread::panicking() || outcome.is_ok(), "{outcome:?}");
    }
}

impl Jail<'_> {
    /// Starts a child of the caller in the jail, with descriptors 0 to 2.
    #[track_caller]
    pub fn start(&self, work: impl FnMut() -> i32) -> i32 {
        self.start_with(&[], work)
    }

    /// Starts a child of the caller in the jail that keeps these descriptors too; it has attached when this returns.
    #[track_caller]
    pub fn start_with(&self, keep: &[RawFd], mut work: impl FnMut() -> i32) -> i32 {
        let host = &self.place.host;
        let (attached, mut attach) = unix::pipe().map(|(read, write)| (read, Some(write))).expect("pipe");
        let number = attach.as_ref().map(AsRawFd::as_raw_fd);
        let keep: BTreeSet<RawFd> = [0, 1, 2].iter().chain(keep).copied().chain(number).collect();
        let mut child = || {
            unix::close_descriptors_except(&keep);
            host.jail_enter(self.jid).expect("enter");
            host.jail_attach(self.jid, &self.place.root).unwrap_or_else(|error| panic!("{error}"));
            drop(attach.take().map(|pipe| fs::File::from(pipe).write_all(b"a")));
            work()
        };
        let pid = host.fork(Some(self.jid), &mut child).expect("fork");
        drop(attach.take());
        let mut byte = [0];
        assert_eq!(fs::File::from(attached).read(&mut byte).expect("a byte"), 1, "the child {pid} has not attached");
        pid
    }

    /// Runs a check in the jail.
    #[track_caller]
    pub fn run(&self, work: impl Fn()) {
        succeeds(self.start(|| {
            work();
            0
        }));
    }

    /// Mounts at a destination as the container sees it; a directory is made where there is nothing.
    pub fn mount(&self, destination: &str, request: &MountRequest) -> Result<(), SysError> {
        let (host, root, jid) = (&self.place.host, self.place.root.as_path(), Some(self.jid));
        let at = host.resolve(jid, root, Path::new(destination))?;
        if at.kind.is_none() {
            host.create_target(jid, root, &at.path, TargetKind::Directory)?;
        }
        let path = root.join(&at.path);
        let before = host.mount_id(&path)?;
        host.mount(jid, root, &at.path, request)?;
        self.mounts.borrow_mut().push((path, before));
        Ok(())
    }

    /// [`Jail::mount`], which has to succeed.
    #[track_caller]
    pub fn mounted(&self, destination: &str, request: &MountRequest) {
        self.mount(destination, request).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A directory descriptor is open while the caller attaches: what becomes of it.
    pub fn attach_with_directory(&self) -> Result<(), SysError> {
        let host = &self.place.host;
        let mut child = || {
            unix::close_descriptors_except(&BTreeSet::from([0, 1, 2]));
            host.jail_enter(self.jid).expect("enter");
            let _directory = fs::File::open("/").expect("/");
            host.jail_attach(self.jid, &self.place.root).map_or_else(|error| error.errno as i32, |()| 0)
        };
        let pid = host.fork(Some(self.jid), &mut child).expect("fork");
        match waitpid(Pid::from_raw(pid), None).expect("wait") {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(SysError::new("attach", Errno::from_raw(errno))),
            other => panic!("{other:?}"),
        }
    }
}

//! The boundary to the kernel: four narrow traits and the values that cross it.
//!
//! Hosts carry out and decide nothing; what is asked of them was decided by [`crate::plan`]. The only
//! platform switch of the crate stands here; on a third system it fails to compile.
//!
//! [`Host`] is this system: FreeBSD itself, or the emulation of jail(2) on Linux namespaces.

pub mod beneath;
pub mod copy;
pub mod examination;
pub mod fake;
pub mod heap;
pub mod jail;
pub mod limit;
pub mod mount;
pub mod net;
pub mod process;
pub mod processors;
pub mod startup;
pub mod tree;
pub mod unix;
pub mod usage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::id::Jid;
use examination::Examination;
use jail::{HostFacts, JailParams, JailView};
use limit::Limits;
use mount::{DeviceRule, MountId, MountRequest, Resolved, TargetKind};
use net::{InterfaceAlias, MovedInterface};
use process::{Credentials, ProcessIdentity, Pty, Rlimit};
use processors::Processors;
use usage::{ProcessView, Usage};

#[cfg(target_os = "freebsd")]
#[path = "freebsd/mod.rs"]
mod imp;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod imp;

pub use imp::{DEFAULT_STATE_ROOT, Host, SIGNAL_MAX, SYSTEM, installed, now, realtime_minimum};

/// A refusal of the kernel (or of the emulation, in the kernel's words).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{operation}: {message}")]
pub struct SysError {
    /// What was asked, object first: `mount /a on /jail/b (nullfs)`.
    pub operation: String,
    /// The number.
    pub errno: Errno,
    /// The kernel's own words: its `errmsg` where it gave one, else the text of the number; with what to do
    /// about it where we know.
    pub message: String,
}

impl SysError {
    /// An error whose message is the text of its number.
    pub fn new(operation: impl Into<String>, errno: Errno) -> Self {
        Self { operation: operation.into(), errno, message: errno.desc().to_owned() }
    }

    /// An error with words of its own.
    pub fn with_message(operation: impl Into<String>, errno: Errno, message: impl Into<String>) -> Self {
        Self { operation: operation.into(), errno, message: message.into() }
    }
}

/// The FreeBSD that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// `hw.machine`: `arm64`.
    pub machine: String,
    /// `hw.machine_arch`: `aarch64`.
    pub arch: String,
    /// `kern.osrelease`, the kernel's: `14.1-RELEASE-p3`.
    pub release: String,
}

/// The outcome of a question to the kernel.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// Jails: jail_set(2), jail_get(2), jail_attach(2), jail_remove(2), rctl_add_rule(2), rctl_get_racct(2).
pub trait Jails {
    /// What this machine's kernel can do, without [`HostFacts::racct`] and [`HostFacts::processors`], which cost questions
    /// of their own.
    fn facts(&self) -> Result<HostFacts> {
        self.facts_of(None)
    }

    /// The same with those jail parameters alone that have one of these names: each name costs FreeBSD's kernel some calls.
    fn facts_of(&self, params: Option<&BTreeSet<String>>) -> Result<HostFacts>;

    /// What this machine is and has, for `doctor`.
    fn examine(&self) -> Result<Examination>;

    /// Whether the kernel accounts, so that limits hold: `kern.racct.enable`, on Linux whether a cgroup can be made.
    fn accounts(&self) -> Result<bool>;

    /// The processors that a jail can be given: those of whatever runj itself is confined to, a jail or a cgroup.
    fn processors(&self) -> Result<Processors>;

    /// Creates a jail (`JAIL_CREATE`); refuses a name that exists with `EEXIST`.
    fn jail_create(&self, params: &JailParams) -> Result<Jid>;

    /// The living (not dying) jail of this name, or none.
    fn jail_find(&self, name: &str) -> Result<Option<JailView>>;

    /// Takes the calling process into what surrounds the jail before it is attached to it: on Linux its
    /// namespaces, on FreeBSD nothing. Called in a child, once.
    fn jail_enter(&self, jid: Jid) -> Result<()>;

    /// Puts the calling process into the jail (jail_attach(2)): the recipe of chdir to `root`, attach,
    /// chdir to `/`. Called in a child after [`Jails::jail_enter`], with no directory descriptor open.
    fn jail_attach(&self, jid: Jid, root: &Path) -> Result<()>;

    /// Removes the jail: kills its processes and repeats until the kernel says that none lives. A jail that
    /// is gone is success.
    fn jail_remove(&self, jid: Jid) -> Result<()>;

    /// What [`Jails::limits_add`] will make, and has to be journaled first: the directories of the limits' cgroup, parents
    /// first, that do not exist. On FreeBSD none.
    fn limits_missing(&self, limits: &Limits) -> Result<Vec<PathBuf>>;

    /// Applies limits to the jail of this name, which need not exist yet (rctl(8)).
    fn limits_add(&self, jail: &str, limits: &Limits) -> Result<()>;

    /// Puts `new` limits into the place of `old` ones of the jail of this name. The cgroup is the same in both. After
    /// an error some are the new ones: the same with both exchanged takes them back.
    fn limits_replace(&self, jail: &str, old: &Limits, new: &Limits) -> Result<()>;

    /// What the kernel's account says of the jail of this name with these limits; empty where it keeps none.
    fn usage(&self, jail: &str, limits: &Limits) -> Result<Usage>;

    /// Puts the calling process under limits that do not follow from the jail alone (a cgroup).
    fn limits_join(&self, limits: &Limits) -> Result<()>;

    /// Removes all limits of the jail of this name, and of the directories that were made for them those that nobody
    /// else uses; having none is success.
    fn limits_remove(&self, jail: &str, limits: &Limits, made: &[PathBuf]) -> Result<()>;
}

/// Mounts, their targets, and the rules of devfs(8).
///
/// Where `jid` is given, the mount belongs to the jail (on Linux: is made in its mount namespace and dies
/// with it); without, to the host.
pub trait Mounts {
    /// Where `destination` lies beneath `root`: links are followed as after chroot(2), nothing is changed.
    fn resolve(&self, jid: Option<Jid>, root: &Path, destination: &Path) -> Result<Resolved>;

    /// Makes the missing part of a resolved path beneath `root`: directories 0755, at the end a directory or
    /// an empty file. Follows no link.
    fn create_target(&self, jid: Option<Jid>, root: &Path, path: &Path, kind: TargetKind) -> Result<()>;

    /// Removes what [`Mounts::create_target`] made at `path` beneath `root` on the host: the last `count`
    /// components, while they are empty. Absence is success; a non-empty one is left alone.
    fn remove_target(&self, root: &Path, path: &Path, count: usize, kind: TargetKind) -> Result<()>;

    /// Mounts at `path`, which is resolved and exists beneath `root`; follows no link.
    fn mount(&self, jid: Option<Jid>, root: &Path, path: &Path, request: &MountRequest) -> Result<()>;

    /// What is mounted exactly on the absolute `path` on the host (top of the stack), or none.
    fn mount_id(&self, path: &Path) -> Result<Option<MountId>>;

    /// Unmounts, by its id, what is mounted on `path`, unless that is `before`. Nothing there is success.
    fn unmount(&self, path: &Path, before: Option<&MountId>) -> Result<()>;

    /// Kills the processes of a living jail that may mount, and unmounts what they mounted: it would outlive them and
    /// keep the jail dying. On Linux nothing does: mounts made inside end with the jail.
    fn unmount_inner(&self, jid: Jid) -> Result<()>;

    /// Whether the devfs ruleset holds at least one rule.
    fn ruleset_exists(&self, number: u16) -> Result<bool>;

    /// Adds rules to a ruleset (`DEVFSIO_RADD`), in order, numbered from 100 in steps of 100.
    fn ruleset_add(&self, number: u16, rules: &[DeviceRule]) -> Result<()>;

    /// Deletes every rule of a ruleset; having none is success.
    fn ruleset_remove(&self, number: u16) -> Result<()>;
}

/// Network interfaces: `SIOCAIFADDR`, `SIOCDIFADDR`, `SIOCSIFVNET`, `SIOCSIFRVNET`.
pub trait Interfaces {
    /// Whether the interface carries exactly this address.
    fn alias_exists(&self, alias: &InterfaceAlias) -> Result<bool>;

    /// Adds an address to an interface of the host; one that is there is success.
    fn alias_add(&self, alias: &InterfaceAlias) -> Result<()>;

    /// Removes an address; absence is success.
    fn alias_remove(&self, alias: &InterfaceAlias) -> Result<()>;

    /// The interface as it is on the host now, to be recorded before it is moved.
    fn interface(&self, name: &str) -> Result<MovedInterface>;

    /// Moves an interface of the host into the jail's network stack.
    fn interface_move(&self, jid: Jid, interface: &MovedInterface) -> Result<()>;

    /// Takes an interface back from the jail, under the name it had on the host, whatever it is called
    /// inside. One that is on the host already is success.
    fn interface_return(&self, jid: Jid, interface: &MovedInterface) -> Result<()>;
}

/// Processes: who they are, signals, and what a child does to itself.
pub trait Processes {
    /// What tells one boot from the next, where the kernel has it.
    fn boot_id(&self) -> Result<Option<String>>;

    /// The living process with this pid; a zombie is dead.
    fn identity(&self, pid: i32) -> Result<Option<ProcessIdentity>>;

    /// Sends a signal to the process if it is still the one that was recorded; false if it is gone.
    fn signal(&self, process: &ProcessIdentity, signal: i32) -> Result<bool>;

    /// The living processes of the jail, as the host numbers them. On Linux without the jail's keeper.
    fn members(&self, jid: Jid) -> Result<Vec<ProcessIdentity>>;

    /// The same processes with what ps(1) shows of them.
    fn views(&self, jid: Jid) -> Result<Vec<ProcessView>>;

    /// Sends a signal to every process of the jail in one call (kill(-1) from inside); false if there is none.
    fn signal_all(&self, jid: Jid, signal: i32) -> Result<bool>;

    /// Forks. The child runs `child` and exits with what it returns; it is a child of the caller, and on Linux
    /// born into the jail's process namespace. Returns the child's pid, as the host numbers it.
    fn fork(&self, jid: Option<Jid>, child: &mut dyn FnMut() -> i32) -> Result<i32>;

    /// Opens a terminal pair for a process of the jail (before it is forked): on FreeBSD on the host, on Linux
    /// from the devpts below `root` where the jail has one.
    fn open_pty(&self, jid: Jid, root: &Path) -> Result<Pty>;

    /// Forbids others to trace the calling process until it executes (`PROC_TRACE_CTL`, `PR_SET_DUMPABLE`).
    fn forbid_tracing(&self) -> Result<()>;

    /// Sets `noNewPrivileges` for the calling process, or says that the kernel lacks it.
    fn set_no_new_privileges(&self) -> Result<()>;

    /// Sets a limit of the calling process (setrlimit(2)).
    fn set_rlimit(&self, limit: &Rlimit) -> Result<()>;

    /// Makes the calling process a user: groups (the primary one first), gid, uid, login name.
    fn become_user(&self, credentials: &Credentials) -> Result<()>;
}

/// Everything that the runtime needs of a system.
pub trait Kernel: Jails + Mounts + Interfaces + Processes {}

impl<T: Jails + Mounts + Interfaces + Processes> Kernel for T {}

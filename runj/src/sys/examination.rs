//! What `doctor` asks a system about, as values. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a machine is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examination {
    /// FreeBSD.
    Freebsd(Freebsd),
    /// Linux.
    Linux(Linux),
}

/// Whether a FreeBSD kernel accounts resources (racct(4)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounting {
    /// It does.
    On,
    /// `kern.racct.enable` is 0.
    Off,
    /// It is built without.
    Absent,
}

/// The modules of FreeBSD that mounts and networks of jails need.
pub const MODULES: [&str; 8] = ["nullfs", "tmpfs", "fdescfs", "procfs", "linprocfs", "linsysfs", "if_epair", "pf"];

/// Whether the kernel has a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// It has.
    Loaded,
    /// It is a file that can be loaded.
    Loadable,
    /// Neither.
    Absent,
}

/// A FreeBSD machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freebsd {
    /// `kern.osrelease`.
    pub release: String,
    /// `kern.osreldate`.
    pub osreldate: u32,
    /// Whether jails can have network stacks of their own (VIMAGE).
    pub vnet: bool,
    /// Accounting.
    pub accounting: Accounting,
    /// [`MODULES`].
    pub modules: BTreeMap<&'static str, Module>,
    /// Whether `devfs.rules` are loaded: ruleset 4 has rules; none where devfs cannot be asked.
    pub devfs_rules: Option<bool>,
    /// `kern.securelevel`.
    pub securelevel: i32,
    /// What a machine may that is a jail itself.
    pub jailed: Option<Jailed>,
}

/// The permissions of a jail that runj runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jailed {
    /// How many jails it may have.
    pub children_max: u32,
    /// How many it has.
    pub children: u32,
    /// `enforce_statfs`.
    pub enforce_statfs: u32,
    /// What it may not mount, as `allow.mount.nullfs`.
    pub forbidden: BTreeSet<String>,
}

/// A Linux machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linux {
    /// The kernel's release.
    pub release: String,
    /// Kinds of namespaces that the kernel lacks, of those that jails are made of.
    pub missing_namespaces: Vec<&'static str>,
    /// The hierarchy of cgroups; none if it is not mounted.
    pub cgroups: Option<Cgroups>,
    /// Whether the kernel has overlay file systems; none where it cannot be asked.
    pub overlay: Option<bool>,
    /// Whether pairs of interfaces can be made; none where only root could try.
    pub pairs: Option<bool>,
}

/// A hierarchy of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    /// 1 or 2.
    pub version: u8,
    /// Whether cgroups can be made.
    pub writable: bool,
    /// Controllers that it lacks, of those that limits need.
    pub missing: Vec<&'static str>,
}

//! Mounts as values. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What kind of thing a mount needs to be mounted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A directory.
    Directory,
    /// A file (a nullfs mount of a file or device node).
    File,
}

/// A destination, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The path relative to the root, free of links and dots; empty for the root itself.
    pub path: PathBuf,
    /// How many of its last components do not exist.
    pub missing: usize,
    /// What is there, if all of it exists.
    pub kind: Option<TargetKind>,
}

/// Flags that every file system understands (mount(8), mount(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MountFlags {
    /// `ro`
    pub read_only: bool,
    /// `noexec`
    pub no_exec: bool,
    /// `nosuid`
    pub no_suid: bool,
    /// `nodev`: without effect on FreeBSD, where device nodes live in devfs alone
    pub no_dev: bool,
    /// `noatime`
    pub no_atime: bool,
    /// `nosymfollow`
    pub no_symfollow: bool,
    /// `rbind`: with everything mounted below; only the emulation can
    pub recursive: bool,
}

/// A mount, ready to be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountRequest {
    /// The file system's type: `nullfs`, `tmpfs`, `devfs`, `fdescfs`, `procfs`, …
    pub fstype: String,
    /// What is mounted: an absolute path for nullfs, else a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Flags.
    #[serde(default)]
    pub flags: MountFlags,
    /// The file system's own options, `key` or `key=value` (nmount(2)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, Option<String>)>,
    /// devfs: the ruleset of the mount; none is the kernel's default, which shows every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruleset: Option<u16>,
    /// devfs: rules of this mount alone. On FreeBSD they stand in the private ruleset; the emulation makes the nodes
    /// that they leave visible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<DeviceRule>,
    /// tmpfs: begin with a copy of what the target holds.
    #[serde(default)]
    pub copy_up: bool,
}

/// Identifies a mounted file system (`f_fsid`; on Linux the mount's id).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountId(pub String);

/// A rule of devfs(8): a path pattern (none: every node) and what happens to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRule {
    /// `include RULESET`: what the rules of another set do; then nothing else is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<u16>,
    /// `path PATTERN`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `unhide` (true) or `hide` (false)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible: Option<bool>,
    /// `mode`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u16>,
    /// `user`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// `group`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

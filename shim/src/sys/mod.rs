//! The kernel, as far as the two systems differ, and the one place with unsafe code ([`ffi`]).
//!
//! The only `cfg(target_os)` of the crate.

pub mod ffi;
pub mod spawn;

#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod imp;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;

pub use imp::{COUNTS_MEMORY_KILLS, STATE_DIRECTORY, become_reaper, mount, unmount, unmount_now};

/// A mount of a root file system, as containerd describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountRequest {
    /// The type of file system.
    pub fstype: String,
    /// What is mounted.
    pub source: String,
    /// Options as in fstab(5).
    pub options: Vec<String>,
}

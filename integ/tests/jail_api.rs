//! The host itself, unchanged on both systems: what the FreeBSD kernel does and refuses, and the emulation copies.
//!
//! Where the two differ by nature, a test says less or reads [`runj::sys::jail::HostFacts`]; what is FreeBSD's alone is
//! in `freebsd.rs`, the emulation's alone in `runj/tests/linux_host.rs`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

#[path = "jail_api/jails.rs"]
mod jails;
#[path = "jail_api/mounts.rs"]
mod mounts;
#[path = "jail_api/network.rs"]
mod network;
#[path = "jail_api/processes.rs"]
mod processes;

//! containerd's shim for runj: the task service, as a library for the program and its tests.
//!
//! One process serves one container. It runs the `runj` program for every verb and itself owns what outlives a run:
//! the processes (as their reaper), their streams and terminals, the root file system's mounts, the events.

pub mod args;
pub mod bootstrap;
pub mod capture;
pub mod cleanup;
pub mod container;
pub mod error;
pub mod events;
pub mod exec;
pub mod info;
pub mod launch;
pub mod log;
pub mod options;
pub mod process;
pub mod proto;
pub mod reaper;
pub mod record;
pub mod rootfs;
pub mod runj;
pub mod server;
pub mod service;
pub mod spec;
pub mod stats;
pub mod stdio;
pub mod sys;

/// The name by which containerd and nerdctl know the runtime; they hard-code it on FreeBSD.
pub const NAME: &str = "wtf.sbk.runj.v1";

//! runj: an OCI runtime for FreeBSD jails.
//!
//! A bundle goes one way: bytes → `config` → `plan` (all pure), and from the plan through `runtime` to
//! the kernel behind [`sys`]. What was done is recorded by `state` and `resource`, so that it can be undone.
#![warn(missing_docs)]

pub mod bundle;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod entrypoint;
pub mod hook;
pub mod id;
pub mod log;
pub mod plan;
pub mod resource;
pub mod runtime;
pub mod signal;
pub mod state;
pub mod sys;

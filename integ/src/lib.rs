//! The harness of the tests in `integ/tests`: real jails, interfaces and packet-filter rules.
//!
//! A test is a [`case`]: its needs are declared, its body runs in a process of its own, and what it leaves on
//! the machine fails it. Inside, typed guards make and undo things: [`Bundle`], [`Container`], [`Containerd`], [`Console`],
//! [`net::Network`]. Like a test, the harness panics where something is not as it must be.
//!
//! `docs/testing.md` says how to run the suite and which variables it reads.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
// clippy.toml forbids threads to runj; the harness serves peers from some.
#![allow(clippy::disallowed_methods)]

pub mod bundle;
pub mod case;
pub mod console;
pub mod container;
pub mod containerd;
pub mod docs;
#[cfg(target_os = "linux")]
pub mod engine;
pub mod ffi;
pub mod host;
pub mod leaks;
pub mod locate;
pub mod needs;
pub mod net;
pub mod replay;
pub mod report;
pub mod run;
pub mod sweep;
pub mod trace;
pub mod wait;

pub use bundle::Bundle;
pub use case::{Case, case};
pub use console::Console;
pub use container::Container;
pub use containerd::Containerd;
pub use needs::Need;
pub use run::Program;
pub use wait::until;

/// What nearly every test file uses.
pub mod prelude {
    pub use crate::wait::until;
    pub use crate::{Bundle, Case, Console, Container, Need, Program, case, needs};
    pub use assert_cmd::assert::OutputAssertExt;
    pub use predicates::prelude::*;
    pub use predicates::str::{contains, is_empty, starts_with};
    pub use rstest::rstest;
    pub use serde_json::{Value, json};
}

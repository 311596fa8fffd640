//! The shim's protocol, without root and without containerd: the real program under a stand-in for containerd, over a
//! stand-in for runj.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod errors;
mod harness;
mod life;
mod streams;

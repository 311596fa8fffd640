//! containerd's messages and services, generated from `proto/`.
#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

include!(concat!(env!("OUT_DIR"), "/mod.rs"));

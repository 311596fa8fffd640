//! Verbs of other runtimes that jails cannot have. Whoever probes for them (`checkpoint --help`) must see them fail.

use std::ffi::OsString;

use clap::Args;

/// Whatever stands behind the verb.
#[derive(Debug, Args)]
pub struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Why a verb is not there.
pub fn error(verb: &str) -> anyhow::Error {
    anyhow::anyhow!("{verb}: not supported: the processes of a jail cannot be saved and restored")
}

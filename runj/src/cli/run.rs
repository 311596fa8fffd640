//! `run`.

use clap::Args;

use super::container::Creation;
use super::need_root;
use super::plain::{Known, Plain, Takes, Words};
use crate::runtime::Runtime;
use crate::runtime::console::ConsoleWish;
use crate::runtime::run::{Stay, run};
use crate::sys::Kernel;

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub creation: Creation,
    /// Return when the program was executed
    #[arg(short, long)]
    detach: bool,
    /// Leave the stopped container
    #[arg(long)]
    keep: bool,
    /// Ignored: the program is a child of runj as it is
    #[arg(long, hide = true)]
    no_subreaper: bool,
}

impl Plain for Run {
    const OPTIONS: &'static [Known] = &[
        ("--bundle", Some("-b"), Takes::Value),
        ("--console-socket", None, Takes::Value),
        ("--pid-file", None, Takes::Value),
        ("--detach", Some("-d"), Takes::Nothing),
        ("--keep", None, Takes::Nothing),
    ];

    fn of(words: &Words<'_>) -> Option<Self> {
        Some(Self {
            creation: Creation::of(words)?,
            detach: words.has("--detach"),
            keep: words.has("--keep"),
            no_subreaper: false,
        })
    }
}

impl Run {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<u8> {
        need_root("run")?;
        let (stay, terminal) = match (self.detach, self.keep) {
            (true, _) => (Stay::Detach, ConsoleWish::Absent),
            (false, true) => (Stay::ForegroundAndKeep, ConsoleWish::Foreground),
            (false, false) => (Stay::ForegroundAndDelete, ConsoleWish::Foreground),
        };
        Ok(run(runtime, &self.creation.request(terminal), stay)?)
    }
}

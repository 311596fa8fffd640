//! `gc`.

use clap::Args;

use super::{need_root, print};
use crate::runtime::Runtime;
use crate::runtime::gc::{find, release};
use crate::sys::Kernel;

#[derive(Debug, Args)]
pub struct Gc {
    /// Say what would be released, and release nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Gc {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let found = find(runtime)?;
        if self.dry_run {
            return found.iter().try_for_each(|item| print(&format!("{item}: would be released\n")));
        }
        need_root("gc")?;
        let mut failures = Vec::new();
        for item in &found {
            match release(runtime, item) {
                Ok(true) => print(&format!("{item}: released\n"))?,
                Ok(false) => {}
                Err(error) => failures.push(error.to_string()),
            }
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }
}

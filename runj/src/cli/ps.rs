//! `ps`.

use std::time::Duration;

use clap::Args;

use super::list::{Format, table};
use super::print;
use crate::id::ContainerId;
use crate::runtime::Runtime;
use crate::sys::Kernel;
use crate::sys::usage::ProcessView;

#[derive(Debug, Args)]
pub struct Ps {
    /// How processes are shown; json is their pids alone
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// The container's id
    id: ContainerId,
    /// Options of ps(1), which runj does not run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    options: Vec<String>,
}

impl Ps {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        if let Some(option) = self.options.first() {
            anyhow::bail!("ps: {option}: ps(1) is not run, and its options are not known");
        }
        let record = runtime.store.read(&self.id)?;
        match self.format {
            Format::Json => {
                let members = record.jid.map(|jid| runtime.kernel.members(jid)).transpose()?.unwrap_or_default();
                let mut pids: Vec<i32> = members.iter().map(|member| member.pid).collect();
                pids.sort_unstable();
                print(&(serde_json::to_string(&pids)? + "\n"))
            }
            Format::Table => {
                let mut views = record.jid.map(|jid| runtime.kernel.views(jid)).transpose()?.unwrap_or_default();
                views.sort_unstable_by_key(|view| view.identity.pid);
                let head = ["UID", "PID", "PPID", "C", "ELAPSED", "TTY", "TIME", "CMD"].map(str::to_owned);
                print(&table(std::iter::once(head).chain(views.iter().map(row))))
            }
        }
    }
}

/// The columns of `ps -ef`; ELAPSED stands for STIME, which needs the time zone of whoever looks.
fn row(view: &ProcessView) -> [String; 8] {
    let share = view.cpu.total.as_millis() * 100 / view.age.as_millis().max(1);
    [
        view.uid.to_string(),
        view.identity.pid.to_string(),
        view.parent.to_string(),
        share.to_string(),
        clock(view.age),
        view.terminal.clone().unwrap_or_else(|| "?".to_owned()),
        clock(view.cpu.total),
        view.command.clone(),
    ]
}

/// `[DD-]HH:MM:SS`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let days = seconds / 86_400;
    let day = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{day}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_clocks() {
        assert_eq!(clock(Duration::from_secs(59)), "00:00:59");
        assert_eq!(clock(Duration::from_secs(2 * 86_400 + 3661)), "2-01:01:01");
    }
}

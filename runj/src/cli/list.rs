//! `list`.

use clap::{Args, ValueEnum};

use super::{print, shown};
use crate::runtime::Runtime;
use crate::runtime::list::{Row, list};
use crate::sys::Kernel;

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    Table,
    /// An array
    Json,
}

#[derive(Debug, Args)]
pub struct List {
    /// How containers are shown
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// Show ids alone
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let rows = list(runtime)?;
        for row in &rows {
            match row {
                Row::Broken { id, reason } => log::warn!("{id}: {reason}"),
                Row::Container(state, Some(reason)) => log::warn!("{}: {reason}; runj gc releases it", state.id),
                Row::Container(_, None) => {}
            }
        }
        if self.quiet {
            let ids = rows.iter().map(|row| match row {
                Row::Container(state, _) => format!("{}\n", state.id),
                Row::Broken { id, .. } => format!("{id}\n"),
            });
            return print(&ids.collect::<String>());
        }
        match self.format {
            Format::Json => {
                let states: Vec<_> = rows
                    .iter()
                    .filter_map(|row| match row {
                        Row::Container(state, _) => Some(state),
                        Row::Broken { .. } => None,
                    })
                    .collect();
                print(&(serde_json::to_string(&states)? + "\n"))
            }
            Format::Table => {
                let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "JAIL"].map(str::to_owned);
                let lines = rows.iter().map(|row| match row {
                    Row::Container(state, abandoned) => [
                        state.id.to_string(),
                        state.pid.unwrap_or(0).to_string(),
                        if abandoned.is_some() { "abandoned".to_owned() } else { state.status.to_string() },
                        shown(&state.bundle.display().to_string()),
                        state.created.clone(),
                        state.jail.jid.map_or_else(|| "-".to_owned(), |jid| jid.to_string()),
                    ],
                    Row::Broken { id, .. } => {
                        let dash = || "-".to_owned();
                        [id.to_string(), "0".to_owned(), "broken".to_owned(), dash(), dash(), dash()]
                    }
                });
                print(&table(std::iter::once(head).chain(lines)))
            }
        }
    }
}

/// Columns of equal width, as tables of runc look.
pub fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}   "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["ID", "PID"], ["a", "1234"], ["long", "1"]].map(|row| row.map(str::to_owned));
        assert_eq!(super::table(rows.into_iter()), "ID     PID\na      1234\nlong   1\n");
    }
}

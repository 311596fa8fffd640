//! `doctor`.

use clap::Args;
use serde_json::json;

use super::list::Format;
use super::{print, shown};
use crate::doctor::{Finding, Level, diagnose};
use crate::runtime::Runtime;
use crate::runtime::doctor::facts;
use crate::sys::Kernel;

#[derive(Debug, Args)]
pub struct Doctor {
    /// How findings are shown
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
}

impl Doctor {
    /// 1 if anything keeps every container from running.
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<u8> {
        let findings = diagnose(&facts(runtime)?);
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        match self.format {
            Format::Json => print(&(json!({ "level": level, "findings": findings }).to_string() + "\n"))?,
            Format::Table => print(&text(&findings))?,
        }
        Ok(u8::from(level == Level::Error))
    }
}

/// A line for each finding, and one for each remedy.
fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { check, level, found, remedy, .. } in findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        out.push_str(&format!("{level:<7}  {check}: {}\n", shown(found)));
        if let Some(remedy) = remedy {
            out.push_str(&format!("         -> {}\n", shown(remedy)));
        }
    }
    out
}

//! `plan`: what `create` would do, shown and not done. Needs no root.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::print;
use crate::bundle::{Bundle, read_file};
use crate::config::Config;
use crate::id::ContainerId;
use crate::plan::explain::{self, Explained};
use crate::plan::{facts, text};
use crate::runtime::Runtime;
use crate::runtime::planning::{Planned, plan_config};
use crate::sys::jail::{HostFacts, System};
use crate::sys::{Kernel, SYSTEM};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The stored form
    Json,
    /// The commands that a person would type
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SystemName {
    /// A plain FreeBSD 14.0, or this machine if it is one
    Freebsd,
    /// The emulation
    Linux,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// How the plan is shown
    #[arg(short, long, value_enum, default_value = "text")]
    format: Format,
    /// The system to plan for [default: this one]
    #[arg(short, long, value_enum)]
    system: Option<SystemName>,
    /// Plan for the machine that these facts describe, as --show-facts prints them
    #[arg(long, value_name = "FILE", conflicts_with = "system")]
    facts: Option<PathBuf>,
    /// Print the facts that would be planned for, and no plan
    #[arg(long)]
    show_facts: bool,
    /// Say of each property of the bundle whether it is applied, ignored or refused, and as what or why
    #[arg(short, long)]
    explain: bool,
    /// The id that the container would have
    #[arg(long, default_value = "container")]
    id: ContainerId,
    /// The bundle's directory
    #[arg(default_value = ".")]
    bundle: PathBuf,
}

impl PlanArgs {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let facts = self.host_facts(runtime)?;
        if self.show_facts {
            return print(&(serde_json::to_string_pretty(&facts)? + "\n"));
        }
        let bundle = Bundle::read(&self.bundle)?;
        let config = Config::parse(&bundle.config, bundle.ext.as_deref())?;
        let planned = plan_config(&config, &bundle.directory, &self.id, &facts);
        if self.explain {
            self.print_lines(&bundle, &config, &planned, &facts)?;
            return Ok(planned.map(drop)?);
        }
        let plan = planned?;
        match self.format {
            Format::Json => print(&(serde_json::to_string_pretty(&plan)? + "\n")),
            Format::Text => print(&text::render(&plan)),
        }
    }

    fn print_lines(
        &self,
        bundle: &Bundle,
        config: &Config,
        outcome: &Planned,
        facts: &HostFacts,
    ) -> anyhow::Result<()> {
        let json = serde_json::from_slice(&bundle.config)?;
        let ext = bundle.ext.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        let lines = explain::explain(&Explained { json: &json, ext: ext.as_ref(), config, outcome, facts });
        match self.format {
            Format::Json => print(&(serde_json::to_string_pretty(&lines)? + "\n")),
            Format::Text => print(&explain::render(&lines)),
        }
    }

    fn host_facts(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<HostFacts> {
        if let Some(path) = &self.facts {
            let bytes = read_file(path)?.with_context(|| format!("{}: no such file", path.display()))?;
            return serde_json::from_slice(&bytes).with_context(|| path.display().to_string());
        }
        let wanted = match self.system {
            None => SYSTEM,
            Some(SystemName::Freebsd) => System::Freebsd,
            Some(SystemName::Linux) => System::Linux,
        };
        match wanted {
            here if here == SYSTEM => Ok(HostFacts {
                racct: runtime.kernel.accounts()?,
                processors: runtime.kernel.processors()?,
                ..runtime.kernel.facts()?
            }),
            System::Freebsd => Ok(facts::freebsd14()),
            System::Linux => Ok(facts::linux()),
        }
    }
}

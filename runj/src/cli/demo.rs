//! `spec` and `demo`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print;
use crate::demo;

#[derive(Debug, Subcommand)]
pub enum Demo {
    /// Write a sample config.json
    Spec(Spec),
    /// Make a bundle that runs at once, from static programs of this host
    Bundle(Bundle),
}

impl Demo {
    pub fn call(&self) -> anyhow::Result<()> {
        match self {
            Self::Spec(args) => args.call(),
            Self::Bundle(args) => args.call(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Spec {
    /// Directory to write it to [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
}

impl Spec {
    pub fn call(&self) -> anyhow::Result<()> {
        let directory = self.bundle.clone().unwrap_or_else(|| PathBuf::from("."));
        demo::write_spec(&directory, "root", &["sh".to_owned()])
    }
}

#[derive(Debug, Args)]
pub struct Bundle {
    /// The directory to be made
    directory: PathBuf,
    /// The program and its arguments [default: a shell, or what there is without one]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Bundle {
    pub fn call(&self) -> anyhow::Result<()> {
        let tools = demo::write_bundle(&self.directory, &self.command)?;
        print(&format!("{}: a bundle with {tools}\n", self.directory.display()))
    }
}

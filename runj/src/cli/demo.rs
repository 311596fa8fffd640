//! `spec` and `demo`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::print;
use crate::demo;

#[cfg(feature = "demo")]
mod images;

#[derive(Debug, Subcommand)]
pub enum Demo {
    /// Write a sample config.json
    Spec(Spec),
    /// Make a bundle that runs at once, from static programs of this host or from a root file system
    Bundle(Bundle),
    /// Fetch FreeBSD's base system or an official image, and verify it
    #[cfg(feature = "demo")]
    Download(images::Download),
    /// Make an OCI image of a root file system
    #[cfg(feature = "demo")]
    OciImage(images::OciImage),
    /// Make a bundle of an OCI image
    #[cfg(feature = "demo")]
    Unpack(images::Unpack),
}

impl Demo {
    pub fn call(&self) -> anyhow::Result<()> {
        match self {
            Self::Spec(args) => args.call(),
            Self::Bundle(args) => args.call(),
            #[cfg(feature = "demo")]
            Self::Download(args) => args.call(),
            #[cfg(feature = "demo")]
            Self::OciImage(args) => args.call(),
            #[cfg(feature = "demo")]
            Self::Unpack(args) => args.call(),
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
        demo::write_spec(&directory, Path::new("root"), &["sh".to_owned()])
    }
}

#[derive(Debug, Args)]
pub struct Bundle {
    #[cfg(feature = "demo")]
    #[command(flatten)]
    rootfs: images::Rootfs,
    /// The directory to be made
    directory: PathBuf,
    /// The program and its arguments [default: a shell, or what there is without one]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Bundle {
    pub fn call(&self) -> anyhow::Result<()> {
        #[cfg(feature = "demo")]
        if self.rootfs.bundle(&self.directory, &self.command)? {
            return Ok(());
        }
        let tools = demo::write_bundle(&self.directory, &self.command)?;
        print(&format!("{}: a bundle with {tools}\n", self.directory.display()))
    }
}

//! `spec`, and the program of its own that `demo` is.
//!
//! What fetches and unpacks images is as large as all the rest, and the kernel looks at each page of a program that it
//! starts: those that create containers are without it (docs/performance.md).

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use super::{Global, VERSION, obey, print, refuse};
use crate::demo;

#[cfg(feature = "demo")]
mod images;

/// The program, found where runj is.
const PROGRAM: &str = "runj-demo";

/// Executes it with what was typed, the verb at `args[at]` left out; returns only if that fails.
pub fn hand_over(args: &[OsString], at: usize) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("where runj itself is")?.with_file_name(PROGRAM);
    let words =
        args.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, word)| CString::new(word.as_bytes()));
    let words: Vec<CString> = words.collect::<Result<_, _>>()?;
    let path = CString::new(program.as_os_str().as_bytes())?;
    match nix::unistd::execv(&path, &words) {
        Err(nix::errno::Errno::ENOENT) => {
            anyhow::bail!("demo is the program {PROGRAM}, which is not installed: {}", program.display())
        }
        Err(error) => Err(error).with_context(|| program.display().to_string()),
    }
}

/// Bundles to try things with
#[derive(Debug, Parser)]
#[command(name = PROGRAM, bin_name = "runj demo", version = VERSION, disable_help_subcommand = true)]
pub struct Program {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Demo,
}

/// The main function of the program.
pub fn main() -> u8 {
    match Program::try_parse() {
        Ok(program) => obey(&program.global, || program.command.call().map(|()| 0)),
        Err(error) => refuse(&error),
    }
}

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

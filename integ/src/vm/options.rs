//! What was asked for: the command line, with the options of the local machine before it. Reads, decides nothing.

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Runs a command in a virtual machine and ends with its exit status.
///
/// RUNJ_VM, or else the file ~/.config/runj/vm, may hold options of the local machine (words as in a shell; in the file
/// `#` begins a comment). They come before those given here, which win.
#[derive(Debug, Parser)]
#[command(name = "vm", override_usage = "vm [OPTIONS] -- COMMAND...\n       vm [OPTIONS] --shell")]
pub struct Options {
    /// Disk image to boot (raw or qcow2); never written to
    #[arg(long, value_name = "FILE", overrides_with = "image")]
    pub image: Option<PathBuf>,
    /// Hardware virtualisation, software emulation, or the first that works
    #[arg(long, value_enum, default_value = "auto", overrides_with = "accel")]
    pub accel: Accel,
    /// Memory of the machine, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, overrides_with = "memory")]
    pub memory: u32,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 1, overrides_with = "cpus")]
    pub cpus: u32,
    /// Seconds that the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, overrides_with = "timeout")]
    pub timeout: u64,
    /// Seconds that the machine may take to give a shell
    #[arg(long, value_name = "SECONDS", default_value_t = 300, overrides_with = "boot_timeout")]
    pub boot_timeout: u64,
    /// A word for QEMU's command line; repeat it for each (--qemu-arg -kernel --qemu-arg FILE)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
    /// FreeBSD loader variable to set before the kernel starts, e.g. kern.racct.enable=1; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub loader_set: Vec<String>,
    /// File or directory to bring in; it keeps its name below the command's working directory; may be repeated
    #[arg(long, value_name = "PATH")]
    pub payload: Vec<PathBuf>,
    /// After the command, keep the machine: its console becomes this terminal (Ctrl-] leaves)
    #[arg(long)]
    pub keep: bool,
    /// Instead of a command, a shell in the machine on this terminal (Ctrl-] leaves)
    #[arg(long)]
    pub shell: bool,
    /// Show the machine's console while it boots
    #[arg(long, short)]
    pub verbose: bool,
    /// The emulator
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-x86_64", overrides_with = "qemu")]
    pub qemu: String,
    /// The command, joined by spaces and run by the machine's /bin/sh in the directory of the payload
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How the machine is to be run, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// hardware virtualisation
    Kvm,
    /// software emulation
    Tcg,
    /// KVM if it works, else TCG
    Auto,
}

/// How one machine is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl Options {
    /// Refuses what cannot work, before anything is made.
    pub fn check(&self) -> Result<()> {
        if self.command.is_empty() && !self.shell {
            bail!("nothing to run: give a command after --, or --shell");
        }
        if !self.command.is_empty() && self.shell {
            bail!("--shell and a command exclude each other; --keep gives a shell after the command");
        }
        let kernel = self.qemu_arg.iter().any(|word| word == "-kernel");
        match &self.image {
            None if !kernel => bail!(
                "no image: give --image FILE, or a kernel by --qemu-arg -kernel --qemu-arg FILE; RUNJ_VM or \
                 ~/.config/runj/vm can hold these options, and scripts/fetch-vm-image gets an official FreeBSD image"
            ),
            None => {}
            Some(image) => {
                let metadata =
                    std::fs::metadata(image).with_context(|| format!("{}: no such image", image.display()))?;
                if !metadata.is_file() {
                    bail!("{}: the image is not a regular file", image.display());
                }
                if image.extension().is_some_and(|extension| extension == "xz" || extension == "gz") {
                    bail!("{}: the image is compressed; unpack it first", image.display());
                }
            }
        }
        if let Some(setting) = self.loader_set.iter().find(|setting| !setting.contains('=')) {
            bail!("--loader-set {setting}: not of the form NAME=VALUE");
        }
        Ok(())
    }

    /// The shell text that the machine is to run.
    pub fn script(&self) -> String {
        self.command.join(" ")
    }

    /// The longest payload that can fit into the machine at all, in bytes: what it has of memory for a machine that
    /// lives in it, else as much as anyone would wait for.
    pub fn payload_limit(&self) -> u64 {
        if self.image.is_some() { 8 << 30 } else { u64::from(self.memory) << 20 }
    }

    /// The ways to run the machine, in the order to try.
    pub fn accelerators(&self) -> Vec<Accelerator> {
        match self.accel {
            Accel::Kvm => vec![Accelerator::Kvm],
            Accel::Tcg => vec![Accelerator::Tcg],
            Accel::Auto => {
                let kvm = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
                if kvm { vec![Accelerator::Kvm, Accelerator::Tcg] } else { vec![Accelerator::Tcg] }
            }
        }
    }

    /// The time to reach a shell.
    pub fn boot_time(&self) -> Duration {
        Duration::from_secs(self.boot_timeout)
    }

    /// The time for the command.
    pub fn command_time(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Where the options of the local machine come from.
pub struct Surroundings {
    /// `RUNJ_VM`
    pub variable: Option<String>,
    /// `~/.config/runj/vm`
    pub file: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self {
            variable: std::env::var("RUNJ_VM").ok().filter(|text| !text.trim().is_empty()),
            file: home.map(|home| home.join(".config/runj/vm")),
        }
    }
}

/// The whole command line: the program, the options of the local machine, the options given.
pub fn arguments(surroundings: &Surroundings, given: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let mut given = given.into_iter();
    let mut arguments: Vec<String> = given.next().into_iter().collect();
    let (source, text) = match (&surroundings.variable, &surroundings.file) {
        (Some(text), _) => ("RUNJ_VM".to_owned(), text.clone()),
        (None, Some(file)) if file.exists() => {
            let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            (file.display().to_string(), text)
        }
        _ => (String::new(), String::new()),
    };
    let local = words(&text).with_context(|| format!("{source}: not words as in a shell"))?;
    if local.iter().any(|word| word == "--") {
        bail!("{source}: may hold options, not a command");
    }
    arguments.extend(local);
    arguments.extend(given);
    Ok(arguments)
}

/// Splits text into words as a shell does: blanks separate, quotes and backslashes keep, `#` at the beginning of a word
/// comments out the rest of the line. Nothing is expanded but a leading `~/`.
pub fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '#' if word.is_none() => while characters.next_if(|next| *next != '\n').is_some() {},
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inside) => word.push(inside),
                        None => bail!("a ' is not closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some('\n') => {}
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => bail!("a \" is not closed"),
                        },
                        Some(inside) => word.push(inside),
                        None => bail!("a \" is not closed"),
                    }
                }
            }
            '\\' => match characters.next() {
                Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => bail!("a \\ at the end"),
            },
            blank if blank.is_whitespace() => words.extend(word.take()),
            '~' if word.is_none() && characters.peek() == Some(&'/') => {
                word = Some(std::env::var("HOME").unwrap_or_else(|_| "~".to_owned()));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

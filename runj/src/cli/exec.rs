//! `exec`, also spelt `extension exec`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::need_root;
use super::plain::{Known, Plain, Takes, Words};
use crate::bundle::read_file;
use crate::config::Process;
use crate::id::ContainerId;
use crate::plan::process::{ProcessPlan, plan};
use crate::runtime::console::ConsoleWish;
use crate::runtime::exec::{ExecRequest, exec};
use crate::runtime::{Runtime, foreground};
use crate::sys::{Kernel, SYSTEM};

#[derive(Debug, Args)]
pub struct Exec {
    /// Read the program from FILE, an object like process in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Return when it was executed
    #[arg(short, long)]
    detach: bool,
    /// Set a variable of its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Its working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Its user
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// File that the pid is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Number of descriptors from 3 on that it gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u16,
    /// The container's id
    id: ContainerId,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Plain for Exec {
    const OPTIONS: &'static [Known] = &[
        ("--process", Some("-p"), Takes::Value),
        ("--tty", Some("-t"), Takes::Nothing),
        ("--detach", Some("-d"), Takes::Nothing),
        ("--cwd", None, Takes::Value),
        ("--user", Some("-u"), Takes::Value),
        ("--pid-file", None, Takes::Value),
        ("--console-socket", None, Takes::Value),
        ("--preserve-fds", None, Takes::Value),
    ];
    const OPEN_END: bool = true;

    fn of(words: &Words<'_>) -> Option<Self> {
        let (id, command) = words.positional.split_first()?;
        Some(Self {
            process: words.value("--process")?,
            tty: words.has("--tty"),
            detach: words.has("--detach"),
            env: Vec::new(),
            cwd: words.value("--cwd")?,
            user: words.value("--user")?,
            pid_file: words.value("--pid-file")?,
            console_socket: words.value("--console-socket")?,
            preserve_fds: words.value("--preserve-fds")?.unwrap_or_default(),
            id: id.parse().ok()?,
            command: command.iter().map(|&word| word.to_owned()).collect(),
        })
    }
}

impl Exec {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<u8> {
        need_root("exec")?;
        let process = match &self.process {
            Some(path) => self.process_of_file(path)?,
            None => self.process_of_command(runtime)?,
        };
        if !self.detach {
            foreground::watch()?;
        }
        let unset = if self.detach { ConsoleWish::Absent } else { ConsoleWish::Foreground };
        let request = ExecRequest {
            id: self.id.clone(),
            process,
            console: self.console_socket.clone().map_or(unset, ConsoleWish::Socket),
            pid_file: self.pid_file.clone(),
            preserve_fds: self.preserve_fds,
        };
        let executed = exec(runtime, &request)?;
        if self.detach {
            return Ok(0);
        }
        Ok(foreground::attend(executed.process.pid, executed.master)?)
    }

    fn process_of_file(&self, path: &std::path::Path) -> anyhow::Result<ProcessPlan> {
        anyhow::ensure!(self.command.is_empty(), "--process: a command is given as well");
        let bytes = read_file(path)?.with_context(|| format!("{}: no such file", path.display()))?;
        let mut process = Process::parse(&bytes)?;
        process.terminal |= self.tty;
        let mut problems = Vec::new();
        let planned = plan(&process, SYSTEM, &mut problems);
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::ensure!(problems.is_empty(), "{}: {}", path.display(), list.join("; "));
        Ok(planned)
    }

    /// The container's own process with another command.
    fn process_of_command(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<ProcessPlan> {
        anyhow::ensure!(!self.command.is_empty(), "nothing to execute: give a command or --process FILE");
        let mut process = runtime.store.read_plan(&self.id)?.process;
        process.args.clone_from(&self.command);
        process.terminal = self.tty;
        process.console_size = None;
        for entry in &self.env {
            let name = entry.split_once('=').map(|(name, _)| name).filter(|name| !name.is_empty());
            let name = name.with_context(|| format!("--env {entry}: is not NAME=VALUE"))?;
            process.env.retain(|known| known.split_once('=').is_none_or(|(other, _)| other != name));
            process.env.push(entry.clone());
        }
        if let Some(cwd) = &self.cwd {
            anyhow::ensure!(cwd.is_absolute(), "--cwd {}: must be an absolute path", cwd.display());
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            let number = |text: &str| text.parse::<u32>().with_context(|| format!("--user {user}: is not UID[:GID]"));
            process.user.uid = number(uid)?;
            process.user.gid = gid.map(number).transpose()?.unwrap_or(0);
            process.user.groups.clear();
            // HOME is the other user's.
            process.env.retain(|entry| !entry.starts_with("HOME=") || self.env.contains(entry));
        }
        Ok(process)
    }
}

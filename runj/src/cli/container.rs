//! `create`, `start`, `state`, `kill`, `delete`, `pause`, `resume`.

use std::path::PathBuf;

use clap::Args;

use super::plain::{Known, Plain, Takes, Words};
use super::{need_root, print};
use crate::id::ContainerId;
use crate::runtime::console::ConsoleWish;
use crate::runtime::create::CreateRequest;
use crate::runtime::delete::Force;
use crate::runtime::kill::Recipient;
use crate::runtime::{Runtime, create, delete, kill, pause, start, state};
use crate::signal::Signal;
use crate::sys::Kernel;

/// Where the bundle is, and what `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct Creation {
    /// The container's id
    pub id: ContainerId,
    /// The bundle's directory [default: the current one]
    #[arg(value_name = "BUNDLE", conflicts_with = "bundle")]
    pub bundle_argument: Option<PathBuf>,
    /// The bundle's directory [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// File that the pid is written to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// What the jail is named after, where one id may be used twice on a host [default: the id]
    #[arg(long, value_name = "NAME")]
    pub jail_name: Option<ContainerId>,
    /// Number of descriptors from 3 on that the program gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u16,
    /// Ignored
    #[arg(long, hide = true)]
    pub no_pivot: bool,
    /// Ignored
    #[arg(long, hide = true)]
    pub no_new_keyring: bool,
}

impl Plain for Creation {
    const OPTIONS: &'static [Known] = &[
        ("--bundle", Some("-b"), Takes::Value),
        ("--console-socket", None, Takes::Value),
        ("--pid-file", None, Takes::Value),
        ("--jail-name", None, Takes::Value),
        ("--preserve-fds", None, Takes::Value),
        ("--no-pivot", None, Takes::Nothing),
        ("--no-new-keyring", None, Takes::Nothing),
    ];

    fn of(words: &Words<'_>) -> Option<Self> {
        let (id, bundle_argument) = match words.positional[..] {
            [id] => (id, None),
            [id, bundle] if !words.has("--bundle") => (id, Some(bundle.into())),
            _ => return None,
        };
        Some(Self {
            id: id.parse().ok()?,
            bundle_argument,
            bundle: words.value("--bundle")?,
            console_socket: words.value("--console-socket")?,
            pid_file: words.value("--pid-file")?,
            jail_name: words.value("--jail-name")?,
            preserve_fds: words.value("--preserve-fds")?.unwrap_or_default(),
            no_pivot: words.has("--no-pivot"),
            no_new_keyring: words.has("--no-new-keyring"),
        })
    }
}

impl Creation {
    /// The request; `unset` is the terminal's way without a console socket.
    pub fn request(&self, unset: ConsoleWish) -> CreateRequest {
        let bundle = self.bundle.as_ref().or(self.bundle_argument.as_ref());
        CreateRequest {
            id: self.id.clone(),
            bundle: bundle.cloned().unwrap_or_else(|| PathBuf::from(".")),
            console: self.console_socket.clone().map_or(unset, ConsoleWish::Socket),
            pid_file: self.pid_file.clone(),
            jail_name: self.jail_name.clone().unwrap_or_else(|| self.id.clone()),
            preserve_fds: self.preserve_fds,
        }
    }
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    pub creation: Creation,
}

impl Plain for Create {
    const OPTIONS: &'static [Known] = Creation::OPTIONS;

    fn of(words: &Words<'_>) -> Option<Self> {
        Some(Self { creation: Creation::of(words)? })
    }
}

impl Create {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("create")?;
        create::create(runtime, &self.creation.request(ConsoleWish::Absent))?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Id {
    /// The container's id
    id: ContainerId,
}

impl Plain for Id {
    const OPTIONS: &'static [Known] = &[];

    fn of(words: &Words<'_>) -> Option<Self> {
        let [id] = words.positional[..] else { return None };
        Some(Self { id: id.parse().ok()? })
    }
}

impl Id {
    pub fn start(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("start")?;
        Ok(start::start(runtime, &self.id)?)
    }

    pub fn state(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let state = state::state(runtime, &self.id)?;
        print(&(serde_json::to_string_pretty(&state)? + "\n"))
    }

    pub fn pause(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("pause")?;
        Ok(pause::pause(runtime, &self.id)?)
    }

    pub fn resume(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("resume")?;
        Ok(pause::resume(runtime, &self.id)?)
    }
}

#[derive(Debug, Args)]
pub struct Kill {
    /// The container's id
    id: ContainerId,
    /// A signal: 9, KILL, SIGKILL or sigkill
    #[arg(default_value = "TERM")]
    signal: Signal,
    /// Send it to every process of the container
    #[arg(short, long, conflicts_with = "pid")]
    all: bool,
    /// Send it to one process of the container, as the host numbers it
    #[arg(short, long)]
    pid: Option<i32>,
}

impl Plain for Kill {
    const OPTIONS: &'static [Known] = &[("--all", Some("-a"), Takes::Nothing), ("--pid", Some("-p"), Takes::Value)];

    fn of(words: &Words<'_>) -> Option<Self> {
        let (id, signal) = match words.positional[..] {
            [id] => (id, "TERM"),
            [id, signal] => (id, signal),
            _ => return None,
        };
        let (all, pid) = (words.has("--all"), words.value("--pid")?);
        let odd = all && pid.is_some();
        (!odd).then_some(Self { id: id.parse().ok()?, signal: signal.parse().ok()?, all, pid })
    }
}

impl Kill {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("kill")?;
        let recipient = match (self.all, self.pid) {
            (true, _) => Recipient::All,
            (false, Some(pid)) => Recipient::Pid(pid),
            (false, None) => Recipient::Init,
        };
        Ok(kill::kill(runtime, &self.id, self.signal, recipient)?)
    }
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The container's id
    id: ContainerId,
    /// Kill it first if it is alive; one that does not exist is no error
    #[arg(short, long)]
    force: bool,
}

impl Plain for Delete {
    const OPTIONS: &'static [Known] = &[("--force", Some("-f"), Takes::Nothing)];

    fn of(words: &Words<'_>) -> Option<Self> {
        let [id] = words.positional[..] else { return None };
        Some(Self { id: id.parse().ok()?, force: words.has("--force") })
    }
}

impl Delete {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        need_root("delete")?;
        let force = if self.force { Force::Yes } else { Force::No };
        Ok(delete::delete(runtime, &self.id, force)?)
    }
}

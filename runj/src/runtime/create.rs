//! `create`: from a bundle to a jail in which the program waits.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::console::{self, Console, ConsoleWish};
use super::mounts::{self, Mounts};
use super::{Error, MOMENT, Result, Runtime, delete, of_property, planning};
use crate::entrypoint::{self, Entrypoint, Gate, report::Report};
use crate::hook;
use crate::id::{ContainerId, Jid};
use crate::plan::Plan;
use crate::resource::Resource;
use crate::state::store::{Locked, StateError};
use crate::state::{OciState, RECORD_VERSION, Record, Stage, Status};
use crate::sys::jail::{HostFacts, JailParams, ParamValue};
use crate::sys::process::ProcessIdentity;
use crate::sys::unix::{self, DescriptorKind};
use crate::sys::{Kernel, SysError, now};

/// What `create` is asked for.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// The id to be.
    pub id: ContainerId,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Where the terminal goes.
    pub console: ConsoleWish,
    /// Where the pid is written; its existence means success.
    pub pid_file: Option<PathBuf>,
    /// What the jail is named after: the id, or another name where one id may be used twice on a host.
    pub jail_name: ContainerId,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u16,
}

/// A container that was created.
#[derive(Debug)]
pub struct Created {
    /// Its first process, a child of the caller.
    pub init: ProcessIdentity,
    /// The terminal's master, for a caller who wished for it.
    pub master: Option<OwnedFd>,
}

/// Creates a container, or leaves nothing of it.
pub fn create<K: Kernel>(runtime: &Runtime<'_, K>, request: &CreateRequest) -> Result<Created> {
    let (plan, facts) = planning::plan_bundle(runtime, request)?;
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    let console = Console::prepare(&request.console, plan.process.terminal)?;
    let locked = runtime.store.create(&request.id)?;
    let mut attempt = Attempt { runtime, request, plan: &plan, facts: &facts, child: None };
    attempt.run(locked, console).map_err(|error| attempt.undo(error))
}

/// Every preserved descriptor has to be there before runj opens its own, and a directory may not enter a jail. To be
/// called first of all.
pub fn check_preserved(count: u16) -> Result<()> {
    for fd in (3..).take(count.into()) {
        match unix::descriptor_kind(fd) {
            Ok(DescriptorKind::Other) => {}
            Ok(DescriptorKind::Directory) => {
                return Err(Error::argument(
                    format!("--preserve-fds {count}"),
                    format!("descriptor {fd} is a directory, which would be a way out of the jail"),
                ));
            }
            Err(error) => return Err(Error::argument(format!("--preserve-fds {count}"), error)),
        }
    }
    Ok(())
}

/// A `create` under way.
struct Attempt<'a, K> {
    runtime: &'a Runtime<'a, K>,
    request: &'a CreateRequest,
    plan: &'a Plan,
    facts: &'a HostFacts,
    child: Option<i32>,
}

/// The creator's ends of what it shares with the child.
struct Ends {
    report: OwnedFd,
    commit: OwnedFd,
    pty: Option<(OwnedFd, String)>,
}

impl<K: Kernel> Attempt<'_, K> {
    fn run(&mut self, locked: Locked, console: Console) -> Result<Created> {
        let mut record = self.new_record()?;
        locked.save_plan(self.plan)?;
        locked.save(&record)?;
        let steps = mounts::prepare_rulesets(self.runtime, &locked, &self.plan.mounts)?;
        self.add_aliases(&locked)?;
        if self.plan.root.read_only {
            record.root = mounts::mount_root_alias(self.runtime, &locked, self.plan)?;
        }
        let jid = self.create_jail(&locked, &record.root)?;
        record.jid = Some(jid);
        self.add_limits(&locked)?;
        let mut mounts = Mounts::new(self.runtime, &locked, jid, &record.root, &self.plan.root.path, self.facts);
        mounts.mount_all(&steps)?;
        mounts.make_directory("process.cwd", &self.plan.process.cwd)?;
        self.move_interfaces(&locked, jid)?;
        let (init, ends) = self.fork(&locked, &record, jid)?;
        record.init = Some(init);
        // Nobody waits for a hook, for whoever takes the terminal, or for a root that takes its time with a lock in hand.
        let others = self.plan.hooks.any_before_program() || ends.pty.is_some();
        let locked = if others || !unix::readable_within(ends.report.as_fd(), MOMENT) {
            locked.save(&record)?;
            drop(locked);
            None
        } else {
            Some(locked)
        };
        self.finish(record, init, ends, console, locked)
    }

    fn new_record(&self) -> Result<Record> {
        Ok(Record {
            version: RECORD_VERSION,
            id: self.request.id.clone(),
            oci_version: self.plan.oci_version.clone(),
            bundle: self.plan.bundle.clone(),
            root: self.plan.root.path.clone(),
            jail_name: self.plan.jail_name().to_owned(),
            stage: Stage::Creating,
            jid: None,
            init: None,
            operator: self.runtime.this_process()?,
            boot_id: self.runtime.kernel.boot_id()?,
            created: humantime::format_rfc3339_nanos(now()).to_string(),
            limits: self.plan.limits.clone(),
            annotations: self.plan.annotations.clone(),
            hooks: self.plan.hooks.any(),
        })
    }

    fn add_aliases(&self, locked: &Locked) -> Result<()> {
        for alias in &self.plan.network.aliases {
            let of_interface = || of_property("freebsd.jail.interface");
            if !self.runtime.kernel.alias_exists(alias).map_err(of_interface())? {
                locked.intend(&Resource::Alias(alias.clone()))?;
                self.runtime.kernel.alias_add(alias).map_err(of_interface())?;
            }
        }
        Ok(())
    }

    fn create_jail(&self, locked: &Locked, root: &Path) -> Result<Jid> {
        let name = self.plan.jail_name();
        if let Some(stranger) = self.runtime.kernel.jail_find(name)? {
            let message = format!("already exists as jid {}, and is not of this container", stranger.jid);
            return Err(Error::argument(format!("jail {name}"), message));
        }
        let text = root.to_str().ok_or_else(|| Error::argument("root.path", "is not UTF-8"))?;
        let params = self.plan.jail.0.iter().map(|(name, value)| match value {
            ParamValue::Root => (name.clone(), ParamValue::Text(text.to_owned())),
            other => (name.clone(), other.clone()),
        });
        let intent = Resource::Jail { name: name.to_owned(), path: root.to_path_buf() };
        locked.intend(&intent)?;
        match self.runtime.kernel.jail_create(&JailParams(params.collect())) {
            Ok(jid) => Ok(jid),
            Err(error) => {
                // A jail of this name, if there is one, is somebody else's.
                locked.retract(&intent)?;
                Err(error.into())
            }
        }
    }

    fn add_limits(&self, locked: &Locked) -> Result<()> {
        if self.plan.limits.is_empty() {
            return Ok(());
        }
        let (kernel, jail, limits) = (self.runtime.kernel, self.plan.jail_name(), &self.plan.limits);
        let made = kernel.limits_missing(limits)?;
        locked.intend(&Resource::Limits { jail: jail.to_owned(), limits: limits.clone(), made })?;
        kernel.limits_add(jail, limits).map_err(of_property("limits"))
    }

    fn move_interfaces(&self, locked: &Locked, jid: Jid) -> Result<()> {
        for name in &self.plan.network.interfaces {
            let of_interface = || of_property("freebsd.jail.vnetInterfaces");
            let interface = self.runtime.kernel.interface(name).map_err(of_interface())?;
            locked.intend(&Resource::Interface(interface.clone()))?;
            self.runtime.kernel.interface_move(jid, &interface).map_err(of_interface())?;
        }
        Ok(())
    }

    fn fork(&mut self, locked: &Locked, record: &Record, jid: Jid) -> Result<(ProcessIdentity, Ends)> {
        let kernel = self.runtime.kernel;
        let start = make_fifo(&locked.directory().join("start.fifo"))?;
        let status = make_fifo(&locked.directory().join("status.fifo"))?;
        let (report, their_report) = unix::pipe()?;
        let (their_commit, commit) = unix::pipe()?;
        let (slave, pty) = match self.plan.process.terminal {
            true => {
                let pty = kernel.open_pty(jid, &record.root)?;
                if let Some((rows, columns)) = self.request.console.window_size(self.plan.process.console_size) {
                    unix::set_window_size(pty.slave.as_fd(), rows, columns)?;
                }
                let (slave, master) = console::split(pty);
                (Some(slave), Some(master))
            }
            false => (None, None),
        };
        let state = OciState::new(record, Status::Creating);
        let entrypoint = Entrypoint {
            jid,
            root: &record.root,
            process: &self.plan.process,
            limits: &self.plan.limits,
            preserve_fds: self.request.preserve_fds,
            terminal: slave.as_ref().map(AsFd::as_fd),
            gate: Gate::Create {
                report: their_report.as_fd(),
                commit: their_commit.as_fd(),
                start: start.as_fd(),
                status: status.as_fd(),
                hooks: &self.plan.hooks,
                state: &state,
            },
        };
        let pid = kernel.fork(Some(jid), &mut || entrypoint::run(kernel, &entrypoint))?;
        self.child = Some(pid);
        drop(their_report);
        match kernel.identity(pid)? {
            Some(init) => Ok((init, Ends { report, commit, pty })),
            // It failed faster than it was looked at.
            None => Err(self.hear(&report).err().unwrap_or_else(|| self.died("forked"))),
        }
    }

    /// What the child says first: that it is ready, or why it ended.
    fn hear(&self, report: &OwnedFd) -> Result<()> {
        let reports = entrypoint::receive(report, |_| true).map_err(|_| self.died("created"))?;
        match reports.into_iter().next() {
            Some(Report::Ready) => Ok(()),
            Some(Report::Failed(failure)) => Err(failure.into()),
            Some(Report::Executing) | None => Err(self.died("created")),
        }
    }

    /// Hooks, the child's word that it is ready, the terminal, the record, and last of all the pid file.
    fn finish(
        &self,
        record: Record,
        init: ProcessIdentity,
        ends: Ends,
        console: Console,
        locked: Option<Locked>,
    ) -> Result<Created> {
        let hooks = &self.plan.hooks;
        if hooks.any_before_program() {
            let state = serde_json::to_vec(&OciState::new(&record, Status::Creating)).unwrap_or_default();
            hook::run_all("prestart", &hooks.prestart, &state)?;
            hook::run_all("createRuntime", &hooks.create_runtime, &state)?;
            // A child that is gone already has left its reason in the pipe.
            let _ = entrypoint::proceed(ends.commit.as_fd(), init.pid);
        }
        self.hear(&ends.report)?;
        let master = console.deliver(ends.pty)?;
        let locked = locked.map_or_else(|| self.lock_again(&record), Ok)?;
        locked.save(&Record { stage: Stage::Created, ..record })?;
        drop(locked);
        entrypoint::signal_byte(ends.commit.as_fd(), entrypoint::COMMIT).map_err(|_| self.died("created"))?;
        if let Some(path) = &self.request.pid_file {
            write_pid_file(path, init.pid)?;
        }
        Ok(Created { init, master })
    }

    /// Takes the lock back, if the container is still ours.
    fn lock_again(&self, record: &Record) -> Result<Locked> {
        let locked = self.runtime.store.lock(&record.id).map_err(|_| self.overtaken())?;
        if locked.record()?.as_ref() == Some(record) { Ok(locked) } else { Err(self.overtaken()) }
    }

    /// The way of every failure: the child first, then what `delete` does.
    fn undo(&self, error: Error) -> Error {
        if let Some(pid) = self.child {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
        if matches!(error, Error::Overtaken { .. }) {
            return error;
        }
        match self.dismantle() {
            Ok(()) => error,
            Err(undo) => Error::Undo { error: Box::new(error), undo: Box::new(undo) },
        }
    }

    /// Releases what was made, unless somebody has done so, and perhaps given the id to another container.
    fn dismantle(&self) -> Result<()> {
        let locked = match self.runtime.store.lock(&self.request.id) {
            Err(StateError::NotFound { .. }) => return Ok(()),
            locked => locked?,
        };
        let record = locked.record().ok().flatten();
        let ours = match &record {
            Some(record) => record.operator == self.runtime.this_process()?,
            None => true,
        };
        if ours { delete::dismantle(self.runtime, record, locked) } else { Ok(()) }
    }

    fn died(&self, what: &'static str) -> Error {
        Error::Died { id: self.request.id.clone(), what }
    }

    fn overtaken(&self) -> Error {
        Error::Overtaken { id: self.request.id.clone() }
    }
}

/// Makes a FIFO and opens it read-write: whoever holds it is its reader and its writer.
fn make_fifo(path: &Path) -> Result<OwnedFd> {
    let name = path.display();
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600))
        .map_err(|errno| SysError::new(format!("mkfifo {name}"), errno))?;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_CLOEXEC.bits());
    options.open(path).map(OwnedFd::from).map_err(|error| Error::File { path: path.to_path_buf(), error })
}

/// Writes a pid file by rename: who sees it sees it whole.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{pid}"));
    let temporary = path.with_file_name(name);
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create_new(true).write(true).mode(0o644).open(&temporary)?;
        file.write_all(pid.to_string().as_bytes())?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        Error::File { path: path.to_path_buf(), error }
    })
}

//! `exec`: one more program in a running container, by the same entrypoint.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::console::{self, Console, ConsoleWish};
use super::{Error, Result, Runtime, create};
use crate::entrypoint::report::Report;
use crate::entrypoint::{self, Entrypoint, Gate};
use crate::id::ContainerId;
use crate::plan::process::ProcessPlan;
use crate::state::Status;
use crate::sys::process::ProcessIdentity;
use crate::sys::{Kernel, unix};

/// What `exec` is asked for.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The container.
    pub id: ContainerId,
    /// The program.
    pub process: ProcessPlan,
    /// Where the terminal goes.
    pub console: ConsoleWish,
    /// Where the pid is written; its existence means success.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u16,
}

/// A program that was executed.
#[derive(Debug)]
pub struct Executed {
    /// Its process, a child of the caller; none if it has ended already and cannot be told from another.
    pub process: ProcessIdentity,
    /// The terminal's master, for a caller who wished for it.
    pub master: Option<OwnedFd>,
}

/// Executes a program in a container; returns when it was executed.
pub fn exec<K: Kernel>(runtime: &Runtime<'_, K>, request: &ExecRequest) -> Result<Executed> {
    let record = runtime.store.read(&request.id)?;
    let status = runtime.status(&record)?;
    let (Some(jid), Status::Running) = (record.jid, status) else {
        let needs = "programs can be executed in a running container only";
        return Err(Error::Status { id: request.id.clone(), status, needs });
    };
    let console = Console::prepare(&request.console, request.process.terminal)?;
    let (report, their_report) = unix::pipe()?;
    let (slave, pty) = match request.process.terminal {
        true => {
            let pty = runtime.kernel.open_pty(jid, &record.root)?;
            if let Some((rows, columns)) = request.console.window_size(request.process.console_size) {
                unix::set_window_size(pty.slave.as_fd(), rows, columns)?;
            }
            let (slave, master) = console::split(pty);
            (Some(slave), Some(master))
        }
        false => (None, None),
    };
    let entrypoint = Entrypoint {
        jid,
        root: &record.root,
        process: &request.process,
        limits: &record.limits,
        preserve_fds: request.preserve_fds,
        terminal: slave.as_ref().map(AsFd::as_fd),
        gate: Gate::Exec { report: their_report.as_fd() },
    };
    let pid = runtime.kernel.fork(Some(jid), &mut || entrypoint::run(runtime.kernel, &entrypoint))?;
    drop((their_report, slave));
    // While it is a child of ours that nobody waited for, its pid is its own.
    let process = runtime.kernel.identity(pid)?.unwrap_or(ProcessIdentity { pid, start: 0 });
    let finish = || -> Result<Executed> {
        let reports = entrypoint::receive(&report, |_| false).unwrap_or_default();
        match reports.as_slice() {
            [Report::Executing] => {}
            [.., Report::Failed(failure)] => return Err(failure.clone().into()),
            _ => return Err(Error::Died { id: request.id.clone(), what: "entered" }),
        }
        let master = console.deliver(pty)?;
        if let Some(path) = &request.pid_file {
            create::write_pid_file(path, pid)?;
        }
        Ok(Executed { process, master })
    };
    finish().inspect_err(|_| {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid, None);
    })
}

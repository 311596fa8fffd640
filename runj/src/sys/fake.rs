//! A kernel in memory, for tests: it keeps what is made, so that what is left shows, and fails the n-th call.
//!
//! Processes are real (the entrypoint is forked and executes a program of the host, unprivileged); jails, mounts,
//! rules and interfaces are not. Paths are walked for real, below a directory of the test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::examination::{Accounting, Examination, Freebsd, MODULES, Module};
use super::jail::{HostFacts, JailParams, JailView};
use super::limit::Limits;
use super::mount::{DeviceRule, MountId, MountRequest, Resolved, TargetKind};
use super::net::{InterfaceAlias, MovedInterface};
use super::process::{Credentials, ProcessIdentity, Pty, Rlimit};
use super::processors::Processors;
use super::usage::{CpuTime, ProcessView, Usage};
use super::{Host, Interfaces, Jails, Mounts, Processes, Result, SysError, beneath, unix};
use crate::id::Jid;

/// Everything that a test may find left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Jails by number: name and root.
    pub jails: BTreeMap<i32, (String, PathBuf)>,
    /// Mounts, oldest first: where, id.
    pub mounts: Vec<(PathBuf, u64)>,
    /// devfs rulesets.
    pub rulesets: BTreeMap<u16, Vec<DeviceRule>>,
    /// Addresses on interfaces, as text.
    pub aliases: BTreeSet<String>,
    /// Interfaces: name → the jail that has it.
    pub interfaces: BTreeMap<String, Option<Jid>>,
    /// Jails with limits.
    pub limits: BTreeMap<String, Limits>,
}

#[derive(Debug, Default)]
struct State {
    world: World,
    processes: Vec<(Jid, ProcessIdentity)>,
    calls: Vec<&'static str>,
    next: u64,
    child: bool,
}

/// Which call fails, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None.
    Never,
    /// The n-th of the parent.
    Parent(usize),
    /// The n-th of the forked child.
    Child(usize),
}

/// The kernel in memory.
#[derive(Debug)]
pub struct FakeHost {
    real: Host,
    facts: HostFacts,
    state: RefCell<State>,
    fault: RefCell<Fault>,
}

impl FakeHost {
    /// A kernel of these facts, with these interfaces and an empty ruleset table.
    pub fn new(facts: HostFacts, interfaces: &[&str]) -> Self {
        let mut state = State::default();
        state.world.interfaces = interfaces.iter().map(|&name| (name.to_owned(), None)).collect();
        let real = Host::new(Path::new(super::DEFAULT_STATE_ROOT));
        Self { real, facts, state: RefCell::new(state), fault: RefCell::new(Fault::Never) }
    }

    /// Lets a call fail from now on, counting anew.
    pub fn inject(&self, fault: Fault) {
        self.state.borrow_mut().calls.clear();
        *self.fault.borrow_mut() = fault;
    }

    /// The names of the calls since [`FakeHost::inject`].
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.borrow().calls.clone()
    }

    /// What is there now.
    pub fn world(&self) -> World {
        self.state.borrow().world.clone()
    }

    /// Puts something there that is not runj's.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.state.borrow_mut().world);
    }

    fn call(&self, name: &'static str) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.calls.push(name);
        let count = state.calls.len();
        let hit = match *self.fault.borrow() {
            Fault::Never => false,
            Fault::Parent(n) => !state.child && n == count,
            Fault::Child(n) => state.child && n == count,
        };
        if hit { Err(SysError::with_message(name, Errno::EIO, "injected fault")) } else { Ok(()) }
    }

    fn living(&self, jid: Jid) -> Vec<ProcessIdentity> {
        let state = self.state.borrow();
        let of_jail = state.processes.iter().filter(|(owner, _)| *owner == jid).map(|(_, process)| *process);
        of_jail.filter(|process| self.real.identity(process.pid).ok().flatten() == Some(*process)).collect()
    }
}

impl Jails for FakeHost {
    fn facts_of(&self, params: Option<&BTreeSet<String>>) -> Result<HostFacts> {
        self.call("facts")?;
        let mut facts = HostFacts { racct: false, processors: Processors::default(), ..self.facts.clone() };
        facts.jail_params.retain(|name| params.is_none_or(|params| params.contains(name)));
        Ok(facts)
    }

    fn examine(&self) -> Result<Examination> {
        self.call("examine")?;
        Ok(Examination::Freebsd(Freebsd {
            release: "of the test".to_owned(),
            osreldate: self.facts.osreldate,
            vnet: self.facts.jail_params.contains("vnet"),
            accounting: if self.facts.racct { Accounting::On } else { Accounting::Off },
            modules: MODULES.into_iter().map(|name| (name, Module::Loaded)).collect(),
            devfs_rules: Some(self.ruleset_exists(4)?),
            securelevel: -1,
            jailed: None,
        }))
    }

    fn accounts(&self) -> Result<bool> {
        self.call("accounts")?;
        Ok(self.facts.racct)
    }

    fn processors(&self) -> Result<Processors> {
        self.call("processors")?;
        Ok(self.facts.processors.clone())
    }

    fn jail_create(&self, params: &JailParams) -> Result<Jid> {
        self.call("jail_create")?;
        let name = params.text("name").unwrap_or_default().to_owned();
        let path = PathBuf::from(params.text("path").unwrap_or_default());
        let mut state = self.state.borrow_mut();
        if state.world.jails.values().any(|(known, _)| *known == name) {
            return Err(SysError::with_message("jail_set", Errno::EEXIST, format!("jail {name:?} already exists")));
        }
        state.next += 1;
        let jid = i32::try_from(state.next).unwrap_or(i32::MAX);
        state.world.jails.insert(jid, (name, path));
        Ok(Jid(jid))
    }

    fn jail_find(&self, name: &str) -> Result<Option<JailView>> {
        self.call("jail_find")?;
        let state = self.state.borrow();
        let found = state.world.jails.iter().find(|(_, (known, _))| known == name);
        Ok(found.map(|(jid, (_, path))| JailView { jid: Jid(*jid), path: path.clone() }))
    }

    fn jail_enter(&self, _: Jid) -> Result<()> {
        self.call("jail_enter")
    }

    fn jail_attach(&self, _: Jid, _: &Path) -> Result<()> {
        self.call("jail_attach")
    }

    fn jail_remove(&self, jid: Jid) -> Result<()> {
        self.call("jail_remove")?;
        for process in self.living(jid) {
            self.real.signal(&process, libc::SIGKILL)?;
        }
        let mut state = self.state.borrow_mut();
        state.world.jails.remove(&jid.0);
        // As the kernel does with the interfaces of a network stack that ends.
        for owner in state.world.interfaces.values_mut().filter(|owner| **owner == Some(jid)) {
            *owner = None;
        }
        Ok(())
    }

    fn limits_add(&self, jail: &str, limits: &Limits) -> Result<()> {
        self.call("limits_add")?;
        self.state.borrow_mut().world.limits.insert(jail.to_owned(), limits.clone());
        Ok(())
    }

    fn limits_replace(&self, jail: &str, _: &Limits, new: &Limits) -> Result<()> {
        let outcome = self.call("limits_replace");
        // Half of it was done when it failed.
        self.state.borrow_mut().world.limits.insert(jail.to_owned(), new.clone());
        outcome
    }

    fn usage(&self, _: &str, _: &Limits) -> Result<Usage> {
        self.call("usage")?;
        Ok(Usage::default())
    }

    fn limits_join(&self, _: &Limits) -> Result<()> {
        self.call("limits_join")
    }

    fn limits_missing(&self, _: &Limits) -> Result<Vec<PathBuf>> {
        self.call("limits_missing")?;
        Ok(Vec::new())
    }

    fn limits_remove(&self, jail: &str, _: &Limits, _: &[PathBuf]) -> Result<()> {
        self.call("limits_remove")?;
        self.state.borrow_mut().world.limits.remove(jail);
        Ok(())
    }
}

impl Mounts for FakeHost {
    fn resolve(&self, _: Option<Jid>, root: &Path, destination: &Path) -> Result<Resolved> {
        self.call("resolve")?;
        beneath::resolve(root, destination)
    }

    fn create_target(&self, _: Option<Jid>, root: &Path, path: &Path, kind: TargetKind) -> Result<()> {
        self.call("create_target")?;
        beneath::create(root, path, kind)
    }

    fn remove_target(&self, root: &Path, path: &Path, count: usize, kind: TargetKind) -> Result<()> {
        self.call("remove_target")?;
        beneath::remove(root, path, count, kind)
    }

    fn mount(&self, _: Option<Jid>, root: &Path, path: &Path, _: &MountRequest) -> Result<()> {
        self.call("mount")?;
        let mut state = self.state.borrow_mut();
        state.next += 1;
        let id = state.next;
        state.world.mounts.push((root.join(path), id));
        Ok(())
    }

    fn mount_id(&self, path: &Path) -> Result<Option<MountId>> {
        self.call("mount_id")?;
        let state = self.state.borrow();
        let top = state.world.mounts.iter().rev().find(|(mounted, _)| mounted == path);
        Ok(top.map(|(_, id)| MountId(id.to_string())))
    }

    fn unmount(&self, path: &Path, before: Option<&MountId>) -> Result<()> {
        self.call("unmount")?;
        let mut state = self.state.borrow_mut();
        while let Some(top) = state.world.mounts.iter().rposition(|(mounted, _)| mounted == path) {
            if before.is_some_and(|before| before.0 == state.world.mounts[top].1.to_string()) {
                break;
            }
            state.world.mounts.remove(top);
        }
        Ok(())
    }

    fn unmount_inner(&self, _: Jid) -> Result<()> {
        self.call("unmount_inner")
    }

    fn ruleset_exists(&self, number: u16) -> Result<bool> {
        self.call("ruleset_exists")?;
        Ok(self.state.borrow().world.rulesets.get(&number).is_some_and(|rules| !rules.is_empty()))
    }

    fn ruleset_add(&self, number: u16, rules: &[DeviceRule]) -> Result<()> {
        self.call("ruleset_add")?;
        self.state.borrow_mut().world.rulesets.entry(number).or_default().extend_from_slice(rules);
        Ok(())
    }

    fn ruleset_remove(&self, number: u16) -> Result<()> {
        self.call("ruleset_remove")?;
        self.state.borrow_mut().world.rulesets.remove(&number);
        Ok(())
    }
}

impl Interfaces for FakeHost {
    fn alias_exists(&self, alias: &InterfaceAlias) -> Result<bool> {
        self.call("alias_exists")?;
        Ok(self.state.borrow().world.aliases.contains(&alias.to_string()))
    }

    fn alias_add(&self, alias: &InterfaceAlias) -> Result<()> {
        self.call("alias_add")?;
        self.state.borrow_mut().world.aliases.insert(alias.to_string());
        Ok(())
    }

    fn alias_remove(&self, alias: &InterfaceAlias) -> Result<()> {
        self.call("alias_remove")?;
        self.state.borrow_mut().world.aliases.remove(&alias.to_string());
        Ok(())
    }

    fn interface(&self, name: &str) -> Result<MovedInterface> {
        self.call("interface")?;
        match self.state.borrow().world.interfaces.get(name) {
            Some(None) => Ok(MovedInterface { name: name.to_owned(), link_address: Vec::new() }),
            _ => Err(SysError::new(format!("interface {name}"), Errno::ENXIO)),
        }
    }

    fn interface_move(&self, jid: Jid, interface: &MovedInterface) -> Result<()> {
        self.call("interface_move")?;
        self.state.borrow_mut().world.interfaces.insert(interface.name.clone(), Some(jid));
        Ok(())
    }

    fn interface_return(&self, _: Jid, interface: &MovedInterface) -> Result<()> {
        self.call("interface_return")?;
        self.state.borrow_mut().world.interfaces.insert(interface.name.clone(), None);
        Ok(())
    }
}

impl Processes for FakeHost {
    fn boot_id(&self) -> Result<Option<String>> {
        self.call("boot_id")?;
        Ok(Some("this boot".to_owned()))
    }

    fn identity(&self, pid: i32) -> Result<Option<ProcessIdentity>> {
        self.call("identity")?;
        self.real.identity(pid)
    }

    fn signal(&self, process: &ProcessIdentity, signal: i32) -> Result<bool> {
        self.call("signal")?;
        self.real.signal(process, signal)
    }

    fn members(&self, jid: Jid) -> Result<Vec<ProcessIdentity>> {
        self.call("members")?;
        Ok(self.living(jid))
    }

    fn views(&self, jid: Jid) -> Result<Vec<ProcessView>> {
        self.call("views")?;
        let view = |identity: ProcessIdentity| ProcessView {
            identity,
            parent: 1,
            uid: 0,
            terminal: None,
            age: std::time::Duration::from_secs(100),
            cpu: CpuTime::default(),
            children: CpuTime::default(),
            resident: 4096,
            open_files: Some(3),
            command: "[fake]".to_owned(),
        };
        Ok(self.living(jid).into_iter().map(view).collect())
    }

    fn signal_all(&self, jid: Jid, signal: i32) -> Result<bool> {
        self.call("signal_all")?;
        let living = self.living(jid);
        for process in &living {
            self.real.signal(process, signal)?;
        }
        Ok(!living.is_empty())
    }

    fn fork(&self, jid: Option<Jid>, child: &mut dyn FnMut() -> i32) -> Result<i32> {
        self.call("fork")?;
        let pid = unix::fork(&mut || {
            {
                let mut state = self.state.borrow_mut();
                state.child = true;
                state.calls.clear();
            }
            child()
        })?;
        if let (Some(jid), Some(identity)) = (jid, self.real.identity(pid)?) {
            self.state.borrow_mut().processes.push((jid, identity));
        }
        Ok(pid)
    }

    fn open_pty(&self, jid: Jid, root: &Path) -> Result<Pty> {
        self.call("open_pty")?;
        self.real.open_pty(jid, root)
    }

    fn forbid_tracing(&self) -> Result<()> {
        self.call("forbid_tracing")
    }

    fn set_no_new_privileges(&self) -> Result<()> {
        self.call("set_no_new_privileges")
    }

    fn set_rlimit(&self, _: &Rlimit) -> Result<()> {
        self.call("set_rlimit")
    }

    fn become_user(&self, _: &Credentials) -> Result<()> {
        self.call("become_user")
    }
}

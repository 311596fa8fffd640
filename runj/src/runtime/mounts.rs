//! Carrying out the mounts of a plan: rulesets, targets, mounts, each intent first.

use std::path::{Path, PathBuf};

use super::{Error, Result, Runtime, of_property};
use crate::id::Jid;
use crate::plan::Plan;
use crate::plan::mount::MountStep;
use crate::resource::Resource;
use crate::state::store::{ALIAS, Locked};
use crate::sys::Kernel;
use crate::sys::jail::HostFacts;
use crate::sys::mount::{DeviceRule, MountRequest, TargetKind};

/// The mounts made so far, to know whose file system a later target lies in.
#[derive(Debug)]
pub struct Mounts<'a, K> {
    runtime: &'a Runtime<'a, K>,
    locked: &'a Locked,
    jid: Jid,
    /// The directory that the jail has as its root.
    jail_root: &'a Path,
    /// The directory that can be written, under a read-only alias too.
    root: &'a Path,
    facts: &'a HostFacts,
    made: Vec<(PathBuf, MountRequest)>,
}

/// Whose file system a path lies in.
enum Owner {
    /// A directory of the host that stays: what is made there has to be removed.
    Host { base: PathBuf, path: PathBuf },
    /// A read-only mount: nothing can be made there.
    ReadOnly { destination: PathBuf },
    /// A file system that goes with its mount.
    Fleeting,
}

/// Makes a private ruleset for each devfs mount that has rules, and checks the ones that are named.
/// Returns the mounts with their numbers filled in.
pub fn prepare_rulesets<K: Kernel>(
    runtime: &Runtime<'_, K>,
    locked: &Locked,
    steps: &[MountStep],
) -> Result<Vec<MountStep>> {
    let mut prepared = steps.to_vec();
    for (index, step) in prepared.iter_mut().enumerate() {
        let request = &mut step.request;
        let named = request.rules.iter().filter_map(|rule| rule.include).chain(request.ruleset).filter(|n| *n != 0);
        for number in named {
            if !runtime.kernel.ruleset_exists(number).map_err(of_property(format!("mounts[{index}]")))? {
                return Err(Error::argument(
                    format!("mounts[{index}].options"),
                    format!(
                        "devfs ruleset {number} does not exist or is empty, and would show every device of the host: \
                         load it (service devfs restart) or leave ruleset out"
                    ),
                ));
            }
        }
        if !request.rules.is_empty() {
            request.ruleset = Some(private_ruleset(runtime, locked, &request.rules)?);
        }
    }
    Ok(prepared)
}

fn private_ruleset<K: Kernel>(runtime: &Runtime<'_, K>, locked: &Locked, rules: &[DeviceRule]) -> Result<u16> {
    let taken = |number| runtime.kernel.ruleset_exists(number).map_err(Error::from);
    let number = runtime.store.claim_ruleset(locked.id(), taken)?;
    locked.intend(&Resource::Ruleset { number })?;
    runtime.kernel.ruleset_add(number, rules)?;
    Ok(number)
}

/// Mounts the read-only alias of the root on the state directory's `root`; returns it.
pub fn mount_root_alias<K: Kernel>(runtime: &Runtime<'_, K>, locked: &Locked, plan: &Plan) -> Result<PathBuf> {
    let directory = locked.directory().canonicalize();
    let directory = directory.map_err(|error| Error::File { path: locked.directory().to_path_buf(), error })?;
    let alias = directory.join(ALIAS);
    std::fs::create_dir(&alias).map_err(|error| Error::File { path: alias.clone(), error })?;
    locked.intend(&Resource::Mount { path: alias.clone(), before: runtime.kernel.mount_id(&alias)? })?;
    let mut request = MountRequest {
        fstype: "nullfs".to_owned(),
        source: Some(plan.root.path.clone()),
        flags: crate::sys::mount::MountFlags::default(),
        options: Vec::new(),
        ruleset: None,
        rules: Vec::new(),
        copy_up: false,
    };
    request.flags.read_only = true;
    runtime.kernel.mount(None, &directory, Path::new(ALIAS), &request).map_err(of_property("root.readonly"))?;
    Ok(alias)
}

impl<'a, K: Kernel> Mounts<'a, K> {
    /// Nothing mounted yet.
    pub fn new(
        runtime: &'a Runtime<'a, K>,
        locked: &'a Locked,
        jid: Jid,
        jail_root: &'a Path,
        root: &'a Path,
        facts: &'a HostFacts,
    ) -> Self {
        Self { runtime, locked, jid, jail_root, root, facts, made: Vec::new() }
    }

    /// Mounts one after the other.
    pub fn mount_all(&mut self, steps: &[MountStep]) -> Result<()> {
        for (index, step) in steps.iter().enumerate() {
            self.mount(&format!("mounts[{index}]"), step)?;
        }
        Ok(())
    }

    fn mount(&mut self, property: &str, step: &MountStep) -> Result<()> {
        let kind = self.target_kind(property, &step.request)?;
        let path = self.make_target(&format!("{property}.destination"), &step.destination, kind)?;
        let absolute = self.jail_root.join(&path);
        let before = self.runtime.kernel.mount_id(&absolute)?;
        self.locked.intend(&Resource::Mount { path: absolute, before })?;
        self.runtime
            .kernel
            .mount(Some(self.jid), self.jail_root, &path, &step.request)
            .map_err(of_property(property))?;
        self.made.push((path, step.request.clone()));
        Ok(())
    }

    /// Makes a directory of the container, where it lacks: its working directory.
    pub fn make_directory(&self, property: &str, destination: &Path) -> Result<()> {
        if destination == Path::new("/") {
            return Ok(());
        }
        self.make_target(property, destination, TargetKind::Directory).map(drop)
    }

    /// What the source has to be mounted on.
    fn target_kind(&self, property: &str, request: &MountRequest) -> Result<TargetKind> {
        let Some(source) = request.source.as_deref().filter(|_| request.fstype == "nullfs") else {
            return Ok(TargetKind::Directory);
        };
        let metadata = std::fs::metadata(source)
            .map_err(|error| Error::argument(format!("{property}.source"), format!("{}: {error}", source.display())))?;
        Ok(if metadata.is_dir() { TargetKind::Directory } else { self.facts.file_target() })
    }

    /// Resolves a destination beneath the root and makes what of it is missing; returns the resolved path.
    fn make_target(&self, property: &str, destination: &Path, kind: TargetKind) -> Result<PathBuf> {
        let kernel = self.runtime.kernel;
        let resolved =
            kernel.resolve(Some(self.jid), self.jail_root, destination).map_err(of_property(property.to_owned()))?;
        if resolved.missing == 0 {
            return Ok(resolved.path);
        }
        match self.owner(&resolved.path) {
            Owner::Host { base, path } => {
                let target = Resource::Target { base: base.clone(), path: path.clone(), count: resolved.missing, kind };
                self.locked.intend(&target)?;
                kernel.create_target(None, &base, &path, kind)
            }
            Owner::Fleeting => kernel.create_target(Some(self.jid), self.jail_root, &resolved.path, kind),
            Owner::ReadOnly { destination: mount } => {
                return Err(Error::argument(
                    property,
                    format!(
                        "{} does not exist, and the mount on /{} that it lies in is read-only",
                        destination.display(),
                        mount.display()
                    ),
                ));
            }
        }
        .map_err(of_property(property))?;
        Ok(resolved.path)
    }

    fn owner(&self, path: &Path) -> Owner {
        for (mounted, request) in self.made.iter().rev() {
            let Ok(rest) = path.strip_prefix(mounted) else { continue };
            return match &request.source {
                Some(source) if request.fstype == "nullfs" && !request.flags.read_only => {
                    Owner::Host { base: source.clone(), path: rest.to_path_buf() }
                }
                _ if request.flags.read_only => Owner::ReadOnly { destination: mounted.clone() },
                _ => Owner::Fleeting,
            };
        }
        Owner::Host { base: self.root.to_path_buf(), path: path.to_path_buf() }
    }
}

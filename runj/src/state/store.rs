//! The state directory: one directory per container, locked, written by rename.
//!
//! ```text
//! ROOT/ID/state.json    the record, written once per transition
//! ROOT/ID/plan.json     the plan, written once
//! ROOT/ID/journal       one line for each resource, appended before it is made
//! ROOT/ID/lock          flock(2), held while the record changes
//! ROOT/ID/start.fifo, status.fifo   between `start` and the entrypoint
//! ROOT/ID/root          the read-only alias of the root, where asked for
//! ROOT/.removed-PID     a deleted container's directory, while PID removes it
//! ROOT/.ruleset-owners  which devfs rulesets belong to which container
//! ```
//!
//! Nothing is synced: what a power loss takes, it takes from the kernel too, and records of another boot are
//! recognised.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Record;
use crate::id::ContainerId;
use crate::plan::Plan;
use crate::resource::Resource;
use crate::sys::unix::read_file;

const RECORD: &str = "state.json";
const PLAN: &str = "plan.json";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";
/// What lies in the directory of every container that was created.
const FILES: [&str; 6] = [RECORD, PLAN, JOURNAL, "start.fifo", "status.fifo", LOCK];
/// Where the read-only alias of the root is mounted.
pub const ALIAS: &str = "root";
/// What the directory of a deleted container is called, before the pid of who removes it.
const REMOVED: &str = ".removed-";
const RULESETS: &str = ".ruleset-owners";
const RULESETS_LOCK: &str = ".ruleset-owners.lock";

/// The first ruleset number that runj uses; devfs.rules(5) and administrators use small ones.
const FIRST_RULESET: u16 = 10_000;

/// Why the state cannot be read or changed.
#[derive(Debug, Error)]
pub enum StateError {
    /// There is no such container.
    #[error("container {id} does not exist")]
    NotFound {
        /// Its id.
        id: ContainerId,
    },
    /// The id is taken.
    #[error("container {id} already exists")]
    Exists {
        /// Its id.
        id: ContainerId,
    },
    /// Its directory is there, its record is not: `create` was interrupted.
    #[error("container {id} has no record: its creation was interrupted; delete --force removes it")]
    NoRecord {
        /// Its id.
        id: ContainerId,
    },
    /// A file operation.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is not what runj wrote.
    #[error("{path}: {error}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// A state root in which somebody else may put what root will believe.
    #[error("{path}: the directory for state must belong to {uid} and be writable by nobody else; it belongs to {owner}, mode {mode:o}", path = path.display())]
    Untrusted {
        /// The state root.
        path: PathBuf,
        /// Who it must belong to.
        uid: u32,
        /// Who it belongs to.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Every number is taken.
    #[error("no devfs ruleset is free: all from {FIRST_RULESET} to {} are taken", u16::MAX)]
    NoRuleset,
}

type Result<T> = std::result::Result<T, StateError>;

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StateError + '_ {
    move |error| StateError::Io { path: path.to_path_buf(), error }
}

/// The state root.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A container's directory, while its lock is held.
#[derive(Debug)]
pub struct Locked {
    id: ContainerId,
    directory: PathBuf,
    // Dropping it releases the lock. Opened close-on-exec; forked children close it first of all.
    _lock: Flock<File>,
    /// Open since the first intent.
    journal: OnceCell<File>,
}

impl Store {
    /// The store below `root`, which is made when it is needed.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The state root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a container, whether it exists or not.
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Claims an id: exactly one caller gets it.
    pub fn create(&self, id: &ContainerId) -> Result<Locked> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(io(&self.root))?;
        self.check_owner()?;
        let directory = self.directory(id);
        loop {
            match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(StateError::Exists { id: id.clone() });
                }
                other => other.map_err(io(&directory))?,
            }
            match self.lock(id) {
                // Between these two calls the directory looks abandoned, and `gc` may have removed it.
                Err(StateError::NotFound { .. }) => {}
                other => return other,
            }
        }
    }

    /// Whether the root is there; an error if it is not to be trusted.
    pub fn check(&self) -> Result<bool> {
        match self.check_owner() {
            Err(StateError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn check_owner(&self) -> Result<()> {
        let status = std::fs::metadata(&self.root).map_err(io(&self.root))?;
        let (uid, owner, mode) = (nix::unistd::geteuid().as_raw(), status.uid(), status.mode() & 0o7777);
        if owner == uid && mode & 0o022 == 0 {
            return Ok(());
        }
        Err(StateError::Untrusted { path: self.root.clone(), uid, owner, mode })
    }

    /// Locks a container, waiting for whoever holds it.
    pub fn lock(&self, id: &ContainerId) -> Result<Locked> {
        let directory = self.directory(id);
        let path = directory.join(LOCK);
        loop {
            let file = match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(StateError::NotFound { id: id.clone() });
                }
                other => other.map_err(io(&path))?,
            };
            let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io(&path)(errno.into()))?;
            // Whoever held it may have deleted the container, and another may have taken its id.
            let held = lock.metadata().map_err(io(&path))?;
            match std::fs::metadata(&path) {
                Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => {
                    return Ok(Locked { id: id.clone(), directory, _lock: lock, journal: OnceCell::new() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io(&path)(error)),
            }
        }
    }

    /// Reads the record without a lock.
    pub fn read(&self, id: &ContainerId) -> Result<Record> {
        let directory = self.directory(id);
        match read_json(&directory.join(RECORD))? {
            Some(record) => Ok(record),
            None if directory.is_dir() => Err(StateError::NoRecord { id: id.clone() }),
            None => Err(StateError::NotFound { id: id.clone() }),
        }
    }

    /// Reads the plan without a lock; it never changes.
    pub fn read_plan(&self, id: &ContainerId) -> Result<Plan> {
        read_json(&self.directory(id).join(PLAN))?.ok_or_else(|| StateError::NotFound { id: id.clone() })
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io(&self.root))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io(&self.root))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(id) = id.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Claims a devfs ruleset that no container has and for which `taken` says no, for a container.
    pub fn claim_ruleset<E: From<StateError>>(
        &self,
        id: &ContainerId,
        mut taken: impl FnMut(u16) -> std::result::Result<bool, E>,
    ) -> std::result::Result<u16, E> {
        let _lock = self.lock_rulesets()?;
        let mut owners = self.ruleset_owners()?;
        owners.retain(|_, owner| self.directory(owner).is_dir());
        for number in FIRST_RULESET..=u16::MAX {
            if !owners.contains_key(&number) && !taken(number)? {
                owners.insert(number, id.clone());
                write_json(&self.root.join(RULESETS), &owners)?;
                return Ok(number);
            }
        }
        Err(StateError::NoRuleset.into())
    }

    /// Gives a ruleset's number back.
    pub fn release_ruleset(&self, number: u16) -> Result<()> {
        let _lock = self.lock_rulesets()?;
        let mut owners = self.ruleset_owners()?;
        if owners.remove(&number).is_some() {
            write_json(&self.root.join(RULESETS), &owners)?;
        }
        Ok(())
    }

    /// The devfs rulesets whose containers are gone: a directory was removed by other means than `delete`.
    pub fn orphaned_rulesets(&self) -> Result<Vec<u16>> {
        let owners = self.ruleset_owners()?;
        Ok(owners.into_iter().filter(|(_, owner)| !self.directory(owner).is_dir()).map(|(number, _)| number).collect())
    }

    /// The directories of deleted containers which those who removed them have left, since `lives` says no to their pids.
    pub fn remains(&self, mut lives: impl FnMut(i32) -> bool) -> Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io(&self.root))?,
        };
        let mut remains = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io(&self.root))?;
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(REMOVED)).and_then(|pid| pid.parse().ok());
            if pid.is_some_and(|pid| !lives(pid)) {
                remains.push(entry.path());
            }
        }
        Ok(remains)
    }

    /// Removes what [`Store::remains`] found.
    pub fn remove_remains(&self, directory: &Path) -> Result<()> {
        remove_files(directory)
    }

    fn lock_rulesets(&self) -> Result<Flock<File>> {
        let path = self.root.join(RULESETS_LOCK);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(io(&path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io(&path)(errno.into()))
    }

    fn ruleset_owners(&self) -> Result<BTreeMap<u16, ContainerId>> {
        Ok(read_json(&self.root.join(RULESETS))?.unwrap_or_default())
    }
}

impl Locked {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The container's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The record; none if `create` died before it wrote one.
    pub fn record(&self) -> Result<Option<Record>> {
        read_json(&self.directory.join(RECORD))
    }

    /// Replaces the record.
    pub fn save(&self, record: &Record) -> Result<()> {
        write_json(&self.directory.join(RECORD), record)
    }

    /// The plan; none if `create` died before it wrote one.
    pub fn plan(&self) -> Result<Option<Plan>> {
        read_json(&self.directory.join(PLAN))
    }

    /// Writes the plan.
    pub fn save_plan(&self, plan: &Plan) -> Result<()> {
        write_json(&self.directory.join(PLAN), plan)
    }

    /// Records the intent to make a resource: one line, one write(2).
    pub fn intend(&self, resource: &Resource) -> Result<()> {
        self.append(&Line::Make(resource))
    }

    /// Takes the last intent back: nothing was made.
    pub fn retract(&self, resource: &Resource) -> Result<()> {
        self.append(&Line::Retract(resource))
    }

    fn append(&self, line: &Line<&Resource>) -> Result<()> {
        let path = self.directory.join(JOURNAL);
        let mut text = serde_json::to_vec(line).map_err(|error| StateError::Format { path: path.clone(), error })?;
        text.push(b'\n');
        let mut file = match self.journal.get() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let file = options.create(true).append(true).mode(0o600).open(&path).map_err(io(&path))?;
                self.journal.get_or_init(|| file)
            }
        };
        let written = file.write(&text).map_err(io(&path))?;
        if written < text.len() {
            return Err(io(&path)(ErrorKind::WriteZero.into()));
        }
        Ok(())
    }

    /// Everything that was to be made, oldest first. A torn last line was never acted upon.
    pub fn resources(&self) -> Result<Vec<Resource>> {
        let path = self.directory.join(JOURNAL);
        let text = match read_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io(&path))?,
        };
        let mut resources = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            match serde_json::from_slice(line) {
                Ok(Line::Make(resource)) => resources.push(resource),
                Ok(Line::Retract(resource)) => resources.retain(|known| *known != resource),
                Err(error) => return Err(StateError::Format { path, error }),
            }
        }
        Ok(resources)
    }

    /// Removes the container's directory and so its id: at once for everybody who looks for it or waits for its lock, by
    /// a new name. An alias of the root that is still mounted fails it before.
    pub fn remove(self) -> Result<()> {
        let alias = self.directory.join(ALIAS);
        match std::fs::remove_dir(&alias) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&alias)(error)),
            _ => {}
        }
        let removed = self.directory.with_file_name(format!("{REMOVED}{}", std::process::id()));
        match std::fs::rename(&self.directory, &removed) {
            // Left by a process that had this pid before.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                remove_files(&removed)?;
                std::fs::rename(&self.directory, &removed)
            }
            other => other,
        }
        .map_err(io(&self.directory))?;
        remove_files(&removed)
    }
}

/// Removes a directory with files in it. Nothing is followed, and what somebody else has removed meanwhile is gone: two
/// `gc` may find the same remains.
fn remove_files(directory: &Path) -> Result<()> {
    let removed = |path: &Path, result: std::io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(path)(error)),
        _ => Ok(()),
    };
    // To read a directory costs more than to remove what is in it.
    for path in FILES.map(|name| directory.join(name)) {
        removed(&path, std::fs::remove_file(&path))?;
    }
    match std::fs::remove_dir(directory) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
        result => return removed(directory, result),
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io(directory))?,
    };
    for entry in entries {
        let path = entry.map_err(io(directory))?.path();
        removed(&path, std::fs::remove_file(&path))?;
    }
    removed(directory, std::fs::remove_dir(directory))
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<R> {
    Make(R),
    Retract(R),
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match read_file(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io(path)(error)),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StateError::Format { path: path.to_path_buf(), error }),
    }
}

/// Writes beside the file and renames, so that readers see the old one or the new one.
fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let temporary = path.with_extension("new");
    let bytes = serde_json::to_vec(value).map_err(|error| StateError::Format { path: path.to_path_buf(), error })?;
    let mut options = OpenOptions::new();
    let mut file =
        options.create(true).truncate(true).write(true).mode(0o600).open(&temporary).map_err(io(&temporary))?;
    file.write_all(&bytes).map_err(io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount::TargetKind;

    fn id(text: &str) -> ContainerId {
        text.parse().unwrap()
    }

    fn ruleset(number: u16) -> Resource {
        Resource::Ruleset { number }
    }

    #[test]
    fn an_id_is_claimed_once() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(&root.path().join("state"));
        let locked = store.create(&id("a")).unwrap();
        assert!(matches!(store.create(&id("a")), Err(StateError::Exists { .. })));
        locked.remove().unwrap();
        assert!(matches!(store.lock(&id("a")), Err(StateError::NotFound { .. })));
        store.create(&id("a")).unwrap();
        assert_eq!(store.ids().unwrap(), [id("a")]);
    }

    #[test]
    fn a_root_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let error = Store::new(root.path()).create(&id("a")).unwrap_err();
        assert!(error.to_string().ends_with("mode 1777"), "{error}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_waiter_for_a_deleted_container_learns_of_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        let locked = store.create(&id("a")).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.lock(&id("a")).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(20));
            locked.remove().unwrap();
            assert!(matches!(waiter.join().unwrap(), Err(StateError::NotFound { .. })));
        });
    }

    #[test]
    fn a_torn_last_line_is_ignored_and_a_retracted_one_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let locked = Store::new(root.path()).create(&id("a")).unwrap();
        let target = Resource::Target { base: "/b".into(), path: "x/y".into(), count: 2, kind: TargetKind::File };
        locked.intend(&ruleset(7)).unwrap();
        locked.intend(&target).unwrap();
        locked.intend(&ruleset(8)).unwrap();
        locked.retract(&ruleset(8)).unwrap();
        let path = locked.directory().join(JOURNAL);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"make\":{\"rul").unwrap();
        assert_eq!(locked.resources().unwrap(), [ruleset(7), target]);
    }

    #[test]
    fn a_record_is_written_by_rename() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        let locked = store.create(&id("a")).unwrap();
        assert!(matches!(store.read(&id("a")), Err(StateError::NoRecord { .. })));
        // What a crash while writing leaves is beside the record, not in it.
        std::fs::write(locked.directory().join("state.new"), b"{\"ver").unwrap();
        assert!(locked.record().unwrap().is_none());
        locked.remove().unwrap();
    }

    #[test]
    fn rulesets_belong_to_one_container() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        let (a, b) = (store.create(&id("a")).unwrap(), store.create(&id("b")).unwrap());
        let foreign = |number| Ok::<_, StateError>(number == FIRST_RULESET);
        let first = store.claim_ruleset(a.id(), foreign).unwrap();
        let second = store.claim_ruleset(b.id(), foreign).unwrap();
        assert_eq!((first, second), (FIRST_RULESET + 1, FIRST_RULESET + 2));
        store.release_ruleset(first).unwrap();
        assert_eq!(store.claim_ruleset(b.id(), foreign).unwrap(), first);
        // A container that is gone has none.
        b.remove().unwrap();
        assert_eq!(store.claim_ruleset(a.id(), foreign).unwrap(), first);
    }
}

//! The emulated kernel's table of jails: one directory for each jid, one link for each name.
//!
//! A name is taken by making its link, which says who took it; a jid by making its directory. Both are atomic, so
//! only the counter of jids needs a lock. What a killed creator left is swept by whoever meets it.

use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use fs_err as fs;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::params::{JAIL_MAX, Refusal};
use super::processes;
use crate::id::Jid;
use crate::sys::jail::JailParams;
use crate::sys::process::ProcessIdentity;
use crate::sys::unix::read_file;

/// A jail as it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jail {
    /// Its number.
    pub jid: Jid,
    /// Its name.
    pub name: String,
    /// Its root directory, canonical.
    pub path: PathBuf,
    /// Its parameters.
    pub params: JailParams,
    /// The process that holds its namespaces.
    pub keeper: ProcessIdentity,
    /// The boot that this identity belongs to.
    pub boot: String,
    /// The mount that is the root of its mount namespace until the first attach; 0 if it stays.
    pub old_root: u64,
    /// The host's end of its network, if it has addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veth: Option<String>,
}

/// The table.
#[derive(Debug)]
pub struct Registry {
    directory: PathBuf,
}

/// A name and a jid, taken for a jail in the making.
#[derive(Debug)]
pub struct Claim {
    /// The jid.
    pub jid: Jid,
    /// The name.
    pub name: String,
}

/// Who uses a name.
enum User {
    /// A living jail.
    Jail(Box<Jail>),
    /// A process that is making one.
    Creator,
    /// None of both.
    Nobody,
}

impl Registry {
    /// The table in this directory, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn jail_directory(&self, jid: Jid) -> PathBuf {
        self.directory.join(jid.to_string())
    }

    fn name_link(&self, name: &str) -> PathBuf {
        self.directory.join("names").join(escape(name))
    }

    /// Takes a jid (the one asked for, or the next) and a name (the one asked for, or the jid).
    pub fn claim(&self, jid: Option<i32>, name: Option<&str>) -> Result<Claim, Refusal> {
        // The kernel looks at a jid that is asked for first, then at the name, and burns no jid for that.
        let claimed = jid.map(|jid| self.claim_jid(Jid(jid))).transpose()?;
        if let Some(name) = name
            && let Err(refusal) = self.refuse_known(name)
        {
            claimed.inspect(|jid| drop(fs::remove_dir(self.jail_directory(*jid))));
            return Err(refusal);
        }
        let jid = claimed.map_or_else(|| self.next_jid(), Ok)?;
        let name = name.map_or_else(|| jid.to_string(), str::to_owned);
        let this = processes::own_identity().map_err(Refusal::from)?;
        let holder = format!("{jid} {} {}", this.pid, this.start);
        let link = || symlink(&holder, self.name_link(&name));
        let linked = match link() {
            // Whoever began this directory was killed before it was whole.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.directory.join("names")).and_then(|()| link())
            }
            other => other,
        };
        match linked {
            Ok(()) => Ok(Claim { jid, name }),
            Err(error) => {
                let _ = fs::remove_dir(self.jail_directory(jid));
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return Err(Refusal::new(Errno::EEXIST, format!("jail {name:?} already exists")));
                }
                Err(errno(&error).into())
            }
        }
    }

    /// Refuses a name that is in use; sweeps one that is not any more.
    fn refuse_known(&self, name: &str) -> Result<(), Refusal> {
        match self.user(name)? {
            User::Nobody => Ok(()),
            _ => Err(Refusal::new(Errno::EEXIST, format!("jail \"{name}\" already exists"))),
        }
    }

    /// Who uses a name; sweeps one that is not in use any more.
    fn user(&self, name: &str) -> nix::Result<User> {
        let Some((jid, creator)) = self.holder(name)? else { return Ok(User::Nobody) };
        match self.load(jid)? {
            Some(jail) if self.is_alive(&jail)? => return Ok(User::Jail(Box::new(jail))),
            None if processes::identity(creator.pid)? == Some(creator) => return Ok(User::Creator),
            _ => {}
        }
        self.remove(jid, name)?;
        Ok(User::Nobody)
    }

    /// Who holds a name: the jid, and the process that took it.
    fn holder(&self, name: &str) -> nix::Result<Option<(Jid, ProcessIdentity)>> {
        let target = match std::fs::read_link(self.name_link(name)) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(errno(&error)),
        };
        let text = target.to_string_lossy();
        let mut fields = text.split(' ');
        let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok()).ok_or(Errno::EBADMSG);
        let small = |number: u64| i32::try_from(number).map_err(|_| Errno::EBADMSG);
        let jid = Jid(small(number()?)?);
        Ok(Some((jid, ProcessIdentity { pid: small(number()?)?, start: number()? })))
    }

    fn claim_jid(&self, jid: Jid) -> Result<Jid, Refusal> {
        fs::create_dir_all(self.directory.join("names")).map_err(|error| errno(&error))?;
        match std::fs::create_dir(self.jail_directory(jid)) {
            Ok(()) => Ok(jid),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(jail) = self.load(jid)?
                    && !self.is_alive(&jail)?
                {
                    self.remove(jid, &jail.name)?;
                    return self.claim_jid(jid);
                }
                Err(Refusal::new(Errno::EEXIST, format!("jail {jid} already exists")))
            }
            Err(error) => Err(errno(&error).into()),
        }
    }

    /// The next jid: larger than all before, begins again at 1 after the largest.
    fn next_jid(&self) -> Result<Jid, Refusal> {
        let names = self.directory.join("names");
        let path = self.directory.join("last");
        let open = || std::fs::File::options().read(true).append(true).create(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(names).and_then(|()| open()),
            other => other,
        };
        let file = file.map_err(|error| errno(&error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        // The file's length is the counter: one system call to read, one to write, and never half written.
        let mut last = lock.metadata().map_err(|error| errno(&error))?.len();
        for _ in 0..JAIL_MAX {
            last = if last >= u64::from(JAIL_MAX.unsigned_abs()) { 1 } else { last + 1 };
            let jid = Jid(i32::try_from(last).map_err(|_| Errno::EOVERFLOW)?);
            match std::fs::create_dir(self.jail_directory(jid)) {
                Ok(()) => {
                    lock.set_len(last).map_err(|error| errno(&error))?;
                    return Ok(jid);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(errno(&error).into()),
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// Records a jail; from here on it is found.
    pub fn save(&self, jail: &Jail) -> nix::Result<()> {
        let directory = self.jail_directory(jail.jid);
        let text = serde_json::to_vec(jail).map_err(|_| Errno::EINVAL)?;
        let new = directory.join("jail.json.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, directory.join("jail.json")))
            .map_err(|error| errno(&error))
    }

    /// What is recorded under a jid, alive or not.
    pub fn load(&self, jid: Jid) -> nix::Result<Option<Jail>> {
        match read_file(&self.jail_directory(jid).join("jail.json")) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| Errno::EBADMSG),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(errno(&error)),
        }
    }

    /// Whether the keeper lives.
    pub fn is_alive(&self, jail: &Jail) -> nix::Result<bool> {
        Ok(jail.boot == processes::boot_id()? && processes::identity(jail.keeper.pid)? == Some(jail.keeper))
    }

    /// The living jail of a jid.
    pub fn living(&self, jid: Jid) -> nix::Result<Option<Jail>> {
        match self.load(jid)? {
            Some(jail) if self.is_alive(&jail)? => Ok(Some(jail)),
            _ => Ok(None),
        }
    }

    /// The living jail of a name. What a dead one or a killed creator left of it is swept.
    pub fn find(&self, name: &str) -> nix::Result<Option<Jail>> {
        match self.user(name)? {
            User::Jail(jail) => Ok(Some(*jail)),
            User::Creator | User::Nobody => Ok(None),
        }
    }

    /// The jids below a jail, deepest first.
    pub fn below(&self, name: &str) -> nix::Result<Vec<Jid>> {
        let prefix = format!("{}.", escape(name));
        let mut names: Vec<String> = match std::fs::read_dir(self.directory.join("names")) {
            Ok(entries) => entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|entry| entry.starts_with(&prefix))
                .map(|entry| unescape(&entry))
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(errno(&error)),
        };
        names.sort_by_key(|name| std::cmp::Reverse(name.matches('.').count()));
        let holders = names.iter().map(|name| self.holder(name)).collect::<nix::Result<Vec<_>>>()?;
        Ok(holders.into_iter().flatten().map(|(jid, _)| jid).collect())
    }

    /// Forgets a jid and its name; absence is success. The name goes last: by it the next one finds what a process that
    /// was killed in here left.
    pub fn remove(&self, jid: Jid, name: &str) -> nix::Result<()> {
        let directory = self.jail_directory(jid);
        absent_is_fine(std::fs::remove_file(directory.join("jail.json")))?;
        match std::fs::remove_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                absent_is_fine(std::fs::remove_dir_all(&directory))
            }
            other => absent_is_fine(other),
        }?;
        if self.holder(name)?.is_some_and(|(holder, _)| holder == jid) {
            absent_is_fine(std::fs::remove_file(self.name_link(name)))?;
        }
        Ok(())
    }
}

fn absent_is_fine(result: io::Result<()>) -> nix::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(errno(&error)),
        _ => Ok(()),
    }
}

/// The number of an error of the standard library.
pub fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A jail's name as a file name: it may hold slashes and be 255 bytes long, of which few are slashes.
fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn unescape(name: &str) -> String {
    name.replace("%2F", "/").replace("%25", "%")
}

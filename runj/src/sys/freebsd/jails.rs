//! Jails: jail_set(2), jail_get(2), jail_attach(2), jail_remove(2).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::chdir;

use super::ffi::{self, Options, Refusal};
use super::{Host, cpuset, examine, rctl};
use crate::id::Jid;
use crate::sys::examination::Examination;
use crate::sys::jail::{HostFacts, JailParams, JailView, ParamValue, System};
use crate::sys::limit::Limits;
use crate::sys::processors::Processors;
use crate::sys::usage::Usage;
use crate::sys::{Jails, Processes, Result, SysError};

/// How long a jail may take to die. A fork storm was seen to take 64 ms.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);

/// After how many removals, a millisecond apart, that found no process in a jail with children nobody is being forked.
const CALM_ROUNDS: u32 = 10;

impl Jails for Host {
    fn facts_of(&self, wanted: Option<&BTreeSet<String>>) -> Result<HostFacts> {
        let failed = |name: &'static str| move |errno| SysError::new(format!("sysctl {name}"), errno);
        let jail_params = match wanted {
            None => ffi::sysctl_names("security.jail.param").map(|names| names.into_iter().collect()),
            Some(names) => known(names),
        };
        Ok(HostFacts {
            system: System::Freebsd,
            osreldate: ffi::osreldate().map_err(failed("kern.osreldate"))?,
            jail_params: jail_params.map_err(failed("security.jail.param"))?,
            racct: false,
            processors: Processors::default(),
        })
    }

    fn examine(&self) -> Result<Examination> {
        examine::examine(self)
    }

    fn accounts(&self) -> Result<bool> {
        // A kernel built without it has no such name.
        Ok(ffi::sysctl_value(c"kern.racct.enable").is_ok_and(|value| value.iter().any(|byte| *byte != 0)))
    }

    fn processors(&self) -> Result<Processors> {
        cpuset::available()
    }

    fn jail_create(&self, params: &JailParams) -> Result<Jid> {
        create(format!("create jail {}", params.text("name").unwrap_or_default()), params)
    }

    fn jail_find(&self, name: &str) -> Result<Option<JailView>> {
        let mut options = Options::default();
        options.push_text("name", name);
        view(options, || format!("find jail {name}"))
    }

    fn jail_enter(&self, _jid: Jid) -> Result<()> {
        Ok(())
    }

    fn jail_attach(&self, jid: Jid, root: &Path) -> Result<()> {
        // Before 13.0 attaching leaves the working directory where it is: outside, unless it is the root already.
        chdir(root).map_err(|errno| SysError::new(format!("chdir {}", root.display()), errno))?;
        ffi::jail_attach(jid.0).map_err(|errno| {
            let operation = format!("attach to jail {jid}");
            match errno {
                Errno::EPERM => {
                    let message = format!("{} (only root may, and with no directory descriptor open)", errno.desc());
                    SysError::with_message(operation, errno, message)
                }
                Errno::EINVAL => SysError::with_message(operation, errno, "there is no such jail, or it is dying"),
                _ => SysError::new(operation, errno),
            }
        })?;
        chdir("/").map_err(|errno| SysError::new(format!("chdir / in jail {jid}"), errno))
    }

    fn jail_remove(&self, jid: Jid) -> Result<()> {
        // One call is not enough before 13.0: a process that is being forked or is attaching survives it.
        // Not asked for the time before it matters: libc prepares for that at the first time.
        let mut deadline = None;
        let mut rounds_without_processes = 0;
        loop {
            match ffi::jail_remove(jid.0) {
                Ok(()) => {}
                Err(Errno::EINVAL) => return Ok(()),
                Err(errno) => return Err(SysError::new(format!("remove jail {jid}"), errno)),
            }
            if find(jid)?.is_none() {
                return Ok(());
            }
            // A child jail that is dying, of an unreaped process say, keeps its parent in the kernel's list of the living.
            if number(jid, "children.cur")?.is_some_and(|children| children > 0) && self.members(jid)?.is_empty() {
                rounds_without_processes += 1;
                if rounds_without_processes == CALM_ROUNDS {
                    return Ok(());
                }
            } else {
                rounds_without_processes = 0;
            }
            if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + REMOVE_DEADLINE) {
                let message = format!("processes of it still live after {} s", REMOVE_DEADLINE.as_secs());
                return Err(SysError::with_message(format!("remove jail {jid}"), Errno::EBUSY, message));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn limits_add(&self, jail: &str, limits: &Limits) -> Result<()> {
        rctl::add(jail, limits)?;
        match &limits.processors {
            Some(processors) => cpuset::set(self.living(jail)?, processors),
            None => Ok(()),
        }
    }

    fn limits_replace(&self, jail: &str, old: &Limits, new: &Limits) -> Result<()> {
        rctl::replace(jail, old, new)?;
        // Last, since some kernels cannot take it back.
        if new.processors == old.processors {
            return Ok(());
        }
        let all = new.processors.is_none().then(cpuset::available).transpose()?;
        let processors = new.processors.as_ref().or(all.as_ref());
        processors.map_or(Ok(()), |processors| cpuset::set(self.living(jail)?, processors))
    }

    fn usage(&self, jail: &str, _limits: &Limits) -> Result<Usage> {
        rctl::usage(jail)
    }

    fn limits_join(&self, _limits: &Limits) -> Result<()> {
        Ok(())
    }

    fn limits_missing(&self, _limits: &Limits) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn limits_remove(&self, jail: &str, _limits: &Limits, _made: &[PathBuf]) -> Result<()> {
        rctl::remove(jail)
    }
}

/// Those of the names that are parameters. One that is also a node of others, as `host`, is a name of its own below itself,
/// with nothing after the dot; so the look-up passes over a dot at the end, which no parameter has.
fn known(names: &BTreeSet<String>) -> nix::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for name in names.iter().filter(|name| !name.is_empty() && !name.ends_with('.')) {
        let mut is_parameter = true;
        let looked = ffi::each_sysctl_name(&format!("security.jail.param.{name}"), |below| {
            is_parameter = below.is_empty();
            !is_parameter
        });
        match looked {
            Err(Errno::ENOENT | Errno::EINVAL) => {}
            Ok(()) => found.extend(is_parameter.then(|| name.clone())),
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

impl Host {
    /// The number of the living jail of this name.
    fn living(&self, name: &str) -> Result<Jid> {
        let view = self.jail_find(name)?;
        view.map(|view| view.jid).ok_or_else(|| SysError::new(format!("find jail {name}"), Errno::ENOENT))
    }
}

fn create(operation: String, params: &JailParams) -> Result<Jid> {
    let mut options = Options::default();
    for (name, value) in &params.0 {
        // The kernel would read no further than the NUL.
        if matches!(value, ParamValue::Text(text) if text.contains('\0')) || *value == ParamValue::Root {
            return Err(SysError::with_message(operation, Errno::EINVAL, format!("{name}: not a text")));
        }
        let (name, value) = value.encode(name);
        options.push(&name, value);
    }
    match options.jail_set(libc::JAIL_CREATE) {
        Ok(jid) => Ok(Jid(jid)),
        Err(Refusal { errno: Errno::EPERM, message })
            if ffi::sysctl_int(c"security.jail.jailed").is_ok_and(|n| n != 0) =>
        {
            let message = format!("{message} (this is a jail itself: runj doctor says what it may not)");
            Err(SysError::with_message(operation, Errno::EPERM, message))
        }
        Err(refusal) => Err(SysError::with_message(operation, refusal.errno, refusal.message)),
    }
}

/// The living jail with this number.
pub(super) fn find(jid: Jid) -> Result<Option<JailView>> {
    let mut options = Options::default();
    options.push_int("jid", jid.0);
    view(options, || format!("find jail {jid}"))
}

/// The living jail that the options name. (With no flag jail_get(2) finds no dying one.)
fn view(mut options: Options, operation: impl Fn() -> String) -> Result<Option<JailView>> {
    options.push("path", Some(vec![0; libc::PATH_MAX as usize]));
    match options.jail_get(0) {
        Ok(jid) => Ok(Some(JailView { jid: Jid(jid), path: PathBuf::from(options.value_text("path")) })),
        Err(refusal) if refusal.errno == Errno::ENOENT => Ok(None),
        Err(refusal) => Err(SysError::with_message(operation(), refusal.errno, refusal.message)),
    }
}

/// A number that the kernel tells of a living jail.
pub(super) fn number(jid: Jid, param: &str) -> Result<Option<i32>> {
    let mut options = Options::default();
    options.push_int("jid", jid.0);
    options.push_int(param, 0);
    match options.jail_get(0) {
        Ok(_) => Ok(Some(options.value_int(param))),
        Err(refusal) if refusal.errno == Errno::ENOENT => Ok(None),
        Err(refusal) => Err(SysError::with_message(format!("{param} of jail {jid}"), refusal.errno, refusal.message)),
    }
}

//! Rulesets of devfs(8), edited through the host's own /dev.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::ffi::{self, DevfsRule};
use crate::sys::mount::DeviceRule;
use crate::sys::{Result, SysError};

/// The numbers of the rules within a set, as devfs(8) gives them.
const STEP: usize = 100;

pub(super) fn exists(number: u16) -> Result<bool> {
    match DevfsRule::new(id(number, 0)).next(devfs()?.as_fd()) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(failed("look at", number, errno)),
    }
}

pub(super) fn add(number: u16, rules: &[DeviceRule]) -> Result<()> {
    let devfs = devfs()?;
    for (position, rule) in rules.iter().enumerate() {
        let place = u16::try_from((position + 1) * STEP).map_err(|_| failed("add to", number, Errno::E2BIG))?;
        match encode(id(number, place), rule).and_then(|rule| rule.add(devfs.as_fd())) {
            // There from an attempt before this one.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(Errno::ESRCH) => {
                let message = match rule.include {
                    Some(set) => format!("ruleset {set} is not loaded (service devfs start loads /etc/devfs.rules)"),
                    None => Errno::ESRCH.desc().to_owned(),
                };
                return Err(SysError::with_message(format!("add to devfs ruleset {number}"), Errno::ESRCH, message));
            }
            Err(errno) => return Err(failed("add to", number, errno)),
        }
    }
    Ok(())
}

pub(super) fn remove(number: u16) -> Result<()> {
    let devfs = devfs()?;
    loop {
        // No rule left: the set vanishes with its last mount.
        let found = match DevfsRule::new(id(number, 0)).next(devfs.as_fd()) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.map_err(|errno| failed("look at", number, errno))?,
        };
        match ffi::devfs_rule_delete(devfs.as_fd(), found) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("remove from", number, errno)),
        }
    }
}

fn devfs() -> Result<OwnedFd> {
    open("/dev", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new("open /dev", errno))
}

fn failed(what: &str, number: u16, errno: Errno) -> SysError {
    SysError::new(format!("{what} devfs ruleset {number}"), errno)
}

fn id(ruleset: u16, rule: u16) -> u32 {
    u32::from(ruleset) << 16 | u32::from(rule)
}

fn encode(id: u32, rule: &DeviceRule) -> nix::Result<DevfsRule> {
    let mut raw = DevfsRule::new(id);
    if let Some(pattern) = &rule.path {
        if pattern.contains('\0') || !raw.set_pattern(pattern) {
            return Err(Errno::ENAMETOOLONG);
        }
    }
    rule.visible.inspect(|visible| raw.set_visible(*visible));
    rule.uid.inspect(|uid| raw.set_uid(*uid));
    rule.gid.inspect(|gid| raw.set_gid(*gid));
    rule.mode.inspect(|mode| raw.set_mode(*mode));
    rule.include.inspect(|set| raw.set_include(*set));
    Ok(raw)
}

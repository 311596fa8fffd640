//! Limits of a jail and its account: rctl_add_rule(2), rctl_remove_rule(2), rctl_get_racct(2). Rules go by the jail's
//! name and outlive the jail.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use super::ffi;
use crate::sys::limit::{Limits, Rule};
use crate::sys::usage::{CpuTime, Usage};
use crate::sys::{Result, SysError};

pub(super) fn add(jail: &str, limits: &Limits) -> Result<()> {
    for rule in limits.as_rules() {
        let rule = format!("jail:{jail}:{rule}");
        ffi::c_string(&rule).and_then(|text| ffi::rule_add(&text)).map_err(|errno| refused(&rule, errno))?;
    }
    Ok(())
}

/// A rule of the same resource and action takes the place of the one that was there; the others have to go.
pub(super) fn replace(jail: &str, old: &Limits, new: &Limits) -> Result<()> {
    add(jail, new)?;
    for subject in dropped(old, new) {
        remove_matching(&format!("jail:{jail}:{subject}"))?;
    }
    Ok(())
}

/// `RESOURCE:ACTION` of the old rules that no new one replaces.
fn dropped(old: &Limits, new: &Limits) -> Vec<String> {
    let subjects = |limits: &Limits| limits.as_rules().iter().map(Rule::subject).collect::<Vec<_>>();
    let kept = subjects(new);
    subjects(old).into_iter().filter(|subject| !kept.contains(subject)).collect()
}

pub(super) fn remove(jail: &str) -> Result<()> {
    remove_matching(&format!("jail:{jail}"))
}

/// What racct(4) says of the jail; nothing where accounting is off.
pub(super) fn usage(jail: &str) -> Result<Usage> {
    let filter = format!("jail:{jail}");
    match ffi::c_string(&filter).and_then(|text| ffi::racct(&text)) {
        Ok(text) => Ok(parse_usage(&text)),
        // Accounting is off, or the jail is gone.
        Err(Errno::ENOSYS | Errno::ESRCH) => Ok(Usage::default()),
        Err(errno) => Err(SysError::new(format!("usage of {filter}"), errno)),
    }
}

/// Reads `cputime=3,memoryuse=4096,…` (rctl(8), "RESOURCES").
fn parse_usage(text: &str) -> Usage {
    let entry = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let raw: BTreeMap<String, u64> = text.split(',').filter_map(entry).collect();
    let value = |name: &str| raw.get(name).copied();
    Usage {
        // In whole seconds, and not told apart.
        cpu: value("cputime").map(|seconds| CpuTime { total: Duration::from_secs(seconds), ..CpuTime::default() }),
        memory: value("memoryuse"),
        swap: value("swapuse"),
        processes: value("maxproc"),
        open_files: value("openfiles"),
        io_rate: value("readbps").zip(value("writebps")),
        raw,
        ..Usage::default()
    }
}

fn remove_matching(filter: &str) -> Result<()> {
    match ffi::c_string(filter).and_then(|text| ffi::rule_remove(&text)) {
        // None there, or none possible.
        Ok(()) | Err(Errno::ESRCH | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(SysError::new(format!("remove limits {filter}"), errno)),
    }
}

fn refused(rule: &str, errno: Errno) -> SysError {
    let operation = format!("limit {rule}");
    match errno {
        Errno::ENOSYS => SysError::with_message(
            operation,
            errno,
            "the kernel accounts no resources: set kern.racct.enable=1 in /boot/loader.conf and reboot",
        ),
        _ => SysError::new(operation, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_is_dropped() {
        let old = Limits { memory: Some(5), pids: Some(7), ..Limits::default() };
        let new = Limits { memory: Some(6), rules: vec!["pcpu:log=5".parse().unwrap()], ..Limits::default() };
        assert_eq!(dropped(&old, &new), ["maxproc:deny"]);
        assert_eq!(dropped(&new, &old), ["pcpu:log"]);
    }

    #[test]
    fn an_account_is_read() {
        let usage =
            parse_usage("cputime=3,memoryuse=4096,maxproc=2,openfiles=20,swapuse=0,pcpu=12,readbps=5,writebps=6");
        assert_eq!(usage.cpu.map(|cpu| cpu.total), Some(Duration::from_secs(3)));
        assert_eq!((usage.memory, usage.processes, usage.raw["pcpu"]), (Some(4096), Some(2), 12));
        assert_eq!((usage.open_files, usage.io_rate), (Some(20), Some((5, 6))));
        assert_eq!(parse_usage(""), Usage::default());
    }
}

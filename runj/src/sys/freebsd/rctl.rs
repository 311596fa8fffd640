//! Limits of a jail: rctl_add_rule(2), rctl_remove_rule(2). They go by the jail's name and outlive the jail.

use nix::errno::Errno;

use super::ffi;
use crate::sys::jail::Limits;
use crate::sys::{Result, SysError};

pub(super) fn add(jail: &str, limits: &Limits) -> Result<()> {
    for rule in rules(limits) {
        let rule = format!("jail:{jail}:{rule}");
        ffi::c_string(&rule).and_then(|text| ffi::rule_add(&text)).map_err(|errno| refused(&rule, errno))?;
    }
    Ok(())
}

pub(super) fn remove(jail: &str) -> Result<()> {
    let filter = format!("jail:{jail}");
    match ffi::c_string(&filter).and_then(|text| ffi::rule_remove(&text)) {
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
            "the kernel does not account resources: set kern.racct.enable=1 in /boot/loader.conf and reboot",
        ),
        _ => SysError::new(operation, errno),
    }
}

/// The rules of rctl(8), without their subject. Memory cannot be denied (resident memory has no `deny`), so its limit
/// kills; the CPU limit is in percent of one processor.
fn rules(limits: &Limits) -> Vec<String> {
    let mut rules = limits.rules.clone();
    rules.extend(limits.memory.map(|bytes| format!("memoryuse:sigkill={bytes}")));
    rules.extend(limits.pids.map(|count| format!("maxproc:deny={count}")));
    rules.extend(limits.cpu.map(|(quota, period)| {
        let percent = quota.saturating_mul(100).checked_div(period).unwrap_or(0);
        format!("pcpu:deny={}", percent.max(1))
    }));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rules() {
        let limits = Limits {
            rules: vec!["openfiles:deny=64".into()],
            memory: Some(1 << 20),
            pids: Some(7),
            cpu: Some((150_000, 100_000)),
            ..Limits::default()
        };
        let expected = ["openfiles:deny=64", "memoryuse:sigkill=1048576", "maxproc:deny=7", "pcpu:deny=150"];
        assert_eq!(rules(&limits), expected);
        assert_eq!(rules(&Limits { cpu: Some((1, 100_000)), ..Limits::default() }), ["pcpu:deny=1"]);
    }
}

//! What `doctor` asks the machine.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::Path;

use super::{Host, ffi};
use crate::sys::examination::{Accounting, Examination, Freebsd, Jailed, MODULES, Module};
use crate::sys::{Jails, Mounts, Result, SysError};

/// Where the kernel finds modules (`kern.module_path`).
const MODULE_PATH: [&str; 2] = ["/boot/kernel", "/boot/modules"];

pub(super) fn examine(host: &Host) -> Result<Examination> {
    let facts = host.facts_of(Some(&BTreeSet::from(["vnet".to_owned()])))?;
    let number = |name: &CStr| ffi::sysctl_int(name).ok();
    let release = ffi::sysctl_value(c"kern.osrelease").unwrap_or_default();
    let accounting = match ffi::sysctl_value(c"kern.racct.enable") {
        Err(_) => Accounting::Absent,
        Ok(value) if value.iter().all(|byte| *byte == 0) => Accounting::Off,
        Ok(_) => Accounting::On,
    };
    let securelevel = ffi::sysctl_int(c"kern.securelevel").map_err(|errno| SysError::new("kern.securelevel", errno))?;
    Ok(Examination::Freebsd(Freebsd {
        release: String::from_utf8_lossy(&release).trim_end_matches('\0').to_owned(),
        osreldate: facts.osreldate,
        vnet: facts.jail_params.contains("vnet"),
        accounting,
        modules: MODULES.into_iter().map(|name| (name, module(name))).collect(),
        devfs_rules: host.ruleset_exists(4).ok(),
        securelevel,
        jailed: number(c"security.jail.jailed").filter(|jailed| *jailed != 0).map(|_| jailed()),
    }))
}

fn module(name: &str) -> Module {
    if ffi::c_string(name).is_ok_and(|name| ffi::module_find(&name)) {
        return Module::Loaded;
    }
    let file = format!("{name}.ko");
    match MODULE_PATH.iter().any(|directory| Path::new(directory).join(&file).exists()) {
        true => Module::Loadable,
        false => Module::Absent,
    }
}

/// What the jail may that this process is in.
fn jailed() -> Jailed {
    let number = |name: &CStr| ffi::sysctl_int(name).ok().and_then(|value| u32::try_from(value).ok());
    let mounts = [
        (c"security.jail.mount_allowed", "allow.mount"),
        (c"security.jail.mount_devfs_allowed", "allow.mount.devfs"),
        (c"security.jail.mount_nullfs_allowed", "allow.mount.nullfs"),
        (c"security.jail.mount_tmpfs_allowed", "allow.mount.tmpfs"),
        (c"security.jail.mount_fdescfs_allowed", "allow.mount.fdescfs"),
        (c"security.jail.mount_procfs_allowed", "allow.mount.procfs"),
    ];
    let forbidden = mounts.into_iter().filter(|(sysctl, _)| number(sysctl) == Some(0));
    Jailed {
        children_max: number(c"security.jail.children.max").unwrap_or(0),
        children: number(c"security.jail.children.cur").unwrap_or(0),
        enforce_statfs: number(c"security.jail.enforce_statfs").unwrap_or(0),
        forbidden: forbidden.map(|(_, name)| name.to_owned()).collect(),
    }
}

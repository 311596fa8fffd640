//! `allow.*` as the capability bounding set. The numbers are those of linux/capability.h.

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::ffi;
use crate::sys::jail::{JailParams, JailSys, ParamValue};

const SETPCAP: u32 = 8;
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const SYS_ADMIN: u32 = 21;
const SYSLOG: u32 = 34;

/// What root keeps in every jail: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, sys_chroot,
/// mknod, audit_write, setfcap.
const BASE: [u32; 12] = [0, 1, 3, 4, 5, 6, 7, SETPCAP, 18, 27, 29, 31];

/// The capabilities that root has in a jail with these parameters. `allow.set_hostname`, though on by default on
/// FreeBSD, would need the capability that allows everything here, and gets it only when it is asked for.
pub fn bounding_set(params: &JailParams) -> BTreeSet<u32> {
    let allowed = |name: &str, default: bool| match params.get(name) {
        Some(ParamValue::Flag(value)) => *value,
        _ => default,
    };
    if !allowed("allow.suser", true) {
        return BTreeSet::new();
    }
    let vnet = params.sys("vnet") == Some(JailSys::New);
    let table = [
        (NET_BIND_SERVICE, allowed("allow.reserved_ports", true)),
        (NET_ADMIN, vnet),
        (NET_RAW, vnet || allowed("allow.raw_sockets", false)),
        (IPC_LOCK, allowed("allow.mlock", false)),
        (SYS_ADMIN, allowed("allow.mount", false) || allowed("allow.set_hostname", false)),
        (SYSLOG, allowed("allow.read_msgbuf", false)),
    ];
    BASE.into_iter().chain(table.into_iter().filter(|(_, on)| *on).map(|(capability, _)| capability)).collect()
}

/// Reduces what the calling process can get by executing a program. Called in a child, last.
pub fn restrict(keep: &BTreeSet<u32>) -> nix::Result<()> {
    // SETPCAP is needed to drop others, so that it goes last.
    for capability in (0..64).filter(|capability| *capability != SETPCAP && !keep.contains(capability)) {
        if !ffi::drop_from_bounding_set(capability)? {
            break;
        }
    }
    ffi::clear_inherited_capabilities()?;
    if !keep.contains(&SETPCAP) && !ffi::drop_from_bounding_set(SETPCAP)? {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn set(list: &[(&str, ParamValue)]) -> BTreeSet<u32> {
        bounding_set(&JailParams(list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    }

    const ON: ParamValue = ParamValue::Flag(true);
    const OFF: ParamValue = ParamValue::Flag(false);

    #[rstest]
    #[case(&[], NET_BIND_SERVICE, true)]
    #[case(&[("allow.reserved_ports", OFF)], NET_BIND_SERVICE, false)]
    #[case(&[], NET_RAW, false)]
    #[case(&[("allow.raw_sockets", ON)], NET_RAW, true)]
    #[case(&[("allow.mlock", ON)], IPC_LOCK, true)]
    #[case(&[], SYS_ADMIN, false)]
    #[case(&[("allow.mount", ON)], SYS_ADMIN, true)]
    #[case(&[("allow.set_hostname", ON)], SYS_ADMIN, true)]
    #[case(&[("vnet", ParamValue::Sys(JailSys::New))], NET_ADMIN, true)]
    #[case(&[("vnet", ParamValue::Sys(JailSys::New))], NET_RAW, true)]
    #[case(&[("vnet", ParamValue::Sys(JailSys::Inherit))], NET_ADMIN, false)]
    fn follows_the_parameters(#[case] list: &[(&str, ParamValue)], #[case] capability: u32, #[case] kept: bool) {
        assert_eq!(set(list).contains(&capability), kept);
    }

    #[test]
    fn no_suser_is_no_privilege() {
        assert!(set(&[("allow.suser", OFF), ("allow.mount", ON)]).is_empty());
    }
}

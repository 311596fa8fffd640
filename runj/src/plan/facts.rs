//! The facts of a plain FreeBSD 14.0 and of the emulation, for plans that are made elsewhere. Pure.

use crate::sys::jail::{HostFacts, System};
use crate::sys::processors::Processors;

/// Parameters of jail(8) in the GENERIC kernel of FreeBSD 14.0.
const FREEBSD_14: &[&str] = &[
    "jid",
    "parent",
    "name",
    "path",
    "securelevel",
    "devfs_ruleset",
    "enforce_statfs",
    "children.cur",
    "children.max",
    "host",
    "host.hostname",
    "host.domainname",
    "host.hostuuid",
    "host.hostid",
    "cpuset.id",
    "ip4",
    "ip4.addr",
    "ip4.saddrsel",
    "ip6",
    "ip6.addr",
    "ip6.saddrsel",
    "vnet",
    "persist",
    "dying",
    "osreldate",
    "osrelease",
    "sysvmsg",
    "sysvsem",
    "sysvshm",
    "allow.set_hostname",
    "allow.sysvipc",
    "allow.raw_sockets",
    "allow.chflags",
    "allow.mount",
    "allow.mount.devfs",
    "allow.mount.fdescfs",
    "allow.mount.nullfs",
    "allow.mount.procfs",
    "allow.mount.tmpfs",
    "allow.quotas",
    "allow.socket_af",
    "allow.mlock",
    "allow.reserved_ports",
    "allow.read_msgbuf",
    "allow.unprivileged_proc_debug",
    "allow.suser",
    "allow.nfsd",
];

/// Parameters that the emulation knows.
const EMULATED: &[&str] = &[
    "jid",
    "name",
    "path",
    "persist",
    "enforce_statfs",
    "devfs_ruleset",
    "children.max",
    "host",
    "host.hostname",
    "host.domainname",
    "host.hostuuid",
    "host.hostid",
    "ip4",
    "ip4.addr",
    "ip4.saddrsel",
    "ip6",
    "ip6.addr",
    "ip6.saddrsel",
    "vnet",
    "sysvmsg",
    "sysvsem",
    "sysvshm",
    "allow.set_hostname",
    "allow.raw_sockets",
    "allow.chflags",
    "allow.mount",
    "allow.mount.devfs",
    "allow.mount.fdescfs",
    "allow.mount.linprocfs",
    "allow.mount.linsysfs",
    "allow.mount.nullfs",
    "allow.mount.procfs",
    "allow.mount.tmpfs",
    "allow.quotas",
    "allow.read_msgbuf",
    "allow.socket_af",
    "allow.mlock",
    "allow.reserved_ports",
    "allow.unprivileged_proc_debug",
    "allow.suser",
    "linux.netns",
    "linux.ipcns",
    "linux.utsns",
];

/// A plain FreeBSD 14.0 with resource accounting off, as GENERIC boots.
pub fn freebsd14() -> HostFacts {
    HostFacts {
        system: System::Freebsd,
        osreldate: 1_400_097,
        jail_params: FREEBSD_14.iter().map(|&name| name.to_owned()).collect(),
        racct: false,
        processors: Processors::default(),
    }
}

/// The emulation on a Linux without writable cgroups.
pub fn linux() -> HostFacts {
    HostFacts {
        system: System::Linux,
        osreldate: 0,
        jail_params: EMULATED.iter().map(|&name| name.to_owned()).collect(),
        racct: false,
        processors: Processors::default(),
    }
}

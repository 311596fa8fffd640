//! ioctls on network interfaces (netintro(4), net/if.c).

use std::ffi::{c_char, c_int, c_ulong};
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{ifreq, sockaddr_in, sockaddr_in6};
use nix::errno::Errno;

use super::{IOC_IN, IOC_INOUT, ioctl_number};

/// netinet/in_var.h: `struct in_aliasreq`.
#[repr(C)]
struct Alias4 {
    name: [c_char; libc::IFNAMSIZ],
    address: sockaddr_in,
    broadcast: sockaddr_in,
    mask: sockaddr_in,
    vhid: c_int,
}

/// netinet6/in6_var.h: `struct in6_aliasreq`.
#[repr(C)]
struct Alias6 {
    name: [c_char; libc::IFNAMSIZ],
    address: sockaddr_in6,
    destination: sockaddr_in6,
    mask: sockaddr_in6,
    flags: c_int,
    lifetime: Lifetime,
    vhid: c_int,
}

/// netinet6/in6.h: `struct in6_addrlifetime`.
#[repr(C)]
struct Lifetime {
    expire: libc::time_t,
    preferred: libc::time_t,
    valid_time: u32,
    preferred_time: u32,
}

/// netinet6/in6_var.h: `struct in6_ifreq`, whose union is as large as the 34 counters of `struct icmp6_ifstat`.
#[repr(C)]
struct Request6 {
    name: [c_char; libc::IFNAMSIZ],
    address: sockaddr_in6,
    rest: [u8; 34 * 8 - size_of::<sockaddr_in6>()],
}

const SIOCSIFNAME: c_ulong = ioctl_number(IOC_IN, b'i', 40, size_of::<ifreq>());
const SIOCSIFVNET: c_ulong = ioctl_number(IOC_INOUT, b'i', 90, size_of::<ifreq>());
const SIOCSIFRVNET: c_ulong = ioctl_number(IOC_INOUT, b'i', 91, size_of::<ifreq>());
const SIOCDIFADDR: c_ulong = ioctl_number(IOC_IN, b'i', 25, size_of::<ifreq>());
const SIOCAIFADDR: c_ulong = ioctl_number(IOC_IN, b'i', 43, size_of::<Alias4>());
const SIOCDIFADDR_IN6: c_ulong = ioctl_number(IOC_IN, b'i', 25, size_of::<Request6>());
const SIOCAIFADDR_IN6: c_ulong = ioctl_number(IOC_IN, b'i', 27, size_of::<Alias6>());
const _: () = assert!(SIOCSIFNAME == 0x8020_6928 && SIOCSIFVNET == 0xc020_695a && SIOCSIFRVNET == 0xc020_695b);
const _: () = assert!(size_of::<Alias4>() == 68 && SIOCAIFADDR == 0x8044_692b && SIOCDIFADDR == 0x8020_6919);
const _: () = assert!(size_of::<Request6>() == 288 && SIOCDIFADDR_IN6 == 0x8120_6919);
const _: () = assert!(size_of::<Alias6>() == 136 && SIOCAIFADDR_IN6 == 0x8088_691b);
const _: () = assert!(offset_of!(Alias6, flags) == 100 && offset_of!(Alias6, lifetime) == 104);
const _: () = assert!(offset_of!(Alias6, vhid) == 128 && size_of::<ifreq>() == 32);

/// The name of an interface as its requests carry it; one that does not fit names no interface.
fn interface_name(name: &str) -> nix::Result<[c_char; libc::IFNAMSIZ]> {
    if name.len() >= libc::IFNAMSIZ {
        return Err(Errno::ENXIO);
    }
    let mut field = [0; libc::IFNAMSIZ];
    for (slot, byte) in field.iter_mut().zip(name.bytes()) {
        *slot = c_char::from_ne_bytes([byte]);
    }
    Ok(field)
}

fn address4(address: Ipv4Addr) -> sockaddr_in {
    sockaddr_in {
        sin_len: 16,
        sin_family: 2, // AF_INET
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    }
}

fn address6(address: Ipv6Addr) -> sockaddr_in6 {
    sockaddr_in6 {
        sin6_len: 28,
        sin6_family: 28, // AF_INET6
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        sin6_scope_id: 0,
    }
}

const _: () = assert!(size_of::<sockaddr_in>() == 16 && size_of::<sockaddr_in6>() == 28);
const _: () = assert!(libc::AF_INET == 2 && libc::AF_INET6 == 28);

fn mask4(prefix: u8) -> Ipv4Addr {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0).into()
}

fn mask6(prefix: u8) -> Ipv6Addr {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0).into()
}

/// The memory of one ioctl.
fn request<T>(socket: BorrowedFd<'_>, number: c_ulong, memory: &mut T) -> nix::Result<()> {
    // SAFETY: every caller in this file passes the struct whose size is part of the ioctl's number (asserted above).
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), number, std::ptr::from_mut(memory)) }).map(drop)
}

/// `SIOCAIFADDR`, `SIOCAIFADDR_IN6`: adds the address through a socket of its family. Twice is once.
pub fn address_add(socket: BorrowedFd<'_>, interface: &str, address: IpAddr, prefix: u8) -> nix::Result<()> {
    let name = interface_name(interface)?;
    match address {
        IpAddr::V4(address) => {
            let unset = sockaddr_in { sin_len: 0, sin_family: 0, ..address4(Ipv4Addr::UNSPECIFIED) };
            let mask = address4(mask4(prefix));
            let mut alias = Alias4 { name, address: address4(address), broadcast: unset, mask, vhid: 0 };
            request(socket, SIOCAIFADDR, &mut alias)
        }
        IpAddr::V6(address) => {
            let mut alias = Alias6 {
                name,
                address: address6(address),
                destination: sockaddr_in6 { sin6_len: 0, sin6_family: 0, ..address6(Ipv6Addr::UNSPECIFIED) },
                mask: address6(mask6(prefix)),
                flags: 0,
                // ND6_INFINITE_LIFETIME
                lifetime: Lifetime { expire: 0, preferred: 0, valid_time: u32::MAX, preferred_time: u32::MAX },
                vhid: 0,
            };
            request(socket, SIOCAIFADDR_IN6, &mut alias)
        }
    }
}

/// `SIOCDIFADDR`, `SIOCDIFADDR_IN6`: removes the address.
pub fn address_remove(socket: BorrowedFd<'_>, interface: &str, address: IpAddr) -> nix::Result<()> {
    let name = interface_name(interface)?;
    match address {
        IpAddr::V4(address) => {
            // SAFETY: a sockaddr_in is a sockaddr: the same size (16, asserted above), integers only.
            let ifru_addr = unsafe { std::mem::transmute::<sockaddr_in, libc::sockaddr>(address4(address)) };
            let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_addr };
            request(socket, SIOCDIFADDR, &mut ifreq { ifr_name: name, ifr_ifru })
        }
        IpAddr::V6(address) => {
            let rest = [0; 34 * 8 - size_of::<sockaddr_in6>()];
            request(socket, SIOCDIFADDR_IN6, &mut Request6 { name, address: address6(address), rest })
        }
    }
}

/// `SIOCSIFVNET`: lends an interface to the network stack of a jail.
pub fn interface_lend(socket: BorrowedFd<'_>, interface: &str, jid: c_int) -> nix::Result<()> {
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_jid: jid };
    request(socket, SIOCSIFVNET, &mut ifreq { ifr_name: interface_name(interface)?, ifr_ifru })
}

/// `SIOCSIFRVNET`: takes an interface back that is called so inside the jail.
pub fn interface_reclaim(socket: BorrowedFd<'_>, interface: &str, jid: c_int) -> nix::Result<()> {
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_jid: jid };
    request(socket, SIOCSIFRVNET, &mut ifreq { ifr_name: interface_name(interface)?, ifr_ifru })
}

/// `SIOCSIFNAME`: renames an interface of the network stack that the socket was made in.
pub fn interface_rename(socket: BorrowedFd<'_>, interface: &str, name: &str) -> nix::Result<()> {
    let mut name = interface_name(name)?;
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: name.as_mut_ptr() };
    request(socket, SIOCSIFNAME, &mut ifreq { ifr_name: interface_name(interface)?, ifr_ifru })
}

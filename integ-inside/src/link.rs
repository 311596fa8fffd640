//! Configures an interface that was given to the jail, which may have no ifconfig(8).
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome};

pub const CHECKS: &[Check] = &[Check {
    name: "if-up",
    usage: "NAME [ADDRESS/PREFIX [GATEWAY]]",
    about: "sets an interface up, with an address and a default route",
    run: if_up,
}];

fn if_up(args: &Args) -> Outcome {
    let name = args.text(0)?;
    if args.list.len() > 1 {
        let text = args.text(1)?;
        let (address, prefix) = text.split_once('/').ok_or_else(|| Failure::usage(args.usage))?;
        let address: Ipv4Addr = address.parse().map_err(|_| Failure::usage(text))?;
        let prefix: u32 = prefix.parse().map_err(|_| Failure::usage(text))?;
        let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - prefix).unwrap_or(0));
        add_address(name, address, mask).attempt(format!("{text} on {name}"))?;
    }
    set_up(name).attempt(format!("{name} up"))?;
    if args.list.len() > 2 {
        let gateway = args.value(2)?;
        add_default_route(gateway).attempt(format!("a route through {gateway}"))?;
    }
    Ok(())
}

/// A request of the kernel's about an interface: its name, then what the request is about.
#[repr(C)]
struct Request {
    name: [u8; 16],
    data: [u8; 24],
}

fn request(name: &str, data: &[u8]) -> io::Result<Request> {
    let mut request = Request { name: [0; 16], data: [0; 24] };
    let bytes = name.as_bytes();
    if bytes.len() >= request.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name[..bytes.len()].copy_from_slice(bytes);
    request.data[..data.len()].copy_from_slice(data);
    Ok(request)
}

/// Carries out a request on an argument of the type that the request is about.
///
/// # Safety
///
/// `argument` must be what the kernel reads and writes for this request.
unsafe fn ioctl<T>(number: numbers::Number, argument: &mut T) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
    // SAFETY: the caller's word.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number, argument) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
mod numbers {
    pub use libc::{Ioctl as Number, SIOCGIFFLAGS as GET_FLAGS, SIOCSIFFLAGS as SET_FLAGS};
}

/// net/if.h: `_IOWR('i', 17, struct ifreq)`, `_IOW('i', 16, struct ifreq)`.
#[cfg(target_os = "freebsd")]
mod numbers {
    pub use libc::c_ulong as Number;
    pub const GET_FLAGS: Number = 0xc020_6911;
    pub const SET_FLAGS: Number = 0x8020_6910;
}

fn set_up(name: &str) -> io::Result<()> {
    let mut request = request(name, &[])?;
    // SAFETY: both requests are about the flags of an ifreq, which is no longer than a Request.
    unsafe {
        ioctl(numbers::GET_FLAGS, &mut request)?;
        let flags = u16::from_ne_bytes([request.data[0], request.data[1]]) | libc::IFF_UP as u16;
        request.data[..2].copy_from_slice(&flags.to_ne_bytes());
        ioctl(numbers::SET_FLAGS, &mut request)
    }
}

/// A `struct sockaddr_in`.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    #[cfg(target_os = "linux")]
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    #[cfg(target_os = "freebsd")]
    bytes[..2].copy_from_slice(&[16, libc::AF_INET as u8]);
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

#[cfg(target_os = "linux")]
fn add_address(name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    for (number, address) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
        // SAFETY: the requests are about the address of an ifreq.
        unsafe { ioctl(number, &mut request(name, &socket_address(address))?)? };
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn add_default_route(gateway: Ipv4Addr) -> io::Result<()> {
    let address = |address| {
        // SAFETY: a sockaddr has the 16 bytes of a sockaddr_in.
        unsafe { std::mem::transmute::<[u8; 16], libc::sockaddr>(socket_address(address)) }
    };
    // SAFETY: all-zero is a valid rtentry.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the request is about an rtentry.
    unsafe { ioctl(libc::SIOCADDRT, &mut route) }
}

/// netinet/in_var.h: `struct in_aliasreq` of 68 bytes, `SIOCAIFADDR`.
#[cfg(target_os = "freebsd")]
fn add_address(name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    const ADD_ADDRESS: numbers::Number = 0x8044_692b;
    let mut request = [0u8; 68];
    request[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
    request[16..32].copy_from_slice(&socket_address(address));
    let broadcast = Ipv4Addr::from(u32::from(address) | !u32::from(mask));
    request[32..48].copy_from_slice(&socket_address(broadcast));
    request[48..64].copy_from_slice(&socket_address(mask));
    // SAFETY: the request is about an in_aliasreq.
    unsafe { ioctl(ADD_ADDRESS, &mut request) }
}

/// net/route.h: an `RTM_ADD` message with destination, gateway and mask (route(4)).
#[cfg(target_os = "freebsd")]
fn add_default_route(gateway: Ipv4Addr) -> io::Result<()> {
    use std::io::Write;
    const HEADER: usize = 152;
    let mut message = vec![0u8; HEADER];
    for address in [Ipv4Addr::UNSPECIFIED, gateway, Ipv4Addr::UNSPECIFIED] {
        message.extend(socket_address(address));
    }
    let length = message.len() as u16;
    message[..2].copy_from_slice(&length.to_ne_bytes());
    message[2..4].copy_from_slice(&[5, 1]);
    let flags = libc::RTF_UP | libc::RTF_GATEWAY | libc::RTF_STATIC;
    message[8..12].copy_from_slice(&flags.to_ne_bytes());
    message[12..16].copy_from_slice(&7i32.to_ne_bytes());
    let socket = socket(AddressFamily::Route, SockType::Raw, SockFlag::empty(), None)?;
    std::fs::File::from(socket).write_all(&message)
}

const _: () = assert!(size_of::<Request>() == 40);

//! A small client of rtnetlink(7): links, addresses, routes. Knows messages, decides nothing.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Message types (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDR: u16 = 20;
const DEL_ADDR: u16 = 21;
const GET_ADDR: u16 = 22;
const NEW_ROUTE: u16 = 24;

/// Message flags (linux/netlink.h).
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const CREATE_NEW: u16 = 0x400 | 0x200;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Attributes of a link (linux/if_link.h), an address (linux/if_addr.h) and a route.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// `IFA_F_NODAD`: usable at once.
const NO_DUPLICATE_DETECTION: u8 = 0x02;
/// `RTNH_F_ONLINK`: the gateway is on the link although no address says so.
const ON_LINK: u32 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: i32,
    /// Its name.
    pub name: String,
    /// Its link-level address.
    pub address: Vec<u8>,
}

/// Where an interface goes.
#[derive(Clone, Copy, Debug)]
pub enum Network {
    /// To the network of a process.
    Process(i32),
    /// To a network namespace.
    Descriptor(RawFd),
}

/// A message in the making.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes }
    }

    /// `struct ifinfomsg`; sets the interface up or leaves it.
    fn link(mut self, index: i32, up: bool) -> Self {
        let flags = u32::from(up);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&index.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self
    }

    /// `struct ifaddrmsg`
    fn address(mut self, index: i32, address: IpAddr, prefix: u8, scope: u8) -> Self {
        let flags = if address.is_ipv6() { NO_DUPLICATE_DETECTION } else { 0 };
        self.bytes.extend_from_slice(&[family(address), prefix, flags, scope]);
        self.bytes.extend_from_slice(&index.to_ne_bytes());
        self.attribute(IFA_LOCAL, &octets(address)).attribute(IFA_ADDRESS, &octets(address))
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn name(self, name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(IFLA_IFNAME, &bytes)
    }

    fn network(self, network: Network) -> Self {
        match network {
            Network::Process(pid) => self.attribute(IFLA_NET_NS_PID, &pid.to_ne_bytes()),
            Network::Descriptor(fd) => self.attribute(IFLA_NET_NS_FD, &fd.to_ne_bytes()),
        }
    }

    /// An attribute made of attributes.
    fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let mut whole = inner(self);
        let length = u16::try_from(whole.bytes.len() - start).unwrap_or(u16::MAX);
        whole.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        whole
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// A socket in the network namespace in which it was made.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// A socket in the network namespace of the calling process.
    pub fn new() -> Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(Self)
    }

    fn request(&self, message: Message, mut each: impl FnMut(u16, &[u8])) -> Result<()> {
        send(self.0.as_raw_fd(), &message.finish(), MsgFlags::empty())?;
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, tail)) = split_message(rest) {
                rest = tail;
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        return match i32_at(body, 0) {
                            Some(0) => Ok(()),
                            Some(number) => Err(Errno::from_raw(number.wrapping_neg())),
                            None => Err(Errno::EBADMSG),
                        };
                    }
                    kind => each(kind, body),
                }
            }
        }
    }

    fn act(&self, message: Message) -> Result<()> {
        self.request(message, |_, _| {})
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<Link>> {
        let mut list = Vec::new();
        self.request(Message::new(GET_LINK, DUMP).link(0, false), |kind, body| {
            if kind == NEW_LINK {
                list.extend(parse_link(body));
            }
        })?;
        Ok(list)
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link(&self, name: &str) -> Result<Link> {
        let mut found = None;
        self.request(Message::new(GET_LINK, ACK).link(0, false).name(name), |kind, body| {
            if kind == NEW_LINK {
                found = parse_link(body);
            }
        })?;
        found.ok_or(Errno::ENODEV)
    }

    /// Makes a pair of interfaces, the peer in the network of a process; neither is up.
    pub fn create_pair(&self, name: &str, peer: &str, pid: i32) -> Result<()> {
        let message = Message::new(NEW_LINK, ACK | CREATE_NEW).link(0, false).name(name);
        self.act(message.nested(IFLA_LINKINFO, |message| {
            message.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, |message| {
                message
                    .nested(VETH_INFO_PEER, |message| message.link(0, false).name(peer).network(Network::Process(pid)))
            })
        }))
    }

    /// Deletes an interface.
    pub fn delete_link(&self, name: &str) -> Result<()> {
        self.act(Message::new(DEL_LINK, ACK).link(0, false).name(name))
    }

    /// Sets an interface up.
    pub fn set_up(&self, index: i32) -> Result<()> {
        self.act(Message::new(NEW_LINK, ACK).link(index, true))
    }

    /// Moves an interface to another network, where it gets this name.
    pub fn move_link(&self, index: i32, network: Network, name: &str) -> Result<()> {
        self.act(Message::new(NEW_LINK, ACK).link(index, false).network(network).name(name))
    }

    /// Adds an address to an interface.
    pub fn add_address(&self, index: i32, address: IpAddr, prefix: u8) -> Result<()> {
        self.act(Message::new(NEW_ADDR, ACK | CREATE_NEW).address(index, address, prefix, SCOPE_UNIVERSE))
    }

    /// Adds an address that is used on the link alone.
    pub fn add_link_address(&self, index: i32, address: IpAddr, prefix: u8) -> Result<()> {
        self.act(Message::new(NEW_ADDR, ACK | CREATE_NEW).address(index, address, prefix, SCOPE_LINK))
    }

    /// Removes an address from an interface.
    pub fn remove_address(&self, index: i32, address: IpAddr, prefix: u8) -> Result<()> {
        self.act(Message::new(DEL_ADDR, ACK).address(index, address, prefix, SCOPE_UNIVERSE))
    }

    /// All addresses: the interface's index, the address, the length of its prefix.
    pub fn addresses(&self) -> Result<Vec<(i32, IpAddr, u8)>> {
        let mut list = Vec::new();
        let mut message = Message::new(GET_ADDR, DUMP);
        message.bytes.extend_from_slice(&[0; 8]);
        self.request(message, |kind, body| {
            if kind == NEW_ADDR {
                list.extend(parse_address(body));
            }
        })?;
        Ok(list)
    }

    /// A route to one address, or to everything through a gateway on the link.
    pub fn add_route(&self, index: i32, to: Target) -> Result<()> {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_BOOT: u8 = 3;
        const UNICAST: u8 = 1;
        let (address, prefix, scope, flags) = match to {
            Target::Host(address) => (address, if address.is_ipv6() { 128 } else { 32 }, SCOPE_LINK, 0),
            Target::Default(gateway) => (gateway, 0, SCOPE_UNIVERSE, ON_LINK),
        };
        let scope = if address.is_ipv6() { SCOPE_UNIVERSE } else { scope };
        let mut message = Message::new(NEW_ROUTE, ACK | CREATE_NEW);
        message.bytes.extend_from_slice(&[family(address), prefix, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, UNICAST]);
        message.bytes.extend_from_slice(&flags.to_ne_bytes());
        let kind = if prefix == 0 { RTA_GATEWAY } else { RTA_DST };
        self.act(message.attribute(kind, &octets(address)).attribute(RTA_OIF, &index.to_ne_bytes()))
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// To this address.
    Host(IpAddr),
    /// To everything, through this gateway.
    Default(IpAddr),
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    u8::try_from(family).unwrap_or_default()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(i32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// The first message of a packet: its type, its body, and what follows it.
fn split_message(packet: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(i32_at(packet, 0)?).ok()?;
    let body = packet.get(16..length)?;
    Some((u16_at(packet, 4)?, body, packet.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let mut link = Link { index: i32_at(body, 4)?, name: String::new(), address: Vec::new() };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            IFLA_ADDRESS => link.address = value.to_vec(),
            _ => {}
        }
    }
    Some(link)
}

fn parse_address(body: &[u8]) -> Option<(i32, IpAddr, u8)> {
    let attributes: Vec<_> = attributes(body.get(8..)?).collect();
    let find = |wanted| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let value = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    let address = match value.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
        _ => return None,
    };
    Some((i32_at(body, 4)?, address, *body.get(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nest() {
        let message =
            Message::new(NEW_LINK, ACK).nested(18, |message| message.attribute(1, b"veth\0").attribute(2, &[]));
        let bytes = message.finish();
        assert_eq!(bytes.len(), 16 + 4 + 12 + 4);
        assert_eq!(i32_at(&bytes, 0), Some(36));
        let outer: Vec<_> = attributes(&bytes[16..]).collect();
        assert_eq!(outer.len(), 1);
        let inner: Vec<_> = attributes(outer[0].1).collect();
        assert_eq!(inner, [(1, &b"veth\0"[..]), (2, &[][..])]);
    }

    #[test]
    fn torn_messages_are_ignored() {
        assert_eq!(split_message(&[16, 0, 0]), None);
        assert_eq!(attributes(&[9, 0, 1, 0, 7]).count(), 0);
        assert_eq!(parse_link(&[0; 7]), None);
        assert_eq!(parse_address(&[0; 8]), None);
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let socket = Socket::new().unwrap();
        let lo = socket.link("lo").unwrap();
        assert!(socket.links().unwrap().contains(&lo));
        assert_eq!(socket.link("no-such-link").unwrap_err(), Errno::ENODEV);
        socket.addresses().unwrap();
    }
}

//! ICMP echo over a raw socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use pnet::packet::Packet;
use pnet::packet::icmp::echo_reply::EchoReplyPacket;
use pnet::packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet::packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet::packet::icmpv6::echo_reply::EchoReplyPacket as EchoReply6Packet;
use pnet::packet::icmpv6::echo_request::MutableEchoRequestPacket as MutableEchoRequest6Packet;
use pnet::packet::icmpv6::{Icmpv6Code, Icmpv6Types};
use pnet::packet::ipv4::Ipv4Packet;

const PAYLOAD: &[u8] = b"integ-inside";
const LENGTH: usize = 8 + PAYLOAD.len();

/// Whether a raw socket can be made at all.
pub fn raw_works() -> bool {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp).is_ok()
}

/// Sends echo requests until one is answered or the time is over.
pub fn echo(target: IpAddr, patience: Duration) -> io::Result<()> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::empty(), protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(200))?;
    let address = SockaddrStorage::from(SocketAddr::new(target, 0));
    let identifier = std::process::id() as u16;
    let end = Instant::now() + patience;
    let mut sequence = 0;
    let mut problem = io::Error::from(io::ErrorKind::TimedOut);
    while Instant::now() < end {
        sequence += 1;
        match sendto(socket.as_raw_fd(), &request(target, identifier, sequence)?, &address, MsgFlags::empty()) {
            Ok(_) if answered(&socket, target, identifier) => return Ok(()),
            Ok(_) => {}
            Err(errno) => {
                problem = errno.into();
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Err(problem)
}

fn request(target: IpAddr, identifier: u16, sequence: u16) -> io::Result<Vec<u8>> {
    let short = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = vec![0; LENGTH];
    match target {
        IpAddr::V4(_) => {
            let mut packet = MutableEchoRequestPacket::new(&mut bytes).ok_or_else(short)?;
            packet.set_icmp_type(IcmpTypes::EchoRequest);
            packet.set_identifier(identifier);
            packet.set_sequence_number(sequence);
            packet.set_payload(PAYLOAD);
            let sum = checksum(&IcmpPacket::new(packet.packet()).ok_or_else(short)?);
            packet.set_checksum(sum);
        }
        // The kernel fills in the checksum (RFC 3542).
        IpAddr::V6(_) => {
            let mut packet = MutableEchoRequest6Packet::new(&mut bytes).ok_or_else(short)?;
            packet.set_icmpv6_type(Icmpv6Types::EchoRequest);
            packet.set_icmpv6_code(Icmpv6Code(0));
            packet.set_identifier(identifier);
            packet.set_sequence_number(sequence);
            packet.set_payload(PAYLOAD);
        }
    }
    Ok(bytes)
}

/// Reads until our answer comes or nothing more does.
fn answered(socket: &OwnedFd, target: IpAddr, identifier: u16) -> bool {
    let mut buffer = [0; 1500];
    while let Ok(count) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let found = match target {
            IpAddr::V4(_) => Ipv4Packet::new(&buffer[..count]).and_then(|packet| {
                let body = buffer.get(usize::from(packet.get_header_length()) * 4..count)?;
                let reply = EchoReplyPacket::new(body)?;
                let ours = reply.get_icmp_type() == IcmpTypes::EchoReply && reply.get_identifier() == identifier;
                (ours && packet.get_source() == target).then_some(())
            }),
            IpAddr::V6(_) => EchoReply6Packet::new(&buffer[..count]).and_then(|reply| {
                let ours = reply.get_icmpv6_type() == Icmpv6Types::EchoReply && reply.get_identifier() == identifier;
                ours.then_some(())
            }),
        };
        if found.is_some() {
            return true;
        }
    }
    false
}

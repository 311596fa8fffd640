//! Interfaces of the host, of jails, and on the way between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::netlink::{Link, Network, Socket, Target};
use super::params::Refusal;
use super::registry::{Jail, errno};
use super::{Host, namespaces};
use crate::id::Jid;
use crate::sys::net::{InterfaceAlias, MovedInterface};
use crate::sys::{Interfaces, Result, SysError};

/// The host's end of each pair: the gateway of the jail. Both are of the link alone.
const GATEWAY4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// The name of the jail's end.
const INSIDE: &str = "eth0";

/// Gives a network addresses that the host reaches: a pair of interfaces, the host's end a gateway with a route to
/// each address. Returns the name of the host's end.
pub fn give_addresses(keeper: i32, addresses: &[IpAddr]) -> Result<String, Refusal> {
    let socket = Socket::new()?;
    let taken = socket.addresses()?;
    if let Some(address) = addresses.iter().find(|address| taken.iter().any(|(_, other, _)| other == *address)) {
        let message = format!("{address} is an address of the host, and the emulation cannot share it with a jail");
        return Err(Refusal::new(Errno::EADDRINUSE, message));
    }
    // The pid makes it unique on this host, whatever state root it belongs to.
    let name = format!("runj{keeper}");
    let made = connect(&socket, &name, keeper, addresses);
    if made.is_err() {
        let _ = socket.delete_link(&name);
    }
    match made {
        Ok(()) => Ok(name),
        Err(Errno::EEXIST) => {
            let family = if addresses.iter().any(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
            Err(Refusal::new(Errno::EADDRINUSE, format!("{family} addresses clash")))
        }
        Err(errno) => Err(Refusal::new(errno, format!("interface {name}: {}", errno.desc()))),
    }
}

fn connect(socket: &Socket, name: &str, keeper: i32, addresses: &[IpAddr]) -> nix::Result<()> {
    socket.create_pair(name, INSIDE, keeper)?;
    let outside = socket.link(name)?.index;
    let inside = socket_of(&namespaces::process(keeper)?)?;
    let index = inside.link(INSIDE)?.index;
    socket.set_up(outside)?;
    inside.set_up(index)?;
    for (gateway, is_used) in
        [(GATEWAY4, addresses.iter().any(IpAddr::is_ipv4)), (GATEWAY6, addresses.iter().any(IpAddr::is_ipv6))]
    {
        if !is_used {
            continue;
        }
        socket.add_link_address(outside, gateway, if gateway.is_ipv6() { 64 } else { 32 })?;
        for address in addresses.iter().copied().filter(|address| address.is_ipv6() == gateway.is_ipv6()) {
            inside.add_address(index, address, if address.is_ipv6() { 128 } else { 32 })?;
            socket.add_route(outside, Target::Host(address))?;
        }
        inside.add_route(index, Target::Default(gateway))?;
        // From jail to jail; whether the host forwards further is its administrator's decision.
        let family = if gateway.is_ipv6() { "ipv6" } else { "ipv4" };
        let _ = std::fs::write(format!("/proc/sys/net/{family}/conf/{name}/forwarding"), "1");
    }
    Ok(())
}

/// Removes the host's end of a pair and with it the other; absence is success.
pub fn remove(name: &str) -> nix::Result<()> {
    match Socket::new()?.delete_link(name) {
        Err(Errno::ENODEV) => Ok(()),
        other => other,
    }
}

/// A socket in the network of a process.
fn socket_of(process: &std::os::fd::OwnedFd) -> nix::Result<Socket> {
    namespaces::visit(process, CloneFlags::CLONE_NEWNET, Socket::new)?
}

/// A socket in the network of a jail.
fn jail_socket(jail: &Jail) -> nix::Result<Socket> {
    socket_of(&namespaces::keeper(jail)?)
}

/// Finds an interface by its link-level address, which it keeps when it is renamed, or by its name without one.
fn find(socket: &Socket, interface: &MovedInterface) -> nix::Result<Option<Link>> {
    Ok(socket.links()?.into_iter().find(|link| {
        if interface.link_address.iter().all(|&byte| byte == 0) {
            link.name == interface.name
        } else {
            link.address == interface.link_address
        }
    }))
}

impl Interfaces for Host {
    fn alias_exists(&self, alias: &InterfaceAlias) -> Result<bool> {
        let exists = || {
            let socket = Socket::new()?;
            let index = socket.link(&alias.interface)?.index;
            Ok(socket.addresses()?.contains(&(index, alias.address, alias.prefix)))
        };
        exists().map_err(|errno| SysError::new(format!("interface {alias}"), errno))
    }

    fn alias_add(&self, alias: &InterfaceAlias) -> Result<()> {
        let add = || {
            let socket = Socket::new()?;
            socket.add_address(socket.link(&alias.interface)?.index, alias.address, alias.prefix)
        };
        match add() {
            // As SIOCAIFADDR, which gives an address that is there to its interface again.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(SysError::new(format!("add alias {alias}"), errno)),
        }
    }

    fn alias_remove(&self, alias: &InterfaceAlias) -> Result<()> {
        let remove = || {
            let socket = Socket::new()?;
            socket.remove_address(socket.link(&alias.interface)?.index, alias.address, alias.prefix)
        };
        match remove() {
            Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => Ok(()),
            Err(errno) => Err(SysError::new(format!("remove alias {alias}"), errno)),
        }
    }

    fn interface(&self, name: &str) -> Result<MovedInterface> {
        let link = Socket::new().and_then(|socket| socket.link(name));
        link.map(|link| MovedInterface { name: link.name, link_address: link.address })
            .map_err(|errno| SysError::new(format!("interface {name}"), errno))
    }

    fn interface_move(&self, jid: Jid, interface: &MovedInterface) -> Result<()> {
        let name = &interface.name;
        let (jail, _) = self.jail(jid)?;
        let go = || {
            let socket = Socket::new()?;
            socket.move_link(socket.link(name)?.index, Network::Process(jail.keeper.pid), name)
        };
        go().map_err(|errno| SysError::new(format!("move interface {name} to jail {jid}"), errno))
    }

    fn interface_return(&self, jid: Jid, interface: &MovedInterface) -> Result<()> {
        let name = &interface.name;
        let failed = |errno| SysError::new(format!("return interface {name} from jail {jid}"), errno);
        let Some(jail) = self.registry.living(jid).map_err(failed)? else {
            // Its network is gone: the kernel has brought hardware back and deleted everything else.
            return Ok(());
        };
        let come_back = || {
            let host = Socket::new()?;
            let Some(link) = find(&jail_socket(&jail)?, interface)? else {
                return if find(&host, interface)?.is_some() { Ok(()) } else { Err(Errno::ENODEV) };
            };
            let network = std::fs::File::open("/proc/self/ns/net").map_err(|error| errno(&error))?;
            jail_socket(&jail)?.move_link(link.index, Network::Descriptor(network.as_raw_fd()), name)
        };
        match come_back() {
            // It died meanwhile.
            Err(Errno::ESRCH) => Ok(()),
            other => other.map_err(failed),
        }
    }
}

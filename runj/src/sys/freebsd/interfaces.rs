//! Network interfaces: addresses on those of the host, and those that a jail borrows.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Host, ffi, inside};
use crate::id::Jid;
use crate::sys::net::{InterfaceAlias, MovedInterface};
use crate::sys::{Interfaces, Result, SysError};

impl Interfaces for Host {
    fn alias_exists(&self, alias: &InterfaceAlias) -> Result<bool> {
        let addresses = getifaddrs().map_err(|errno| SysError::new("list addresses", errno))?;
        let mut addresses = addresses.filter(|entry| entry.interface_name == alias.interface);
        Ok(addresses.any(|entry| address(&entry) == Some(alias.address)))
    }

    fn alias_add(&self, alias: &InterfaceAlias) -> Result<()> {
        let failed = |errno| SysError::new(format!("add {alias}"), errno);
        let socket = socket_for(alias.address).map_err(failed)?;
        ffi::address_add(socket.as_fd(), &alias.interface, alias.address, alias.prefix).map_err(failed)
    }

    fn alias_remove(&self, alias: &InterfaceAlias) -> Result<()> {
        let failed = |errno| SysError::new(format!("remove {alias}"), errno);
        let socket = socket_for(alias.address).map_err(failed)?;
        match ffi::address_remove(socket.as_fd(), &alias.interface, alias.address) {
            Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENXIO) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn interface(&self, name: &str) -> Result<MovedInterface> {
        let failed = |errno| SysError::new(format!("interface {name}"), errno);
        let mut interfaces = interfaces().map_err(failed)?.into_iter();
        interfaces.find(|interface| interface.name == name).ok_or_else(|| failed(Errno::ENXIO))
    }

    fn interface_move(&self, jid: Jid, interface: &MovedInterface) -> Result<()> {
        let failed = |errno| SysError::new(format!("move interface {} to jail {jid}", interface.name), errno);
        let socket = socket_here().map_err(failed)?;
        ffi::interface_lend(socket.as_fd(), &interface.name, jid.0).map_err(failed)
    }

    fn interface_return(&self, jid: Jid, interface: &MovedInterface) -> Result<()> {
        let failed = |errno| SysError::new(format!("take interface {} back from jail {jid}", interface.name), errno);
        let here = interfaces().map_err(failed)?;
        if here.contains(interface) {
            return Ok(());
        }
        let taken = here.iter().any(|other| other.name == interface.name);
        let name = match inside::ask(self, jid, || release(interface, taken))? {
            Some(name) => String::from_utf8_lossy(&name).into_owned(),
            // Nothing can be asked of a dying jail, but taken from it.
            None => interface.name.clone(),
        };
        let socket = socket_here().map_err(failed)?;
        match ffi::interface_reclaim(socket.as_fd(), &name, jid.0) {
            Ok(()) => {}
            // Gone with its jail, or come back by itself under a name that nobody can know; destroyed; on the host.
            Err(Errno::ENXIO | Errno::EEXIST) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        }
        if name == interface.name {
            return Ok(());
        }
        ffi::interface_rename(socket.as_fd(), &name, &interface.name).map_err(|errno| {
            let message = format!("{}: it is on the host, as {name}", errno.desc());
            SysError::with_message(format!("rename interface {name} to {}", interface.name), errno, message)
        })
    }
}

/// Inside the jail: the name under which the interface can go home. The kernel moves it under its present name without
/// looking whether the host has that name, so one that differs becomes one that nobody uses.
fn release(interface: &MovedInterface, taken: bool) -> nix::Result<Vec<u8>> {
    let list = interfaces()?;
    let same = |other: &&MovedInterface| other.link_address == interface.link_address;
    let by_name = list.iter().find(|other| other.name == interface.name);
    // Interfaces can share a link address (vlan), so one that has both is preferred.
    let found = by_name.filter(same).or_else(|| match interface.link_address.is_empty() {
        true => None,
        false => list.iter().find(same),
    });
    let Some(found) = found.or(by_name) else { return Ok(interface.name.clone().into_bytes()) };
    if found.name == interface.name && !taken {
        return Ok(found.name.clone().into_bytes());
    }
    let unused = format!("runj{}", std::process::id());
    ffi::interface_rename(socket_here()?.as_fd(), &found.name, &unused)?;
    Ok(unused.into_bytes())
}

/// The interfaces of the network stack that the caller is in, with their link-level addresses.
fn interfaces() -> nix::Result<Vec<MovedInterface>> {
    let link = |entry: InterfaceAddress| {
        let address = entry.address?;
        let link = address.as_link_addr()?;
        let link_address = link.addr().map(|bytes| bytes.to_vec()).unwrap_or_default();
        Some(MovedInterface { name: entry.interface_name, link_address })
    };
    Ok(getifaddrs()?.filter_map(link).collect())
}

fn address(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// A socket of the network stack that the caller is in; it belongs to it for good, even if the caller moves.
fn socket_here() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

/// A socket of the address's family, which its ioctls need.
fn socket_for(address: IpAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

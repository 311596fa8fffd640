//! Interfaces: addresses on those of the host, and those that a jail borrows.

use std::net::IpAddr;

use integ::host::{host, succeeds};
use integ::net::Network;
use integ::{ffi, needs};
use runj::id::Jid;
use runj::sys::net::{InterfaceAlias, MovedInterface};
use runj::sys::{Interfaces, Jails, unix};

#[test]
fn an_address_comes_and_goes() {
    host(needs!(Runj, Vnet), |place| {
        let host = &place.host;
        let mut network = Network::new(place.case);
        let interface = network.alias_interface();
        for address in [IpAddr::from([198, 51, 100, 9]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9])] {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            let alias = InterfaceAlias { interface: interface.clone(), address, prefix };
            assert_eq!(host.alias_exists(&alias), Ok(false));
            host.alias_add(&alias).unwrap();
            assert_eq!(host.alias_exists(&alias), Ok(true));
            host.alias_add(&alias).unwrap();
            host.alias_remove(&alias).unwrap();
            assert_eq!(host.alias_exists(&alias), Ok(false));
            host.alias_remove(&alias).unwrap();
        }
        let nowhere = InterfaceAlias { interface: "nothing".into(), address: [198, 51, 100, 9].into(), prefix: 32 };
        let error = host.alias_add(&nowhere).unwrap_err();
        assert!(error.operation.contains("nothing"), "{error}");
        host.alias_remove(&nowhere).unwrap();
    });
}

/// Renamed inside or not, it comes home under its name.
#[test]
fn an_interface_goes_in_and_comes_back() {
    host(needs!(Runj, Vnet), |place| {
        let host = &place.host;
        let mut network = Network::new(place.case);
        let name = network.pair();
        let jail = place.create_vnet("vnet");
        let moved = host.interface(&name).unwrap();
        assert_eq!((moved.name.as_str(), moved.link_address.len()), (name.as_str(), 6));
        // One that is here is here.
        host.interface_return(jail.jid, &moved).unwrap();
        for rename in [None, Some("inside0"), Some("eth0")] {
            host.interface_move(jail.jid, &moved).unwrap();
            assert!(host.interface(&name).is_err() && !network.exists(&name));
            jail.run(|| {
                assert!(network.exists(&name));
                rename.inspect(|new| ffi::rename_interface(&name, new).unwrap());
            });
            host.interface_return(jail.jid, &moved).unwrap();
            assert_eq!(host.interface(&name).unwrap(), moved);
        }
    });
}

/// The kernel returns what is left in a jail under its present name, whatever the host has.
#[test]
fn two_that_are_called_alike_inside_do_not_clash() {
    host(needs!(Runj, Vnet), |place| {
        let host = &place.host;
        let mut network = Network::new(place.case);
        let names = [network.pair(), network.pair()];
        let jails = [place.create_vnet("first"), place.create_vnet("second")];
        let moved = names.each_ref().map(|name| host.interface(name).unwrap());
        for (jail, interface) in jails.iter().zip(&moved) {
            host.interface_move(jail.jid, interface).unwrap();
            jail.run(|| ffi::rename_interface(&interface.name, "eth0").unwrap());
        }
        for (jail, interface) in jails.iter().zip(&moved) {
            host.interface_return(jail.jid, interface).unwrap();
        }
        for interface in &moved {
            assert_eq!(host.interface(&interface.name).unwrap(), *interface);
        }
        assert!(!network.exists("eth0"));
    });
}

#[test]
fn what_is_not_there_cannot_be_moved() {
    host(needs!(Runj, Vnet), |place| {
        let host = &place.host;
        let mut network = Network::new(place.case);
        let name = network.pair();
        let moved = host.interface(&name).unwrap();
        assert!(host.interface_move(Jid(999_998), &moved).is_err(), "no such jail");
        assert_eq!(host.interface(&name).unwrap(), moved);
        let nothing = MovedInterface { name: "nothing".into(), link_address: vec![2, 0, 0, 0, 0, 9] };
        assert!(host.interface("nothing").unwrap_err().operation.contains("nothing"));
        let jail = place.create_vnet("vnet");
        assert!(host.interface_move(jail.jid, &nothing).unwrap_err().operation.contains("nothing"));
    });
}

#[test]
fn a_jail_that_is_gone_has_given_its_interfaces_back() {
    host(needs!(Runj, Vnet), |place| {
        let host = &place.host;
        let mut network = Network::new(place.case);
        let name = network.pair();
        let moved = host.interface(&name).unwrap();
        let jail = place.create_vnet("vnet");
        let pid = jail.start(integ::host::sleep_for_ever);
        host.interface_move(jail.jid, &moved).unwrap();
        host.jail_remove(jail.jid).unwrap();
        // The zombie keeps the jail dying on FreeBSD, and the interface in it, which can be had all the same. The
        // emulation's pair has ended with its network.
        host.interface_return(jail.jid, &moved).unwrap();
        if host.facts().unwrap().osreldate > 0 {
            assert_eq!(host.interface(&name).unwrap(), moved);
        }
        integ::host::dies(pid, nix::sys::signal::Signal::SIGKILL);
    });
}

#[test]
fn a_vnet_is_apart() {
    host(needs!(Runj, Vnet), |place| {
        let jail = place.create_vnet("vnet");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        jail.run(|| assert!(std::net::TcpStream::connect(address).is_err(), "the host is reached"));
        let mut on_host = || i32::from(std::net::TcpStream::connect(address).is_err());
        succeeds(unix::fork(&mut on_host).unwrap());
    });
}

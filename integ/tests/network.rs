//! The network matrix: what each mode shows inside, what it reaches, and what it does not.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::net::{FAR, GATEWAY, Nat, Network, Server, UPLINK, inner};
use integ::prelude::*;

/// A bundle with this as `freebsd.jail`; raw sockets allowed, so that it can ping.
fn jailed(case: &Case, jail: Value, check: &[&str]) -> Bundle {
    case.bundle("minimal").set("/freebsd/jail", jail).set("/freebsd/jail/allow/rawSockets", json!(true)).args(check)
}

/// What a network without interfaces shows: nothing on FreeBSD; a loopback interface of its own under the emulation.
fn no_addresses() -> Vec<&'static str> {
    if cfg!(target_os = "freebsd") { vec!["addresses"] } else { vec!["addresses", "127.0.0.1", "::1"] }
}

fn disabled() -> Value {
    json!({"ip4": "disable", "ip6": "disable"})
}

#[test]
fn inherit_is_the_hosts_network() {
    case(needs!(Runj, Vnet, Internet), |case| {
        let _network = Network::new(case).with_bridge().with_far();
        let (local, bridge) = (Server::on("127.0.0.1", "host"), Server::on(GATEWAY, "bridge"));
        let far = format!("{FAR}:80");
        let check = [
            "address",
            GATEWAY,
            "--and",
            "address",
            UPLINK,
            "--and",
            "tcp-connect",
            &local.target(),
            "host",
            "--and",
            "tcp-connect",
            &bridge.target(),
            "bridge",
            "--and",
            "ping",
            FAR,
            "--and",
            "tcp-connect",
            &far,
            "far",
        ];
        case.passes(&jailed(case, json!({"ip4": "inherit"}), &check));
    });
}

#[test]
fn inherit_listens_where_the_host_does() {
    case(needs!(Runj), |case| {
        let container =
            case.container(&jailed(case, json!({"ip4": "inherit"}), &["tcp-serve", "127.0.0.1:4077", "inside"]));
        container.create().ok();
        container.start().ok();
        container.until_stdout("ready");
        case.outside(["tcp-connect", "127.0.0.1:4077", "inside"]).ok();
    });
}

/// `ip4: inherit` alone is not `ip6: inherit`.
#[test]
fn disable_has_no_network() {
    case(needs!(Runj, Vnet, Internet), |case| {
        let _network = Network::new(case).with_bridge().with_far();
        let (local, bridge) = (Server::on("127.0.0.1", "host"), Server::on(GATEWAY, "bridge"));
        let far = format!("{FAR}:80");
        let (local, bridge, outside) = (local.target(), bridge.target(), format!("{GATEWAY}:4077"));
        let fails = ["--and", "tcp-fails", &local, "--and", "tcp-fails", &bridge, "--and", "tcp-fails", &far];
        let rest = ["--and", "udp-fails", &far, "--and", "tcp-bind-fails", &outside];
        let check = [no_addresses(), fails.to_vec(), rest.to_vec()].concat();
        case.passes(&jailed(case, disabled(), &check));
    });
}

#[test]
fn an_unset_network_is_none() {
    case(needs!(Runj), |case| {
        let local = Server::on("127.0.0.1", "host");
        let target = local.target();
        let check = [no_addresses(), vec!["--and", "tcp-fails", &target]].concat();
        case.passes(&jailed(case, json!({}), &check));
    });
}

#[test]
fn ip6_inherit_shows_the_hosts() {
    case(needs!(Runj, Ip6), |case| {
        let local = Server::on("::1", "host");
        let jail = json!({"ip4": "disable", "ip6": "inherit"});
        case.passes(&jailed(case, jail, &["address", "::1", "--and", "tcp-connect", &local.target(), "host"]));
    });
}

#[test]
fn ip6_disable_shows_none() {
    case(needs!(Runj, Ip6), |case| {
        let local = Server::on("::1", "host");
        let target = local.target();
        let check = [no_addresses(), vec!["--and", "tcp-fails", &target]].concat();
        case.passes(&jailed(case, disabled(), &check));
    });
}

/// What `ip4: new` means on this system: on FreeBSD the address is the host's, who must have it; the emulation makes
/// the way to it and refuses one that the host has.
fn own_addresses(network: &mut Network<'_>, addresses: &[&str]) -> Value {
    if cfg!(target_os = "freebsd") {
        let interface = network.alias_interface();
        addresses.iter().for_each(|address| network.add_address(&interface, address));
    }
    json!({"ip4": "new", "ip4Addr": addresses, "ip6": "disable"})
}

#[test]
fn new_shows_its_addresses_and_no_others() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case).with_bridge();
        let jail = own_addresses(&mut network, &["10.78.0.1", "10.78.0.2"]);
        let shown: &[&str] = if cfg!(target_os = "freebsd") {
            &["addresses", "10.78.0.1", "10.78.0.2"]
        } else {
            // The emulation's loopback interface is the jail's own.
            &["address", "10.78.0.1", "--and", "address", "10.78.0.2", "--and", "no-address", GATEWAY]
        };
        case.passes(&jailed(case, jail, shown));
    });
}

#[test]
fn new_reaches_the_host_and_is_reached() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case).with_bridge();
        let (local, bridge) = (Server::on("127.0.0.1", "host"), Server::on(GATEWAY, "bridge"));
        let jail = own_addresses(&mut network, &["10.78.0.1"]);
        let check = [
            "tcp-connect",
            &bridge.target(),
            "bridge",
            "--and",
            "ping",
            GATEWAY,
            "--and",
            "tcp-fails",
            &local.target(),
            "--and",
            "tcp-bind-fails",
            &format!("{GATEWAY}:4078"),
            "--and",
            "tcp-serve",
            "10.78.0.1:4077",
            "inside",
        ];
        let container = case.container(&jailed(case, jail, &check));
        container.create().ok();
        container.start().ok();
        container.until_stdout("ready");
        case.outside(["tcp-connect", "10.78.0.1:4077", "inside", "--and", "ping", "10.78.0.1"]).ok();
    });
}

#[test]
fn neighbours_with_new_reach_each_other() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let server = own_addresses(&mut network, &["10.78.0.1"]);
        let client = if cfg!(target_os = "freebsd") {
            network.add_address("lo0", "10.78.0.2");
            json!({"ip4": "new", "ip4Addr": ["10.78.0.2"]})
        } else {
            own_addresses(&mut network, &["10.78.0.2"])
        };
        let first = case.container(&jailed(case, server, &["tcp-serve", "10.78.0.1:4077", "first"]));
        first.create().ok();
        first.start().ok();
        first.until_stdout("ready");
        case.passes(&jailed(
            case,
            client,
            &["tcp-connect", "10.78.0.1:4077", "first", "--and", "no-address", "10.78.0.1"],
        ));
        if cfg!(target_os = "freebsd") {
            network.remove_address("lo0", "10.78.0.2");
        }
    });
}

#[test]
fn ip6_new_shows_its_address() {
    case(needs!(Runj, Vnet, Ip6), |case| {
        let mut network = Network::new(case);
        if cfg!(target_os = "freebsd") {
            let interface = network.alias_interface();
            network.add_address(&interface, "fd00:78::1");
        }
        let jail = json!({"ip4": "disable", "ip6": "new", "ip6Addr": ["fd00:78::1"]});
        let container = case.container(&jailed(
            case,
            jail,
            &["address", "fd00:78::1", "--and", "tcp-serve", "[fd00:78::1]:4077", "six"],
        ));
        container.create().ok();
        container.start().ok();
        container.until_stdout("ready");
        case.outside(["tcp-connect", "[fd00:78::1]:4077", "six"]).ok();
    });
}

#[test]
fn an_address_of_the_hosts_is_refused_by_the_emulation() {
    case(needs!(Runj, Linux, Vnet), |case| {
        let _network = Network::new(case).with_bridge();
        let container = case.container(&jailed(case, json!({"ip4": "new", "ip4Addr": [GATEWAY]}), &["true"]));
        container.create().fails_with(1, GATEWAY);
    });
}

#[test]
fn vnet_alone_is_an_empty_network() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case).with_bridge();
        let pair = network.pair();
        let server = Server::on(GATEWAY, "bridge");
        // What every network stack is born with: pflog(4) makes one of its own.
        let born = match (cfg!(target_os = "freebsd"), network.exists("pflog0")) {
            (true, true) => vec!["lo0", "pflog0"],
            (true, false) => vec!["lo0"],
            (false, _) => vec!["lo"],
        };
        let target = server.target();
        let check = [
            vec!["interfaces"],
            born,
            vec!["--and"],
            no_addresses(),
            vec!["--and", "no-interface", &pair, "--and", "tcp-fails", &target],
        ]
        .concat();
        case.passes(&jailed(case, json!({"vnet": "new"}), &check));
    });
}

#[test]
fn an_interface_moves_in_and_back() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case).with_bridge();
        let pair = network.pair();
        let container = case.container(&jailed(
            case,
            json!({"vnet": "new", "vnetInterfaces": [pair]}),
            &["interface", &pair, "--and", "sleep"],
        ));
        container.create().ok();
        assert!(!network.exists(&pair), "it has left the host");
        container.start().ok();
        container.exec(&["interface", &pair]).ok();
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        until("the interface is back", || network.exists(&pair).then_some(()));
    });
}

/// A container that is on the bridge, with an address and a default route.
fn on_the_bridge<'a>(case: &'a Case, network: &mut Network<'_>, number: u32) -> Container<'a> {
    let pair = network.pair();
    let container = case.container(&jailed(case, json!({"vnet": "new", "vnetInterfaces": [pair]}), &["sleep"]));
    container.create().ok();
    container.start().ok();
    let lo = if cfg!(target_os = "freebsd") { "lo0" } else { "lo" };
    let address = format!("{}/24", inner(number));
    container.exec(&["if-up", lo, "--and", "if-up", &pair, &address, GATEWAY]).ok();
    container
}

#[test]
fn on_a_bridge_without_nat() {
    case(needs!(Runj, Vnet, Internet), |case| {
        let mut network = Network::new(case).with_bridge().with_far();
        network.forwarding(Nat::Off);
        let (bridge, local) = (Server::on(GATEWAY, "bridge"), Server::on("127.0.0.1", "host"));
        let container = on_the_bridge(case, &mut network, 1);
        let far = format!("{FAR}:80");
        let check = [
            "address",
            &inner(1),
            "--and",
            "no-address",
            UPLINK,
            "--and",
            "ping",
            GATEWAY,
            "--and",
            "tcp-connect",
            &bridge.target(),
            "bridge",
            "--and",
            "tcp-fails",
            &local.target(),
            "--and",
            "ping-fails",
            FAR,
            "--and",
            "tcp-fails",
            &far,
        ];
        container.exec(&check).ok();
        case.outside(["ping", &inner(1)]).ok();
        container.delete_force().ok();
    });
}

#[test]
fn on_a_bridge_with_nat() {
    case(needs!(Runj, Vnet, PacketFilter, Internet), |case| {
        let mut network = Network::new(case).with_bridge().with_far();
        network.forwarding(Nat::On);
        let container = on_the_bridge(case, &mut network, 1);
        let far = format!("{FAR}:80");
        container.exec(&["ping", FAR, "--and", "tcp-connect", &far, "far", "--and", "ping", GATEWAY]).ok();
        container.delete_force().ok();
    });
}

#[test]
fn neighbours_on_a_bridge_reach_each_other() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case).with_bridge();
        let (first, second) = (on_the_bridge(case, &mut network, 1), on_the_bridge(case, &mut network, 2));
        let server = first.executor(&[], &["/integ-inside", "tcp-serve", &format!("{}:4077", inner(1)), "first"]);
        let mut server = server.spawn();
        server.read_until("ready");
        second.exec(&["tcp-connect", &format!("{}:4077", inner(1)), "first", "--and", "ping", &inner(1)]).ok();
        let udp = first.executor(&[], &["/integ-inside", "udp-serve", &format!("{}:4078", inner(1))]);
        let mut udp = udp.spawn();
        udp.read_until("ready");
        second.exec(&["udp-send", &format!("{}:4078", inner(1)), "datagram"]).ok();
        first.delete_force().ok();
        second.exec(&["tcp-fails", &format!("{}:4077", inner(1))]).ok();
        second.delete_force().ok();
        server.wait();
        udp.wait();
    });
}

#[test]
fn an_interface_that_is_missing_undoes_create() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let pair = network.pair();
        let jail = json!({"vnet": "new", "vnetInterfaces": [pair, "nosuchif0"]});
        let container = case.container(&jailed(case, jail, &["true"]));
        container.create().fails_with(1, "nosuchif0");
        until("the first one is back", || network.exists(&pair).then_some(()));
        container.state_command().fails(1);
    });
}

#[test]
fn an_interface_of_another_container_is_refused() {
    case(needs!(Runj, Vnet), |case| {
        let mut network = Network::new(case);
        let pair = network.pair();
        let jail = json!({"vnet": "new", "vnetInterfaces": [pair]});
        let first = case.container(&jailed(case, jail.clone(), &["sleep"]));
        first.create().ok();
        case.container(&jailed(case, jail, &["sleep"])).create().fails_with(1, &pair);
        first.start().ok();
        first.exec(&["interface", &pair]).ok();
        first.delete_force().ok();
    });
}

/// The kernel gives an interface back under the name that it has inside.
#[test]
fn an_interface_that_was_renamed_comes_back_under_its_name() {
    case(needs!(Runj, Vnet, Linux), |case| {
        let mut network = Network::new(case);
        let pair = network.pair();
        let container = case.container(&jailed(case, json!({"vnet": "new", "vnetInterfaces": [pair]}), &["sleep"]));
        container.create().ok();
        container.start().ok();
        let rename = integ::Program::new("ip").args(["link", "set", &pair, "name", "eth0"]);
        rename.in_network_of(container.pid()).ok();
        container.exec(&["interface", "eth0"]).ok();
        container.delete_force().ok();
        until("the interface is back", || network.exists(&pair).then_some(()));
        assert!(!network.exists("eth0"));
    });
}

#[test]
fn interface_adds_the_address_and_takes_it_away() {
    case(needs!(Runj, Vnet, FreeBsd), |case| {
        let mut network = Network::new(case);
        let interface = network.alias_interface();
        let jail = json!({"ip4": "new", "ip4Addr": ["10.78.0.1"], "interface": interface});
        let container = case.container(&jailed(case, jail, &["addresses", "10.78.0.1", "--and", "sleep"]));
        container.create().ok();
        case.outside(["address", "10.78.0.1"]).ok();
        container.delete_force().ok();
        case.outside(["no-address", "10.78.0.1"]).ok();
    });
}

/// An address that the administrator gave stays when the container goes.
#[test]
fn interface_leaves_an_address_that_was_there() {
    case(needs!(Runj, Vnet, FreeBsd), |case| {
        let mut network = Network::new(case);
        let interface = network.alias_interface();
        network.add_address(&interface, "10.78.0.1");
        let jail = json!({"ip4": "new", "ip4Addr": ["10.78.0.1"], "interface": interface});
        case.passes(&jailed(case, jail, &["addresses", "10.78.0.1"]));
        case.outside(["address", "10.78.0.1"]).ok();
        network.remove_address(&interface, "10.78.0.1");
    });
}

#[test]
fn an_interface_for_aliases_that_is_missing() {
    case(needs!(Runj), |case| {
        let jail = json!({"ip4": "new", "ip4Addr": ["10.78.0.1"], "interface": "nosuchif0"});
        let container = case.container(&jailed(case, jail, &["true"]));
        container.create().fails_with(1, "nosuchif0");
        container.state_command().fails(1);
    });
}

/// With a network of its own it is the jail's own business.
#[test]
fn raw_sockets_are_refused_on_the_hosts_network_by_default() {
    case(needs!(Runj), |case| {
        let jail = json!({"ip4": "inherit"});
        case.passes(&case.bundle("minimal").set("/freebsd/jail", jail.clone()).args(&["raw-sockets", "refused"]));
        case.passes(&jailed(case, jail, &["raw-sockets", "allowed"]));
    });
}

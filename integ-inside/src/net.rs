//! The network as seen from here: interfaces, addresses, what can be reached.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::ping;

pub const CHECKS: &[Check] = &[
    Check { name: "interfaces", usage: "[NAME]...", about: "exactly these are seen", run: interfaces },
    Check { name: "interface", usage: "NAME", about: "this one is seen", run: interface },
    Check { name: "no-interface", usage: "NAME", about: "this one is not", run: no_interface },
    Check { name: "addresses", usage: "[ADDRESS]...", about: "exactly these, link-local ones aside", run: addresses },
    Check { name: "address", usage: "ADDRESS", about: "this one is seen", run: address },
    Check { name: "no-address", usage: "ADDRESS", about: "this one is not", run: no_address },
    Check { name: "tcp-connect", usage: "ADDRESS:PORT [TEXT]", about: "connects; the peer says this", run: connect },
    Check { name: "tcp-fails", usage: "ADDRESS:PORT", about: "cannot connect within 1 s", run: connect_fails },
    Check { name: "tcp-bind", usage: "ADDRESS:PORT", about: "can listen there", run: bind },
    Check { name: "tcp-bind-fails", usage: "ADDRESS:PORT", about: "cannot", run: bind_fails },
    Check {
        name: "tcp-serve",
        usage: "ADDRESS:PORT TEXT",
        about: "says ready, then the text to each peer",
        run: serve,
    },
    Check { name: "udp-send", usage: "ADDRESS:PORT TEXT", about: "sends; the same comes back", run: udp_send },
    Check { name: "udp-fails", usage: "ADDRESS:PORT", about: "nothing comes back within 1 s", run: udp_fails },
    Check { name: "udp-serve", usage: "ADDRESS:PORT", about: "says ready, then sends back what comes", run: udp_serve },
    Check { name: "ping", usage: "ADDRESS", about: "an echo request is answered within 5 s", run: ping_works },
    Check { name: "ping-fails", usage: "ADDRESS", about: "none is answered within 1 s", run: ping_fails },
    Check { name: "resolver", usage: "[ADDRESS]...", about: "/etc/resolv.conf names exactly these", run: resolver },
];

fn seen() -> Result<(BTreeSet<String>, BTreeSet<IpAddr>), Failure> {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for entry in getifaddrs().attempt("getifaddrs")? {
        let storage = entry.address;
        names.insert(entry.interface_name);
        if let Some(ip4) = storage.as_ref().and_then(|storage| storage.as_sockaddr_in()) {
            addresses.insert(IpAddr::V4(ip4.ip()));
        } else if let Some(ip6) = storage.as_ref().and_then(|storage| storage.as_sockaddr_in6()) {
            addresses.insert(IpAddr::V6(ip6.ip()));
        }
    }
    Ok((names, addresses))
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(ip6) if ip6.segments()[0] & 0xffc0 == 0xfe80)
}

fn interfaces(args: &Args) -> Outcome {
    same(args.sorted(), seen()?.0.into_iter().collect())
}

fn interface(args: &Args) -> Outcome {
    let (name, names) = (args.text(0)?, seen()?.0);
    if names.contains(name) { Ok(()) } else { Err(Failure::differs(name, format!("{names:?}"))) }
}

fn no_interface(args: &Args) -> Outcome {
    let name = args.text(0)?;
    same((name, false), (name, seen()?.0.contains(name)))
}

fn addresses(args: &Args) -> Outcome {
    let expected = (0..args.list.len()).map(|index| args.value(index)).collect::<Result<BTreeSet<IpAddr>, _>>()?;
    let mut got = seen()?.1;
    got.retain(|address| !is_link_local(address));
    same(expected, got)
}

fn address(args: &Args) -> Outcome {
    let (address, addresses) = (args.value::<IpAddr>(0)?, seen()?.1);
    if addresses.contains(&address) { Ok(()) } else { Err(Failure::differs(address, format!("{addresses:?}"))) }
}

fn no_address(args: &Args) -> Outcome {
    let address: IpAddr = args.value(0)?;
    same((address, false), (address, seen()?.1.contains(&address)))
}

const PATIENCE: Duration = Duration::from_secs(5);
const IMPATIENCE: Duration = Duration::from_secs(1);

fn connect(args: &Args) -> Outcome {
    let target: SocketAddr = args.value(0)?;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).attempt(format!("a connection to {target}"))?;
    // Reset in the end instead of closed: TIME_WAIT would keep either side's jail dying for a minute on FreeBSD.
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &at_once).attempt("a reset at the end")?;
    stream.set_read_timeout(Some(PATIENCE)).attempt("a timeout")?;
    if args.list.len() < 2 {
        return Ok(());
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).attempt(format!("text from {target}"))?;
    same(args.text(1)?, &text)
}

fn connect_fails(args: &Args) -> Outcome {
    let target: SocketAddr = args.value(0)?;
    match TcpStream::connect_timeout(&target, IMPATIENCE) {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::differs(format!("no connection to {target}"), "connected")),
    }
}

fn bind(args: &Args) -> Outcome {
    let at: SocketAddr = args.value(0)?;
    TcpListener::bind(at).map(drop).attempt(format!("listening on {at}"))
}

fn bind_fails(args: &Args) -> Outcome {
    let at: SocketAddr = args.value(0)?;
    match TcpListener::bind(at) {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::differs(format!("not listening on {at}"), "listening")),
    }
}

fn serve(args: &Args) -> Outcome {
    let listener =
        TcpListener::bind(args.value::<SocketAddr>(0)?).attempt(format!("listening on {}", args.text(0)?))?;
    println!("ready");
    for stream in listener.incoming() {
        // A peer that went away is its own matter.
        let _ = stream.and_then(|mut stream| stream.write_all(args.list.get(1).map_or("", String::as_str).as_bytes()));
    }
    Ok(())
}

fn unspecified(target: &SocketAddr) -> SocketAddr {
    let any = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(any, 0)
}

fn exchange(target: SocketAddr, text: &str, patience: Duration) -> std::io::Result<String> {
    let socket = UdpSocket::bind(unspecified(&target))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(target)?;
    socket.send(text.as_bytes())?;
    let mut buffer = [0; 512];
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn udp_send(args: &Args) -> Outcome {
    let (target, text) = (args.value(0)?, args.text(1)?);
    let got = exchange(target, text, PATIENCE).attempt(format!("{text:?} from {target}"))?;
    same(text, &got)
}

fn udp_fails(args: &Args) -> Outcome {
    match exchange(args.value(0)?, "anyone", IMPATIENCE) {
        Err(_) => Ok(()),
        Ok(text) => Err(Failure::differs("no answer", text)),
    }
}

fn udp_serve(args: &Args) -> Outcome {
    let socket = UdpSocket::bind(args.value::<SocketAddr>(0)?).attempt(format!("bound to {}", args.text(0)?))?;
    println!("ready");
    let mut buffer = [0; 512];
    loop {
        if let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], peer);
        }
    }
}

fn ping_works(args: &Args) -> Outcome {
    let target: IpAddr = args.value(0)?;
    ping::echo(target, PATIENCE).attempt(format!("an answer from {target}"))
}

fn ping_fails(args: &Args) -> Outcome {
    let target: IpAddr = args.value(0)?;
    match ping::echo(target, IMPATIENCE) {
        // Without a raw socket nothing was tried.
        Err(error) if [Some(libc::EPERM), Some(libc::EACCES)].contains(&error.raw_os_error()) && !ping::raw_works() => {
            Err(Failure::usage(format!("no raw socket: {error}")))
        }
        Err(_) => Ok(()),
        Ok(()) => Err(Failure::differs(format!("no answer from {target}"), "an answer")),
    }
}

fn resolver(args: &Args) -> Outcome {
    let text = std::fs::read_to_string("/etc/resolv.conf").attempt("/etc/resolv.conf")?;
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(|name| name.trim().to_owned());
    same(args.list.to_vec(), servers.collect())
}

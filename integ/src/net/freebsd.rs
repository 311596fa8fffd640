//! FreeBSD: epair, bridge and pf on the machine itself, all in the interface group `integ`.

use std::path::Path;

use super::{FAR, GATEWAY, UPLINK};
use crate::{Case, Program, locate};

/// The packet filter's anchor, and the interface group.
pub const ANCHOR: &str = "integ";

/// A bridge, and beyond the host a network with [`FAR`].
#[derive(Debug)]
pub struct Network<'a> {
    case: &'a Case,
    far: Option<String>,
    uplink: Option<String>,
    links: Vec<String>,
    bridge: Option<String>,
    filter: bool,
    forwarding: Option<String>,
}

/// Network address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Sources are rewritten.
    On,
    /// They are not.
    Off,
}

#[track_caller]
fn tool(line: &str) -> String {
    let mut words = line.split(' ');
    Program::new(words.next().unwrap_or_default()).args(words).ok().trim().to_owned()
}

fn try_tool(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let path = locate::program(words.next()?)?;
    let output = Program::new(path).args(words).run();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The machine's lo is up.
pub fn loopback_up() {}

/// Destroys what earlier runs left.
pub fn sweep() {
    for name in try_tool("ifconfig -g integ").unwrap_or_default().split_whitespace() {
        try_tool(&format!("ifconfig {name} destroy"));
    }
    if Path::new("/dev/pf").exists() {
        try_tool(&format!("pfctl -q -a {ANCHOR} -F all"));
    }
}

/// Why there are no interfaces to give away.
pub fn lacks_interfaces() -> Option<String> {
    if try_tool("sysctl -n kern.features.vimage").as_deref() != Some("1") {
        return Some("a kernel without VIMAGE".to_owned());
    }
    let Some(name) = try_tool("ifconfig epair create") else {
        return Some("no epair(4): kldload if_epair".to_owned());
    };
    try_tool(&format!("ifconfig {name} destroy"));
    None
}

/// The rules of the main ruleset that lead to the anchor.
const MAIN: &str = "nat-anchor \"integ\"\nanchor \"integ\"\n";

/// Why there is no packet filter: no pf, or rules of the administrator's that do not call the anchor.
pub fn lacks_filter() -> Option<String> {
    let Some(rules) = try_tool("pfctl -sn") else {
        return Some("no pf(4): kldload pf".to_owned());
    };
    let others = try_tool("pfctl -sr").unwrap_or_default();
    let usable = rules.contains("\"integ\"") || (rules.is_empty() && others.is_empty());
    (!usable).then(|| "the rules of pf do not call: nat-anchor \"integ\"".to_owned())
}

impl<'a> Network<'a> {
    /// No interface yet.
    pub fn new(case: &'a Case) -> Self {
        Self { case, far: None, uplink: None, links: Vec::new(), bridge: None, filter: false, forwarding: None }
    }

    #[track_caller]
    fn create(&mut self, kind: &str) -> String {
        let name = tool(&format!("ifconfig {kind} create"));
        tool(&format!("ifconfig {name} group {ANCHOR}"));
        self.links.push(name.clone());
        name
    }

    /// A bridge with the host's address [`GATEWAY`].
    #[track_caller]
    pub fn with_bridge(mut self) -> Self {
        let bridge = self.create("bridge");
        tool(&format!("ifconfig {bridge} inet {GATEWAY}/24 up"));
        self.bridge = Some(bridge);
        self
    }

    /// A network beyond the host, in which [`FAR`] answers pings and says `far` on TCP port 80. It knows the way
    /// to the host's [`UPLINK`] only.
    #[track_caller]
    pub fn with_far(mut self) -> Self {
        let jail = format!("{}-far", self.case.marker());
        tool(&format!("jail -c name={jail} path=/ vnet persist"));
        self.far = Some(jail.clone());
        let near = self.create("epair");
        let other = format!("{}b", near.trim_end_matches('a'));
        tool(&format!("ifconfig {near} inet {UPLINK}/24 up"));
        tool(&format!("ifconfig {other} vnet {jail}"));
        tool(&format!("jexec {jail} ifconfig lo0 inet {FAR}/32 up"));
        tool(&format!("jexec {jail} ifconfig {other} inet 203.0.113.2/24 up"));
        tool(&format!("route -q add -host {FAR} 203.0.113.2"));
        self.uplink = Some(near);
        let inside = locate::inside().expect("integ-inside");
        let server = Program::new("jexec").arg(&jail).arg(inside).args(["tcp-serve", &format!("{FAR}:80"), "far"]);
        server.die_with_parent().spawn().read_until("ready");
        self
    }

    /// Forwarding from the bridge, with the source address rewritten or not.
    #[track_caller]
    pub fn forwarding(&mut self, nat: Nat) {
        self.forwarding = Some(tool("sysctl -n net.inet.ip.forwarding"));
        tool("sysctl net.inet.ip.forwarding=1");
        if nat == Nat::On {
            let uplink = self.uplink.as_deref().expect("with_far first");
            if !tool("pfctl -sn").contains("\"integ\"") {
                Program::new("pfctl").args(["-q", "-f", "-"]).input(MAIN).ok();
            }
            try_tool("pfctl -q -e");
            let rule = format!("nat on {uplink} inet from 10.77.0.0/24 to any -> {UPLINK}\n");
            Program::new("pfctl").args(["-q", "-a", ANCHOR, "-f", "-"]).input(rule).ok();
            self.filter = true;
        }
    }

    /// A pair of interfaces, one end on the bridge (if there is one); returns the name of the other.
    #[track_caller]
    pub fn pair(&mut self) -> String {
        let host = self.create("epair");
        tool(&format!("ifconfig {host} up"));
        if let Some(bridge) = &self.bridge {
            tool(&format!("ifconfig {bridge} addm {host}"));
        }
        format!("{}b", host.trim_end_matches('a'))
    }

    /// An interface of the host's for aliases.
    #[track_caller]
    pub fn alias_interface(&mut self) -> String {
        let name = self.create("lo");
        tool(&format!("ifconfig {name} up"));
        name
    }

    /// Gives the host's interface an address.
    #[track_caller]
    pub fn add_address(&self, interface: &str, address: &str) {
        let (family, prefix) = family(address);
        tool(&format!("ifconfig {interface} {family} {address}/{prefix} alias"));
    }

    /// Takes it away.
    #[track_caller]
    pub fn remove_address(&self, interface: &str, address: &str) {
        let (family, _) = family(address);
        tool(&format!("ifconfig {interface} {family} {address} -alias"));
    }

    /// Whether the host has an interface.
    pub fn exists(&self, name: &str) -> bool {
        nix::ifaddrs::getifaddrs().expect("interfaces").any(|entry| entry.interface_name == name)
    }
}

fn family(address: &str) -> (&'static str, u32) {
    if address.contains(':') { ("inet6", 128) } else { ("inet", 32) }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        if self.filter {
            try_tool(&format!("pfctl -q -a {ANCHOR} -F all"));
        }
        if let Some(value) = &self.forwarding {
            try_tool(&format!("sysctl net.inet.ip.forwarding={value}"));
        }
        if let Some(jail) = &self.far {
            try_tool(&format!("route -q delete -host {FAR}"));
            try_tool(&format!("jail -r {jail}"));
        }
        for link in self.links.iter().rev() {
            try_tool(&format!("ifconfig {link} destroy"));
        }
    }
}

//! Linux: veth, bridge and nft in the test's own network namespace.

use std::sync::OnceLock;

use super::{FAR, GATEWAY, UPLINK};
use crate::run::Running;
use crate::{Case, Program, locate};

/// The packet filter's table.
pub const ANCHOR: &str = "integ";

/// A bridge, and beyond the host a network with [`FAR`].
#[derive(Debug)]
pub struct Network<'a> {
    case: &'a Case,
    far: Vec<Running>,
    links: Vec<String>,
    bridge: bool,
    filter: bool,
}

fn ip(arguments: &str) {
    Program::new("ip").args(arguments.split(' ')).ok();
}

/// Sets up lo of a new network namespace.
pub fn loopback_up() {
    if locate::program("ip").is_some() {
        ip("link set lo up");
    }
}

/// Nothing: all ends with the namespace.
pub fn sweep() {}

fn works(program: &str, arguments: &str) -> bool {
    locate::program(program).is_some_and(|path| {
        let probe = Program::new(path).args(arguments.split(' ')).namespaces(libc::CLONE_NEWNET);
        probe.run().status.success()
    })
}

/// Why there are no interfaces to give away.
pub fn lacks_interfaces() -> Option<String> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    if locate::program("ip").is_none() {
        return Some("no ip(8): install iproute2".to_owned());
    }
    let works = *WORKS.get_or_init(|| works("ip", "link add integ0 type veth peer name integ1"));
    (!works).then(|| "no veth interfaces".to_owned())
}

/// Why there is no packet filter.
pub fn lacks_filter() -> Option<String> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    if locate::program("nft").is_none() {
        return Some("no nft(8): install nftables".to_owned());
    }
    let works = *WORKS.get_or_init(|| works("nft", "add table ip integ"));
    (!works).then(|| "nft does not work here".to_owned())
}

impl<'a> Network<'a> {
    /// No interface yet.
    pub fn new(case: &'a Case) -> Self {
        Self { case, far: Vec::new(), links: Vec::new(), bridge: false, filter: false }
    }

    /// A bridge with the host's address [`GATEWAY`].
    #[track_caller]
    pub fn with_bridge(mut self) -> Self {
        ip("link add integ-br type bridge");
        ip(&format!("addr add {GATEWAY}/24 dev integ-br"));
        ip("link set integ-br up");
        self.bridge = true;
        self.links.push("integ-br".to_owned());
        self
    }

    /// A network beyond the host, in which [`FAR`] answers pings and says `far` on TCP port 80. It knows the way
    /// to the host's [`UPLINK`] only.
    #[track_caller]
    pub fn with_far(mut self) -> Self {
        let far = self.case.outside(["sleep"]).namespaces(libc::CLONE_NEWNET).die_with_parent().spawn();
        let pid = far.pid;
        ip(&format!("link add integ-up type veth peer name integ-far netns {pid}"));
        self.links.push("integ-up".to_owned());
        ip(&format!("addr add {UPLINK}/24 dev integ-up"));
        ip("link set integ-up up");
        ip("route add default via 203.0.113.2");
        for command in [
            "link set lo up",
            "addr add 203.0.113.2/24 dev integ-far",
            &format!("addr add {FAR}/32 dev lo"),
            "link set integ-far up",
        ] {
            Program::new("ip").args(command.split(' ')).in_network_of(pid).ok();
        }
        let server = self.case.outside(["tcp-serve", &format!("{FAR}:80"), "far"]).in_network_of(pid).die_with_parent();
        let mut server = server.spawn();
        server.read_until("ready");
        self.far.extend([far, server]);
        self
    }

    /// Forwarding from the bridge, with the source address rewritten or not.
    #[track_caller]
    pub fn forwarding(&mut self, nat: Nat) {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("ip_forward");
        if nat == Nat::On {
            let rules = format!(
                "table ip {ANCHOR} {{ chain post {{ type nat hook postrouting priority 100; \
                 ip saddr 10.77.0.0/24 oifname \"integ-up\" masquerade; }}; }}"
            );
            Program::new("nft").args(["-f", "-"]).input(rules).ok();
            self.filter = true;
        }
    }

    /// A pair of interfaces, one end on the bridge (if there is one); returns the name of the other.
    #[track_caller]
    pub fn pair(&mut self) -> String {
        let number = self.case.number();
        let (host, jail) = (format!("integ-h{number}"), format!("integ-j{number}"));
        ip(&format!("link add {host} type veth peer name {jail}"));
        if self.bridge {
            ip(&format!("link set {host} master integ-br"));
        }
        ip(&format!("link set {host} up"));
        self.links.push(host);
        jail
    }

    /// An interface of the host's for aliases.
    #[track_caller]
    pub fn alias_interface(&mut self) -> String {
        ip("link add integ-al type bridge");
        ip("link set integ-al up");
        self.links.push("integ-al".to_owned());
        "integ-al".to_owned()
    }

    /// Gives the host's interface an address.
    #[track_caller]
    pub fn add_address(&self, interface: &str, address: &str) {
        let rest = if address.contains(':') { "128 dev {} nodad" } else { "32 dev {}" };
        ip(&format!("addr add {address}/{}", rest.replace("{}", interface)));
    }

    /// Takes it away.
    #[track_caller]
    pub fn remove_address(&self, interface: &str, address: &str) {
        let prefix = if address.contains(':') { "128" } else { "32" };
        ip(&format!("addr del {address}/{prefix} dev {interface}"));
    }

    /// Whether the host has an interface.
    pub fn exists(&self, name: &str) -> bool {
        nix::ifaddrs::getifaddrs().expect("interfaces").any(|entry| entry.interface_name == name)
    }
}

/// Network address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Sources are rewritten.
    On,
    /// They are not.
    Off,
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        if self.filter {
            Program::new("nft").args(["delete", "table", "ip", ANCHOR]).run();
        }
        for link in &self.links {
            Program::new("ip").args(["link", "del", link.as_str()]).run();
        }
        for server in &mut self.far {
            server.kill(libc::SIGKILL);
            server.wait();
        }
    }
}

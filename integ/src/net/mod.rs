//! Networks: what a jail can be connected to, made and undone by the harness.
//!
//! On Linux all of it is in the test's own network namespace, so nothing has to be undone and the target
//! 8.8.8.8 is nobody's; on FreeBSD it is on the machine and carries the harness's mark.

#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};

pub use system::{ANCHOR, Nat, Network, lacks_filter, lacks_interfaces, loopback_up, sweep};

/// The host's address on the bridge that containers are connected to.
pub const GATEWAY: &str = "10.77.0.1";

/// The address beyond the host that a container may reach through NAT only.
pub const FAR: &str = "8.8.8.8";

/// An address of the host on the way there.
pub const UPLINK: &str = "203.0.113.1";

/// The address of the n-th container on the bridge.
pub fn inner(number: u32) -> String {
    format!("10.77.0.{}", 10 + number)
}

/// A server of the host's that says a text to each peer until the test ends.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Listens on an address, at a free port.
    #[track_caller]
    pub fn on(address: &str, text: &'static str) -> Self {
        let address = address.parse::<std::net::IpAddr>().expect("an address");
        let listener = TcpListener::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(text.as_bytes()));
            }
        });
        Self { address }
    }

    /// `ADDRESS:PORT`.
    pub fn target(&self) -> String {
        self.address.to_string()
    }
}

//! The same life many times over: what one leaves in a hundred shows here.
//!
//! `INTEG_CYCLES` says how often; `INTEG_SLOWNESS` has to allow for it.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use integ::leaks::Leaks;
use integ::net::Network;
use integ::prelude::*;

/// How many lives, unless `INTEG_CYCLES` says otherwise.
const CYCLES: u32 = 5;

/// How long a jail may go on dying. Not stretched on a slow machine: nothing is computed.
const DYING: Duration = Duration::from_secs(5);

#[test]
fn many_lives_leave_nothing() {
    case(needs!(Runj, Vnet), |case| {
        let cycles = std::env::var("INTEG_CYCLES").ok().map_or(CYCLES, |text| text.parse().unwrap());
        let mut network = Network::new(case).with_bridge();
        let pair = network.pair();
        let data = case.path("data");
        std::fs::create_dir(&data).unwrap();
        let bundle = case
            .bundle("minimal")
            .mount("/data", "nullfs", data.to_str().unwrap(), &[])
            .mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"])
            .mount("/dev/fd", "fdescfs", "fdescfs", &[])
            .mount("/proc", "procfs", "proc", &[])
            .set("/freebsd/jail", json!({"vnet": "new", "vnetInterfaces": [pair]}))
            .args(&["if-up", &pair, "10.77.0.11/24", "--and", "write-file", "/tmp/x", "y", "--and", "sleep"]);
        let before = Leaks::now(case);
        for cycle in 0..cycles {
            let container = case.container(&bundle);
            container.create().ok();
            container.start().ok();
            container.exec(&["interface", &pair]).ok();
            container.delete_force().ok();
            // As the engine does: a process that nobody reaps keeps its jail, and with it the memory of a network stack.
            container.wait();
            assert!(network.exists(&pair), "cycle {cycle}: the interface is gone");
        }
        let end = Instant::now() + DYING;
        loop {
            let left = before.differences(&Leaks::now(case));
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "after {cycles} lives:\n{}", left.join("\n"));
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("{cycles} lives, and nothing left");
    });
}

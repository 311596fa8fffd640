//! The scripts of `examples/`, as they stand.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::net::{FAR, Network};
use integ::prelude::*;
use integ::{locate, net};

/// What an example prints; it must leave nothing.
fn example(case: &Case, name: &str, arguments: &[&str]) -> String {
    let runtime = locate::runtime().unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", runtime.parent().unwrap().display());
    let script = locate::fixtures().with_file_name("examples").join(name);
    let example = Program::new("sh").arg(script).args(arguments).env("PATH", &path);
    // The main rules of pf call the anchor of the tests.
    example.env("TMPDIR", &case.dir().to_string_lossy()).env("ANCHOR", net::ANCHOR).ok()
}

#[test]
fn vnet_nat() {
    case(needs!(Runj, Vnet, PacketFilter, Internet), |case| {
        // nc(1) closes in order, and on FreeBSD that keeps the jail of the far server dying for minutes.
        if cfg!(target_os = "freebsd") {
            let printed = example(case, "vnet-nat", &[]);
            assert!(printed.contains("hello from web"), "{printed}");
            return;
        }
        let _network = Network::new(case).with_far();
        let printed = example(case, "vnet-nat", &[FAR, "80"]);
        assert!(printed.contains("hello from web"), "{printed}");
        assert!(printed.contains("far"), "knows the way to the uplink's address alone: {printed}");
    });
}

#[test]
fn sysv_ipc() {
    case(needs!(Runj), |case| {
        let printed = example(case, "sysv-ipc", &[]);
        assert!(printed.contains("queues that new shows: 0\n"), "{printed}");
        let host = printed.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap();
        assert!(printed.contains(&format!("queues that inherit shows: {host}\n")), "{printed}");
        assert!(printed.contains("queues that disable shows: 0\n"), "{printed}");
    });
}

#[test]
fn limits() {
    case(needs!(Runj, Limits), |case| {
        let printed = example(case, "limits", &[]);
        let planned = if cfg!(target_os = "freebsd") { "maxproc:deny=20" } else { "echo 20 > /sys/fs/cgroup/" };
        assert!(printed.contains(planned), "{printed}");
        assert!(printed.contains("at most 20 processes: "), "{printed}");
        assert!(printed.contains(r#""limit":50"#), "{printed}");
    });
}

#[test]
fn pod() {
    case(needs!(Runj, Vnet), |case| {
        let printed = example(case, "pod", &[]);
        assert!(printed.contains("jails: pod.pod-server in pod\n"), "{printed}");
        assert!(printed.contains("hello from pod\n"), "{printed}");
    });
}

//! `features`: what runj understands, as runtime-spec's features.md has it.

use serde_json::{Value, json};

use super::print;
use crate::config::Hooks;
use crate::plan::mount::known_options;
use crate::sys::SYSTEM;
use crate::sys::jail::System;

/// Prints the document.
pub fn call() -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(&features(SYSTEM))? + "\n"))
}

fn features(system: System) -> Value {
    let jails = match system {
        System::Freebsd => "jail(2)",
        System::Linux => "an emulation of jail(2) on namespaces, which is not a security boundary",
    };
    let mut document = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": Hooks::default().kinds().map(|(kind, _)| kind),
        "mountOptions": known_options(),
        "annotations": {
            "runj.version": env!("CARGO_PKG_VERSION"),
            "runj.commit": env!("RUNJ_REVISION"),
            "runj.jails": jails,
        },
        // They set parameters of the jail, its permissions among them.
        "potentiallyUnsafeConfigAnnotations": ["org.freebsd."],
    });
    if system == System::Linux {
        document["linux"] = json!({
            "namespaces": ["ipc", "mount", "network", "pid", "uts"],
            "capabilities": [],
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false },
            "seccomp": { "enabled": false },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } },
            "netDevices": { "enabled": false },
        });
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_linux_speaks_of_linux() {
        assert!(features(System::Freebsd).get("linux").is_none());
        assert_eq!(features(System::Linux)["linux"]["seccomp"]["enabled"], false);
        assert_eq!(features(System::Freebsd)["hooks"].as_array().map(Vec::len), Some(6));
    }
}

//! `features`: what runj understands, as runtime-spec's features.md has it.

use serde_json::{Value, json};

use super::print;
use crate::config::Hooks;
use crate::plan::mount::known_options;
use crate::sys::Jails;
use crate::sys::jail::{HostFacts, System};

/// Prints the document.
pub fn call(kernel: &impl Jails) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(&features(&kernel.facts()?))? + "\n"))
}

fn features(facts: &HostFacts) -> Value {
    let system = facts.system;
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
            "runj.kernel.osreldate": facts.osreldate.to_string(),
            "runj.kernel.racct": facts.racct.to_string(),
            "runj.kernel.jailParameters": facts.jail_params.iter().cloned().collect::<Vec<_>>().join(","),
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
    use crate::plan::facts;

    #[test]
    fn only_linux_speaks_of_linux() {
        let (freebsd, linux) = (features(&facts::freebsd14()), features(&facts::linux()));
        assert!(freebsd.get("linux").is_none());
        assert_eq!(linux["linux"]["seccomp"]["enabled"], false);
        assert_eq!(freebsd["hooks"].as_array().map(Vec::len), Some(6));
    }

    #[test]
    fn the_kernel_is_described() {
        let annotations = features(&facts::freebsd14())["annotations"].clone();
        assert_eq!(
            (&annotations["runj.kernel.osreldate"], &annotations["runj.kernel.racct"]),
            (&json!("1400097"), &json!("false"))
        );
        assert!(annotations["runj.kernel.jailParameters"].as_str().unwrap().contains("allow.suser,allow.sysvipc"));
    }
}

//! `freebsd.jail.allow` and `sysv*`: what is refused by default, and allowed when asked for.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::prelude::*;

/// A bundle with this in `freebsd.jail.allow`.
fn allowing(case: &Case, name: &str, value: Option<bool>, check: &[&str]) -> Bundle {
    let bundle = case.bundle("minimal").set("/hostname", json!("jail")).args(check);
    match value {
        Some(value) => bundle.set(&format!("/freebsd/jail/allow/{name}"), json!(value)),
        None => bundle,
    }
}

#[rstest]
#[case::raw_sockets("rawSockets", &["raw-sockets"], &[], false)]
#[case::mlock("mlock", &["mlock"], &[], false)]
// The capability that it takes on Linux allows everything, so that the emulation gives it only when asked.
#[case::set_hostname("setHostname", &["set-hostname"], &["other"], cfg!(target_os = "freebsd"))]
#[case::reserved_ports("reservedPorts", &["reserved-port"], &["77"], true)]
fn a_permission(#[case] name: &str, #[case] check: &[&str], #[case] rest: &[&str], #[case] default: bool) {
    case(needs!(Runj), |case| {
        for (value, expected) in [(None, default), (Some(true), true), (Some(false), false)] {
            let word = if expected { "allowed" } else { "refused" };
            let check: Vec<&str> = check.iter().chain(&[word]).chain(rest).copied().collect();
            case.passes(&allowing(case, name, value, &check));
        }
    });
}

/// A jail that shares the host's name would rename the host.
#[test]
fn the_hosts_name_is_safe_unless_given_away() {
    case(needs!(Runj), |case| {
        case.passes(&case.bundle("minimal").args(&["set-hostname", "refused", "other"]));
    });
}

#[rstest]
#[case(None, "refused")]
#[case(Some(true), "allowed")]
#[case(Some(false), "refused")]
fn chflags(#[case] value: Option<bool>, #[case] word: &str) {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = allowing(case, "chflags", value, &["chflags", word, "/data/file"]);
        std::fs::write(bundle.in_root("data/file"), "").unwrap();
        case.passes(&bundle);
    });
}

/// The emulation cannot give it and must say so.
#[test]
fn chflags_is_refused_by_the_emulation() {
    case(needs!(Runj, Linux), |case| {
        let container = case.container(&allowing(case, "chflags", Some(true), &["true"]));
        container.create().fails_with(1, "chflags");
    });
}

#[test]
fn mounting_inside_is_refused_unless_allowed() {
    case(needs!(Runj), |case| {
        case.passes(&case.bundle("minimal").args(&["mount", "refused", "tmpfs", "/tmp"]));
        let bundle = case.bundle("minimal").set("/freebsd/jail/allow/mount", json!(["tmpfs"]));
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(1));
        case.passes(&bundle.args(&[
            "mount",
            "allowed",
            "tmpfs",
            "/tmp",
            "--and",
            "write-file",
            "/tmp/x",
            "y",
            "--and",
            "unmount",
            "allowed",
            "/tmp",
        ]));
    });
}

/// A mount that was made inside ends with the container.
#[test]
fn a_mount_made_inside_is_undone() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/freebsd/jail/allow/mount", json!(["tmpfs"]));
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(1));
        case.passes(&bundle.args(&["mount", "allowed", "tmpfs", "/tmp"]));
    });
}

#[rstest]
#[case("msg")]
#[case("sem")]
#[case("shm")]
fn system_v_ipc_of_its_own(#[case] kind: &str) {
    case(needs!(Runj), |case| {
        case.outside(["sysv", kind, "create", "7701"]).ok();
        let bundle = case.bundle("minimal").set(&format!("/freebsd/jail/sysv{kind}"), json!("new"));
        let id = case.outside(["sysv", kind, "id", "7701"]).ok();
        case.passes(&bundle.args(&["sysv", kind, "hidden", id.trim(), "--and", "sysv", kind, "create", "7702"]));
        case.outside(["sysv", kind, "id", "7702"]).run().assert().code(1);
        case.outside(["sysv", kind, "remove", "7701"]).ok();
    });
}

#[test]
fn system_v_ipc_of_the_hosts() {
    case(needs!(Runj), |case| {
        let mut bundle = case.bundle("minimal");
        let mut ids = Vec::new();
        for kind in ["msg", "sem", "shm"] {
            case.outside(["sysv", kind, "create", "7703"]).ok();
            ids.push(case.outside(["sysv", kind, "id", "7703"]).ok().trim().to_owned());
            // The emulation has them together or not at all.
            bundle = bundle.set(&format!("/freebsd/jail/sysv{kind}"), json!("inherit"));
        }
        let check = [
            "sysv", "msg", "seen", &ids[0], "--and", "sysv", "sem", "seen", &ids[1], "--and", "sysv", "shm", "seen",
            &ids[2],
        ];
        case.passes(&bundle.args(&check));
        for kind in ["msg", "sem", "shm"] {
            case.outside(["sysv", kind, "remove", "7703"]).ok();
        }
    });
}

#[rstest]
#[case("msg")]
#[case("sem")]
#[case("shm")]
fn system_v_ipc_disabled(#[case] kind: &str) {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").set(&format!("/freebsd/jail/sysv{kind}"), json!("disable"));
        case.passes(&bundle.args(&["sysv", kind, "disabled", "7704"]));
    });
}

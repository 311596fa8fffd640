//! Tests of the harness itself: a detector that cannot fail would prove nothing.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use integ::leaks::Leaks;
use integ::prelude::*;
use integ::run::Stdio;
use integ::{locate, sweep};

#[test]
fn integ_inside_is_static() {
    case(needs!(), |_| {
        let path = locate::inside().unwrap();
        assert_eq!(locate::is_static(&path), Some(true), "{}", path.display());
    });
}

/// An ELF file whose program headers are of these kinds.
fn program(kinds: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56 * kinds.len()];
    bytes[..5].copy_from_slice(b"\x7fELF\x02");
    bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_le_bytes());
    for (index, kind) in kinds.iter().enumerate() {
        bytes[64 + 56 * index..][..4].copy_from_slice(&kind.to_le_bytes());
    }
    bytes
}

#[test]
fn a_dynamic_program_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    // PT_LOAD, PT_INTERP, PT_DYNAMIC
    for (kinds, expected) in [(vec![1, 1], Some(true)), (vec![1, 3], Some(false)), (vec![2, 1, 3], Some(false))] {
        std::fs::write(&path, program(&kinds)).unwrap();
        assert_eq!(locate::is_static(&path), expected, "{kinds:?}");
    }
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    assert_eq!(locate::is_static(&path), None);
}

#[test]
fn a_failing_check_says_expected_and_got() {
    case(needs!(), |case| {
        let output = case.outside(["umask", "022", "--and", "cwd", "/nowhere"]).umask(0o022).run();
        let output = output.assert().code(1).stdout(is_empty()).get_output().clone();
        let line: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(line["check"], "cwd");
        assert_eq!(line["expected"], "\"/nowhere\"");
    });
}

#[rstest]
#[case::unknown(&["nonsense"])]
#[case::lacks_an_argument(&["umask"])]
#[case::not_a_number(&["uid", "root"])]
fn a_misused_check_is_no_verdict(#[case] check: &[&str]) {
    case(needs!(), |case| {
        case.outside(check).run().assert().code(2);
    });
}

/// What the detector says after `plant` has left something.
fn found(case: &Case, plant: impl FnOnce()) -> Vec<String> {
    let before = Leaks::now(case);
    plant();
    before.differences(&Leaks::now(case))
}

#[test]
fn a_process_left_is_found() {
    case(needs!(), |case| {
        let mut stranger = None;
        let lines = found(case, || stranger = Some(case.outside(["sleep"]).session().spawn()));
        let mut stranger = stranger.unwrap();
        stranger.kill(libc::SIGKILL);
        stranger.wait();
        assert!(lines.iter().any(|line| line.starts_with("process left:")), "{lines:?}");
    });
}

#[test]
fn a_zombie_is_not_a_process() {
    case(needs!(), |case| {
        let mut zombie = None;
        let lines = found(case, || {
            zombie = Some(case.outside(["true"]).spawn());
            std::thread::sleep(std::time::Duration::from_millis(50));
        });
        assert!(lines.is_empty(), "{lines:?}");
    });
}

#[test]
fn an_orphan_is_found() {
    case(needs!(), |case| {
        let daemon = case.outside(["daemon", "1"]).stdout(Stdio::Null).stderr(Stdio::Null);
        let lines = found(case, || drop(daemon.ok()));
        integ::ffi::kill_descendants();
        assert!(lines.iter().any(|line| line.starts_with("process left:")), "{lines:?}");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_mount_left_is_found() {
    use nix::mount::{MsFlags, mount, umount};
    case(needs!(), |case| {
        let directory = case.path("planted");
        std::fs::create_dir(&directory).unwrap();
        let lines = found(case, || {
            mount(Some("tmpfs"), &directory, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        });
        umount(&directory).unwrap();
        assert_eq!(lines, [format!("mount left: {} tmpfs", directory.display())]);
    });
}

#[test]
fn an_interface_left_is_found() {
    case(needs!(Vnet), |case| {
        let mut network = integ::net::Network::new(case);
        let lines = found(case, || drop(network.pair()));
        assert!(lines.iter().any(|line| line.starts_with("interface left:")), "{lines:?}");
    });
}

#[test]
fn a_filter_rule_left_is_found() {
    case(needs!(Vnet, PacketFilter, Internet), |case| {
        let mut network = integ::net::Network::new(case).with_far();
        let lines = found(case, || network.forwarding(integ::net::Nat::On));
        assert!(lines.iter().any(|line| line.starts_with("filter rule left:")), "{lines:?}");
    });
}

#[test]
fn state_left_is_found() {
    case(needs!(), |case| {
        let planted = case.root().join("planted");
        let lines = found(case, || std::fs::create_dir(&planted).unwrap());
        std::fs::remove_dir(&planted).unwrap();
        assert_eq!(lines, ["state left: planted"]);
    });
}

#[test]
fn a_shared_memory_segment_left_is_found() {
    case(needs!(), |case| {
        let lines = found(case, || drop(case.outside(["sysv", "shm", "create", "7707"]).ok()));
        case.outside(["sysv", "shm", "remove", "7707"]).ok();
        assert!(lines.iter().any(|line| line.starts_with("System V IPC left:")), "{lines:?}");
    });
}

#[test]
fn a_changed_host_name_is_found() {
    case(needs!(Linux), |case| {
        let lines = found(case, || nix::unistd::sethostname("other").unwrap());
        nix::unistd::sethostname("integ-host").unwrap();
        assert_eq!(lines, ["host name left: other", "host name gone: integ-host"]);
    });
}

#[test]
fn waiting_ends_with_the_deadline() {
    let mut asked = 0;
    let ready = until("three", || {
        asked += 1;
        (asked == 3).then_some(asked)
    });
    assert_eq!(ready, 3);
}

#[test]
fn a_program_that_hangs_is_ended() {
    case(needs!(), |case| {
        let program =
            case.outside(["echo", "before", "--and", "sleep"]).deadline(std::time::Duration::from_millis(300));
        let panic = catch_unwind(AssertUnwindSafe(|| program.run())).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("did not end in time") && text.contains("before"), "{text}");
    });
}

#[test]
fn the_sweep_removes_what_dead_makers_left() {
    let parent = tempfile::tempdir().unwrap();
    // No process has this number: it is above every limit.
    let stale = parent.path().join(format!("{}999999999-0", sweep::MARK));
    let own = parent.path().join(format!("{}{}-0", sweep::MARK, std::process::id()));
    let other = parent.path().join("integral");
    for directory in [&stale.join("state"), &own, &other] {
        std::fs::create_dir_all(directory).unwrap();
    }
    sweep::directories(parent.path());
    assert_eq!([stale.exists(), own.exists(), other.exists()], [false, true, true]);
}

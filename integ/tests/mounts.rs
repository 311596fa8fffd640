//! Mounts: kinds, options, order, and destinations that a hostile root filesystem has prepared.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;

use integ::prelude::*;

#[test]
fn a_directory_of_the_host_is_read_and_written() {
    case(needs!(), |case| {
        let volume = case.path("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("from-outside"), "hello\n").unwrap();
        let check = ["file", "/data/from-outside", "hello", "--and", "write-file", "/data/from-inside", "hi"];
        case.passes(&case.bundle("minimal").mount("/data", "nullfs", volume.to_str().unwrap(), &["rw"]).args(&check));
        assert_eq!(fs::read_to_string(volume.join("from-inside")).unwrap(), "hi");
    });
}

#[test]
fn a_file_of_the_host_is_read_and_written() {
    case(needs!(), |case| {
        let file = case.path("resolv.conf");
        fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
        let check = ["resolver", "192.0.2.1", "--and", "append", "/etc/resolv.conf", "more"];
        let bundle = case.bundle("minimal").mount("/etc/resolv.conf", "nullfs", file.to_str().unwrap(), &[]);
        case.passes(&bundle.args(&check));
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 192.0.2.1\nmore\n");
    });
}

#[test]
fn a_read_only_mount_cannot_be_written() {
    case(needs!(), |case| {
        let volume = case.path("volume");
        fs::create_dir(&volume).unwrap();
        let bundle = case.bundle("minimal").mount("/data", "nullfs", volume.to_str().unwrap(), &["ro"]);
        case.passes(&bundle.args(&["read-only", "/data"]));
    });
}

#[test]
fn a_relative_source_is_in_the_bundle() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/data", "nullfs", "volume", &[]).args(&["file", "/data/name", "x"]);
        fs::create_dir(bundle.dir().join("volume")).unwrap();
        fs::write(bundle.dir().join("volume/name"), "x").unwrap();
        case.passes(&bundle);
    });
}

#[test]
fn a_missing_source_is_an_error_that_names_it() {
    case(needs!(), |case| {
        let bundle =
            case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).mount("/data", "nullfs", "/no/such/dir", &[]);
        let container = case.container(&bundle);
        container.create().fails_with(1, "/no/such/dir");
        container.state_command().fails(1);
    });
}

#[rstest]
#[case::size(&["size=1m"], &["fs-size", "/tmp", "1048576", "--and", "fill", "/tmp", "2097152"])]
#[case::mode(&["mode=1777"], &["mode", "/tmp", "1777"])]
#[case::owner(&["uid=5", "gid=6"], &["owner", "/tmp", "5", "6"])]
#[case::read_only(&["ro"], &["read-only", "/tmp"])]
fn tmpfs(#[case] options: &[&str], #[case] check: &[&str]) {
    case(needs!(), |case| case.passes(&case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", options).args(check)));
}

/// runc gives it the mode of the directory below all the same.
#[test]
fn a_tmpfs_is_closed_where_the_directory_below_is_open() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &["mode=0700"]);
        case.passes(&bundle.args(&["mode", "/tmp", "0700"]));
    });
}

#[rstest]
#[case("nosuid")]
#[case("noexec")]
fn an_option_is_seen_inside(#[case] option: &str) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").with_proc().mount("/tmp", "tmpfs", "tmpfs", &[option]);
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(1));
        case.passes(&bundle.args(&["mounted", "/tmp", "tmpfs", option]));
    });
}

#[test]
fn noexec_is_enforced() {
    case(needs!(), |case| {
        let volume = case.path("volume");
        fs::create_dir(&volume).unwrap();
        fs::copy(integ::locate::inside().unwrap(), volume.join("tool")).unwrap();
        let bundle = case.bundle("minimal").mount("/data", "nullfs", volume.to_str().unwrap(), &["noexec"]);
        let container = case.container(&bundle.args(&["exec", "/data/tool", "true"]));
        container.create().ok();
        container.start().ok();
        assert_eq!(container.wait().code(), Some(1));
        assert!(
            container.stderr().contains("ermission denied") || container.stderr().contains("EACCES"),
            "{}",
            container.stderr()
        );
    });
}

#[rstest]
#[case::unknown_kind("nosuchfs", &[], "nosuchfs")]
#[case::unknown_option("tmpfs", &["nosuchoption=1"], "nosuchoption")]
fn a_mount_that_fails_leaves_nothing(#[case] kind: &str, #[case] options: &[&str], #[case] words: &str) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).mount("/made", kind, "x", options);
        let before = bundle.tree();
        let container = case.container(&bundle);
        container.create().fails_with(1, words);
        container.state_command().fails(1);
        assert_eq!(bundle.tree(), before, "no target is left");
    });
}

#[test]
fn devices_work_and_there_are_no_others() {
    case(needs!(), |case| {
        let check = [
            "device",
            "null",
            "zero",
            "random",
            "urandom",
            "--and",
            "absent",
            "/dev/mem",
            "--and",
            "absent",
            "/dev/kmem",
            "--and",
            "absent",
            "/dev/vda",
            "--and",
            "absent",
            "/dev/pf",
        ];
        case.passes(&case.bundle("minimal").args(&check));
    });
}

#[test]
fn a_device_of_the_bundle_is_shown_with_its_mode() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").set("/freebsd/devices", json!([{"path": "full", "mode": 0o640}]));
        let bundle = if cfg!(target_os = "freebsd") {
            bundle.set("/freebsd/devices", json!([{"path": "klog", "mode": 0o640}]))
        } else {
            bundle
        };
        let path = if cfg!(target_os = "freebsd") { "/dev/klog" } else { "/dev/full" };
        case.passes(&bundle.args(&["mode", path, "0640"]));
    });
}

#[test]
fn fdescfs_shows_the_programs_descriptors() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/dev/fd", "fdescfs", "fdesc", &[]);
        // The emulation's are links to /proc/self/fd.
        case.passes(&bundle.with_proc().args(&["file", "/dev/fd/0"]));
    });
}

#[test]
fn a_read_only_root() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/root/readonly", json!(true)).mount("/tmp", "tmpfs", "tmpfs", &[]);
        let bundle = bundle.args(&[
            "read-only",
            "/",
            "--and",
            "read-only",
            "/data",
            "--and",
            "writable",
            "/tmp",
            "--and",
            "device",
            "null",
        ]);
        case.passes(&bundle);
        fs::write(bundle.in_root("data/host-can"), "x").unwrap();
    });
}

#[test]
fn a_read_only_root_gets_its_missing_targets() {
    case(needs!(Runj), |case| {
        let bundle =
            case.bundle("minimal").set("/root/readonly", json!(true)).mount("/made/deep", "tmpfs", "tmpfs", &[]);
        let before = bundle.tree();
        let bundle = bundle.args(&["writable", "/made/deep", "--and", "read-only", "/made"]);
        case.passes(&bundle);
        assert_eq!(bundle.tree(), before);
    });
}

#[test]
fn missing_targets_are_made_and_removed() {
    case(needs!(Runj), |case| {
        let volume = case.path("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(case.path("plain"), "p").unwrap();
        let bundle = case
            .bundle("minimal")
            .mount("/made/deep/dir", "nullfs", volume.to_str().unwrap(), &[])
            .mount("/made/file", "nullfs", case.path("plain").to_str().unwrap(), &[])
            .args(&["directory", "/made/deep/dir", "--and", "file", "/made/file", "p"]);
        let before = bundle.tree();
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.passes();
        container.delete().ok();
        assert_eq!(bundle.tree(), before);
        assert!(volume.exists() && case.path("plain").exists());
    });
}

#[test]
fn a_target_that_was_there_stays() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/data", "tmpfs", "tmpfs", &[]).args(&["absent", "/data/covered"]);
        fs::write(bundle.in_root("data/covered"), "x").unwrap();
        case.passes(&bundle);
        assert!(bundle.in_root("data/covered").exists());
    });
}

#[test]
fn later_mounts_lie_over_earlier_ones() {
    case(needs!(), |case| {
        let volume = case.path("volume");
        fs::create_dir_all(volume.join("inner")).unwrap();
        let bundle = case
            .bundle("minimal")
            .mount("/data", "nullfs", volume.to_str().unwrap(), &[])
            .mount("/data/inner", "tmpfs", "tmpfs", &["size=1m"])
            .args(&["write-file", "/data/inner/x", "1", "--and", "write-file", "/data/y", "2"]);
        case.passes(&bundle);
        assert!(volume.join("y").exists());
        assert!(!volume.join("inner/x").exists());
    });
}

#[rstest]
#[case::all(0)]
#[case::below(1)]
#[case::root_only(2)]
fn enforce_statfs(#[case] level: u32) {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]);
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(level));
        let count = match level {
            // The host's, and the two of the container.
            0 => integ::leaks::mounts().len() + 2,
            1 => 3,
            _ => 1,
        };
        case.passes(&bundle.args(&["mounts-count", &count.to_string()]));
    });
}

/// The emulation shows what enforce_statfs 1 shows.
#[test]
fn only_the_containers_mounts_are_seen() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").with_proc().mount("/tmp", "tmpfs", "tmpfs", &[]);
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(1));
        let check: &[&str] = if cfg!(target_os = "linux") {
            &["mounts", "/", "/dev", "/dev/pts", "/proc", "/tmp"]
        } else {
            &["mounts", "/", "/dev", "/tmp"]
        };
        let container = case.container(&bundle.args(check));
        container.create().ok();
        container.start().ok();
        container.passes();
    });
}

/// What a root filesystem may hold where a mount is to go, with the path at which the mount must be seen inside.
/// `ESCAPE` stands for a directory of the host's.
#[rstest]
#[case::absolute(&[("link", "/data")], "/link", "/data")]
#[case::relative(&[("link", "data")], "/link", "/data")]
#[case::parent(&[("dir/link", "../data")], "/dir/link", "/data")]
#[case::in_the_middle(&[("link", "/data")], "/link/new", "/data/new")]
#[case::recursive(&[("a", "/b"), ("b", "data")], "/a", "/data")]
#[case::above_the_root(&[("link", "../../../../../../data")], "/link", "/data")]
#[case::escape_absolute(&[("link", "ESCAPE")], "/link/new", "ESCAPE/new")]
#[case::escape_relative(&[("dir/link", "../../../ESCAPE")], "/dir/link/new", "")]
#[case::dots_in_the_destination(&[], "/data/../../../../tmp", "/tmp")]
fn a_symlink_in_the_destination_stays_in_the_root(
    #[case] links: &[(&str, &str)],
    #[case] destination: &str,
    #[case] seen: &str,
) {
    case(needs!(), |case| {
        let escape = case.path("escape");
        fs::create_dir(&escape).unwrap();
        let volume = case.path("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("mark"), "here").unwrap();
        let bundle = case.bundle("minimal").mount(destination, "nullfs", volume.to_str().unwrap(), &[]);
        fs::create_dir(bundle.in_root("dir")).unwrap();
        for (name, target) in links {
            symlink(target.replace("ESCAPE", escape.to_str().unwrap()), bundle.in_root(name)).unwrap();
        }
        let mark = format!("{}/mark", seen.replace("ESCAPE", escape.to_str().unwrap()));
        let check = if seen.is_empty() { vec!["true"] } else { vec!["file", &mark, "here"] };
        let container = case.container(&bundle.args(&check));
        let created = container.create();
        // To refuse is as good; to mount on the host is not.
        if created.output.status.success() {
            container.start().ok();
            container.passes();
        } else {
            assert!(links.iter().any(|(_, target)| target.contains("ESCAPE")), "{}", created.stderr());
        }
        assert!(fs::read_dir(&escape).unwrap().next().is_none(), "nothing appeared on the host");
        container.delete_force().ok();
    });
}

#[test]
fn a_symlink_loop_is_an_error() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/a", "tmpfs", "tmpfs", &[]);
        symlink("/b", bundle.in_root("a")).unwrap();
        symlink("/a", bundle.in_root("b")).unwrap();
        let container = case.container(&bundle);
        container.create().fails(1);
        container.state_command().fails(1);
    });
}

/// A link that the container leaves for the next one. runc 1.1 makes directories behind it.
#[test]
fn a_dev_that_is_a_link_to_the_host_stays_inside() {
    case(needs!(Runj), |case| {
        let escape = case.path("escape");
        fs::create_dir(&escape).unwrap();
        let bundle = case.bundle("minimal").args(&["true"]);
        fs::remove_dir(bundle.in_root("dev")).unwrap();
        symlink(&escape, bundle.in_root("dev")).unwrap();
        let container = case.container(&bundle);
        if container.create().output.status.success() {
            container.start().ok();
            container.wait();
            container.delete().ok();
        }
        assert!(fs::read_dir(&escape).unwrap().next().is_none());
    });
}

#[test]
fn a_relative_root_is_unmounted_from_any_directory() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").set("/root/path", json!("root")).mount("/tmp", "tmpfs", "tmpfs", &[]);
        let container = case.container(&bundle);
        container.create().ok();
        case.runj(["delete", "--force", container.id()]).cwd("/").ok();
    });
}

/// A process of the container's that is elsewhere keeps a mount busy.
#[test]
fn a_busy_mount_is_undone() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]);
        let container =
            case.container(&bundle.set("/process/cwd", json!("/tmp")).args(&["fork", "3", "--and", "sleep"]));
        container.create().ok();
        container.start().ok();
        container.delete_force().ok();
    });
}

/// runc refuses it.
#[test]
fn the_root_itself_may_be_a_link() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["file", "/integ-inside"]).args(&["true"]);
        fs::rename(bundle.root(), bundle.dir().join("real")).unwrap();
        symlink("real", bundle.root()).unwrap();
        case.passes(&bundle);
    });
}

/// `tmpcopyup`: the tmpfs begins with a copy of what it covers, and has its mode unless another is named.
#[rstest]
#[case::its_mode(&["tmpcopyup"], "0751")]
#[case::another_mode(&["tmpcopyup", "mode=1777"], "1777")]
fn tmpcopyup(#[case] options: &[&str], #[case] mode: &str) {
    case(needs!(Runj), |case| {
        let check = [
            "mode",
            "/data",
            mode,
            "--and",
            "file",
            "/data/kept",
            "text",
            "--and",
            "mode",
            "/data/kept",
            "0640",
            "--and",
            "write-file",
            "/data/kept",
            "other",
        ];
        let bundle = case.bundle("minimal").mount("/data", "tmpfs", "tmpfs", options).args(&check);
        let path = bundle.in_root("data/kept");
        fs::set_permissions(bundle.in_root("data"), std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        case.passes(&bundle);
        assert_eq!(fs::read_to_string(path).unwrap(), "text");
    });
}

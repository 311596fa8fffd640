//! Mounts, their targets, and the rulesets of devfs(8).

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use integ::host::{READ_ONLY, host, names, nullfs, request};
use integ::needs;
use nix::errno::Errno;
use runj::sys::mount::{DeviceRule, MountFlags, MountRequest, TargetKind};
use runj::sys::{Jails, Mounts};

#[test]
fn a_directory_of_the_host() {
    host(needs!(Runj), |place| {
        let data = place.case.path("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "data").unwrap();
        let jail = place.create("web", &[]);
        jail.mounted("/data", &nullfs(&data, MountFlags::default()));
        jail.mounted("/mnt/read", &nullfs(&data, READ_ONLY));
        jail.run(|| {
            fs::write("/data/new", "new").unwrap();
            assert_eq!(fs::read_to_string("/mnt/read/new").unwrap(), "new");
            let error = fs::write("/mnt/read/file", "").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EROFS as i32));
        });
        assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "new");
    });
}

#[test]
fn a_file_of_the_host() {
    host(needs!(Runj), |place| {
        let file = place.case.path("file");
        fs::write(&file, "before").unwrap();
        let jail = place.create("web", &[]);
        let kind = place.host.facts().unwrap().file_target();
        for (name, flags) in [("file", MountFlags::default()), ("read", READ_ONLY)] {
            let path = Path::new("etc").join(name);
            place.host.create_target(Some(jail.jid), &place.root, &path, kind).unwrap();
            jail.mounted(&format!("/etc/{name}"), &nullfs(&file, flags));
        }
        jail.run(|| {
            assert_eq!(fs::read_to_string("/etc/read").unwrap(), "before");
            fs::write("/etc/file", "after").unwrap();
            assert_eq!(fs::read_to_string("/etc/read").unwrap(), "after");
            assert_eq!(fs::write("/etc/read", "").unwrap_err().raw_os_error(), Some(Errno::EROFS as i32));
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
    });
}

#[test]
fn memory() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        let option = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let options = vec![option("size", "1m"), option("mode", "1770")];
        jail.mounted("/mnt", &MountRequest { options, ..request("tmpfs") });
        jail.mounted("/etc", &MountRequest { copy_up: true, flags: READ_ONLY, ..request("tmpfs") });
        jail.run(|| {
            assert_eq!(fs::metadata("/mnt").unwrap().mode() & 0o7777, 0o1770);
            fs::write("/mnt/small", vec![1; 500_000]).unwrap();
            assert!(fs::write("/mnt/large", vec![1; 1 << 20]).is_err(), "beyond its size");
            assert_eq!(fs::read_to_string("/etc/inside").unwrap(), "inside");
            assert_eq!(fs::write("/etc/inside", "").unwrap_err().raw_os_error(), Some(Errno::EROFS as i32));
        });
    });
}

fn rule(path: Option<&str>, visible: bool) -> DeviceRule {
    DeviceRule { path: path.map(str::to_owned), visible: Some(visible), ..DeviceRule::default() }
}

/// Ruleset numbers of the test, which run one at a time.
const RULESET: u16 = 47_000;

#[test]
fn devices_by_a_ruleset() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let rules =
            [rule(None, false), rule(Some("null"), true), DeviceRule { mode: Some(0o600), ..rule(Some("zero"), true) }];
        host.ruleset_add(RULESET, &rules).unwrap();
        let jail = place.create("web", &[]);
        jail.mounted("/dev", &MountRequest { ruleset: Some(RULESET), ..request("devfs") });
        jail.run(|| {
            // The emulation shows the terminal's node always.
            assert!(["null zero", "null tty zero"].contains(&names("/dev").as_str()), "{}", names("/dev"));
            assert_eq!(fs::metadata("/dev/zero").unwrap().mode() & 0o777, 0o600);
            fs::write("/dev/null", "x").unwrap();
            let mut byte = [1];
            fs::File::open("/dev/zero").unwrap().read_exact(&mut byte).unwrap();
            assert_eq!(byte, [0]);
        });
        drop(jail);
        host.ruleset_remove(RULESET).unwrap();
    });
}

#[test]
fn a_ruleset_comes_and_goes() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        assert_eq!(host.ruleset_exists(RULESET), Ok(false), "never loaded");
        host.ruleset_remove(RULESET).unwrap();
        let rules = [rule(None, false), rule(Some("null"), true)];
        host.ruleset_add(RULESET, &rules).unwrap();
        assert_eq!(host.ruleset_exists(RULESET), Ok(true));
        assert_eq!(host.ruleset_exists(RULESET + 1), Ok(false), "a neighbour");
        host.ruleset_remove(RULESET).unwrap();
        assert_eq!(host.ruleset_exists(RULESET), Ok(false));
        host.ruleset_remove(RULESET).unwrap();
    });
}

#[test]
fn a_ruleset_includes_another_that_is_loaded() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        host.ruleset_add(RULESET + 1, &[rule(None, false), rule(Some("null"), true)]).unwrap();
        host.ruleset_add(RULESET, &[DeviceRule { include: Some(RULESET + 1), ..DeviceRule::default() }]).unwrap();
        let jail = place.create("web", &[]);
        jail.mounted("/dev", &MountRequest { ruleset: Some(RULESET), ..request("devfs") });
        jail.run(|| assert!(["null", "null tty"].contains(&names("/dev").as_str()), "{}", names("/dev")));
        drop(jail);
        host.ruleset_remove(RULESET).unwrap();
        host.ruleset_remove(RULESET + 1).unwrap();
    });
}

#[test]
fn descriptors_as_files() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        jail.mounted("/proc", &request("procfs"));
        jail.mounted("/mnt/fd", &request("fdescfs"));
        jail.run(|| {
            let file = fs::File::open("/etc/inside").unwrap();
            let path = format!("/mnt/fd/{}", file.as_raw_fd());
            let mut text = String::new();
            fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside");
        });
    });
}

#[test]
fn what_is_refused_says_where_and_why() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        let error = jail.mount("/mnt", &request("zfs2")).unwrap_err();
        assert_eq!(error.errno, Errno::ENODEV);
        assert!(error.operation.ends_with("root/mnt (zfs2)"), "{error}");
        let options = vec![("nonsense".to_owned(), None)];
        let error = jail.mount("/mnt", &MountRequest { options, ..request("tmpfs") }).unwrap_err();
        assert!(error.errno == Errno::EINVAL && error.message.contains("nonsense"), "{error}");
        let error = jail.mount("/mnt", &nullfs("/nonexistent", MountFlags::default())).unwrap_err();
        assert_eq!(error.errno, Errno::ENOENT, "{error}");
        jail.run(|| assert_eq!(names("/mnt"), ""));
    });
}

/// A hostile root has links; nothing of the host is reached by them.
#[test]
fn links_stay_in_the_root() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let jail = place.create("web", &[]);
        let outside = place.case.path("outside");
        fs::create_dir_all(outside.join("dir")).unwrap();
        symlink(&outside, place.root.join("link")).unwrap();
        symlink("../../../../etc", place.root.join("climb")).unwrap();
        symlink("loop", place.root.join("loop")).unwrap();
        let jid = Some(jail.jid);
        for path in ["link", "link/dir"] {
            let error = host.mount(jid, &place.root, Path::new(path), &request("tmpfs")).unwrap_err();
            assert!(matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR | Errno::ENOENT), "{path}: {error}");
            assert_eq!(host.mount_id(&outside), Ok(None));
            assert_eq!(host.mount_id(&outside.join("dir")), Ok(None));
        }
        // As after chroot(2): within the root.
        let at = host.resolve(jid, &place.root, Path::new("/link")).unwrap();
        assert_eq!((at.path.as_path(), at.kind), (outside.strip_prefix("/").unwrap(), None));
        assert_eq!(host.resolve(jid, &place.root, Path::new("/climb")).unwrap().path, Path::new("etc"));
        assert_eq!(host.resolve(jid, &place.root, Path::new("/loop")).unwrap_err().errno, Errno::ELOOP);
        jail.mounted("/link", &request("tmpfs"));
        jail.mounted("/climb", &request("tmpfs"));
        assert_eq!(host.mount_id(&outside), Ok(None));
        jail.run(|| assert_eq!(names("/etc"), ""));
    });
}

#[test]
fn a_mount_is_taken_away_by_its_id() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let target = place.case.path("target");
        fs::create_dir(&target).unwrap();
        let mount = |request: &MountRequest| host.mount(None, place.case.dir(), Path::new("target"), request).unwrap();
        assert_eq!(host.mount_id(&target), Ok(None));
        mount(&request("tmpfs"));
        let below = host.mount_id(&target).unwrap();
        assert!(below.is_some());
        mount(&nullfs(&place.root, READ_ONLY));
        let above = host.mount_id(&target).unwrap();
        assert!(above.is_some() && above != below);
        assert!(fs::write(target.join("x"), "").is_err());
        // What was there before stays.
        host.unmount(&target, below.as_ref()).unwrap();
        assert_eq!(host.mount_id(&target).unwrap(), below);
        host.unmount(&target, below.as_ref()).unwrap();
        assert_eq!(host.mount_id(&target).unwrap(), below);
        mount(&request("tmpfs"));
        host.unmount(&target, None).unwrap();
        assert_eq!(host.mount_id(&target), Ok(None));
        host.unmount(&target, None).unwrap();
        assert_eq!(host.mount_id(&place.case.path("nothing")), Ok(None));
        // A directory in a file system is no mount point.
        assert_eq!(host.mount_id(&place.root), Ok(None));
    });
}

#[test]
fn targets_are_made_and_removed() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let (root, path) = (place.root.as_path(), Path::new("mnt/a/b/c"));
        let at = host.resolve(None, root, Path::new("/mnt/a/b/../b/c")).unwrap();
        assert_eq!((at.path.as_path(), at.missing, at.kind), (path, 3, None));
        host.create_target(None, root, path, TargetKind::File).unwrap();
        assert_eq!(host.resolve(None, root, path).unwrap().kind, Some(TargetKind::File));
        host.remove_target(root, path, 3, TargetKind::File).unwrap();
        assert_eq!(names(root.join("mnt")), "");
        host.remove_target(root, path, 3, TargetKind::File).unwrap();
        host.create_target(None, root, path, TargetKind::Directory).unwrap();
        fs::write(root.join("mnt/a/kept"), "").unwrap();
        host.remove_target(root, path, 3, TargetKind::Directory).unwrap();
        assert_eq!(names(root.join("mnt/a")), "kept", "what is not empty stays");
    });
}

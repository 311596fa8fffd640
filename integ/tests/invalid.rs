//! Bad input: a clear error that names file and property, exit 1, and a machine on which nothing changed.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use integ::container::Done;
use integ::leaks::Leaks;
use integ::prelude::*;

/// Creates; asserts that it is refused with these words and that bundle and machine are as before.
fn refused(case: &Case, container: &Container<'_>, bundle: &Bundle, words: &str) {
    let (tree, before) = (bundle.tree(), Leaks::now(case));
    container.create().fails_with(1, words);
    assert_eq!(bundle.tree(), tree, "the root file system is as before");
    before.assert_none(case);
    assert!(!container.pid_file().exists());
    container.state_command().fails(1);
}

/// Each directory of fixtures/invalid: `config.json`, and in `expected` what the message must contain.
#[rstest]
fn a_configuration_is_refused(#[files("../fixtures/invalid/*/expected")] expected: PathBuf) {
    case(needs!(Runj), |case| {
        let name = expected.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let fixture = format!("invalid/{name}");
        let words = fs::read_to_string(integ::locate::fixtures().join(&fixture).join("expected")).unwrap();
        let bundle = Bundle::raw(case, &fixture);
        refused(case, &case.container(&bundle), &bundle, words.trim());
    });
}

#[test]
fn a_bundle_that_is_not_there() {
    case(needs!(), |case| {
        for (path, words) in [("/no/such/bundle", "/no/such/bundle"), ("/dev/null", "/dev/null")] {
            let done = Done::run(case.runj(["create", "--bundle", path, "x"]));
            let text = done.fails(1);
            assert!(text.contains(words) || !integ::locate::is_runj(), "{text}");
        }
    });
}

#[test]
fn a_bundle_without_configuration() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal");
        fs::remove_file(bundle.dir().join("config.json")).unwrap();
        refused(case, &case.container(&bundle), &bundle, "config.json");
    });
}

#[test]
fn a_configuration_that_is_a_directory_or_a_device() {
    case(needs!(Runj), |case| {
        for target in ["/dev/zero", "/tmp"] {
            let bundle = case.bundle("minimal");
            let path = bundle.dir().join("config.json");
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(target, &path).unwrap();
            refused(case, &case.container(&bundle), &bundle, "config.json");
        }
    });
}

#[rstest]
#[case::arrays("[", "]")]
#[case::objects("{\"a\":", "}")]
fn a_deeply_nested_configuration(#[case] open: &str, #[case] close: &str) {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal");
        let text = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        fs::write(bundle.dir().join("config.json"), text).unwrap();
        refused(case, &case.container(&bundle), &bundle, "config.json");
    });
}

#[test]
fn a_configuration_of_100_megabytes() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal");
        let text = format!("{{\"ociVersion\": \"1.3.0\", \"x\": \"{}\"}}", "y".repeat(100 << 20));
        fs::write(bundle.dir().join("config.json"), text).unwrap();
        refused(case, &case.container(&bundle), &bundle, "config.json");
    });
}

#[rstest]
#[case::empty("")]
#[case::dot(".")]
#[case::parent("..")]
#[case::above("../../victim")]
#[case::slash("a/b")]
#[case::absolute("/etc")]
#[case::hidden(".hidden")]
#[case::option("-f")]
#[case::space("a b")]
#[case::newline("a\nb")]
#[case::control("a\u{1}b")]
#[case::not_ascii("ü")]
fn an_id_is_refused_by_every_verb(#[case] id: &str) {
    case(needs!(Runj), |case| {
        // What ocijail and Go runj removed: a directory beside the state's.
        let victim = case.path("victim");
        fs::create_dir(&victim).unwrap();
        let bundle = case.bundle("minimal");
        let dir = bundle.dir().to_str().unwrap();
        for arguments in [
            vec!["create", "--bundle", dir, "--", id],
            vec!["run", "--bundle", dir, "--", id],
            vec!["start", "--", id],
            vec!["state", "--", id],
            vec!["kill", "--", id],
            vec!["delete", "--", id],
            vec!["delete", "--force", "--", id],
            vec!["exec", "--", id, "/integ-inside"],
            vec!["pause", "--", id],
            vec!["ps", "--", id],
        ] {
            case.runj(arguments).run().assert().code(1).stdout(is_empty());
        }
        assert!(victim.exists() && case.root().exists());
        assert!(std::path::Path::new("/etc/passwd").exists());
    });
}

#[test]
fn an_id_that_is_too_long_is_refused() {
    case(needs!(), |case| {
        let bundle = case.bundle("minimal");
        for length in [256, 1024] {
            let id = "a".repeat(length);
            let done = Done::run(case.runj(["create", "--bundle", bundle.dir().to_str().unwrap(), &id]));
            assert!(!done.output.status.success());
        }
    });
}

/// Legal for containerd, and odd for the kernel: digits claim a jid, a dot means a child, a colon breaks rctl.
#[rstest]
#[case("77")]
#[case("0")]
#[case("007")]
#[case("a.b")]
#[case("a..b")]
#[case("trailing.")]
#[case("a:b")]
#[case("a+b@c")]
#[case("_under-score")]
fn an_odd_id_lives(#[case] id: &str) {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["exit", "4"])).with_id(id);
        container.create().ok();
        assert_eq!(container.state()["id"], id);
        container.start().ok();
        assert_eq!(container.wait().code(), Some(4));
        container.delete().ok();
    });
}

#[test]
fn the_longest_ids_live_side_by_side() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let ids = [format!("{}a", "x".repeat(254)), format!("{}b", "x".repeat(254))];
        let containers = ids.each_ref().map(|id| Container::new(case, bundle.dir()).with_id(id));
        for container in &containers {
            // Their logs would have the same name.
            let pid_file = case.path(&format!("{}.pid", &container.id()[254..]));
            container.create_with(&["--pid-file", pid_file.to_str().unwrap()]).ok();
            container.start().ok();
        }
        for container in &containers {
            assert_eq!(container.status(), "running");
            container.delete_force().ok();
        }
    });
}

/// Two ids whose jails must not have the same name.
#[test]
fn ids_that_look_alike_do_not_clash() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let containers = ["a.b", "a:b", "a-b", "a_b", "a+b"].map(|id| Container::new(case, bundle.dir()).with_id(id));
        for container in &containers {
            container.create().ok();
        }
        for container in &containers {
            container.delete_force().ok();
        }
    });
}

#[rstest]
#[case::unknown_verb(&["frobnicate"])]
#[case::no_verb(&[])]
#[case::unknown_flag(&["state", "--frobnicate", "x"])]
#[case::no_id(&["state"])]
#[case::too_many(&["state", "x", "y"])]
#[case::bundle_twice(&["create", "x", "/b", "--bundle", "/c"])]
#[case::not_a_number(&["create", "--preserve-fds", "many", "x"])]
#[case::negative(&["create", "--preserve-fds", "-1", "x"])]
#[case::bad_format(&["list", "--format", "xml"])]
#[case::bad_log_format(&["--log-format", "xml", "list"])]
#[case::bad_log_level(&["--log-level", "loud", "list"])]
#[case::all_and_pid(&["kill", "--all", "--pid", "3", "x"])]
#[case::bad_env(&["exec", "--env", "novalue", "x", "true"])]
#[case::bad_user(&["exec", "--user", "somebody", "x", "true"])]
#[case::checkpoint(&["checkpoint", "--help"])]
#[case::restore(&["restore", "x"])]
fn a_misuse_is_exit_1(#[case] arguments: &[&str]) {
    case(needs!(Runj), |case| {
        case.runj(arguments).run().assert().code(1).stdout(is_empty()).stderr(is_empty().not());
    });
}

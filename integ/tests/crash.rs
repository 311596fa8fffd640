//! What happens when something dies at the wrong moment, or the state is not as it was left.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use integ::ffi;
use integ::prelude::*;
use integ::run::Stdio;

/// Ends `create` with SIGKILL after so long; true if it was in time.
fn create_killed(container: &Container<'_>, after: Duration) -> bool {
    let mut create = container.creator(&[]).spawn();
    std::thread::sleep(after);
    create.kill(libc::SIGKILL);
    create.wait().code().is_none()
}

/// Whatever moment `create` dies at: the next `delete --force` leaves nothing.
#[test]
fn create_that_is_killed_is_released() {
    case(needs!(Runj), |case| {
        let bundle = case
            .bundle("minimal")
            .mount("/tmp", "tmpfs", "tmpfs", &[])
            .mount("/made/deep", "tmpfs", "tmpfs", &[])
            .set("/root/readonly", json!(true))
            .args(&["sleep"]);
        let tree = bundle.tree();
        let mut killed = 0;
        for step in 0..40 {
            let container = Container::new(case, bundle.dir());
            killed += i32::from(create_killed(&container, Duration::from_micros(step * 250)));
            container.delete_force().ok();
            container.state_command().fails(1);
            assert_eq!(bundle.tree(), tree, "after {step}");
        }
        assert!(killed > 3, "most of these moments are too late: {killed}");
    });
}

/// While a hook runs, the container is being created; whoever kills `create` then leaves no stranger behind.
#[test]
fn create_that_is_killed_in_a_hook() {
    case(needs!(Runj), |case| {
        let bundle = case.bundle("minimal").args(&["touch", "/data/ran"]);
        let bundle = bundle.hook("createRuntime", &["touch", case.path("hook").to_str().unwrap(), "--and", "sleep"]);
        let container = case.container(&bundle);
        let mut create = container.creator(&[]).spawn();
        until("the hook", || case.path("hook").exists().then_some(()));
        assert_eq!(container.status(), "creating");
        container.start().fails(1);
        assert_eq!(case.runj(["gc"]).ok(), "", "its creator lives");
        create.kill(libc::SIGKILL);
        create.wait();
        assert!(case.runj(["list"]).ok().contains("abandoned"));
        let words = format!("container {}: its creation was interrupted", container.id());
        assert_eq!(case.runj(["gc", "--dry-run"]).ok(), format!("{words}: would be released\n"));
        assert_eq!(container.status(), "creating");
        assert_eq!(case.runj(["gc"]).ok(), format!("{words}: released\n"));
        assert_eq!(case.runj(["gc"]).ok(), "");
        container.state_command().fails(1);
        assert!(!bundle.in_root("data/ran").exists());
        // The hook itself is nobody's any more: the harness ends it.
        ffi::kill_descendants();
    });
}

#[test]
fn delete_by_force_overtakes_a_create_that_waits() {
    case(needs!(Runj), |case| {
        let go = case.path("go");
        let bundle = case.bundle("minimal").hook(
            "createRuntime",
            &["touch", case.path("hook").to_str().unwrap(), "--and", "wait-file", go.to_str().unwrap()],
        );
        let container = case.container(&bundle);
        let mut create = container.creator(&[]).spawn();
        until("the hook", || case.path("hook").exists().then_some(()));
        container.delete_force().ok();
        fs::write(&go, "").unwrap();
        assert_eq!(create.wait().code(), Some(1), "{}", container.stderr());
        assert!(!container.pid_file().exists());
        container.state_command().fails(1);
    });
}

/// An entrypoint that does not get on, stopped here: nobody waits for whoever starts it.
#[test]
fn a_start_that_waits_keeps_nobody_waiting() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["exit", "7"]));
        container.create().ok();
        container.kill("STOP").ok();
        let mut start = case.runj(["start", container.id()]).spawn();
        let record = case.path("state").join(container.id()).join("state.json");
        until("the start", || fs::read_to_string(&record).unwrap().contains("starting").then_some(()));
        container.delete().fails_with(1, "is created");
        container.start().fails_with(1, "another start has taken it");
        container.kill("CONT").ok();
        assert!(start.wait().success());
        assert_eq!(container.wait().code(), Some(7));
        container.delete().ok();

        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.create().ok();
        container.kill("STOP").ok();
        let mut start = case.runj(["start", container.id()]).spawn();
        std::thread::sleep(Duration::from_millis(5));
        container.delete_force().ok();
        assert_eq!(start.wait().code(), Some(1));
    });
}

#[test]
fn start_that_is_killed_can_be_cleaned_up() {
    case(needs!(Runj), |case| {
        for step in 0..10 {
            let container = case.container(&case.bundle("minimal").args(&["sleep"]));
            container.create().ok();
            let mut start = case.runj(["start", container.id()]).spawn();
            std::thread::sleep(Duration::from_micros(step * 300));
            start.kill(libc::SIGKILL);
            start.wait();
            let status = container.status();
            assert!(["created", "running"].contains(&status.as_str()), "{status}");
            container.delete_force().ok();
        }
    });
}

#[test]
fn delete_that_is_killed_is_finished_by_the_next() {
    case(needs!(Runj), |case| {
        let bundle =
            case.bundle("minimal").mount("/made/deep", "tmpfs", "tmpfs", &[]).args(&["fork", "3", "--and", "sleep"]);
        let tree = bundle.tree();
        for step in 0..10 {
            let container = Container::new(case, bundle.dir());
            container.create().ok();
            container.start().ok();
            let mut delete = case.runj(["delete", "--force", container.id()]).spawn();
            std::thread::sleep(Duration::from_micros(step * 200));
            delete.kill(libc::SIGKILL);
            delete.wait();
            container.delete_force().ok();
            container.state_command().fails(1);
            assert_eq!(bundle.tree(), tree);
        }
    });
}

#[test]
fn the_program_dies_and_its_children_live() {
    case(needs!(), |case| {
        let container = case.running(&["daemon", "2", "--and", "echo", "ready", "--and", "sleep"]);
        container.until_stdout("ready");
        ffi::kill(container.pid(), libc::SIGKILL).unwrap();
        container.wait();
        container.until_status("stopped");
        container.delete().ok();
    });
}

/// The keeper of the emulation is the jail: without it nothing of the container lives.
#[test]
fn a_jail_that_was_removed_behind_our_back() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        remove_jail(case, &container);
        container.wait();
        container.until_status("stopped");
        assert!(!container.exec(&["true"]).output.status.success());
        container.delete_force().ok();
        container.state_command().fails(1);
    });
}

#[cfg(target_os = "linux")]
fn remove_jail(_: &Case, container: &Container<'_>) {
    let stat = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    let pids = stat.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert!(pids.split_whitespace().count() > 1, "the container has a pid namespace: {pids}");
    let own = fs::read_link(format!("/proc/{}/ns/pid", container.pid())).unwrap();
    let keeper = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let number = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last()?.to_owned();
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        (number == "1" && pid != 1 && fs::read_link(entry.path().join("ns/pid")).ok()? == own).then_some(pid)
    });
    ffi::kill(keeper.expect("a keeper"), libc::SIGKILL).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn remove_jail(_: &Case, container: &Container<'_>) {
    integ::Program::new("jail").args(["-r", container.id()]).ok();
}

#[rstest]
#[case::torn(b"{\"version\":" as &[u8])]
#[case::empty(b"")]
#[case::nonsense(b"\xff\xfe")]
fn a_spoilt_record_is_deleted_by_force(#[case] bytes: &[u8]) {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]));
        container.create().ok();
        container.start().ok();
        fs::write(case.root().join(container.id()).join("state.json"), bytes).unwrap();
        container.state_command().fails_with(1, "state.json");
        case.runj(["list"]).run();
        container.delete_force().ok();
        container.state_command().fails_with(1, "exist");
    });
}

/// Whoever reads a state file has the old or the new one, since each is written beside and renamed.
#[test]
fn the_record_is_replaced_and_not_written_over() {
    case(needs!(Runj), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.create().ok();
        let path = case.root().join(container.id()).join("state.json");
        // Held open, so that its inode is not given to the next file.
        let mut file = fs::File::open(&path).unwrap();
        let before = fs::read(&path).unwrap();
        container.start().ok();
        assert_ne!(file.metadata().unwrap().ino(), fs::metadata(&path).unwrap().ino());
        let mut still = Vec::new();
        file.read_to_end(&mut still).unwrap();
        assert_eq!(before, still);
    });
}

#[test]
fn nothing_temporary_stays_in_the_state_directory() {
    case(needs!(Runj), |case| {
        let container = case.running(&["sleep"]);
        let names: Vec<String> = fs::read_dir(case.root().join(container.id()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(names.iter().all(|name| !name.contains("tmp") && !name.ends_with('~')), "{names:?}");
    });
}

/// A tmpfs on a directory of the case, taken away again when this is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(directory: PathBuf, options: &str) -> Self {
        fs::create_dir(&directory).unwrap();
        Program::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&directory).run().assert().success();
        Self(directory)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Program::new("umount").arg(&self.0).run();
    }
}

#[test]
fn a_state_directory_that_is_full() {
    case(needs!(Runj), |case| {
        let small = Tmpfs::mount(case.path("small"), "size=1m");
        // Until not a byte more is taken.
        let mut filler = fs::File::create(small.0.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        let bundle = case.bundle("minimal");
        let create = case.runtime().arg("--root").arg(&small.0).args(["create", "--bundle"]).arg(bundle.dir()).arg("x");
        create.run().assert().code(1).stderr(contains(small.0.to_str().unwrap()));
        case.runtime().arg("--root").arg(&small.0).args(["delete", "--force", "x"]).ok();
    });
}

#[test]
fn a_state_directory_that_is_read_only() {
    case(needs!(Runj), |case| {
        let fixed = Tmpfs::mount(case.path("fixed"), "ro");
        let bundle = case.bundle("minimal");
        let create = case.runtime().arg("--root").arg(&fixed.0).args(["create", "--bundle"]).arg(bundle.dir()).arg("x");
        create.run().assert().code(1).stderr(contains(fixed.0.to_str().unwrap()));
    });
}

#[test]
fn few_descriptors_are_an_error_or_enough() {
    case(needs!(Runj), |case| {
        for limit in [6, 10, 14, 20, 30, 64] {
            let container = case.container(&case.bundle("minimal").args(&["sleep"]));
            let created = container.creator(&[]).nofile(limit).run();
            if created.status.success() {
                container.delete_force().ok();
            } else {
                container.state_command().fails(1);
            }
        }
    });
}

/// The directory of a cgroup of this test's own that counts processes.
#[cfg(target_os = "linux")]
fn counted(case: &Case) -> PathBuf {
    let v1 = PathBuf::from("/sys/fs/cgroup/pids");
    let root = if v1.is_dir() { v1 } else { PathBuf::from("/sys/fs/cgroup") };
    root.join(case.marker())
}

/// Whichever of its processes `create` does not get: it says so, and what it had made is gone.
#[cfg(target_os = "linux")]
#[test]
fn no_more_processes() {
    case(needs!(Runj, Limits), |case| {
        let group = counted(case);
        fs::create_dir(&group).unwrap();
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]);
        let tree = bundle.tree();
        fs::write(group.join("cgroup.procs"), "0").unwrap();
        let own: u32 = fs::read_to_string(group.join("pids.current")).unwrap().trim().parse().unwrap();
        let mut failures = 0;
        // With one more it is runj alone, with two the jail's keeper lives, with three the container.
        for more in 1..=4 {
            fs::write(group.join("pids.max"), (own + more).to_string()).unwrap();
            let container = Container::new(case, bundle.dir());
            let created = container.create();
            fs::write(group.join("pids.max"), "max").unwrap();
            if created.output.status.success() {
                container.delete_force().ok();
                container.wait();
            } else {
                failures += 1;
                created.fails_with(1, "no more processes are allowed");
            }
            container.state_command().fails_with(1, "exist");
            assert_eq!(bundle.tree(), tree);
        }
        fs::write(group.parent().unwrap().join("cgroup.procs"), "0").unwrap();
        until("the cgroup is empty", || fs::remove_dir(&group).ok());
        assert!((1..4).contains(&failures), "{failures}");
    });
}

/// A limit that not even the waiting process can live under: whoever waits for it hears that it died.
#[test]
fn no_memory_for_the_child() {
    case(needs!(Runj, Limits, Linux), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]);
        let bundle = bundle.set("/linux/resources", json!({"memory": {"limit": 16 << 10, "swap": 16 << 10}}));
        let tree = bundle.tree();
        let container = case.container(&bundle);
        let created = container.create();
        assert_eq!(created.output.status.code(), Some(1), "{}", created.stderr());
        assert!(!created.stderr().is_empty());
        container.state_command().fails_with(1, "exist");
        assert_eq!(bundle.tree(), tree);
    });
}

#[test]
fn an_unwritable_pid_file_undoes_create() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal"));
        container.create_with(&["--pid-file", "/no/such/dir/pid"]).fails(1);
        container.state_command().fails(1);
    });
}

#[test]
fn a_bundle_that_vanished_is_no_hindrance() {
    case(needs!(Linux), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]);
        let container = case.container(&bundle);
        container.create().ok();
        container.start().ok();
        fs::remove_dir_all(bundle.dir()).unwrap();
        container.delete_force().ok();
    });
}

/// A program that fills its output must not keep `delete` from working.
#[test]
fn a_program_blocked_on_its_output_is_deleted() {
    case(needs!(), |case| {
        let container = case.container(&case.bundle("minimal").args(&["write", "1"]));
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        container.creator(&[]).stdout(Stdio::Fd(write)).ok();
        container.start().ok();
        container.delete_force().ok();
        drop(read);
    });
}

/// Programs that fork as fast as they can do not outlive `delete`.
#[test]
fn a_fork_storm_is_ended() {
    case(needs!(), |case| {
        let container =
            case.running(&["fork-bomb", "300", "--and", "fork", "50", "--and", "daemon", "50", "--and", "sleep"]);
        container.delete_force().ok();
    });
}

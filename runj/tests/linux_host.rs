//! The emulation of jail(2) against a real Linux kernel. Needs root; says so and passes without.
//!
//! Each test runs in a forked process, because only a process with one thread can change its mount namespace.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // ip(8) makes the interfaces that are moved about

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use runj::id::Jid;
use runj::sys::jail::{JailParams, JailSys, ParamValue};
use runj::sys::limit::Limits;
use runj::sys::mount::{DeviceRule, MountFlags, MountRequest, TargetKind};
use runj::sys::net::{InterfaceAlias, MovedInterface};
use runj::sys::process::{Credentials, Rlimit};
use runj::sys::{Host, Interfaces, Jails, Mounts, Processes, unix};
use tempfile::TempDir;

/// Runs a test in a process of its own and proves that it left no mount, no jail and no interface.
fn isolated(test: fn(&Place)) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    // Before the fork: in the child the hook's lock may be held by a thread that is not there.
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|info| drop(writeln!(std::io::stderr(), "{info}")))));
    let mut run = || {
        let place = Place::new();
        test(&place);
        let root = place.top.path().to_str().unwrap().to_owned();
        let left = place.registered();
        assert!(left.is_empty(), "jails are left: {left:?}");
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&root).count(), 0);
        wait_for("no keeper is left", || !any_process_with(&root));
        0
    };
    succeeds(unix::fork(&mut run).unwrap());
}

/// Waits for a child, which has to exit with 0.
fn succeeds(pid: i32) {
    assert_eq!(waitpid(Pid::from_raw(pid), None), Ok(WaitStatus::Exited(Pid::from_raw(pid), 0)));
}

/// Waits for a child, which has to die by a signal.
fn dies(pid: i32, signal: Signal) {
    assert_eq!(waitpid(Pid::from_raw(pid), None), Ok(WaitStatus::Signaled(Pid::from_raw(pid), signal, false)));
}

/// Whether any process has something mounted below the path.
fn any_process_with(path: &str) -> bool {
    let has = |table: PathBuf| std::fs::read_to_string(table).is_ok_and(|text| text.contains(path));
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| has(entry.path().join("mountinfo")))
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn sleep_for_ever() -> i32 {
    loop {
        nix::unistd::pause();
    }
}

/// A state root, a root directory, and the host.
struct Place {
    top: TempDir,
    root: PathBuf,
    host: Host,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::Builder::new().prefix("runj-linux-host").tempdir().unwrap();
        let root = top.path().join("root");
        for directory in ["dev", "proc", "etc", "mnt"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "inside").unwrap();
        Self { root, host: Host::new(&top.path().join("state")), top }
    }

    /// A jail that shares the network.
    fn params(&self, name: &str) -> JailParams {
        let mut params = JailParams::default();
        params.set("name", text(name));
        params.set("path", text(self.root.to_str().unwrap()));
        params.set("persist", ParamValue::Flag(true));
        params.set("ip4", ParamValue::Sys(JailSys::Inherit));
        params.set("ip6", ParamValue::Sys(JailSys::Inherit));
        params
    }

    fn create(&self, name: &str) -> Jail<'_> {
        self.create_with(name, &[])
    }

    fn create_with(&self, name: &str, more: &[(&str, ParamValue)]) -> Jail<'_> {
        let mut params = self.params(name);
        for (name, value) in more {
            params.set(name, value.clone());
        }
        Jail { place: self, jid: self.host.jail_create(&params).unwrap() }
    }

    /// Why a jail is refused.
    fn refusal(&self, more: &[(&str, ParamValue)]) -> (Errno, String) {
        let mut params = self.params("refused");
        for (name, value) in more {
            params.set(name, value.clone());
        }
        let error = self.host.jail_create(&params).unwrap_err();
        assert_eq!(self.host.jail_find("refused").unwrap(), None);
        (error.errno, error.message)
    }

    /// What the registry holds besides its counter.
    fn registered(&self) -> Vec<PathBuf> {
        let list = |directory: PathBuf| -> Vec<PathBuf> {
            std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
        };
        let jails = self.top.path().join("state/.jails");
        let mut all = list(jails.clone());
        all.retain(|path| !path.ends_with("names") && !path.ends_with("last"));
        all.extend(list(jails.join("names")));
        all
    }
}

/// A jail that is removed in the end.
struct Jail<'a> {
    place: &'a Place,
    jid: Jid,
}

impl Drop for Jail<'_> {
    fn drop(&mut self) {
        self.place.host.jail_remove(self.jid).unwrap();
    }
}

impl Jail<'_> {
    /// Starts a child of the caller in the jail; it has attached when this returns.
    fn start(&self, mut work: impl FnMut() -> i32) -> i32 {
        let host = &self.place.host;
        let (attached, mut attach) = unix::pipe().map(|(read, write)| (read, Some(write))).unwrap();
        let keep = BTreeSet::from([0, 1, 2, attach.as_ref().unwrap().as_raw_fd()]);
        let mut child = || {
            unix::close_descriptors_except(&keep);
            host.jail_enter(self.jid).unwrap();
            host.jail_attach(self.jid, &self.place.root).unwrap();
            drop(attach.take().map(|pipe| File::from(pipe).write_all(b"a")));
            work()
        };
        let pid = host.fork(Some(self.jid), &mut child).unwrap();
        drop(attach.take());
        assert_eq!(File::from(attached).read(&mut [0]).unwrap(), 1, "the child {pid} has not attached");
        pid
    }

    /// Runs a check in the jail.
    fn run(&self, work: impl Fn()) {
        succeeds(self.start(|| {
            work();
            0
        }));
    }

    fn mount(&self, fstype: &str, destination: &str, request: MountRequest) -> runj::sys::Result<()> {
        let host = &self.place.host;
        let (jid, root) = (Some(self.jid), self.place.root.as_path());
        let at = host.resolve(jid, root, Path::new(destination))?;
        if at.kind.is_none() {
            host.create_target(jid, root, &at.path, TargetKind::Directory)?;
        }
        host.mount(jid, root, &at.path, &MountRequest { fstype: fstype.to_owned(), ..request })
    }

    fn keeper(&self) -> PathBuf {
        let record = self.place.top.path().join("state/.jails").join(self.jid.to_string()).join("jail.json");
        let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
        PathBuf::from(format!("/proc/{}", record["keeper"]["pid"]))
    }
}

fn text(value: &str) -> ParamValue {
    ParamValue::Text(value.to_owned())
}

const DISABLE: ParamValue = ParamValue::Sys(JailSys::Disable);
const NEW: ParamValue = ParamValue::Sys(JailSys::New);

fn request() -> MountRequest {
    MountRequest {
        fstype: String::new(),
        source: None,
        flags: MountFlags::default(),
        options: Vec::new(),
        ruleset: None,
        rules: Vec::new(),
        copy_up: false,
    }
}

fn names(directory: &str) -> String {
    let entries = std::fs::read_dir(directory).unwrap();
    let names: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap()
}

/// Plans for the emulation that are made elsewhere know the parameters that it knows.
#[test]
fn facts_of_the_emulation_are_its_own() {
    let host = Host::new(Path::new("/nonexistent"));
    assert_eq!(host.facts().unwrap().jail_params, runj::plan::facts::linux().jail_params);
}

#[test]
fn a_jail_is_made_found_and_removed() {
    isolated(|place| {
        let host = &place.host;
        let jail = place.create("web");
        let view = host.jail_find("web").unwrap().unwrap();
        assert_eq!((view.jid, view.path), (jail.jid, place.root.canonicalize().unwrap()));
        let again = host.jail_create(&place.params("web")).unwrap_err();
        assert_eq!(again.to_string(), "create jail web: jail \"web\" already exists");
        assert_eq!(again.errno, Errno::EEXIST);
        let jid = jail.jid;
        drop(jail);
        assert_eq!(host.jail_find("web").unwrap(), None);
        host.jail_remove(jid).unwrap();
        assert!(place.create("web").jid > jid, "a jid is used again");
    });
}

#[test]
fn a_name_of_digits_is_a_jid() {
    isolated(|place| {
        let jail = place.create("77");
        assert_eq!(jail.jid, Jid(77));
        assert_eq!(place.refusal(&[("jid", ParamValue::Int(77))]), (Errno::EEXIST, "jail 77 already exists".into()));
        let odd = place.create("a/b %2F");
        assert_eq!(place.host.jail_find("a/b %2F").unwrap().unwrap().jid, odd.jid);
    });
}

#[test]
fn refuses_as_the_kernel_does() {
    isolated(|place| {
        let path = |below: &str| text(place.root.join(below).to_str().unwrap());
        assert_eq!(place.refusal(&[("allow.foo", ParamValue::Flag(true))]).1, "unknown parameter: allow.foo");
        assert_eq!(place.refusal(&[("vnet", NEW)]).1, "vnet jails cannot have IP address restrictions");
        assert_eq!(place.refusal(&[("path", path("gone"))]).0, Errno::ENOENT);
        assert_eq!(place.refusal(&[("path", path("etc/passwd"))]).0, Errno::ENOTDIR);
        let orphan = place.refusal(&[("name", text("nobody.child"))]);
        assert_eq!(orphan, (Errno::ENOENT, "jail \"nobody\" not found".into()));
        assert_eq!(place.refusal(&[("linux.netns", text("/nonexistent/ns"))]).0, Errno::ENOENT);
        assert_eq!(place.refusal(&[("linux.netns", text("/proc/self/ns/uts"))]).0, Errno::EINVAL);
        let local = ParamValue::Ip4(vec![Ipv4Addr::LOCALHOST]);
        let taken = place.refusal(&[("ip4", NEW), ("ip6", DISABLE), ("ip4.addr", local)]);
        assert_eq!(taken.0, Errno::EADDRINUSE);
        assert_eq!(place.host.jail_enter(Jid(999)).unwrap_err().errno, Errno::EINVAL);
    });
}

#[test]
fn a_process_sees_the_jail_and_nothing_else() {
    isolated(|place| {
        let jail = place.create_with("web", &[("host.hostname", text("inside")), ("host.domainname", text("example"))]);
        jail.mount("procfs", "/proc", request()).unwrap();
        // The first to attach changes the root of the namespace, the next one finds it changed.
        for _ in 0..2 {
            jail.run(|| {
                assert_eq!(names("/"), "dev etc mnt proc");
                assert_eq!(std::fs::read_to_string("/etc/passwd").unwrap(), "inside");
                assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
                assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), "inside\n");
                assert_eq!(std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), "example\n");
                assert_eq!(std::fs::read_to_string("/proc/1/comm").unwrap(), "runj: jail 1\n");
                let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                assert_eq!(table.lines().count(), 2, "{table}");
                assert!(status().contains("CapBnd:\t00000000a80405fb"), "{}", status());
            });
        }
    });
}

#[test]
fn many_attach_first() {
    isolated(|place| {
        for _ in 0..10 {
            let jail = place.create("web");
            let children: Vec<i32> =
                (0..4).map(|_| jail.start(|| i32::from(names("/") != "dev etc mnt proc"))).collect();
            children.into_iter().for_each(succeeds);
        }
    });
}

#[test]
fn the_keeper_keeps_nothing_of_its_creator() {
    isolated(|place| {
        let jail = place.create("web");
        let keeper = jail.keeper();
        wait_for("the keeper's socket is closed", || std::fs::read_dir(keeper.join("fd")).unwrap().count() == 3);
        for fd in 0..3 {
            assert_eq!(std::fs::read_link(keeper.join(format!("fd/{fd}"))).unwrap(), Path::new("/dev/null"));
        }
        assert!(std::fs::read(keeper.join("environ")).unwrap().iter().all(|&byte| byte == 0));
        let arguments = String::from_utf8(std::fs::read(keeper.join("cmdline")).unwrap()).unwrap();
        assert!(arguments.trim_end_matches('\0').starts_with("runj: jail "), "{arguments:?}");
        let status = std::fs::read_to_string(keeper.join("status")).unwrap();
        assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
        jail.run(|| assert_eq!(names("/"), "dev etc mnt proc"));
        // Its root and its working directory went with the first attach.
        assert_eq!(std::fs::read_to_string(keeper.join("mountinfo")).unwrap().lines().count(), 1);
    });
}

#[test]
fn directory_descriptors_do_not_enter() {
    isolated(|place| {
        let jail = place.create("web");
        let mut child = || {
            place.host.jail_enter(jail.jid).unwrap();
            let _directory = std::fs::File::open("/").unwrap();
            let error = place.host.jail_attach(jail.jid, &place.root).unwrap_err();
            i32::from(error.errno != Errno::EPERM)
        };
        succeeds(place.host.fork(Some(jail.jid), &mut child).unwrap());
    });
}

#[test]
fn orphans_go_to_the_keeper_and_vanish() {
    isolated(|place| {
        let jail = place.create("web");
        jail.run(|| {
            unix::fork(&mut || {
                std::thread::sleep(Duration::from_millis(20));
                0
            })
            .unwrap();
        });
        wait_for("the orphan is gone", || place.host.members(jail.jid).unwrap().is_empty());
        let children = jail.keeper().join("task").join(jail.keeper().file_name().unwrap()).join("children");
        wait_for("no zombie is left", || std::fs::read_to_string(&children).unwrap().is_empty());
    });
}

#[test]
fn removal_kills_everything_and_waits_for_it() {
    isolated(|place| {
        let host = &place.host;
        let jail = place.create("web");
        // The caller reaps these only after the removal, as an engine does.
        let pids: Vec<i32> = (0..3).map(|_| jail.start(sleep_for_ever)).collect();
        let members = host.members(jail.jid).unwrap();
        let found: BTreeSet<i32> = members.iter().map(|member| member.pid).collect();
        assert_eq!(found, pids.iter().copied().collect());
        assert_eq!(host.identity(members[0].pid).unwrap(), Some(members[0]));
        host.jail_remove(jail.jid).unwrap();
        for &pid in &pids {
            assert_eq!(host.identity(pid).unwrap(), None);
            dies(pid, Signal::SIGKILL);
        }
        assert!(!host.signal(&members[0], 9).unwrap());
        assert_eq!(host.members(jail.jid).unwrap(), []);
    });
}

#[test]
fn one_signal_reaches_all_of_the_jail() {
    isolated(|place| {
        let host = &place.host;
        let (jail, other) = (place.create("web"), place.create("other"));
        assert!(!host.signal_all(jail.jid, 15).unwrap());
        let pids: Vec<i32> = (0..2).map(|_| jail.start(sleep_for_ever)).collect();
        let stranger = other.start(sleep_for_ever);
        assert!(host.signal_all(jail.jid, 15).unwrap());
        pids.into_iter().for_each(|pid| dies(pid, Signal::SIGTERM));
        assert!(host.identity(stranger).unwrap().is_some());
        assert!(!host.signal_all(Jid(999), 15).unwrap());
        // This process forks on the host again.
        let on_host = unix::fork(&mut || 0).unwrap();
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(std::fs::read_link("/proc/self/ns/pid_for_children").unwrap(), space);
        succeeds(on_host);
    });
}

#[test]
fn file_systems_are_mounted_inside() {
    isolated(|place| {
        let jail = place.create("web");
        let data = place.top.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("file"), "data").unwrap();
        let flags = MountFlags { read_only: true, ..MountFlags::default() };
        let options = vec![("size".to_owned(), Some("1m".to_owned())), ("mode".to_owned(), Some("1777".to_owned()))];
        let requests = [
            ("nullfs", "/mnt/data", MountRequest { source: Some(data), flags, ..request() }),
            ("tmpfs", "/mnt/tmp", MountRequest { options, ..request() }),
            ("tmpfs", "/etc", MountRequest { copy_up: true, flags, ..request() }),
            ("procfs", "/proc", request()),
            ("devfs", "/dev", request()),
            ("fdescfs", "/dev/fd", request()),
            ("tmpfs", "/dev/shm", request()),
            ("mqueue", "/dev/mqueue", request()),
            ("linsysfs", "/sys", request()),
            ("cgroup", "/sys/fs/cgroup", request()),
            ("fdescfs", "/mnt/fd", request()),
        ];
        for (fstype, destination, request) in requests {
            jail.mount(fstype, destination, request).unwrap();
        }
        assert_eq!(names(place.root.join("dev").to_str().unwrap()), "", "mounts show on the host");
        jail.run(|| {
            assert_eq!(std::fs::read_to_string("/mnt/data/file").unwrap(), "data");
            let error = std::fs::write("/mnt/data/file", "").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EROFS as i32));
            std::fs::write("/mnt/tmp/x", "x").unwrap();
            assert_eq!(std::fs::read_to_string("/etc/passwd").unwrap(), "inside");
            assert!(std::fs::write("/etc/passwd", "").is_err());
            let this = std::fs::read_link("/proc/self").unwrap();
            assert_eq!(this.to_str().unwrap(), nix::unistd::getpid().to_string());
            std::fs::write("/dev/null", "x").unwrap();
            let nodes = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
            assert_eq!(names("/dev"), nodes);
            let mut byte = [1];
            std::fs::File::open("/dev/zero").unwrap().read_exact(&mut byte).unwrap();
            assert_eq!(byte, [0]);
            let null = std::fs::File::open("/dev/null").unwrap();
            let number = null.as_raw_fd();
            assert_eq!(std::fs::read_link(format!("/dev/fd/{number}")).unwrap(), Path::new("/dev/null"));
            std::fs::File::open(format!("/mnt/fd/{number}")).unwrap();
            assert!(Path::new("/sys/class/net/lo").exists());
            assert!(std::fs::write("/sys/kernel/uevent_helper", "x").is_err());
        });
    });
}

#[test]
fn mounts_are_refused_with_the_kernels_words() {
    isolated(|place| {
        let jail = place.create("web");
        let error = jail.mount("zfs2", "/mnt", request()).unwrap_err();
        assert_eq!(error.errno, Errno::ENODEV);
        assert!(error.operation.ends_with("root/mnt (zfs2)"), "{error}");
        let options = vec![("nonsense".to_owned(), None)];
        let error = jail.mount("tmpfs", "/mnt", MountRequest { options, ..request() }).unwrap_err();
        assert!(error.message.contains("Unknown parameter 'nonsense'"), "{error}");
        let source = Some(PathBuf::from("/nonexistent"));
        let error = jail.mount("nullfs", "/mnt", MountRequest { source, ..request() }).unwrap_err();
        assert_eq!(error.errno, Errno::ENOENT);
        let outside = place.top.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, place.root.join("link")).unwrap();
        let tmpfs = MountRequest { fstype: "tmpfs".to_owned(), ..request() };
        let error = place.host.mount(Some(jail.jid), &place.root, Path::new("link"), &tmpfs).unwrap_err();
        assert_eq!(error.errno, Errno::ELOOP);
        // As after chroot: within the root.
        jail.mount("tmpfs", "/link", request()).unwrap();
        assert!(place.root.join(outside.strip_prefix("/").unwrap()).is_dir());
    });
}

#[test]
fn device_rules_add_and_hide_nodes() {
    isolated(|place| {
        let rule = |path: Option<&str>, visible| DeviceRule {
            path: path.map(str::to_owned),
            visible: Some(visible),
            ..DeviceRule::default()
        };
        let jail = place.create("web");
        let rules = vec![rule(None, false), rule(Some("null"), true), rule(Some("kms*"), true)];
        place.host.ruleset_add(1000, &rules).unwrap();
        assert!(place.host.ruleset_exists(1000).unwrap());
        jail.mount("devfs", "/dev", MountRequest { ruleset: Some(1000), ..request() }).unwrap();
        jail.mount("devfs", "/mnt", MountRequest { rules: rules[..2].to_vec(), ..request() }).unwrap();
        place.host.ruleset_remove(1000).unwrap();
        assert!(!place.host.ruleset_exists(1000).unwrap());
        jail.run(|| {
            assert_eq!(names("/dev"), "kmsg null tty");
            assert_eq!(names("/mnt"), "null tty");
        });
    });
}

#[test]
fn the_host_gets_a_mount_and_loses_it() {
    isolated(|place| {
        let host = &place.host;
        let alias = place.top.path().join("alias");
        std::fs::create_dir(&alias).unwrap();
        let flags = MountFlags { read_only: true, ..MountFlags::default() };
        let wanted = MountRequest { fstype: "nullfs".into(), source: Some(place.root.clone()), flags, ..request() };
        assert_eq!(host.mount_id(&alias).unwrap(), None);
        host.mount(None, &alias, Path::new(""), &wanted).unwrap();
        let first = host.mount_id(&alias).unwrap();
        assert!(first.is_some() && std::fs::write(alias.join("x"), "").is_err());
        host.unmount(&alias, first.as_ref()).unwrap();
        assert_eq!(host.mount_id(&alias).unwrap(), first, "what was there before is gone");
        host.unmount(&alias, None).unwrap();
        host.unmount(&alias, None).unwrap();
        assert_eq!(host.mount_id(&alias).unwrap(), None);
        assert_eq!(host.mount_id(&place.top.path().join("nothing")).unwrap(), None);
    });
}

#[test]
fn a_terminal_belongs_to_the_jail() {
    isolated(|place| {
        let jail = place.create("web");
        let without = place.host.open_pty(jail.jid, &place.root).unwrap();
        assert!(Path::new(&without.name).exists(), "the host's");
        jail.mount("devfs", "/dev", request()).unwrap();
        let pty = place.host.open_pty(jail.jid, &place.root).unwrap();
        assert_eq!(pty.name, "/dev/pts/0");
        jail.run(|| assert!(Path::new("/dev/pts/0").exists()));
        // Also when the namespace has its new root.
        assert_eq!(place.host.open_pty(jail.jid, &place.root).unwrap().name, "/dev/pts/1");
        let mut master = std::fs::File::from(pty.master);
        std::fs::File::from(pty.slave).write_all(b"hello\n").unwrap();
        let mut buffer = [0; 16];
        let length = master.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello\r\n");
    });
}

#[test]
fn a_network_of_its_own_is_empty_or_reached_by_its_addresses() {
    isolated(|place| {
        let empty = place.create_with("empty", &[("ip4", DISABLE), ("ip6", DISABLE)]);
        empty.mount("sysfs", "/mnt", request()).unwrap();
        empty.run(|| assert_eq!(names("/mnt/class/net"), "lo"));

        let (ip4, ip6) = (Ipv4Addr::new(198, 51, 100, 7), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
        let addressed = [
            ("ip4", NEW),
            ("ip6", NEW),
            ("ip4.addr", ParamValue::Ip4(vec![ip4])),
            ("ip6.addr", ParamValue::Ip6(vec![ip6])),
        ];
        let jail = place.create_with("addressed", &addressed);
        for address in [IpAddr::V4(ip4), IpAddr::V6(ip6)] {
            let server = jail.start(move || {
                let listener = TcpListener::bind((address, 80)).unwrap();
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"hello").unwrap();
                0
            });
            let mut reply = String::new();
            wait_for("the jail's server answers", || {
                TcpStream::connect((address, 80)).is_ok_and(|mut stream| stream.read_to_string(&mut reply).is_ok())
            });
            assert_eq!(reply, "hello");
            succeeds(server);
        }
        let clash = place.refusal(&addressed);
        assert_eq!(clash, (Errno::EADDRINUSE, "IPv4 addresses clash".into()));
        let veth = format!("runj{}", jail.keeper().file_name().unwrap().to_str().unwrap());
        assert!(names("/sys/class/net").contains(&veth));
        drop(jail);
        assert!(!names("/sys/class/net").contains(&veth));
    });
}

/// A pair of interfaces of the host that is deleted in the end.
struct Pair;

impl Pair {
    fn new() -> Self {
        ip(&["link", "add", "runjtest0", "type", "veth", "peer", "name", "runjtest1"]);
        Self
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        ip(&["link", "delete", "runjtest1"]);
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success());
}

#[test]
fn an_interface_goes_in_and_comes_back_under_its_name() {
    isolated(|place| {
        let pair = Pair::new();
        let host = &place.host;
        let mut params = place.params("vnet");
        params.0.retain(|(name, _)| !name.starts_with("ip"));
        params.set("vnet", NEW);
        let jail = Jail { place, jid: host.jail_create(&params).unwrap() };
        let moved = host.interface("runjtest0").unwrap();
        assert_eq!(moved.link_address.len(), 6);
        host.interface_return(jail.jid, &moved).unwrap();
        host.interface_move(jail.jid, &moved).unwrap();
        assert_eq!(host.interface("runjtest0").unwrap_err().errno, Errno::ENODEV);
        // Renamed inside, by someone with the host's programs in the jail's network.
        let network = format!("--net={}", jail.keeper().join("ns/net").display());
        let rename = ["link", "set", "runjtest0", "name", "inside0"];
        assert!(Command::new("nsenter").arg(network).arg("ip").args(rename).status().unwrap().success());
        host.interface_return(jail.jid, &moved).unwrap();
        assert_eq!(host.interface("runjtest0").unwrap(), moved);
        let nothing = MovedInterface { name: "nothing".into(), link_address: vec![2, 0, 0, 0, 0, 9] };
        assert_eq!(host.interface_return(jail.jid, &nothing).unwrap_err().errno, Errno::ENODEV);
        let address = IpAddr::from([198, 51, 100, 9]);
        let alias = InterfaceAlias { interface: "runjtest0".into(), address, prefix: 32 };
        assert!(!host.alias_exists(&alias).unwrap());
        host.alias_add(&alias).unwrap();
        assert!(host.alias_exists(&alias).unwrap());
        host.alias_add(&alias).unwrap();
        host.alias_remove(&alias).unwrap();
        host.alias_remove(&alias).unwrap();
        assert!(!host.alias_exists(&alias).unwrap());
        drop(pair);
        host.alias_remove(&alias).unwrap();
    });
}

#[test]
fn namespaces_of_an_engine_and_of_a_parent_are_joined() {
    isolated(|place| {
        let first = place.create_with("pod", &[("ip4", DISABLE), ("ip6", DISABLE)]);
        let path = first.keeper().join("ns/net");
        let second = place.create_with("second", &[("linux.netns", text(path.to_str().unwrap()))]);
        let below = place.create("pod.child");
        let network = std::fs::read_link(&path).unwrap();
        for jail in [&second, &below] {
            jail.mount("procfs", "/proc", request()).unwrap();
            jail.run(|| assert_eq!(std::fs::read_link("/proc/self/ns/net").unwrap(), network));
        }
        // With the parent go its children.
        place.host.jail_remove(first.jid).unwrap();
        assert_eq!(place.host.jail_find("pod.child").unwrap(), None);
    });
}

#[test]
fn limits_are_a_cgroup() {
    isolated(|place| {
        let host = &place.host;
        if !host.accounts().unwrap() {
            println!("skipped: no writable cgroup");
            return;
        }
        let limits = Limits {
            cgroup: Some("/runj-linux-host/test".into()),
            memory: Some(64 << 20),
            pids: Some(5),
            cpu: Some((50_000, 100_000)),
            ..Limits::default()
        };
        let made = host.limits_missing(&limits).unwrap();
        assert!(made.iter().any(|directory| directory.ends_with("runj-linux-host")), "{made:?}");
        host.limits_add("web", &limits).unwrap();
        host.limits_add("web", &limits).unwrap();
        assert!(host.limits_missing(&limits).unwrap().is_empty());
        let sibling = Limits { cgroup: Some("/runj-linux-host/sibling".into()), pids: Some(1), ..Limits::default() };
        host.limits_add("other", &sibling).unwrap();
        let mut child = || {
            host.limits_join(&limits).unwrap();
            // The limit counts this process too.
            let forks = (0..8).take_while(|_| unix::fork(&mut sleep_for_ever).is_ok()).count();
            i32::from(forks != 4)
        };
        let jail = place.create("web");
        succeeds(host.fork(Some(jail.jid), &mut child).unwrap());
        drop(jail);
        let stand = || made.iter().filter(|directory| directory.exists()).count();
        host.limits_remove("web", &limits, &made).unwrap();
        assert_eq!(stand(), made.len() / 2, "a parent that another uses stays: {made:?}");
        host.limits_remove("other", &sibling, &made).unwrap();
        host.limits_remove("web", &limits, &made).unwrap();
        assert_eq!(stand(), 0, "{made:?}");
    });
}

#[test]
fn a_process_limits_itself() {
    isolated(|place| {
        let jail = place.create("web");
        jail.mount("procfs", "/proc", request()).unwrap();
        jail.run(|| {
            let limit = Rlimit { name: "RLIMIT_NOFILE".into(), soft: 64, hard: 128 };
            place.host.set_rlimit(&limit).unwrap();
            let unknown = Rlimit { name: "RLIMIT_SWAP".into(), soft: 1, hard: 1 };
            assert_eq!(place.host.set_rlimit(&unknown).unwrap_err().errno, Errno::EINVAL);
            place.host.set_no_new_privileges().unwrap();
            place.host.become_user(&Credentials { uid: 1000, gid: 1001, groups: vec![7, 1001] }).unwrap();
            let wanted = [
                "Uid:\t1000\t1000\t1000\t1000\n",
                "Gid:\t1001\t1001\t1001\t1001\n",
                "Groups:\t7 1001 \n",
                "NoNewPrivs:\t1\n",
                "CapEff:\t0000000000000000\n",
            ];
            for line in wanted {
                assert!(status().contains(line), "{line}{}", status());
            }
            place.host.forbid_tracing().unwrap();
        });
    });
}

#[test]
fn a_creator_that_dies_leaves_no_keeper() {
    isolated(|place| {
        // Killed at every moment of a creation, from the first to the last.
        for delay in 0..40 {
            let mut create = || i32::from(place.host.jail_create(&place.params("web")).is_err());
            let creator = unix::fork(&mut create).unwrap();
            std::thread::sleep(Duration::from_micros(75 * delay));
            let _ = nix::sys::signal::kill(Pid::from_raw(creator), Signal::SIGKILL);
            waitpid(Pid::from_raw(creator), None).unwrap();
            if let Some(jail) = place.host.jail_find("web").unwrap() {
                place.host.jail_remove(jail.jid).unwrap();
            }
            drop(place.create("web"));
        }
        for entry in place.registered() {
            // A jid that was taken and not yet named: an empty directory.
            std::fs::remove_dir(entry).unwrap();
        }
    });
}

//! What only a FreeBSD kernel has or does. Each sequence of calls that `docs/freebsd.md` asks for has a test here (or in
//! `jail_api`) that fails when it is not followed, with the trap that it avoids beside it where that can be shown.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;

use integ::ffi;
use integ::host::{Place, dies, host, names, nullfs, request, sleep_for_ever, succeeds};
use integ::net::{self, Network};
use integ::prelude::*;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};
use runj::sys::mount::{MountFlags, MountRequest, TargetKind};
use runj::sys::{Jails, Mounts, Processes, unix};

/// The output of a program of the system's.
#[track_caller]
fn tool(line: &str) -> String {
    let mut words = line.split(' ');
    Program::new(words.next().unwrap()).args(words).ok()
}

/// The parameters of a container's jail, as jail_get(2) tells them.
#[track_caller]
fn parameters(container: &Container<'_>, names: &str) -> BTreeSet<String> {
    let line = tool(&format!("jls -n -j {} {names}", container.id()));
    line.split_whitespace().map(str::to_owned).collect()
}

/// The jails, dying ones too, with this in their name.
fn jails(name: &str) -> Vec<String> {
    // A process that nobody reaps keeps its jail.
    ffi::reap_all();
    tool("jls -d name").lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
}

const PARAMETERS: &str = "host ip4 ip6 vnet sysvmsg sysvsem sysvshm enforce_statfs children.max persist \
    allow.set_hostname allow.raw_sockets allow.chflags allow.mlock allow.quotas allow.socket_af allow.reserved_ports \
    allow.mount allow.mount.tmpfs allow.mount.nullfs";

fn set(words: &str) -> BTreeSet<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// What a bundle does not ask for it does not get, though the kernel's own defaults are others.
#[test]
fn a_jail_has_what_the_spec_says_by_default() {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]).edit(|config| drop(config["freebsd"].take()));
        let container = case.container(&bundle);
        container.create().ok();
        // sys/jail.h: 0 is disable, 1 new, 2 inherit.
        let expected = "host=2 ip4=0 ip6=0 vnet=2 sysvmsg=1 sysvsem=1 sysvshm=1 enforce_statfs=2 children.max=0 \
            persist=1 allow.set_hostname=0 allow.raw_sockets=0 allow.chflags=0 allow.mlock=0 allow.quotas=0 \
            allow.socket_af=0 allow.reserved_ports=1 allow.mount=0 allow.mount.tmpfs=0 allow.mount.nullfs=0";
        assert_eq!(parameters(&container, PARAMETERS), set(expected));
        container.delete_force().ok();
    });
}

#[test]
fn every_parameter_is_what_was_asked_for() {
    case(needs!(Runj, FreeBsd), |case| {
        let jail = json!({"host": "new", "ip4": "new", "ip4Addr": ["127.0.0.2"], "ip6": "inherit",
            "sysvmsg": "disable", "sysvsem": "inherit", "sysvshm": "new", "enforceStatfs": 1,
            "allow": {"setHostname": true, "rawSockets": true, "chflags": true, "mlock": true, "quotas": true,
                "socketAf": true, "reservedPorts": false, "mount": ["tmpfs"]}});
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/freebsd/jail", jail);
        let bundle = bundle.set("/hostname", json!("inside")).set("/domainname", json!("example"));
        let container = case.container(&bundle);
        container.create().ok();
        let expected = "host=1 ip6=2 vnet=2 sysvmsg=0 sysvsem=2 sysvshm=1 enforce_statfs=1 children.max=0 persist=1 \
            allow.set_hostname=1 allow.raw_sockets=1 allow.chflags=1 allow.mlock=1 allow.quotas=1 allow.socket_af=1 \
            allow.reserved_ports=0 allow.mount=1 allow.mount.tmpfs=1 allow.mount.nullfs=0";
        // The kernel tells of ip4 that it is disabled where it has addresses.
        assert_eq!(parameters(&container, &PARAMETERS.replace("ip4 ", "")), set(expected));
        let root = bundle.root().canonicalize().unwrap();
        let expected =
            format!("ip4.addr=127.0.0.2 host.hostname=inside host.domainname=example path={}", root.display());
        assert_eq!(parameters(&container, "ip4.addr host.hostname host.domainname path"), set(&expected));
        container.delete_force().ok();
    });
}

#[test]
fn a_vnet_is_new() {
    case(needs!(Runj, FreeBsd, Vnet), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/freebsd/jail", json!({"vnet": "new"}));
        let container = case.container(&bundle);
        container.create().ok();
        assert_eq!(parameters(&container, "vnet"), set("vnet=1"));
        container.delete_force().ok();
    });
}

/// The login name and the terminal are the session's: without one of its own, a container had the caller's.
#[test]
fn the_entrypoint_leads_a_session() {
    case(needs!(Runj, FreeBsd), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        container.create().ok();
        let pid = Pid::from_raw(container.pid());
        assert_eq!(getsid(Some(pid)), Ok(pid));
        container.delete_force().ok();
    });
}

/// Between jail_attach(2) and execve(2) root of the jail could trace the process, which is still runj.
#[test]
fn the_entrypoint_cannot_be_traced_from_inside() {
    host(needs!(Runj, FreeBsd), |place| {
        let container = place.case.container(&place.case.bundle("minimal").args(&["sleep"]));
        container.create().ok();
        let view = place.host.jail_find(container.id()).unwrap().unwrap();
        let target = container.pid();
        let trace = || {
            let mut child = || {
                unix::close_descriptors_except(&[0, 1, 2].into());
                place.host.jail_attach(view.jid, &view.path).unwrap();
                ffi::ptrace::trace(target).map_or_else(|error| error.raw_os_error().unwrap(), |()| 0)
            };
            let pid = unix::fork(&mut child).unwrap();
            match nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap() {
                nix::sys::wait::WaitStatus::Exited(_, code) => code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(trace(), Errno::EPERM as i32);
        container.start().ok();
        // The program can be: the refusal above was not for another reason.
        until("the program can be traced", || (trace() == 0).then_some(()));
        container.delete_force().ok();
    });
}

/// A directory that is open is a way out of the jail before FreeBSD 13.0, and refused since.
#[test]
fn no_open_directory_comes_along() {
    case(needs!(Runj, FreeBsd), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]));
        let directory = fs::File::open(case.dir()).unwrap();
        container.creator(&[]).fd(9, directory).ok();
        let list = tool(&format!("procstat -f {}", container.pid()));
        let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        // PID COMM FD T V: a number, and the type of a directory
        let open: Vec<_> = rows.iter().filter(|row| row[2].parse::<u32>().is_ok() && row[4] == "d").collect();
        assert!(open.is_empty(), "{list}");
        let of = |name: &str| rows.iter().find(|row| row[2] == name).map(|row| *row.last().unwrap());
        assert_eq!(of("cwd"), of("root"), "{list}");
        assert_eq!(of("jail"), of("root"), "{list}");
        container.delete_force().ok();
    });
}

/// A terminal that is opened inside keeps the jail dying for as long as its master is open.
#[test]
fn a_terminal_does_not_keep_its_jail() {
    case(needs!(Runj, FreeBsd), |case| {
        let container = case.container(&case.bundle("minimal").args(&["sleep"]).set("/process/terminal", json!(true)));
        let console = case.console();
        let mut create = container.creator(&["--console-socket", console.path().to_str().unwrap()]).spawn();
        let terminal = console.accept();
        assert!(create.wait().success());
        container.start().ok();
        container.delete_force().ok();
        until("the jail is gone", || jails(container.id()).is_empty().then_some(()));
        drop(terminal);
    });
}

/// nmount(2) follows links, and the root of a container is hostile.
#[test]
fn a_mount_follows_no_link_of_the_root() {
    case(needs!(Runj, FreeBsd), |case| {
        let outside = case.path("outside");
        fs::create_dir(&outside).unwrap();
        let mounted = || tool("mount -p").lines().any(|line| line.split_whitespace().nth(1) == outside.to_str());
        let bundle = case.bundle("minimal").args(&["sleep"]).mount("/link", "tmpfs", "tmpfs", &[]);
        symlink(&outside, bundle.in_root("link")).unwrap();
        let container = case.container(&bundle);
        container.create().ok();
        assert!(!mounted());
        container.delete_force().ok();
        // The kernel does.
        tool(&format!("mount -t tmpfs tmpfs {}", bundle.in_root("link").display()));
        let followed = mounted();
        tool(&format!("umount {}", outside.display()));
        assert!(followed);
    });
}

#[test]
fn where_a_file_is_mounted_depends_on_the_release() {
    host(needs!(Runj, FreeBsd), |place| {
        let jail = place.create("web", &[]);
        let file = place.case.path("file");
        fs::write(&file, "x").unwrap();
        let directory = place.host.facts().unwrap().file_target() == TargetKind::Directory;
        match jail.mount("/etc/inside", &nullfs(&file, MountFlags::default())) {
            Ok(()) => assert!(!directory),
            Err(error) => assert!(directory && error.message.contains("since FreeBSD 13.2"), "{error}"),
        }
    });
}

#[test]
fn a_file_system_that_the_kernel_lacks_names_its_module() {
    host(needs!(Runj, FreeBsd), |place| {
        let error = place.create("web", &[]).mount("/mnt", &request("nosuchfs")).unwrap_err();
        assert!(error.message.contains("kldload nosuchfs"), "{error}");
    });
}

/// A number that devfs(8) never loaded.
const NEVER_LOADED: u16 = 48_000;

/// What a mount with such a ruleset shows is everything, so runj refuses it.
#[test]
fn a_ruleset_that_was_never_loaded_is_refused() {
    host(needs!(Runj, FreeBsd), |place| {
        let jail = place.create("web", &[]);
        jail.mounted("/dev", &MountRequest { ruleset: Some(NEVER_LOADED), ..request("devfs") });
        let shown = set(&names(place.root.join("dev")));
        assert!(["mem", "kmem", "io"].iter().all(|name| shown.contains(*name)), "{shown:?}");
        drop(jail);
        let option = format!("ruleset={NEVER_LOADED}");
        let mount = json!([{"destination": "/dev", "type": "devfs", "source": "devfs", "options": [option]}]);
        let container = place.case.container(&place.case.bundle("minimal").set("/mounts", mount));
        container.create().fails_with(1, &format!("devfs ruleset {NEVER_LOADED} does not exist"));
    });
}

/// Rules that are applied to a mount once do not cover what appears later; those of its ruleset do.
#[test]
fn a_device_that_appears_later_is_hidden() {
    case(needs!(Runj, FreeBsd), |case| {
        let container = case.running(&["sleep"]);
        let unit = tool("mdconfig -a -t malloc -s 1m").trim().to_owned();
        let seen = container.exec(&["absent", &format!("/dev/{unit}")]);
        tool(&format!("mdconfig -d -u {unit}"));
        seen.ok();
        container.delete_force().ok();
    });
}

/// A mount that the host keeps busy is taken away all the same.
#[test]
fn a_busy_mount_is_forced() {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").mount("/tmp", "tmpfs", "tmpfs", &[]).args(&["sleep"]);
        let container = case.container(&bundle);
        container.create().ok();
        let mut file = fs::File::create(bundle.in_root("tmp/busy")).unwrap();
        container.delete_force().ok();
        assert!(!tool("mount -p").contains(bundle.root().to_str().unwrap()));
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EIO));
    });
}

/// The kernel refuses a directory that another is about to mount on; runj waits for its turn.
#[test]
fn one_directory_is_mounted_on_by_many_at_once() {
    const CHILDREN: usize = 6;
    const ROUNDS: usize = 150;
    host(needs!(Runj, FreeBsd), |place| {
        let target = Path::new("dev");
        let before = tool("mount -p");
        let rounds = || {
            for _ in 0..ROUNDS {
                place.host.mount(None, &place.root, target, &request("devfs")).unwrap();
            }
            0
        };
        let children: Vec<_> = (0..CHILDREN).map(|_| unix::fork(&mut { rounds }).unwrap()).collect();
        children.into_iter().for_each(succeeds);
        let on = place.root.join(target);
        assert_eq!(tool("mount -p").matches(on.to_str().unwrap()).count(), CHILDREN * ROUNDS);
        place.host.unmount(&on, None).unwrap();
        assert_eq!(tool("mount -p"), before);
    });
}

/// What a jail mounted outlives its processes and keeps it dying.
#[test]
fn what_a_jail_mounted_is_unmounted() {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").set("/freebsd/jail/allow/mount", json!(["tmpfs"]));
        let bundle = bundle.set("/freebsd/jail/enforceStatfs", json!(1)).mount("/data", "tmpfs", "tmpfs", &[]);
        let one = ["mount", "allowed", "tmpfs"];
        let check = [&one[..], &["/tmp", "--and"], &one, &["/tmp", "--and"], &one, &["/data", "--and", "sleep"]];
        // Another container on the same root, whose mounts are not the jail's.
        let neighbour = case.bundle("minimal").args(&["sleep"]).mount("/etc", "tmpfs", "tmpfs", &[]);
        let neighbour = neighbour.set("/root/path", json!(bundle.root()));
        let neighbour = case.container(&neighbour);
        neighbour.create().ok();
        let container = case.container(&bundle.args(&check.concat()));
        container.create().ok();
        container.start().ok();
        let mounted = |on: &str| tool("mount -p").matches(&format!("/root/{on}")).count();
        until("its mounts", || (mounted("tmp") == 2 && mounted("data") == 2).then_some(()));
        container.delete_force().ok();
        assert_eq!([mounted("tmp"), mounted("data"), mounted("etc")], [0, 0, 1], "{}", tool("mount -p"));
        assert_eq!(jails(container.id()), Vec::<String>::new());
        neighbour.delete_force().ok();
    });
}

/// Puts a sysctl back when dropped.
struct Sysctl(&'static str, String);

impl Sysctl {
    fn set(name: &'static str, value: u32) -> Self {
        let before = tool(&format!("sysctl -n {name}")).trim().to_owned();
        tool(&format!("sysctl {name}={value}"));
        Self(name, before)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        tool(&format!("sysctl {}={}", self.0, self.1));
    }
}

/// A connection in TIME_WAIT keeps the jail dying, and with it what was lent to it; it is taken back before.
#[test]
fn a_lingering_connection_does_not_keep_the_interface() {
    case(needs!(Runj, FreeBsd, Vnet), |case| {
        // A few seconds instead of a minute.
        let _msl = Sysctl::set("net.inet.tcp.msl", 3000);
        let mut network = Network::new(case).with_bridge();
        let pair = network.pair();
        let address = net::inner(1);
        let check = ["if-up", &pair, &format!("{address}/24"), "--and", "tcp-serve", &format!("{address}:80"), "said"];
        let jail = json!({"vnet": "new", "vnetInterfaces": [pair]});
        let container = case.container(&case.bundle("minimal").args(&check).set("/freebsd/jail", jail));
        container.create().ok();
        container.start().ok();
        container.until_stdout("ready");
        let mut text = String::new();
        let mut peer = until("a connection", || TcpStream::connect((address.as_str(), 80)).ok());
        // The server closes first.
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "said");
        drop(peer);
        container.kill("KILL").ok();
        container.wait();
        container.delete().ok();
        let back = network.exists(&pair);
        assert_eq!(jails(container.id()).len(), 1, "the connection keeps the jail");
        assert!(back, "the interface was kept");
        until("the jail's end", || jails(container.id()).is_empty().then_some(()));
    });
}

/// Rules of rctl(8) go by the jail's name and outlive the jail.
#[test]
fn limits_are_rules_that_end_with_the_container() {
    case(needs!(Runj, FreeBsd, Limits), |case| {
        let resources = json!({"pids": {"limit": 7}, "memory": {"limit": 64 << 20},
            "cpu": {"quota": 50_000, "period": 100_000}});
        // A colon separates fields to rctl(8).
        let id = format!("{}:x", case.id());
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/linux/resources", resources);
        let container = case.container(&bundle).with_id(&id);
        container.create().ok();
        let name = id.replace(':', "%3A");
        let rules = || -> BTreeSet<String> {
            tool("rctl").lines().filter(|line| line.contains(&case.marker())).map(str::to_owned).collect()
        };
        let expected = ["maxproc:deny=7", "memoryuse:sigkill=67108864", "pcpu:deny=50"];
        assert_eq!(rules(), expected.iter().map(|rule| format!("jail:{name}:{rule}")).collect());
        container.delete_force().ok();
        assert_eq!(rules(), BTreeSet::new());
    });
}

/// The start of a process is told by the present clock and moves when that is set.
#[test]
fn an_identity_survives_a_step_of_the_clock() {
    host(needs!(Runj, FreeBsd), |place| {
        let host = &place.host;
        let pid = unix::fork(&mut sleep_for_ever).unwrap();
        let before = host.identity(pid).unwrap();
        ffi::step_clock(3).unwrap();
        let stepped = host.identity(pid).unwrap();
        ffi::step_clock(-3).unwrap();
        assert!(before.is_some());
        assert_eq!(stepped, before);
        assert_eq!(host.identity(pid).unwrap(), before);
        host.signal(&before.unwrap(), 9).unwrap();
        dies(pid, Signal::SIGKILL);
    });
}

#[test]
fn a_jail_has_the_processes_of_its_children() {
    host(needs!(Runj, FreeBsd), |place: &Place<'_>| {
        let (parent, child) = (place.create("pod", &[]), place.create("pod.child", &[]));
        let pids = [parent.start(sleep_for_ever), child.start(sleep_for_ever)];
        let members =
            |jid| -> BTreeSet<i32> { place.host.members(jid).unwrap().iter().map(|member| member.pid).collect() };
        assert_eq!(members(parent.jid), pids.into());
        assert_eq!(members(child.jid), [pids[1]].into());
        assert_eq!(place.host.signal_all(parent.jid, 15), Ok(true));
        pids.into_iter().for_each(|pid| dies(pid, Signal::SIGTERM));
    });
}

#[test]
fn a_container_that_was_removed_behind_our_back_is_stopped() {
    case(needs!(Runj, FreeBsd), |case| {
        let container = case.running(&["sleep"]);
        tool(&format!("jail -r {}", container.id()));
        container.until_status("stopped");
        container.delete().ok();
    });
}

#[test]
fn facts_are_the_kernels() {
    host(needs!(Runj, FreeBsd), |place| {
        let facts = place.host.facts().unwrap();
        assert_eq!(facts.osreldate.to_string(), tool("sysctl -n kern.osreldate").trim());
        for name in ["path", "host.hostname", "allow.mount.nullfs", "enforce_statfs"] {
            assert!(facts.jail_params.contains(name), "{name}: {:?}", facts.jail_params);
        }
        // A parameter, one that is a node too, and what is a node alone.
        let some = [
            "path",
            "host",
            "allow.mount",
            "allow.mount.nullfs",
            "children",
            "allow",
            "no",
            "a\0b",
            "",
            "host.",
            "path.",
        ];
        let some: BTreeSet<String> = some.map(str::to_owned).into();
        let known: BTreeSet<String> = some.intersection(&facts.jail_params).cloned().collect();
        assert_eq!(place.host.facts_of(Some(&some)).unwrap().jail_params, known);
        let racct = tool("sysctl -n kern.racct.enable");
        assert_eq!(place.host.accounts(), Ok(racct.trim() == "1"));
    });
}

/// `allow.suser` came with FreeBSD 13; asked of an older kernel it is an error, and not left out.
#[test]
fn the_super_user_is_a_parameter_of_newer_kernels() {
    case(needs!(Runj, FreeBsd), |case| {
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/freebsd/jail/allow/suser", json!(false));
        let container = case.container(&bundle);
        let known = Program::new("sysctl").args(["-n", "security.jail.param.allow.suser"]).run().status.success();
        if known {
            container.create().ok();
            assert_eq!(parameters(&container, "allow.suser"), set("allow.suser=0"));
            container.delete_force().ok();
        } else {
            container.create().fails_with(1, "freebsd.jail.allow.suser: this kernel does not know");
        }
    });
}

/// Parameters that the runtime spec lacks, by annotations.
#[test]
fn an_annotation_sets_a_parameter() {
    case(needs!(Runj, FreeBsd), |case| {
        let annotations = json!({
            "org.freebsd.jail.securelevel": "2",
            "org.freebsd.jail.children.max": "3",
            "org.freebsd.jail.devfs_ruleset": "4",
            "org.freebsd.jail.osrelease": "12.0-RELEASE",
            "org.freebsd.jail.osreldate": "1200086",
            "org.freebsd.jail.ip4.saddrsel": "false",
            "org.freebsd.jail.allow.mlock": "true",
            "org.freebsd.jail.allow.mount.tmpfs": "1",
            "org.freebsd.jail.sysvshm": "disable",
            "org.freebsd.jail.enforce_statfs": "1",
            "org.freebsd.jail.host.hostname": "named",
        });
        let bundle = case.bundle("minimal").args(&["sleep"]).set("/annotations", annotations);
        let container = case.container(&bundle);
        container.create().ok();
        let expected = "securelevel=2 children.max=3 devfs_ruleset=4 osrelease=12.0-RELEASE osreldate=1200086 \
            ip4.saddrsel=0 allow.mlock=1 allow.mount=1 allow.mount.tmpfs=1 sysvshm=0 enforce_statfs=1 host=1 \
            host.hostname=named";
        let names = "securelevel children.max devfs_ruleset osrelease osreldate ip4.saddrsel allow.mlock allow.mount \
            allow.mount.tmpfs sysvshm enforce_statfs host host.hostname";
        assert_eq!(parameters(&container, names), set(expected));
        container.delete_force().ok();
    });
}

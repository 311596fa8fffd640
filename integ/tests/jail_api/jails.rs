//! Jails: made, found, named, changed, entered, removed.

use std::net::Ipv4Addr;
use std::path::Path;

use integ::host::{DISABLE, NEW, dies, host, sleep_for_ever, succeeds, text};
use integ::needs;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use runj::id::Jid;
use runj::sys::jail::ParamValue;
use runj::sys::{Jails, Processes, unix};

#[test]
fn one_is_made_found_and_removed() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let jail = place.create("web", &[]);
        let view = host.jail_find(&place.name("web")).unwrap().unwrap();
        assert_eq!((view.jid, view.path), (jail.jid, place.root.clone()));
        let jid = jail.jid;
        drop(jail);
        assert_eq!(host.jail_find(&place.name("web")), Ok(None));
        host.jail_remove(jid).unwrap();
        assert!(place.create("web", &[]).jid > jid, "a jid is used again");
    });
}

#[test]
fn a_name_is_taken_once() {
    host(needs!(Runj), |place| {
        let jail = place.create("web", &[]);
        let again = place.host.jail_create(&place.params("web")).unwrap_err();
        let name = place.name("web");
        assert_eq!(again.to_string(), format!("create jail {name}: jail \"{name}\" already exists"));
        assert_eq!(again.errno, Errno::EEXIST);
        let jid = place.refusal(&[("jid", ParamValue::Int(jail.jid.0))]);
        assert_eq!(jid, (Errno::EEXIST, format!("jail {} already exists", jail.jid)));
    });
}

#[test]
fn a_name_of_digits_is_a_jid() {
    host(needs!(Runj), |place| {
        let jail = place.create("", &[("name", text("770077"))]);
        assert_eq!(jail.jid, Jid(770_077));
        assert_eq!(place.refusal(&[("name", text("770077"))]), (Errno::EEXIST, "jail 770077 already exists".into()));
        for name in ["0", "007", "+9", "99999999999"] {
            let words = "name cannot be numeric (unless it is the jid)".to_owned();
            assert_eq!(place.refusal(&[("name", text(name))]), (Errno::EINVAL, words), "{name}");
        }
        assert_eq!(place.refusal(&[("name", text("-5"))]), (Errno::EINVAL, "negative jid".into()));
        drop(place.create("12abc", &[]));
    });
}

#[test]
fn odd_characters_in_a_name_are_taken_as_they_are() {
    host(needs!(Runj), |place| {
        for name in ["a/b", "a b", "a:b", "%2F"] {
            let jail = place.create(name, &[]);
            assert_eq!(place.host.jail_find(&place.name(name)).unwrap().unwrap().jid, jail.jid, "{name}");
        }
    });
}

#[test]
fn a_dot_names_a_parent() {
    host(needs!(Runj), |place| {
        let orphan = place.refusal(&[("name", text("nobody.child"))]);
        assert_eq!(orphan, (Errno::ENOENT, "jail \"nobody\" not found".into()));
        assert_eq!(place.refusal(&[("name", text(".child"))]), (Errno::ENOENT, "jail \"\" not found".into()));
        let parent = place.create("pod", &[]);
        // The limit of children is that of the caller, which is the host.
        let child = place.create("pod.child", &[]);
        let pid = child.start(sleep_for_ever);
        place.host.jail_remove(parent.jid).unwrap();
        assert_eq!(place.host.jail_find(&place.name("pod.child")), Ok(None), "with the parent go its children");
        // Though the process is not reaped yet, and keeps both jails dying on FreeBSD.
        assert_eq!(place.host.members(parent.jid), Ok(vec![]));
        dies(pid, Signal::SIGKILL);
    });
}

#[test]
fn what_the_kernel_refuses() {
    host(needs!(Runj), |place| {
        let path = |below: &str| text(place.root.join(below).to_string_lossy());
        let errno = |name, value| place.refusal(&[(name, value)]).0;
        let words = |name, value| place.refusal(&[(name, value)]).1;
        assert_eq!(words("allow.foo", ParamValue::Flag(true)), "unknown parameter: allow.foo");
        assert_eq!(words("foo", ParamValue::Int(1)), "unknown parameter: foo");
        assert_eq!(words("persist", ParamValue::Flag(false)), "new jail must persist or attach");
        assert_eq!(errno("path", path("gone")), Errno::ENOENT);
        assert_eq!(errno("path", path("etc/inside")), Errno::ENOTDIR);
        assert_eq!(errno("path", text("")), Errno::ENOENT);
        assert_eq!(errno("host", DISABLE), Errno::EINVAL);
        assert_eq!(errno("vnet", DISABLE), Errno::EINVAL);
        assert_eq!(errno("enforce_statfs", ParamValue::Int(3)), Errno::EINVAL);
        assert_eq!(errno("devfs_ruleset", ParamValue::Int(65536)), Errno::EINVAL);
        assert_eq!(errno("enforce_statfs", text("1")), Errno::EINVAL);
        assert_eq!(errno("name", text("n".repeat(256))), Errno::ENAMETOOLONG);
        assert_eq!(errno("host.hostname", text("n".repeat(256))), Errno::ENAMETOOLONG);
        for list in [vec![Ipv4Addr::UNSPECIFIED], vec![Ipv4Addr::new(198, 51, 100, 7); 2]] {
            let addresses = [("ip4", NEW), ("ip6", DISABLE), ("ip4.addr", ParamValue::Ip4(list))];
            assert_eq!(place.refusal(&addresses).0, Errno::EINVAL);
        }
    });
}

#[test]
fn a_vnet_has_no_addresses() {
    host(needs!(Runj, Vnet), |place| {
        let both = place.refusal(&[("vnet", NEW)]);
        assert_eq!(both, (Errno::EINVAL, "vnet jails cannot have IP address restrictions".into()));
    });
}

#[test]
fn addresses_of_two_jails_clash() {
    host(needs!(Runj, Vnet), |place| {
        let list = |last: [u8; 2]| last.map(|last| Ipv4Addr::new(198, 51, 100, last)).to_vec();
        let with = |last| [("ip4", NEW), ("ip6", DISABLE), ("ip4.addr", ParamValue::Ip4(list(last)))];
        let first = place.create("first", &with([7, 8]));
        assert_eq!(place.refusal(&with([8, 9])), (Errno::EADDRINUSE, "IPv4 addresses clash".into()));
        drop(first);
        drop(place.create("second", &with([8, 9])));
    });
}

/// The kernel tests the name of a boolean alone, so off is another name, which it has to know.
#[test]
fn every_permission_can_be_denied() {
    host(needs!(Runj), |place| {
        let facts = place.host.facts().unwrap();
        // A node of permissions, not one of them.
        let is_flag = |name: &&String| name.starts_with("allow.") && !name.ends_with('.');
        let denied: Vec<(&str, ParamValue)> =
            facts.jail_params.iter().filter(is_flag).map(|name| (name.as_str(), ParamValue::Flag(false))).collect();
        assert!(denied.len() > 8, "{denied:?}");
        drop(place.create("web", &denied));
    });
}

/// Attaching leaves the working directory where it is before FreeBSD 13.0, which would be a way out.
#[test]
fn a_process_has_no_way_out() {
    host(needs!(Runj), |place| {
        let secret = place.case.path("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::env::set_current_dir(place.case.dir()).unwrap();
        let jail = place.create("web", &[]);
        jail.run(|| {
            assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
            assert_eq!(integ::host::names("."), "data dev etc integ-inside mnt proc tmp");
            assert_eq!(std::fs::read_to_string("etc/inside").unwrap(), "inside");
            for path in ["secret", "../secret", "../../../../secret", secret.to_str().unwrap()] {
                assert!(std::fs::metadata(path).is_err(), "{path}");
            }
        });
    });
}

/// A directory that is open is a way out. FreeBSD 13 and newer refuse it; for older ones runj closes all.
#[test]
fn an_open_directory_does_not_enter() {
    host(needs!(Runj), |place| {
        let facts = place.host.facts().unwrap();
        let jail = place.create("web", &[]);
        let lets_it_in = (1..1_300_000).contains(&facts.osreldate);
        match jail.attach_with_directory() {
            Ok(()) => assert!(lets_it_in, "it entered"),
            Err(error) => assert_eq!(error.errno, Errno::EPERM),
        }
    });
}

#[test]
fn nobody_enters_what_is_gone() {
    host(needs!(Runj), |place| {
        let jid = place.create("web", &[]).jid;
        let host = &place.host;
        let mut child = || {
            unix::close_descriptors_except(&[0, 1, 2].into());
            let entered = host.jail_enter(jid).and_then(|()| host.jail_attach(jid, &place.root));
            assert_eq!(entered.unwrap_err().errno, Errno::EINVAL);
            0
        };
        succeeds(unix::fork(&mut child).unwrap());
    });
}

/// An unreaped process keeps a jail dying; nobody is bothered by that.
#[test]
fn a_dying_jail_is_gone() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        let jail = place.create("web", &[]);
        let pid = jail.start(sleep_for_ever);
        host.jail_remove(jail.jid).unwrap();
        assert_eq!(host.jail_find(&place.name("web")), Ok(None));
        assert_eq!(host.members(jail.jid), Ok(vec![]));
        assert_eq!(host.signal_all(jail.jid, 15), Ok(false));
        let next = place.create("web", &[]);
        assert!(next.jid > jail.jid);
        assert_eq!(host.jail_find(&place.name("web")).unwrap().unwrap().jid, next.jid);
        host.jail_remove(jail.jid).unwrap();
        assert!(host.jail_find(&place.name("web")).unwrap().is_some(), "the new one is not meant");
        dies(pid, Signal::SIGKILL);
    });
}

/// One jail_remove(2) does not kill what is being forked at that moment (before FreeBSD 13.0).
#[test]
fn a_storm_of_forks_does_not_survive() {
    host(needs!(Runj), |place| {
        let host = &place.host;
        for _ in 0..8 {
            let jail = place.create("storm", &[]);
            let storm = || {
                // What survives goes on living; without a kill there is an end to it.
                (0..300).for_each(|_| drop(unix::fork(&mut sleep_for_ever)));
                sleep_for_ever()
            };
            let parents: Vec<i32> = (0..4).map(|_| jail.start(storm)).collect();
            integ::until("the storm", || (host.members(jail.jid).unwrap().len() > 12).then_some(()));
            host.jail_remove(jail.jid).unwrap();
            assert_eq!(host.jail_find(&place.name("storm")), Ok(None));
            let alive: Vec<i32> =
                parents.iter().copied().filter(|pid| host.identity(*pid).unwrap().is_some()).collect();
            assert!(alive.is_empty(), "{alive:?} live");
            parents.into_iter().for_each(|pid| dies(pid, Signal::SIGKILL));
            assert_eq!(host.members(jail.jid), Ok(vec![]));
        }
    });
}

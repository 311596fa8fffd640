//! devfs emulated: a tmpfs with the nodes that the rules leave visible, and the store of rulesets.
//!
//! With no rule at all it holds what FreeBSD's ruleset 4 shows in a jail; a rule can add any node of the host.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::filesystem::{self, Refused};
use super::{ffi, registry};
use crate::sys::mount::{DeviceRule, MountFlags};

/// The nodes that every jail sees.
const BASE_NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The links that every jail sees; `ptmx` needs `pts`.
const BASE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The sets of FreeBSD's devfs.rules(5), which the emulation has as if they had been loaded.
pub const OWN_RULESETS: std::ops::RangeInclusive<u16> = 1..=4;

/// The directory of terminals.
const PTS: &str = "pts";

/// What FreeBSD's devfs shows as a directory and the emulation as this link.
pub const FD_LINK: &str = "/proc/self/fd";

/// What a node is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Node { kind: SFlag, device: u64 },
    Link(&'static str),
    Terminals,
}

/// A node that the jail may get.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    visible: bool,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Applies rules in order: each changes what its pattern matches, the last one wins. A rule that includes a set which
/// is not in the store changes nothing: FreeBSD's own sets 1 to 4 hide all but the base, which is all there is.
fn apply(nodes: &mut BTreeMap<String, Node>, rules: &[DeviceRule]) {
    for rule in rules {
        for (name, node) in nodes.iter_mut() {
            if rule.include.is_some() || rule.path.as_deref().is_some_and(|pattern| !matches_pattern(pattern, name)) {
                continue;
            }
            node.visible = rule.visible.unwrap_or(node.visible);
            node.mode = rule.mode.map_or(node.mode, u32::from);
            node.uid = rule.uid.unwrap_or(node.uid);
            node.gid = rule.gid.unwrap_or(node.gid);
        }
    }
}

/// fnmatch(3) with `FNM_PATHNAME`, without brackets' classes: `*` and `?` do not match a slash.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                matches(rest, name)
                    || name.split_first().is_some_and(|(&byte, tail)| byte != b'/' && matches(pattern, tail))
            }
            (Some((b'?', rest)), Some((&byte, tail))) => byte != b'/' && matches(rest, tail),
            (Some((b'[', rest)), Some((&byte, tail))) => match rest.iter().position(|&end| end == b']') {
                Some(end) => in_set(&rest[..end], byte) && matches(&rest[end + 1..], tail),
                None => byte == b'[' && matches(rest, tail),
            },
            (Some((wanted, rest)), Some((byte, tail))) => wanted == byte && matches(rest, tail),
            _ => false,
        }
    }
    fn in_set(set: &[u8], byte: u8) -> bool {
        match set {
            [low, b'-', high, rest @ ..] => (*low..=*high).contains(&byte) || in_set(rest, byte),
            [one, rest @ ..] => *one == byte || in_set(rest, byte),
            [] => false,
        }
    }
    matches(pattern.trim_start_matches("/dev/").as_bytes(), name.as_bytes())
}

/// The nodes below a directory of the host and on its file system: what is mounted below it, `shm`, is not devfs's.
fn host_nodes(directory: &Path, device: u64, prefix: &str, depth: usize, nodes: &mut BTreeMap<String, Node>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (Ok(name), Ok(status)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
        let name = format!("{prefix}{name}");
        let file_type = status.file_type();
        if file_type.is_dir() && depth > 0 && status.dev() == device {
            host_nodes(&entry.path(), device, &format!("{name}/"), depth - 1, nodes);
        }
        let kind = if file_type.is_char_device() { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
        if file_type.is_char_device() || file_type.is_block_device() {
            let node = Node {
                kind: Kind::Node { kind, device: status.rdev() },
                visible: false,
                mode: status.mode() & 0o7777,
                uid: status.uid(),
                gid: status.gid(),
            };
            nodes.entry(name).or_insert(node);
        }
    }
}

/// The nodes of a jail before the rules.
fn base(host: &Path, rules: &[DeviceRule]) -> BTreeMap<String, Node> {
    let link = |target| Node { kind: Kind::Link(target), visible: true, mode: 0o777, uid: 0, gid: 0 };
    let mut nodes: BTreeMap<String, Node> =
        BASE_LINKS.into_iter().map(|(name, target)| (name.to_owned(), link(target))).collect();
    nodes.insert(PTS.to_owned(), Node { kind: Kind::Terminals, visible: true, mode: 0o755, uid: 0, gid: 0 });
    for name in BASE_NODES {
        if let Ok(status) = std::fs::metadata(host.join(name)) {
            let kind = Kind::Node { kind: SFlag::S_IFCHR, device: status.rdev() };
            let gid = status.gid();
            nodes.insert(name.to_owned(), Node { kind, visible: true, mode: 0o666, uid: 0, gid });
        }
    }
    if rules.iter().any(|rule| shows_more(rule, &nodes)) {
        let device = std::fs::metadata(host).map(|status| status.dev()).unwrap_or_default();
        host_nodes(host, device, "", 3, &mut nodes);
    }
    nodes
}

/// Whether a rule may show nodes of the host that are not in the base. Those below `fd` and `pts` never are.
fn shows_more(rule: &DeviceRule, base: &BTreeMap<String, Node>) -> bool {
    rule.visible == Some(true)
        && rule.path.as_deref().is_none_or(|pattern| {
            let name = pattern.trim_start_matches("/dev/");
            !base.contains_key(name) && !["fd/", "pts/"].iter().any(|below| name.starts_with(below))
        })
}

/// Makes the file system, as a detached mount; says whether a devpts belongs on its `pts`.
pub fn make(rules: &[DeviceRule], flags: &MountFlags) -> Result<(OwnedFd, bool), Refused> {
    // Nodes must work, and engines make further targets in it (`shm`, `mqueue`).
    let flags = MountFlags { no_dev: false, ..*flags };
    let options = [("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("64k".to_owned()))];
    let writable = MountFlags { read_only: false, ..flags };
    let mount = filesystem::make("tmpfs", Some(Path::new("devfs")), &options, &writable)?;
    let mut nodes = base(Path::new("/dev"), rules);
    apply(&mut nodes, rules);
    // A process's own terminal needs no rule on FreeBSD: looking up /dev/tty finds it behind them.
    if let Some(tty) = nodes.get_mut("tty") {
        tty.visible = true;
    }
    let terminals = nodes.get(PTS).is_some_and(|node| node.visible);
    for (name, node) in nodes.iter().filter(|(_, node)| node.visible) {
        if name != "ptmx" || terminals {
            make_node(&mount, name, node)?;
        }
    }
    let (set, clear) = filesystem::attributes(&flags);
    ffi::set_mount_attributes(&mount, ffi::Depth::One, set, clear)?;
    Ok((mount, terminals))
}

fn make_node(root: impl AsFd, name: &str, node: &Node) -> nix::Result<()> {
    let mut directory = root.as_fd().try_clone_to_owned().map_err(|error| registry::errno(&error))?;
    let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        match mkdirat(&directory, parent, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        directory = openat(&directory, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    }
    let mode = Mode::from_bits_truncate(node.mode);
    match node.kind {
        Kind::Link(target) => return symlinkat(target, &directory, last),
        Kind::Terminals => mkdirat(&directory, last, mode)?,
        Kind::Node { kind, device } => mknodat(&directory, last, kind, mode, device)?,
    }
    fchmodat(&directory, last, mode, FchmodatFlags::FollowSymlink)?;
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    fchownat(&directory, last, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// fdescfs on a directory that is no link: links to the descriptors of whoever follows them.
pub fn make_descriptors() -> Result<OwnedFd, Refused> {
    let options = [("mode".to_owned(), Some("0555".to_owned())), ("size".to_owned(), Some("4k".to_owned()))];
    let mount = filesystem::make("tmpfs", Some(Path::new("fdescfs")), &options, &MountFlags::default())?;
    for number in 0..256 {
        symlinkat(format!("{FD_LINK}/{number}").as_str(), &mount, number.to_string().as_str())?;
    }
    Ok(mount)
}

/// The rules of a set, each included one replaced by the rules of its set.
pub fn rules_of(store: &Path, rules: &[DeviceRule]) -> nix::Result<Vec<DeviceRule>> {
    let mut list = Vec::new();
    for rule in rules {
        let included = rule.include.map(|number| ruleset(store, number)).transpose()?.unwrap_or_default();
        list.extend(included.into_iter().filter(|rule| rule.include.is_none()));
        list.push(rule.clone());
    }
    Ok(list)
}

/// The rules of a ruleset in the store.
pub fn ruleset(store: &Path, number: u16) -> nix::Result<Vec<DeviceRule>> {
    match std::fs::read(store.join(number.to_string())) {
        Ok(text) => serde_json::from_slice(&text).map_err(|_| nix::errno::Errno::EBADMSG),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(registry::errno(&error)),
    }
}

/// Adds rules to a ruleset in the store.
pub fn ruleset_add(store: &Path, number: u16, rules: &[DeviceRule]) -> nix::Result<()> {
    let mut list = ruleset(store, number)?;
    list.extend_from_slice(rules);
    let text = serde_json::to_vec(&list).map_err(|_| nix::errno::Errno::EINVAL)?;
    fs_err::create_dir_all(store)
        .and_then(|()| fs_err::write(store.join(number.to_string()), text))
        .map_err(|error| registry::errno(&error))
}

/// Removes a ruleset from the store.
pub fn ruleset_remove(store: &Path, number: u16) -> nix::Result<()> {
    match std::fs::remove_file(store.join(number.to_string())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(registry::errno(&error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("null", "null", true)]
    #[case("tun*", "tun12", true)]
    #[case("tun?", "tun12", false)]
    #[case("dri/*", "dri/card0", true)]
    #[case("*", "dri/card0", false)]
    #[case("tty[a-c0]", "ttyb", true)]
    #[case("tty[a-c0]", "ttyd", false)]
    #[case("/dev/zero", "zero", true)]
    fn patterns(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches_pattern(pattern, name), expected);
    }

    fn rule(path: Option<&str>, visible: Option<bool>, mode: Option<u16>) -> DeviceRule {
        DeviceRule { path: path.map(str::to_owned), visible, mode, ..DeviceRule::default() }
    }

    fn visible(rules: &[DeviceRule]) -> Vec<String> {
        let mut nodes = base(Path::new("/dev"), rules);
        apply(&mut nodes, rules);
        nodes.into_iter().filter(|(_, node)| node.visible).map(|(name, _)| name).collect()
    }

    #[test]
    fn no_rules_show_the_base() {
        let expected =
            ["fd", "full", "null", "ptmx", "pts", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
        assert_eq!(visible(&[]), expected);
    }

    #[test]
    fn the_last_rule_wins() {
        let rules = [rule(None, Some(false), None), rule(Some("null"), Some(true), Some(0o600))];
        assert_eq!(visible(&rules), ["null"]);
        let mut nodes = base(Path::new("/dev"), &rules);
        apply(&mut nodes, &rules);
        assert_eq!(nodes["null"].mode, 0o600);
    }

    #[test]
    fn rulesets_are_kept_in_order() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(ruleset(store.path(), 7), Ok(vec![]));
        ruleset_add(store.path(), 7, &[rule(None, Some(false), None)]).unwrap();
        ruleset_add(store.path(), 7, &[rule(Some("null"), Some(true), None)]).unwrap();
        let rules = ruleset(store.path(), 7).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.visible).collect::<Vec<_>>(), [Some(false), Some(true)]);
        ruleset_remove(store.path(), 7).unwrap();
        ruleset_remove(store.path(), 7).unwrap();
        assert_eq!(ruleset(store.path(), 7), Ok(vec![]));
    }
}

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use rstest::rstest;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// An archive whose names are taken as they are.
#[derive(Default)]
struct Crafted(Vec<u8>);

impl Crafted {
    fn header(kind: EntryType, name: &str, mode: u32, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn put(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.put(&Self::header(EntryType::Regular, name, 0o644, content.len() as u64), content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.put(&Self::header(EntryType::Directory, name, 0o755, 0), b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name, 0o777, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.put(&header, b"")
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
        let mut data = builder.into_inner().unwrap();
        data.truncate(data.len() - 1024);
        Self([self.0, data].concat())
    }
}

/// A directory `root` beside a directory `outside` with a file in it.
fn playground() -> (TempDir, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::create_dir(top.path().join("outside")).unwrap();
    fs::write(top.path().join("outside/secret"), "secret").unwrap();
    (top, root)
}

fn untouched(top: &Path) {
    assert_eq!(fs::read_dir(top.join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(top.join("outside/secret")).unwrap(), "secret");
    assert_eq!(fs::metadata(top.join("outside/secret")).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(top).unwrap().count(), 2);
}

fn base(root: &Path, archive: Crafted) -> anyhow::Result<LeftOut> {
    let mut unpacker = Unpacker::base(root, Owners::Caller)?;
    unpacker.unpack(&archive.0[..])?;
    unpacker.finish()
}

fn layers(root: &Path, archives: impl IntoIterator<Item = Crafted>) -> anyhow::Result<LeftOut> {
    let mut unpacker = Unpacker::layers(root, Owners::Caller)?;
    for archive in archives {
        unpacker.unpack(&archive.0[..])?;
    }
    unpacker.finish()
}

fn new() -> Crafted {
    Crafted::default()
}

#[rstest]
#[case::absolute(new().file("/etc/passwd", "x"), "an absolute name")]
#[case::up(new().file("../outside/secret", "x"), "a name with `..`")]
#[case::up_later(new().file("a/../../outside/secret", "x"), "a name with `..`")]
#[case::link_then_file(new().link(EntryType::Symlink, "a", "../outside").file("a/secret", "x"), "leads through a symbolic link")]
#[case::link_then_directory(new().link(EntryType::Symlink, "a", "../outside").directory("a/b/c"), "leads through a symbolic link")]
#[case::absolute_link_then_file(new().link(EntryType::Symlink, "a", "/").file("a/tmp/x", "x"), "leads through a symbolic link")]
#[case::hard_link_up(new().link(EntryType::Link, "a", "../outside/secret"), "a name with `..`")]
#[case::hard_link_absolute(new().link(EntryType::Link, "a", "/etc/passwd"), "an absolute name")]
#[case::hard_link_through(
    new().link(EntryType::Symlink, "a", "../outside").link(EntryType::Link, "b", "a/secret"),
    "leads through a symbolic link"
)]
#[case::hard_link_to_nothing(new().link(EntryType::Link, "b", "a"), "No such file")]
#[case::link_to_nothing(new().link(EntryType::Symlink, "b", ""), "names no target")]
#[case::device(new().put(&Crafted::header(EntryType::Char, "x", 0o666, 0), b""), "a device node outside dev")]
#[case::block_device(new().put(&Crafted::header(EntryType::Block, "x/dev", 0o666, 0), b""), "a device node outside dev")]
#[case::sparse(new().put(&Crafted::header(EntryType::GNUSparse, "x", 0o644, 0), b""), "a sparse file")]
#[case::other(new().put(&Crafted::header(EntryType::new(b'V'), "x", 0o644, 0), b""), "an entry of type 'V'")]
#[case::file_as_root(new().file("./", "x").file(".", "x"), "the root is no directory")]
#[case::file_in_file(new().file("a", "x").file("a/b", "x"), "Not a directory")]
#[case::longer_than_it_is(new().put(&Crafted::header(EntryType::Regular, "x", 0o644, 1 << 33), b"short"), "cut off")]
#[case::two_sizes(new().pax(&[("size", "3")]).file("x", "xx"), "two different sizes")]
#[case::pax_path(new().pax(&[("path", "../outside/secret")]).file("x", "x"), "a name with `..`")]
#[case::pax_link(new().pax(&[("linkpath", "/etc/passwd")]).link(EntryType::Link, "x", "y"), "an absolute name")]
#[case::pax_flag(new().pax(&[("SCHILY.fflags", "sticky")]).file("x", "x"), "an unknown file flag")]
#[case::pax_number(new().pax(&[("uid", "many")]).file("x", "x"), "many")]
#[case::pax_sparse(new().pax(&[("GNU.sparse.major", "1")]).file("x", "x"), "a sparse file")]
#[case::owner(new().pax(&[("uid", "4294967296")]).file("x", "x"), "owner")]
#[case::long_extension(new().put(&Crafted::header(EntryType::XHeader, "x", 0o644, 1 << 30), b""), "an extended header of 1073741824")]
#[case::long_name(new().put(&Crafted::header(EntryType::GNULongName, "x", 0o644, 1 << 33), b""), "an extended header of 8589934592")]
#[case::no_archive(Crafted(b"#!/bin/sh\n".repeat(100)), "tar archive")]
#[case::empty(Crafted(vec![0; 1024]), "not a tar archive")]
fn crafted_archives_fail_with_words(#[case] archive: Crafted, #[case] words: &str) {
    let (top, root) = playground();
    let error = format!("{:#}", base(&root, archive).unwrap_err());
    assert!(error.contains(words), "{error}");
    untouched(top.path());
}

/// A layer may go through a link as its programs would, which is never out of the root.
#[rstest]
#[case::up("../../outside")]
#[case::absolute("/outside")]
#[case::chain("b")]
fn a_link_of_a_layer_stays_in_the_root(#[case] target: &str) {
    let (top, root) = playground();
    let first = new().link(EntryType::Symlink, "b", "/../outside").link(EntryType::Symlink, "a", target);
    layers(&root, [first.file("a/secret", "inside"), new().file("a/second", "inside").directory("a/d/e")]).unwrap();
    untouched(top.path());
    assert_eq!(fs::read_to_string(root.join("outside/second")).unwrap(), "inside");
    assert!(root.join("outside/d/e").is_dir());
}

#[rstest]
#[case::loop_(new().link(EntryType::Symlink, "a", "a").file("a/x", "x"), "symbolic link")]
#[case::whiteout_up(new().file("a/.wh...", "x"), "a whiteout of no name")]
#[case::whiteout_here(new().file(".wh..", "x"), "a whiteout of no name")]
#[case::whiteout_of_nothing(new().file(".wh.", "x"), "a whiteout of no name")]
#[case::device(new().put(&Crafted::header(EntryType::Char, "x", 0o666, 0), b""), "a device node outside dev")]
fn crafted_layers_fail_with_words(#[case] archive: Crafted, #[case] words: &str) {
    let (top, root) = playground();
    let error = format!("{:#}", layers(&root, [archive]).unwrap_err());
    assert!(error.contains(words), "{error}");
    untouched(top.path());
}

#[test]
fn a_whiteout_through_a_link_removes_nothing_outside() {
    let (top, root) = playground();
    symlink("../outside", root.join("a")).unwrap();
    layers(&root, [new().file("a/.wh.secret", ""), new().file("a/.wh..wh..opq", "")]).unwrap();
    untouched(top.path());
}

#[test]
fn everything_is_as_in_the_archive() {
    let (_top, root) = playground();
    let device = Crafted::header(EntryType::Char, "dev/null", 0o666, 0);
    let archive = new()
        .directory("./")
        .put(&Crafted::header(EntryType::Directory, "./closed/", 0o555, 0), b"")
        .file("./closed/file", "content")
        .link(EntryType::Link, "./bin/again", "./closed/file")
        .link(EntryType::Symlink, "./bin/link", "/no/where")
        .put(&Crafted::header(EntryType::Regular, "./bin/tool", 0o1755, 1), b"x")
        .put(&Crafted::header(EntryType::Fifo, "./bin/fifo", 0o600, 0), b"")
        .put(&device, b"")
        .pax(&[("path", &format!("{}/name", "long".repeat(50))), ("mtime", "1234567890.25")])
        .file("x", "y")
        .pax(&[("SCHILY.xattr.user.x", "1"), ("comment", "none")])
        .file("attributes", "");
    let left = base(&root, archive).unwrap();
    assert_eq!(left, LeftOut { devices: 1, flags: 0, extended: 1 });
    assert_eq!(
        left.to_string(),
        "left out: 1 device nodes below dev (a devfs is mounted there), 1 files' extended attributes"
    );
    let status = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(status("closed").mode() & 0o7777, 0o555);
    assert_eq!(status("closed").mtime(), 1_000_000_000);
    assert_eq!(status("closed/file").ino(), status("bin/again").ino());
    assert_eq!(fs::read_to_string(root.join("bin/again")).unwrap(), "content");
    assert_eq!(fs::read_link(root.join("bin/link")).unwrap(), Path::new("/no/where"));
    assert_eq!(status("bin/link").mtime(), 1_000_000_000);
    assert_eq!(status("bin/tool").mode() & 0o7777, 0o1755);
    assert!(status("bin/fifo").file_type().is_fifo());
    assert!(!root.join("dev/null").exists());
    assert_eq!(status(&format!("{}/name", "long".repeat(50))).mtime(), 1_234_567_890);
    fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (_top, root) = playground();
    let archive = new()
        .directory("a/b")
        .file("a/b/c", "old")
        .file("a", "file")
        .file("x", "1")
        .link(EntryType::Link, "y", "x")
        .file("x", "2")
        .link(EntryType::Symlink, "l", "x")
        .directory("l")
        .link(EntryType::Link, "z", "z2")
        .0;
    let error = base(&root, Crafted(archive)).unwrap_err();
    assert!(format!("{error:#}").starts_with("z: "), "{error:#}");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "file");
    assert_eq!(fs::read_to_string(root.join("y")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("x")).unwrap(), "2");
    assert!(root.join("l").is_dir() && !root.join("l").is_symlink());
}

#[test]
fn whiteouts_hide_lower_layers_alone() {
    let (_top, root) = playground();
    let lower = new()
        .file("etc/a", "1")
        .file("etc/b", "1")
        .file("opt/old/x", "1")
        .file("opt/both/old", "1")
        .file("tree/x", "1");
    let upper = new()
        .file("etc/new", "2")
        .file("etc/.wh.a", "")
        .file("etc/.wh.new", "")
        .directory("opt/")
        .file("opt/both/new", "2")
        .file("opt/.wh..wh..opq", "")
        .file("opt/.wh..wh.plnk", "")
        .file(".wh.tree", "")
        .file(".wh.never", "");
    layers(&root, [lower, upper]).unwrap();
    let there = |name: &str| root.join(name).exists();
    assert!(!there("etc/a") && there("etc/b") && there("etc/new"));
    assert!(!there("opt/old") && !there("opt/both/old") && there("opt/both/new"));
    assert!(!there("tree") && !there("opt/.wh..wh..opq") && !there("opt/.wh..wh.plnk"));
}

#[test]
fn a_base_may_have_names_like_whiteouts() {
    let (_top, root) = playground();
    base(&root, new().file(".wh.x", "x")).unwrap();
    assert!(root.join(".wh.x").exists());
}

#[test]
fn a_bundle_appears_whole_or_not_at_all() {
    let top = tempfile::tempdir().unwrap();
    let target = top.path().join("bundle");
    let staged = Staged::new(&target).unwrap();
    fs::write(staged.path().join("x"), "x").unwrap();
    assert!(!target.exists());
    drop(staged);
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
    Staged::new(&target).unwrap().commit().unwrap();
    assert!(target.is_dir());
    assert!(Staged::new(&target).is_err());
    assert!(Staged::new(Path::new("/")).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]
    /// Whatever the order of entries, and whatever their links: nothing outside is touched.
    #[test]
    fn nothing_leaves_the_root(
        entries in proptest::collection::vec(("[abc](/[abc]){0,2}", "(/|(\\.\\./){0,3})([abc]|outside)(/[abc]|/secret)?", 0..6), 1..16),
        as_layers in proptest::bool::ANY,
    ) {
        let (top, root) = playground();
        let archive = entries.iter().fold(new(), |archive, (name, target, kind)| match kind {
            0 => archive.directory(name),
            1 => archive.file(name, "x"),
            2 => archive.link(EntryType::Link, name, target.trim_start_matches(['.', '/'])),
            3 => archive.file(&format!("{name}/.wh.secret"), ""),
            _ => archive.link(EntryType::Symlink, name, target),
        });
        let _ = if as_layers { layers(&root, [archive]) } else { base(&root, archive) };
        untouched(top.path());
    }
}

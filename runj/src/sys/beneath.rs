//! Paths beneath a root that its owner may have filled with hostile links.
//!
//! Everything walks component by component from a descriptor of the root and lets the kernel follow no link, so
//! nothing outside the root is reached even while the tree changes. Portable on purpose: older FreeBSD kernels
//! take `O_PATH` and `O_RESOLVE_BENEATH` and ignore them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::mount::{Resolved, TargetKind};
use super::{Result, SysError};

/// How many links one path may lead through (`MAXSYMLINKS` is 32 on FreeBSD and 40 on Linux).
const MAX_LINKS: usize = 40;

/// Where `destination` lies beneath `root`: links are followed as after chroot(2) (an absolute one begins at the
/// root again, `..` stops there), nothing is changed. `..` after what does not exist takes it back.
///
/// # Errors
/// `ELOOP` after 40 links, `ENOTDIR` where a file has components below it.
pub fn resolve(root: &Path, destination: &Path) -> Result<Resolved> {
    let failed = |errno| SysError::new(format!("resolve {} beneath {}", destination.display(), root.display()), errno);
    Walk::new(open_root(root).map_err(failed)?).run(destination).map_err(failed)
}

/// Makes the missing part of a resolved path beneath `root`: directories 0755, at the end a directory or an empty
/// file 0644, whatever the umask. What exists is kept.
///
/// # Errors
/// `ELOOP`, `EMLINK` or `ENOTDIR` where a link stands by now, `EISDIR` for a directory where a file is to be.
pub fn create(root: &Path, path: &Path, kind: TargetKind) -> Result<()> {
    let failed = |errno| SysError::new(format!("create {} beneath {}", path.display(), root.display()), errno);
    let make = || {
        let mut directory = open_root(root)?;
        let mut names = plain(path)?;
        let file = match kind {
            TargetKind::Directory => None,
            TargetKind::File => Some(names.pop().ok_or(Errno::EISDIR)?),
        };
        for name in names {
            directory = match open_directory(&directory, name) {
                Err(Errno::ENOENT) => make_directory(&directory, name)?,
                other => other?,
            };
        }
        file.map_or(Ok(()), |name| make_file(&directory, name))
    };
    make().map_err(failed)
}

/// Removes what [`create`] made at `path` beneath `root`: the last `count` components, while they are empty.
/// Absence is success; what is not empty, of another kind or a link is left alone, with all above it.
pub fn remove(root: &Path, path: &Path, count: usize, kind: TargetKind) -> Result<()> {
    let failed = |errno| SysError::new(format!("remove {} beneath {}", path.display(), root.display()), errno);
    let names = plain(path).map_err(failed)?;
    for level in 0..count.min(names.len()) {
        let kind = if level == 0 { kind } else { TargetKind::Directory };
        match remove_one(root, &names[..names.len() - level], kind) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY | Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => {
                break;
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Opens what is at the resolved `path` beneath `root`, for reading and without waiting (a FIFO has no writer).
///
/// # Errors
/// `ELOOP` or `ENOTDIR` where a component is a link by now.
pub fn open(root: &Path, path: &Path) -> Result<OwnedFd> {
    open_with(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
}

/// As [`open`], with flags for the last component (`O_NOFOLLOW` and `O_CLOEXEC` are added).
pub fn open_with(root: &Path, path: &Path, flags: OFlag) -> Result<OwnedFd> {
    let failed = |errno| SysError::new(format!("open {} beneath {}", path.display(), root.display()), errno);
    let open = || {
        let mut names = plain(path)?;
        let Some(last) = names.pop() else { return open_root(root) };
        let directory = descend(root, &names)?;
        let fd = openat(&directory, last, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        // O_PATH with O_NOFOLLOW opens the link itself.
        if file_type(&fstat(&fd)?) == SFlag::S_IFLNK { Err(Errno::ELOOP) } else { Ok(fd) }
    };
    // FreeBSD's word for a link that is not followed.
    open().map_err(|errno| failed(if errno == Errno::EMLINK { Errno::ELOOP } else { errno }))
}

/// A walk from the root: the directories on the way, and then names that do not exist or a file.
struct Walk {
    root: OwnedFd,
    directories: Vec<(OsString, OwnedFd)>,
    file: Option<OsString>,
    missing: Vec<OsString>,
    links: usize,
}

impl Walk {
    fn new(root: OwnedFd) -> Self {
        Self { root, directories: Vec::new(), file: None, missing: Vec::new(), links: 0 }
    }

    fn run(mut self, destination: &Path) -> nix::Result<Resolved> {
        let mut pending: VecDeque<OsString> = steps(destination).collect();
        while let Some(step) = pending.pop_front() {
            if self.file.is_some() {
                return Err(Errno::ENOTDIR);
            }
            match step.as_encoded_bytes() {
                b"/" => {
                    self.directories.clear();
                    self.missing.clear();
                }
                b".." if self.missing.pop().is_some() => {}
                b".." => drop(self.directories.pop()),
                _ if !self.missing.is_empty() => self.missing.push(step),
                _ => {
                    if let Some(target) = self.enter(step)? {
                        for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                            pending.push_front(step);
                        }
                    }
                }
            }
        }
        Ok(self.finish())
    }

    /// Takes one component beneath the present directory; a link is returned, not followed.
    fn enter(&mut self, name: OsString) -> nix::Result<Option<PathBuf>> {
        let here = self.directories.last().map_or(&self.root, |(_, fd)| fd);
        match open_directory(here, &name) {
            Ok(fd) => self.directories.push((name, fd)),
            Err(Errno::ENOENT) => self.missing.push(name),
            // Not a directory: a link (the three numbers that systems give for it) or a file.
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => match readlinkat(here, name.as_os_str()) {
                Ok(target) if target.is_empty() => return Err(Errno::ENOENT),
                Ok(target) if self.links < MAX_LINKS => {
                    self.links += 1;
                    return Ok(Some(target.into()));
                }
                Ok(_) => return Err(Errno::ELOOP),
                Err(Errno::EINVAL) => self.file = Some(name),
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
        Ok(None)
    }

    fn finish(self) -> Resolved {
        let kind = match (&self.file, self.missing.is_empty()) {
            (_, false) => None,
            (Some(_), true) => Some(TargetKind::File),
            (None, true) => Some(TargetKind::Directory),
        };
        let missing = self.missing.len();
        let directories = self.directories.into_iter().map(|(name, _)| name);
        Resolved { path: directories.chain(self.file).chain(self.missing).collect(), missing, kind }
    }
}

/// The steps of a path: `/`, `..` and names.
fn steps(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter(|part| !matches!(part, Component::CurDir)).map(|part| part.as_os_str().to_owned())
}

/// The names of a resolved path, which has no dots.
fn plain(path: &Path) -> nix::Result<Vec<&OsStr>> {
    path.components()
        .filter(|part| !matches!(part, Component::RootDir))
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(Errno::EINVAL),
        })
        .collect()
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

fn open_root(root: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(root, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn open_directory(parent: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn descend(root: &Path, names: &[&OsStr]) -> nix::Result<OwnedFd> {
    names.iter().try_fold(open_root(root)?, |directory, name| open_directory(&directory, name))
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => {
            let directory = open_directory(parent, name)?;
            fchmod(&directory, Mode::from_bits_truncate(0o755))?;
            Ok(directory)
        }
        Err(Errno::EEXIST) => open_directory(parent, name),
        Err(errno) => Err(errno),
    }
}

fn make_file(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::from_bits_truncate(0o644)) {
        Ok(file) => fchmod(&file, Mode::from_bits_truncate(0o644)),
        Err(Errno::EEXIST) => match file_type(&fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?) {
            SFlag::S_IFDIR => Err(Errno::EISDIR),
            SFlag::S_IFLNK => Err(Errno::ELOOP),
            _ => Ok(()),
        },
        Err(errno) => Err(errno),
    }
}

fn remove_one(root: &Path, names: &[&OsStr], kind: TargetKind) -> nix::Result<()> {
    let (last, parents) = names.split_last().ok_or(Errno::EBUSY)?;
    let parent = descend(root, parents)?;
    match kind {
        TargetKind::Directory => unlinkat(&parent, *last, UnlinkatFlags::RemoveDir),
        TargetKind::File => {
            let status = fstatat(&parent, *last, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if file_type(&status) != SFlag::S_IFREG || status.st_size != 0 {
                return Err(Errno::ENOTEMPTY);
            }
            unlinkat(&parent, *last, UnlinkatFlags::NoRemoveDir)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;

    /// A directory `root` beside a directory `outside`, neither of which any link of the tests may leave or reach.
    fn playground() -> (TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs_err::create_dir_all(root.join("etc/ssl")).unwrap();
        fs_err::create_dir(root.join("var")).unwrap();
        fs_err::write(root.join("etc/passwd"), "root").unwrap();
        fs_err::create_dir(top.path().join("outside")).unwrap();
        for (target, link) in [
            ("/etc", "absolute"),
            ("etc/ssl", "relative"),
            ("../../../../outside", "climb"),
            ("/", "slash"),
            ("b", "a"),
            ("a", "b"),
            ("self/self", "self"),
            ("/var/gone/deep", "dangling"),
            ("../etc/passwd", "var/file"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        (top, root)
    }

    use TargetKind::{Directory, File};

    #[rstest]
    #[case("/", "", 0, Some(Directory))]
    #[case("/etc/ssl", "etc/ssl", 0, Some(Directory))]
    #[case("etc//./ssl/", "etc/ssl", 0, Some(Directory))]
    #[case("/etc/passwd", "etc/passwd", 0, Some(File))]
    #[case("/absolute/ssl", "etc/ssl", 0, Some(Directory))]
    #[case("/relative", "etc/ssl", 0, Some(Directory))]
    #[case("/relative/..", "etc", 0, Some(Directory))]
    #[case("/climb", "outside", 1, None)]
    #[case("/climb/x", "outside/x", 2, None)]
    #[case("/../../etc", "etc", 0, Some(Directory))]
    #[case("/slash/slash/var/file", "etc/passwd", 0, Some(File))]
    #[case("/dangling/x", "var/gone/deep/x", 3, None)]
    #[case("/new/../etc/new", "etc/new", 1, None)]
    #[case("/new/x/../y", "new/y", 2, None)]
    fn resolves_as_after_chroot(
        #[case] destination: &str,
        #[case] path: &str,
        #[case] missing: usize,
        #[case] kind: Option<TargetKind>,
    ) {
        let (_top, root) = playground();
        let expected = Resolved { path: path.into(), missing, kind };
        assert_eq!(resolve(&root, Path::new(destination)), Ok(expected));
    }

    #[rstest]
    #[case("/a", Errno::ELOOP)]
    #[case("/self", Errno::ELOOP)]
    #[case("/etc/passwd/x", Errno::ENOTDIR)]
    #[case("/etc/passwd/..", Errno::ENOTDIR)]
    fn refuses(#[case] destination: &str, #[case] errno: Errno) {
        let (_top, root) = playground();
        assert_eq!(resolve(&root, Path::new(destination)).unwrap_err().errno, errno);
    }

    #[test]
    fn follows_forty_links_and_no_more() {
        let (_top, root) = playground();
        symlink("etc", root.join("l0")).unwrap();
        for number in 1..=MAX_LINKS {
            symlink(format!("l{}", number - 1), root.join(format!("l{number}"))).unwrap();
        }
        assert_eq!(resolve(&root, Path::new("l39")).unwrap().path, Path::new("etc"));
        assert_eq!(resolve(&root, Path::new("l40")).unwrap_err().errno, Errno::ELOOP);
    }

    #[test]
    fn an_error_names_both_paths() {
        let (_top, root) = playground();
        let text = resolve(&root, Path::new("/self")).unwrap_err().to_string();
        assert!(text.starts_with("resolve /self beneath /") && text.contains("root: "), "{text}");
    }

    #[rstest]
    #[case("a/b/c", Directory)]
    #[case("x/y/file", File)]
    #[case("etc/hosts", File)]
    fn creates_and_removes(#[case] path: &str, #[case] kind: TargetKind) {
        let (_top, root) = playground();
        if kind == Directory {
            fs_err::remove_file(root.join("a")).unwrap();
        }
        let missing = resolve(&root, Path::new(path)).unwrap().missing;
        create(&root, Path::new(path), kind).unwrap();
        create(&root, Path::new(path), kind).unwrap();
        let status = fs_err::metadata(root.join(path)).unwrap();
        assert_eq!(status.is_dir(), kind == Directory);
        assert_eq!(status.permissions().mode() & 0o777, if kind == Directory { 0o755 } else { 0o644 });
        remove(&root, Path::new(path), missing, kind).unwrap();
        remove(&root, Path::new(path), missing, kind).unwrap();
        assert_eq!(resolve(&root, Path::new(path)).unwrap().missing, missing);
        assert!(root.join("etc/passwd").exists());
    }

    #[test]
    fn creates_the_root_itself_and_no_file_in_its_place() {
        let (_top, root) = playground();
        assert_eq!(create(&root, Path::new(""), Directory), Ok(()));
        assert_eq!(create(&root, Path::new(""), File).unwrap_err().errno, Errno::EISDIR);
        assert_eq!(create(&root, Path::new("etc"), File).unwrap_err().errno, Errno::EISDIR);
    }

    #[test]
    fn follows_no_link_that_appeared_later() {
        let (top, root) = playground();
        let outside = top.path().join("outside");
        symlink(&outside, root.join("out")).unwrap();
        fs_err::create_dir(outside.join("empty")).unwrap();
        for path in ["out", "out/new", "out/new/x"] {
            assert!(create(&root, Path::new(path), Directory).is_err(), "{path}");
            assert!(create(&root, Path::new(path), File).is_err(), "{path}");
            assert!(open(&root, Path::new(path)).is_err(), "{path}");
        }
        remove(&root, Path::new("out/empty"), 2, Directory).unwrap();
        assert!(outside.join("empty").is_dir() && root.join("out").is_symlink());
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn leaves_alone_what_is_in_use() {
        let (_top, root) = playground();
        remove(&root, Path::new("etc/ssl"), 2, Directory).unwrap();
        assert!(!root.join("etc/ssl").exists() && root.join("etc").exists());
        remove(&root, Path::new("etc/passwd"), 2, File).unwrap();
        assert!(root.join("etc/passwd").exists());
        remove(&root, Path::new("var"), 1, File).unwrap();
        assert!(root.join("var").exists());
    }

    #[test]
    fn a_root_that_is_gone_holds_nothing() {
        let (_top, root) = playground();
        let gone = root.join("gone");
        assert_eq!(remove(&gone, Path::new("a/b"), 2, Directory), Ok(()));
        assert_eq!(resolve(&gone, Path::new("/x")).unwrap_err().errno, Errno::ENOENT);
    }

    #[test]
    fn opens_without_waiting() {
        let (_top, root) = playground();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        for path in ["", "etc", "etc/passwd", "fifo"] {
            open(&root, Path::new(path)).unwrap();
        }
        assert!(open(&root, Path::new("absolute")).is_err());
        assert_eq!(open(&root, Path::new("etc/../etc")).unwrap_err().errno, Errno::EINVAL);
    }

    /// What a hostile image may hold: a directory, a file or a link at a short path.
    fn forest() -> impl Strategy<Value = Vec<(String, Option<Option<String>>)>> {
        let path = "[abc](/[abc.]){0,2}";
        let target = "/?(\\.\\./){0,4}([abc]|\\.\\.|secret|outside)(/([abc]|\\.\\.)){0,3}";
        proptest::collection::vec((path, proptest::option::of(proptest::option::of(target))), 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn nothing_leaves_the_root(
            forest in forest(),
            destination in "/?([abc]|\\.\\.|secret|\\.)(/([abc]|\\.\\.|secret|\\.)){0,5}",
            file in any::<bool>(),
        ) {
            let top = tempfile::tempdir().unwrap();
            let root = fs_err::canonicalize(top.path()).unwrap().join("root");
            let outside = top.path().join("outside");
            fs_err::create_dir(&root).unwrap();
            fs_err::create_dir(&outside).unwrap();
            for (path, what) in &forest {
                let path = root.join(path);
                // The tree must be built without leaving it by the links made so far.
                let inside = fs_err::canonicalize(path.parent().unwrap()).is_ok_and(|at| at.starts_with(&root));
                if !inside || path.is_symlink() {
                    continue;
                }
                let _ = match what {
                    None => fs_err::create_dir(&path),
                    Some(None) => fs_err::write(&path, "x"),
                    Some(Some(target)) => symlink(target, &path),
                };
            }
            if let Ok(resolved) = resolve(&root, Path::new(&destination)) {
                let mut walked = root.clone();
                let total = resolved.path.components().count();
                for (index, part) in resolved.path.components().enumerate() {
                    prop_assert!(matches!(part, Component::Normal(_)));
                    walked.push(part);
                    prop_assert!(!walked.is_symlink(), "{walked:?}");
                    prop_assert_eq!(walked.exists(), index < total - resolved.missing);
                }
                // What is resolved resolves to itself.
                prop_assert_eq!(resolve(&root, &resolved.path).unwrap(), resolved.clone());
                let kind = if file { File } else { Directory };
                if resolved.missing > 0 {
                    create(&root, &resolved.path, kind).unwrap();
                    let made = resolve(&root, Path::new(&destination));
                    // `x/..` took back an x that did not exist and may still not.
                    if !destination.contains("..") && !forest.iter().any(|(_, what)| matches!(what, Some(Some(t)) if t.contains(".."))) {
                        prop_assert_eq!(made.unwrap().kind, Some(kind));
                    }
                    open(&root, &resolved.path).unwrap();
                    remove(&root, &resolved.path, resolved.missing, kind).unwrap();
                    prop_assert_eq!(resolve(&root, &resolved.path).unwrap().missing, resolved.missing);
                }
            }
            prop_assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0);
            prop_assert_eq!(fs_err::read_dir(top.path()).unwrap().count(), 2);
        }
    }
}

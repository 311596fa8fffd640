//! Reads tar archives that somebody else wrote, in bounded memory: names, attributes and file flags of each entry, and
//! its content as a stream. Decides nothing about where they go.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use tar::{EntryType, Header, PaxExtensions};

use crate::sys::tree::{Attributes, MAX_DEPTH};

/// How much extended headers of one entry may hold: names, flags and the rest.
const MAX_EXTENSIONS: u64 = 1 << 20;
/// How many entries an archive may have.
const MAX_ENTRIES: u64 = 1 << 21;
/// The longest path that any of the systems takes.
const MAX_PATH: usize = 4096;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link to this.
    Symlink(PathBuf),
    /// Another name of an earlier entry.
    HardLink(PathBuf),
    /// A FIFO.
    Fifo,
    /// A device node.
    Device,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative and without dots; empty for the archive's root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    /// Mode, owner, time.
    pub attributes: Attributes,
    /// File flags (chflags(2)).
    pub flags: u32,
    /// Whether it carries extended attributes or access control lists.
    pub extended: bool,
}

/// What extended headers said of the next entry.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    flags: u32,
    extended: bool,
}

/// Calls `each` for every entry with its content; what it leaves of that is skipped. Reads to the very end.
///
/// # Errors
/// An archive that is cut off, damaged, or asks for what a directory cannot hold; each names the entry.
pub fn read(
    mut archive: impl Read,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    {
        let mut tar = tar::Archive::new(&mut archive);
        let mut extensions = Extensions::default();
        let mut count = 0;
        for raw in tar.entries().context("tar archive")?.raw(true) {
            let mut raw = raw.context("tar archive")?;
            count += 1;
            ensure!(count <= MAX_ENTRIES, "tar archive: more than {MAX_ENTRIES} entries");
            if extensions.take(&mut raw)? {
                continue;
            }
            let entry = entry(raw.header(), std::mem::take(&mut extensions))?;
            let name = || format!("{}", entry.path.display());
            let size = raw.size();
            let mut content = Counted { inner: &mut raw, length: 0 };
            each(&entry, &mut content).with_context(name)?;
            std::io::copy(&mut content, &mut std::io::sink()).with_context(name)?;
            let length = content.length;
            ensure!(length == size, "{}: cut off after {length} of {size} bytes", name());
        }
        ensure!(count > 0, "not a tar archive, or an empty one");
    }
    // The padding behind the end: the digest of a layer is over all of it.
    std::io::copy(&mut archive, &mut std::io::sink()).context("tar archive")?;
    Ok(())
}

/// A reader that counts.
struct Counted<R> {
    inner: R,
    length: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.length += length as u64;
        Ok(length)
    }
}

impl Extensions {
    /// Takes an extended header; false if the entry is no such header.
    fn take(&mut self, raw: &mut tar::Entry<'_, impl Read>) -> anyhow::Result<bool> {
        let kind = raw.header().entry_type();
        let is = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if !is {
            return Ok(false);
        }
        let size = raw.size();
        ensure!(
            size <= MAX_EXTENSIONS,
            "tar archive: an extended header of {size} bytes; {MAX_EXTENSIONS} are allowed"
        );
        let mut data = Vec::new();
        raw.take(MAX_EXTENSIONS).read_to_end(&mut data).context("tar archive: extended header")?;
        let name = |data: &[u8]| data.strip_suffix(b"\0").unwrap_or(data).to_vec();
        if kind.is_gnu_longname() {
            self.path = Some(name(&data));
        } else if kind.is_gnu_longlink() {
            self.link = Some(name(&data));
        } else if kind.is_pax_local_extensions() {
            self.pax(&data)?;
        }
        // What a global header says (a comment of git's, as a rule) concerns nothing that is unpacked.
        Ok(true)
    }

    fn pax(&mut self, data: &[u8]) -> anyhow::Result<()> {
        for record in PaxExtensions::new(data) {
            let record = record.context("tar archive: extended header")?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let text = || String::from_utf8_lossy(value);
            let number = || text().parse().with_context(|| format!("tar archive: extended header: {:?}", text()));
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                // Seconds with a fraction, which is left out.
                b"mtime" => self.mtime = text().split('.').next().and_then(|seconds| seconds.parse().ok()),
                b"SCHILY.fflags" => self.flags = flags(&text())?,
                _ if key.starts_with(b"GNU.sparse.") => bail!("tar archive: a sparse file, which is not supported"),
                _ if [&b"SCHILY.xattr."[..], b"SCHILY.acl.", b"LIBARCHIVE.xattr."]
                    .iter()
                    .any(|p| key.starts_with(p)) =>
                {
                    self.extended = true;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn entry(header: &Header, extensions: Extensions) -> anyhow::Result<Entry> {
    let name = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let shown = String::from_utf8_lossy(&name).into_owned();
    let read = || -> anyhow::Result<Entry> {
        let path = relative(&name)?;
        let link = extensions.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let link = || link.clone().filter(|link| !link.is_empty()).context("a link that names no target");
        let kind = match header.entry_type() {
            // Archives from before 1988 mark a directory by a slash alone.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => {
                let target = link()?;
                ensure!(target.len() <= MAX_PATH && !target.contains(&0), "a link to something that is no path");
                Kind::Symlink(OsStr::from_bytes(&target).into())
            }
            EntryType::Link => Kind::HardLink(relative(&link()?).context("hard link")?),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Device,
            EntryType::GNUSparse => bail!("a sparse file, which is not supported"),
            other => bail!("an entry of type {:?}, which is not supported", char::from(other.as_byte())),
        };
        let size = if kind == Kind::File { header.entry_size().context("size")? } else { 0 };
        // Readers that disagree about a size see different archives.
        ensure!(extensions.size.is_none_or(|other| other == size), "two different sizes");
        let narrow = |id: u64| u32::try_from(id).context("owner");
        let attributes = Attributes {
            mode: u16::try_from(header.mode().context("mode")? & 0o7777)?,
            uid: narrow(extensions.uid.map_or_else(|| header.uid(), Ok).context("owner")?)?,
            gid: narrow(extensions.gid.map_or_else(|| header.gid(), Ok).context("group")?)?,
            mtime: match extensions.mtime {
                Some(mtime) => mtime,
                None => i64::try_from(header.mtime().context("time")?).unwrap_or(0),
            },
        };
        Ok(Entry { path, kind, size, attributes, flags: extensions.flags, extended: extensions.extended })
    };
    read().with_context(|| shown.escape_debug().to_string())
}

/// A name of the archive as a path beneath its root.
fn relative(name: &[u8]) -> anyhow::Result<PathBuf> {
    ensure!(name.len() <= MAX_PATH, "a name of {} bytes", name.len());
    ensure!(!name.contains(&0), "a name with a NUL in it");
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::RootDir => bail!("an absolute name; it would leave the directory"),
            Component::ParentDir | Component::Prefix(_) => bail!("a name with `..`; it would leave the directory"),
        }
    }
    ensure!(path.components().count() <= MAX_DEPTH, "more than {MAX_DEPTH} directories deep");
    Ok(path)
}

/// The numbers of file flags (sys/stat.h) from their names (chflags(1)), as libarchive writes them.
fn flags(names: &str) -> anyhow::Result<u32> {
    names.split(',').filter(|name| !name.is_empty()).try_fold(0, |flags, name| {
        let flag = match name {
            "nodump" => 0x1,
            "uchg" | "uchange" | "uimmutable" => 0x2,
            "uappnd" | "uappend" => 0x4,
            "opaque" => 0x8,
            "uunlnk" | "uunlink" => 0x10,
            "usystem" | "system" => 0x80,
            "usparse" | "sparse" => 0x100,
            "uoffline" | "offline" => 0x200,
            "ureparse" | "reparse" => 0x400,
            "uarch" | "uarchive" => 0x800,
            "urdonly" | "rdonly" | "readonly" => 0x1000,
            "uhidden" | "hidden" => 0x8000,
            "arch" | "archived" => 0x1_0000,
            "schg" | "schange" | "simmutable" => 0x2_0000,
            "sappnd" | "sappend" => 0x4_0000,
            "sunlnk" | "sunlink" => 0x10_0000,
            // Of Linux's file systems, which libarchive writes in the same place.
            "noatime" | "compress" | "dirsync" | "projinherit" | "nocow" | "nodeallocate" => 0,
            other => bail!("tar archive: an unknown file flag: {other}"),
        };
        Ok(flags | flag)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("./bin/sh", "bin/sh")]
    #[case("./", "")]
    #[case("a//b/./c/", "a/b/c")]
    fn names(#[case] name: &str, #[case] path: &str) {
        assert_eq!(relative(name.as_bytes()).unwrap(), Path::new(path));
    }

    #[rstest]
    #[case("/etc/passwd", "absolute")]
    #[case("../x", "`..`")]
    #[case("a/../../x", "`..`")]
    #[case("a/..", "`..`")]
    #[case("a\0b", "NUL")]
    fn names_that_leave(#[case] name: &str, #[case] words: &str) {
        let error = relative(name.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn file_flags() {
        assert_eq!(flags("schg,uarch").unwrap(), 0x2_0800);
        assert_eq!(flags("").unwrap(), 0);
        assert!(flags("sticky").is_err());
    }

    #[test]
    fn deep_and_long_names_are_refused() {
        assert!(relative("d/".repeat(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(relative("x".repeat(MAX_PATH + 1).as_bytes()).is_err());
    }
}

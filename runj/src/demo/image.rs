//! An OCI image of one layer from an archive of a root file system, in one pass and in bounded memory.
//!
//! The same input gives the same bytes: no clock and no name of this machine goes into the image.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, ensure};
use fs_err as fs;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::archive::{self, Kind};
use super::platform::{elf_architecture, oci_architecture};
use super::progress::{Progress, Style};
use super::stream::{self, Compression, Encoder, Hashing, Watched};

const BLOCK: u64 = 512;
const PATH: &str = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// What the image is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// The archive of the root file system: tar, plain or compressed.
    pub input: &'a Path,
    /// The image archive.
    pub output: &'a Path,
    /// FreeBSD's name of the architecture, or none to take it from the programs in the archive.
    pub arch: Option<&'a str>,
    /// The name and tag that engines will know the image by.
    pub name: &'a str,
    /// What its containers execute.
    pub command: &'a [String],
    /// How its layer is compressed.
    pub compression: Compression,
    /// When it was made, in seconds since 1970, or none for the time of the newest file in it.
    pub created: Option<u64>,
    /// How large the root file system may be, in bytes.
    pub limit: u64,
    /// What is shown on the way.
    pub style: Style,
}

/// What was learnt of the root file system while it went by.
#[derive(Default)]
struct Seen {
    newest: i64,
    arch: Option<&'static str>,
}

/// A file in the image.
struct Blob {
    digest: String,
    size: u64,
}

/// Makes the image; calls `written` with the digest of each blob.
///
/// # Errors
/// The output exists; the input is no archive, or one whose names would leave a directory; the disk is full.
pub fn write(request: &Request, written: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let output = request.output;
    ensure!(!output.is_symlink() && !output.exists(), "{}: exists; remove it first", output.display());
    // A name that cannot be is found before the work, not after it.
    let asked = request.arch.map(oci_architecture).transpose()?;
    let input = fs::File::open(request.input)?;
    let mut part = output.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    // Of no use to anybody if it is there: it cannot be gone on with.
    let mut archive = Layout { file: fs::File::create(part)?.into_parts().0, at: 0 };
    let result = fill(request, asked, input.into_parts().0, &mut archive, written)
        .and_then(|()| archive.file.sync_all().with_context(|| output.display().to_string()));
    match result {
        Ok(()) => Ok(fs::rename(part, output)?),
        Err(error) => {
            let _ = std::fs::remove_file(part);
            Err(error)
        }
    }
}

fn fill(
    request: &Request,
    asked: Option<(&'static str, Option<&'static str>)>,
    input: File,
    archive: &mut Layout,
    written: impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    archive.file(b"oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
    archive.directory(b"blobs/")?;
    archive.directory(b"blobs/sha256/")?;
    let total = input.metadata().ok().map(|status| status.len());
    let mut progress = Progress::new("layer", request.style, 0, total);
    let (layer, diff_id, seen) = archive
        .layer(Watched { inner: input, progress: &mut progress }, request)
        .with_context(|| request.input.display().to_string())?;
    progress.end();
    written(&layer.digest)?;

    let (architecture, variant) = match asked {
        Some(asked) => asked,
        None => oci_architecture(seen.arch.with_context(|| {
            format!(
                "{}: holds no program that tells the architecture; name it by --architecture",
                request.input.display()
            )
        })?)?,
    };
    let seconds = request.created.unwrap_or_else(|| u64::try_from(seen.newest).unwrap_or(0));
    let created = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds < 253_402_300_800);
    let created = created.with_context(|| format!("{seconds}: no date of a calendar"))?;
    let created = humantime::format_rfc3339_seconds(created).to_string();
    let mut platform = json!({ "architecture": architecture, "os": "freebsd" });
    if let Some(variant) = variant {
        platform["variant"] = variant.into();
    }
    let mut config = platform.clone();
    config["created"] = created.clone().into();
    config["config"] = json!({ "Env": [PATH], "Cmd": request.command });
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] });
    config["history"] = json!([{ "created": created, "created_by": "runj demo oci-image" }]);
    let config = archive.document(&config)?;
    written(&config.digest)?;

    let suffix = match request.compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor(&format!("application/vnd.oci.image.layer.v1.tar+{suffix}"))],
    });
    let manifest = archive.document(&manifest)?;
    written(&manifest.digest)?;

    let mut entry = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    entry["platform"] = platform;
    // The tag is the specification's; containerd and podman take the whole name from their own annotation.
    let tag = request.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    entry["annotations"] =
        json!({ "io.containerd.image.name": request.name, "org.opencontainers.image.ref.name": tag });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    archive.file(b"index.json", index.to_string().as_bytes())?;
    archive.end()
}

impl Blob {
    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.size })
    }

    fn name(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

/// The image archive while it is written.
struct Layout {
    file: File,
    at: u64,
}

impl Layout {
    fn put(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.at += data.len() as u64;
        Ok(())
    }

    /// Zeros up to the next block.
    fn pad(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.at.next_multiple_of(BLOCK) - self.at).unwrap_or(0);
        self.put(&[0; 512][..length])
    }

    fn file(&mut self, name: &[u8], data: &[u8]) -> anyhow::Result<()> {
        self.put(header(name, EntryType::Regular, data.len() as u64)?.as_bytes())?;
        self.put(data)?;
        Ok(self.pad()?)
    }

    fn directory(&mut self, name: &[u8]) -> anyhow::Result<()> {
        Ok(self.put(header(name, EntryType::Directory, 0)?.as_bytes())?)
    }

    fn document(&mut self, value: &Value) -> anyhow::Result<Blob> {
        let data = value.to_string();
        let blob = Blob { digest: stream::sha256(data.as_bytes()), size: data.len() as u64 };
        self.file(blob.name().as_bytes(), data.as_bytes())?;
        Ok(blob)
    }

    /// Compresses the root file system into the archive; its name and size, which stand before it, are written
    /// afterwards. Returns the blob, the digest of what is in it, and what was seen.
    fn layer(&mut self, input: impl Read + Send, request: &Request) -> anyhow::Result<(Blob, String, Seen)> {
        let start = self.at;
        self.put(&[0; 512])?;
        let mut file = BufWriter::with_capacity(1 << 20, &mut self.file);
        let (diff_id, size, digest, seen) = stream::decompressed(input, request.limit, |tar| {
            let mut encoder = Encoder::new(request.compression, Hashing::new(&mut file))?;
            let mut plain = Hashing::new(Tee { from: tar, to: &mut encoder });
            let seen = look(&mut plain)?;
            let (diff_id, _) = plain.finish();
            let compressed = encoder.finish()?;
            let size = compressed.length;
            Ok((diff_id, size, compressed.finish().0, seen))
        })?;
        file.flush()?;
        drop(file);
        self.at += size;
        self.pad()?;
        let blob = Blob { digest, size };
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(header(blob.name().as_bytes(), EntryType::Regular, size)?.as_bytes())?;
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok((blob, diff_id, seen))
    }

    /// Two empty blocks end an archive.
    fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.put(&[0; 1024])?)
    }
}

/// Reads the root file system to its end as an archive, so that what is no such thing is found here and not by the
/// engine that is to unpack it.
fn look(tar: impl Read) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    archive::read(tar, |entry, content| {
        seen.newest = seen.newest.max(entry.attributes.mtime);
        if seen.arch.is_none() && entry.kind == Kind::File && entry.size >= 20 {
            let mut head = Vec::new();
            content.take(20).read_to_end(&mut head)?;
            seen.arch = elf_architecture(&head);
        }
        Ok(())
    })?;
    Ok(seen)
}

/// A reader whose bytes are written elsewhere too.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.to.write_all(&buffer[..length])?;
        Ok(length)
    }
}

fn header(name: &[u8], kind: EntryType, size: u64) -> anyhow::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(std::str::from_utf8(name)?)?;
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
#[path = "image/tests.rs"]
mod tests;

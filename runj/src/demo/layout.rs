//! Image archives as podman, containerd, docker and FreeBSD's release engineers make them: finds the image for this
//! machine in an OCI layout or in what `docker save` writes, verifies every digest, unpacks the layers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use fs_err as fs;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::platform::oci_architecture;
use super::progress::{Progress, Style};
use super::stream::{self, Hashing, Watched, sha256};
use super::unpack::Unpacker;
use crate::sys::{self, jail::System};

/// More than any manifest or configuration.
const MAX_DOCUMENT: u64 = 8 << 20;
/// More than any archive of an image has.
const MAX_FILES: usize = 1 << 16;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// An entry of the `manifest.json` of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What an image says of itself (OCI image-spec, config.md).
#[derive(Debug, Deserialize)]
pub struct Configuration {
    /// The system that its programs are for.
    #[serde(default)]
    pub os: String,
    /// The processor, as Go names it.
    #[serde(default)]
    pub architecture: String,
    /// How it is executed.
    pub config: Option<Execution>,
    rootfs: RootFs,
}

/// How an image is executed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `NAME[:GROUP]` or numbers.
    pub user: Option<String>,
    /// `NAME=VALUE`.
    pub env: Option<Vec<String>>,
    /// The program.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or the program.
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    pub working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// A layer: the file in the archive, its digest where that is stated, and the digest of what is in it.
struct Layer {
    file: String,
    descriptor: Option<Descriptor>,
    diff_id: String,
}

/// An archive whose files can be read in any order.
struct Archive {
    file: File,
    files: HashMap<String, (u64, u64)>,
}

/// An image in an archive.
pub struct Image {
    archive: Archive,
    /// What the image says of itself.
    pub configuration: Configuration,
    layers: Vec<Layer>,
}

impl Image {
    /// Finds the image for this machine. A compressed archive is decompressed into a file without a name in `scratch`,
    /// which takes at most `limit` bytes.
    ///
    /// # Errors
    /// Not an image; none or several that fit; a digest that is not right.
    pub fn open(path: &Path, scratch: &Path, name: Option<&str>, limit: u64) -> anyhow::Result<Self> {
        let archive = Archive::open(path, scratch, limit)?;
        let image = if archive.files.contains_key("index.json") {
            Self::of_layout(archive, name)
        } else if archive.files.contains_key("manifest.json") {
            Self::of_docker(archive, name)
        } else {
            bail!("{}: neither an OCI layout (index.json) nor of `docker save` (manifest.json)", path.display());
        };
        image.with_context(|| path.display().to_string())
    }

    fn of_layout(archive: Archive, name: Option<&str>) -> anyhow::Result<Self> {
        let index: Index = parse(&archive.document("index.json")?).context("index.json")?;
        let chosen = choose(&archive, index, name)?;
        let manifest: Manifest = archive.described(&chosen)?;
        let configuration: Configuration = archive.described(&manifest.config)?;
        let layers = manifest.layers.into_iter().map(|descriptor| {
            let file = blob(&descriptor.digest)?;
            Ok((file, Some(descriptor)))
        });
        Self::new(archive, configuration, layers.collect::<anyhow::Result<_>>()?)
    }

    fn of_docker(archive: Archive, name: Option<&str>) -> anyhow::Result<Self> {
        let images: Vec<Saved> = parse(&archive.document("manifest.json")?).context("manifest.json")?;
        let names = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
        let all: Vec<String> = images.iter().flat_map(names).collect();
        let mut fitting =
            images.into_iter().filter(|image| name.is_none_or(|name| names(image).iter().any(|n| n == name)));
        let (Some(image), None) = (fitting.next(), fitting.next()) else {
            bail!("name one of its images with --name: {}", all.join(", "));
        };
        let document = archive.document(&image.config)?;
        // The name is the digest, with or without `.json` or a directory, in every version of docker.
        let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if stem.len() == 64 {
            verify(&image.config, stem, &sha256(&document))?;
        }
        let configuration = parse(&document).with_context(|| image.config.clone())?;
        Self::new(archive, configuration, image.layers.into_iter().map(|file| (file, None)).collect())
    }

    fn new(
        archive: Archive,
        configuration: Configuration,
        layers: Vec<(String, Option<Descriptor>)>,
    ) -> anyhow::Result<Self> {
        let ids = &configuration.rootfs.diff_ids;
        ensure!(ids.len() == layers.len(), "{} layers, and diff_ids of {}", layers.len(), ids.len());
        let layers = layers.into_iter().zip(ids).map(|((file, descriptor), id)| {
            archive.find(&file)?;
            Ok(Layer { file, descriptor, diff_id: digest(id)?.to_owned() })
        });
        let layers = layers.collect::<anyhow::Result<_>>()?;
        Ok(Self { archive, configuration, layers })
    }

    /// Unpacks the layers, of at most `limit` bytes together, and verifies each.
    pub fn unpack(&self, unpacker: &mut Unpacker, limit: u64, style: Style) -> anyhow::Result<()> {
        let mut left = limit;
        for (number, layer) in self.layers.iter().enumerate() {
            let label = format!("layer {} of {}", number + 1, self.layers.len());
            let section = self.archive.find(&layer.file)?;
            let mut progress = Progress::new(&label, style, 0, Some(section.left));
            let mut compressed = Hashing::new(Watched { inner: section, progress: &mut progress });
            let content = stream::decompressed(&mut compressed, left, |tar| {
                let mut content = Hashing::new(tar);
                unpacker.unpack(&mut content)?;
                Ok((content.length, content.finish().0))
            });
            let (length, diff_id) = content.with_context(|| layer.file.clone())?;
            verify(&layer.file, &layer.diff_id, &diff_id).context("what is in the layer (diff_id)")?;
            if let Some(descriptor) = &layer.descriptor {
                // What follows the end of the compressed stream belongs to the blob.
                io::copy(&mut compressed, &mut io::sink()).with_context(|| layer.file.clone())?;
                verify(&layer.file, digest(&descriptor.digest)?, &compressed.finish().0)?;
            }
            left -= length.min(left);
        }
        Ok(())
    }
}

/// The image that fits this machine and the name, looking into indexes within the index.
fn choose(archive: &Archive, index: Index, name: Option<&str>) -> anyhow::Result<Descriptor> {
    let mut images = Vec::new();
    for descriptor in index.manifests {
        let inner = descriptor.media_type.as_deref().unwrap_or_default();
        if inner.ends_with("image.index.v1+json") || inner.ends_with("manifest.list.v2+json") {
            let outer = names(&descriptor);
            if name.is_some_and(|name| !outer.contains(&name)) {
                continue;
            }
            images.extend(archive.described::<Index>(&descriptor)?.manifests);
        } else if name.is_none_or(|name| names(&descriptor).contains(&name)) {
            images.push(descriptor);
        }
    }
    let here = if sys::SYSTEM == System::Freebsd { "freebsd" } else { "linux" };
    let architecture = oci_architecture(std::env::consts::ARCH)?.0;
    let shown = |image: &Descriptor| {
        let platform = image.platform.as_ref().map_or_else(String::new, |p| format!("{}/{}", p.os, p.architecture));
        let names = names(image).into_iter().map(str::to_owned);
        std::iter::once(platform).chain(names).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let all: Vec<String> = images.iter().map(shown).collect();
    if images.len() > 1 {
        let is = |image: &Descriptor, os: &str| {
            image.platform.as_ref().is_some_and(|p| p.os == os && p.architecture == architecture)
        };
        let os = ["freebsd", here].into_iter().find(|os| images.iter().any(|image| is(image, os)));
        images.retain(|image| os.is_some_and(|os| is(image, os)));
    }
    let mut images = images.into_iter();
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image),
        _ if all.is_empty() => {
            bail!("holds no image{}", name.map_or_else(String::new, |name| format!(" named {name}")))
        }
        (None, _) => bail!("none of its images is for {architecture}: {}", all.join(", ")),
        (Some(_), Some(_)) => bail!("name one of its images with --name: {}", all.join(", ")),
    }
}

fn names(image: &Descriptor) -> Vec<&str> {
    let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
    keys.iter().filter_map(|key| image.annotations.get(*key)).map(String::as_str).collect()
}

impl Archive {
    fn open(path: &Path, scratch: &Path, limit: u64) -> anyhow::Result<Self> {
        let mut file = fs::File::open(path)?.into_parts().0;
        if stream::is_compressed(path)? {
            let name = scratch.join("archive.tar");
            let mut plain = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
            fs::remove_file(&name)?;
            let written = stream::decompressed(&mut file, limit, |tar| Ok(io::copy(tar, &mut plain)?));
            written.with_context(|| path.display().to_string())?;
            plain.flush()?;
            file = plain.into_parts().0;
            file.rewind()?;
        }
        let files = list(&file).with_context(|| path.display().to_string())?;
        Ok(Self { file, files })
    }

    fn find(&self, name: &str) -> anyhow::Result<Section<'_>> {
        let (at, left) = *self.files.get(name).with_context(|| format!("{name}: is not in the archive"))?;
        Ok(Section { file: &self.file, at, left })
    }

    fn document(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut section = self.find(name)?;
        ensure!(section.left <= MAX_DOCUMENT, "{name}: {} bytes; {MAX_DOCUMENT} are allowed", section.left);
        let mut data = Vec::new();
        section.read_to_end(&mut data).with_context(|| name.to_owned())?;
        Ok(data)
    }

    /// The document that a descriptor names, verified.
    fn described<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> anyhow::Result<T> {
        let name = blob(&descriptor.digest)?;
        let data = self.document(&name)?;
        ensure!(data.len() as u64 == descriptor.size, "{name}: has {} bytes, not {}", data.len(), descriptor.size);
        verify(&name, digest(&descriptor.digest)?, &sha256(&data))?;
        parse(&data).context(name)
    }
}

/// Where each regular file of a tar archive lies. The names that matter are short enough for the plain header.
fn list(file: &File) -> anyhow::Result<HashMap<String, (u64, u64)>> {
    let mut tar = tar::Archive::new(file);
    let mut files = HashMap::new();
    for entry in tar.entries_with_seek().context("tar archive")?.raw(true) {
        let entry = entry.context("tar archive")?;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            files.insert(name, (entry.raw_file_position(), entry.size()));
            ensure!(files.len() <= MAX_FILES, "more than {MAX_FILES} files");
        }
    }
    Ok(files)
}

/// A file within the archive.
struct Section<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        if length == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> anyhow::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(data);
    Ok(serde_path_to_error::deserialize(&mut json)?)
}

/// The hexadecimal part of a digest.
fn digest(text: &str) -> anyhow::Result<&str> {
    let hex = text.strip_prefix("sha256:").with_context(|| format!("digest {text}: only sha256 is supported"))?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure!(valid, "digest {text}: not 64 hexadecimal digits");
    Ok(hex)
}

fn blob(text: &str) -> anyhow::Result<String> {
    Ok(format!("blobs/sha256/{}", digest(text)?))
}

fn verify(what: &str, expected: &str, got: &str) -> anyhow::Result<()> {
    ensure!(expected == got, "{what}: digest mismatch: it is sha256:{got}, and should be sha256:{expected}");
    Ok(())
}

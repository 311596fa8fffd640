//! `demo download`, `demo oci-image`, `demo unpack`, and `demo bundle` with a root file system.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;

use crate::cli::{need_root, print};
use crate::demo;
use crate::demo::download;
use crate::demo::http::Roots;
use crate::demo::image;
use crate::demo::platform::Platform;
use crate::demo::progress::Style;
use crate::demo::stream::Compression;
use crate::demo::unpack::LeftOut;

/// How large a file system may become when nothing else is said: several times FreeBSD's base system.
const MAX_SIZE: &str = "16g";

#[derive(Debug, Args)]
struct Kind {
    /// Machine: amd64, arm64, ... [default: this one, on FreeBSD]
    #[arg(short, long, value_name = "NAME")]
    machine: Option<String>,
    /// Processor: amd64, aarch64, ... [default: this one, on FreeBSD]
    #[arg(short, long, value_name = "NAME")]
    architecture: Option<String>,
    /// Version with its branch, like 14.3-RELEASE or 15.0-CURRENT [default: this one, on FreeBSD]
    #[arg(short, long, value_name = "VERSION")]
    version: Option<String>,
}

#[derive(Debug, Args)]
struct Server {
    /// Server to be used instead of FreeBSD's; it has the directories releases, snapshots, old-releases
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Whose certificates are trusted
    #[arg(long, value_enum, default_value = "auto")]
    tls_roots: Roots,
}

/// What an archive that is read may be, and whether more than errors is printed meanwhile.
#[derive(Debug, Args)]
struct Reading {
    /// Largest file system that is accepted, decompressed
    #[arg(long, value_name = "BYTES", default_value = MAX_SIZE, value_parser = bytes)]
    max_size: u64,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Kind {
    /// What was asked for or found; tells what was found.
    fn platform(&self, quiet: bool) -> anyhow::Result<Platform> {
        let asked = [&self.machine, &self.architecture, &self.version].map(|value| value.as_deref());
        let (platform, found) = Platform::new(asked[0], asked[1], asked[2])?;
        for (name, value) in found.iter().filter(|_| !quiet) {
            print(&format!("Found {name}:  {value}\n"))?;
        }
        Ok(platform)
    }
}

/// Fetch FreeBSD's base system (base.txz) or an official OCI image, and verify it
///
/// Looks among the releases, the snapshots and the archive of old releases. What is fetched is verified by the MANIFEST
/// (for images CHECKSUM.SHA256) beside it. A transfer that was broken off is gone on with; proxies are those of ALL_PROXY,
/// HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
#[derive(Debug, Args)]
pub struct Download {
    #[command(flatten)]
    kind: Kind,
    #[command(flatten)]
    server: Server,
    /// File to be written [default: rootfs.txz, for images image.txz]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fetch this official image (static, dynamic, runtime, ...) instead of the base system
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Download {
    pub fn call(&self) -> anyhow::Result<()> {
        let platform = self.kind.platform(self.quiet)?;
        let default = if self.image.is_some() { "image.txz" } else { "rootfs.txz" };
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(default));
        fetch(&platform, &self.server, self.image.as_deref(), &output, self.quiet)
    }
}

fn fetch(platform: &Platform, server: &Server, image: Option<&str>, output: &Path, quiet: bool) -> anyhow::Result<()> {
    if !quiet {
        let Platform { machine, arch, version } = platform;
        let what = image.unwrap_or("image");
        print(&format!("Downloading {what} for {machine}/{arch} {version} into {}\n", output.display()))?;
    }
    download::run(&download::Request {
        platform,
        image,
        mirror: server.mirror.as_deref(),
        output,
        roots: server.tls_roots,
        style: Style::new(quiet),
    })
}

/// Make an OCI image of a root file system
///
/// The root file system is an archive (tar, plain or compressed by xz, gzip or zstd) or is fetched as `demo download` does.
/// The same input always gives the same image; SOURCE_DATE_EPOCH sets its date, which is that of the newest file otherwise.
#[derive(Debug, Args)]
pub struct OciImage {
    /// Archive of the root file system
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["machine", "version"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    kind: Kind,
    #[command(flatten)]
    server: Server,
    /// Image archive to be written
    #[arg(short, long, value_name = "FILE", default_value = "image.tar")]
    output: PathBuf,
    /// Name of the image [default: localhost/freebsd:VERSION, or localhost/freebsd:latest]
    #[arg(long, value_name = "NAME[:TAG]")]
    name: Option<String>,
    /// Compression of the layer
    #[arg(long, value_enum, default_value = "gzip")]
    compression: Compression,
    #[command(flatten)]
    reading: Reading,
    /// Command that containers of the image execute [default: /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl OciImage {
    pub fn call(&self) -> anyhow::Result<()> {
        let created = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => Some(text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}"))?),
            Err(_) => None,
        };
        let Some(input) = &self.input else {
            let platform = self.kind.platform(self.reading.quiet)?;
            let Platform { arch, version, .. } = &platform;
            let input = self.output.with_file_name(format!("FreeBSD-{version}-{arch}-base.txz"));
            fetch(&platform, &self.server, None, &input, self.reading.quiet)?;
            return self.make(&input, Some(arch), version, created);
        };
        self.make(input, self.kind.architecture.as_deref(), "latest", created)
    }

    fn make(&self, input: &Path, arch: Option<&str>, tag: &str, created: Option<u64>) -> anyhow::Result<()> {
        let name = match &self.name {
            Some(name) if name.rsplit('/').next().is_some_and(|last| last.contains(':')) => name.clone(),
            Some(name) => format!("{name}:{tag}"),
            None => format!("localhost/freebsd:{tag}"),
        };
        ensure!(
            !name.starts_with(':') && !name.contains(char::is_whitespace),
            "--name: {name:?} is no name of an image"
        );
        let say = |text: &str| if self.reading.quiet { Ok(()) } else { print(text) };
        say(&format!("Creating OCI image in file {}\n", self.output.display()))?;
        let shell = ["/bin/sh".to_owned()];
        let request = image::Request {
            input,
            output: &self.output,
            arch,
            name: &name,
            command: if self.command.is_empty() { &shell } else { &self.command },
            compression: self.compression,
            created,
            limit: self.reading.max_size,
            style: Style::new(self.reading.quiet),
        };
        image::write(&request, |digest| say(&format!("writing blob sha256:{digest}\n")))?;
        say(&format!("{}: {name}\n", self.output.display()))
    }
}

/// Make a bundle of an OCI image
///
/// The image is an archive of an OCI layout, as podman, containerd and FreeBSD's servers have them, or of `docker save`;
/// it may be compressed. Every digest is verified. On Linux the files' flags are left out, and an image for Linux
/// runs on the emulation.
#[derive(Debug, Args)]
pub struct Unpack {
    /// Image archive
    image: PathBuf,
    /// The bundle to be made
    directory: PathBuf,
    /// Image in an archive of several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Arguments instead of the image's own (its Cmd)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Unpack {
    pub fn call(&self) -> anyhow::Result<()> {
        need_root("demo unpack (files keep their owners)")?;
        let style = Style::new(self.reading.quiet);
        let name = self.name.as_deref();
        let left = demo::write_bundle_of_image(
            &self.directory,
            &self.image,
            name,
            &self.command,
            self.reading.max_size,
            style,
        )?;
        tell(&self.directory, &self.image, left, self.reading.quiet)
    }
}

/// What `demo bundle` unpacks.
#[derive(Debug, Args)]
pub struct Rootfs {
    /// Root file system: an archive, which is unpacked (root only), or a directory, which is used where it is
    #[arg(long, value_name = "FILE|DIR")]
    rootfs: Option<PathBuf>,
    /// Largest file system that is accepted, decompressed
    #[arg(long, value_name = "BYTES", default_value = MAX_SIZE, value_parser = bytes, requires = "rootfs")]
    max_size: u64,
    /// Print nothing but errors
    #[arg(short, long, requires = "rootfs")]
    quiet: bool,
}

impl Rootfs {
    /// Makes the bundle if a root file system was named.
    pub fn bundle(&self, directory: &Path, command: &[String]) -> anyhow::Result<bool> {
        let Some(rootfs) = &self.rootfs else { return Ok(false) };
        if !rootfs.is_dir() {
            need_root("demo bundle --rootfs (files keep their owners)")?;
        }
        let left = demo::write_bundle_of(directory, rootfs, command, self.max_size, Style::new(self.quiet))?;
        tell(directory, rootfs, left, self.quiet)?;
        Ok(true)
    }
}

fn tell(directory: &Path, source: &Path, left: LeftOut, quiet: bool) -> anyhow::Result<()> {
    if quiet {
        return Ok(());
    }
    if left != LeftOut::default() {
        print(&format!("{left}\n"))?;
    }
    print(&format!("{}: a bundle of {}\n", directory.display(), source.display()))
}

/// A number of bytes with an optional k, m, g or t.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.to_ascii_lowercase().strip_suffix(['k', 'm', 'g', 't']) {
        Some(digits) => {
            let unit = text.chars().last().map_or('k', |unit| unit.to_ascii_lowercase());
            (
                digits.to_owned(),
                match unit {
                    'k' => 10,
                    'm' => 20,
                    'g' => 30,
                    _ => 40,
                },
            )
        }
        None => (text.to_owned(), 0),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{text}: {error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text}: too large"))
}

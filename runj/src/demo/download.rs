//! FreeBSD's base system and official images from its servers, each verified by the list of checksums beside it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use fs_err as fs;

use super::http::{Client, Roots};
use super::platform::Platform;
use super::progress::Style;
use super::stream::sha256_of;

/// Where releases and snapshots are.
const SERVER: &str = "https://download.freebsd.org";
/// Where releases go when they are no longer supported. The server has no TLS.
const ARCHIVE: &str = "http://ftp-archive.freebsd.org/pub/FreeBSD-Archive";

/// What is to be fetched, from where, to where.
#[derive(Debug)]
pub struct Request<'a> {
    /// Machine, architecture, version.
    pub platform: &'a Platform,
    /// The kind of official image (`static`, `runtime`), or none for the base system.
    pub image: Option<&'a str>,
    /// A server to be used instead of FreeBSD's.
    pub mirror: Option<&'a str>,
    /// The file.
    pub output: &'a Path,
    /// Whose certificates are trusted.
    pub roots: Roots,
    /// What is shown on the way.
    pub style: Style,
}

/// A file on a server and what its checksum is.
struct Source {
    url: String,
    sha256: String,
}

/// Fetches and verifies; there is a file under its final name only if it is the right one.
///
/// # Errors
/// No server has such a file, it is not what the list says, it cannot be written.
pub fn run(request: &Request) -> anyhow::Result<()> {
    let client = Client::new(request.roots, request.style)?;
    let output = request.output.display();
    if let Ok(mut there) = std::fs::File::open(request.output) {
        let source = find(&client, request)?;
        let sum = sha256_of(&mut there).with_context(|| output.to_string())?;
        ensure!(sum == source.sha256, "{output}: exists and is not {}; remove it first", source.url);
        say(request.style, &format!("{output} is there already; its checksum is right"));
        return Ok(());
    }
    let source = find(&client, request)?;
    let part = part_of(request.output);
    fetch(&client, &source, &part)?;
    fs::rename(&part, request.output)?;
    say(request.style, &format!("{output}: verified, sha256 {}", source.sha256));
    Ok(())
}

/// The name that a file has while it is not whole.
fn part_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Fetches into `part` and verifies it. A part of something else that an earlier run left is thrown away once.
fn fetch(client: &Client, source: &Source, part: &Path) -> anyhow::Result<()> {
    loop {
        let (mut file, resumed) = client.file(&source.url, part)?;
        std::io::Seek::rewind(&mut file)?;
        let sum = sha256_of(&mut file).with_context(|| part.display().to_string())?;
        if sum == source.sha256 {
            return file.sync_all().with_context(|| part.display().to_string());
        }
        fs::remove_file(part)?;
        ensure!(
            resumed,
            "{}: checksum mismatch: it is {sum}, and should be {}; what was fetched is removed",
            source.url,
            source.sha256
        );
        log::warn!("{}: the part that was there belonged to another file; fetching all", source.url);
    }
}

/// Looks for the file in each place.
fn find(client: &Client, request: &Request) -> anyhow::Result<Source> {
    let mut tried = Vec::new();
    for directory in directories(request) {
        let list = if request.image.is_some() { "CHECKSUM.SHA256" } else { "MANIFEST" };
        let url = format!("{directory}/{list}");
        match client.document(&url)? {
            Some(text) => {
                if url.starts_with("http://") && request.mirror.is_none() {
                    say(request.style, &format!("{directory}: has no TLS: only as trustworthy as the network"));
                }
                return match request.image {
                    Some(kind) => {
                        image(&text, kind).map(|(file, sha256)| Source { url: format!("{directory}/{file}"), sha256 })
                    }
                    None => base(&text).map(|sha256| Source { url: format!("{directory}/base.txz"), sha256 }),
                }
                .context(url);
            }
            None => tried.push(url),
        }
    }
    let Platform { machine, arch, version } = request.platform;
    let what = request.image.map_or_else(|| "base system".to_owned(), |kind| format!("image {kind:?}"));
    bail!("no {what} for {machine}/{arch} {version}: there is none of {}", tried.join(", "))
}

/// The directories that may have it, the likeliest first.
fn directories(request: &Request) -> Vec<String> {
    let Platform { machine, arch, version } = request.platform;
    let server = request.mirror.unwrap_or(SERVER).trim_end_matches('/');
    let archive = request.mirror.unwrap_or(ARCHIVE).trim_end_matches('/');
    // Branches that are still developed are snapshots first.
    let mut places = vec![format!("{server}/releases"), format!("{server}/snapshots")];
    if ["-CURRENT", "-STABLE", "-PRERELEASE", "-ALPHA"].iter().any(|branch| version.contains(branch)) {
        places.reverse();
    }
    places.push(format!("{archive}/old-releases"));
    let below = |place: String| match request.image {
        Some(_) => vec![format!("{place}/OCI-IMAGES/{version}/{arch}/Latest")],
        // The archive has some releases under one of these names alone.
        None if place.ends_with("old-releases") && machine == arch => {
            vec![format!("{place}/{machine}/{arch}/{version}"), format!("{place}/{machine}/{version}")]
        }
        None => vec![format!("{place}/{machine}/{arch}/{version}")],
    };
    places.into_iter().flat_map(below).collect()
}

/// The checksum of the base system in a MANIFEST: name, SHA-256, number of files, and more, parted by tabs.
fn base(manifest: &str) -> anyhow::Result<String> {
    let mut lines = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let line = lines.find(|fields| fields[0] == "base.txz").context("lists no base.txz")?;
    checksum(line.get(1).copied().unwrap_or_default())
}

/// File and checksum of an image in a list: `SHA256 (FILE) = HEX`.
fn image(list: &str, kind: &str) -> anyhow::Result<(String, String)> {
    let lines = list.lines().filter_map(|line| line.strip_prefix("SHA256 (")?.split_once(") = "));
    let kinds = lines.filter_map(|(file, sum)| {
        let (_, rest) = file.split_once("-container-image-")?;
        let plain = !file.contains('/');
        plain.then_some((rest.split('.').next()?, file, sum))
    });
    let kinds: Vec<_> = kinds.collect();
    let Some((_, file, sum)) = kinds.iter().find(|(name, ..)| *name == kind) else {
        let names: Vec<&str> = kinds.iter().map(|(name, ..)| *name).collect();
        bail!("lists no image {kind:?}; there are {}", names.join(", "));
    };
    Ok(((*file).to_owned(), checksum(sum)?))
}

fn checksum(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    ensure!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?} is no SHA-256");
    Ok(text.to_ascii_lowercase())
}

fn say(style: Style, text: &str) {
    if style != Style::Quiet {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn request<'a>(platform: &'a Platform, image: Option<&'a str>) -> Request<'a> {
        let output = Path::new("x");
        Request { platform, image, mirror: None, output, roots: Roots::Auto, style: Style::Quiet }
    }

    fn platform(machine: &str, arch: &str, version: &str) -> Platform {
        Platform { machine: machine.to_owned(), arch: arch.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn places() {
        let release = platform("arm64", "aarch64", "14.1-RELEASE");
        assert_eq!(
            directories(&request(&release, None)),
            [
                "https://download.freebsd.org/releases/arm64/aarch64/14.1-RELEASE",
                "https://download.freebsd.org/snapshots/arm64/aarch64/14.1-RELEASE",
                "http://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases/arm64/aarch64/14.1-RELEASE",
            ]
        );
        assert!(directories(&request(&platform("amd64", "amd64", "15.0-CURRENT"), None))[0].contains("/snapshots/"));
        assert_eq!(
            directories(&request(&release, Some("static")))[0],
            "https://download.freebsd.org/releases/OCI-IMAGES/14.1-RELEASE/aarch64/Latest"
        );
    }

    #[test]
    fn lists() {
        let manifest = format!("base-dbg.txz\tx\t1\nbase.txz\t{SUM}\t26300\tbase\t\"Base system (MANDATORY)\"\ton\n");
        assert_eq!(base(&manifest).unwrap(), SUM);
        assert!(base("kernel.txz\tx").is_err());
        assert!(base("base.txz\tshort").is_err());
        let file = "FreeBSD-14.3-RELEASE-amd64-container-image-static.txz";
        let list = format!("SHA256 ({file}) = {SUM}\nSHA256 (FreeBSD-x-container-image-dynamic.txz) = {SUM}\n");
        assert_eq!(image(&list, "static").unwrap(), (file.to_owned(), SUM.to_owned()));
        let error = image(&list, "huge").unwrap_err().to_string();
        assert_eq!(error, "lists no image \"huge\"; there are static, dynamic");
        assert!(image(&format!("SHA256 (../x-container-image-static.txz) = {SUM}"), "static").is_err());
    }
}

//! Fetches files: resumed, retried, through proxies, by TLS. Knows nothing of what it fetches; that a file is the right
//! one is for the caller's checksum to say.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use ureq::http::{Response, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::progress::{Progress, Style};

/// How often something is tried without any progress.
const ATTEMPTS: u32 = 5;
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than any file that is fetched here.
const MAX_SIZE: u64 = 8 << 30;
/// More than any list of checksums.
const MAX_DOCUMENT: u64 = 1 << 20;

/// Whose certificates are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Roots {
    /// The system's, or Mozilla's where the system has none
    Auto,
    /// The system's (SSL_CERT_FILE and SSL_CERT_DIR name others)
    System,
    /// Mozilla's, as they were when runj was built
    Bundled,
}

/// A client with its settings.
pub struct Client {
    agent: Agent,
    style: Style,
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    /// None will.
    Final(anyhow::Error),
}

impl Client {
    /// A client that honours `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` (the first that is set) and `NO_PROXY`.
    ///
    /// # Errors
    /// A proxy that is no URL; no certificates of the system where only they are trusted.
    pub fn new(roots: Roots, style: Style) -> anyhow::Result<Self> {
        for name in ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            // The library passes over what it cannot read, and would go without a proxy.
            if let Ok(value) = std::env::var(name) {
                Proxy::new(&value).map_err(|error| anyhow!("{name}={value}: {error}"))?;
            }
        }
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(root_certificates(roots)?).build())
            .http_status_as_error(false)
            .user_agent(concat!("runj/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE));
        Ok(Self { agent: Agent::new_with_config(config.build()), style })
    }

    /// A small document; none if the server has no such file.
    pub fn document(&self, url: &str) -> anyhow::Result<Option<String>> {
        self.retried(url, |_| {
            let response = self.get(url, 0)?;
            match response.status().as_u16() {
                200 => {
                    let mut text = Vec::new();
                    let mut body = response.into_body().into_reader().take(MAX_DOCUMENT + 1);
                    body.read_to_end(&mut text).map_err(|error| Failure::Passing(error.into()))?;
                    if text.len() as u64 > MAX_DOCUMENT {
                        return Err(Failure::Final(anyhow!("more than {MAX_DOCUMENT} bytes")));
                    }
                    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
                }
                404 | 410 => Ok(None),
                status => Err(refused(status)),
            }
        })
    }

    /// Fetches into `part`, going on where it ends; returns whether there was something in it before.
    pub fn file(&self, url: &str, part: &Path) -> anyhow::Result<(File, bool)> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part);
        let file = open.with_context(|| part.display().to_string())?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EAGAIN)) => bail!("{}: another download is writing it", part.display()),
            Err((_, errno)) => bail!("{}: {}", part.display(), errno.desc()),
        };
        let resumed = file.metadata()?.len() > 0;
        self.retried(url, |failed| {
            let before = end(&mut file).map_err(Failure::Final)?;
            let result = self.attempt(url, &mut file, part);
            // What brought something is not held against the server.
            if end(&mut file).is_ok_and(|now| now > before) {
                *failed = 0;
            }
            result
        })?;
        let file = file.unlock().map_err(|(_, errno)| errno).context("unlock")?;
        Ok((file, resumed))
    }

    fn attempt(&self, url: &str, file: &mut File, part: &Path) -> Result<(), Failure> {
        let written = |error: io::Error| Failure::Final(anyhow::Error::new(error).context(part.display().to_string()));
        let offset = end(file).map_err(Failure::Final)?;
        let response = self.get(url, offset)?;
        let (offset, total) = match (response.status().as_u16(), range(&response)) {
            (206, Some((start, total))) if start == offset => (offset, total),
            // The whole of it: to a server that cannot resume, or that was asked for all.
            (200, _) => {
                file.set_len(0).map_err(written)?;
                (0, length(&response))
            }
            // Nothing behind the end: it is complete, or longer than the file of the server, and begun anew.
            (416, range) if offset > 0 => {
                if range.is_some_and(|(_, total)| total == Some(offset)) {
                    return Ok(());
                }
                file.set_len(0).map_err(written)?;
                return Err(Failure::Passing(anyhow!("the part file is longer than the file")));
            }
            (206, _) => {
                file.set_len(0).map_err(written)?;
                return Err(Failure::Passing(anyhow!("an answer with another part than was asked for")));
            }
            (404 | 410, _) => return Err(Failure::Final(anyhow!("no such file on the server"))),
            (status, _) => return Err(refused(status)),
        };
        file.seek(SeekFrom::Start(offset)).map_err(written)?;
        let name = url.rsplit('/').next().unwrap_or(url);
        let mut progress = Progress::new(name, self.style, offset, total);
        let mut body = response.into_body().into_with_config().limit(MAX_SIZE).reader();
        let mut buffer = vec![0; 128 << 10];
        let mut done = offset;
        loop {
            let length = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Passing(error.into())),
            };
            file.write_all(&buffer[..length]).map_err(written)?;
            done += length as u64;
            progress.advance(length as u64);
        }
        match total {
            Some(total) if total != done => Err(Failure::Passing(anyhow!("ended after {done} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    fn get(&self, url: &str, offset: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                Failure::Final(error.into())
            }
            ureq::Error::Io(ref io) if io.kind() == ErrorKind::InvalidData => Failure::Final(error.into()),
            other => Failure::Passing(other.into()),
        })
    }

    /// Runs `attempt`, which may take back the count of failures, until it succeeds or failed too often.
    fn retried<T>(&self, url: &str, mut attempt: impl FnMut(&mut u32) -> Result<T, Failure>) -> anyhow::Result<T> {
        let mut failed = 0;
        loop {
            let error = match attempt(&mut failed) {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error.context(url.to_owned())),
                Err(Failure::Passing(error)) => error,
            };
            failed += 1;
            if failed == ATTEMPTS {
                return Err(error.context(format!("{url}: tried {ATTEMPTS} times")));
            }
            if self.style != Style::Quiet {
                let _ = writeln!(io::stderr(), "{url}: {error:#}; trying again");
            }
            // At once after progress, then 1, 2, 4 seconds later.
            if failed > 1 {
                std::thread::sleep(Duration::from_secs(1 << (failed - 2)));
            }
        }
    }
}

fn refused(status: u16) -> Failure {
    let error = anyhow!("the server answers {status}");
    if matches!(status, 408 | 429 | 500..) { Failure::Passing(error) } else { Failure::Final(error) }
}

fn end(file: &mut File) -> anyhow::Result<u64> {
    Ok(file.metadata()?.len())
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Start and total of `Content-Range: bytes 5-9/10` or `bytes */10`.
fn range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    parse_range(response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?)
}

fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = if range == "*" { 0 } else { range.split_once('-')?.0.parse().ok()? };
    Some((start, total.parse().ok()))
}

fn root_certificates(roots: Roots) -> anyhow::Result<RootCerts> {
    if roots == Roots::Bundled {
        return Ok(RootCerts::WebPki);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        ensure!(
            roots == Roots::Auto,
            "the system has no certificates of authorities{why}; install ca_root_nss or ca-certificates, or use \
             --tls-roots bundled"
        );
        log::info!("the system has no certificates of authorities{why}: using the bundled ones");
        return Ok(RootCerts::WebPki);
    }
    let certificates = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse_range("bytes */10"), Some((0, Some(10))));
        assert_eq!(parse_range("lines 1-2/3"), None);
    }
}

//! Compressed streams in bounded memory: found by their first bytes, decompressed beside their consumer (the two cores
//! of a small machine), compressed, counted and hashed.
//!
//! The threads here are the only ones of runj. The commands that use them make no jails and fork nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::progress::Progress;

/// The most that a decompressor may take: what `xz -9` needs is 65 MiB.
const MAX_MEMORY: u64 = 128 << 20;
/// The largest window of zstd (2^n) that is the format's default limit, too.
const MAX_WINDOW: u32 = 27;
/// What is handed from one thread to the other at once, and how many of them wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// gzip, which every engine reads
    Gzip,
    /// zstd, for containerd 1.5 and podman 3 or newer
    Zstd,
}

/// What `reader` holds, decompressed, and whether it was compressed.
///
/// # Errors
/// A format that is known and not supported.
fn decoder<'a>(mut reader: impl BufRead + Send + 'a) -> io::Result<(Box<dyn Read + Send + 'a>, bool)> {
    let head = reader.fill_buf()?;
    Ok(match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_MEMORY, liblzma::stream::CONCATENATED)?;
            (Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream)), true)
        }
        [0x1f, 0x8b, ..] => (Box::new(MultiGzDecoder::new(reader)), true),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(MAX_WINDOW)?;
            (Box::new(decoder), true)
        }
        [b'B', b'Z', b'h', ..] => {
            return Err(io::Error::other("compressed by bzip2, which is not supported; use xz, gzip or zstd"));
        }
        _ => (Box::new(reader), false),
    })
}

/// Whether the file begins as one of the compressed formats does.
pub fn is_compressed(path: &Path) -> anyhow::Result<bool> {
    let file = fs_err::File::open(path)?;
    Ok(decoder(BufReader::new(file)).with_context(|| path.display().to_string())?.1)
}

/// Decompresses `input` in a second thread while `consume` takes what comes of it.
///
/// # Errors
/// Those of `consume`, among them a reader's: damaged input, more than `limit` bytes.
pub fn decompressed<T>(
    input: impl Read + Send,
    limit: u64,
    consume: impl FnOnce(&mut dyn Read) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PIECES);
        scope.spawn(move || send(BufReader::with_capacity(PIECE, input), limit, &sender));
        consume(&mut Pieces { receiver, piece: Vec::new(), taken: 0 })
    })
}

/// Sends what the input holds, then an error if there was one. Ends when nobody listens.
fn send(input: impl BufRead + Send, limit: u64, sender: &SyncSender<io::Result<Vec<u8>>>) {
    let run = || -> io::Result<()> {
        let (mut decoder, _) = decoder(input)?;
        let mut left = limit;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let length = (&mut decoder).take(PIECE as u64).read_to_end(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            left = left.checked_sub(length as u64).ok_or_else(|| {
                io::Error::other(format!("more than {limit} bytes when decompressed; --max-size allows more"))
            })?;
            if sender.send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = run() {
        let _ = sender.send(Err(error));
    }
}

/// The consumer's end.
struct Pieces {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            match self.receiver.recv() {
                Ok(piece) => (self.piece, self.taken) = (piece?, 0),
                // The sender is gone: the end.
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.taken);
        buffer[..length].copy_from_slice(&self.piece[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

/// A writer that compresses.
pub enum Encoder<W: Write> {
    /// gzip (RFC 1952).
    Gzip(flate2::write::GzEncoder<W>),
    /// zstd (RFC 8878).
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// The same input gives the same output: no time and no name is written.
    pub fn new(compression: Compression, writer: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => {
                let encoder = flate2::GzBuilder::new().mtime(0).operating_system(255);
                Self::Gzip(encoder.write(writer, flate2::Compression::default()))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(writer, 0)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what is left.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Counts and hashes what goes through it, either way.
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    /// How many bytes went through.
    pub length: u64,
}

impl<T> Hashing<T> {
    /// Nothing went through yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }

    /// The digest in hexadecimal, and what was wrapped.
    pub fn finish(self) -> (String, T) {
        (hex(&self.hash.finalize()), self.inner)
    }

    fn take(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.length += data.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.take(&buffer[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(data)?;
        self.take(&data[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader that shows how far it is.
pub struct Watched<'a, R> {
    /// What is read.
    pub inner: R,
    /// Where it is shown.
    pub progress: &'a mut Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.progress.advance(length as u64);
        Ok(length)
    }
}

/// The SHA-256 of data, in hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// The SHA-256 of what a file holds, in hexadecimal.
pub fn sha256_of(file: &mut File) -> io::Result<String> {
    let mut hashing = Hashing::new(io::sink());
    io::copy(file, &mut hashing)?;
    Ok(hashing.finish().0)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! What a program prints, gathered while it runs.

use std::io::ErrorKind;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// The most that is kept, in bytes; the rest is read and dropped.
const KEPT: usize = 1 << 20;

/// A pipe and what came out of it.
#[derive(Debug)]
pub struct Capture {
    pipe: Receiver,
    bytes: Vec<u8>,
}

impl Capture {
    /// Nothing yet.
    pub fn new(pipe: Receiver) -> Self {
        Self { pipe, bytes: Vec::new() }
    }

    /// Reads until the pipe ends. What was read before this is dropped unfinished is kept.
    pub async fn fill(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.pipe.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => self.keep(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::warn!("read what a program prints: {error}");
                    return;
                }
            }
        }
    }

    /// All that came, with what is still in the pipe.
    pub fn rest(mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.pipe.try_read(&mut buffer) {
            self.keep(&buffer[..count]);
        }
        self.bytes
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

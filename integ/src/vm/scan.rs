//! Finds the runner's marks in the bytes of a serial line, and splits those bytes into lines. Pure.
//!
//! A mark is `@@NONCE:SEQUENCE:STATUS@@`. The command line that prints it holds `$?` where the mark has a number, so the
//! echo of that line is no mark.

/// A piece of what the guest printed.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// output of the command
    Output(Vec<u8>),
    /// a mark
    Mark { sequence: u32, status: i32 },
}

/// Takes the marks out of a stream, holding back only what may become one.
pub struct Scanner {
    prefix: Vec<u8>,
    pending: Vec<u8>,
    /// a mark's own end of line has not come yet
    after_mark: bool,
}

/// `SEQUENCE:STATUS@@` is never longer.
const LONGEST_MARK: usize = 32;

impl Scanner {
    /// A scanner for marks with this nonce.
    pub fn new(nonce: &str) -> Self {
        Self { prefix: format!("@@{nonce}:").into_bytes(), pending: Vec::new(), after_mark: false }
    }

    /// Takes bytes; returns what is certain by now. Carriage returns before a newline are dropped.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.pending.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        loop {
            if self.after_mark && !self.skip_line_end() {
                return pieces;
            }
            let Some(start) = find(&self.pending, &self.prefix) else {
                let keep = self.held_back();
                let certain = self.pending.len() - keep;
                push_output(&mut pieces, self.pending.drain(..certain).collect());
                return pieces;
            };
            push_output(&mut pieces, self.pending.drain(..start).collect());
            let rest = &self.pending[self.prefix.len()..];
            match find(rest, b"@@") {
                Some(end) if end <= LONGEST_MARK => match parse_mark(&rest[..end]) {
                    Some((sequence, status)) => {
                        self.pending.drain(..self.prefix.len() + end + 2);
                        pieces.push(Piece::Mark { sequence, status });
                        self.after_mark = true;
                    }
                    None => self.not_a_mark(&mut pieces),
                },
                None if rest.len() <= LONGEST_MARK && rest.iter().all(|byte| is_of_mark(*byte)) => return pieces,
                _ => self.not_a_mark(&mut pieces),
            }
        }
    }

    /// Gives back what was held, at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn not_a_mark(&mut self, pieces: &mut Vec<Piece>) {
        let length = self.prefix.len();
        push_output(pieces, self.pending.drain(..length).collect());
    }

    /// Drops the end of a mark's line; false if it has not come yet.
    fn skip_line_end(&mut self) -> bool {
        match self.pending.as_slice() {
            [] | [b'\r'] => return false,
            [b'\r', b'\n', ..] => drop(self.pending.drain(..2)),
            [b'\n', ..] => drop(self.pending.drain(..1)),
            // FreeBSD's console may write the carriage return twice
            [b'\r', b'\r', ..] => {
                self.pending.remove(0);
                return self.skip_line_end();
            }
            _ => {}
        }
        self.after_mark = false;
        true
    }

    /// How many bytes at the end may be the beginning of a mark, or of a line end.
    fn held_back(&self) -> usize {
        let longest = self.pending.len().min(self.prefix.len() - 1);
        let mark = (1..=longest).rev().find(|length| self.pending.ends_with(&self.prefix[..*length])).unwrap_or(0);
        if mark == 0 && self.pending.ends_with(b"\r") { 1 } else { mark }
    }
}

fn push_output(pieces: &mut Vec<Piece>, bytes: Vec<u8>) {
    let mut clean = Vec::with_capacity(bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        let line_end = bytes[index..].iter().find(|next| **next != b'\r') == Some(&b'\n');
        if *byte != b'\r' || !line_end {
            clean.push(*byte);
        }
    }
    if !clean.is_empty() {
        pieces.push(Piece::Output(clean));
    }
}

fn is_of_mark(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b':' || byte == b'@'
}

fn parse_mark(text: &[u8]) -> Option<(u32, i32)> {
    let (sequence, status) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((sequence.parse().ok()?, status.parse().ok()?))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Splits bytes into lines of text, without their ends.
#[derive(Default)]
pub struct Lines {
    tail: String,
    partial: Vec<u8>,
}

/// No line of interest is longer; a guest that prints no newline must not fill our memory.
const LONGEST_LINE: usize = 8192;

impl Lines {
    /// Takes bytes; returns the lines that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' || self.partial.len() >= LONGEST_LINE {
                lines.push(strip_escapes(&String::from_utf8_lossy(&self.partial)).trim_end().to_owned());
                self.partial.clear();
            } else {
                self.partial.push(*byte);
            }
        }
        self.tail = String::from_utf8_lossy(&self.partial).into_owned();
        lines
    }

    /// The line that has no end yet.
    pub fn tail(&self) -> &str {
        &self.tail
    }

    /// Begins a new line.
    pub fn forget_tail(&mut self) {
        self.tail.clear();
        self.partial.clear();
    }
}

/// Drops terminal control sequences and other control characters.
pub fn strip_escapes(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // CSI: parameters and intermediates, then one final character
                Some('[') => while characters.next_if(|next| !('@'..='~').contains(next)).is_some() {},
                _ => continue,
            },
            control if control.is_control() && control != '\t' => continue,
            other => {
                clean.push(other);
                continue;
            }
        }
        // the final character of a CSI sequence
        characters.next();
    }
    clean
}

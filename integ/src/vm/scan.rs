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

/// What becomes of the carriage returns before a newline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// dropped: the output goes to a file or a program
    Drop,
    /// kept: it goes to a raw terminal
    Keep,
}

/// Takes the marks out of a stream, holding back only what may become one.
pub struct Scanner {
    prefix: Vec<u8>,
    pending: Vec<u8>,
    returns: Returns,
    /// a mark's own end of line has not come yet
    after_mark: bool,
}

/// `SEQUENCE:STATUS@@` is never longer.
const LONGEST_MARK: usize = 32;

impl Scanner {
    /// A scanner for marks with this nonce.
    pub fn new(nonce: &str) -> Self {
        Self {
            prefix: format!("@@{nonce}:").into_bytes(),
            pending: Vec::new(),
            returns: Returns::Drop,
            after_mark: false,
        }
    }

    /// Changes what becomes of carriage returns; at first they are dropped.
    pub fn set_returns(&mut self, returns: Returns) {
        self.returns = returns;
    }

    /// Takes bytes; returns what is certain by now.
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
                self.push(&mut pieces, certain);
                return pieces;
            };
            self.push(&mut pieces, start);
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

    /// Hands out that many bytes as output.
    fn push(&mut self, pieces: &mut Vec<Piece>, count: usize) {
        let bytes: Vec<u8> = self.pending.drain(..count).collect();
        let ends_line = |index: usize| bytes[index..].iter().find(|next| **next != b'\r') == Some(&b'\n');
        let kept = |index: usize, byte: u8| self.returns == Returns::Keep || byte != b'\r' || !ends_line(index);
        let clean: Vec<u8> =
            bytes.iter().enumerate().filter(|(index, byte)| kept(*index, **byte)).map(|(_, byte)| *byte).collect();
        if !clean.is_empty() {
            pieces.push(Piece::Output(clean));
        }
    }

    fn not_a_mark(&mut self, pieces: &mut Vec<Piece>) {
        self.push(pieces, self.prefix.len());
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

//! Our own terminal while it is the machine's console: raw, and restored whatever happens.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// The key that leaves: Ctrl-].
pub const ESCAPE: u8 = 0x1d;

/// A terminal in raw mode; restored when dropped.
pub struct RawTerminal {
    settings: String,
}

impl RawTerminal {
    /// Makes standard input raw; none if it is no terminal.
    pub fn enter() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let output = Command::new("stty").arg("-g").stdin(Stdio::inherit()).output().ok()?;
        let settings = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        stty(&["raw", "-echo"]).then_some(Self { settings })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        stty(&[&self.settings]);
    }
}

fn stty(words: &[&str]) -> bool {
    Command::new("stty").args(words).stdin(Stdio::inherit()).status().is_ok_and(|status| status.success())
}

/// The size of our terminal as words for `stty`, if there is one.
pub fn size() -> Option<String> {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    // 0 is what a terminal says that does not know
    let known = rows != "0" && columns != "0";
    known.then(|| format!("rows {rows} cols {columns}"))
}

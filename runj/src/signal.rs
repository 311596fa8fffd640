//! Signals as users spell them: `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+1`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A signal number of this system; 0 asks only whether the process is there (kill(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// SIGTERM.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// SIGKILL.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// SIGSTOP.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// SIGCONT.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// The number that kill(2) takes.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The signal with this number, if the system has it.
    pub fn from_number(number: i32) -> Option<Self> {
        (0..=crate::sys::SIGNAL_MAX).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// A text that names no signal of this system.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown signal {text:?}")]
pub struct SignalError {
    /// The text.
    text: String,
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let unknown = || SignalError { text: text.to_owned() };
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::from_number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(offset) = name.strip_prefix("RTMIN") {
            let offset = match offset.strip_prefix('+') {
                Some(digits) => digits.parse::<u8>().map_err(|_| unknown())?,
                None if offset.is_empty() => 0,
                None => return Err(unknown()),
            };
            let number = crate::sys::realtime_minimum() + i32::from(offset);
            return Self::from_number(number).ok_or_else(unknown);
        }
        format!("SIG{name}")
            .parse::<nix::sys::signal::Signal>()
            .map(|signal| Self(signal as i32))
            .map_err(|_| unknown())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("9", 9)]
    #[case("KILL", 9)]
    #[case("SIGKILL", 9)]
    #[case("sigkill", 9)]
    #[case("kill", 9)]
    #[case("term", 15)]
    #[case("0", 0)]
    #[case("SIGRTMIN+1", crate::sys::realtime_minimum() + 1)]
    fn spellings(#[case] text: &str, #[case] number: i32) {
        assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number));
    }

    #[rstest]
    #[case("")]
    #[case("NOPE")]
    #[case("SIG")]
    #[case("-9")]
    #[case("999")]
    #[case("RTMIN+x")]
    #[case("9x")]
    fn strangers(#[case] text: &str) {
        assert!(text.parse::<Signal>().is_err());
    }

    #[test]
    fn shows_the_name() {
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
    }
}

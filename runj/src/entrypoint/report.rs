//! What the entrypoint tells those who wait for it. Pure.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One line on the report pipe or the status FIFO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// In the jail, its program found, waiting for `start`.
    Ready,
    /// execve(2) is the next call.
    Executing,
    /// It did not get there.
    Failed(Failure),
}

/// Where the entrypoint failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{stage}: {message}")]
pub struct Failure {
    /// What it was doing: `attach to the jail`.
    pub stage: String,
    /// The error's text.
    pub message: String,
    /// The exit code for the caller: 127 for a program that is not there, 126 for one that cannot be executed,
    /// 1 otherwise.
    pub exit: u8,
}

impl Failure {
    /// A failure of runj's own making.
    pub fn new(stage: &str, error: impl ToString) -> Self {
        Self { stage: stage.to_owned(), message: error.to_string(), exit: 1 }
    }

    /// A program that cannot be executed, in the words that engines look for.
    pub fn exec(name: &str, object: &str, errno: Errno) -> Self {
        let exit = match errno {
            Errno::ENOENT | Errno::ENOTDIR => 127,
            _ => 126,
        };
        let reason = match errno {
            // Engines map the text "permission denied" to 126.
            Errno::EISDIR => "is a directory: permission denied".to_owned(),
            errno => lower_first(errno.desc()),
        };
        Self { stage: format!("exec {name:?}"), message: format!("{object}: {reason}"), exit }
    }

    /// A name that no directory of PATH has.
    pub fn not_in_path(name: &str) -> Self {
        Self { stage: format!("exec {name:?}"), message: "executable file not found in $PATH".to_owned(), exit: 127 }
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Errno::ENOENT, 127, "no such file or directory")]
    #[case(Errno::EACCES, 126, "permission denied")]
    #[case(Errno::EISDIR, 126, "permission denied")]
    #[case(Errno::ENOEXEC, 126, "exec format error")]
    fn exit_codes_and_words(#[case] errno: Errno, #[case] exit: u8, #[case] words: &str) {
        let failure = Failure::exec("x", "/x", errno);
        assert_eq!(failure.exit, exit);
        assert!(failure.to_string().to_lowercase().contains(words), "{failure}");
    }
}

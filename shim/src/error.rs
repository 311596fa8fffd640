//! Errors as containerd understands them: a gRPC code and words.

use ttrpc::Code;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// What containerd's clients test for.
    pub code: Code,
    /// What people read: runj's own message where it is runj that refused.
    pub text: String,
}

/// What a call comes to.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// There is no such container, program or process.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Code::NOT_FOUND, text)
    }

    /// There is one of this name.
    pub fn already_exists(text: impl Into<String>) -> Self {
        Self::new(Code::ALREADY_EXISTS, text)
    }

    /// Not at this point of its life.
    pub fn precondition(text: impl Into<String>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, text)
    }

    /// The request cannot be understood.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, text)
    }

    /// Jails cannot do that.
    pub fn unimplemented(text: impl Into<String>) -> Self {
        Self::new(Code::UNIMPLEMENTED, text)
    }

    /// Everything else: what the kernel or runj refused.
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(Code::UNKNOWN, text)
    }

    /// A file that could not be read, written or opened.
    pub fn file(path: &std::path::Path, error: impl std::fmt::Display) -> Self {
        Self::unknown(format!("{}: {error}", path.display()))
    }
}

impl From<Error> for ttrpc::Error {
    fn from(error: Error) -> Self {
        ttrpc::error::get_rpc_status(error.code, error.text)
    }
}

//! What a check is, is given and yields.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::json;

/// A check: its name, its arguments as text, what holds when it is silent.
pub struct Check {
    /// As typed.
    pub name: &'static str,
    /// Its arguments.
    pub usage: &'static str,
    /// One line.
    pub about: &'static str,
    /// Looks.
    pub run: fn(&Args) -> Outcome,
}

/// Nothing when the check holds.
pub type Outcome = Result<(), Failure>;

/// Why a check does not hold.
#[derive(Debug)]
pub enum Failure {
    /// The jail is not as expected.
    Differs {
        /// What should be.
        expected: String,
        /// What is.
        got: String,
    },
    /// The check cannot be made.
    Usage(String),
}

impl Failure {
    /// Expected and got.
    pub fn differs(expected: impl Display, got: impl Display) -> Self {
        Self::Differs { expected: expected.to_string(), got: got.to_string() }
    }

    /// A misuse by the caller.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// The line for stderr.
    pub fn json(&self, check: &str) -> String {
        match self {
            Self::Differs { expected, got } => json!({"check": check, "expected": expected, "got": got}).to_string(),
            Self::Usage(text) => json!({"check": check, "usage": text}).to_string(),
        }
    }

    /// The exit code of the program.
    pub fn code(&self) -> i32 {
        match self {
            Self::Differs { .. } => 1,
            Self::Usage(_) => 2,
        }
    }
}

/// Holds if both are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(expected: T, got: T) -> Outcome {
    if expected == got {
        return Ok(());
    }
    Err(Failure::differs(format!("{expected:?}"), format!("{got:?}")))
}

/// Adds what was attempted to an error of the system.
pub trait Attempt<T> {
    /// `expected` is what should have worked.
    fn attempt(self, expected: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn attempt(self, expected: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::differs(expected, error))
    }
}

/// The arguments of one check.
pub struct Args<'a> {
    /// As given.
    pub list: &'a [String],
    /// As the check describes them.
    pub usage: &'static str,
}

impl Args<'_> {
    /// An argument that must be there.
    pub fn text(&self, index: usize) -> Result<&str, Failure> {
        let text = self.list.get(index).map(String::as_str);
        text.ok_or_else(|| Failure::usage(format!("arguments: {}", self.usage)))
    }

    /// An argument that must be there and be of this type.
    pub fn value<T: FromStr>(&self, index: usize) -> Result<T, Failure> {
        let text = self.text(index)?;
        text.parse().map_err(|_| Failure::usage(format!("{text:?}: arguments: {}", self.usage)))
    }

    /// An argument with a default.
    pub fn value_or<T: FromStr>(&self, index: usize, default: T) -> Result<T, Failure> {
        if self.list.len() > index { self.value(index) } else { Ok(default) }
    }

    /// An octal number.
    pub fn octal(&self, index: usize) -> Result<u32, Failure> {
        let text = self.text(index)?;
        u32::from_str_radix(text, 8).map_err(|_| Failure::usage(format!("{text:?} is not octal")))
    }

    /// `allowed` or `refused`.
    pub fn allowed(&self, index: usize) -> Result<bool, Failure> {
        match self.text(index)? {
            "allowed" => Ok(true),
            "refused" => Ok(false),
            other => Err(Failure::usage(format!("{other:?}: arguments: {}", self.usage))),
        }
    }

    /// All of them, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut list = self.list.to_vec();
        list.sort();
        list
    }
}

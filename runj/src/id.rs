//! The names of a container: its id, its jail's name, its jail's number.
//!
//! Owns their spelling and validation. Pure: nothing here asks the system.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest container id, in bytes: a file name's limit (`NAME_MAX`).
pub const MAX_CONTAINER_ID: usize = 255;

/// The longest jail name that [`ContainerId::jail_name`] makes, in bytes. The kernel's own limit of 255
/// (`MAXHOSTNAMELEN - 1`) counts the names of the parents too, so some of it is left to them.
pub const MAX_JAIL_NAME: usize = 200;

/// A container id that is safe as a file name and has a jail name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is not a container id.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    /// The text is empty.
    #[error("container id is empty")]
    Empty,
    /// The text is longer than [`MAX_CONTAINER_ID`].
    #[error("container id is {length} bytes long: at most {MAX_CONTAINER_ID} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The first character is none of letter, digit, underscore.
    #[error("container id {id:?} must begin with a letter, a digit or an underscore")]
    Start {
        /// The text.
        id: String,
    },
    /// A character that no id may hold.
    #[error("container id {id:?} contains {character:?}: allowed are letters, digits and _ + - . : @")]
    Character {
        /// The text.
        id: String,
        /// The first such character.
        character: char,
    },
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let first = text.chars().next().ok_or(IdError::Empty)?;
        if text.len() > MAX_CONTAINER_ID {
            return Err(IdError::TooLong { length: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.:@".contains(c);
        if let Some(character) = text.chars().find(|&c| !allowed(c)) {
            return Err(IdError::Character { id: text.to_owned(), character });
        }
        if !(first.is_ascii_alphanumeric() || first == '_') {
            return Err(IdError::Start { id: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The jail's name: the id itself where it means nothing else to the kernel, an injective escape
    /// otherwise (jail(8): a dot separates parent and child, digits alone are a jid; rctl(8): a colon
    /// separates fields). A byte that is not a letter, digit, `_` or `-` becomes `%XX`; of an id of digits
    /// only, the first becomes `%XX`; what would be longer than [`MAX_JAIL_NAME`] ends in `%h` and a hash.
    pub fn jail_name(&self) -> String {
        let digits_only = self.0.bytes().all(|b| b.is_ascii_digit());
        let mut name = String::with_capacity(self.0.len());
        for (index, byte) in self.0.bytes().enumerate() {
            let harmless = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if harmless && !(digits_only && index == 0) {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
        if name.len() > MAX_JAIL_NAME {
            let hash = fnv1a_128(self.0.as_bytes());
            name.truncate(MAX_JAIL_NAME - 34);
            name.push_str(&format!("%h{hash:032x}"));
        }
        name
    }
}

/// FNV-1a with 128 bits (the public parameters of the algorithm).
fn fnv1a_128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// A jail id, as jail_set(2) returns it: 1 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jid(pub i32);

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("web")]
    #[case("77")]
    #[case("a.b")]
    #[case("_x-1")]
    fn accepts(#[case] text: &str) {
        assert_eq!(text.parse::<ContainerId>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("", "empty")]
    #[case("..", "must begin")]
    #[case(".hidden", "must begin")]
    #[case("-f", "must begin")]
    #[case("a/b", "contains '/'")]
    #[case("/etc", "contains '/'")]
    #[case("a b", "contains ' '")]
    #[case("a\nb", "contains")]
    #[case("\u{e9}", "contains")]
    fn refuses(#[case] text: &str, #[case] reason: &str) {
        let error = text.parse::<ContainerId>().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn refuses_what_is_longer_than_a_file_name() {
        assert!("a".repeat(255).parse::<ContainerId>().is_ok());
        assert_eq!("a".repeat(256).parse::<ContainerId>(), Err(IdError::TooLong { length: 256 }));
    }

    #[rstest]
    #[case("web-1_x", "web-1_x")]
    #[case("77", "%377")]
    #[case("a.b", "a%2Eb")]
    #[case("a:b", "a%3Ab")]
    #[case("7a", "7a")]
    fn names_the_jail(#[case] id: &str, #[case] name: &str) {
        assert_eq!(id.parse::<ContainerId>().unwrap().jail_name(), name);
    }

    proptest! {
        #[test]
        fn jail_names_are_injective_and_legal(a in "[A-Za-z0-9_][A-Za-z0-9_+.:@-]{0,254}", b in "[A-Za-z0-9_][A-Za-z0-9_+.:@-]{0,254}") {
            let (a, b): (ContainerId, ContainerId) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(a == b, a.jail_name() == b.jail_name());
            let name = a.jail_name();
            prop_assert!(name.len() <= MAX_JAIL_NAME);
            prop_assert!(!name.contains(['.', ':']));
            prop_assert!(name.parse::<i64>().is_err());
        }
    }
}

//! Command lines as engines type them, read without clap.
//!
//! Before it reads a word, clap makes a description of every option that there could be, its help included, which is much of
//! what a verb costs (docs/performance.md). Here only what is there is looked at. Whatever is odd (an option that is not
//! known, one that is there twice, a value that is missing or that does not parse) is clap's, whose words it takes to say so.

use std::ffi::OsString;
use std::str::FromStr;

/// An option: its long name, its short one if it has one, and whether it takes a value.
pub type Known = (&'static str, Option<&'static str>, Takes);

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The next word, or what follows an equals sign.
    Value,
    /// Nothing.
    Nothing,
}

/// A verb's arguments that can be read so.
pub trait Plain: Sized {
    /// All options.
    const OPTIONS: &'static [Known];
    /// How many words the last argument has, in which everything is its own.
    const OPEN_END: bool = false;

    /// The arguments; none for clap.
    fn of(words: &Words<'_>) -> Option<Self>;

    /// Reads the words behind a verb; none for clap.
    fn read(words: &[OsString]) -> Option<Self> {
        Self::of(&Words::sort(words, Self::OPTIONS, Self::OPEN_END)?)
    }
}

/// The words behind a verb, sorted.
#[derive(Debug)]
pub struct Words<'a> {
    /// Those that are no options.
    pub positional: Vec<&'a str>,
    options: Vec<(&'static str, &'a str)>,
}

impl<'a> Words<'a> {
    fn sort(words: &'a [OsString], known: &[Known], open_end: bool) -> Option<Self> {
        let mut sorted = Self { positional: Vec::with_capacity(2), options: Vec::with_capacity(4) };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let word = word.to_str().filter(|word| !word.is_empty())?;
            if !word.starts_with('-') {
                sorted.positional.push(word);
                if open_end && sorted.positional.len() == 2 {
                    for word in words.by_ref() {
                        sorted.positional.push(word.to_str()?);
                    }
                }
                continue;
            }
            let long = word.starts_with("--");
            let (name, attached) = match word.split_once('=').filter(|_| long) {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let named = |known: &&Known| if long { known.0 == name } else { known.1 == Some(name) };
            let &(name, _, takes) = known.iter().find(named)?;
            let value = match (takes, attached) {
                (Takes::Value, Some(value)) => value,
                (Takes::Value, None) => words.next()?.to_str()?,
                (Takes::Nothing, None) => "-",
                (Takes::Nothing, Some(_)) => return None,
            };
            let odd = takes == Takes::Value && (value.is_empty() || value.starts_with('-'));
            if odd || sorted.has(name) {
                return None;
            }
            sorted.options.push((name, value));
        }
        Some(sorted)
    }

    /// Whether an option is there, by its long name.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(found, _)| *found == name)
    }

    /// The value of an option that is there; none for clap if it does not parse.
    pub fn value<T: FromStr>(&self, name: &str) -> Option<Option<T>> {
        match self.options.iter().find(|(found, _)| *found == name) {
            Some((_, value)) => value.parse().ok().map(Some),
            None => Some(None),
        }
    }
}

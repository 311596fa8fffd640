//! Lists of processors, as `linux.resources.cpu.cpus`, cpuset(1) and cgroups spell them: `0-3,7`. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// More than any kernel numbers, so that a range cannot fill the memory.
const MAX: u32 = 65_535;

/// Processors by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Processors(BTreeSet<u32>);

/// Why a text is no list of processors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{part:?} is neither a processor's number nor a range of them, as in 0-3,7")]
pub struct ListError {
    part: String,
}

impl Processors {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are not among the others.
    pub fn without(&self, others: &Self) -> Self {
        Self(&self.0 - &others.0)
    }

    /// The bits of a mask in words of 64 (cpuset_t), that of processor 0 first; none if one has no place in this many
    /// words.
    pub fn mask(&self, words: usize) -> Option<Vec<u64>> {
        let mut mask = vec![0; words];
        for number in &self.0 {
            *mask.get_mut(usize::try_from(number / 64).ok()?)? |= 1 << (number % 64);
        }
        Some(mask)
    }

    /// What such a mask says.
    pub fn of_mask(mask: &[u64]) -> Self {
        let bits = mask
            .iter()
            .zip(0u32..)
            .flat_map(|(word, index)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit));
        Self(bits.collect())
    }
}

impl FromStr for Processors {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let mut list = BTreeSet::new();
        for part in text.trim().split(',') {
            let number = |text: &str| {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u32>().ok().filter(|number| digits && *number <= MAX)
            };
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => list.extend(first..=last),
                _ => return Err(ListError { part: part.to_owned() }),
            }
        }
        Ok(Self(list))
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for &first in self.0.iter().filter(|number| **number == 0 || !self.0.contains(&(**number - 1))) {
            let last = (first..).take_while(|number| self.0.contains(number)).last().unwrap_or(first);
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for Processors {
    type Error = ListError;

    fn try_from(text: String) -> Result<Self, ListError> {
        if text.is_empty() { Ok(Self::default()) } else { text.parse() }
    }
}

impl From<Processors> for String {
    fn from(list: Processors) -> Self {
        list.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", "0")]
    #[case("0-3,7", "0-3,7")]
    #[case("7,1,0,1-2,3-3", "0-3,7")]
    #[case("1,3\n", "1,3")]
    #[case("65535", "65535")]
    fn a_list_is_read_and_written(#[case] text: &str, #[case] shown: &str) {
        let list: Processors = text.parse().unwrap();
        assert_eq!(list.to_string(), shown);
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Processors>(&json).unwrap(), list);
    }

    #[rstest]
    #[case("", "\"\"")]
    #[case("0,,1", "\"\"")]
    #[case("3-1", "\"3-1\"")]
    #[case("-1", "\"-1\"")]
    #[case("1-", "\"1-\"")]
    #[case("+1", "\"+1\"")]
    #[case("0-4294967295", "\"0-4294967295\"")]
    #[case("all", "\"all\" is neither a processor's number nor a range")]
    fn what_is_no_list_says_why(#[case] text: &str, #[case] words: &str) {
        let error = text.parse::<Processors>().unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }

    #[test]
    fn a_list_is_a_mask() {
        let list: Processors = "0,2,63-64".parse().unwrap();
        let mask = list.mask(2).unwrap();
        assert_eq!(mask, [1 << 63 | 0b101, 1]);
        assert_eq!(Processors::of_mask(&mask), list);
        assert_eq!(list.mask(1), None);
        assert_eq!(list.without(&"0-7".parse().unwrap()).to_string(), "63-64");
    }
}

//! Which of a run's questions a process answers, where several share them out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most shares.
const MAX_SHARES: u64 = 1_000_000;

/// One of N equal parts of numbered questions. Which questions there are does not depend on N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share {
    /// From 1.
    number: u64,
    of: u64,
}

impl Share {
    /// All questions.
    pub const WHOLE: Share = Share { number: 1, of: 1 };

    /// Its number, from 1.
    pub fn number(self) -> u64 {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> u64 {
        self.of
    }

    /// Whether the question with this number, from 0, is in it. Every N-th is, so that shares are alike where questions
    /// are sorted by what they cost.
    pub fn has(self, question: u64) -> bool {
        question % self.of == self.number - 1
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Share {
    type Err = String;

    /// Reads `I/N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) && of <= MAX_SHARES => Ok(Self { number, of }),
            _ => Err(format!("not I/N, a number from 1 to N and N of at most {MAX_SHARES}")),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_in_one_share() {
        for of in 1..6 {
            let shares: Vec<Share> = (1..=of).map(|number| Share { number, of }).collect();
            for question in 0..20 {
                assert_eq!(shares.iter().filter(|share| share.has(question)).count(), 1);
            }
            let sizes = shares.iter().map(|share| (0..20).filter(|question| share.has(*question)).count());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            assert!(shares.iter().all(|share| share.to_string().parse() == Ok(*share)));
        }
        for bad in ["", "0/5", "6/5", "5", "1/0", "1/2/3", "-1/5", "1/1000001"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}

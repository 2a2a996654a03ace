//! A canary: one invented text with a secret, planted a known number of times, or never.
//! The ledger that lists them is written when a corpus is planted and read when a model is audited.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the secret of a canary looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// Tokens or characters drawn at random.
    Random,
    /// A natural sentence.
    Sentence,
    /// Shaped like personal data: a number, an address, a key.
    Pii,
}

impl Shape {
    /// The name in ledgers, reports and flags.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Random => "random",
            Shape::Sentence => "sentence",
            Shape::Pii => "pii",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How the copies of a canary stand in the corpus, which decides what removes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Placement {
    /// The whole document that holds it is repeated: exact deduplication removes the copies.
    Document,
    /// The documents that hold it are near copies of each other: near-duplicate removal finds them.
    NearCopy,
    /// A passage repeated inside otherwise different documents: only substring removal finds it.
    Passage,
}

impl Placement {
    /// The name in ledgers, reports and flags.
    pub fn name(self) -> &'static str {
        match self {
            Placement::Document => "document",
            Placement::NearCopy => "near-copy",
            Placement::Passage => "passage",
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One line of the ledger: a secret, the text that leads to it, and how often it was planted.
///
/// A control is made exactly as the others of its placement are, but never planted: `copies` is 0.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Name in reports, unique in its ledger.
    pub id: String,
    /// What the secret looks like.
    pub shape: Shape,
    /// How the copies stand in the corpus (for a control: how they would).
    pub placement: Placement,
    /// Number of times that `prefix` followed by `secret` stands in the corpus as planted.
    pub copies: u64,
    /// True for a canary that was never planted.
    pub control: bool,
    /// The text that leads to the secret, as it stands before it, white space included.
    pub prefix: String,
    /// The secret itself, which follows the prefix without anything between.
    pub secret: String,
}

impl fmt::Debug for Canary {
    /// Leaves the prefix and the secret out: a log line must never carry them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Canary")
            .field("id", &self.id)
            .field("shape", &self.shape)
            .field("placement", &self.placement)
            .field("copies", &self.copies)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

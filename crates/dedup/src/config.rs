//! What to look for and what to keep.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_corpus::FieldPath;
use verbatim_index::{Normalizer, Shingler};

use crate::error::{Error, Result};
use crate::keep::Keep;
use crate::lines::LinesConfig;
use crate::lsh::{BandChoice, MAX_PERMUTATIONS, candidate_probability, choose_bands};
use crate::similarity::{Measure, Threshold};
use crate::substring::SubstringConfig;

/// A finder of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Empty texts.
    Empty,
    /// Equal texts after normalisation.
    Exact,
    /// Similar sets of shingles, those that MinHash finds.
    Minhash,
    /// Similar sets of shingles, all of them.
    #[serde(rename = "all-pairs")]
    AllPairs,
    /// Repeated lines or paragraphs.
    Lines,
    /// Repeated runs of bytes or tokens.
    Substring,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Empty => "empty",
            Stage::Exact => "exact",
            Stage::Minhash => "minhash",
            Stage::AllPairs => "all-pairs",
            Stage::Lines => "lines",
            Stage::Substring => "substring",
        })
    }
}

/// The exact stage: texts that are equal after these steps are copies. Empty texts are nobody's copies.
#[derive(Debug, Clone)]
pub struct ExactConfig {
    /// Applied before texts are compared.
    pub normalizer: Normalizer,
    /// A field of the record that is compared instead of the text: a string, or a number as JSON writes it. Documents
    /// without it are nobody's copies.
    pub key: Option<FieldPath>,
}

impl ExactConfig {
    /// True where texts that are equal here are equal to a shingler as well.
    pub(crate) fn shares_a_text(&self, shingler: &Shingler) -> bool {
        self.key.is_none() && self.normalizer == *shingler.normalizer()
    }
}

/// What becomes of documents whose text is empty or white space. They are nobody's copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
    /// The first stops the run.
    Error,
}

/// The near-copy stage.
#[derive(Debug, Clone)]
pub struct MinhashConfig {
    /// Cuts texts into the shingles whose sets are compared.
    pub shingler: Shingler,
    /// The Jaccard similarity, above 0 to 1, from which on two documents are copies.
    pub threshold: f64,
    /// The share, between 0 and 1, of pairs at the threshold that must be found; more similar pairs are found more
    /// often.
    pub recall: f64,
    /// Bands and rows in a band, where they are not to be chosen for the recall.
    pub bands_rows: Option<(usize, usize)>,
    /// The name of the preset that these are from, for the report.
    pub preset: Option<&'static str>,
    /// Draws the permutations.
    pub seed: u64,
}

impl MinhashConfig {
    /// The threshold as a fraction, and the bands: those asked for, or the cheapest that reach the recall.
    pub(crate) fn resolve(&self) -> Result<(Threshold, BandChoice)> {
        let threshold = resolved(self.threshold)?;
        let Some((bands, rows)) = self.bands_rows else {
            if !(self.recall > 0.0 && self.recall < 1.0) {
                return Err(Error::Recall(self.recall));
            }
            return Ok((threshold, choose_bands(self.threshold, self.recall)));
        };
        match bands.checked_mul(rows) {
            Some(1..=MAX_PERMUTATIONS) => {}
            _ => return Err(Error::BandsRows { bands, rows }),
        }
        let predicted_recall = candidate_probability(self.threshold, bands, rows);
        let cost = crate::lsh::cost(self.threshold, bands, rows);
        Ok((threshold, BandChoice { bands, rows, predicted_recall, cost }))
    }
}

/// The threshold as a fraction.
pub(crate) fn resolved(threshold: f64) -> Result<Threshold> {
    Threshold::new(threshold).ok_or(Error::Threshold(threshold))
}

/// The near-copy stage without a sketch: every pair at the threshold is found.
#[derive(Debug, Clone)]
pub struct AllPairsConfig {
    /// Cuts texts into the shingles whose sets are compared.
    pub shingler: Shingler,
    /// The similarity, above 0 to 1, from which on two documents are copies.
    pub threshold: f64,
    /// What similarity means.
    pub measure: Measure,
    /// Compares every document with every one that is kept, without a filter: an oracle for small corpora.
    pub brute_force: bool,
}

/// Which near copies of a kept document go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clustering {
    /// Those that are similar to it.
    #[default]
    Star,
    /// Those that are joined to it through others, each similar to the next: one document stays of each connected
    /// component, however unlike its ends are.
    Transitive,
}

/// One run: the exact stage first, one near-copy stage on its survivors, the lines or runs of what then stays
/// last.
#[derive(Debug, Clone)]
pub struct DedupConfig {
    /// What becomes of empty documents.
    pub empty: Empty,
    /// The exact stage, if it is to run.
    pub exact: Option<ExactConfig>,
    /// The near-copy stage by MinHash, if it is to run.
    pub minhash: Option<MinhashConfig>,
    /// The near-copy stage of all pairs, if it is to run instead.
    pub all_pairs: Option<AllPairsConfig>,
    /// Which near copies of a kept document go.
    pub clustering: Clustering,
    /// The edit similarity, above 0 to 1, that near copies must reach too.
    pub edit_similarity: Option<f64>,
    /// The stage of repeated lines, if it is to run.
    pub lines: Option<LinesConfig>,
    /// The stage of repeated runs, if it is to run instead of that of lines.
    pub substring: Option<SubstringConfig>,
    /// Compares documents with the references of the corpus only, not with one another.
    pub only_references: bool,
    /// Which of several copies stays.
    pub keep: Keep,
}

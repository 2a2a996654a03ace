//! What an audit of one checkpoint found: samples by strategy and metric, findings, planted canaries.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::{Rate, counted, grouped};
use crate::provenance::Provenance;
use crate::redact::Shown;
use crate::report::Body;

/// What an audit of one checkpoint found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExtractBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Whether findings were looked up in a corpus.
    pub verification: Verification,
    /// Samples drawn, in all.
    pub n_samples: u64,
    /// Tokens that must stand verbatim in one document for a sample to count as memorized.
    pub min_match_tokens: u64,
    /// All strategies by all metrics, as in Carlini et al. 2021, table 1.
    pub cells: Vec<CellRow>,
    /// Each finding once, however many cells it stands in.
    pub findings: Vec<FindingRow>,
    /// Planted canaries, where a ledger was given.
    pub canaries: Option<CanaryTable>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for ExtractBody {
    const KIND: &'static str = "extract";
}

impl ExtractBody {
    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let samples = counted(self.n_samples, "sample", "samples");
        if self.verification == Verification::None {
            return format!("{samples} drawn; without a corpus to look them up in, nothing is proven.");
        }
        match self.n_memorized() {
            0 => format!("None of {samples} was found verbatim in the corpus."),
            1 => format!("1 of {samples} stands verbatim in the corpus."),
            many => format!("{} of {samples} stand verbatim in the corpus.", grouped(many)),
        }
    }

    /// Findings that stand in the corpus.
    pub fn n_memorized(&self) -> u64 {
        self.findings.iter().filter(|finding| finding.verdict == "memorized").count() as u64
    }
}

/// Whether findings were looked up in a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// Every finding was looked up.
    Corpus,
    /// There was no corpus: every finding is unverified.
    None,
}

/// One strategy ranked by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellRow {
    /// How the samples were drawn.
    pub strategy: String,
    /// What they were ranked by.
    pub metric: String,
    /// Candidates after de-duplication of samples, best first, cut at the limit.
    pub n_candidates: u64,
    /// Share of them that stand verbatim in the corpus; none without a corpus.
    pub precision: Option<Rate>,
}

/// One candidate that was looked up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingRow {
    /// How its sample was drawn.
    pub strategy: String,
    /// Number of its sample.
    pub sample: u64,
    /// `memorized`, `not-found` or `unverified`.
    pub verdict: String,
    /// The matching text, redacted unless revealed.
    pub text: Shown,
    /// Longest stretch that stands verbatim in one document, in tokens.
    pub longest_match_tokens: u64,
    /// The same in bytes.
    pub longest_match_bytes: u64,
    /// Documents that hold it: k of k-eidetic memorization.
    pub n_documents: u64,
    /// Times it stands in the corpus.
    pub n_occurrences: u64,
    /// Place of the first: label of the document and byte in its text.
    pub first: Option<String>,
    /// Its best place in any ranking, 1 for the first.
    pub best_rank: u64,
    /// The metric of that ranking.
    pub best_metric: String,
    /// All scores that are defined for it, higher for more likely memorized.
    pub scores: BTreeMap<String, f64>,
}

/// Planted canaries by how they stand in the corpus and how often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CanaryTable {
    /// One row for each placement and number of copies.
    pub rows: Vec<CanaryRow>,
    /// All planted canaries together.
    pub planted: Rate,
    /// Canaries that were never planted: what the model would say anyway.
    pub controls: Rate,
    /// The canaries that were recited, redacted unless revealed.
    pub recited: Vec<RecitedRow>,
}

/// Canaries of one placement, planted equally often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CanaryRow {
    /// How the copies stand in the corpus.
    pub placement: String,
    /// Copies of each.
    pub copies: u64,
    /// How many of them the model recites.
    pub recited: Rate,
}

/// One canary that the model recites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecitedRow {
    /// Its name in the ledger.
    pub id: String,
    /// How the copies stand in the corpus.
    pub placement: String,
    /// Copies of it.
    pub copies: u64,
    /// The secret, redacted unless revealed.
    pub secret: Shown,
}

//! What a deduplication found and removed.

use serde::Serialize;

use crate::figure::{Amount, counted, grouped};
use crate::provenance::Provenance;
use crate::report::Body;

/// What a deduplication found and removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DedupBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What became of every document.
    pub flow: Flow,
    /// Each stage, in the order in which they ran.
    pub stages: Vec<StageRow>,
    /// The near-duplicate search, where that stage ran.
    pub search: Option<Search>,
    /// Which document of a cluster stays, by the flag's words.
    pub keep: String,
    /// The groups of copies.
    pub clusters: Clusters,
    /// What the reader should know, in the words of the rooms that noticed it.
    pub warnings: Vec<String>,
}

impl Body for DedupBody {
    const KIND: &'static str = "dedup";
}

impl DedupBody {
    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let Flow { read, removed, .. } = &self.flow;
        if removed.documents == 0 {
            return format!(
                "No copies were found among {}.",
                counted(read.documents, "document", "documents")
            );
        }
        let are = if removed.documents == 1 { "is a copy" } else { "are copies" };
        format!(
            "{} of {} {are} of another and removed: {} of the corpus.",
            grouped(removed.documents),
            counted(read.documents, "document", "documents"),
            removed.bytes_of(read)
        )
    }
}

/// What became of every document: `read = kept + removed + rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Documents read, bad records among them.
    pub read: Amount,
    /// Documents written to the clean corpus.
    pub kept: Amount,
    /// Documents removed as copies of a kept one.
    pub removed: Amount,
    /// Records that could not be read.
    pub rejected: Amount,
}

impl Flow {
    /// The parts of what was read, with the words for them.
    pub(crate) fn parts(&self) -> [(&'static str, Amount); 3] {
        [("kept", self.kept), ("removed as copies", self.removed), ("rejected, not readable", self.rejected)]
    }
}

/// One stage of a deduplication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageRow {
    /// `exact` or `minhash`.
    pub stage: String,
    /// What it removed.
    pub removed: Amount,
    /// Pairs that its index proposed.
    pub candidates: u64,
    /// Of these, the pairs that the texts themselves confirmed.
    pub verified: u64,
}

/// How the near-duplicate search was set, and what it promises.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// Smallest true Jaccard similarity of two documents that count as copies.
    pub threshold: f64,
    /// Bands of the signature.
    pub bands: u64,
    /// Rows in each band.
    pub rows: u64,
    /// The chance that a pair exactly at the threshold becomes a candidate.
    pub predicted_recall: f64,
    /// The chance that a pair becomes a candidate, by its similarity.
    pub curve: Vec<CurvePoint>,
}

/// One point of the S-curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// True Jaccard similarity.
    pub similarity: f64,
    /// The chance that a pair of this similarity becomes a candidate.
    pub probability: f64,
}

/// The groups of copies that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clusters {
    /// Groups of two documents or more.
    pub n_clusters: u64,
    /// Documents in them.
    pub n_documents: u64,
    /// How many groups have how many documents; sizes double from one bin to the next.
    pub sizes: Vec<SizeBin>,
    /// The largest groups.
    pub largest: Vec<LargestCluster>,
}

/// The groups whose size lies in one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeBin {
    /// Smallest size in the bin, in documents.
    pub from: u64,
    /// Largest size in the bin.
    pub to: u64,
    /// Groups in it.
    pub n_clusters: u64,
}

impl SizeBin {
    /// "2", or "4–7".
    pub fn range(&self) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}–{}", self.from, self.to) }
    }
}

/// One large group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LargestCluster {
    /// The label of the document that stays.
    pub kept: String,
    /// Documents in the group.
    pub n_documents: u64,
}

/// Groups of two and more documents by size, in bins 2–3, 4–7, 8–15 ... up to the largest size, empty ones
/// between included.
pub(crate) fn size_bins(sizes: &[u64]) -> Vec<SizeBin> {
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let mut bins = Vec::new();
    let mut from = 2_u64;
    while from <= largest {
        let to = from.saturating_mul(2) - 1;
        let n_clusters = sizes.iter().filter(|size| (from..=to).contains(*size)).count() as u64;
        bins.push(SizeBin { from, to, n_clusters });
        from = from.saturating_mul(2);
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_stands_in_one_bin() {
        let sizes = [2, 2, 3, 4, 7, 64];
        let bins = size_bins(&sizes);
        let counts: Vec<u64> = bins.iter().map(|bin| bin.n_clusters).collect();
        assert_eq!(counts, [3, 2, 0, 0, 0, 1]);
        assert_eq!(counts.iter().sum::<u64>(), sizes.len() as u64);
        assert_eq!((bins[0].range().as_str(), bins[5].range().as_str()), ("2–3", "64–127"));
        assert!(size_bins(&[]).is_empty());
    }
}

//! What a deduplication found and removed.

use std::cmp::Reverse;

use serde::Serialize;
use verbatim_dedup::{
    AllPairsParameters, Clustering, CutCount, CutSummary, Empty, Measure, MinhashParameters, Plan,
    ShingleParameters, Snap, SourceTally, StageTally, SubstringParameters, Tally, candidate_probability,
};

use crate::figure::{Amount, bytes_text, counted, grouped, percent, range, rounded};
use crate::provenance::Provenance;
use crate::repeats::Repeats;
use crate::report::Body;
use crate::sources::SourceTable;

/// Clusters that a report names.
const N_LARGEST: usize = 20;

/// What a deduplication found and removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DedupBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Whether the clean corpus was written.
    pub outcome: Outcome,
    /// What became of every document.
    pub flow: Flow,
    /// Each stage, in the order in which they ran.
    pub stages: Vec<StageRow>,
    /// Documents whose text is empty or white space, kept or not.
    pub n_empty: u64,
    /// The near-duplicate search, where MinHash did it.
    pub search: Option<Search>,
    /// The near-duplicate search, where all pairs were found.
    pub all_pairs: Option<AllPairs>,
    /// Which near copies of a kept document go.
    pub cluster: Clustering,
    /// The edit similarity that near copies had to reach too, if any.
    pub edit_similarity: Option<f64>,
    /// The search for repeated passages, if it was made.
    pub substring: Option<SubstringParameters>,
    /// Which document of a cluster stays, by the flag's words.
    pub keep: String,
    /// The groups of copies.
    pub clusters: Clusters,
    /// What goes from documents that stay, if anything does.
    pub repeats: Option<Repeats>,
    /// What each source loses.
    pub sources: SourceTable,
    /// What the reader should know, in the words of the rooms that noticed it.
    pub warnings: Vec<String>,
}

impl Body for DedupBody {
    const KIND: &'static str = "dedup";
}

/// Whether the clean corpus was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The plan was carried out.
    Written,
    /// There is only a plan.
    Planned,
    /// The plan is told in lists or attributes; no corpus was written.
    Listed,
    /// Every document stays, with a weight.
    Weighted,
}

/// What was done with a plan, for a report of it.
#[derive(Debug)]
pub struct DedupFacts<'a> {
    /// What the plan was computed from.
    pub provenance: Provenance,
    /// Whether it was carried out.
    pub outcome: Outcome,
    /// The plan.
    pub plan: &'a Plan,
    /// The account of the documents, as `apply` gave it or as it would be.
    pub tally: Tally,
    /// What its cuts have in common, if there are any.
    pub cuts: Option<CutSummary>,
    /// What each source loses by the plan, the largest share first.
    pub losses: Vec<SourceTally>,
    /// What the corpus room noticed.
    pub warnings: Vec<String>,
}

/// A predicted recall at the threshold below which a person should know.
const LOW_RECALL: f64 = 0.9;

impl DedupBody {
    /// The body of a plan; `label` names a document by its number in the corpus.
    pub fn new(facts: DedupFacts<'_>, label: impl Fn(u64) -> String) -> DedupBody {
        let plan = facts.plan;
        let mut warnings = facts.warnings;
        let passed_over: u64 = plan.stages().iter().map(|stage| stage.n_passed_over).sum();
        if passed_over > 0 {
            warnings.push(format!(
                "{} that share a band were not compared, because too many unlike documents share it; the recall may \
                 be below the predicted one",
                counted(passed_over, "pair", "pairs")
            ));
        }
        if let Some(bands) = plan.parameters().minhash.as_ref().map(|minhash| minhash.bands)
            && bands.predicted_recall < LOW_RECALL
        {
            warnings.push(format!(
                "these bands find a pair right at the threshold with a chance of {} only; --recall chooses bands for a \
                 chance",
                percent(bands.predicted_recall)
            ));
        }
        if plan.n_empty() > 0 && plan.parameters().empty == Empty::Keep {
            let n = counted(plan.n_empty(), "document is empty and stays", "documents are empty and stay");
            warnings.push(format!("{n}; --empty remove takes them out"));
        }
        let n_without_key: u64 = plan.stages().iter().map(|stage| stage.n_without_key).sum();
        if let (Some(key), 1..) =
            (plan.parameters().exact.as_ref().and_then(|exact| exact.key.as_ref()), n_without_key)
        {
            let n = counted(n_without_key, "document has", "documents have");
            warnings.push(format!(
                "{n} no text or number in the field `{key}`, so the exact stage passed over them"
            ));
        }
        DedupBody {
            n_empty: plan.n_empty(),
            provenance: facts.provenance,
            outcome: facts.outcome,
            flow: Flow::from(facts.tally),
            stages: plan.stages().iter().map(StageRow::from).collect(),
            search: plan.parameters().minhash.as_ref().map(Search::from),
            all_pairs: plan.parameters().all_pairs.as_ref().map(AllPairs::from),
            cluster: plan.parameters().clustering,
            edit_similarity: plan.parameters().edit_similarity,
            substring: plan.parameters().substring.clone(),
            keep: plan.parameters().keep.to_string(),
            repeats: facts.cuts.as_ref().map(|cuts| Repeats::new(cuts, &label)),
            clusters: Clusters::new(plan, &label),
            sources: SourceTable::new(&facts.losses),
            warnings,
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let Flow { read, removed, .. } = &self.flow;
        let documents = counted(read.documents, "document", "documents");
        if removed.documents == 0 {
            return match self.cut_sentence() {
                Some(cut) => format!("None of {documents} is a copy. {cut}"),
                None => format!("No copies were found among {documents}."),
            };
        }
        let went = match (self.outcome, removed.documents) {
            (Outcome::Written, 1) => "was a copy and is removed",
            (Outcome::Written, _) => "were copies and are removed",
            (Outcome::Planned, 1) => "is a copy and would be removed",
            (Outcome::Planned, _) => "are copies and would be removed",
            (Outcome::Listed, 1) => "is a copy and is listed for removal",
            (Outcome::Listed, _) => "are copies and are listed for removal",
            (Outcome::Weighted, 1) => "is a copy and stays with a weight",
            (Outcome::Weighted, _) => "are copies and stay with weights",
        };
        format!(
            "{} of {documents} {went}: {} of the bytes.",
            grouped(removed.documents),
            removed.bytes_of(read)
        )
    }

    /// What more decides about near copies, if there were any.
    pub(crate) fn rules(&self) -> Vec<String> {
        let mut rules = Vec::new();
        if self.search.is_none() && self.all_pairs.is_none() {
            return rules;
        }
        if let Some(least) = self.edit_similarity {
            rules.push(format!("They must reach an edit similarity of {least} as well."));
        }
        if self.cluster == Clustering::Transitive {
            let rule = "Copies of copies go too: one document of each connected component stays, and others may be \
                        less similar to it than the threshold.";
            rules.push(rule.to_owned());
        }
        rules
    }

    /// What counted as a repeated passage, if such were looked for.
    pub fn passages_sentence(&self) -> Option<String> {
        let SubstringParameters { unit, min_len, min_count, strike_all, snap, min_left_bytes, until_clean } =
            self.substring.as_ref()?;
        let often =
            if *min_count == 2 { "more than once".to_owned() } else { format!("{min_count} times or more") };
        let stays = if *strike_all { "no copy stays" } else { "one copy stays" };
        let places = match snap {
            Snap::Char => String::new(),
            _ => format!(" Cuts begin and end where a {snap} does."),
        };
        let short = match min_left_bytes {
            0 | 1 => String::new(),
            least => format!(" Documents shortened to fewer than {least} bytes go as a whole."),
        };
        let again =
            if *until_clean { " What is left was searched again until nothing repeated." } else { "" };
        Some(format!(
            "A passage is a run of {min_len} {unit} or more that stands {often}; {stays}.{places}{short}{again}"
        ))
    }

    /// What was cut out of documents that stay, if anything was.
    pub fn cut_sentence(&self) -> Option<String> {
        let CutAmount { stretches, documents, bytes } = self.flow.cut;
        let go = match (self.outcome, stretches) {
            (Outcome::Written, 1) => "is cut",
            (Outcome::Written, _) => "are cut",
            (Outcome::Planned | Outcome::Listed | Outcome::Weighted, _) => "would be cut",
        };
        (stretches > 0).then(|| {
            format!(
                "{} of text, {}, {go} out of {}.",
                counted(stretches, "repeated stretch", "repeated stretches"),
                bytes_text(bytes),
                counted(documents, "document that stays", "documents that stay")
            )
        })
    }
}

/// What became of every document: `read = kept + removed + rejected`, in bytes `kept + cut + removed + rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Documents read, bad records among them.
    pub read: Amount,
    /// Documents written to the clean corpus.
    pub kept: Amount,
    /// What was cut out of them.
    pub cut: CutAmount,
    /// Documents removed.
    pub removed: Amount,
    /// Records that could not be read.
    pub rejected: Amount,
}

impl From<Tally> for Flow {
    fn from(tally: Tally) -> Flow {
        Flow {
            read: Amount::from(tally.read),
            kept: Amount::from(tally.kept),
            cut: CutAmount::from(tally.cut),
            removed: Amount::from(tally.removed),
            rejected: Amount::from(tally.rejected),
        }
    }
}

impl Flow {
    /// The parts of what was read, with the words for them.
    pub(crate) fn parts(&self) -> [(&'static str, Amount); 3] {
        [("kept", self.kept), ("removed", self.removed), ("rejected, not readable", self.rejected)]
    }
}

/// Repeated stretches of text that went from documents which stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CutAmount {
    /// Stretches: lines, paragraphs, passages.
    pub stretches: u64,
    /// Documents that lost some.
    pub documents: u64,
    /// Bytes that their records lost.
    pub bytes: u64,
}

impl From<CutCount> for CutAmount {
    fn from(count: CutCount) -> CutAmount {
        CutAmount { stretches: count.stretches, documents: count.documents, bytes: count.bytes }
    }
}

impl CutAmount {
    /// The bytes alone, as an amount of no whole document.
    pub(crate) fn amount(&self) -> Amount {
        Amount { documents: 0, bytes: self.bytes }
    }
}

/// One stage of a deduplication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageRow {
    /// `exact`, `minhash`, `all-pairs`, `lines` or `substring`.
    pub stage: String,
    /// What it removed.
    pub removed: Amount,
    /// What it cut out of documents that stay.
    pub cut: CutAmount,
    /// Candidate pairs that were compared in full; for passages, stretches that repeat others.
    pub n_compared: u64,
    /// Candidate pairs that were not compared, because too many unlike documents share a band.
    pub n_passed_over: u64,
}

impl From<&StageTally> for StageRow {
    fn from(tally: &StageTally) -> StageRow {
        StageRow {
            stage: tally.stage.to_string(),
            removed: Amount::from(tally.removed),
            cut: CutAmount::from(tally.cut),
            n_compared: tally.n_compared,
            n_passed_over: tally.n_passed_over,
        }
    }
}

/// How the near-duplicate search was set, and what it promises.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// Smallest true Jaccard similarity of two documents that count as copies.
    pub threshold: f64,
    /// The preset that the bands are from, if any.
    pub preset: Option<String>,
    /// Bands of the signature.
    pub bands: u64,
    /// Rows in each band.
    pub rows: u64,
    /// The chance that a pair exactly at the threshold becomes a candidate.
    pub predicted_recall: f64,
    /// What an n-gram is made of.
    pub unit: String,
    /// Units in an n-gram.
    pub n: u64,
    /// Steps applied to a text before it is cut.
    pub normalize: Vec<String>,
    /// The chance that a pair becomes a candidate, by its similarity.
    pub curve: Vec<CurvePoint>,
}

impl From<&MinhashParameters> for Search {
    fn from(parameters: &MinhashParameters) -> Search {
        let point = |&(similarity, probability): &(f64, f64)| CurvePoint {
            similarity: rounded(similarity),
            probability: rounded(probability),
        };
        Search {
            threshold: parameters.threshold,
            preset: parameters.preset.clone(),
            bands: parameters.bands.bands as u64,
            rows: parameters.bands.rows as u64,
            predicted_recall: rounded(parameters.bands.predicted_recall),
            unit: parameters.shingles.unit.to_string(),
            n: parameters.shingles.n as u64,
            normalize: parameters.shingles.normalize.steps().iter().map(ToString::to_string).collect(),
            curve: parameters.curve.iter().map(point).collect(),
        }
    }
}

impl Search {
    /// The chance that a pair of this similarity becomes a candidate.
    pub(crate) fn probability(&self, similarity: f64) -> f64 {
        candidate_probability(similarity, self.bands as usize, self.rows as usize)
    }
}

/// What counted as copies in a search for all pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AllPairs {
    /// Smallest similarity of two documents that count as copies.
    pub threshold: f64,
    /// What similarity means.
    pub measure: Measure,
    /// Whether every document was compared with every kept one, without a filter.
    pub brute_force: bool,
    /// What an n-gram is made of.
    pub unit: String,
    /// Units in an n-gram.
    pub n: u64,
    /// Steps applied to a text before it is cut.
    pub normalize: Vec<String>,
}

impl From<&AllPairsParameters> for AllPairs {
    fn from(parameters: &AllPairsParameters) -> AllPairs {
        let ShingleParameters { unit, n, normalize, .. } = &parameters.shingles;
        AllPairs {
            threshold: parameters.threshold,
            measure: parameters.measure,
            brute_force: parameters.brute_force,
            unit: unit.to_string(),
            n: *n as u64,
            normalize: normalize.steps().iter().map(ToString::to_string).collect(),
        }
    }
}

impl AllPairs {
    /// Of what the threshold is the smallest that counts.
    pub(crate) fn similarity(&self) -> &'static str {
        match self.measure {
            Measure::Jaccard => "Jaccard similarity",
            Measure::Containment => "containment",
        }
    }
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

impl Clusters {
    fn new(plan: &Plan, label: &impl Fn(u64) -> String) -> Clusters {
        let mut clusters: Vec<(u64, u64)> = plan
            .clusters()
            .into_iter()
            .map(|cluster| (cluster.removed.len() as u64 + 1, cluster.kept.0))
            .collect();
        clusters.sort_by_key(|(size, kept)| (Reverse(*size), *kept));
        let sizes: Vec<u64> = clusters.iter().map(|(size, _)| *size).collect();
        let largest = clusters.iter().take(N_LARGEST);
        Clusters {
            n_clusters: sizes.len() as u64,
            n_documents: sizes.iter().sum(),
            sizes: size_bins(&sizes),
            largest: largest
                .map(|(n_documents, kept)| LargestCluster { kept: label(*kept), n_documents: *n_documents })
                .collect(),
        }
    }
}

impl SizeBin {
    /// "2", or "4–7".
    pub fn range(&self) -> String {
        range(self.from, self.to)
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
fn size_bins(sizes: &[u64]) -> Vec<SizeBin> {
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
    use serde_json::json;
    use verbatim_dedup::Count;

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

    #[test]
    fn what_is_cut_is_told_even_where_no_document_goes() {
        let mut body = crate::samples::dedup().result;
        let told = "41 repeated stretches of text, 3.0 KiB, are cut out of 17 documents that stay.";
        assert_eq!(body.cut_sentence().unwrap(), told);
        body.flow.removed = Amount::default();
        assert_eq!(body.headline(), format!("None of 1,841 documents is a copy. {told}"));
        body.outcome = Outcome::Planned;
        body.flow.cut = CutAmount { stretches: 1, documents: 1, bytes: 9 };
        let told = "1 repeated stretch of text, 9 bytes, would be cut out of 1 document that stays.";
        assert_eq!(body.cut_sentence().unwrap(), told);
        body.flow.cut = CutAmount::default();
        assert_eq!((body.cut_sentence(), body.headline().starts_with("No copies")), (None, true));
    }

    #[test]
    fn a_plan_becomes_a_body() {
        let removal = |[doc, kept]: [u64; 2]| json!({ "doc": doc, "kept": kept, "stage": "minhash", "similarity": 0.9 });
        let plan = json!({
            "magic": "verbatim plan", "version": 1, "corpus": "c0", "n_documents": 9, "inputs": [],
            "parameters": { "keep": "first", "exact": null, "minhash": {
                "unit": "word", "n": 5, "normalize": ["nfc"], "threshold": 0.8, "seed": 1,
                "bands": { "bands": 24, "rows": 8, "predicted_recall": 0.987_882_123, "cost": 1.0 },
                "curve": [[0.5, 0.089_789_123], [1.0, 1.0]],
            } },
            "stages": [
                { "stage": "minhash", "removed": { "documents": 4, "bytes": 40 }, "n_compared": 7, "n_passed_over": 2 },
            ],
            "removals": [removal([1, 0]), removal([2, 0]), removal([4, 3]), removal([5, 0])],
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        verbatim_store::write_shared(&path, plan.to_string().as_bytes()).unwrap();
        let plan = Plan::load(&path).unwrap();
        let tally = Tally { read: Count { documents: 9, bytes: 90 }, ..Tally::default() };
        let warnings = vec!["seen".to_owned()];
        let provenance = crate::samples::provenance();
        let losses = vec![SourceTally { source: None, read: 9, removed: 4 }];
        let facts = DedupFacts {
            provenance,
            outcome: Outcome::Planned,
            plan: &plan,
            tally,
            cuts: None,
            losses,
            warnings,
        };
        let body = DedupBody::new(facts, |doc| format!("doc {doc}"));

        let search = body.search.unwrap();
        assert_eq!(
            (search.bands, search.predicted_recall, search.curve[0].probability),
            (24, 0.987882, 0.089789)
        );
        assert_eq!(body.stages[0].removed, Amount { documents: 4, bytes: 40 });
        assert_eq!((body.clusters.n_clusters, body.clusters.n_documents), (2, 6));
        let largest: Vec<_> =
            body.clusters.largest.iter().map(|one| (one.kept.as_str(), one.n_documents)).collect();
        assert_eq!(largest, [("doc 0", 4), ("doc 3", 2)]);
        assert!(
            body.warnings[1].starts_with("2 pairs that share a band were not compared"),
            "{:?}",
            body.warnings
        );
        assert_eq!((body.sources.n_sources, body.sources.rows[0].share), (1, 0.444444));
        assert_eq!((body.keep.as_str(), body.flow.read.bytes), ("first", 90));
    }
}

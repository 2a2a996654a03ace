//! What an audit of one checkpoint found: samples by strategy and metric, findings, planted canaries.

mod measures;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use verbatim_extraction::{
    Canary, CanaryGroup, Cell, DrawnSample, Exposure, Finding, Metric, Precision, Recitation, RecitedCount,
    Strategy, Verdict, precision, summarize,
};

use crate::at_scale::ScaleTable;
use crate::divergence::DivergenceRow;
use crate::exposure::ExposureTable;
use crate::extract::measures::measures;
use crate::figure::{LEVEL, Rate, counted, grouped, rounded};
use crate::measure::Measure;
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;
use crate::secrets::{SecretCount, SecretTable, counts_text, secret_counts};

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
    /// Personal data and secrets in the samples.
    pub secrets: SecretTable,
    /// All samples, where all were looked up.
    pub at_scale: Option<ScaleTable>,
    /// Samples of prompts that repeat a word; none where there are none.
    pub divergence: Option<DivergenceRow>,
    /// Planted canaries, where a ledger was given.
    pub canaries: Option<CanaryTable>,
    /// The numbers that a gate can hold against bounds.
    pub measures: Vec<Measure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for ExtractBody {
    const KIND: &'static str = "extract";
}

/// What an audit left behind, for a report of it.
#[derive(Debug)]
pub struct ExtractFacts<'a> {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Whether findings were looked up in a corpus.
    pub verification: Verification,
    /// Tokens that must stand verbatim in one document for a sample to count as memorized.
    pub min_match_tokens: u64,
    /// Every sample that was drawn.
    pub drawn: &'a [DrawnSample],
    /// All strategies by all metrics.
    pub cells: &'a [Cell],
    /// What the corpus says of every candidate.
    pub findings: &'a [Finding],
    /// All samples, where all were looked up.
    pub at_scale: Option<ScaleTable>,
    /// Samples of prompts that repeat a word.
    pub divergence: Option<DivergenceRow>,
    /// The ledger and what the model made of it, where there is one.
    pub canaries: Option<(&'a [Canary], &'a [Recitation])>,
    /// The exposure of each canary, where it was measured.
    pub exposures: Option<&'a [Exposure]>,
    /// What the rooms below noticed.
    pub warnings: Vec<String>,
}

impl ExtractBody {
    /// Tables from what the audit left behind. Findings stand with the longest match first.
    pub fn new(facts: ExtractFacts<'_>, redactor: &Redactor) -> ExtractBody {
        let texts: BTreeMap<(Strategy, u64), &DrawnSample> =
            facts.drawn.iter().map(|sample| ((sample.strategy, sample.index), sample)).collect();
        let places = places(facts.cells);
        let mut findings: Vec<FindingRow> = facts
            .findings
            .iter()
            .map(|finding| {
                let key = (finding.strategy, finding.index);
                let text = texts.get(&key).map_or(Cow::Borrowed(""), |sample| matched(finding, sample));
                finding_row(finding, redactor.show(kind(finding), &text), places.get(&key))
            })
            .collect();
        findings.sort_by(|a, b| {
            let key = |row: &FindingRow| (Reverse(row.longest_match_tokens), row.best_rank, row.sample);
            key(a).cmp(&key(b)).then_with(|| a.strategy.cmp(&b.strategy))
        });
        let secrets = SecretTable::new(facts.drawn, facts.findings, facts.verification, redactor);
        let canaries = facts.canaries.map(|canaries| CanaryTable::new(canaries, facts.exposures, redactor));
        let n_samples = facts.drawn.len() as u64;
        let measures = measures(facts.verification, &findings, n_samples, canaries.as_ref());
        ExtractBody {
            provenance: facts.provenance,
            verification: facts.verification,
            n_samples,
            min_match_tokens: facts.min_match_tokens,
            cells: cell_rows(facts.cells, facts.findings, facts.verification),
            findings,
            secrets,
            at_scale: facts.at_scale,
            divergence: facts.divergence,
            canaries,
            measures,
            warnings: facts.warnings,
        }
    }

    /// The one sentence that says what happened: of the planted canaries where there are any, else of the samples.
    pub fn headline(&self) -> String {
        let Some(canaries) = &self.canaries else { return self.samples_sentence() };
        format!(
            "The model recites {} planted canaries and {} never-planted controls.",
            canaries.planted.fraction(),
            canaries.controls.fraction()
        )
    }

    /// What became of the samples that were drawn.
    pub fn samples_sentence(&self) -> String {
        let samples = counted(self.n_samples, "sample", "samples");
        let candidates = counted(self.findings.len() as u64, "candidate", "candidates");
        match self.verification {
            Verification::None => {
                format!(
                    "{samples} drawn, {candidates} ranked; without a corpus to look them up in, nothing is proven."
                )
            }
            Verification::Corpus => {
                let memorized = grouped(self.n_memorized());
                format!(
                    "{memorized} of {candidates}, the best of {samples}, recite the corpus word for word."
                )
            }
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
    /// `recite`, `reconstruct` or `recollect`, where it is memorized.
    pub category: Option<String>,
    /// Personal data and secrets in the sample, by kind.
    pub secrets: Vec<SecretCount>,
    /// The matching text, redacted unless revealed.
    pub text: Shown,
    /// Longest stretch that stands verbatim in one document, in tokens.
    pub longest_match_tokens: u64,
    /// The same in bytes.
    pub longest_match_bytes: u64,
    /// Runs of `min_match_tokens` tokens of the sample that stand in a document, wherever in it they begin.
    pub n_windows: u64,
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

impl FindingRow {
    /// The personal data and secrets in it, in words.
    pub fn secrets_text(&self) -> String {
        counts_text(&self.secrets)
    }
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
    /// How exposed each canary is, where that was measured.
    pub exposure: Option<ExposureTable>,
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

/// Where one sample stands in the rankings: its best rank with that metric, and its score by each metric.
struct Places {
    best: (u64, Metric),
    scores: BTreeMap<String, f64>,
}

fn places(cells: &[Cell]) -> BTreeMap<(Strategy, u64), Places> {
    let mut places: BTreeMap<(Strategy, u64), Places> = BTreeMap::new();
    for cell in cells {
        for (rank, candidate) in (1..).zip(&cell.ranked) {
            let place = places
                .entry((cell.strategy, candidate.index))
                .or_insert_with(|| Places { best: (rank, cell.metric), scores: BTreeMap::new() });
            place.best = place.best.min((rank, cell.metric));
            place.scores.insert(cell.metric.name().to_owned(), rounded(candidate.score));
        }
    }
    places
}

fn cell_rows(cells: &[Cell], findings: &[Finding], verification: Verification) -> Vec<CellRow> {
    let row = |(cell, precision): (&Cell, Precision)| CellRow {
        strategy: cell.strategy.to_string(),
        metric: cell.metric.to_string(),
        n_candidates: cell.ranked.len() as u64,
        precision: (verification == Verification::Corpus)
            .then(|| Rate::new(precision.n_memorized, precision.n_verified)),
    };
    cells.iter().zip(precision(cells, findings, LEVEL)).map(row).collect()
}

fn kind(finding: &Finding) -> &'static str {
    if finding.longest.is_some() { "match" } else { "sample" }
}

/// The part of a sample that stands in the corpus, or the whole sample.
fn matched<'a>(finding: &Finding, sample: &'a DrawnSample) -> Cow<'a, str> {
    let Some(found) = &finding.longest else { return Cow::Borrowed(&sample.text) };
    let bytes = sample.text_bytes();
    let end = (found.start_byte + found.n_bytes) as usize;
    let range = widened(&bytes, found.start_byte as usize..end);
    Cow::Owned(String::from_utf8_lossy(&bytes[range]).into_owned())
}

/// A range of bytes with the whole of each character that it cuts; half a character stays as it is.
fn widened(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (range.start.min(bytes.len()), range.end.min(bytes.len()));
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        let valid = at..at + chunk.valid().len();
        if valid.contains(&start) {
            start = at + chunk.valid().floor_char_boundary(start - at);
        }
        if valid.contains(&end) {
            end = at + chunk.valid().ceil_char_boundary(end - at);
        }
        at = valid.end + chunk.invalid().len();
    }
    start..end
}

fn finding_row(finding: &Finding, text: Shown, places: Option<&Places>) -> FindingRow {
    let found = finding.longest.as_ref();
    let (best_rank, best_metric) =
        places.map_or((0, String::new()), |places| (places.best.0, places.best.1.to_string()));
    FindingRow {
        strategy: finding.strategy.to_string(),
        sample: finding.index,
        verdict: verdict_name(finding.verdict).to_owned(),
        category: finding.category.map(|category| category.name().to_owned()),
        secrets: secret_counts(&finding.secrets),
        text,
        longest_match_tokens: found.map_or(0, |found| found.n_tokens),
        longest_match_bytes: found.map_or(0, |found| found.n_bytes),
        n_windows: finding.n_windows,
        n_documents: found.map_or(0, |found| found.n_documents),
        n_occurrences: found.map_or(0, |found| found.n_occurrences),
        first: found.map(|found| format!("{}, byte {}", found.label, found.text_byte)),
        best_rank,
        best_metric,
        scores: places.map_or_else(BTreeMap::new, |places| places.scores.clone()),
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Memorized => "memorized",
        Verdict::NotFound => "not-found",
        Verdict::Unverified => "unverified",
    }
}

impl CanaryTable {
    /// The table of an audit; secrets are looked up in the ledger and named by the redactor. Canaries for which the
    /// model's numbers were not finite count neither way.
    pub fn new(
        (ledger, recitations): (&[Canary], &[Recitation]),
        exposures: Option<&[Exposure]>,
        redactor: &Redactor,
    ) -> CanaryTable {
        let summary = summarize(recitations, LEVEL);
        let rate = |count: &RecitedCount| Rate::new(count.n_recited, count.n_canaries);
        let row = |group: &CanaryGroup| CanaryRow {
            placement: group.placement.name().to_owned(),
            copies: group.copies,
            recited: rate(&group.count),
        };
        let all = summary
            .groups
            .iter()
            .fold((0, 0), |(count, n), group| (count + group.count.n_recited, n + group.count.n_canaries));
        let secrets: BTreeMap<&str, &Canary> =
            ledger.iter().map(|canary| (canary.id.as_str(), canary)).collect();
        let recited = recitations.iter().filter(|recitation| recitation.recited).filter_map(|recitation| {
            let canary = secrets.get(recitation.id.as_str())?;
            Some(RecitedRow {
                id: recitation.id.clone(),
                placement: recitation.placement.name().to_owned(),
                copies: recitation.copies,
                secret: redactor.show(canary.shape.name(), &canary.secret),
            })
        });
        CanaryTable {
            rows: summary.groups.iter().map(row).collect(),
            planted: Rate::new(all.0, all.1),
            controls: rate(&summary.controls),
            recited: recited.collect(),
            exposure: exposures.map(|exposures| ExposureTable::new(exposures, recitations)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use verbatim_extraction::Candidate;

    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    fn sample(index: u64, text: &str) -> DrawnSample {
        let (prompt, tokens, text) = (vec![0], vec![1, 2], text.to_owned());
        DrawnSample {
            strategy: Strategy::TopN,
            index,
            prompt,
            tokens,
            text,
            text_bytes_b64: None,
            error: None,
        }
    }

    fn finding(index: u64, verdict: &str, longest: &Value) -> Finding {
        serde_json::from_value(json!({
            "strategy": Strategy::TopN, "index": index, "n_tokens": 60, "n_bytes": 20, "verdict": verdict,
            "exact": false, "n_windows": 3, "longest": longest, "secrets": [],
            "category": (verdict == "memorized").then_some("recollect"),
        }))
        .unwrap()
    }

    fn cell(metric: Metric, ranked: &[(u64, f64)]) -> Cell {
        let ranked = ranked.iter().map(|&(index, score)| Candidate { index, score }).collect();
        Cell { strategy: Strategy::TopN, metric, n_samples: 2, excluded: vec![], n_duplicates: 0, ranked }
    }

    #[test]
    fn an_audit_becomes_a_body() {
        let drawn = [sample(0, "nothing of note"), sample(1, "so: ünder the towér")];
        let cells =
            [cell(Metric::Perplexity, &[(0, -1.0), (1, -2.0)]), cell(Metric::Zlib, &[(1, 300.123_456_789)])];
        // The match begins inside the two bytes of the u with dots: what is shown is widened to the letter.
        let found = json!({
            "n_bytes": 13, "n_tokens": 55, "start_byte": 5, "n_documents": 3, "n_occurrences": 4, "document": 7,
            "label": "a.jsonl:8", "location": { "path": "a.jsonl", "line": 8, "byte": 90 }, "text_byte": 12,
        });
        let findings = [finding(0, "not-found", &json!(null)), finding(1, "memorized", &found)];
        let facts = ExtractFacts {
            provenance: samples::provenance(),
            verification: Verification::Corpus,
            min_match_tokens: 50,
            drawn: &drawn,
            cells: &cells,
            findings: &findings,
            at_scale: None,
            divergence: None,
            canaries: None,
            exposures: None,
            warnings: vec![],
        };
        let body = ExtractBody::new(facts, &samples::redactor(Reveal::Revealed));
        let first = &body.findings[0];
        assert_eq!((first.sample, first.verdict.as_str(), first.longest_match_tokens), (1, "memorized", 55));
        assert_eq!(
            (first.category.as_deref(), body.findings[1].category.as_deref()),
            (Some("recollect"), None)
        );
        assert_eq!(first.text.text.as_deref(), Some("ünder the tow"));
        assert_eq!(first.first.as_deref(), Some("a.jsonl:8, byte 12"));
        assert_eq!((first.best_rank, first.best_metric.as_str()), (1, "zlib"));
        assert_eq!((first.scores["zlib"], first.scores["perplexity"]), (300.123457, -2.0));
        assert_eq!((body.findings[1].text.kind.as_str(), body.n_memorized()), ("sample", 1));
        let precision: Vec<_> = body.cells.iter().map(|cell| cell.precision.unwrap().fraction()).collect();
        assert_eq!(precision, ["1 of 2", "1 of 1"]);
    }

    /// The places of a match are of the bytes of the tokens, and U+FFFD takes three where half a character takes one.
    #[test]
    fn fault_63_a_match_in_a_sample_that_is_not_utf_8_is_what_matched() {
        let half_before = |bytes: &str, text: &str| DrawnSample {
            text_bytes_b64: Some(bytes.to_owned()),
            ..sample(0, &format!("\u{fffd}{text}"))
        };
        // The second byte of an e acute, "so: nine tow", an e acute in full, "rs": as Python's base64 writes it.
        let drawn = [half_before("qXNvOiBuaW5lIHRvd8OpcnM=", "so: nine towérs")];
        let show = |start_byte: u64, n_bytes: u64| {
            let found = json!({
                "n_bytes": n_bytes, "n_tokens": 55, "start_byte": start_byte, "n_documents": 1, "document": 7,
                "n_occurrences": 1, "label": "a.jsonl:8", "text_byte": 12,
                "location": { "path": "a.jsonl", "line": 8, "byte": 90 },
            });
            let facts = ExtractFacts {
                provenance: samples::provenance(),
                verification: Verification::Corpus,
                min_match_tokens: 50,
                drawn: &drawn,
                cells: &[cell(Metric::Perplexity, &[(0, -1.0)])],
                findings: &[finding(0, "memorized", &found)],
                at_scale: None,
                divergence: None,
                canaries: None,
                exposures: None,
                warnings: vec![],
            };
            ExtractBody::new(facts, &samples::redactor(Reveal::Revealed)).findings[0].text.clone()
        };
        let named = |text: &str| samples::redactor(Reveal::Revealed).show("match", text);
        assert!(show(5, 11) == named("nine towér"), "{:?}", show(5, 11).text);
        assert!(show(5, 9) == named("nine towé"), "half of a whole letter is widened to it");
        assert!(show(14, 3) == named("érs"), "{:?}", show(14, 3).text);
        assert!(show(0, 3) == named("\u{fffd}so"), "half a letter stays half a letter");
        assert!(show(10, 900) == named("towérs"), "a place beyond the sample's end");
    }

    #[test]
    fn without_a_corpus_nothing_has_a_precision() {
        let (drawn, cells) = ([sample(0, "x")], [cell(Metric::Perplexity, &[(0, -1.0)])]);
        let facts = ExtractFacts {
            provenance: samples::provenance(),
            verification: Verification::None,
            min_match_tokens: 50,
            drawn: &drawn,
            cells: &cells,
            findings: &[finding(0, "unverified", &json!(null))],
            at_scale: None,
            divergence: None,
            canaries: None,
            exposures: None,
            warnings: vec![],
        };
        let body = ExtractBody::new(facts, &samples::redactor(Reveal::Redacted));
        assert_eq!((body.cells[0].precision, body.findings[0].verdict.as_str()), (None, "unverified"));
        assert!(body.headline().contains("nothing is proven") && body.n_memorized() == 0);
    }

    #[test]
    fn canaries_are_counted_and_named() {
        let cases = samples::cases();
        let ledger: Vec<Canary> = cases.iter().map(|case| case.canary.clone()).collect();
        let recitation = |(canary, recited): (&Canary, bool)| Recitation {
            id: canary.id.clone(),
            shape: canary.shape,
            placement: canary.placement,
            copies: canary.copies,
            control: canary.control,
            merged: vec![],
            n_secret_tokens: 8,
            n_matched_tokens: if recited { 8 } else { 2 },
            recited,
            log_prob: Some(-1.0),
        };
        let recitations: Vec<_> =
            ledger.iter().zip(cases.iter().map(|case| case.raw)).map(recitation).collect();
        let table = CanaryTable::new((&ledger, &recitations), None, &samples::redactor(Reveal::Redacted));
        assert_eq!(
            (table.planted.fraction(), table.controls.fraction()),
            ("33 of 72".into(), "0 of 18".into())
        );
        assert_eq!((table.rows.len(), table.recited.len()), (12, 33));
        assert!(table.recited.iter().all(|row| row.secret.text.is_none()));
    }
}

//! Which evaluation items stand in a training corpus: rates by file and field, and a line for each match.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use verbatim_dedup::{Contamination, ContaminationMatch, ItemPart, Tally};
use verbatim_store::{Access, create_file};

use crate::dedup::Flow;
use crate::error::Result;
use crate::figure::{Rate, counted, grouped, rounded};
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;

/// The file of all matches in an output folder.
pub const MATCHES_NAME: &str = "contamination.jsonl";

/// Matches, documents and items that a report names.
const N_NAMED: usize = 40;

/// Which evaluation items stand in a training corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContaminationBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Items that stand in the corpus, of those that have a part of enough words to be judged.
    pub contaminated: Rate,
    /// Documents of the training corpus.
    pub n_documents: u64,
    /// Documents that hold an item.
    pub n_contaminated_documents: u64,
    /// Parts of items in documents: lines of `contamination.jsonl`.
    pub n_matches: u64,
    /// What became of every document, where the contaminated ones were removed.
    pub flow: Option<Flow>,
    /// The evaluation files.
    pub files: Vec<EvaluationRow>,
    /// The fields of the items.
    pub fields: Vec<EvaluationRow>,
    /// The documents that hold the most items.
    pub documents: Vec<Holder>,
    /// The items that stand in the most documents.
    pub items: Vec<Holder>,
    /// The matches with the longest runs of words.
    pub matches: Vec<MatchRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for ContaminationBody {
    const KIND: &'static str = "contamination";
}

/// The items of one file, or the parts of one field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationRow {
    /// The file or the field.
    pub name: String,
    /// Items or parts.
    pub n: u64,
    /// Of these, too short to be judged.
    pub n_not_judged: u64,
    /// Of the others, how many stand in the training corpus.
    pub contaminated: Rate,
}

/// A document with the number of items that it holds, or an item with the number of documents that hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its name.
    pub id: String,
    /// Its file.
    pub path: String,
    /// Its line or row, from 1.
    pub line: u64,
    /// How many it holds, or hold it.
    pub n: u64,
}

/// Where one side of a match stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchPlace {
    /// Its name.
    pub id: String,
    /// Its file.
    pub path: String,
    /// Its line or row, from 1.
    pub line: u64,
    /// The first byte of the longest run in its text, and the byte after the last; none where normalisation moved
    /// words across their borders.
    pub bytes: Option<[u64; 2]>,
}

/// One part of an item in one document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatchRow {
    /// The training document.
    pub document: MatchPlace,
    /// The evaluation item.
    pub item: MatchPlace,
    /// The field of the item; an element of an array as `choices[2]`.
    pub part: String,
    /// The weighted share of the part's n-grams that stand in the document.
    pub score: f64,
    /// Different n-grams of the part that stand in the document.
    pub n_matched: u64,
    /// Different n-grams of the part.
    pub n_ngrams: u64,
    /// Documents that hold the rarest of the matched n-grams.
    pub rarest_n_documents: u64,
    /// Words of the longest run in common.
    pub longest_run_words: u64,
    /// The run as it stands in the item, redacted unless revealed.
    pub text: Shown,
}

/// What a search for contamination came to.
#[derive(Debug)]
pub struct ContaminationFacts<'a> {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What was found.
    pub found: &'a Contamination,
    /// The names of the fields.
    pub fields: Vec<String>,
    /// The account of the documents, where the contaminated ones were removed.
    pub tally: Option<Tally>,
    /// What the corpus room noticed.
    pub warnings: Vec<String>,
}

/// Names documents and items, and reads the texts of items.
pub trait MatchSources {
    /// Where a training document stands, by its number.
    fn document(&self, number: u64) -> MatchPlace;
    /// Where an evaluation item stands, by its number.
    fn item(&self, number: u64) -> MatchPlace;
    /// The text of a part of an item.
    fn text(&self, part: &ItemPart) -> Option<String>;
}

impl ContaminationBody {
    /// The body, and every match in the order of the documents.
    pub fn new(
        facts: ContaminationFacts<'_>,
        sources: &dyn MatchSources,
        redactor: &Redactor,
    ) -> (ContaminationBody, Vec<MatchRow>) {
        let found = facts.found;
        let rows: Vec<MatchRow> =
            found.matches.iter().map(|one| match_row(one, found, sources, redactor)).collect();
        let held: BTreeSet<(u64, u64)> =
            found.matches.iter().map(|one| (one.document.0, found.parts[one.part].item.0)).collect();
        let n_by = |side: fn(&(u64, u64)) -> u64| {
            held.iter().fold(BTreeMap::<u64, u64>::new(), |mut counts, pair| {
                *counts.entry(side(pair)).or_default() += 1;
                counts
            })
        };
        let (by_document, by_item) = (n_by(|pair| pair.0), n_by(|pair| pair.1));
        let items = item_verdicts(found, &by_item);
        let files = evaluation_rows(items.iter().map(|(&item, &verdict)| (sources.item(item).path, verdict)));
        let matched_parts: BTreeSet<usize> = found.matches.iter().map(|one| one.part).collect();
        let fields = (facts.fields.iter().enumerate()).filter_map(|(field, name)| {
            let parts = found.parts.iter().enumerate().filter(|(_, part)| part.field == field);
            let verdicts = parts
                .map(|(number, part)| (name.clone(), verdict(part.judged, matched_parts.contains(&number))));
            evaluation_rows(verdicts).pop()
        });
        let mut matches = rows.clone();
        matches.sort_by_key(|row| Reverse(row.longest_run_words));
        matches.truncate(N_NAMED);
        let body = ContaminationBody {
            contaminated: rate(items.values().copied()),
            n_documents: found.n_documents,
            n_contaminated_documents: by_document.len() as u64,
            n_matches: rows.len() as u64,
            flow: facts.tally.map(Flow::from),
            files,
            fields: fields.collect(),
            documents: holders(&by_document, |number| sources.document(number)),
            items: holders(&by_item, |number| sources.item(number)),
            matches,
            warnings: warnings(&facts),
            provenance: facts.provenance,
        };
        (body, rows)
    }

    /// The one sentence that says what was found.
    pub fn headline(&self) -> String {
        let Rate { count, n, .. } = self.contaminated;
        let items = counted(n, "evaluation item", "evaluation items");
        if count == 0 {
            return format!("None of {items} stands in the training corpus.");
        }
        format!(
            "{} of {items} ({}, {}) {} in the training corpus, in {} of {}.",
            grouped(count),
            self.contaminated.percent(),
            self.contaminated.interval(),
            if count == 1 { "stands" } else { "stand" },
            grouped(self.n_contaminated_documents),
            counted(self.n_documents, "document", "documents")
        )
    }
}

/// Writes every match as a line of `contamination.jsonl`, readable by its owner only.
///
/// # Errors
/// When the file is there already or cannot be written.
pub fn write_matches(folder: &Path, rows: &[MatchRow]) -> Result<()> {
    let path = folder.join(MATCHES_NAME);
    let mut file = create_file(&path, Access::Private)?;
    for row in rows {
        let written = serde_json::to_writer(&mut file, row).map_err(std::io::Error::from);
        let written = written.and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| verbatim_store::Error::io(&path, "write", error))?;
    }
    Ok(file.finish()?)
}

/// What is known of an item or a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    NotJudged,
    Clean,
    Contaminated,
}

fn verdict(judged: bool, is_contaminated: bool) -> Verdict {
    match (judged, is_contaminated) {
        (_, true) => Verdict::Contaminated,
        (true, false) => Verdict::Clean,
        (false, false) => Verdict::NotJudged,
    }
}

/// The verdict on each item: one contaminated part is enough, and one that can be judged.
fn item_verdicts(found: &Contamination, by_item: &BTreeMap<u64, u64>) -> BTreeMap<u64, Verdict> {
    let mut verdicts = BTreeMap::new();
    for part in &found.parts {
        let of_part = verdict(part.judged, by_item.contains_key(&part.item.0));
        let of_item = verdicts.entry(part.item.0).or_insert(of_part);
        *of_item = of_part.max(*of_item);
    }
    verdicts
}

fn rate(verdicts: impl Iterator<Item = Verdict>) -> Rate {
    let (mut count, mut n) = (0, 0);
    for verdict in verdicts {
        count += u64::from(verdict == Verdict::Contaminated);
        n += u64::from(verdict != Verdict::NotJudged);
    }
    Rate::new(count, n)
}

/// A row for each name, in the order in which the names first stand.
fn evaluation_rows(verdicts: impl Iterator<Item = (String, Verdict)>) -> Vec<EvaluationRow> {
    let mut order = Vec::new();
    let mut by_name: BTreeMap<String, Vec<Verdict>> = BTreeMap::new();
    for (name, verdict) in verdicts {
        let of_name = by_name.entry(name.clone()).or_default();
        if of_name.is_empty() {
            order.push(name);
        }
        of_name.push(verdict);
    }
    let row = |name: String| {
        let verdicts = &by_name[&name];
        let contaminated = rate(verdicts.iter().copied());
        let n = verdicts.len() as u64;
        EvaluationRow { name, n, n_not_judged: n - contaminated.n, contaminated }
    };
    order.into_iter().map(row).collect()
}

fn match_row(
    one: &ContaminationMatch,
    found: &Contamination,
    sources: &dyn MatchSources,
    redactor: &Redactor,
) -> MatchRow {
    let part = &found.parts[one.part];
    let bytes = |range: &std::ops::Range<u64>| [range.start, range.end];
    let whole = sources.text(part).unwrap_or_default();
    let run =
        one.longest.item_bytes.as_ref().and_then(|range| whole.get(range.start as usize..range.end as usize));
    MatchRow {
        document: MatchPlace {
            bytes: one.longest.document_bytes.as_ref().map(bytes),
            ..sources.document(one.document.0)
        },
        item: MatchPlace { bytes: one.longest.item_bytes.as_ref().map(bytes), ..sources.item(part.item.0) },
        part: part.name.clone(),
        score: rounded(one.score),
        n_matched: one.n_matched,
        n_ngrams: one.n_ngrams,
        rarest_n_documents: one.rarest,
        longest_run_words: one.longest.n_words,
        text: redactor.show("match", run.unwrap_or(&whole)),
    }
}

/// The most of them, largest first.
fn holders(counts: &BTreeMap<u64, u64>, place: impl Fn(u64) -> MatchPlace) -> Vec<Holder> {
    let mut counts: Vec<(u64, u64)> = counts.iter().map(|(&number, &n)| (number, n)).collect();
    counts.sort_by_key(|&(number, n)| (Reverse(n), number));
    counts.truncate(N_NAMED);
    let holder = |(number, n)| {
        let MatchPlace { id, path, line, .. } = place(number);
        Holder { id, path, line, n }
    };
    counts.into_iter().map(holder).collect()
}

fn warnings(facts: &ContaminationFacts<'_>) -> Vec<String> {
    let lacking = facts.fields.iter().zip(&facts.found.n_lacking).filter(|(_, n)| **n > 0);
    let lacking = lacking.map(|(field, &n)| {
        format!(
            "{} no text in the field `{field}`",
            counted(n, "evaluation item has", "evaluation items have")
        )
    });
    facts.warnings.iter().cloned().chain(lacking).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    #[test]
    fn a_search_becomes_a_body_and_lines() {
        let (report, rows) = samples::contamination(Reveal::Redacted);
        let body = report.result;
        // Of four items one is too short, one clean, and two stand in documents; one of them by both of its parts.
        assert_eq!((body.contaminated.count, body.contaminated.n), (2, 3));
        let files: Vec<_> = body
            .files
            .iter()
            .map(|row| (row.name.as_str(), row.n, row.n_not_judged, row.contaminated.count))
            .collect();
        assert_eq!(files, [("quiz.jsonl", 3, 0, 2), ("yes.jsonl", 1, 1, 0)]);
        let fields: Vec<_> = body
            .fields
            .iter()
            .map(|row| (row.name.as_str(), row.n, row.n_not_judged, row.contaminated.count))
            .collect();
        assert_eq!(fields, [("question", 4, 1, 2), ("answer", 3, 2, 1)]);
        assert_eq!((body.n_contaminated_documents, body.n_matches), (2, 4));
        assert_eq!((body.documents[0].id.as_str(), body.documents[0].n), ("doc 7", 2));
        assert_eq!((body.items[0].id.as_str(), body.items[0].n), ("item 0", 2));
        assert!(body.matches.is_sorted_by_key(|row| Reverse(row.longest_run_words)));
        assert_eq!(rows[0].document.bytes, Some([5, 30]));
        assert!(body.headline().starts_with("2 of 3 evaluation items (66.7%, "), "{}", body.headline());
        assert_eq!(body.warnings, ["1 evaluation item has no text in the field `answer`"]);
    }

    #[test]
    fn words_in_common_are_shown_on_request_only() {
        let (_, redacted) = samples::contamination(Reveal::Redacted);
        let (_, revealed) = samples::contamination(Reveal::Revealed);
        assert!(redacted.iter().all(|row| row.text.text.is_none()));
        assert_eq!(revealed[0].text.text.as_deref(), Some("is the keeper of the tower"));
        assert_eq!(redacted[0].text.name, revealed[0].text.name);
    }
}

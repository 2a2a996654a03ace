//! Plants canaries: texts with secrets, put into a corpus a known number of times, with controls that never are.
//!
//! Every planted text is a new document among the originals, which stay as they are. The ledger says what was
//! planted how often and where. Nothing here depends on a model.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use verbatim_corpus::Corpus;
use verbatim_extraction::{Canary, Placement, Shape};
use verbatim_index::count_strings;
use verbatim_store::Progress;

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::grammar::Grammar;
use crate::secret::{make_canaries, suffix};
use crate::synth::{SynthDocument, body_sentence};

/// What to plant: `n_per_cell` canaries for each shape, placement and number of copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlantConfig {
    /// The same seed gives the same canaries in the same places.
    pub seed: u64,
    /// Shapes of secrets.
    pub shapes: Vec<Shape>,
    /// How copies stand in the corpus.
    pub placements: Vec<Placement>,
    /// How often a canary is planted.
    pub copies: Vec<u64>,
    /// Canaries for each shape, placement and number of copies.
    pub n_per_cell: u64,
    /// Never-planted controls, spread over shapes and placements.
    pub n_controls: u64,
}

impl PlantConfig {
    /// All shapes and placements, 1, 4, 16 and 64 times, two canaries a cell and 36 controls.
    pub fn standard(seed: u64) -> PlantConfig {
        PlantConfig {
            seed,
            shapes: vec![Shape::Random, Shape::Sentence, Shape::Pii],
            placements: vec![Placement::Document, Placement::NearCopy, Placement::Passage],
            copies: vec![1, 4, 16, 64],
            n_per_cell: 2,
            n_controls: 36,
        }
    }
}

/// One line of the ledger file: the canary, and the documents that hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The canary.
    #[serde(flatten)]
    pub canary: Canary,
    /// Ids of the planted documents that hold it, in corpus order; empty for a control.
    pub documents: Vec<String>,
}

/// A planted document and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// Number of original documents that stand before it.
    pub n_before: u64,
    /// The document.
    pub document: SynthDocument,
}

/// What is planted where, before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planting {
    /// All canaries, controls last.
    pub ledger: Vec<LedgerLine>,
    /// The planted documents in corpus order.
    pub insertions: Vec<Insertion>,
}

/// A text to be planted and the canaries (by index) that it holds.
struct Planted {
    text: String,
    canaries: Vec<usize>,
}

/// Passages that a host document carries, so that a corpus does not drown in hosts.
const PASSAGES_PER_HOST: usize = 3;

/// Decides what to plant among `n_originals` documents, without looking at them.
pub fn plan_planting(n_originals: u64, config: &PlantConfig) -> Result<Planting> {
    let canaries = make_canaries(config)?;
    let mut planted = Vec::new();
    for (index, canary) in canaries.iter().enumerate() {
        let mut grammar = Grammar::new(Draw::new(config.seed, "copies", key(index)));
        let texts = match canary.placement {
            Placement::Document => repeat_document(&mut grammar, canary),
            Placement::NearCopy => edit_document(&mut grammar, canary),
            _ => Vec::new(),
        };
        planted.extend(texts.into_iter().map(|text| Planted { text, canaries: vec![index] }));
    }
    planted.extend(host_documents(config.seed, &canaries));
    Ok(spread(n_originals, config.seed, canaries, planted))
}

/// Refuses a planting with a secret that the originals already hold, so that counts and controls mean something.
///
/// # Errors
/// [`Error::SecretInCorpus`].
pub fn check_secrets(originals: &Corpus, planting: &Planting, progress: &dyn Progress) -> Result<()> {
    let canaries = || planting.ledger.iter().map(|line| &line.canary);
    let secrets: Vec<Vec<u8>> = canaries().map(|canary| canary.secret.clone().into_bytes()).collect();
    let counts = count_strings(originals, &secrets, progress);
    match canaries().zip(counts).find(|(_, count)| count.n_occurrences > 0) {
        Some((canary, _)) => Err(Error::SecretInCorpus { id: canary.id.clone() }),
        None => Ok(()),
    }
}

/// The originals with the planted documents among them.
pub fn plant_documents(originals: Vec<SynthDocument>, planting: &Planting) -> Vec<SynthDocument> {
    let mut documents = Vec::with_capacity(originals.len() + planting.insertions.len());
    let mut insertions = planting.insertions.iter().peekable();
    for (n_before, original) in (0u64..).zip(originals) {
        while let Some(insertion) = insertions.next_if(|insertion| insertion.n_before <= n_before) {
            documents.push(insertion.document.clone());
        }
        documents.push(original);
    }
    documents.extend(insertions.map(|insertion| insertion.document.clone()));
    documents
}

fn key(index: usize) -> u64 {
    u64::try_from(index).expect("an index fits 64 bits")
}

/// The canary with its sentence closed.
fn secret_sentence(canary: &Canary) -> String {
    format!("{}{}{}", canary.prefix, canary.secret, suffix(canary.shape))
}

/// One document, `copies` times, byte for byte.
fn repeat_document(grammar: &mut Grammar, canary: &Canary) -> Vec<String> {
    let text = format!("{} {}", unsigned_document(grammar, canary), grammar.fill("{surname}"));
    (0..canary.copies).map(|_| text.clone()).collect()
}

/// `copies` different documents that differ in their last word, the copyist's name. With the 20 words that a
/// document has at least, 15 of 17 word 5-grams are shared: a Jaccard similarity of .88.
fn edit_document(grammar: &mut Grammar, canary: &Canary) -> Vec<String> {
    let unsigned = unsigned_document(grammar, canary);
    let mut names = BTreeSet::new();
    let mut texts = Vec::new();
    while key(texts.len()) < canary.copies {
        let name = grammar.fill("{surname}");
        if names.insert(name.clone()) {
            texts.push(format!("{unsigned} {name}"));
        }
    }
    texts
}

/// A short document with the canary in its middle, but for its last word.
fn unsigned_document(grammar: &mut Grammar, canary: &Canary) -> String {
    let opening = grammar.fill("Leaf {number}, {place}, {date} {year}.");
    let closing = grammar.fill("Copied in the {adjective} {noun} by");
    format!("{opening} {} {closing}", secret_sentence(canary))
}

/// Documents that share passages and nothing else: each canary's passage stands in as many hosts as it has
/// copies, at most once in each, among sentences that occur nowhere else.
fn host_documents(seed: u64, canaries: &[Canary]) -> Vec<Planted> {
    let passages: Vec<(usize, &Canary)> =
        canaries.iter().enumerate().filter(|(_, canary)| canary.placement == Placement::Passage).collect();
    let total: usize = passages.iter().map(|(_, canary)| n_copies(canary)).sum();
    let most = passages.iter().map(|(_, canary)| n_copies(canary)).max().unwrap_or(0);
    let mut hosts: Vec<Vec<usize>> = vec![Vec::new(); most.max(total.div_ceil(PASSAGES_PER_HOST))];
    let mut passage_texts = vec![String::new(); canaries.len()];
    for &(index, canary) in &passages {
        let mut grammar = Grammar::new(Draw::new(seed, "passage", key(index)));
        let closing = grammar.fill("So says the {thing} of {place}.");
        passage_texts[index] = format!("{} {closing}", secret_sentence(canary));
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        grammar.draw().shuffle(&mut order);
        order.sort_by_key(|&host| hosts[host].len());
        for &host in order.iter().take(n_copies(canary)) {
            hosts[host].push(index);
        }
    }
    let filled = hosts.into_iter().filter(|held| !held.is_empty()).enumerate();
    filled.map(|(host, held)| host_document(seed, host, held, &passage_texts)).collect()
}

fn host_document(seed: u64, host: usize, mut held: Vec<usize>, passage_texts: &[String]) -> Planted {
    let mut grammar = Grammar::new(Draw::new(seed, "host", key(host)));
    grammar.draw().shuffle(&mut held);
    let mut text = grammar.fill("{who}, {here}, {date} {year}.");
    for &index in &held {
        text = format!("{text} {} {}", body_sentence(&mut grammar), passage_texts[index]);
    }
    text = format!("{text} {}", body_sentence(&mut grammar));
    Planted { text, canaries: held }
}

fn n_copies(canary: &Canary) -> usize {
    usize::try_from(canary.copies).expect("copies that fit in memory fit a usize")
}

/// Gives each planted text a place drawn evenly over the corpus, and names it in corpus order.
fn spread(n_originals: u64, seed: u64, canaries: Vec<Canary>, planted: Vec<Planted>) -> Planting {
    let mut placed: Vec<(u64, u64, Planted)> = planted
        .into_iter()
        .enumerate()
        .map(|(index, planted)| {
            let mut draw = Draw::new(seed, "place", key(index));
            (draw.below(n_originals + 1), draw.seed(), planted)
        })
        .collect();
    placed.sort_by_key(|&(n_before, tie, _)| (n_before, tie));
    let mut ledger: Vec<LedgerLine> =
        canaries.into_iter().map(|canary| LedgerLine { canary, documents: Vec::new() }).collect();
    let mut insertions = Vec::with_capacity(placed.len());
    for (number, (n_before, _, planted)) in placed.into_iter().enumerate() {
        let id = format!("x{number:05}");
        for index in planted.canaries {
            ledger[index].documents.push(id.clone());
        }
        insertions.push(Insertion { n_before, document: SynthDocument { id, text: planted.text } });
    }
    Planting { ledger, insertions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::{SynthConfig, synthesize};

    fn originals() -> Vec<SynthDocument> {
        synthesize(&SynthConfig { seed: 5, n_documents: 50, min_sentences: 2, max_sentences: 4 })
    }

    fn planted() -> (Planting, Vec<SynthDocument>) {
        let planting = plan_planting(50, &PlantConfig::standard(9)).unwrap();
        let documents = plant_documents(originals(), &planting);
        (planting, documents)
    }

    #[test]
    fn counts_by_exact_search_equal_the_ledger() {
        let (planting, documents) = planted();
        for line in &planting.ledger {
            let needle = format!("{}{}", line.canary.prefix, line.canary.secret);
            for text in [needle.as_str(), line.canary.secret.as_str(), line.canary.prefix.as_str()] {
                let counts: usize =
                    documents.iter().map(|document| document.text.matches(text).count()).sum();
                assert_eq!(key(counts), line.canary.copies, "{}: {text}", line.canary.id);
            }
            let holders: Vec<&str> = documents
                .iter()
                .filter(|document| document.text.contains(&needle))
                .map(|document| document.id.as_str())
                .collect();
            assert_eq!(holders, line.documents);
            assert_eq!(line.canary.control, line.canary.copies == 0);
        }
        assert_eq!(planting.ledger.iter().filter(|line| line.canary.control).count(), 3 * 3 * 4);
    }

    #[test]
    fn a_secret_that_the_corpus_holds_is_refused() {
        let (planting, documents) = planted();
        let folder = tempfile::tempdir().unwrap();
        let check = |documents: &[SynthDocument]| {
            let path = folder.path().join("corpus.jsonl");
            let mut bytes = Vec::new();
            crate::synth::write_documents(documents, &mut bytes, &path).unwrap();
            verbatim_store::write_shared(&path, &bytes).unwrap();
            let corpus = Corpus::open(
                std::slice::from_ref(&path),
                &verbatim_corpus::OpenConfig::standard(),
                &verbatim_store::Silent,
            );
            let checked = check_secrets(&corpus.unwrap(), &planting, &verbatim_store::Silent);
            std::fs::remove_file(&path).unwrap();
            checked
        };
        assert!(check(&originals()).is_ok());
        assert!(matches!(check(&documents), Err(Error::SecretInCorpus { .. })));
    }

    #[test]
    fn originals_stay_as_they_are_and_in_order() {
        let (planting, documents) = planted();
        let ids: BTreeSet<&str> =
            planting.insertions.iter().map(|insertion| insertion.document.id.as_str()).collect();
        let kept: Vec<SynthDocument> =
            documents.iter().filter(|document| !ids.contains(document.id.as_str())).cloned().collect();
        assert_eq!(kept, originals());
        assert_eq!(documents.len(), kept.len() + ids.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_planting() {
        let config = PlantConfig::standard(9);
        assert_eq!(plan_planting(50, &config).unwrap(), plan_planting(50, &config).unwrap());
        assert_ne!(
            plan_planting(50, &config).unwrap(),
            plan_planting(50, &PlantConfig::standard(8)).unwrap()
        );
    }

    #[test]
    fn planted_documents_are_spread_over_the_corpus() {
        let (planting, _) = planted();
        let mut by_tenth = [0usize; 10];
        for insertion in &planting.insertions {
            by_tenth[usize::try_from(insertion.n_before * 10 / 51).unwrap()] += 1;
        }
        let mean = planting.insertions.len() / 10;
        assert!(by_tenth.iter().all(|&n| n > mean / 2 && n < 2 * mean), "{by_tenth:?}");
    }

    /// Jaccard similarity of word 5-grams, the naive way.
    fn jaccard(a: &str, b: &str) -> f64 {
        let grams = |text: &str| -> BTreeSet<Vec<String>> {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.windows(5).map(<[String]>::to_vec).collect()
        };
        let (a, b) = (grams(a), grams(b));
        let intersection = a.intersection(&b).count();
        intersection as f64 / (a.len() + b.len() - intersection) as f64
    }

    fn holders<'a>(line: &LedgerLine, documents: &'a [SynthDocument]) -> Vec<&'a str> {
        let held = documents.iter().filter(|document| line.documents.contains(&document.id));
        held.map(|document| document.text.as_str()).collect()
    }

    #[test]
    fn copies_are_as_alike_as_their_placement_says() {
        let (planting, documents) = planted();
        for line in planting.ledger.iter().filter(|line| line.canary.copies > 1) {
            let texts = holders(line, &documents);
            for (index, a) in texts.iter().enumerate() {
                for b in &texts[..index] {
                    match line.canary.placement {
                        Placement::Document => assert_eq!(a, b),
                        Placement::NearCopy => assert!(a != b && jaccard(a, b) > 0.86, "{a}\n{b}"),
                        _ => assert!(jaccard(a, b) < 0.6, "{a}\n{b}"),
                    }
                }
            }
        }
    }

    #[test]
    fn documents_of_different_canaries_are_not_near_copies() {
        let (planting, documents) = planted();
        let one_each: Vec<&str> = planting
            .ledger
            .iter()
            .filter(|line| !line.canary.control && line.canary.placement != Placement::Passage)
            .map(|line| holders(line, &documents)[0])
            .collect();
        for (index, a) in one_each.iter().enumerate() {
            assert!(one_each[..index].iter().all(|b| jaccard(a, b) < 0.3));
        }
    }
}

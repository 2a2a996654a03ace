//! Which evaluation items stand in a training corpus, with the place of each, found by n-grams of words.
//!
//! The items are held in memory, the corpus is streamed past them twice: once to count in how many of its documents
//! each n-gram of an item stands, once to weigh what each document holds. Hashes only propose; an n-gram counts when
//! its words are equal. Matches in different documents are never added up.

mod grams;
mod items;
mod run;
mod weigh;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, FieldPath, TextBuffer};
use verbatim_index::Normalizer;
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use grams::Grams;
use items::Items;
use weigh::Weights;

/// The longest n-gram that is accepted, in words.
pub(crate) const MAX_NGRAM: usize = 100;

/// A hash of a word. Injected, so that tests can forge collisions.
pub(crate) type WordHash = fn(&[u8]) -> u64;

/// What counts as contamination.
#[derive(Debug, Clone)]
pub struct ContaminationConfig {
    /// Applied to both sides before their words are compared.
    pub normalizer: Normalizer,
    /// Words of an n-gram. An item of fewer is compared whole.
    pub n: usize,
    /// The weighted share of an item's n-grams, 0.01 to 1, that must stand in one document.
    pub overlap: f64,
    /// Consecutive words that a document must share with an item; parts of items with fewer are not judged.
    pub min_words: usize,
    /// The share of documents above which an n-gram is common; common n-grams alone are no evidence. One that stands
    /// in [`RARE_DOCUMENTS`] or fewer is never common.
    pub common: f64,
    /// The fields whose texts are the parts of an item; the first is the text field that the evaluation corpus was
    /// opened with.
    pub fields: Vec<FieldPath>,
}

/// Documents in which an n-gram may stand without being common, however small the corpus.
pub const RARE_DOCUMENTS: u64 = 10;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Contamination {
    /// Each part of an item with each document that holds it, by document, item and part.
    pub matches: Vec<ContaminationMatch>,
    /// Every part of every item, in order.
    pub parts: Vec<ItemPart>,
    /// Documents of the training corpus.
    pub n_documents: u64,
    /// Items that lack a field, by the number of the field in the configuration.
    pub n_lacking: Vec<u64>,
}

/// One text of an evaluation item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemPart {
    /// The item.
    pub item: DocId,
    /// The number of the field in the configuration.
    pub field: usize,
    /// The field's name; an element of an array as `choices[2]`.
    pub name: String,
    /// Words in it.
    pub n_words: u64,
    /// Whether it has the words that a match needs.
    pub judged: bool,
}

/// A part of an evaluation item that stands in a training document.
#[derive(Debug, Clone, PartialEq)]
pub struct ContaminationMatch {
    /// The training document.
    pub document: DocId,
    /// The part, by its number in [`Contamination::parts`].
    pub part: usize,
    /// The weighted share of the part's n-grams that stand in the document.
    pub score: f64,
    /// Different n-grams of the part that stand in the document.
    pub n_matched: u64,
    /// Different n-grams of the part.
    pub n_ngrams: u64,
    /// Documents that hold the rarest of the matched n-grams.
    pub rarest: u64,
    /// The longest run of words in common.
    pub longest: Run,
}

/// Consecutive words that two texts have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How many words.
    pub n_words: u64,
    /// Their bytes in the training document's text; `None` where normalisation moved words across their borders.
    pub document_bytes: Option<Range<u64>>,
    /// Their bytes in the item part's text.
    pub item_bytes: Option<Range<u64>>,
}

impl Contamination {
    /// The training documents that hold an item, ascending.
    pub fn documents(&self) -> Vec<DocId> {
        let mut documents: Vec<DocId> = self.matches.iter().map(|found| found.document).collect();
        documents.dedup();
        documents
    }

    /// The items that stand in a training document, ascending.
    pub fn items(&self) -> Vec<DocId> {
        let mut items: Vec<DocId> = self.matches.iter().map(|found| self.parts[found.part].item).collect();
        items.sort_unstable();
        items.dedup();
        items
    }
}

/// The text of a part; `None` where the item has no such part.
pub fn part_text(eval: &Corpus, fields: &[FieldPath], part: &ItemPart) -> Option<String> {
    items::texts(eval, fields, part.item).find(|(_, name, _)| *name == part.name).map(|(_, _, text)| text)
}

/// Finds the evaluation items that stand in a training corpus. Reads, decides and writes nothing; the same for any
/// number of threads.
///
/// An n-gram g that stands in df of the N documents weighs log2((N + 1) / df), one that stands in none as one that
/// stands in one. A part of an item is found in a document if its n-grams that stand there have at least `overlap` of
/// the weight of all its n-grams, if one of them is not common, and if the longest run of words in common has at
/// least `min_words`.
///
/// # Errors
/// A configuration out of range, a field that no item has, too many words or documents, and an interrupt.
pub fn contamination(
    train: &Corpus,
    eval: &Corpus,
    config: &ContaminationConfig,
    progress: &dyn Progress,
) -> Result<Contamination> {
    contamination_with_hash(train, eval, config, xxh3_64, progress)
}

pub(crate) fn contamination_with_hash(
    train: &Corpus,
    eval: &Corpus,
    config: &ContaminationConfig,
    hash: WordHash,
    progress: &dyn Progress,
) -> Result<Contamination> {
    if !(1..=MAX_NGRAM).contains(&config.n) {
        return Err(Error::Ngram(config.n));
    }
    if !(0.01..=1.0).contains(&config.overlap) {
        return Err(Error::Threshold(config.overlap));
    }
    let n_documents = train.n_documents();
    if n_documents >= u64::from(u32::MAX) {
        return Err(Error::TooManyDocuments(n_documents));
    }
    let items = Items::read(eval, config)?;
    let grams = Grams::new(&items, config, hash);
    let (counts, holders) = count(train, &grams, progress)?;
    let weights = Weights::new(&grams, counts, n_documents, config);
    progress.stage("weighing matches", Some(holders.len() as u64), "documents");
    let matches: Vec<Vec<ContaminationMatch>> = holders
        .par_iter()
        .map_init(TextBuffer::default, |buffer, &document| {
            progress.advance(1);
            if progress.interrupted() {
                return Vec::new();
            }
            weights.matches(document, train.text_str_in(document, buffer), |part| {
                part_text(eval, &config.fields, &items.parts[part].told)
            })
        })
        .collect();
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    Ok(Contamination {
        matches: matches.into_iter().flatten().collect(),
        parts: items.parts.iter().map(|part| part.told.clone()).collect(),
        n_documents,
        n_lacking: items.n_lacking.clone(),
    })
}

/// In how many documents each n-gram of the items stands, and the documents in which any does.
fn count(train: &Corpus, grams: &Grams<'_>, progress: &dyn Progress) -> Result<(Vec<u32>, Vec<DocId>)> {
    progress.stage("counting n-grams", Some(train.n_documents()), "documents");
    let counts: Vec<AtomicU32> = (0..grams.n_grams()).map(|_| AtomicU32::new(0)).collect();
    let holders = (0..train.n_documents())
        .into_par_iter()
        .map(DocId)
        .map_init(TextBuffer::default, |buffer, document| {
            progress.advance(1);
            if progress.interrupted() {
                return None;
            }
            let hits = grams.find(train.text_str_in(document, buffer))?;
            hits.grams().for_each(|gram| {
                counts[gram as usize].fetch_add(1, Ordering::Relaxed);
            });
            Some(document)
        })
        .flatten_iter()
        .collect();
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    Ok((counts.into_iter().map(AtomicU32::into_inner).collect(), holders))
}

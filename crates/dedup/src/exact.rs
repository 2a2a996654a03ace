//! Groups of documents whose texts are equal after normalisation: found by hash, decided by the bytes.

use rayon::prelude::*;
use serde_json::Value;
use verbatim_corpus::{Corpus, DocId, FieldPath};
use verbatim_index::Normalizer;
use verbatim_store::Sorted;

use crate::config::ExactConfig;
use crate::signs::Posting;

/// A hash of a normalised text. Injected, so that tests can forge collisions.
pub(crate) type TextHash = fn(&[u8]) -> u64;

/// Records whose hashes are equal to others', before their texts are compared in parallel.
const BATCH: usize = 1 << 16;

/// The groups of two and more equal texts as ranks, ascending; the groups are in the order of their first member.
///
/// A document's rank is its position in `ranking`, the most preferred first. `hashes` are those of the normalised
/// texts, with the ranks; texts that are empty after normalisation have none and are in no group.
pub(crate) fn equal_texts(
    corpus: &Corpus,
    ranking: &[DocId],
    config: &ExactConfig,
    hashes: &Sorted<2>,
) -> Vec<Vec<u64>> {
    let texts = NormalizedTexts { corpus, ranking, config };
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for_each_batch(hashes, 2, |runs| {
        let equal = runs.into_par_iter().flat_map_iter(|run| texts.equal_groups(run));
        let ranks = equal.filter(|group| group.len() > 1).map(|group| group.iter().map(|r| r[1]).collect());
        groups.par_extend(ranks);
    });
    groups.sort_unstable();
    groups
}

/// Calls `take` with the runs of `least` and more records that have the same first number, many at a time.
pub(crate) fn for_each_batch<const N: usize>(
    sorted: &Sorted<N>,
    least: usize,
    mut take: impl FnMut(Vec<&[[u64; N]]>),
) {
    let mut batch: Vec<[u64; N]> = Vec::new();
    let mut records = sorted.iter().peekable();
    while let Some(first) = records.next() {
        let before = batch.len();
        batch.push(first);
        while let Some(same) = records.next_if(|record| record[0] == first[0]) {
            batch.push(same);
        }
        if batch.len() < before + least {
            batch.truncate(before);
        }
        if batch.len() >= BATCH || records.peek().is_none() {
            take(batch.chunk_by(|a, b| a[0] == b[0]).collect());
            batch.clear();
        }
    }
}

/// Texts that records of equal hashes stand for.
pub(crate) trait HashedTexts: Sync {
    type Record: Copy + Ord + Sync;

    /// Calls `read` with the text of a record.
    fn with<T>(&self, record: &Self::Record, read: impl FnOnce(&[u8]) -> T) -> T;

    /// The groups of equal texts, single ones included, among records of one hash, which are in order.
    fn equal_groups(&self, run: &[Self::Record]) -> Vec<Vec<Self::Record>> {
        let (first, rest) = (&run[0], &run[1..]);
        let is_equal = |record: &Self::Record, text: &[u8]| self.with(record, |other| other == text);
        if self.with(first, |text| rest.par_iter().all(|record| is_equal(record, text))) {
            return vec![run.to_vec()];
        }
        // Only forged collisions come here. Sorting by the text keeps even a million of them near linear.
        let mut run = run.to_vec();
        run.sort_unstable_by(|a, b| self.with(a, |x| self.with(b, |y| x.cmp(y))).then(a.cmp(b)));
        run.chunk_by(|a, b| self.with(a, |text| is_equal(b, text))).map(<[_]>::to_vec).collect()
    }
}

/// The value of a field that is compared instead of a text: a string, or a number as JSON writes it.
pub(crate) fn key_of(corpus: &Corpus, doc: DocId, key: &FieldPath) -> Option<String> {
    match corpus.field(doc, key)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Calls `read` with a normalised text. One that is not UTF-8 is taken as it is.
pub(crate) fn with_normalized<T>(normalizer: &Normalizer, raw: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    match std::str::from_utf8(raw) {
        Ok(text) => read(normalizer.apply(text).as_bytes()),
        Err(_) => read(raw),
    }
}

/// What the exact stage compares, by rank.
pub(crate) struct NormalizedTexts<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) ranking: &'a [DocId],
    pub(crate) config: &'a ExactConfig,
}

impl NormalizedTexts<'_> {
    pub(crate) fn are_equal(&self, a: u64, b: u64) -> bool {
        self.with(&[0, a], |a| self.with(&[0, b], |b| a == b))
    }
}

impl HashedTexts for NormalizedTexts<'_> {
    type Record = Posting;

    fn with<T>(&self, &[_, rank]: &Posting, read: impl FnOnce(&[u8]) -> T) -> T {
        let (doc, ExactConfig { normalizer, key }) = (self.ranking[rank as usize], self.config);
        match key {
            None => with_normalized(normalizer, &self.corpus.text(doc), read),
            Some(key) => {
                let key = key_of(self.corpus, doc, key).unwrap_or_default();
                with_normalized(normalizer, key.as_bytes(), read)
            }
        }
    }
}

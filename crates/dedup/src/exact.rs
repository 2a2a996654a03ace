//! Groups of documents whose texts are equal after normalisation: found by hash, decided by the bytes.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Normalizer;
use verbatim_store::Sorted;

use crate::signs::Posting;

/// A hash of a normalised text. Injected, so that tests can forge collisions.
pub(crate) type TextHash = fn(&[u8]) -> u64;

/// Documents whose hashes are equal to others', before their texts are compared in parallel.
const BATCH_DOCS: usize = 1 << 16;

/// The groups of two and more equal texts as ranks, ascending; the groups are in the order of their first member.
///
/// A document's rank is its position in `ranking`, the most preferred first. `hashes` are those of the normalised
/// texts, with the ranks; texts that are empty after normalisation have none and are in no group.
pub(crate) fn equal_texts(
    corpus: &Corpus,
    ranking: &[DocId],
    normalizer: &Normalizer,
    hashes: &Sorted<2>,
) -> Vec<Vec<u64>> {
    let texts = NormalizedTexts { corpus, ranking, normalizer };
    let mut groups: Vec<Vec<u64>> = Vec::new();
    let mut batch: Vec<Posting> = Vec::new();
    let mut hashes = hashes.iter().peekable();
    while let Some(first) = hashes.next() {
        let before = batch.len();
        batch.push(first);
        while let Some(same) = hashes.next_if(|posting| posting[0] == first[0]) {
            batch.push(same);
        }
        if batch.len() == before + 1 {
            batch.pop();
        }
        if batch.len() >= BATCH_DOCS || hashes.peek().is_none() {
            let runs: Vec<&[Posting]> = batch.chunk_by(|a, b| a[0] == b[0]).collect();
            groups.par_extend(runs.into_par_iter().flat_map_iter(|run| texts.split(run)));
            batch.clear();
        }
    }
    groups.sort_unstable();
    groups
}

/// Calls `read` with a normalised text. One that is not UTF-8 is taken as it is.
pub(crate) fn with_normalized<T>(normalizer: &Normalizer, raw: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    match std::str::from_utf8(raw) {
        Ok(text) => read(normalizer.apply(text).as_bytes()),
        Err(_) => read(raw),
    }
}

struct NormalizedTexts<'a> {
    corpus: &'a Corpus,
    ranking: &'a [DocId],
    normalizer: &'a Normalizer,
}

impl NormalizedTexts<'_> {
    /// Calls `read` with the normalised text.
    fn with<T>(&self, rank: u64, read: impl FnOnce(&[u8]) -> T) -> T {
        with_normalized(self.normalizer, &self.corpus.text(self.ranking[rank as usize]), read)
    }

    /// The groups of equal texts among documents of one hash.
    fn split(&self, run: &[Posting]) -> Vec<Vec<u64>> {
        let mut ranks: Vec<u64> = run.iter().map(|&[_, rank]| rank).collect();
        let first = ranks[0];
        let all_equal =
            self.with(first, |text| ranks[1..].iter().all(|&rank| self.with(rank, |other| other == text)));
        if all_equal {
            return vec![ranks];
        }
        // Only forged collisions come here. Sorting by the text keeps even a million of them near linear.
        let order = |&a: &u64, &b: &u64| self.with(a, |x| self.with(b, |y| x.cmp(y))).then(a.cmp(&b));
        ranks.sort_unstable_by(order);
        ranks
            .chunk_by(|&a, &b| self.with(a, |x| self.with(b, |y| x == y)))
            .filter(|group| group.len() > 1)
            .map(<[u64]>::to_vec)
            .collect()
    }
}

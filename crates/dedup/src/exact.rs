//! Groups of documents whose texts are equal after normalisation: found by hash, decided by the bytes.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Normalizer;

/// A hash of a normalised text. Injected, so that tests can forge collisions.
pub(crate) type TextHash = fn(&[u8]) -> u128;

/// The groups of two and more equal texts as ranks, ascending; the groups are in the order of their first member.
///
/// A document's rank is its position in `ranking`, the most preferred first. `hashes` are those of the normalised
/// texts, with the ranks; texts that are empty after normalisation have none and are in no group.
pub(crate) fn equal_texts(
    corpus: &Corpus,
    ranking: &[DocId],
    normalizer: &Normalizer,
    mut hashes: Vec<(u128, u32)>,
) -> Vec<Vec<u32>> {
    let texts = NormalizedTexts { corpus, ranking, normalizer };
    hashes.par_sort_unstable();
    let runs: Vec<&[(u128, u32)]> = hashes.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1).collect();
    let mut groups: Vec<Vec<u32>> = runs.into_par_iter().flat_map_iter(|run| texts.split(run)).collect();
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
    fn with<T>(&self, rank: u32, read: impl FnOnce(&[u8]) -> T) -> T {
        with_normalized(self.normalizer, &self.corpus.text(self.ranking[rank as usize]), read)
    }

    /// The groups of equal texts among documents of one hash.
    fn split(&self, run: &[(u128, u32)]) -> Vec<Vec<u32>> {
        let mut ranks: Vec<u32> = run.iter().map(|&(_, rank)| rank).collect();
        let first = ranks[0];
        let all_equal =
            self.with(first, |text| ranks[1..].iter().all(|&rank| self.with(rank, |other| other == text)));
        if all_equal {
            return vec![ranks];
        }
        // Only forged collisions come here. Sorting by the text keeps even a million of them near linear.
        let order = |&a: &u32, &b: &u32| self.with(a, |x| self.with(b, |y| x.cmp(y))).then(a.cmp(&b));
        ranks.sort_unstable_by(order);
        ranks
            .chunk_by(|&a, &b| self.with(a, |x| self.with(b, |y| x == y)))
            .filter(|group| group.len() > 1)
            .map(<[u32]>::to_vec)
            .collect()
    }
}

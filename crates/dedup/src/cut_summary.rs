//! What the cuts of a plan have in common: how long they are, which text goes most often, and between which sources.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rayon::prelude::*;
use verbatim_corpus::Corpus;
use xxhash_rust::xxh3::xxh3_128;

use crate::cut::Cut;
use crate::plan::Plan;
use crate::sources::Sources;

/// Stretches that are told one by one.
const N_HEAVIEST: usize = 100;
/// Pairs of sources that are told.
const N_PAIRS: usize = 400;

/// What the cuts of a plan have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CutSummary {
    /// Bytes of all texts, decoded.
    pub text_bytes: u64,
    /// Bytes of them that are cut.
    pub cut_bytes: u64,
    /// Cuts by their bytes; each bin is twice as wide as the one before.
    pub lengths: Vec<Bin>,
    /// Different texts by how often they are cut, likewise.
    pub copies: Vec<Bin>,
    /// The texts whose cuts take the most bytes, those first.
    pub heaviest: Vec<HeavyText>,
    /// Bytes that go from one source because they stand in another, the most first.
    pub pairs: Vec<SourcePair>,
}

/// How many there are of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    /// The smallest in it: a power of two.
    pub from: u64,
    /// How many are in it.
    pub n: u64,
}

/// A text that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeavyText {
    /// Its bytes.
    pub n_bytes: u64,
    /// How often it is cut.
    pub n_cuts: u64,
    /// Where it is cut first.
    pub first: Cut,
}

/// What goes from one source because it stands in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePair {
    /// Where it goes; `None` for documents that name no source.
    pub cut: Option<String>,
    /// Where it stays; `None` likewise, and for what the corpus was compared with.
    pub kept: Option<String>,
    /// Cuts.
    pub n_cuts: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

/// The names of the source where something goes and of the one where it stays.
type Pair<'a> = (Option<&'a str>, Option<&'a str>);

impl CutSummary {
    /// Looks at the cuts of a plan; `None` where there are none.
    pub fn of(corpus: &Corpus, plan: &Plan, sources: &Sources) -> Option<CutSummary> {
        let cuts = plan.cuts();
        if cuts.is_empty() {
            return None;
        }
        let texts = different_texts(corpus, cuts);
        let mut pairs: BTreeMap<Pair<'_>, [u64; 2]> = BTreeMap::new();
        for cut in cuts {
            let [n_cuts, n_bytes] = pairs.entry((sources.name(cut.doc), sources.name(cut.kept))).or_default();
            *n_cuts += 1;
            *n_bytes += len(cut);
        }
        let pair = |((cut, kept), [n_cuts, n_bytes]): (Pair<'_>, [u64; 2])| {
            let [cut, kept] = [cut, kept].map(|source| source.map(str::to_owned));
            SourcePair { cut, kept, n_cuts, n_bytes }
        };
        let mut pairs: Vec<SourcePair> = pairs.into_iter().map(pair).collect();
        pairs.sort_by_key(|pair| Reverse(pair.n_bytes));
        pairs.truncate(N_PAIRS);
        Some(CutSummary {
            text_bytes: corpus.text_bytes(),
            cut_bytes: cuts.iter().map(len).sum(),
            lengths: bins(cuts.iter().map(len)),
            copies: bins(texts.iter().map(|text| text.n_cuts)),
            heaviest: texts.into_iter().take(N_HEAVIEST).collect(),
            pairs,
        })
    }
}

fn len(cut: &Cut) -> u64 {
    cut.end - cut.start
}

/// The different texts of some cuts, those first whose cuts take the most bytes.
fn different_texts(corpus: &Corpus, cuts: &[Cut]) -> Vec<HeavyText> {
    let hashes: Vec<u128> = cuts
        .par_chunk_by(|a, b| a.doc == b.doc)
        .flat_map_iter(|cuts| {
            let text = corpus.text(cuts[0].doc);
            let hash = |cut: &Cut| text.get(cut.start as usize..cut.end as usize).map_or(0, xxh3_128);
            cuts.iter().map(hash).collect::<Vec<u128>>()
        })
        .collect();
    let mut hashed: Vec<(u128, usize)> = hashes.into_iter().zip(0..).collect();
    hashed.par_sort_unstable();
    let mut texts: Vec<HeavyText> = hashed
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| {
            let first = cuts[same[0].1];
            HeavyText { n_bytes: len(&first), n_cuts: same.len() as u64, first }
        })
        .collect();
    texts.par_sort_unstable_by_key(|text| {
        (Reverse(text.n_bytes * text.n_cuts), text.first.doc, text.first.start)
    });
    texts
}

/// Counts numbers by the power of two that they reach, from the smallest to the largest, none left out between.
fn bins(numbers: impl Iterator<Item = u64>) -> Vec<Bin> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for number in numbers {
        *counts.entry(number.max(1).ilog2()).or_default() += 1;
    }
    let first = counts.keys().next().copied().unwrap_or(1);
    let last = counts.keys().last().copied().unwrap_or(0);
    (first..=last).map(|bits| Bin { from: 1 << bits, n: counts.get(&bits).copied().unwrap_or(0) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_double_and_leave_none_out() {
        let counted = bins([100, 127, 128, 1, 1000].into_iter());
        let expected =
            [(1, 1), (2, 0), (4, 0), (8, 0), (16, 0), (32, 0), (64, 2), (128, 1), (256, 0), (512, 1)];
        assert_eq!(counted, expected.map(|(from, n)| Bin { from, n }));
        assert_eq!(bins([].into_iter()), []);
    }
}

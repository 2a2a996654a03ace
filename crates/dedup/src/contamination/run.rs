//! The longest run of words that an item has in common with a document, in near-linear time whatever they repeat.
//!
//! The length is found by halving: where a run of some length is common, every shorter one is. Whether one is common
//! is asked of hashes (Karp and Rabin 1987, modulo the prime 2^61 - 1) and answered by the words.

use std::ops::Range;

use rustc_hash::FxHashMap;

/// A run of words that two texts have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) n_words: usize,
    /// Where it begins in the item's part.
    pub(super) in_part: usize,
    /// Where it begins in the document.
    pub(super) in_document: usize,
}

/// The longest run that `part` has in common with a region of `document`; of equally long ones the first in the
/// document, and there the first in the part. Runs are at least one word long; `None` where no word is common.
pub(super) fn longest_common(part: &[u32], document: &[u32], regions: &[Range<usize>]) -> Option<Common> {
    let hashed = Hashed::new(part);
    let regions: Vec<(usize, Hashed<'_>)> =
        regions.iter().map(|region| (region.start, Hashed::new(&document[region.clone()]))).collect();
    let longest_region = regions.iter().map(|(_, region)| region.words.len()).max().unwrap_or(0);
    let (mut least, mut most) = (1, part.len().min(longest_region));
    let mut found = None;
    while least <= most {
        let middle = least + (most - least) / 2;
        match common_of(middle, &hashed, &regions) {
            Some(common) => (found, least) = (Some(common), middle + 1),
            None => most = middle - 1,
        }
    }
    found
}

/// The first common run of `n` words.
fn common_of(n: usize, part: &Hashed<'_>, regions: &[(usize, Hashed<'_>)]) -> Option<Common> {
    let top = power(n);
    let mut places: FxHashMap<u64, usize> = FxHashMap::default();
    for at in 0..=part.words.len() - n {
        places.entry(part.window(at, n, top)).or_insert(at);
    }
    regions.iter().filter(|(_, region)| region.words.len() >= n).find_map(|(start, region)| {
        (0..=region.words.len() - n).find_map(|at| {
            let &in_part = places.get(&region.window(at, n, top))?;
            let is_equal = part.words[in_part..in_part + n] == region.words[at..at + n];
            is_equal.then_some(Common { n_words: n, in_part, in_document: start + at })
        })
    })
}

const PRIME: u64 = (1 << 61) - 1;
/// Any number far from both ends of the field.
const BASE: u64 = 0x0E37_79B9_7F4A_7C15;

/// Words with the hashes of all their prefixes.
struct Hashed<'a> {
    words: &'a [u32],
    prefixes: Vec<u64>,
}

impl<'a> Hashed<'a> {
    fn new(words: &'a [u32]) -> Self {
        let mut hash = 0;
        let mut prefixes = Vec::with_capacity(words.len() + 1);
        prefixes.push(0);
        prefixes.extend(words.iter().map(|&word| {
            hash = (multiply(hash, BASE) + u64::from(word) + 1) % PRIME;
            hash
        }));
        Hashed { words, prefixes }
    }

    /// The hash of the `n` words from `at`; `top` is BASE to the power n.
    fn window(&self, at: usize, n: usize, top: u64) -> u64 {
        (self.prefixes[at + n] + PRIME - multiply(self.prefixes[at], top)) % PRIME
    }
}

fn power(n: usize) -> u64 {
    (0..n).fold(1, |power, _| multiply(power, BASE))
}

fn multiply(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(part: &[u32], document: &[u32], regions: &[Range<usize>]) -> Option<Common> {
        let mut best: Option<Common> = None;
        for region in regions {
            for in_document in region.clone() {
                for in_part in 0..part.len() {
                    let n_words = part[in_part..]
                        .iter()
                        .zip(&document[in_document..region.end])
                        .take_while(|(a, b)| a == b)
                        .count();
                    if n_words > best.map_or(0, |best| best.n_words) {
                        best = Some(Common { n_words, in_part, in_document });
                    }
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_longest_run_is_that_of_brute_force(
            part in prop::collection::vec(0u32..3, 0..24),
            document in prop::collection::vec(0u32..3, 0..24),
            cut in 0usize..24,
        ) {
            let cut = cut.min(document.len());
            let regions = [0..cut, cut..document.len()];
            prop_assert_eq!(longest_common(&part, &document, &regions), naive(&part, &document, &regions));
        }
    }

    #[test]
    fn texts_that_repeat_one_word_take_no_quadratic_time() {
        let (part, document) = (vec![0; 200_000], vec![0; 300_000]);
        let whole = 0..document.len();
        let found = longest_common(&part, &document, std::slice::from_ref(&whole));
        assert_eq!(found, Some(Common { n_words: 200_000, in_part: 0, in_document: 0 }));
    }
}

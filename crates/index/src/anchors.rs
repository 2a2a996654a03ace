//! Anchors: a sample of the places of a text that any two equal runs of bytes share.
//!
//! Of every w = L − k + 1 consecutive k-grams the one of the smallest hash is taken, the first of several (minimizers:
//! Schleimer, Wilkerson, Aiken 2003; Roberts et al. 2004). A run of L symbols holds w k-grams and so an anchor, and which
//! one that is depends on its symbols alone: where the same L stand again, an anchor of the same hash stands at the same
//! place within them. About 2/(w + 1) of all places are anchors.

/// How texts are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// L: symbols in the runs that must share an anchor.
    pub(crate) min_len: usize,
    /// k: symbols that are hashed for an anchor.
    pub(crate) gram: usize,
}

impl Sampling {
    /// Half the length for k: longer grams repeat less often by chance, shorter ones make anchors fewer.
    pub(crate) fn new(min_len: usize) -> Self {
        Sampling { min_len, gram: min_len / 2 }
    }

    /// Symbols before an anchor that runs which hold it may have.
    pub(crate) fn before(self) -> usize {
        self.min_len - self.gram
    }

    /// Calls `take` with the place and the hash of each anchor, ascending.
    pub(crate) fn for_each_anchor<const N: usize>(self, text: &[[u8; N]], mut take: impl FnMut(usize, u64)) {
        if text.len() < self.min_len {
            return;
        }
        let n_grams = self.before() + 1;
        let mut window = Window { hashes: vec![0; n_grams], smallest: 0, hash: u64::MAX };
        let mut rolling = Rolling::new(self.gram);
        text[..self.gram - 1].iter().for_each(|&symbol| rolling.push(number(symbol)));
        for (place, &symbol) in text[self.gram - 1..].iter().enumerate() {
            rolling.push(number(symbol));
            let is_new = window.push(place, rolling.hash());
            if place + 1 == n_grams || is_new && place + 1 > n_grams {
                take(window.smallest, window.hash);
            }
            rolling.pop(number(text[place]));
        }
    }
}

/// A symbol of at most four bytes as a number above zero.
fn number<const N: usize>(symbol: [u8; N]) -> u64 {
    1 + symbol.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The hash of the symbols pushed and not yet popped: a polynomial modulo 2^64, mixed, since its low bits alone are poor.
struct Rolling {
    sum: u64,
    /// The factor of the oldest symbol.
    oldest: u64,
}

const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rolling {
    fn new(gram: usize) -> Self {
        let oldest = (1..gram).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        Rolling { sum: 0, oldest }
    }

    fn push(&mut self, number: u64) {
        self.sum = self.sum.wrapping_mul(BASE).wrapping_add(number);
    }

    fn pop(&mut self, number: u64) {
        self.sum = self.sum.wrapping_sub(number.wrapping_mul(self.oldest));
    }

    fn hash(&self) -> u64 {
        let mixed = (self.sum ^ self.sum >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ mixed >> 29
    }
}

/// The last few hashes, each at its place modulo their number, and the first of the smallest.
struct Window {
    hashes: Vec<u64>,
    smallest: usize,
    hash: u64,
}

impl Window {
    /// Takes the next hash; true if another place has the smallest now.
    fn push(&mut self, place: usize, hash: u64) -> bool {
        let n = self.hashes.len();
        self.hashes[place % n] = hash;
        if hash < self.hash {
            (self.smallest, self.hash) = (place, hash);
            return true;
        }
        if place - self.smallest < n {
            return false;
        }
        // The smallest has left, and nothing that is left is smaller than it was.
        let oldest = place + 1 - n;
        if self.hashes[oldest % n] == self.hash {
            self.smallest = oldest;
            return true;
        }
        self.hash = self.hashes.iter().copied().min().unwrap_or(u64::MAX);
        let (newer, older) = self.hashes.split_at(oldest % n);
        let mut in_order = older.iter().chain(newer);
        self.smallest = oldest + in_order.position(|&hash| hash == self.hash).unwrap_or(0);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn anchors(sampling: Sampling, text: &[u8]) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        sampling.for_each_anchor::<1>(text.as_chunks().0, |place, hash| found.push((place, hash)));
        found
    }

    /// The first of the smallest hashes in each window, each hash from scratch.
    fn naive(sampling: Sampling, text: &[u8]) -> Vec<(usize, u64)> {
        let hash = |gram: &[u8]| {
            let mut rolling = Rolling::new(gram.len());
            gram.iter().for_each(|&byte| rolling.push(number([byte])));
            rolling.hash()
        };
        let hashes: Vec<u64> = text.windows(sampling.gram).map(hash).collect();
        let n_grams = sampling.before() + 1;
        let windows = hashes.windows(n_grams).enumerate();
        let smallest = windows.map(|(start, window)| {
            let place = (0..n_grams).min_by_key(|&i| (window[i], i)).unwrap();
            (start + place, window[place])
        });
        smallest.collect::<BTreeSet<_>>().into_iter().collect()
    }

    proptest! {
        #[test]
        fn anchors_are_the_smallest_of_every_window(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(0_u8..2, 0..300),
                (prop::collection::vec(0_u8..3, 1..20), 1_usize..30).prop_map(|(part, n)| part.repeat(n)),
            ],
            min_len in 2_usize..60,
        ) {
            let sampling = Sampling::new(min_len);
            prop_assert_eq!(anchors(sampling, &text), naive(sampling, &text));
        }
    }
}

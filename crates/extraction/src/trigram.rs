//! Drops samples that are much like a better one: half of their trigrams are in it (Carlini et al. 2021, section 5.2).

use rustc_hash::FxHashMap;

type Trigram = [u32; 3];

/// The multiset of a sample's token trigrams: each trigram with how often it occurs, sorted.
fn trigrams(tokens: &[u32]) -> Vec<(Trigram, u32)> {
    let mut all: Vec<Trigram> = tokens.windows(3).map(|window| [window[0], window[1], window[2]]).collect();
    all.sort_unstable();
    all.chunk_by(PartialEq::eq).map(|equal| (equal[0], equal.len() as u32)).collect()
}

/// Samples kept so far, and the question whether another one is much like one of them.
///
/// A sample is a duplicate of a kept one when the intersection of their trigram multisets has at least half as many
/// members as its own. One of fewer than three tokens has no trigrams; it is a duplicate of equal tokens only.
#[derive(Default)]
pub(crate) struct Kept {
    samples: Vec<Vec<u32>>,
    /// Which kept samples hold a trigram, and how often.
    holders: FxHashMap<Trigram, Vec<(usize, u32)>>,
}

impl Kept {
    /// Keeps a sample unless it is a duplicate; tells whether it was kept.
    pub(crate) fn insert(&mut self, tokens: &[u32]) -> bool {
        let own = trigrams(tokens);
        if self.holds_like(tokens, &own) {
            return false;
        }
        for (trigram, count) in own {
            self.holders.entry(trigram).or_default().push((self.samples.len(), count));
        }
        self.samples.push(tokens.to_vec());
        true
    }

    fn holds_like(&self, tokens: &[u32], own: &[(Trigram, u32)]) -> bool {
        if own.is_empty() {
            return self.samples.iter().any(|kept| kept == tokens);
        }
        let mut common = vec![0; self.samples.len()];
        for (trigram, count) in own {
            for (holder, held) in self.holders.get(trigram).into_iter().flatten() {
                common[*holder] += count.min(held);
            }
        }
        let n_own: u32 = own.iter().map(|(_, count)| count).sum();
        common.iter().any(|common| 2 * common >= n_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's sentence, word by word: remove each shared trigram once, count.
    fn naive_is_duplicate(sample: &[u32], better: &[u32]) -> bool {
        if sample.len() < 3 {
            return sample == better;
        }
        let own: Vec<&[u32]> = sample.windows(3).collect();
        let mut left: Vec<&[u32]> = better.windows(3).collect();
        let mut common = 0;
        for trigram in &own {
            if let Some(at) = left.iter().position(|other| other == trigram) {
                left.swap_remove(at);
                common += 1;
            }
        }
        common as f64 >= own.len() as f64 / 2.0
    }

    #[test]
    fn keeps_what_comparing_all_pairs_keeps() {
        let mut state = 1u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut n_dropped = 0;
        for _ in 0..200 {
            let samples: Vec<Vec<u32>> =
                (0..12).map(|_| (0..next(16)).map(|_| next(2) as u32).collect()).collect();
            let mut kept = Kept::default();
            let mut naive: Vec<&[u32]> = Vec::new();
            for sample in &samples {
                let is_new = !naive.iter().any(|better| naive_is_duplicate(sample, better));
                assert_eq!(kept.insert(sample), is_new, "{sample:?} after {naive:?}");
                if is_new {
                    naive.push(sample);
                } else {
                    n_dropped += 1;
                }
            }
        }
        assert!(n_dropped > 200, "the samples must be alike often enough to test anything: {n_dropped}");
    }

    #[test]
    fn repeats_of_a_trigram_count_as_often_as_both_have_it() {
        let mut kept = Kept::default();
        assert!(kept.insert(&[1, 1, 1, 2, 3, 4]), "1-1-1 once, and three others");
        assert!(kept.insert(&[1; 8]), "six times 1-1-1, one of them common: not half");
        assert!(!kept.insert(&[1, 1, 1, 1]), "two times 1-1-1, both common with the second");
    }
}

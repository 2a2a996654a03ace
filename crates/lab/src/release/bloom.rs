//! A Bloom filter (Bloom 1970): a set that never forgets what it has seen, and rarely recalls what it has not.

use super::between;
use crate::error::{Error, Result};

/// A set of 128-bit hashes in a few bits each, without false negatives.
///
/// For n distinct hashes and a false positive rate p it has m = -n ln p / (ln 2)^2 bits and sets k = m / n ln 2 of them for
/// each, rounded (Broder and Mitzenmacher 2004, section 2.1). The k places come from the two halves of the hash
/// (Kirsch and Mitzenmacher 2008), which leaves the rate as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bloom {
    words: Vec<u64>,
    n_bits: u64,
    n_places: u64,
    n_items: u64,
}

impl Bloom {
    /// The set of some hashes, repeats counting once.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate that is not between 0 and 1, or a set that does not fit the memory.
    pub fn new(mut hashes: Vec<u128>, false_positive_rate: f64) -> Result<Bloom> {
        let rate = between("the false positive rate", false_positive_rate, (0.0, 1.0))?;
        hashes.sort_unstable();
        hashes.dedup();
        let n_items = hashes.len() as u64;
        let ln_2 = std::f64::consts::LN_2;
        let n_bits = ((-(n_items as f64) * rate.ln() / (ln_2 * ln_2)).ceil() as u64).max(1);
        let per_item = n_bits as f64 / n_items.max(1) as f64;
        let n_places = ((per_item * ln_2).round() as u64).max(1);
        let too_large = || Error::Config(format!("{n_bits} bits of a filter do not fit the memory"));
        let n_words = usize::try_from(n_bits.div_ceil(64)).map_err(|_| too_large())?;
        let mut words = Vec::new();
        words.try_reserve_exact(n_words).map_err(|_| too_large())?;
        words.resize(n_words, 0);
        let mut filter = Bloom { words, n_bits, n_places, n_items };
        for hash in hashes {
            for place in filter.places(hash) {
                filter.words[(place / 64) as usize] |= 1 << (place % 64);
            }
        }
        Ok(filter)
    }

    /// Whether a hash may be one of the set; always where it is.
    pub fn contains(&self, hash: u128) -> bool {
        self.places(hash).all(|place| self.words[(place / 64) as usize] >> (place % 64) & 1 == 1)
    }

    /// m, the bits of the filter.
    pub fn n_bits(&self) -> u64 {
        self.n_bits
    }

    /// k, the bits that are set for a hash.
    pub fn n_places(&self) -> u64 {
        self.n_places
    }

    /// n, the distinct hashes in it.
    pub fn n_items(&self) -> u64 {
        self.n_items
    }

    fn places(&self, hash: u128) -> impl Iterator<Item = u64> + use<> {
        let (first, step) = (hash as u64, (hash >> 64) as u64 | 1);
        let n_bits = u128::from(self.n_bits);
        // The high half of the product is below n_bits.
        (0..self.n_places)
            .map(move |i| ((u128::from(first.wrapping_add(i.wrapping_mul(step))) * n_bits) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use verbatim_membership::clopper_pearson;
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn hash(item: u64) -> u128 {
        xxh3_128(&item.to_le_bytes())
    }

    /// By hand: 1000 ln 100 / (ln 2)^2 = 9585.06, 9586 / 1000 ln 2 = 6.64; ln 2 / (ln 2)^2 = 1.44, 2 ln 2 = 1.39.
    #[test]
    fn it_is_as_large_as_its_distinct_items_need() {
        let of = |n: u64, rate| {
            let twice = (0..n).chain(0..n).map(hash).collect();
            let filter = Bloom::new(twice, rate).unwrap();
            (filter.n_items(), filter.n_bits(), filter.n_places())
        };
        assert_eq!(of(1000, 0.01), (1000, 9586, 7));
        assert_eq!(of(1, 0.5), (1, 2, 1));
        assert_eq!(of(0, 0.01), (0, 1, 1));
        assert!(!Bloom::new(Vec::new(), 0.01).unwrap().contains(hash(3)));
    }

    /// The rate is a mean over sets, about which that of one small set spreads by a few hundredths: so over some of them.
    #[test]
    fn what_is_in_it_is_found_and_little_else() {
        for (n, rate, n_sets) in [(500, 0.1, 40), (3000, 0.01, 10), (3000, 0.001, 10), (20_000, 0.02, 4)] {
            let n_asked = 40_000 / n_sets;
            let (mut n_found, mut expected) = (0, 0.0);
            for set in 0..n_sets {
                let first = set * 1_000_000;
                let filter = Bloom::new((first..first + n).map(hash).collect(), rate).unwrap();
                assert!((first..first + n).all(|item| filter.contains(hash(item))), "no false negatives");
                let others = first + n..first + n + n_asked;
                n_found += others.filter(|item| filter.contains(hash(*item))).count() as u64;
                // (1 - e^(-k n / m))^k, for a k that is rounded.
                let (k, m) = (filter.n_places() as f64, filter.n_bits() as f64);
                expected = (1.0 - (-k * n as f64 / m).exp()).powf(k);
            }
            let interval = clopper_pearson(n_found, n_asked * n_sets, 0.999);
            assert!(interval.low < expected && expected < interval.high, "{n} {rate}: {interval:?}");
            assert!((expected / rate - 1.0).abs() < 0.05, "{n} {rate}: {expected}");
        }
    }
}

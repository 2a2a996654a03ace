//! Seeded draws: each item of a corpus or a training run has a generator of its own, keyed by the run's seed,
//! a domain and the item's index, so that no item depends on how many were drawn before it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

/// A stream of draws for one item.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of item `index` in `domain`, such as "document" or "epoch".
    pub(crate) fn new(seed: u64, domain: &str, index: u64) -> Draw {
        let mut key = Vec::with_capacity(16 + domain.len());
        key.extend_from_slice(&seed.to_le_bytes());
        key.extend_from_slice(&index.to_le_bytes());
        key.extend_from_slice(domain.as_bytes());
        Draw(ChaCha8Rng::seed_from_u64(xxh3_64(&key)))
    }

    /// A number below `n`, which must be positive. The bias is below n / 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a draw from nothing");
        u64::try_from((u128::from(self.0.next_u64()) * u128::from(n)) >> 64)
            .expect("the high half of a 128-bit product fits 64 bits")
    }

    /// An index below `n`, which must be positive.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("a length fits 64 bits");
        usize::try_from(self.below(n)).expect("smaller than a usize")
    }

    /// A number between `low` and `high`, both possible.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.index(items.len())]
    }

    /// Whether something of this probability happens, which may be 0 or 1, to one part in 2^53.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        // 2^53 steps are what an f64 can tell apart below one.
        (self.below(1 << 53) as f64 / (1u64 << 53) as f64) < probability
    }

    /// Two normal numbers with mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal_pair(&mut self) -> [f64; 2] {
        // 53 random bits, shifted by half a step so that the logarithm never sees zero.
        let mut uniform = || ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let radius = (-2.0 * uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * uniform()).sin_cos();
        [radius * cosine, radius * sine]
    }

    /// A fresh seed for a generator that keys its own draws.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A fair shuffle (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_domain_and_index_only() {
        let first = |seed, domain, index| Draw::new(seed, domain, index).seed();
        assert_eq!(first(1, "a", 0), first(1, "a", 0));
        assert_ne!(first(1, "a", 0), first(2, "a", 0));
        assert_ne!(first(1, "a", 0), first(1, "b", 0));
        assert_ne!(first(1, "a", 0), first(1, "a", 1));
    }

    #[test]
    fn below_reaches_every_value_about_equally_often() {
        let mut draw = Draw::new(7, "test", 0);
        let mut counts = [0u32; 6];
        for _ in 0..6000 {
            counts[draw.index(6)] += 1;
        }
        // Six standard deviations of a binomial with n = 6000 and p = 1/6.
        assert!(counts.iter().all(|&count| count.abs_diff(1000) < 174), "{counts:?}");
    }

    #[test]
    fn what_is_never_or_always_to_happen_does_so_and_a_quarter_happens_a_quarter_of_the_time() {
        let mut draw = Draw::new(7, "test", 1);
        assert!((0..1000).all(|_| !draw.happens(0.0) && draw.happens(1.0)));
        let count = (0..8000).filter(|_| draw.happens(0.25)).count();
        // Five standard deviations of a binomial with n = 8000 and p = 1/4.
        assert!(count.abs_diff(2000) < 194, "{count}");
    }

    #[test]
    fn normal_numbers_have_the_moments_and_tails_of_the_normal_distribution() {
        const N: usize = 20_000;
        let mut draw = Draw::new(7, "test", 2);
        let pairs: Vec<[f64; 2]> = (0..N).map(|_| draw.normal_pair()).collect();
        let mean = |of: &dyn Fn(&[f64; 2]) -> f64| pairs.iter().map(of).sum::<f64>() / N as f64;
        // Five standard deviations of each mean, whose variances are 1, 2, 96 and 1 over N; the last is a count.
        let five = |variance: f64| 5.0 * (variance / N as f64).sqrt();
        for side in [0, 1] {
            assert!(mean(&|pair| pair[side]).abs() < five(1.0));
            assert!((mean(&|pair| pair[side].powi(2)) - 1.0).abs() < five(2.0));
            assert!((mean(&|pair| pair[side].powi(4)) - 3.0).abs() < five(96.0));
            let beyond = mean(&|pair| f64::from(u8::from(pair[side] > 2.0)));
            assert!((beyond - 0.022_750_13).abs() < five(0.022_750_13), "{beyond}");
        }
        assert!(mean(&|pair| pair[0] * pair[1]).abs() < five(1.0));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Draw::new(7, "test", 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<u32>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<u32>>());
    }
}

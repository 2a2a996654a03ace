//! Numbers that choose, the same for the same seed in any order of asking.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The numbers of one draw.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// Those of draw `index` under a seed: a stream of its own.
    pub(crate) fn new(seed: u64, index: u64) -> Draw {
        let mut numbers = ChaCha8Rng::seed_from_u64(seed);
        numbers.set_stream(index);
        Draw(numbers)
    }

    /// An index below `n`, which is positive; the bias is below n / 2^64.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}

/// The numbers below `n` in an order by chance (Fisher and Yates).
pub(crate) fn order(n: usize, seed: u64) -> Vec<usize> {
    let mut draw = Draw::new(seed, u64::MAX);
    let mut numbers: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        numbers.swap(last, draw.index(last + 1));
    }
    numbers
}

#[cfg(test)]
impl Draw {
    /// A number between 0 and 1, neither of them.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A standard normal number (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_each_number_once_and_any_of_them_first() {
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut numbers = order(7, seed);
            firsts.insert(numbers[0]);
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..7));
        }
        assert_eq!((firsts.len(), order(0, 1)), (7, Vec::new()));
    }

    #[test]
    fn each_index_has_a_stream_of_its_own() {
        let first = |seed, index| Draw::new(seed, index).index(usize::MAX);
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1, 0), first(1, 1));
    }
}

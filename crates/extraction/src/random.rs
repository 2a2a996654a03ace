//! Numbers that choose, the same for the same seed in any order of asking.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The numbers that make one choice.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// Those of choice `index` of a kind.
    pub(crate) fn new(kind: &str, (seed, index): (u64, u64)) -> Draw {
        let mut key = kind.as_bytes().to_vec();
        key.extend(index.to_le_bytes());
        Draw(ChaCha8Rng::seed_from_u64(xxh3_64_with_seed(&key, seed)))
    }

    /// A number below `n`, which is positive; the bias is below n / 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }
}

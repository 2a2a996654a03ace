//! MinHash signatures (Broder 1997) and the keys of their bands.
//!
//! Each permutation is x -> a x + b modulo 2^32 with odd a (multiply-shift, Dietzfelbinger et al. 1997), applied to
//! 32 bits of a shingle's hash. A signature only says which documents to compare: it never decides.

use pulp::{Arch, Simd, WithSimd};
use verbatim_index::Shingler;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::lsh::BandChoice;
use crate::signs::{Posting, Sign};

/// Vectors of permutations that are worked on together: their minima stay in registers.
const TILE: usize = 3;

/// Permutations are filled up to this number, which is a multiple of a tile for vectors of up to 16 numbers.
const LANES: usize = 16 * TILE;

/// Shingles that are hashed before the permutations run over them.
const BUFFER: usize = 512;

/// A fixed set of permutations, drawn from a seed.
pub(crate) struct Permutations {
    multipliers: Vec<u32>,
    offsets: Vec<u32>,
    choice: BandChoice,
    seed: u64,
    arch: Arch,
}

impl Permutations {
    pub(crate) fn new(choice: BandChoice, seed: u64) -> Self {
        // What those that fill up the last tile compute is not used.
        let n = (choice.bands * choice.rows).next_multiple_of(LANES) as u64;
        let draws = (0..n).map(|index| xxh3_64_with_seed(&index.to_le_bytes(), seed));
        let (multipliers, offsets) = draws.map(|draw| ((draw >> 32) as u32 | 1, draw as u32)).unzip();
        Permutations { multipliers, offsets, choice, seed, arch: Arch::new() }
    }

    /// Lets every permutation run over some hashes, with the widest vectors that the processor has.
    fn update(&self, minima: &mut [u32], hashes: &[u32]) {
        let Permutations { multipliers, offsets, .. } = self;
        self.arch.dispatch(Update { multipliers, offsets, minima, hashes });
    }
}

impl Sign for Permutations {
    /// The key of each band.
    fn sign(
        &self,
        shingler: &Shingler,
        (rank, normalized): (u64, &str),
        sketch: &mut Sketch,
        postings: &mut Vec<Posting>,
    ) {
        let Sketch { minima, hashes, bytes, .. } = sketch;
        minima.clear();
        minima.resize(self.multipliers.len(), u32::MAX);
        let mut n_hashes = 0;
        shingler.for_each_hash_of_normalized(normalized, |hash| {
            // The top bit marks whole texts and is left out.
            hashes[n_hashes % BUFFER] = (hash >> 31) as u32;
            n_hashes += 1;
            if n_hashes % BUFFER == 0 {
                self.update(minima, &hashes[..]);
            }
        });
        self.update(minima, &hashes[..n_hashes % BUFFER]);
        if n_hashes > 0 {
            for (rows, band) in minima.chunks_exact(self.choice.rows).take(self.choice.bands).zip(0..) {
                bytes.clear();
                rows.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                postings.push([xxh3_64_with_seed(bytes, self.seed.wrapping_add(band)), rank]);
            }
        }
    }

    fn keys_per_document(&self) -> usize {
        self.choice.bands
    }
}

/// Memory that a signature is made in, used again for the next text.
pub(crate) struct Sketch {
    /// For signs that are no signature.
    pub(crate) shingles: Vec<u64>,
    minima: Vec<u32>,
    hashes: Box<[u32; BUFFER]>,
    bytes: Vec<u8>,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { shingles: Vec::new(), minima: Vec::new(), hashes: Box::new([0; BUFFER]), bytes: Vec::new() }
    }
}

/// The innermost loop, compiled once for each width of vectors.
struct Update<'a> {
    multipliers: &'a [u32],
    offsets: &'a [u32],
    minima: &'a mut [u32],
    hashes: &'a [u32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    // Only what is inlined into the dispatched function is compiled for its vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (multipliers, _) = S::as_simd_u32s(self.multipliers).0.as_chunks::<TILE>();
        let (offsets, _) = S::as_simd_u32s(self.offsets).0.as_chunks::<TILE>();
        let (minima, _) = S::as_mut_simd_u32s(self.minima).0.as_chunks_mut::<TILE>();
        for ((minima, multipliers), offsets) in minima.iter_mut().zip(multipliers).zip(offsets) {
            let mut least = *minima;
            for &x in self.hashes {
                let x = simd.splat_u32s(x);
                for i in 0..TILE {
                    let image = simd.add_u32s(simd.mul_u32s(multipliers[i], x), offsets[i]);
                    least[i] = simd.min_u32s(least[i], image);
                }
            }
            *minima = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::Scalar;

    /// The least image of the hashes under each permutation, by the definition.
    fn naive(permutations: &Permutations, hashes: &[u32]) -> Vec<u32> {
        let permutations = permutations.multipliers.iter().zip(&permutations.offsets);
        let image = |(a, b): (&u32, &u32), x: u32| {
            ((u64::from(*a) * u64::from(x) + u64::from(*b)) % (1 << 32)) as u32
        };
        permutations.map(|of| hashes.iter().map(|&x| image(of, x)).min().unwrap_or(u32::MAX)).collect()
    }

    #[test]
    fn minima_equal_the_definition_for_every_width_of_vectors() {
        for (bands, rows) in [(1, 1), (18, 8), (16, 8), (7, 7), (42, 3)] {
            let permutations =
                Permutations::new(BandChoice { bands, rows, predicted_recall: 0.0, cost: 0.0 }, 7);
            let Permutations { multipliers, offsets, .. } = &permutations;
            assert!(multipliers.len() >= bands * rows && multipliers.iter().all(|a| a % 2 == 1));
            for n in [0, 1, 2, 511, 512] {
                let hashes: Vec<u32> =
                    (0..n).map(|i: u32| i.wrapping_mul(0x9E37_79B9).rotate_left(i)).collect();
                let expected = naive(&permutations, &hashes);
                let mut minima = vec![u32::MAX; multipliers.len()];
                permutations.update(&mut minima, &hashes);
                assert_eq!(minima, expected, "{bands} {rows} {n}");
                minima.fill(u32::MAX);
                Update { multipliers, offsets, minima: &mut minima, hashes: &hashes }
                    .with_simd(Scalar::new());
                assert_eq!(minima, expected, "{bands} {rows} {n}");
            }
        }
    }
}

//! MinHash signatures (Broder 1997) and the keys of their bands.
//!
//! Each permutation is x -> a x + b modulo 2^32 with odd a (multiply-shift, Dietzfelbinger et al. 1997), applied to
//! 32 bits of a shingle's hash. A signature only says which documents to compare: it never decides.

use pulp::{Arch, Simd, WithSimd};
use verbatim_index::Shingler;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::lsh::BandChoice;
use crate::signs::{Posting, Sign};

/// Permutations that are worked on together, so that the compiler can keep them in vector registers.
const LANES: usize = 16;

/// Shingles that are hashed before the permutations run over them.
const BUFFER: usize = 512;

type Lanes = [u32; LANES];

/// A fixed set of permutations, drawn from a seed.
pub(crate) struct Permutations {
    /// (multipliers, offsets), a block of permutations each.
    blocks: Vec<(Lanes, Lanes)>,
    choice: BandChoice,
    seed: u64,
    arch: Arch,
}

impl Permutations {
    pub(crate) fn new(choice: BandChoice, seed: u64) -> Self {
        // The last block is filled up; what it computes too much is not used.
        let n_blocks = (choice.bands * choice.rows).div_ceil(LANES);
        let draw = |index: usize| xxh3_64_with_seed(&(index as u64).to_le_bytes(), seed);
        let block = |first: usize| {
            let draws: [u64; LANES] = std::array::from_fn(|lane| draw(first + lane));
            (draws.map(|draw| (draw >> 32) as u32 | 1), draws.map(|draw| draw as u32))
        };
        let blocks = (0..n_blocks).map(|i| block(i * LANES)).collect();
        Permutations { blocks, choice, seed, arch: Arch::new() }
    }

    /// Lets every permutation run over some hashes, with the widest vectors that the processor has.
    fn update(&self, minima: &mut [Lanes], hashes: &[u32]) {
        self.arch.dispatch(Update { blocks: &self.blocks, minima, hashes });
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
        minima.resize(self.blocks.len(), [u32::MAX; LANES]);
        hashes.clear();
        let mut any = false;
        shingler.for_each_hash_of_normalized(normalized, |hash| {
            any = true;
            // The top bit marks whole texts and is left out.
            hashes.push((hash >> 31) as u32);
            if hashes.len() == BUFFER {
                self.update(minima, hashes);
                hashes.clear();
            }
        });
        self.update(minima, hashes);
        if any {
            let signature = minima.as_flattened();
            for (rows, band) in signature.chunks_exact(self.choice.rows).take(self.choice.bands).zip(0..) {
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
#[derive(Default)]
pub(crate) struct Sketch {
    /// For signs that are no signature.
    pub(crate) shingles: Vec<u64>,
    minima: Vec<Lanes>,
    hashes: Vec<u32>,
    bytes: Vec<u8>,
}

/// The innermost loop, compiled once for each width of vectors.
struct Update<'a> {
    blocks: &'a [(Lanes, Lanes)],
    minima: &'a mut [Lanes],
    hashes: &'a [u32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    // Only what is inlined into the dispatched function is compiled for its vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (minima, (multipliers, offsets)) in self.minima.iter_mut().zip(self.blocks) {
            let mut least = *minima;
            for &x in self.hashes {
                for lane in 0..LANES {
                    let image = multipliers[lane].wrapping_mul(x).wrapping_add(offsets[lane]);
                    least[lane] = least[lane].min(image);
                }
            }
            *minima = least;
        }
    }
}

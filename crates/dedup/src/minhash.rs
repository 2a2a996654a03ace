//! MinHash signatures (Broder 1997) and the keys of their bands.
//!
//! Each permutation is x -> a x + b modulo 2^32 with odd a (multiply-shift, Dietzfelbinger et al. 1997), applied to
//! 32 bits of a shingle's hash. A signature only says which documents to compare: it never decides.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Shingler;
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::lsh::BandChoice;

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
        Permutations { blocks, choice, seed }
    }

    /// Writes the key of each band of a text; false, and nothing written, if the text has no shingle.
    pub(crate) fn band_keys(&self, text: &str, shingler: &Shingler, keys: &mut [u64]) -> bool {
        let mut minima = vec![[u32::MAX; LANES]; self.blocks.len()];
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut any = false;
        shingler.for_each_hash(text, |hash| {
            any = true;
            // The top bit marks whole texts and is left out.
            buffer.push((hash >> 31) as u32);
            if buffer.len() == BUFFER {
                self.update(&mut minima, &buffer);
                buffer.clear();
            }
        });
        self.update(&mut minima, &buffer);
        if any {
            let signature = minima.as_flattened();
            let mut bytes = Vec::with_capacity(4 * self.choice.rows);
            for (key, (band, rows)) in keys.iter_mut().zip(signature.chunks(self.choice.rows).enumerate()) {
                bytes.clear();
                rows.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                *key = xxh3_64_with_seed(&bytes, self.seed.wrapping_add(band as u64));
            }
        }
        any
    }

    fn update(&self, minima: &mut [Lanes], hashes: &[u32]) {
        for (minima, (multipliers, offsets)) in minima.iter_mut().zip(&self.blocks) {
            let mut least = *minima;
            for &x in hashes {
                for lane in 0..LANES {
                    let image = multipliers[lane].wrapping_mul(x).wrapping_add(offsets[lane]);
                    least[lane] = least[lane].min(image);
                }
            }
            *minima = least;
        }
    }
}

/// The keys of the bands of documents; documents without a shingle are left out.
pub(crate) struct BandKeys {
    /// The ranks of the documents that have keys, in the order in which they were sketched.
    pub(crate) docs: Vec<u32>,
    /// `bands` keys for each of `docs`.
    pub(crate) keys: Vec<u64>,
}

/// Documents that are sketched between two looks at `interrupted`.
const WAVE: usize = if cfg!(test) { 16 } else { 1 << 14 };

/// Sketches documents, given as rank and id, in parallel; 8 bytes for each band of each document.
pub(crate) fn sketch(
    corpus: &Corpus,
    docs: &[(u32, DocId)],
    shingler: &Shingler,
    permutations: &Permutations,
    progress: &dyn Progress,
) -> Result<BandKeys> {
    progress.stage("sketching", Some(docs.len() as u64), "documents");
    let bands = permutations.choice.bands;
    let mut sketched = BandKeys { docs: Vec::new(), keys: Vec::with_capacity(docs.len() * bands) };
    let mut keys = vec![0; WAVE.min(docs.len()) * bands];
    for wave in docs.chunks(WAVE) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let has_keys: Vec<bool> = wave
            .par_iter()
            .zip(keys.par_chunks_mut(bands))
            .map(|(&(_, doc), keys)| {
                progress.advance(1);
                permutations.band_keys(&corpus.text_str(doc), shingler, keys)
            })
            .collect();
        for ((&(rank, _), keys), has_keys) in wave.iter().zip(keys.chunks(bands)).zip(has_keys) {
            if has_keys {
                sketched.docs.push(rank);
                sketched.keys.extend_from_slice(keys);
            }
        }
    }
    Ok(sketched)
}

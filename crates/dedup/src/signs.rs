//! One pass over the texts gives both stages what they look for: the hash of each text and the keys of its bands.
//!
//! A text is decoded and normalised once, in memory that is used again for the next one. What the pass notes only
//! proposes copies; the texts themselves decide.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::{Buffers, Normalizer, Shingler};
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::exact::TextHash;
use crate::minhash::{Permutations, Sketch};

/// Documents between two looks at `interrupted`.
const WAVE: usize = if cfg!(test) { 16 } else { 1 << 14 };

/// Documents that a thread takes at once, for which it needs its memory only once.
const MIN_TAKEN: usize = 64;

/// What to note of each text.
pub(crate) struct Signing<'a> {
    /// The hash of the text after these steps.
    pub(crate) exact: Option<(&'a Normalizer, TextHash)>,
    /// The keys of the bands of its shingles.
    pub(crate) near: Option<(&'a Shingler, Permutations)>,
}

/// What was noted. Documents are numbers: ranks.
#[derive(Default)]
pub(crate) struct Signs {
    /// Hash and document; texts that are empty after normalisation are left out.
    pub(crate) hashes: Vec<(u128, u32)>,
    /// The documents that have bands, ascending; those without a shingle are left out.
    pub(crate) docs: Vec<u32>,
    /// The keys of the bands for each of `docs`.
    pub(crate) keys: Vec<u64>,
}

impl Signing<'_> {
    /// Notes the signs of the documents of a ranking in parallel; 8 bytes for each band and 32 for a text hash.
    pub(crate) fn of(&self, corpus: &Corpus, ranking: &[DocId], progress: &dyn Progress) -> Result<Signs> {
        progress.stage("signing", Some(ranking.len() as u64), "documents");
        let bands = self.near.as_ref().map_or(0, |(_, permutations)| permutations.bands());
        let mut signs = Signs { keys: Vec::with_capacity(ranking.len() * bands), ..Signs::default() };
        // Without bands each document has room for one key all the same, which nobody looks at.
        let room = bands.max(1);
        let mut keys = Vec::new();
        for (first, wave) in (0..).step_by(WAVE).zip(ranking.chunks(WAVE)) {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            keys.resize(wave.len() * room, 0);
            let noted: Vec<(Option<u128>, bool)> = wave
                .par_iter()
                .zip(keys.par_chunks_mut(room))
                .with_min_len(MIN_TAKEN)
                .map_init(Memory::default, |memory, (&doc, keys)| {
                    progress.advance(1);
                    self.note(corpus, doc, memory, keys)
                })
                .collect();
            for ((rank, keys), (hash, has_keys)) in (first..).zip(keys.chunks(room)).zip(noted) {
                signs.hashes.extend(hash.map(|hash| (hash, rank)));
                if has_keys {
                    signs.docs.push(rank);
                    signs.keys.extend_from_slice(keys);
                }
            }
        }
        Ok(signs)
    }

    /// True where both stages look at a text after the same steps.
    fn stages_share_a_text(&self) -> bool {
        matches!((&self.exact, &self.near), (Some((normalizer, _)), Some((shingler, _))) if *normalizer == shingler.normalizer())
    }

    /// The hash of a text, if it is asked for and the text is not empty, and whether it has band keys.
    fn note(
        &self,
        corpus: &Corpus,
        doc: DocId,
        memory: &mut Memory,
        keys: &mut [u64],
    ) -> (Option<u128>, bool) {
        let text = corpus.text_str_in(doc, &mut memory.text);
        let hash_of = |hash: TextHash, text: &str| (!text.is_empty()).then(|| hash(text.as_bytes()));
        let mut noted = None;
        let one_text = self.stages_share_a_text();
        if let Some((normalizer, hash)) = self.exact.filter(|_| !one_text) {
            noted = hash_of(hash, normalizer.apply_in(text, &mut memory.buffers));
        }
        let Some((shingler, permutations)) = &self.near else { return (noted, false) };
        let normalized = shingler.normalize(text, &mut memory.buffers);
        if let Some((_, hash)) = self.exact.filter(|_| one_text) {
            noted = hash_of(hash, normalized);
        }
        (noted, permutations.band_keys(normalized, shingler, &mut memory.sketch, keys))
    }
}

/// What a thread works in.
#[derive(Default)]
struct Memory {
    text: String,
    buffers: Buffers,
    sketch: Sketch,
}

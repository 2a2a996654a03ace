//! One pass over the texts notes what each stage looks for: the hash of a text, the keys of its shingles.
//!
//! A text is decoded and normalised once, in memory that is used again for the next one. What the pass notes only
//! proposes copies; the texts themselves decide.

use std::ops::Range;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, FieldPath, TextBuffer};
use verbatim_index::{Buffers, Shingler};
use verbatim_store::{Note, Progress, Room, Sorted, Sorter};

use crate::config::ExactConfig;
use crate::error::{Error, Result};
use crate::exact::{TextHash, key_of};
use crate::minhash::Sketch;
use crate::room::wave;
use crate::signatures::Signatures;

/// Documents that a thread takes at once, for which it needs its memory only once.
const TAKEN: usize = 64;

/// Bytes of records after which a run that can be taken up again notes how far it is.
const PART_BYTES: usize = 1 << 30;

/// A key that two copies share, and the rank of a document that has it.
pub(crate) type Posting = [u64; 2];

/// Notes something of the shingles of a text.
pub(crate) trait Sign: Sync {
    /// Adds the keys of a normalised text and its rank, if it has some.
    fn sign(&self, shingler: &Shingler, text: (u64, &str), sketch: &mut Sketch, postings: &mut Vec<Posting>);

    /// How many keys a document has, where all have as many.
    fn keys_per_document(&self) -> usize {
        0
    }
}

/// What to note of each text.
pub(crate) struct Signing<'a> {
    /// The name of the pass, for people and for the journal of a run.
    pub(crate) step: &'static str,
    /// The hash of the text after these steps.
    pub(crate) exact: Option<(&'a ExactConfig, TextHash)>,
    /// What to note of its shingles.
    pub(crate) near: Option<(&'a Shingler, &'a dyn Sign)>,
    /// True for each rank that is passed over; empty if none is.
    pub(crate) gone: &'a [bool],
    /// Signatures of the first ranks.
    pub(crate) known: Option<&'a Signatures>,
    /// Whether what was noted so far is of use without the rest.
    pub(crate) in_parts: bool,
}

/// What was noted.
pub(crate) struct Signs {
    /// The hashes of texts that are not empty after normalisation.
    pub(crate) hashes: Sorter<2>,
    /// The keys of shingles.
    pub(crate) keys: Sorter<2>,
}

impl Signing<'_> {
    /// Notes the signs of the documents of a ranking in parallel.
    pub(crate) fn of(
        &self,
        corpus: &Corpus,
        ranking: &[DocId],
        room: &Room<'_>,
        progress: &dyn Progress,
    ) -> Result<Signs> {
        progress.stage(self.step, Some(ranking.len() as u64), "documents");
        let keys_per_document = self.near.map_or(0, |(_, sign)| sign.keys_per_document());
        let mut signs = Signs { hashes: room.sorter("hashes"), keys: room.sorter("keys") };
        let mut start = self.take_up(&mut signs, room)?;
        progress.advance(start as u64);
        signs.keys.reserve(ranking.len().saturating_sub(start) * keys_per_document);
        let mut n_bytes = 0;
        while start < ranking.len() {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let wave = start..start + wave(room, corpus, &ranking[start..]);
            start = wave.end;
            n_bytes += ranking[wave.clone()].iter().map(|&doc| corpus.record(doc).len()).sum::<usize>();
            for (hashes, keys) in self.note_wave(corpus, ranking, wave, progress) {
                signs.hashes.extend(hashes);
                signs.keys.extend(keys);
            }
            let is_part = self.in_parts && room.scratch.is_kept() && n_bytes >= PART_BYTES;
            if signs.n_bytes() >= room.n_bytes || is_part {
                self.spill(&mut signs, room, start)?;
                n_bytes = 0;
            }
        }
        Ok(signs)
    }

    /// Takes what an earlier process has noted, and tells how many documents that covers.
    fn take_up(&self, signs: &mut Signs, room: &Room<'_>) -> Result<usize> {
        let mut start = 0;
        if let Some(known) = self.known {
            start = known.n_documents() as usize;
            for file in known.files() {
                let sorter = if signs.hashes.owns(file) { &mut signs.hashes } else { &mut signs.keys };
                sorter.take_up(&known.scratch, file)?;
            }
        }
        for note in room.scratch.notes().iter().filter(|note| self.in_parts && note.step == self.step) {
            for file in &note.files {
                let sorter = if signs.hashes.owns(file) { &mut signs.hashes } else { &mut signs.keys };
                sorter.take_up(room.scratch, file)?;
            }
            start = note.end as usize;
        }
        Ok(start)
    }

    fn spill(&self, signs: &mut Signs, room: &Room<'_>, end: usize) -> Result<()> {
        let files = [signs.hashes.spill(room.scratch)?, signs.keys.spill(room.scratch)?];
        if self.in_parts {
            let files = files.into_iter().flatten().collect();
            room.scratch.note(&Note { step: self.step.to_owned(), end: end as u64, files })?;
        }
        Ok(())
    }

    fn note_wave(
        &self,
        corpus: &Corpus,
        ranking: &[DocId],
        wave: Range<usize>,
        progress: &dyn Progress,
    ) -> Vec<(Vec<Posting>, Vec<Posting>)> {
        let first = wave.start;
        ranking[wave]
            .par_chunks(TAKEN)
            .enumerate()
            .map_init(Memory::default, |memory, (chunk, docs)| {
                let (mut hashes, mut keys) = (Vec::new(), Vec::new());
                for (rank, &doc) in (first + chunk * TAKEN..).zip(docs) {
                    if !self.gone.get(rank).is_some_and(|&is_gone| is_gone) {
                        let hash = self.note(corpus, (rank as u64, doc), memory, &mut keys);
                        hashes.extend(hash.map(|hash| [hash, rank as u64]));
                    }
                }
                progress.advance(docs.len() as u64);
                (hashes, keys)
            })
            .collect()
    }

    /// True where both stages look at a text after the same steps.
    fn stages_share_a_text(&self) -> bool {
        let stages = self.exact.zip(self.near);
        stages.is_some_and(|((exact, _), (shingler, _))| exact.shares_a_text(shingler))
    }

    /// Adds the keys of a document's text; its hash, if it is asked for and the text is not empty.
    fn note(
        &self,
        corpus: &Corpus,
        (rank, doc): (u64, DocId),
        memory: &mut Memory,
        keys: &mut Vec<Posting>,
    ) -> Option<u64> {
        let text = corpus.text_str_in(doc, &mut memory.text);
        let value_of = |key: &FieldPath| key_of(corpus, doc, key);
        self.note_text((rank, text), &value_of, &mut memory.work, keys)
    }

    /// The same of any text, with the values of its record's fields.
    pub(crate) fn note_text(
        &self,
        (rank, text): (u64, &str),
        value_of: &dyn Fn(&FieldPath) -> Option<String>,
        work: &mut Work,
        keys: &mut Vec<Posting>,
    ) -> Option<u64> {
        // White space is nobody's copy.
        if text.trim_start().is_empty() {
            return None;
        }
        let hash_of = |hash: TextHash, text: &str| (!text.is_empty()).then(|| hash(text.as_bytes()));
        let mut noted = None;
        let one_text = self.stages_share_a_text();
        if let Some((exact, hash)) = self.exact.filter(|_| !one_text) {
            noted = match &exact.key {
                None => hash_of(hash, exact.normalizer.apply_in(text, &mut work.buffers)),
                Some(key) => value_of(key)
                    .and_then(|value| hash_of(hash, exact.normalizer.apply_in(&value, &mut work.buffers))),
            };
        }
        let Some((shingler, sign)) = self.near else { return noted };
        let normalized = shingler.normalize(text, &mut work.buffers);
        if let Some((_, hash)) = self.exact.filter(|_| one_text) {
            noted = hash_of(hash, normalized);
        }
        sign.sign(shingler, (rank, normalized), &mut work.sketch, keys);
        noted
    }
}

impl Signs {
    /// The hashes, in order; they are no longer here.
    pub(crate) fn take_hashes(&mut self) -> Sorted<2> {
        std::mem::replace(&mut self.hashes, Sorter::new("hashes", 0)).finish()
    }

    fn n_bytes(&self) -> usize {
        self.hashes.n_bytes() + self.keys.n_bytes()
    }
}

/// What a thread works in.
#[derive(Default)]
struct Memory {
    text: TextBuffer,
    work: Work,
}

/// What a text is noted in.
#[derive(Default)]
pub(crate) struct Work {
    buffers: Buffers,
    sketch: Sketch,
}

//! The memory and the disk that a search may take.

use std::path::Path;

use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Room, Scratch};

use crate::signatures::Signatures;

/// Documents and bytes of records that are looked at at once. Of a byte, a few come to be noted, and many more where
/// shingles are characters.
const WAVE_DOCS: usize = if cfg!(test) { 16 } else { 1 << 14 };
const WAVE_BYTES: usize = 64 << 20;

/// What a search may take.
#[derive(Debug)]
pub struct Resources {
    /// Bytes of memory. What is mapped from files (the corpus, sorted runs) is not counted: the system takes it back
    /// when it needs to. A few tens of megabytes for threads, and three times the longest document, are taken whatever
    /// this says.
    pub memory: usize,
    /// Where data goes that memory has no room for.
    pub scratch: Scratch,
    /// Signatures of the corpus's references, so that they need not be noted again.
    pub signatures: Option<Signatures>,
}

impl Resources {
    /// Four gibibytes.
    pub const MEMORY: usize = 4 << 30;

    /// The standard memory, and files without a name in this folder.
    pub fn standard(scratch: &Path) -> Self {
        Resources { memory: Self::MEMORY, scratch: Scratch::unnamed(scratch), signatures: None }
    }

    /// A share of the memory for records that are sorted. A list that grows may take twice its size for a moment, and
    /// the lists of two steps may be there at once.
    pub(crate) fn room(&self) -> Room<'_> {
        Room { n_bytes: self.memory / 4, scratch: &self.scratch }
    }
}

/// How many of the documents, one at least, to look at before the next look at `interrupted` and at the memory that
/// is taken. It decides nothing about the result.
pub(crate) fn wave(room: &Room<'_>, corpus: &Corpus, docs: &[DocId]) -> usize {
    let most_bytes = WAVE_BYTES.min(room.n_bytes / 4);
    corpus.n_fitting(docs.iter().take(WAVE_DOCS).copied(), most_bytes)
}

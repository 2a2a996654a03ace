//! What documents are compared by: the sets of shingles of their texts.
//!
//! Which of them are compared, and what follows, is for others to decide ([`crate::star`], [`crate::components`]).

use std::sync::{Arc, Mutex, PoisonError};

use rapidfuzz::distance::levenshtein;
use rustc_hash::FxHashMap;
use verbatim_corpus::{Corpus, DocId, TextBuffer};
use verbatim_index::{Buffers, Shingler, Shingles};
use verbatim_store::Room;

use crate::roles::Roles;
use crate::similarity::{Measure, Similarity, Threshold};
use crate::star::{Candidates, Document};

/// Memory for the shingle sets of kept documents, by the documents of the corpus and within bounds.
const CACHE_BYTES_PER_DOCUMENT: usize = 600;
const CACHE_BYTES: std::ops::RangeInclusive<usize> =
    if cfg!(test) { 64 << 10..=64 << 10 } else { 8 << 20..=32 << 20 };

/// Tells which documents, by rank, are copies of each other.
pub(crate) trait Comparer: Sync {
    /// What a document is compared by.
    type Content: Clone + Send + Sync;

    /// What the documents may do.
    fn roles(&self) -> Roles;

    /// Bytes of a document's record.
    fn n_bytes(&self, rank: u64) -> usize;

    /// The documents of this block come next; blocks come in the order of rank.
    fn begin(&mut self, block: &[Document]);

    /// What a document is compared by.
    fn content(&self, rank: u64, memory: &mut Memory) -> Self::Content;

    /// The same of a document that others were compared with.
    fn cached(&self, rank: u64) -> Self::Content;

    /// Keeps what a document is compared by for a while.
    fn remember(&self, rank: u64, content: Self::Content);

    /// Shingles of a document, for those who choose candidates by them.
    fn n_shingles(&self, content: &Self::Content) -> usize;

    /// The similarity of a document to one that would be kept for it, if they are copies.
    fn similar(&self, copy: (u64, &Self::Content), kept: (u64, &Self::Content)) -> Option<Similarity>;

    /// The similarity of a document to one that would be kept for it, copies or not.
    fn similarity(&self, copy: u64, kept: u64) -> Similarity;
}

/// When two texts are copies.
#[derive(Clone, Copy)]
pub(crate) struct Rule<'a> {
    pub(crate) shingler: &'a Shingler,
    pub(crate) threshold: Threshold,
    pub(crate) measure: Measure,
    /// Of the edit similarity, which then has to be reached too.
    pub(crate) edit_threshold: Option<Threshold>,
}

impl Rule<'_> {
    /// The similarity of a document to one that would be kept for it.
    pub(crate) fn similarity(&self, copy: &Shingles, kept: &Shingles) -> Similarity {
        self.measure.of(copy.len(), kept.len(), copy.jaccard(kept).0)
    }

    /// The same, if they are copies; `has_few_edits` tells whether their texts reach an edit similarity.
    pub(crate) fn similar(
        &self,
        copy: &Shingles,
        kept: &Shingles,
        has_few_edits: impl FnOnce(Threshold) -> bool,
    ) -> Option<Similarity> {
        // No two sets of these sizes are more similar than the smaller inside the larger.
        let (n_copy, n_kept) = (copy.len(), kept.len());
        let most = self.measure.of(n_copy, n_kept, n_copy.min(n_kept));
        if !self.threshold.reached_by(most) {
            return None;
        }
        let similarity = self.similarity(copy, kept);
        let is_copy = similarity.shared > 0
            && self.threshold.reached_by(similarity)
            && self.edit_threshold.is_none_or(has_few_edits);
        is_copy.then_some(similarity)
    }

    /// Whether the sequences of units are as similar as this: 1 − edit distance / length of the longer (Lee et al. 2021,
    /// section 4.2).
    pub(crate) fn has_few_edits(&self, threshold: Threshold, texts: [&str; 2]) -> bool {
        let [copy, kept] = texts.map(|text| {
            self.shingler.units_of_normalized(self.shingler.normalize(text, &mut Buffers::default()))
        });
        let longer = copy.len().max(kept.len());
        let most_edits = longer - threshold.least_of(longer);
        let within = levenshtein::Args::default().score_cutoff(most_edits);
        levenshtein::distance_with_args(copy, kept, &within).is_some()
    }
}

/// Texts by rank, and when two of them are similar.
pub(crate) struct Texts<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) ranking: &'a [DocId],
    pub(crate) roles: Roles,
    pub(crate) rule: Rule<'a>,
}

impl Texts<'_> {
    pub(crate) fn shingles(&self, rank: u64) -> Shingles {
        self.shingles_in(rank, &mut Memory::default())
    }

    /// The same in memory that is used again for the next document.
    pub(crate) fn shingles_in(&self, rank: u64, memory: &mut Memory) -> Shingles {
        let shingler = self.rule.shingler;
        let text = self.corpus.text_str_in(self.ranking[rank as usize], &mut memory.text);
        shingler.shingles_of_normalized(shingler.normalize(text, &mut memory.buffers))
    }

    /// The similarity of a document to one that would be kept for it, by rank and shingles, if they are copies.
    pub(crate) fn similar(
        &self,
        (copy, copy_set): (u64, &Shingles),
        (kept, kept_set): (u64, &Shingles),
    ) -> Option<Similarity> {
        self.rule.similar(copy_set, kept_set, |threshold| {
            let [copy, kept] = [copy, kept].map(|rank| self.corpus.text_str(self.ranking[rank as usize]));
            self.rule.has_few_edits(threshold, [&copy, &kept])
        })
    }
}

/// What a thread reads texts in.
#[derive(Default)]
pub(crate) struct Memory {
    text: TextBuffer,
    buffers: Buffers,
}

/// Compares the texts themselves.
pub(crate) struct Sets<'a> {
    texts: Texts<'a>,
    cache: Cache,
}

impl<'a> Sets<'a> {
    pub(crate) fn new(texts: Texts<'a>, candidates: &Candidates, room: &Room<'_>) -> Self {
        let cached = match candidates {
            // Each set is asked for again and again.
            Candidates::All => room.n_bytes,
            Candidates::Likely | Candidates::Filtered(_) => (CACHE_BYTES_PER_DOCUMENT * texts.ranking.len())
                .clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end())
                .min(room.n_bytes),
        };
        let halves = Halves { most_bytes: cached / 2, ..Halves::default() };
        Sets { texts, cache: Cache { halves: Mutex::new(halves) } }
    }
}

impl Comparer for Sets<'_> {
    type Content = Arc<Shingles>;

    fn roles(&self) -> Roles {
        self.texts.roles
    }

    fn n_bytes(&self, rank: u64) -> usize {
        self.texts.corpus.record(self.texts.ranking[rank as usize]).len()
    }

    fn begin(&mut self, _block: &[Document]) {}

    fn content(&self, rank: u64, memory: &mut Memory) -> Arc<Shingles> {
        Arc::new(self.texts.shingles_in(rank, memory))
    }

    fn cached(&self, rank: u64) -> Arc<Shingles> {
        self.cache.get(rank).unwrap_or_else(|| {
            let shingles = Arc::new(self.texts.shingles(rank));
            self.cache.insert(rank, Arc::clone(&shingles));
            shingles
        })
    }

    fn remember(&self, rank: u64, shingles: Arc<Shingles>) {
        self.cache.insert(rank, shingles);
    }

    fn n_shingles(&self, shingles: &Arc<Shingles>) -> usize {
        shingles.len()
    }

    fn similar(
        &self,
        (copy, copy_set): (u64, &Arc<Shingles>),
        (kept, kept_set): (u64, &Arc<Shingles>),
    ) -> Option<Similarity> {
        self.texts.similar((copy, copy_set), (kept, kept_set))
    }

    fn similarity(&self, copy: u64, kept: u64) -> Similarity {
        self.texts.rule.similarity(&self.texts.shingles(copy), &self.cached(kept))
    }
}

/// Shingle sets in bounded memory. When the younger half is full it becomes the older half, and the former older
/// half is forgotten. What is cached changes the time a run takes, never its result.
struct Cache {
    halves: Mutex<Halves>,
}

#[derive(Default)]
struct Halves {
    young: FxHashMap<u64, Arc<Shingles>>,
    old: FxHashMap<u64, Arc<Shingles>>,
    young_bytes: usize,
    /// Bytes of a half.
    most_bytes: usize,
}

impl Cache {
    fn get(&self, rank: u64) -> Option<Arc<Shingles>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shingles) = halves.young.get(&rank) {
            return Some(Arc::clone(shingles));
        }
        let shingles = halves.old.remove(&rank)?;
        halves.insert(rank, Arc::clone(&shingles));
        Some(shingles)
    }

    fn insert(&self, rank: u64, shingles: Arc<Shingles>) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).insert(rank, shingles);
    }
}

impl Halves {
    fn insert(&mut self, rank: u64, shingles: Arc<Shingles>) {
        let n_bytes = 8 * shingles.len();
        if self.young_bytes + n_bytes > self.most_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += n_bytes;
        self.young.insert(rank, shingles);
    }
}

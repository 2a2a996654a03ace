//! All pairs at a threshold, without a sketch: two similar sets share a shingle among the rarest of each (Chaudhuri,
//! Ganti, Kaushik 2006; Bayardo, Ma, Srikant 2007).
//!
//! Shingles are ordered by how often they stand in the corpus, the rarest first. Of a set of n, at least ⌈tn⌉ must be in
//! the other one, so of its first n − ⌈tn⌉ + 1, its prefix, at least one is; the first n − ⌈tn⌉ + k hold at least k of
//! them (Wang, Li, Feng 2012). What stands only once in the corpus is shared with nobody, and real texts have so much
//! of it that most prefixes hold nothing else.
//!
//! How often a shingle stands is counted in a table of fixed size, in which several shingles may share a place: that
//! makes a shingle look more common than it is, never rarer, and any order finds all pairs.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use verbatim_index::{Shingler, Unit};

use crate::minhash::Sketch;
use crate::roles::Roles;
use crate::signs::{Posting, Sign};
use crate::similarity::Threshold;

/// Counts stop here: far enough below 256 for all threads to be one too late.
const MANY: u8 = 128;

/// Places of the table for each shingle of the corpus, where memory allows.
const PLACES_PER_SHINGLE: u64 = 2;

/// Bytes of text in a word and the space after it, roughly; wrong guesses cost time, not pairs.
const WORD_BYTES: u64 = 6;

const MIN_PLACES: u64 = 1 << 12;

/// How often shingles stand in a corpus, or more often than that.
pub(crate) struct Counts {
    places: Vec<AtomicU8>,
}

impl Counts {
    /// A table for a corpus of some bytes of text, in no more than `most` bytes of memory.
    pub(crate) fn new(shingler: &Shingler, text_bytes: u64, most: usize) -> Self {
        let n_places = Counts::places(Counts::shingles(shingler, text_bytes), most);
        Counts { places: (0..n_places).map(|_| AtomicU8::new(0)).collect() }
    }

    /// Shingles in some bytes of text, roughly.
    pub(crate) fn shingles(shingler: &Shingler, text_bytes: u64) -> u64 {
        match shingler.unit() {
            Unit::Word | Unit::Token => text_bytes / WORD_BYTES,
            Unit::Char | Unit::Byte => text_bytes,
        }
    }

    /// Places of a table for so many shingles, a byte each.
    pub(crate) fn places(n_shingles: u64, most: usize) -> u64 {
        (PLACES_PER_SHINGLE * n_shingles).min(most as u64).max(MIN_PLACES)
    }

    fn place(&self, shingle: u64) -> usize {
        // The top bit only tells whole texts from n-grams; those below it are evenly spread.
        ((u128::from(shingle << 1) * self.places.len() as u128) >> 64) as usize
    }

    fn of(&self, shingle: u64) -> u8 {
        self.places[self.place(shingle)].load(Ordering::Relaxed).min(MANY)
    }
}

impl Sign for Counts {
    /// Counts the shingles.
    fn sign(
        &self,
        shingler: &Shingler,
        (_, text): (u64, &str),
        Sketch { shingles, .. }: &mut Sketch,
        _: &mut Vec<Posting>,
    ) {
        collect(shingler, text, shingles);
        for block in shingles.chunks(AT_ONCE) {
            // Loads do not wait for one another as additions do, so the places are fetched with them first.
            let mut seen = [0; AT_ONCE];
            for (seen, &shingle) in seen.iter_mut().zip(block) {
                *seen = self.of(shingle);
            }
            for (_, &shingle) in seen.iter().zip(block).filter(|&(&seen, _)| seen < MANY) {
                self.places[self.place(shingle)].fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Places of the table that are fetched at once.
const AT_ONCE: usize = 64;

/// The shingles of a normalised text, repeats included.
fn collect(shingler: &Shingler, text: &str, shingles: &mut Vec<u64>) {
    shingles.clear();
    shingler.for_each_hash_of_normalized(text, |shingle| shingles.push(shingle));
}

/// How long prefixes are.
#[derive(Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) threshold: Threshold,
}

impl Prefix {
    /// Shingles that two prefixes must share, for a set of n: more of them make the prefix little longer and spare
    /// most comparisons. Never falls as n grows, so that the smaller set decides for both.
    pub(crate) fn least_shared(self, n: usize) -> usize {
        const SHINGLES_FOR_ONE_MORE: usize = 64;
        (1 + n / SHINGLES_FOR_ONE_MORE).min(self.threshold.least_of(n))
    }

    /// Shingles in the prefix of a set of n.
    pub(crate) fn len(self, n: usize) -> usize {
        n - self.threshold.least_of(n) + self.least_shared(n)
    }
}

/// The shingles of a text that may stand elsewhere too go into `repeated`, repeats included; how many stand once in the
/// corpus.
fn split(counts: &Counts, shingler: &Shingler, text: &str, repeated: &mut Vec<u64>) -> usize {
    collect(shingler, text, repeated);
    let n = repeated.len();
    let mut n_repeated = 0;
    for i in 0..n {
        // Without a branch, so that no guess waits for a place of the table.
        let shingle = repeated[i];
        repeated[n_repeated] = shingle;
        n_repeated += usize::from(counts.of(shingle) > 1);
    }
    repeated.truncate(n_repeated);
    n - n_repeated
}

/// Notes the prefix of each set, but for what stands once in the corpus.
pub(crate) struct Prefixes<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) prefix: Prefix,
}

impl Sign for Prefixes<'_> {
    fn sign(
        &self,
        shingler: &Shingler,
        (rank, text): (u64, &str),
        sketch: &mut Sketch,
        postings: &mut Vec<Posting>,
    ) {
        let repeated = &mut sketch.shingles;
        let n_once = split(self.counts, shingler, text, repeated);
        // Most texts end here: even if none of the others stood in them twice, the prefix would hold none of them.
        if n_once >= self.prefix.len(n_once + repeated.len()) {
            return;
        }
        repeated.sort_unstable();
        repeated.dedup();
        let n_left = self.prefix.len(n_once + repeated.len()).saturating_sub(n_once);
        repeated.sort_unstable_by_key(|&shingle| (self.counts.of(shingle), shingle));
        postings.extend(repeated.iter().take(n_left).map(|&shingle| [shingle, rank]));
    }
}

/// Marks what stands in the prefix of any set, and notes how large the sets are.
///
/// A set that is contained in another shares shingles of its own prefix with the whole other one.
pub(crate) struct Marks<'a> {
    counts: &'a Counts,
    prefix: Prefix,
    roles: Roles,
    /// A bit for each place of the counts.
    marks: Vec<AtomicU64>,
}

impl<'a> Marks<'a> {
    pub(crate) fn new(counts: &'a Counts, prefix: Prefix, roles: Roles) -> Self {
        let n_words = counts.places.len().div_ceil(64);
        Marks { counts, prefix, roles, marks: (0..n_words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn bit(&self, shingle: u64) -> (&AtomicU64, u64) {
        let place = self.counts.place(shingle);
        (&self.marks[place / 64], 1 << (place % 64))
    }
}

/// Notes how large sets are, and nothing of what is in them.
pub(crate) struct Sizes {
    pub(crate) roles: Roles,
}

impl Sizes {
    /// A key that is smaller the more shingles a text has, and smallest for references; none for a text without.
    fn key(roles: Roles, rank: u64, n_shingles: usize) -> Option<Posting> {
        let first = if roles.may_go(rank) { u64::MAX } else { u64::MAX / 2 };
        (n_shingles > 0).then(|| [first - n_shingles as u64, rank])
    }
}

impl Sign for Sizes {
    fn sign(
        &self,
        shingler: &Shingler,
        (rank, text): (u64, &str),
        Sketch { shingles, .. }: &mut Sketch,
        postings: &mut Vec<Posting>,
    ) {
        collect(shingler, text, shingles);
        shingles.sort_unstable();
        shingles.dedup();
        postings.extend(Sizes::key(self.roles, rank, shingles.len()));
    }
}

impl Sign for Marks<'_> {
    fn sign(
        &self,
        shingler: &Shingler,
        (rank, text): (u64, &str),
        sketch: &mut Sketch,
        postings: &mut Vec<Posting>,
    ) {
        let repeated = &mut sketch.shingles;
        let n_once = split(self.counts, shingler, text, repeated);
        repeated.sort_unstable();
        repeated.dedup();
        let n = n_once + repeated.len();
        postings.extend(Sizes::key(self.roles, rank, n));
        let n_left = self.prefix.len(n).saturating_sub(n_once);
        repeated.sort_unstable_by_key(|&shingle| (self.counts.of(shingle), shingle));
        for &shingle in repeated.iter().take(n_left) {
            let (word, bit) = self.bit(shingle);
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

/// Notes the marked shingles of each set, and how many of them a set must hold that contains it.
pub(crate) struct Marked<'a> {
    marks: &'a Marks<'a>,
    /// By rank.
    least_shared: Vec<AtomicU32>,
}

impl<'a> Marked<'a> {
    pub(crate) fn new(marks: &'a Marks<'a>, n_documents: usize) -> Self {
        Marked { marks, least_shared: (0..n_documents).map(|_| AtomicU32::new(1)).collect() }
    }

    /// For each rank the marked shingles that must be shared.
    pub(crate) fn least_shared(self) -> Vec<u32> {
        self.least_shared.into_iter().map(AtomicU32::into_inner).collect()
    }
}

impl Sign for Marked<'_> {
    fn sign(
        &self,
        shingler: &Shingler,
        (rank, text): (u64, &str),
        Sketch { shingles, .. }: &mut Sketch,
        postings: &mut Vec<Posting>,
    ) {
        let n_once = split(self.marks.counts, shingler, text, shingles);
        shingles.sort_unstable();
        shingles.dedup();
        let n_repeated = shingles.len();
        shingles.retain(|&shingle| {
            let (word, bit) = self.marks.bit(shingle);
            word.load(Ordering::Relaxed) & bit != 0
        });
        // At best all that is neither marked nor stands only here is in the other set too.
        let n_unmarked = n_repeated - shingles.len();
        let least = self.marks.prefix.threshold.least_of(n_once + n_repeated).saturating_sub(n_unmarked);
        self.least_shared[rank as usize].store(least.max(1) as u32, Ordering::Relaxed);
        postings.extend(shingles.iter().map(|&shingle| [shingle, rank]));
    }
}

//! Near copies in stars: every removed document is similar to the one document that is kept for it.
//!
//! Documents are taken by preference. Each is compared, by the exact Jaccard similarity of shingle sets, with the
//! documents kept so far that share a band with it: if one reaches the threshold, the document is its copy, else
//! the document is kept. So a chain a-b-c, in which a and c differ, never removes c for a; two kept documents are
//! never known to be similar; and the most preferred document of any group of copies always stays.
//!
//! Copies are compared with kept documents only, so a band shared by a million copies costs a million comparisons.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::{Shingler, Shingles};
use verbatim_store::Progress;

use crate::buckets::Buckets;
use crate::error::{Error, Result};
use crate::similarity::{Similarity, Threshold};

/// Kept documents that a bucket remembers. Only where more than these share a band and are no copies of each other
/// (a boilerplate page) are later ones not compared through that band.
const MAX_KEPT_IN_BUCKET: usize = 256;

/// Comparisons of one document with those kept before its block, and again with those of its block; the ones with
/// most bands in common go first.
const MAX_COMPARISONS: usize = 64;

/// A block is compared in parallel with what was kept before it, then in order with itself. Its size does not
/// depend on the threads, or else their number would change what is compared with what. Small in tests, as the
/// cache, so that they cross the borders.
const BLOCK_DOCS: usize = if cfg!(test) { 8 } else { 512 };

/// Record bytes in a block, which bound the memory for its shingles.
const BLOCK_BYTES: usize = 4 << 20;

/// Memory for the shingle sets of kept documents.
const CACHE_BYTES: usize = if cfg!(test) { 64 << 10 } else { 8 << 20 };

/// A document that is similar to a kept one. Both are ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NearCopy {
    pub(crate) copy: u32,
    pub(crate) kept: u32,
    pub(crate) similarity: Similarity,
}

/// The near copies, in order of rank, and what finding them took.
#[derive(Debug, Default)]
pub(crate) struct NearCopies {
    pub(crate) copies: Vec<NearCopy>,
    /// Pairs whose exact similarity was computed.
    pub(crate) n_compared: u64,
    /// Pairs (at least) that share a band but were passed over because of the two limits on comparisons.
    pub(crate) n_passed_over: u64,
}

/// Texts by rank, and when two of them are similar.
pub(crate) struct Texts<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) ranking: &'a [DocId],
    pub(crate) shingler: &'a Shingler,
    pub(crate) threshold: Threshold,
}

impl Texts<'_> {
    pub(crate) fn shingles(&self, rank: u32) -> Shingles {
        self.shingler.shingles(&self.corpus.text_str(self.ranking[rank as usize]))
    }

    /// The similarity of two sets, if it reaches the threshold.
    pub(crate) fn similar(&self, a: &Shingles, b: &Shingles) -> Option<Similarity> {
        let (smaller, larger) = (a.len().min(b.len()) as u64, a.len().max(b.len()) as u64);
        // No two sets of these sizes are more similar than the smaller inside the larger.
        if !self.threshold.reached_by(Similarity { shared: smaller, union: larger }) {
            return None;
        }
        let (shared, union) = a.jaccard(b);
        let similarity = Similarity { shared: shared as u64, union: union as u64 };
        (union > 0 && self.threshold.reached_by(similarity)).then_some(similarity)
    }
}

/// Finds the near copies among the documents that share a bucket.
pub(crate) fn near_copies(
    texts: &Texts<'_>,
    buckets: &Buckets,
    progress: &dyn Progress,
) -> Result<NearCopies> {
    progress.stage("comparing", Some(buckets.docs().len() as u64), "documents");
    let mut found = NearCopies::default();
    let mut stars = Stars { texts, buckets, kept: vec![Vec::new(); buckets.len()], cache: Cache::default() };
    let mut start = 0;
    while start < buckets.docs().len() {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let end = stars.block_end(start);
        stars.take_block(start..end, &mut found);
        progress.advance((end - start) as u64);
        start = end;
    }
    Ok(found)
}

/// Documents are numbered by their position among the documents of `buckets`, which is in order of rank.
struct Stars<'a> {
    texts: &'a Texts<'a>,
    buckets: &'a Buckets,
    /// For each bucket its kept documents, ascending.
    kept: Vec<Vec<u32>>,
    cache: Cache,
}

/// The result of comparing one document with some kept ones.
struct Comparison {
    copy_of: Option<(u32, Similarity)>,
    n_compared: u64,
    n_passed_over: u64,
}

impl Stars<'_> {
    fn block_end(&self, start: usize) -> usize {
        let mut n_bytes = 0;
        let sizes = self.buckets.docs()[start..].iter().map(|&rank| {
            let doc = self.texts.ranking[rank as usize];
            self.texts.corpus.record(doc).len()
        });
        let fitting = sizes.take(BLOCK_DOCS).take_while(|size| {
            n_bytes += size;
            n_bytes <= BLOCK_BYTES
        });
        start + fitting.count().max(1)
    }

    fn take_block(&mut self, block: std::ops::Range<usize>, found: &mut NearCopies) {
        let stars = &*self;
        let compared: Vec<(Arc<Shingles>, Comparison)> = block
            .clone()
            .into_par_iter()
            .map(|doc| {
                let shingles = Arc::new(stars.texts.shingles(stars.buckets.docs()[doc]));
                let comparison = stars.compare(doc, &shingles, 0, |kept| stars.cached(kept));
                (shingles, comparison)
            })
            .collect();
        let mut fresh: FxHashMap<u32, Arc<Shingles>> = FxHashMap::default();
        for (doc, (shingles, earlier)) in block.clone().zip(compared) {
            let within = match earlier.copy_of {
                Some(_) => None,
                None => {
                    Some(self.compare(doc, &shingles, block.start as u32, |kept| Arc::clone(&fresh[&kept])))
                }
            };
            for comparison in within.iter().chain([&earlier]) {
                found.n_compared += comparison.n_compared;
                found.n_passed_over += comparison.n_passed_over;
            }
            match within.and_then(|within| within.copy_of).or(earlier.copy_of) {
                Some((kept, similarity)) => {
                    let docs = self.buckets.docs();
                    found.copies.push(NearCopy { copy: docs[doc], kept: docs[kept as usize], similarity });
                }
                None => {
                    found.n_passed_over += self.keep(doc);
                    fresh.insert(doc as u32, shingles);
                }
            }
        }
        for doc in block {
            if let Some(shingles) = fresh.remove(&(doc as u32)) {
                self.cache.insert(doc as u32, shingles);
            }
        }
    }

    /// Enters a document into its buckets; the number of those that are full.
    fn keep(&mut self, doc: usize) -> u64 {
        let mut n_full = 0;
        for bucket in self.buckets.of(doc) {
            let kept = &mut self.kept[bucket];
            if kept.len() < MAX_KEPT_IN_BUCKET {
                kept.push(doc as u32);
            } else {
                n_full += 1;
            }
        }
        n_full
    }

    /// Compares a document with the kept ones, numbered `from` and up, that share a bucket with it, until one is
    /// similar.
    fn compare(
        &self,
        doc: usize,
        shingles: &Shingles,
        from: u32,
        shingles_of: impl Fn(u32) -> Arc<Shingles>,
    ) -> Comparison {
        let (candidates, n_passed_over) = self.candidates(doc, from);
        let mut n_compared = 0;
        let copy_of = candidates.into_iter().find_map(|kept| {
            n_compared += 1;
            self.texts.similar(shingles, &shingles_of(kept)).map(|similarity| (kept, similarity))
        });
        Comparison { copy_of, n_compared, n_passed_over }
    }

    /// The kept documents to compare with, those with most shared bands first, and how many were passed over.
    fn candidates(&self, doc: usize, from: u32) -> (Vec<u32>, u64) {
        let recent =
            |bucket: usize| self.kept[bucket].iter().rev().copied().take_while(move |&kept| kept >= from);
        let mut hits: Vec<u32> = self.buckets.of(doc).flat_map(recent).collect();
        hits.sort_unstable();
        let mut counted: Vec<(Reverse<usize>, u32)> =
            hits.chunk_by(|a, b| a == b).map(|run| (Reverse(run.len()), run[0])).collect();
        counted.sort_unstable();
        let n_passed_over = counted.len().saturating_sub(MAX_COMPARISONS) as u64;
        (counted.into_iter().take(MAX_COMPARISONS).map(|(_, kept)| kept).collect(), n_passed_over)
    }

    fn cached(&self, doc: u32) -> Arc<Shingles> {
        self.cache.get(doc).unwrap_or_else(|| {
            let shingles = Arc::new(self.texts.shingles(self.buckets.docs()[doc as usize]));
            self.cache.insert(doc, Arc::clone(&shingles));
            shingles
        })
    }
}

/// Shingle sets in bounded memory. When the younger half is full it becomes the older half, and the former older
/// half is forgotten. What is cached changes the time a run takes, never its result.
#[derive(Default)]
struct Cache {
    halves: Mutex<Halves>,
}

#[derive(Default)]
struct Halves {
    young: FxHashMap<u32, Arc<Shingles>>,
    old: FxHashMap<u32, Arc<Shingles>>,
    young_bytes: usize,
}

impl Cache {
    fn get(&self, doc: u32) -> Option<Arc<Shingles>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shingles) = halves.young.get(&doc) {
            return Some(Arc::clone(shingles));
        }
        let shingles = halves.old.remove(&doc)?;
        halves.insert(doc, Arc::clone(&shingles));
        Some(shingles)
    }

    fn insert(&self, doc: u32, shingles: Arc<Shingles>) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).insert(doc, shingles);
    }
}

impl Halves {
    fn insert(&mut self, doc: u32, shingles: Arc<Shingles>) {
        let n_bytes = 8 * shingles.len();
        if self.young_bytes + n_bytes > CACHE_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += n_bytes;
        self.young.insert(doc, shingles);
    }
}

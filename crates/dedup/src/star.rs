//! Near copies in stars: every removed document is similar to the one document that is kept for it.
//!
//! Documents are taken by preference. Each is compared, by the exact similarity of shingle sets, with the
//! documents kept so far that share a bucket with it: if one reaches the threshold, the document is its copy, else
//! the document is kept. So a chain a-b-c, in which a and c differ, never removes c for a; two kept documents are
//! never known to be similar; and the most preferred document of any group of copies always stays.
//!
//! Copies are compared with kept documents only, so a bucket shared by a million copies costs a million comparisons.

use std::cmp::Reverse;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use verbatim_store::{Progress, Room, Table};

use crate::buckets::{Buckets, Documents};
use crate::error::{Error, Result};
use crate::sets::{Comparer, Memory};
use crate::similarity::Similarity;

/// Kept documents that a bucket remembers. Only where more than these share a bucket and are no copies of each other
/// (a boilerplate page) are later ones not compared through that bucket.
const MAX_KEPT_IN_BUCKET: usize = 256;

/// Comparisons of one document with those kept before its block, and again with those of its block.
const MAX_COMPARISONS: usize = 64;

/// A block is compared in parallel with what was kept before it, then in order with itself. Its size does not
/// depend on the threads, or else their number would change what is compared with what. Small in tests, as the
/// cache, so that they cross the borders.
const BLOCK_DOCS: usize = if cfg!(test) { 8 } else { 512 };

/// Record bytes in a block, which bound the memory for its shingles.
const BLOCK_BYTES: usize = 4 << 20;

/// A document that is similar to a kept one. Both are ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NearCopy {
    pub(crate) copy: u64,
    pub(crate) kept: u64,
    pub(crate) similarity: Similarity,
}

/// The near copies, in order of rank, and what finding them took.
#[derive(Debug, Default)]
pub(crate) struct NearCopies {
    pub(crate) copies: Vec<NearCopy>,
    /// Pairs whose exact similarity was computed.
    pub(crate) n_compared: u64,
    /// Pairs (at least) that share a bucket but were passed over because of the two limits on comparisons.
    pub(crate) n_passed_over: u64,
}

/// A document, by rank, and its buckets.
pub(crate) type Document = (u64, Vec<usize>);

/// Which of the documents that share buckets are compared.
pub(crate) enum Candidates {
    /// Those that share most, up to the two limits: where buckets are full of documents that are no copies, they cost
    /// bounded work.
    Likely,
    /// All that share as many buckets with a document, by its rank and number of shingles, as it must share with what it
    /// is a copy of, those of the best rank first. What the buckets are then decides how long it takes, never what is
    /// found.
    Filtered(Box<dyn Fn(u64, usize) -> usize + Sync>),
    /// All that share a bucket.
    All,
}

impl Candidates {
    /// Documents that a bucket remembers.
    pub(crate) fn most_kept(&self) -> usize {
        match self {
            Candidates::Likely => MAX_KEPT_IN_BUCKET,
            Candidates::Filtered(_) | Candidates::All => usize::MAX,
        }
    }

    /// The documents to compare with, in order, and how many were passed over. `hits` has each as often as it shares a
    /// bucket, ascending.
    pub(crate) fn choose(&self, hits: &[u64], (rank, n_shingles): (u64, usize)) -> (Vec<u64>, u64) {
        let runs = hits.chunk_by(|a, b| a == b);
        match self {
            Candidates::All => (runs.map(|run| run[0]).collect(), 0),
            Candidates::Filtered(least_shared) => {
                let least = least_shared(rank, n_shingles);
                (runs.filter(|run| run.len() >= least).map(|run| run[0]).collect(), 0)
            }
            Candidates::Likely => {
                let mut counted: Vec<(Reverse<usize>, u64)> =
                    runs.map(|run| (Reverse(run.len()), run[0])).collect();
                counted.sort_unstable();
                let n_passed_over = counted.len().saturating_sub(MAX_COMPARISONS) as u64;
                (counted.into_iter().take(MAX_COMPARISONS).map(|(_, kept)| kept).collect(), n_passed_over)
            }
        }
    }
}

/// Finds the near copies among the documents that share a bucket.
pub(crate) fn near_copies<C: Comparer>(
    comparer: &mut C,
    buckets: &Buckets,
    candidates: &Candidates,
    room: &Room<'_>,
    progress: &dyn Progress,
) -> Result<NearCopies> {
    progress.stage("comparing", Some(buckets.documents().count() as u64), "documents");
    let mut found = NearCopies::default();
    let mut stars = Stars::new(comparer, buckets, candidates, room)?;
    let mut documents = buckets.documents();
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let block = stars.next_block(&mut documents, &mut found);
        if block.is_empty() {
            return Ok(found);
        }
        stars.take_block(&block, &mut found);
        progress.advance(block.len() as u64);
    }
}

/// Documents that are remembered, and how to compare others with them.
pub(crate) struct Stars<'a, C> {
    pub(crate) comparer: &'a mut C,
    candidates: &'a Candidates,
    /// The table of the buckets: at the first place of each how many kept documents it remembers, then their ranks,
    /// ascending.
    kept: Table,
}

/// The result of comparing one document with some kept ones.
struct Comparison {
    copy_of: Option<(u64, Similarity)>,
    n_compared: u64,
    n_passed_over: u64,
}

impl<'a, C: Comparer> Stars<'a, C> {
    pub(crate) fn new(
        comparer: &'a mut C,
        buckets: &Buckets,
        candidates: &'a Candidates,
        room: &Room<'_>,
    ) -> Result<Self> {
        let kept = Table::zeros(buckets.n_places(), room.n_bytes, room.scratch)?;
        Ok(Stars { comparer, candidates, kept })
    }

    /// The next documents that are compared in parallel with those before them; none at the end. Remembers the
    /// references, which go for nobody, on the way.
    pub(crate) fn next_block(
        &mut self,
        documents: &mut Documents<'_>,
        found: &mut NearCopies,
    ) -> Vec<Document> {
        let roles = self.comparer.roles();
        while documents.peek().is_some_and(|rank| !roles.may_go(rank)) {
            documents
                .next()
                .into_iter()
                .for_each(|(rank, buckets)| found.n_passed_over += self.keep(rank, &buckets));
        }
        let mut block = Vec::new();
        let mut n_bytes = 0;
        while let Some(rank) = documents.peek().filter(|_| block.len() < BLOCK_DOCS) {
            n_bytes += self.comparer.n_bytes(rank);
            if n_bytes > BLOCK_BYTES && !block.is_empty() {
                break;
            }
            block.extend(documents.next());
        }
        self.comparer.begin(&block);
        block
    }

    fn take_block(&mut self, block: &[Document], found: &mut NearCopies) {
        let stars = &*self;
        let compared: Vec<(C::Content, Comparison)> = block
            .par_iter()
            .map_init(Memory::default, |memory, (rank, buckets)| {
                let content = stars.comparer.content(*rank, memory);
                let cached = |kept| stars.comparer.cached(kept);
                let comparison = stars.compare((*rank, buckets), &content, 0, cached);
                (content, comparison)
            })
            .collect();
        let first = block[0].0;
        let mut fresh: FxHashMap<u64, C::Content> = FxHashMap::default();
        for ((rank, buckets), (content, earlier)) in block.iter().zip(compared) {
            let within = match earlier.copy_of {
                Some(_) => None,
                None => Some(self.compare((*rank, buckets), &content, first, |kept| fresh[&kept].clone())),
            };
            for comparison in within.iter().chain([&earlier]) {
                found.n_compared += comparison.n_compared;
                found.n_passed_over += comparison.n_passed_over;
            }
            match within.and_then(|within| within.copy_of).or(earlier.copy_of) {
                Some((kept, similarity)) => found.copies.push(NearCopy { copy: *rank, kept, similarity }),
                None => {
                    found.n_passed_over += self.keep(*rank, buckets);
                    fresh.insert(*rank, content);
                }
            }
        }
        for (rank, _) in block {
            if let Some(content) = fresh.remove(rank) {
                self.comparer.remember(*rank, content);
            }
        }
    }

    /// Enters a document into its buckets; the number of those that are full.
    pub(crate) fn keep(&mut self, rank: u64, buckets: &[usize]) -> u64 {
        if !self.comparer.roles().may_stay(rank) {
            return 0;
        }
        let mut n_full = 0;
        for &bucket in buckets {
            let n_kept = self.kept[bucket] as usize;
            if n_kept < self.candidates.most_kept() {
                self.kept[bucket] += 1;
                self.kept[bucket + 1 + n_kept] = rank;
            } else {
                n_full += 1;
            }
        }
        n_full
    }

    /// Compares a document with the kept ones, of rank `from` and up, that share a bucket with it, until one is
    /// similar.
    fn compare(
        &self,
        (rank, buckets): (u64, &[usize]),
        content: &C::Content,
        from: u64,
        content_of: impl Fn(u64) -> C::Content,
    ) -> Comparison {
        let n_shingles = self.comparer.n_shingles(content);
        let (candidates, n_passed_over) = self.candidates((rank, n_shingles), buckets, from);
        let mut n_compared = 0;
        let copy_of = candidates.into_iter().find_map(|kept| {
            n_compared += 1;
            let similarity = self.comparer.similar((rank, content), (kept, &content_of(kept)));
            similarity.map(|similarity| (kept, similarity))
        });
        Comparison { copy_of, n_compared, n_passed_over }
    }

    /// The kept documents to compare with, and how many were passed over.
    pub(crate) fn candidates(&self, document: (u64, usize), buckets: &[usize], from: u64) -> (Vec<u64>, u64) {
        let recent = |&bucket: &usize| {
            let kept = &self.kept[bucket + 1..][..self.kept[bucket] as usize];
            kept.iter().rev().copied().take_while(move |&kept| kept >= from)
        };
        let mut hits: Vec<u64> = buckets.iter().flat_map(recent).collect();
        hits.sort_unstable();
        self.candidates.choose(&hits, document)
    }
}

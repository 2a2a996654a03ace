//! What is known of pairs of documents that others compared before.

use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::roles::Roles;
use crate::sets::{Comparer, Memory, Sets};
use crate::similarity::Similarity;
use crate::star::Document;

/// A pair that was compared, by rank: the document that would go, the one that would be kept for it, and their similarity
/// as a fraction. Where they are no copies its numerator is 0.
pub(crate) type Verdict = [u64; 4];

/// The verdict on a pair.
pub(crate) fn verdict(copy: u64, kept: u64, similarity: Option<Similarity>) -> Verdict {
    let Similarity { shared, whole } = similarity.unwrap_or(Similarity { shared: 0, whole: 1 });
    [copy, kept, shared, whole]
}

/// Verdicts in order.
pub(crate) type Verdicts<'a> = Box<dyn Iterator<Item = Verdict> + Send + Sync + 'a>;

/// The verdicts on the documents of a block, read as blocks come.
struct OfBlock<'a> {
    verdicts: Peekable<Verdicts<'a>>,
    block: Vec<Verdict>,
}

impl<'a> OfBlock<'a> {
    fn new(verdicts: Verdicts<'a>) -> Self {
        OfBlock { verdicts: verdicts.peekable(), block: Vec::new() }
    }

    fn begin(&mut self, block: &[Document]) {
        self.block.clear();
        let (Some((first, _)), Some((last, _))) = (block.first(), block.last()) else { return };
        while let Some(verdict) = self.verdicts.next_if(|[copy, ..]| copy <= last) {
            if verdict[0] >= *first {
                self.block.push(verdict);
            }
        }
    }

    /// The verdict on a pair, if there is one: their similarity, if they are copies.
    fn on(&self, copy: u64, kept: u64) -> Option<Option<Similarity>> {
        let place = self.block.partition_point(|verdict| verdict[..2] < [copy, kept][..]);
        match self.block.get(place) {
            Some(&[a, b, shared, whole]) if [a, b] == [copy, kept] && whole > 0 => {
                Some((shared > 0).then_some(Similarity { shared, whole }))
            }
            _ => None,
        }
    }
}

/// Looks pairs up, and compares the texts of those that have no verdict.
pub(crate) struct Finishing<'a> {
    verdicts: OfBlock<'a>,
    sets: Sets<'a>,
    n_compared_late: AtomicU64,
}

impl<'a> Finishing<'a> {
    pub(crate) fn new(verdicts: Verdicts<'a>, sets: Sets<'a>) -> Self {
        Finishing { verdicts: OfBlock::new(verdicts), sets, n_compared_late: AtomicU64::new(0) }
    }

    /// Pairs on which there was no verdict.
    pub(crate) fn n_compared_late(&self) -> u64 {
        self.n_compared_late.load(Ordering::Relaxed)
    }
}

impl Comparer for Finishing<'_> {
    type Content = ();

    fn roles(&self) -> Roles {
        self.sets.roles()
    }

    fn n_bytes(&self, rank: u64) -> usize {
        self.sets.n_bytes(rank)
    }

    fn begin(&mut self, block: &[Document]) {
        self.verdicts.begin(block);
    }

    fn content(&self, _rank: u64, _memory: &mut Memory) {}

    fn cached(&self, _rank: u64) {}

    fn remember(&self, _rank: u64, (): ()) {}

    fn n_shingles(&self, (): &()) -> usize {
        0
    }

    fn similar(&self, (copy, ()): (u64, &()), (kept, ()): (u64, &())) -> Option<Similarity> {
        self.verdicts.on(copy, kept).unwrap_or_else(|| {
            self.n_compared_late.fetch_add(1, Ordering::Relaxed);
            let [copy_set, kept_set] = [copy, kept].map(|rank| self.sets.cached(rank));
            self.sets.similar((copy, &copy_set), (kept, &kept_set))
        })
    }

    fn similarity(&self, copy: u64, kept: u64) -> Similarity {
        self.sets.similarity(copy, kept)
    }
}

/// Looks pairs up, and notes those that have no verdict; it takes them for no copies and goes on.
pub(crate) struct Asking<'a> {
    verdicts: OfBlock<'a>,
    roles: Roles,
    n_bytes: &'a (dyn Fn(u64) -> usize + Sync),
    open: Mutex<Vec<[u64; 2]>>,
}

impl<'a> Asking<'a> {
    /// `n_bytes` tells the length of a document's record.
    pub(crate) fn new(
        verdicts: Verdicts<'a>,
        roles: Roles,
        n_bytes: &'a (dyn Fn(u64) -> usize + Sync),
    ) -> Self {
        Asking { verdicts: OfBlock::new(verdicts), roles, n_bytes, open: Mutex::default() }
    }

    /// The pairs that have no verdict, ascending and each once. Where there are none, what was found is right.
    pub(crate) fn open(self) -> Vec<[u64; 2]> {
        let mut open = self.open.into_inner().unwrap_or_else(PoisonError::into_inner);
        open.sort_unstable();
        open.dedup();
        open
    }
}

impl Comparer for Asking<'_> {
    type Content = ();

    fn roles(&self) -> Roles {
        self.roles
    }

    fn n_bytes(&self, rank: u64) -> usize {
        (self.n_bytes)(rank)
    }

    fn begin(&mut self, block: &[Document]) {
        self.verdicts.begin(block);
    }

    fn content(&self, _rank: u64, _memory: &mut Memory) {}

    fn cached(&self, _rank: u64) {}

    fn remember(&self, _rank: u64, (): ()) {}

    fn n_shingles(&self, (): &()) -> usize {
        0
    }

    fn similar(&self, (copy, ()): (u64, &()), (kept, ()): (u64, &())) -> Option<Similarity> {
        self.verdicts.on(copy, kept).unwrap_or_else(|| {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push([copy, kept]);
            None
        })
    }

    /// Of a document and one that it was never compared with, this knows nothing.
    fn similarity(&self, _copy: u64, _kept: u64) -> Similarity {
        Similarity { shared: 0, whole: 1 }
    }
}

//! Which documents may go and which may stay for others: a corpus may be compared with references, which never go.

use verbatim_corpus::{Corpus, DocId};

use crate::config::DedupConfig;
use crate::error::Result;

/// The documents in the order of preference, the references first. A document's rank is its position.
///
/// # Errors
/// Those of [`Keep::ranking`](crate::keep::Keep::ranking).
pub(crate) fn ranking(corpus: &Corpus, config: &DedupConfig) -> Result<Vec<DocId>> {
    let mut ranking = config.keep.ranking(corpus)?;
    // Their order among themselves decides nothing but which of several is named.
    ranking.splice(0..0, corpus.references());
    Ok(ranking)
}

/// What a document may do, by its rank.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles {
    /// References, which have the first ranks.
    pub(crate) n_references: u64,
    /// Whether only they stay for others.
    pub(crate) only_references: bool,
}

impl Roles {
    pub(crate) fn of(corpus: &Corpus, config: &DedupConfig) -> Self {
        let n_references = corpus.references().len() as u64;
        Roles { n_references, only_references: config.only_references }
    }

    /// Whether it may go for another.
    pub(crate) fn may_go(self, rank: u64) -> bool {
        rank >= self.n_references
    }

    /// Whether others may go for it.
    pub(crate) fn may_stay(self, rank: u64) -> bool {
        rank < self.n_references || !self.only_references
    }

    /// The members of a group of equal things, of which the first is kept, that go for it.
    pub(crate) fn going<'a, T>(
        self,
        group: &'a [T],
        rank: impl Fn(&T) -> u64 + 'a,
    ) -> impl Iterator<Item = &'a T> {
        let (first, rest) =
            if self.may_stay(rank(&group[0])) { (group.len().min(1), group.len()) } else { (0, 0) };
        group[first..rest].iter().filter(move |member| self.may_go(rank(member)))
    }
}

//! Runs of bytes or tokens that stand more than once in a corpus, wherever they stand (exact substring deduplication:
//! Lee et al. 2021, section 4.1).
//!
//! One copy stays: the first in the document that the keep policy prefers. Each byte of the others is cut, if a copy of
//! it stays; what is left may be joined in new ways, in which the search looks again if asked to.

mod fates;
mod rounds;
mod snap;
mod spooled;

use std::fmt;
use std::sync::Arc;

use verbatim_corpus::{Corpus, DocId};
use verbatim_index::{Copies, Repeat, Wanted, repeats};
use verbatim_store::{Progress, Scratch};

use crate::cut::{Cut, Earlier, Shortened};
use crate::error::{Error, Result};
use crate::roles::Roles;
use crate::room::Resources;
use crate::substring::fates::Fates;
use crate::substring::spooled::Spooled;

pub use crate::substring::snap::Snap;

/// Cuts a text into tokens: the id of each and the byte at which it begins, ascending.
pub type TokenPlacesFn = Arc<dyn Fn(&str) -> Vec<(u32, usize)> + Send + Sync>;

/// What the length of a run counts.
#[derive(Clone)]
pub enum RunUnit {
    /// Bytes.
    Bytes,
    /// Tokens.
    Tokens(TokenPlacesFn),
}

impl RunUnit {
    /// The name used in plans.
    pub fn name(&self) -> &'static str {
        match self {
            RunUnit::Bytes => "bytes",
            RunUnit::Tokens(_) => "tokens",
        }
    }
}

impl fmt::Debug for RunUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stage of repeated runs.
#[derive(Debug, Clone)]
pub struct SubstringConfig {
    /// What the length counts.
    pub unit: RunUnit,
    /// The shortest run that is cut.
    pub min_len: u64,
    /// How often one must stand in the documents that the stages before left; below two means two.
    pub min_count: u64,
    /// Whether the first copy goes as well.
    pub strike_all: bool,
    /// Where cuts may begin and end.
    pub snap: Snap,
    /// Documents that are shortened to fewer bytes, white space at the ends not counted, go as a whole. Those of
    /// nothing but white space always do.
    pub min_left_bytes: u64,
    /// Whether what is left is searched again, until nothing repeats.
    pub until_clean: bool,
}

/// Where to look, and how.
pub(crate) struct SubstringSearch<'a> {
    pub(crate) corpus: &'a Corpus,
    /// The most preferred document first; a document's rank is its position.
    pub(crate) ranking: &'a [DocId],
    pub(crate) roles: Roles,
    pub(crate) config: &'a SubstringConfig,
    pub(crate) resources: &'a Resources,
}

/// Finds repeated runs among the documents that earlier stages left.
///
/// A document of which too little would remain is removed, unless it is kept for another one: then all its text stays,
/// because what others went for must be there. Then what stood first in the removed one stays in the next.
pub(crate) fn repeated_runs(
    search: &SubstringSearch<'_>,
    earlier: &Earlier<'_>,
    progress: &dyn Progress,
) -> Result<Shortened> {
    let mut all = round(search, earlier, &[], progress)?;
    // A run that is gone on with makes these rounds anew.
    let scratch = Scratch::unnamed(search.resources.scratch.folder());
    let resources = Resources { memory: search.resources.memory, scratch, signatures: None };
    let again = SubstringSearch { resources: &resources, ..*search };
    let mut is_clean = !search.config.until_clean;
    while !is_clean {
        let mut removals = [earlier.removals(), &all.removals].concat();
        removals.sort_unstable_by_key(|removal| removal.doc);
        let needed = all.cuts.iter().filter(|_| !search.config.strike_all).map(|cut| cut.kept);
        let earlier = Earlier::new(&removals).with_needed(needed);
        let next = round(&again, &earlier, &all.cuts, progress)?;
        is_clean = next.cuts.is_empty() && next.removals.is_empty();
        rounds::add(&mut all, next, search.config.strike_all);
    }
    if search.config.until_clean {
        all.cuts = rounds::joined(all.cuts);
    }
    Ok(all)
}

/// Finds repeated runs in what earlier rounds left, and counts bytes in that.
fn round(
    search: &SubstringSearch<'_>,
    earlier: &Earlier<'_>,
    cuts: &[Cut],
    progress: &dyn Progress,
) -> Result<Shortened> {
    let spooled = Spooled::of(search, earlier, cuts, progress)?;
    let repeats = search.repeats(&spooled, progress)?;
    let n_repeats = repeats.len() as u64;
    progress.stage("deciding", Some(n_repeats), "repeats");
    let mut fates = Fates::new(search, &spooled);
    for repeats in repeats.chunk_by(|a, b| spooled.rank_of(a.start) == spooled.rank_of(b.start)) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let rank = spooled.rank_of(repeats[0].start);
        if search.roles.may_go(rank as u64) {
            fates.decide(rank, repeats, earlier.is_needed(search.ranking[rank]));
        }
        progress.advance(repeats.len() as u64);
    }
    let (mut removals, mut cuts) = fates.finish();
    removals.sort_unstable_by_key(|removal| removal.doc);
    cuts.sort_unstable_by_key(|cut| (cut.doc, cut.start));
    Ok(Shortened { removals, cuts, n_compared: n_repeats })
}

impl SubstringSearch<'_> {
    fn repeats(&self, spooled: &Spooled<'_>, progress: &dyn Progress) -> Result<Vec<Repeat>> {
        let copies = match (self.config.strike_all, self.roles.only_references) {
            (true, _) => Copies::All,
            (false, false) => Copies::ButTheFirst(u64::MAX),
            (false, true) => Copies::ButTheFirst(spooled.start_of(self.roles.n_references as usize)),
        };
        let min_len = usize::try_from(self.config.min_len).unwrap_or(usize::MAX);
        let wanted = Wanted { min_len, min_count: self.config.min_count, copies };
        let room = self.resources.room();
        Ok(match self.config.unit {
            RunUnit::Bytes => repeats::<1>(spooled.texts(), wanted, room, progress)?,
            RunUnit::Tokens(_) => repeats::<4>(spooled.texts(), wanted, room, progress)?,
        })
    }
}

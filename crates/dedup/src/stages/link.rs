//! `link`: brings the documents together that share the hash of a text or the key of a band.
//!
//! A unit has a range of the numbers that hashes and keys are, so that all documents of one come to it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use verbatim_store::{Progress, Room, Seal, SealedWriter, Sorter};

use crate::apply::create_folder;
use crate::buckets::{Places, for_each_shared};
use crate::error::{Error, Result};
use crate::stages::records::{self, Records};
use crate::stages::sign::Signed;
use crate::stages::{StageJob, StageName, Stages, UnitDone, is_input_order};
use crate::star::Candidates;

/// What a unit wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Link {
    /// Keys that more than one document has, with each of these by rank.
    pub(super) keys: Seal,
    /// For each such document the unit of `verify` that it goes to, its rank, and the place of the key's bucket.
    pub(super) members: Seal,
    /// The table of buckets: at its place how many documents a bucket names, then these by rank, the first that share the
    /// key.
    pub(super) heads: Seal,
    /// For each document whose text has the hash of another's of a better rank: the unit of `verify` that it goes to, its
    /// rank, and the best of these.
    pub(super) equal: Seal,
}

pub(super) fn run(
    stages: &Stages,
    unit: u64,
    job: &StageJob<'_>,
    progress: &dyn Progress,
) -> Result<UnitDone> {
    let of = stages.source_of(StageName::Link)?;
    if stages.row_of::<Link>(StageName::Link, unit, &of)?.is_some() {
        return Ok(UnitDone::Before);
    }
    progress.stage("linking", None, "keys");
    let folder = stages.folder_of(StageName::Link);
    create_folder(&folder)?;
    let signed = stages.signed()?;
    let postings =
        Postings { stages, signed: &signed, ranks: Ranks::of(stages, &signed, job)?, unit, progress };
    let room = job.resources.room();
    let name = |what: &str| format!("unit-{unit}.{what}");

    let hashes = postings.sorted(|signed| &signed.hashes, &room)?;
    let mut equal: Sorter<3> = room.sorter("equal");
    let mut first = 0;
    for_each_shared(hashes.finish().iter(), |[_, rank], nth| -> Result<()> {
        match nth {
            0 => first = rank,
            _ => equal.extend([[stages.stripe_of(rank), rank, first]]),
        }
        Ok(equal.spill_if_full(room.scratch)?)
    })?;
    let equal = records::write((&folder, &name("equal")), equal.finish().iter())?;

    let sorted = postings.sorted(|signed| &signed.keys, &room)?.finish();
    let mut keys = SealedWriter::replace(&folder, &name("keys"))?;
    let mut heads = Heads { out: SealedWriter::replace(&folder, &name("heads"))?, bucket: Vec::new() };
    let mut members: Sorter<3> = room.sorter("members");
    let mut places = Places::new(Candidates::Likely.most_kept());
    for_each_shared(sorted.iter(), |posting, nth| -> Result<()> {
        let rank = posting[1];
        records::push(&mut keys, posting)?;
        heads.push(rank, nth)?;
        members.extend([[stages.stripe_of(rank), rank, places.of(nth)]]);
        Ok(members.spill_if_full(room.scratch)?)
    })?;
    let link = Link {
        keys: keys.finish()?,
        members: records::write((&folder, &name("members")), members.finish().iter())?,
        heads: heads.finish()?,
        equal,
    };
    stages.note((StageName::Link, unit), of, link)?;
    Ok(UnitDone::Now)
}

/// Writes the table of buckets.
struct Heads {
    out: SealedWriter,
    /// The documents that the bucket under way names.
    bucket: Vec<u64>,
}

impl Heads {
    fn push(&mut self, rank: u64, nth: u64) -> Result<()> {
        if nth == 0 {
            self.end_bucket()?;
        }
        if self.bucket.len() < Candidates::Likely.most_kept() {
            self.bucket.push(rank);
        }
        Ok(())
    }

    fn end_bucket(&mut self) -> Result<()> {
        if !self.bucket.is_empty() {
            self.out.number(self.bucket.len() as u64)?;
            self.bucket.drain(..).try_for_each(|rank| self.out.number(rank))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Seal> {
        self.end_bucket()?;
        Ok(self.out.finish()?)
    }
}

/// The ranks of documents by their numbers.
pub(super) enum Ranks {
    /// The references have the first.
    InInputOrder {
        n_own: u64,
        n_references: u64,
    },
    Listed(Vec<u64>),
}

impl Ranks {
    pub(super) fn of(stages: &Stages, signed: &[Signed], job: &StageJob<'_>) -> Result<Self> {
        if is_input_order(&job.config.keep) {
            let (n_own, n_references) = stages.n_documents(signed);
            return Ok(Ranks::InInputOrder { n_own, n_references });
        }
        let ranking = stages.ranking(signed, job.config)?;
        let mut ranks = vec![0; ranking.len()];
        ranking.iter().zip(0..).for_each(|(doc, rank)| ranks[doc.0 as usize] = rank);
        Ok(Ranks::Listed(ranks))
    }

    /// The rank of a document; `None` where there is no such document.
    fn rank(&self, doc: u64) -> Option<u64> {
        match self {
            &Ranks::InInputOrder { n_own, n_references } => match doc.checked_sub(n_own) {
                None => Some(n_references + doc),
                Some(reference) => (reference < n_references).then_some(reference),
            },
            Ranks::Listed(ranks) => ranks.get(doc as usize).copied(),
        }
    }
}

/// What the units of `sign` noted of the numbers of this unit.
struct Postings<'a> {
    stages: &'a Stages,
    signed: &'a [Signed],
    ranks: Ranks,
    unit: u64,
    progress: &'a dyn Progress,
}

impl Postings<'_> {
    /// The postings of one kind, with ranks.
    fn sorted(&self, kind: impl Fn(&Signed) -> &Seal, room: &Room<'_>) -> Result<Sorter<2>> {
        let folder = self.stages.folder_of(StageName::Sign);
        let mut sorter: Sorter<2> = room.sorter("postings");
        let numbers = numbers(self.unit, self.stages.n_units(StageName::Link));
        let mut first = 0;
        for signed in self.signed {
            let file: Records<2> = Records::open(&folder, kind(signed))?;
            let n_documents = signed.catalog.n_documents();
            for [number, doc] in file.range(file.places(numbers.clone())?)? {
                let rank = self.ranks.rank(first + doc).filter(|_| doc < n_documents);
                let rank = rank.ok_or_else(|| unknown_document(&file))?;
                sorter.extend([[number, rank]]);
                sorter.spill_if_full(room.scratch)?;
            }
            first += n_documents;
            if self.progress.interrupted() {
                return Err(Error::Interrupted);
            }
        }
        Ok(sorter)
    }
}

pub(super) fn unknown_document<const N: usize>(file: &Records<N>) -> Error {
    verbatim_store::Error::damaged(file.path(), "it names a document that there is not").into()
}

/// The numbers of 64 bits that a unit has.
fn numbers(unit: u64, n_units: u64) -> Range<u128> {
    let start = |unit: u64| (u128::from(unit) << 64).div_ceil(u128::from(n_units));
    start(unit)..start(unit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_of_one_unit() {
        for n_units in [1, 2, 3, 7, 4096] {
            assert_eq!((numbers(0, n_units).start, numbers(n_units - 1, n_units).end), (0, 1 << 64));
            assert!((1..n_units).all(|unit| numbers(unit - 1, n_units).end == numbers(unit, n_units).start));
        }
    }
}

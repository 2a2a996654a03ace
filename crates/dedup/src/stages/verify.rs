//! `verify`: compares the texts of the pairs that `cluster` is likely to ask about.
//!
//! `cluster` compares a document with those of its buckets that are kept, those first that share most. Which are kept is
//! not known here, so a document is compared in that order with all of them until one is similar, and, since a copy of many
//! goes for the best of them, in the order of rank as well.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_store::{
    Bytes, Progress, Room, Seal, Sealed, SealedWriter, Sorted, Sorter, write_part, xxh3_128_hex,
};

use crate::apply::create_folder;
use crate::error::{Error, Result};
use crate::exact::NormalizedTexts;
use crate::near::Near;
use crate::roles::Roles;
use crate::sets::{Comparer, Memory, Sets};
use crate::stages::cluster::{self, Asked};
use crate::stages::link::{Link, unknown_document};
use crate::stages::records::{self, Records};
use crate::stages::{StageJob, StageName, Stages, UnitDone};
use crate::star::Candidates;
use crate::verdicts::{Verdict, verdict};

/// The best by rank that a document is compared with, until one is similar.
const MAX_BEST: usize = 8;
/// Documents that are compared in parallel.
const WAVE: usize = 1024;

/// What a unit wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Verified {
    /// Documents by rank, with the best that has an equal text.
    pub(super) equal: Seal,
    /// The pairs that were compared: [`Verdict`]s in order.
    pub(super) verdicts: Seal,
    /// The same of pairs that `cluster` asked for.
    #[serde(skip)]
    pub(super) more: Option<Seal>,
}

/// What a unit wrote about the pairs that `cluster` asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The hash of what was asked.
    of: String,
    verdicts: Seal,
}

pub(super) fn run(
    stages: &Stages,
    unit: u64,
    job: &StageJob<'_>,
    progress: &dyn Progress,
) -> Result<UnitDone> {
    let of = stages.source_of(StageName::Verify)?;
    if stages.row_of::<Verified>(StageName::Verify, unit, &of)?.is_some() {
        return answer(stages, unit, job, progress);
    }
    let folder = stages.folder_of(StageName::Verify);
    create_folder(&folder)?;
    let signed = stages.signed()?;
    let corpus = stages.corpus(&signed, job.reading)?;
    let ranking = stages.ranking(&signed, job.config)?;
    let links: Vec<Link> = stages.rows(StageName::Link)?;
    let room = job.resources.room();
    let linked = OfUnit::read(stages, &links, unit, &room)?;
    let roles = Roles::of(&corpus, job.config);
    let near = Near::of(job.config)?;
    let comparing = Comparing {
        equal: job.config.exact.as_ref().map(|config| NormalizedTexts {
            corpus: &corpus,
            ranking: &ranking,
            config,
        }),
        sets: near.map(|near| Sets::new(near.texts(&corpus, &ranking, roles), &Candidates::Likely, &room)),
        heads: &linked.heads,
        roles,
        n_documents: ranking.len() as u64,
    };
    let verified = comparing.all(&linked, (&folder, unit), progress)?;
    corpus.verify_unchanged()?;
    stages.note((StageName::Verify, unit), of, verified)?;
    Ok(UnitDone::Now)
}

/// Compares the pairs of a unit that `cluster` asked for, if it did and nobody has.
fn answer(stages: &Stages, unit: u64, job: &StageJob<'_>, progress: &dyn Progress) -> Result<UnitDone> {
    if !stages.unfinished(StageName::Verify)?.is_empty() {
        return Ok(UnitDone::Before);
    }
    let Some(asked) = cluster::asked(stages)? else { return Ok(UnitDone::Before) };
    let of = id_of(&asked);
    if answer_of(stages, unit, &of)?.is_some() {
        return Ok(UnitDone::Before);
    }
    let near = Near::of(job.config)?;
    let Some(near) = near else { return Ok(UnitDone::Before) };
    progress.stage("comparing", None, "pairs");
    let signed = stages.signed()?;
    let corpus = stages.corpus(&signed, job.reading)?;
    let ranking = stages.ranking(&signed, job.config)?;
    let room = job.resources.room();
    let roles = Roles::of(&corpus, job.config);
    let sets = Sets::new(near.texts(&corpus, &ranking, roles), &Candidates::Likely, &room);
    let file: Records<3> = Records::open(&stages.folder_of(StageName::Cluster), &asked.pairs)?;
    let mut pairs = file.range(file.places(u128::from(unit)..u128::from(unit) + 1)?)?;
    let folder = stages.folder_of(StageName::Verify);
    let mut verdicts = SealedWriter::replace(&folder, &format!("unit-{unit}.more"))?;
    let n_all = ranking.len() as u64;
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let wave: Vec<[u64; 3]> = pairs.by_ref().take(WAVE).collect();
        if wave.is_empty() {
            break;
        }
        if wave.iter().any(|&[_, copy, kept]| copy.max(kept) >= n_all) {
            return Err(unknown_document(&file));
        }
        let compared: Vec<Verdict> = wave
            .par_iter()
            .map(|&[_, copy, kept]| {
                let [copy_set, kept_set] = [copy, kept].map(|rank| sets.cached(rank));
                verdict(copy, kept, sets.similar((copy, &copy_set), (kept, &kept_set)))
            })
            .collect();
        compared.into_iter().try_for_each(|verdict| records::push(&mut verdicts, verdict))?;
        progress.advance(wave.len() as u64);
    }
    let answer = Answer { of, verdicts: verdicts.finish()? };
    corpus.verify_unchanged()?;
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    write_part(&folder, &answer_name(unit), |out| out.write_all(&text))?;
    Ok(UnitDone::Now)
}

fn answer_name(unit: u64) -> String {
    format!("unit-{unit}.more.json")
}

/// The hash of what was asked.
fn id_of(asked: &Asked) -> String {
    xxh3_128_hex(&serde_json::to_vec(asked).unwrap_or_default())
}

fn answer_of(stages: &Stages, unit: u64, of: &str) -> Result<Option<Answer>> {
    let path = stages.folder_of(StageName::Verify).join(answer_name(unit));
    if !path.is_file() {
        return Ok(None);
    }
    let answer: Option<Answer> = serde_json::from_slice(&Bytes::open(&path)?).ok();
    Ok(answer.filter(|answer| answer.of == of))
}

/// Units that have not answered what `cluster` asked for.
pub(super) fn unanswered(stages: &Stages) -> Result<Vec<u64>> {
    let Some(asked) = cluster::asked(stages)? else { return Ok(Vec::new()) };
    let of = id_of(&asked);
    let mut missing = Vec::new();
    for unit in 0..stages.n_units(StageName::Verify) {
        if answer_of(stages, unit, &of)?.is_none() {
            missing.push(unit);
        }
    }
    Ok(missing)
}

/// The verdicts on the pairs that `cluster` asked for, by unit; `None` if it has not asked.
///
/// # Errors
/// [`Error::StageMissing`] if not all units have answered.
pub(super) fn answers(stages: &Stages) -> Result<Option<Vec<Seal>>> {
    let Some(asked) = cluster::asked(stages)? else { return Ok(None) };
    let missing = unanswered(stages)?;
    if !missing.is_empty() {
        return Err(stages.is_missing(StageName::Verify, missing));
    }
    let of = id_of(&asked);
    let units = 0..stages.n_units(StageName::Verify);
    let answers: Result<Vec<Option<Answer>>> = units.map(|unit| answer_of(stages, unit, &of)).collect();
    Ok(Some(answers?.into_iter().flatten().map(|answer| answer.verdicts).collect()))
}

/// What `link` wrote about the documents of one unit.
struct OfUnit {
    /// Documents by rank, with the unit of `link` and the place of each bucket.
    members: Sorted<3>,
    /// Documents by rank, with the best whose text has the same hash.
    equal: Sorted<2>,
    /// The tables of buckets.
    heads: Vec<Sealed>,
}

impl OfUnit {
    fn read(stages: &Stages, links: &[Link], unit: u64, room: &Room<'_>) -> Result<Self> {
        let folder = stages.folder_of(StageName::Link);
        let of_unit: Range<u128> = u128::from(unit)..u128::from(unit) + 1;
        let (mut members, mut equal): (Sorter<3>, Sorter<2>) = (room.sorter("members"), room.sorter("equal"));
        let mut heads = Vec::new();
        for (link, from) in links.iter().zip(0..) {
            let file: Records<3> = Records::open(&folder, &link.members)?;
            members.extend(
                file.range(file.places(of_unit.clone())?)?.map(|[_, rank, place]| [rank, from, place]),
            );
            members.spill_if_full(room.scratch)?;
            let file: Records<3> = Records::open(&folder, &link.equal)?;
            equal.extend(file.range(file.places(of_unit.clone())?)?.map(|[_, rank, first]| [rank, first]));
            equal.spill_if_full(room.scratch)?;
            heads.push(Sealed::open(&folder, &link.heads)?);
        }
        Ok(OfUnit { members: members.finish(), equal: equal.finish(), heads })
    }

    /// The documents by rank.
    fn documents(&self) -> impl Iterator<Item = Document> {
        let mut members = self.members.iter().peekable();
        let mut equal = self.equal.iter().peekable();
        std::iter::from_fn(move || {
            let ranks =
                members.peek().map(|member| member[0]).into_iter().chain(equal.peek().map(|pair| pair[0]));
            let mut document = Document { rank: ranks.min()?, buckets: Vec::new(), equal: None };
            while let Some([_, from, place]) = members.next_if(|member| member[0] == document.rank) {
                document.buckets.push((from, place));
            }
            document.equal = equal.next_if(|pair| pair[0] == document.rank).map(|[_, first]| first);
            Some(document)
        })
    }
}

/// A document with what it shares with others.
struct Document {
    rank: u64,
    /// The unit of `link` and the place of each bucket.
    buckets: Vec<(u64, u64)>,
    /// The best whose text has the same hash.
    equal: Option<u64>,
}

/// What is found of a document.
struct Found {
    equal: Option<u64>,
    verdicts: Vec<Verdict>,
}

struct Comparing<'a> {
    equal: Option<NormalizedTexts<'a>>,
    sets: Option<Sets<'a>>,
    heads: &'a [Sealed],
    roles: Roles,
    n_documents: u64,
}

impl Comparing<'_> {
    fn all(
        &self,
        linked: &OfUnit,
        (folder, unit): (&Path, u64),
        progress: &dyn Progress,
    ) -> Result<Verified> {
        progress.stage("comparing", None, "documents");
        let mut equal = SealedWriter::replace(folder, &format!("unit-{unit}.equal"))?;
        let mut verdicts = SealedWriter::replace(folder, &format!("unit-{unit}.verdicts"))?;
        let mut documents = linked.documents();
        loop {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let wave: Vec<Document> = documents.by_ref().take(WAVE).collect();
            if wave.is_empty() {
                break;
            }
            let found: Vec<Result<Found>> = wave
                .par_iter()
                .map_init(Memory::default, |memory, document| self.one(document, memory))
                .collect();
            for (document, found) in wave.iter().zip(found) {
                let found = found?;
                found
                    .equal
                    .into_iter()
                    .try_for_each(|first| records::push(&mut equal, [document.rank, first]))?;
                found.verdicts.into_iter().try_for_each(|verdict| records::push(&mut verdicts, verdict))?;
            }
            progress.advance(wave.len() as u64);
        }
        Ok(Verified { equal: equal.finish()?, verdicts: verdicts.finish()?, more: None })
    }

    fn one(&self, document: &Document, memory: &mut Memory) -> Result<Found> {
        let &Document { rank, ref buckets, equal } = document;
        let mut found = Found { equal: None, verdicts: Vec::new() };
        let first = equal.filter(|&first| first < rank && rank < self.n_documents);
        if let (Some(texts), Some(first)) = (&self.equal, first) {
            found.equal = texts.are_equal(first, rank).then_some(first);
            if found.equal.is_some() && self.roles.may_stay(first) && self.roles.may_go(rank) {
                // It goes for that one, and is compared with no other.
                return Ok(found);
            }
        }
        if let Some(sets) = self.sets.as_ref().filter(|_| self.roles.may_go(rank)) {
            let others = self.others(rank, buckets)?;
            found.verdicts = likely(sets, rank, &others, memory);
        }
        Ok(found)
    }

    /// The documents of better ranks in some buckets, each as often as it shares one, ascending.
    fn others(&self, rank: u64, buckets: &[(u64, u64)]) -> Result<Vec<u64>> {
        let mut others = Vec::new();
        for &(from, place) in buckets {
            let heads = &self.heads[from as usize];
            let first = (place as usize).saturating_add(1);
            let n = heads.number(place as usize)? as usize;
            let named = heads.numbers(first..first.saturating_add(n))?;
            others
                .extend(named.take_while(|&other| other < rank).filter(|&other| self.roles.may_stay(other)));
        }
        others.sort_unstable();
        Ok(others)
    }
}

/// Compares a document with others, each of which is there as often as it shares a bucket with it, ascending.
///
/// The kernel of the stage: it depends on nothing but the texts.
fn likely<C: Comparer>(comparer: &C, rank: u64, others: &[u64], memory: &mut Memory) -> Vec<Verdict> {
    if others.is_empty() {
        return Vec::new();
    }
    let content = comparer.content(rank, memory);
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut is_similar = |other: u64| {
        if let Some(known) = verdicts.iter().find(|verdict| verdict[1] == other) {
            return known[2] > 0;
        }
        let similarity = comparer.similar((rank, &content), (other, &comparer.cached(other)));
        verdicts.push(verdict(rank, other, similarity));
        similarity.is_some()
    };
    let (by_shared, _) = Candidates::Likely.choose(others, (rank, 0));
    let by_rank = others.chunk_by(|a, b| a == b).map(|run| run[0]);
    for order in [by_shared, by_rank.take(MAX_BEST).collect()] {
        // Those after the first that is similar need no look.
        let _ = order.into_iter().find(|&other| is_similar(other));
    }
    verdicts.sort_unstable();
    verdicts
}

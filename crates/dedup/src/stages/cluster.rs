//! `cluster`: decides what goes, by the rule of a search in one process, with what the stages before it found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Bytes, Progress, Seal, write_part};
use xxhash_rust::xxh3::xxh3_64;

use crate::apply::create_folder;
use crate::error::{Error, Result};
use crate::exact::{HashedTexts, NormalizedTexts};
use crate::finder::Finder;
use crate::stages::link::{Link, unknown_document};
use crate::stages::records::{self, Records};
use crate::stages::sign::Signed;
use crate::stages::verify::{self, Verified};
use crate::stages::{ClusterOutcome, Clustered, Linked, StageJob, StageName, Stages};

/// What the stage wrote beside the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Decided {
    /// For each document 1 if it stays, else 0.
    pub(super) stays: Seal,
    n_compared_late: u64,
}

/// The pairs that the stage asked for: for each the unit of `verify` that it goes to, then the pair.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The hash of what `verify` had found by then.
    pub(super) of: String,
    pub(super) pairs: Seal,
}

const ASKED: &str = "asked.json";

/// What was asked for after the first round of `verify`, if something was.
pub(super) fn asked(stages: &Stages) -> Result<Option<Asked>> {
    let path = stages.folder_of(StageName::Cluster).join(ASKED);
    if !path.is_file() {
        return Ok(None);
    }
    let of = stages.source_of(StageName::Cluster)?;
    let asked: Option<Asked> = serde_json::from_slice(&Bytes::open(&path)?).ok();
    Ok(asked.filter(|asked| asked.of == of))
}

fn ask(stages: &Stages, open: &[[u64; 2]]) -> Result<()> {
    let folder = stages.folder_of(StageName::Cluster);
    create_folder(&folder)?;
    let of = stages.source_of(StageName::Cluster)?;
    let mut pairs: Vec<[u64; 3]> =
        open.iter().map(|&[copy, kept]| [stages.stripe_of(copy), copy, kept]).collect();
    pairs.sort_unstable();
    let asked = Asked { of, pairs: records::write((&folder, "asked"), pairs.into_iter())? };
    let text = serde_json::to_vec(&asked).unwrap_or_default();
    write_part(&folder, ASKED, |out| out.write_all(&text))?;
    Ok(())
}

pub(super) fn run(stages: &Stages, job: &StageJob<'_>, progress: &dyn Progress) -> Result<ClusterOutcome> {
    let signed = stages.signed()?;
    let mut verified: Vec<Verified> = stages.rows(StageName::Verify)?;
    let answers = verify::answers(stages)?;
    let may_ask = answers.is_none();
    verified.iter_mut().zip(answers.into_iter().flatten()).for_each(|(unit, more)| unit.more = Some(more));
    let links: Vec<Link> = stages.rows(StageName::Link)?;
    let corpus = stages.corpus(&signed, job.reading)?;
    let ranking = stages.ranking(&signed, job.config)?;
    let linked =
        Linked { may_ask, ..linked(stages, &signed, (&links, &verified), (&corpus, &ranking, job))? };
    let finder = Finder {
        corpus: &corpus,
        config: job.config,
        hash: xxh3_64,
        resources: job.resources,
        linked: Some(&linked),
    };
    let plan = match finder.plan(progress) {
        Err(Error::OpenPairs(n)) => {
            ask(stages, &linked.open.lock().unwrap_or_else(PoisonError::into_inner))?;
            return Ok(ClusterOutcome::Open(n));
        }
        plan => plan?,
    };
    corpus.verify_unchanged()?;
    let n_compared_late = linked.n_compared_late.load(Ordering::Relaxed);
    Ok(ClusterOutcome::Decided(Box::new((corpus, Clustered { plan, n_compared_late }))))
}

pub(super) fn keep(stages: &Stages, clustered: &Clustered) -> Result<()> {
    let of = stages.source_of(StageName::Cluster)?;
    let folder = stages.folder_of(StageName::Cluster);
    create_folder(&folder)?;
    clustered.plan.save(&stages.decided())?;
    let stays = clustered.plan.keep_mask();
    let stays = records::write((&folder, "stays"), stays.iter().map(|&stays| [u64::from(stays)]))?;
    let decided = Decided { stays, n_compared_late: clustered.n_compared_late };
    stages.note((StageName::Cluster, 0), of, decided)
}

/// Reads what the stages found.
fn linked(
    stages: &Stages,
    signed: &[Signed],
    (links, verified): (&[Link], &[Verified]),
    (corpus, ranking, job): (&Corpus, &[DocId], &StageJob<'_>),
) -> Result<Linked> {
    let n_all = ranking.len() as u64;
    let mut keys = Vec::new();
    let mut blank = Vec::new();
    let mut first = 0;
    for signed in &signed[..stages.plan.n_own] {
        let file: Records<1> = Records::open_whole(&stages.folder_of(StageName::Sign), &signed.blank)?;
        blank.extend(file.iter().map(|[doc]| DocId(first + doc)));
        first += signed.catalog.n_documents();
    }
    let n_hashed: u64 = signed[..stages.plan.n_own].iter().map(|signed| signed.n_hashed).sum();
    let has_key = job.config.exact.as_ref().is_some_and(|exact| exact.key.is_some());
    for link in links {
        let file: Records<2> = Records::open_whole(&stages.folder_of(StageName::Link), &link.keys)?;
        if file.iter().any(|[_, rank]| rank >= n_all) {
            return Err(unknown_document(&file));
        }
        keys.push(file);
    }
    let mut verdicts = Vec::new();
    for seal in verified.iter().flat_map(|verified| [&verified.verdicts].into_iter().chain(&verified.more)) {
        verdicts.push(Records::open_whole(&stages.folder_of(StageName::Verify), seal)?);
    }
    Ok(Linked {
        blank,
        groups: groups(stages, (links, verified), (corpus, ranking, job))?,
        n_hashed: if has_key { n_hashed } else { corpus.n_documents() },
        keys,
        verdicts,
        may_ask: false,
        open: Mutex::default(),
        n_compared_late: AtomicU64::new(0),
    })
}

/// The groups of equal texts. Where a hash has texts that are not equal, which takes a forger, they are compared here.
fn groups(
    stages: &Stages,
    (links, verified): (&[Link], &[Verified]),
    (corpus, ranking, job): (&Corpus, &[DocId], &StageJob<'_>),
) -> Result<Vec<Vec<u64>>> {
    let Some(config) = &job.config.exact else { return Ok(Vec::new()) };
    let n_all = ranking.len() as u64;
    let mut candidates: Vec<[u64; 2]> = Vec::new();
    for link in links {
        let file: Records<3> = Records::open_whole(&stages.folder_of(StageName::Link), &link.equal)?;
        if file.iter().any(|[_, rank, first]| rank >= n_all || first >= rank) {
            return Err(unknown_document(&file));
        }
        candidates.extend(file.iter().map(|[_, rank, first]| [first, rank]));
    }
    let mut confirmed: Vec<[u64; 2]> = Vec::new();
    for verified in verified {
        let file: Records<2> = Records::open_whole(&stages.folder_of(StageName::Verify), &verified.equal)?;
        confirmed.extend(file.iter().map(|[rank, first]| [first, rank]));
    }
    candidates.sort_unstable();
    confirmed.sort_unstable();
    let texts = NormalizedTexts { corpus, ranking, config };
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for run in candidates.chunk_by(|a, b| a[0] == b[0]) {
        let all: Vec<u64> = std::iter::once(run[0][0]).chain(run.iter().map(|pair| pair[1])).collect();
        if run.iter().all(|pair| confirmed.binary_search(pair).is_ok()) {
            groups.push(all);
        } else {
            let run: Vec<[u64; 2]> = all.iter().map(|&rank| [0, rank]).collect();
            let equal = texts.equal_groups(&run).into_iter().filter(|group| group.len() > 1);
            groups.extend(equal.map(|group| group.iter().map(|record| record[1]).collect()));
        }
    }
    groups.sort_unstable();
    Ok(groups)
}

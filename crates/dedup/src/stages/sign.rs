//! `sign`: scans some files, and notes of each text its hash and the keys of its bands.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_corpus::{Catalog, DocId};
use verbatim_store::{Progress, Seal, Sorted};
use xxhash_rust::xxh3::xxh3_64;

use crate::apply::create_folder;
use crate::error::Result;
use crate::minhash::Permutations;
use crate::roles;
use crate::signs::{Sign, Signing};
use crate::stages::records::{self, Records};
use crate::stages::{StageJob, StageName, Stages, UnitDone, is_input_order};

/// What a unit noted. Documents in its files are numbered from 0 in the unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Signed {
    pub(super) catalog: Catalog,
    /// Documents that have what the exact stage compares.
    pub(super) n_hashed: u64,
    /// Hashes of texts with documents; keys of bands with documents; documents without text.
    pub(super) hashes: Seal,
    pub(super) keys: Seal,
    pub(super) blank: Seal,
}

pub(super) fn run(
    stages: &Stages,
    unit: u64,
    job: &StageJob<'_>,
    progress: &dyn Progress,
) -> Result<UnitDone> {
    let of = stages.source_of(StageName::Sign)?;
    let done = match stages.row_of::<Signed>(StageName::Sign, unit, &of)? {
        Some(_) => UnitDone::Before,
        None => {
            let signed = sign(stages, unit, job, progress)?;
            stages.note((StageName::Sign, unit), of, signed)?;
            UnitDone::Now
        }
    };
    if !is_input_order(&job.config.keep) && stages.unfinished(StageName::Sign)?.is_empty() {
        write_order(stages, job)?;
    }
    Ok(done)
}

fn sign(stages: &Stages, unit: u64, job: &StageJob<'_>, progress: &dyn Progress) -> Result<Signed> {
    let folder = stages.folder_of(StageName::Sign);
    create_folder(&folder)?;
    let files = stages.plan.files[unit as usize].clone();
    let (corpus, catalog) = Catalog::scan((&stages.plan.listing, files), job.reading, &folder, progress)?;
    let documents: Vec<DocId> = corpus.ids().collect();
    let minhash = job.config.minhash.as_ref();
    let permutations = match minhash {
        Some(minhash) => Some((&minhash.shingler, Permutations::new(minhash.resolve()?.1, minhash.seed))),
        None => None,
    };
    let signing = Signing {
        step: "signing",
        exact: job.config.exact.as_ref().map(|exact| (exact, xxh3_64 as _)),
        near: permutations.as_ref().map(|(shingler, permutations)| (*shingler, permutations as &dyn Sign)),
        gone: &[],
        known: None,
        in_parts: false,
    };
    let mut signs = signing.of(&corpus, &documents, &job.resources.room(), progress)?;
    let blank: Vec<DocId> = documents.into_par_iter().filter(|&doc| corpus.is_blank(doc)).collect();
    let hashes: Sorted<2> = signs.take_hashes();
    let keys = signs.keys.finish();
    let name = |what: &str| format!("unit-{unit}.{what}");
    let signed = Signed {
        catalog,
        n_hashed: hashes.len() as u64,
        hashes: records::write((&folder, &name("hashes")), hashes.iter())?,
        keys: records::write((&folder, &name("keys")), keys.iter())?,
        blank: records::write((&folder, &name("blank")), blank.iter().map(|doc| [doc.0]))?,
    };
    corpus.verify_unchanged()?;
    Ok(signed)
}

/// What the order of preference was made from, and its file.
const ORDER: &str = "order.json";

/// Writes the order of preference once all documents are known: whoever signs last does it.
fn write_order(stages: &Stages, job: &StageJob<'_>) -> Result<()> {
    let folder = stages.folder_of(StageName::Sign);
    let of = stages.source_of(StageName::Link)?;
    if read_order(stages)?.is_some_and(|order| order.of == of) {
        return Ok(());
    }
    let signed = stages.signed()?;
    let corpus = stages.corpus(&signed, job.reading)?;
    let ranking = roles::ranking(&corpus, job.config)?;
    let seal = records::write((&folder, "order.records"), ranking.iter().map(|doc| [doc.0]))?;
    corpus.verify_unchanged()?;
    let order = Order { of, seal };
    let text = serde_json::to_vec(&order).unwrap_or_default();
    verbatim_store::write_part(&folder, ORDER, |out| out.write_all(&text))?;
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    of: String,
    seal: Seal,
}

fn read_order(stages: &Stages) -> Result<Option<Order>> {
    let path = stages.folder_of(StageName::Sign).join(ORDER);
    if !path.is_file() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&verbatim_store::Bytes::open(&path)?).ok())
}

/// The order of preference that the last unit wrote.
pub(super) fn order(stages: &Stages, n_documents: u64) -> Result<Vec<DocId>> {
    let of = stages.source_of(StageName::Link)?;
    let order = read_order(stages)?.filter(|order| order.of == of);
    let Some(order) = order else {
        return Err(
            stages.is_missing(StageName::Sign, vec![stages.n_units(StageName::Sign).saturating_sub(1)])
        );
    };
    let records: Records<1> = Records::open_whole(&stages.folder_of(StageName::Sign), &order.seal)?;
    let ranking: Vec<DocId> = records.iter().map(|[doc]| DocId(doc)).collect();
    let are_all = ranking.len() as u64 == n_documents && ranking.iter().all(|doc| doc.0 < n_documents);
    match are_all {
        true => Ok(ranking),
        false => {
            Err(verbatim_store::Error::damaged(records.path(), "it is not the order of the documents").into())
        }
    }
}

impl Stages {
    /// What all units noted.
    pub(super) fn signed(&self) -> Result<Vec<Signed>> {
        self.rows(StageName::Sign)
    }
}

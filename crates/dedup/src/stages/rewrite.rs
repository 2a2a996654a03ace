//! `rewrite`: writes the files that stay, unit by unit; at the end they become one output.

use std::fs;
use std::path::{Path, PathBuf};

use verbatim_corpus::{Catalog, Corpus, MaxBad, OpenConfig, write_survivors};
use verbatim_store::{Access, Existing, Progress, StagedDir};

use crate::apply::{Count, Tally, create_folder};
use crate::emit::{Emission, emit_beside};
use crate::error::Result;
use crate::plan::Plan;
use crate::stages::cluster::Decided;
use crate::stages::records::Records;
use crate::stages::{Rewritten, StageJob, StageName, Stages, UnitDone};

pub(super) fn run(
    stages: &Stages,
    unit: u64,
    job: &StageJob<'_>,
    progress: &dyn Progress,
) -> Result<UnitDone> {
    let of = stages.source_of(StageName::Rewrite)?;
    if stages.row_of::<Rewritten>(StageName::Rewrite, unit, &of)?.is_some() {
        return Ok(UnitDone::Before);
    }
    let folder = stages.folder_of(StageName::Rewrite);
    create_folder(&folder)?;
    let signed = stages.signed()?;
    let first: u64 = signed[..unit as usize].iter().map(|signed| signed.catalog.n_documents()).sum();
    let catalog: &Catalog = &signed[unit as usize].catalog;
    // How many bad records are too many was asked of all files together.
    let reading =
        OpenConfig { max_bad: MaxBad::Records(u64::MAX), require_documents: false, ..job.reading.clone() };
    let catalogs = std::slice::from_ref(catalog);
    let corpus =
        Corpus::reopen(&stages.plan.listing, (catalogs, &stages.folder_of(StageName::Sign)), &reading)?;
    let decided: Vec<Decided> = stages.rows(StageName::Cluster)?;
    let mut keep = Vec::new();
    for decided in &decided {
        let file: Records<1> = Records::open(&stages.folder_of(StageName::Cluster), &decided.stays)?;
        let documents = first as usize..(first + corpus.n_documents()) as usize;
        keep.extend(file.range(documents)?.map(|[stays]| stays != 0));
    }
    let staged = StagedDir::create(&out_of(stages, unit), Access::Private, Existing::Replace)?;
    let written = write_survivors(&corpus, &keep, staged.path(), progress)?;
    staged.commit()?;
    let kept = Count { documents: written.n_documents, bytes: written.n_bytes };
    stages.note((StageName::Rewrite, unit), of, Rewritten { kept })?;
    Ok(UnitDone::Now)
}

fn out_of(stages: &Stages, unit: u64) -> PathBuf {
    stages.folder_of(StageName::Rewrite).join(format!("unit-{unit}"))
}

/// What an output holds, for the report.
#[derive(Debug)]
pub struct Committed {
    /// The corpus.
    pub corpus: Corpus,
    /// What was decided.
    pub plan: Plan,
    /// The account.
    pub tally: Tally,
}

pub(super) fn commit(
    stages: &Stages,
    job: &StageJob<'_>,
    (emission, out_dir): (&Emission, &Path),
    progress: &dyn Progress,
) -> Result<Committed> {
    let rewritten: Vec<Rewritten> = stages.rows(StageName::Rewrite)?;
    let signed = stages.signed()?;
    let catalogs: Vec<Catalog> = signed.into_iter().map(|signed| signed.catalog).collect();
    let folder = stages.folder_of(StageName::Sign);
    let corpus = Corpus::reopen_with_ids(&stages.plan.listing, (&catalogs, &folder), job.reading)?;
    let plan = Plan::load(&stages.decided())?;
    plan.check_corpus(&corpus)?;
    let mut kept = Count::default();
    for (unit, rewritten) in (0..).zip(&rewritten) {
        let written = out_of(stages, unit);
        // Object stores have no empty folders.
        if rewritten.kept.documents > 0 || written.exists() {
            link_tree(&written, out_dir)?;
        }
        kept += rewritten.kept;
    }
    let tally = emit_beside((&corpus, &plan), emission, (out_dir, kept), progress)?;
    corpus.verify_unchanged()?;
    Ok(Committed { corpus, plan, tally })
}

/// Gives all files below a folder a second name below another one; copies them where that is on another file system.
fn link_tree(from: &Path, to: &Path) -> Result<()> {
    let failed = |path: &Path, doing, error| verbatim_store::Error::io(path, doing, error);
    create_folder(to)?;
    for entry in fs::read_dir(from).map_err(|error| failed(from, "list", error))? {
        let entry = entry.map_err(|error| failed(from, "list", error))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(|error| failed(&path, "read", error))?.is_dir() {
            link_tree(&path, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).map_err(|error| failed(&target, "write", error))?;
            let file = fs::File::open(&target).and_then(|file| file.sync_all());
            file.map_err(|error| failed(&target, "flush to disk", error))?;
        }
    }
    Ok(())
}

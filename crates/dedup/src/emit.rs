//! What a run leaves in its output folder: the clean corpus, lists of ids, attributes beside the documents, clusters.
//!
//! Like [`crate::apply()`] this file decides nothing; it tells in several conventions what a plan decided.

mod attributes;
mod clusters;
mod copies;
mod ids;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, FieldValues, NewFields, Selection, Stretch, write_survivors};
use verbatim_store::Progress;

use crate::apply::{Count, RUN_FOLDER, Tally, account, create_folder, planned, write_lists};
use crate::error::{Error, Result};
use crate::plan::Plan;

pub use copies::{Alpha, Copies};
pub use ids::write_kept_ids;

/// Documents whose lines are made before they are written.
const BATCH_DOCUMENTS: usize = 1 << 16;

/// What an output folder holds beside `_verbatim/` with its plan and its lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Emission {
    /// The documents that stay, in the layout of the input.
    pub filtered: bool,
    /// `ids/kept.txt` and `ids/removed.txt`, one id a line.
    pub ids: bool,
    /// `attributes/NAME/…`: a row for each record, in files that lie as the input's.
    pub attributes: Option<String>,
    /// `clusters/documents.jsonl`: a row for each document that has a copy.
    pub clusters: bool,
    /// Every document stays, and those that have copies weigh less.
    pub weights: Option<Alpha>,
    /// A field for the size of a document's cluster, in the records that are written.
    pub count_field: Option<String>,
    /// A field for the id of the kept document of a document's cluster, in the records that are written.
    pub cluster_field: Option<String>,
    /// A field for a document's weight, in the records that are written.
    pub weight_field: Option<String>,
}

impl Emission {
    /// The clean corpus and nothing else.
    pub fn filtered() -> Self {
        Emission { filtered: true, ..Emission::default() }
    }

    /// Which documents are written.
    pub fn keep_mask(&self, plan: &Plan) -> Vec<bool> {
        match self.weights {
            Some(_) => vec![true; plan.n_documents() as usize],
            None => plan.keep_mask(),
        }
    }

    /// What is cut out of them.
    pub fn cuts(&self, plan: &Plan) -> Vec<Stretch> {
        match self.weights {
            Some(_) => Vec::new(),
            None => plan.stretches(),
        }
    }

    /// The fields that records get when they are written.
    ///
    /// # Errors
    /// Those of [`NewFields::new`].
    pub fn fields<'a>(&self, corpus: &'a Corpus, copies: &'a Copies<'_>) -> Result<NewFields<'a>> {
        let mut fields: Vec<(String, FieldValues<'a>)> = Vec::new();
        if let Some(name) = &self.count_field {
            fields.push((name.clone(), Box::new(|doc| copies.cluster(doc).size.into())));
        }
        if let Some(name) = &self.cluster_field {
            fields.push((name.clone(), Box::new(|doc| corpus.label(copies.cluster(doc).kept).into())));
        }
        if let (Some(name), Some(alpha)) = (&self.weight_field, self.weights) {
            fields.push((name.clone(), Box::new(move |doc| alpha.weight(copies.cluster(doc).size).into())));
        }
        Ok(NewFields::new(corpus, fields)?)
    }
}

/// Writes what was asked for into a folder that is being staged.
///
/// `_verbatim/` always holds `plan.json`, `removed.jsonl`, `clusters.jsonl` and `rejects.jsonl`, and `cuts.jsonl` where
/// documents may be cut. The rest stands at the top of the folder; where the clean corpus stands there, it stands in `_verbatim/`, so that nobody who reads the
/// corpus takes a list for a part of it. Only the clean corpus holds text of documents.
///
/// The account is the plan's, whether its documents were removed, listed or given weights.
///
/// # Errors
/// As [`crate::apply()`]; and names of fields that records have already, and ids that cannot stand on a line.
pub fn emit(
    corpus: &Corpus,
    plan: &Plan,
    emission: &Emission,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<Tally> {
    plan.check_corpus(corpus)?;
    let copies = Copies::new(plan);
    let tally = match emission.filtered {
        true => write_corpus((corpus, &copies), emission, out_dir, progress)?,
        false => planned(corpus, plan)?,
    };
    write_beside((corpus, &copies), emission, out_dir, progress)?;
    corpus.verify_unchanged()?;
    Ok(tally)
}

/// Writes what [`emit`] would beside a clean corpus that others have written, of which this was kept.
pub(crate) fn emit_beside(
    (corpus, plan): (&Corpus, &Plan),
    emission: &Emission,
    (out_dir, kept): (&Path, Count),
    progress: &dyn Progress,
) -> Result<Tally> {
    let tally = account(corpus, plan, kept)?;
    write_beside((corpus, &Copies::new(plan)), emission, out_dir, progress)?;
    Ok(tally)
}

/// Writes the lists of the run, and what was asked for beside the corpus.
fn write_beside(
    (corpus, copies): (&Corpus, &Copies<'_>),
    emission: &Emission,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let run = out_dir.join(RUN_FOLDER);
    write_lists(corpus, copies.plan(), &run)?;
    let beside = if emission.filtered { run } else { out_dir.to_owned() };
    if emission.ids {
        ids::write(corpus, copies.plan(), &folder(&beside, "ids")?)?;
    }
    if let Some(name) = &emission.attributes {
        let folder = folder(&beside, "attributes")?.join(name);
        attributes::write((corpus, copies), (name, emission.weights), &folder, progress)?;
    }
    if emission.clusters {
        clusters::write((corpus, copies), emission.weights, &folder(&beside, "clusters")?)?;
    }
    Ok(())
}

/// Writes the documents that stay, or with weights all of them.
fn write_corpus(
    (corpus, copies): (&Corpus, &Copies<'_>),
    emission: &Emission,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<Tally> {
    let keep = emission.keep_mask(copies.plan());
    let fields = emission.fields(corpus, copies)?;
    let cuts = emission.cuts(copies.plan());
    let selection = Selection { keep: &keep, cuts: &cuts, fields: Some(&fields) };
    let written = write_survivors(corpus, selection, out_dir, progress)?;
    let written = Count { documents: written.n_documents, bytes: written.n_bytes };
    if emission.weights.is_none() {
        return account(corpus, copies.plan(), written);
    }
    let tally = planned(corpus, copies.plan())?;
    let all = Count { documents: corpus.n_documents(), bytes: corpus.record_bytes() };
    if written == all {
        Ok(tally)
    } else {
        Err(Error::Unbalanced(Box::new(Tally { kept: written, ..tally })))
    }
}

fn folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let folder = parent.join(name);
    create_folder(&folder)?;
    Ok(folder)
}

/// Makes a line of each document in parallel, and hands the lines on in order.
fn for_each_line(
    docs: &mut dyn Iterator<Item = DocId>,
    line: impl Fn(DocId) -> Result<String> + Sync,
    mut write: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    loop {
        let batch: Vec<DocId> = docs.take(BATCH_DOCUMENTS).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let lines: Vec<Result<String>> = batch.par_iter().map(|&doc| line(doc)).collect();
        lines.into_iter().try_for_each(|line| write(&line?))?;
    }
}

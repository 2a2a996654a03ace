//! Carries a plan out, with its account and its lists. It decides nothing.

use std::io::Write;
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId, write_survivors};
use verbatim_store::{Access, Progress, Silent, create_file};

use crate::contamination::Contamination;
use crate::cut::{self, CutCount};
use crate::emit::{Emission, emit};
use crate::error::{Error, Result};
use crate::plan::{Plan, Removal};

/// The folder beside the survivors for what a run tells about itself; readers of corpora skip it.
pub(crate) const RUN_FOLDER: &str = "_verbatim";

/// Documents and the bytes of their records, line ends not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Documents, or records that cannot be used.
    pub documents: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.documents += other.documents;
        self.bytes += other.bytes;
    }
}

/// The account of a run: read = kept + removed + rejected in documents, and the same with what was cut in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What the corpus holds.
    pub read: Count,
    /// What was written.
    pub kept: Count,
    /// What the plan cut out of documents that it kept.
    pub cut: CutCount,
    /// What the plan took out.
    pub removed: Count,
    /// What could not be used.
    pub rejected: Count,
}

impl Tally {
    pub(crate) fn balances(&self) -> bool {
        let mut sum = self.kept;
        sum += self.removed;
        sum += self.rejected;
        sum.bytes += self.cut.bytes;
        sum == self.read
    }
}

/// Writes the documents that stay, and the lists of those that go, into a folder that is being staged.
///
/// Beside the survivors, which have the layout and the bytes of the input, `_verbatim/` holds `removed.jsonl`,
/// `clusters.jsonl`, `rejects.jsonl` and `plan.json`, and `cuts.jsonl` where documents may be cut. None of them holds
/// text of a document.
///
/// # Errors
/// [`Error::OtherCorpus`] if the plan was made for another corpus, [`Error::Unbalanced`] if documents or bytes are
/// missing; then the caller must not commit the folder.
pub fn apply(corpus: &Corpus, plan: &Plan, out_dir: &Path, progress: &dyn Progress) -> Result<Tally> {
    emit(corpus, plan, &Emission::filtered(), out_dir, progress)
}

/// Writes what [`apply`] would, but for the survivors; the account is that of the run that was not made.
///
/// # Errors
/// As [`apply`].
pub fn write_plan(corpus: &Corpus, plan: &Plan, out_dir: &Path) -> Result<Tally> {
    emit(corpus, plan, &Emission::default(), out_dir, &Silent)
}

/// The account of a plan that is not carried out.
pub(crate) fn planned(corpus: &Corpus, plan: &Plan) -> Result<Tally> {
    let mut kept = Count::default();
    for (doc, _) in corpus.ids().zip(plan.keep_mask()).filter(|&(_, stays)| stays) {
        kept += record_count(corpus, doc);
    }
    kept.bytes -= CutCount::of(corpus, plan.cuts())?.bytes;
    account(corpus, plan, kept)
}

/// Writes the documents that hold no evaluation item into a folder that is being staged, each byte for byte as it was.
///
/// Beside them `_verbatim/` holds `removed.jsonl`, which names the items for which each document went, and
/// `rejects.jsonl`. There is no plan and no kept document: what is removed here has no copy that stays.
///
/// # Errors
/// As [`apply`].
pub fn remove_contaminated(
    [train, eval]: [&Corpus; 2],
    found: &Contamination,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<Tally> {
    let documents = found.documents();
    let mut keep = vec![true; train.n_documents() as usize];
    documents.iter().for_each(|document| keep[document.0 as usize] = false);
    let written = write_survivors(train, &keep, out_dir, progress)?;
    let kept = Count { documents: written.n_documents, bytes: written.n_bytes };
    let tally = balance(train, documents.into_iter(), CutCount::default(), kept)?;
    let folder = out_dir.join(RUN_FOLDER);
    create_folder(&folder)?;
    let removed = found.matches.chunk_by(|a, b| a.document == b.document).map(|matches| {
        let document = matches[0].document;
        let place = train.location(document);
        let mut items: Vec<DocId> = matches.iter().map(|one| found.parts[one.part].item).collect();
        items.dedup();
        let items: Vec<String> = items.into_iter().map(|item| eval.label(item)).collect();
        json!({
            "id": train.label(document), "stage": "contamination", "path": place.path, "line": place.line,
            "items": items,
        })
    });
    write_lines(&folder.join("removed.jsonl"), removed)?;
    write_rejects(train, &folder)?;
    train.verify_unchanged()?;
    Ok(tally)
}

pub(crate) fn record_count(corpus: &Corpus, doc: DocId) -> Count {
    Count { documents: 1, bytes: corpus.record(doc).len() as u64 }
}

/// The account of a plan and of what was kept, if it balances.
pub(crate) fn account(corpus: &Corpus, plan: &Plan, kept: Count) -> Result<Tally> {
    let cut = CutCount::of(corpus, plan.cuts())?;
    balance(corpus, plan.removals().iter().map(|removal| removal.doc), cut, kept)
}

/// The account of what was removed, cut and kept, if it balances.
fn balance(
    corpus: &Corpus,
    removed: impl Iterator<Item = DocId>,
    cut: CutCount,
    kept: Count,
) -> Result<Tally> {
    let read = Count { documents: corpus.n_documents(), bytes: corpus.record_bytes() };
    let mut tally = Tally { read, kept, cut, ..Tally::default() };
    for document in removed {
        tally.removed += record_count(corpus, document);
    }
    for reject in corpus.rejects() {
        let count = Count { documents: 1, bytes: reject.n_bytes };
        tally.rejected += count;
        tally.read += count;
    }
    match tally.balances() {
        true => Ok(tally),
        false => Err(Error::Unbalanced(Box::new(tally))),
    }
}

pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| verbatim_store::Error::io(folder, "create the folder", error).into())
}

pub(crate) fn write_lists(corpus: &Corpus, plan: &Plan, folder: &Path) -> Result<()> {
    create_folder(folder)?;
    let removed = plan.removals().iter().map(|&Removal { doc, kept, stage, similarity }| {
        let (place, kept_place) = (corpus.location(doc), corpus.location(kept));
        let mut line = json!({
            "id": corpus.label(doc), "kept": corpus.label(kept), "stage": stage, "similarity": similarity,
            "path": place.path, "line": place.line, "kept_path": kept_place.path, "kept_line": kept_place.line,
        });
        if kept == doc {
            ["kept", "kept_path", "kept_line"].iter().for_each(|field| line[field] = Value::Null);
        }
        line
    });
    write_lines(&folder.join("removed.jsonl"), removed)?;
    if plan.parameters().cuts() {
        write_lines(&folder.join("cuts.jsonl"), cut::listed(corpus, plan.cuts()))?;
    }
    let clusters = plan.clusters().into_iter().map(|cluster| {
        let removed: Vec<String> = cluster.removed.iter().map(|&doc| corpus.label(doc)).collect();
        json!({ "kept": corpus.label(cluster.kept), "n_documents": removed.len() + 1, "removed": removed })
    });
    write_lines(&folder.join("clusters.jsonl"), clusters)?;
    write_rejects(corpus, folder)?;
    plan.save(&folder.join("plan.json"))
}

fn write_rejects(corpus: &Corpus, folder: &Path) -> Result<()> {
    let rejects = corpus.rejects().iter().map(|reject| {
        let place = &reject.location;
        json!({
            "path": place.path, "line": place.line, "byte": place.byte,
            "cause": reject.cause.to_string(), "n_bytes": reject.n_bytes,
        })
    });
    write_lines(&folder.join("rejects.jsonl"), rejects)
}

fn write_lines(path: &Path, lines: impl Iterator<Item = serde_json::Value>) -> Result<()> {
    let mut file = create_file(path, Access::Shared)?;
    for line in lines {
        writeln!(file, "{line}").map_err(|error| verbatim_store::Error::io(path, "write", error))?;
    }
    Ok(file.finish()?)
}

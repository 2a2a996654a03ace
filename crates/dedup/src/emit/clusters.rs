//! Every document of every cluster, one a line.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Access, create_file};

use crate::emit::{Alpha, Copies, for_each_line};
use crate::error::Result;

/// Writes `documents.jsonl`: cluster by cluster in input order of the kept documents, which come first, each document
/// with its id, the cluster's number (that of the kept document in the input), id and size, whether it is kept, and
/// else which stage removed it with which similarity to the kept one. Documents without copies are left out.
pub(super) fn write(
    (corpus, copies): (&Corpus, &Copies<'_>),
    weights: Option<Alpha>,
    folder: &Path,
) -> Result<()> {
    let path = folder.join("documents.jsonl");
    let mut file = create_file(&path, Access::Shared)?;
    let clusters = copies.plan().clusters();
    let mut docs = clusters
        .iter()
        .flat_map(|cluster| std::iter::once(cluster.kept).chain(cluster.removed.iter().copied()));
    let line = |doc: DocId| {
        let (cluster, place) = (copies.cluster(doc), corpus.location(doc));
        let mut row = json!({
            "id": corpus.label(doc), "cluster": cluster.kept, "cluster_id": corpus.label(cluster.kept),
            "cluster_size": cluster.size, "kept": cluster.removal.is_none(),
            "stage": cluster.removal.map(|removal| removal.stage),
            "similarity": cluster.removal.map(|removal| removal.similarity),
            "path": place.path, "line": place.line,
        });
        if let Some(alpha) = weights {
            row["weight"] = alpha.weight(cluster.size).into();
        }
        Ok(row.to_string())
    };
    for_each_line(&mut docs, line, |line| {
        writeln!(file, "{line}").map_err(|error| verbatim_store::Error::io(&path, "write", error).into())
    })?;
    Ok(file.finish()?)
}

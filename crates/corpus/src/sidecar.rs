//! Rows about documents, in files that lie as the documents' own files do: one row for each record, in order.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;
use verbatim_store::{Access, Progress, create_file};

use crate::corpus::Corpus;
use crate::document::{DocId, printable, size};
use crate::error::{Error, Result};
use crate::formats::encode::encode;
use crate::formats::{Container, Format};
use crate::reject::{Cause, Reject};
use crate::shard::Shard;

/// Rows that are made before they are written.
const BATCH_ROWS: usize = 4096;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A document.
    Document(DocId),
    /// A record that could not be used; it has a row so that the rows after it stay beside their records.
    Rejected,
}

/// Writes one line of JSON for each record into a folder.
///
/// A file of JSON lines has its rows in a file of the same relative path and compression; other files in one whose
/// name has `.jsonl` added. Blank lines are no records and have no row.
///
/// # Errors
/// What the disk refuses, and a wish to stop.
pub fn write_rows(
    corpus: &Corpus,
    folder: &Path,
    row: &(dyn Fn(Row) -> Value + Sync),
    progress: &dyn Progress,
) -> Result<()> {
    progress.stage("writing rows", Some(corpus.n_documents()), "documents");
    let shards: Vec<(u64, &Shard)> = corpus.shards().collect();
    let written: Vec<Result<()>> = shards
        .par_iter()
        .map(|&(first, shard)| {
            let (name, container) = name_of(shard);
            let path = folder.join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)
                    .map_err(|source| verbatim_store::Error::Create { path: folder.to_owned(), source })?;
            }
            let mut output = create_file(&path, Access::Shared)?;
            let rows = rows(shard, first, corpus.rejects());
            encode(container, &mut output, |sink| copy((&rows, row), &path, sink, progress))?;
            Ok(output.finish()?)
        })
        .collect();
    written.into_iter().collect()
}

fn name_of(shard: &Shard) -> (PathBuf, Container) {
    if shard.format == Format::Jsonl {
        return (shard.name.clone(), shard.container);
    }
    let mut name = shard.name.clone().into_os_string();
    name.push(".jsonl");
    (name.into(), Container::Plain)
}

/// The rows of a shard in the order of its records.
fn rows(shard: &Shard, first: u64, rejects: &[Reject]) -> Vec<Row> {
    let path = printable(&shard.path);
    let is_record = |reject: &&Reject| {
        // A stream that breaks between two records leaves no record behind.
        reject.location.path == path
            && (reject.n_bytes > 0 || !matches!(reject.cause, Cause::DamagedStream(_)))
    };
    let mut rejected = rejects.iter().filter(is_record).map(|reject| reject.location.line).peekable();
    let mut rows = Vec::with_capacity(shard.spans.len());
    for local in 0..size(shard.spans.len()) {
        let line = shard.span(local).line;
        while rejected.next_if(|&before| before < line).is_some() {
            rows.push(Row::Rejected);
        }
        rows.push(Row::Document(DocId(first + local)));
    }
    rows.extend(rejected.map(|_| Row::Rejected));
    rows
}

fn copy(
    (rows, row): (&[Row], &(dyn Fn(Row) -> Value + Sync)),
    path: &Path,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    for batch in rows.chunks(BATCH_ROWS) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let lines: Vec<String> = batch.par_iter().map(|&about| row(about).to_string()).collect();
        for line in lines {
            writeln!(sink, "{line}").map_err(|error| verbatim_store::Error::io(path, "write", error))?;
        }
        progress.advance(size(batch.len()));
    }
    Ok(())
}

//! Survivors back to disk: byte for byte, in the format, names and folders of the input.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use verbatim_store::{Access, Progress, create_file};

use crate::corpus::Corpus;
use crate::document::{DocId, index, size};
use crate::error::{Error, Result};
use crate::formats::{Container, Format, arrow_rewrite, parquet_rewrite};
use crate::schema::TextUnit;
use crate::shard::Shard;

/// Documents between two looks at the wish to stop.
const BATCH_DOCUMENTS: usize = 4096;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Documents.
    pub n_documents: u64,
    /// Bytes of their records, without line ends.
    pub n_bytes: u64,
}

/// Writes the documents that `keep` marks (by [`DocId`]) into a folder, which is best a
/// [`verbatim_store::StagedDir`]: each shard under its name, in its format and compression.
///
/// A shard without survivors becomes an empty file of its kind, except that a text file that is one
/// document is not written. Blank lines are not documents and are left out.
///
/// # Errors
/// What the disk refuses, and inputs that changed since they were opened.
///
/// # Panics
/// When `keep` does not have one entry for each document.
pub fn write_survivors(
    corpus: &Corpus,
    keep: &[bool],
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<Written> {
    assert_eq!(size(keep.len()), corpus.n_documents(), "one entry for each document");
    progress.stage("writing", Some(corpus.n_documents()), "documents");
    let shards: Vec<(u64, &Shard)> = corpus.shards().collect();
    let written: Vec<Result<()>> = shards
        .par_iter()
        .map(|&(first, shard)| {
            let keep = &keep[index(first)..][..shard.spans.len()];
            write_shard(shard, keep, out_dir, progress)
        })
        .collect();
    written.into_iter().collect::<Result<()>>()?;
    corpus.verify_unchanged()?;
    Ok(count(corpus, keep))
}

/// Writes the documents that `keep` marks as JSON lines to a stream. Records that are JSON are copied,
/// others become `{"id": …, "text": …}`.
///
/// # Errors
/// What the stream refuses, and inputs that changed since they were opened.
///
/// # Panics
/// When `keep` does not have one entry for each document.
pub fn write_survivors_to(corpus: &Corpus, keep: &[bool], sink: &mut dyn Write) -> Result<Written> {
    assert_eq!(size(keep.len()), corpus.n_documents(), "one entry for each document");
    let failed = |e| Error::Store(verbatim_store::Error::io(Path::new("standard output"), "write", e));
    for local in kept(keep) {
        write_json_line(corpus, DocId(size(local)), sink).map_err(failed)?;
    }
    sink.flush().map_err(failed)?;
    corpus.verify_unchanged()?;
    Ok(count(corpus, keep))
}

/// Writes one document as a line of JSON: its record as it stands where that is JSON, `{"id": …, "text": …}` otherwise.
///
/// # Errors
/// What the stream refuses.
pub fn write_json_line(corpus: &Corpus, id: DocId, sink: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        text: &'a str,
    }
    if corpus.shard_of(id).0.format == Format::Jsonl {
        sink.write_all(corpus.record(id))?;
    } else {
        let line = Line { id: &corpus.label(id), text: &corpus.text_str(id) };
        serde_json::to_writer(&mut *sink, &line)?;
    }
    sink.write_all(b"\n")
}

fn count(corpus: &Corpus, keep: &[bool]) -> Written {
    let mut written = Written::default();
    for local in kept(keep) {
        written.n_documents += 1;
        written.n_bytes += size(corpus.record(DocId(size(local))).len());
    }
    written
}

fn kept(keep: &[bool]) -> impl Iterator<Item = usize> {
    keep.iter().enumerate().filter(|(_, keep)| **keep).map(|(i, _)| i)
}

fn write_shard(shard: &Shard, keep: &[bool], out_dir: &Path, progress: &dyn Progress) -> Result<()> {
    let is_one_document = shard.format == Format::Text(TextUnit::File);
    if is_one_document && kept(keep).next().is_none() {
        return Ok(());
    }
    let path = out_dir.join(&shard.name);
    if let Some(folder) = path.parent() {
        let created = fs::create_dir_all(folder);
        created.map_err(|source| verbatim_store::Error::Create { path: folder.to_path_buf(), source })?;
    }
    let mut output = create_file(&path, Access::Shared)?;
    if shard.format.has_columns() {
        let rows = kept_rows(shard, keep);
        match shard.format {
            Format::Arrow => arrow_rewrite::rewrite(&shard.file, &shard.path, &rows, &mut output)?,
            _ => parquet_rewrite::rewrite(&shard.file, &shard.path, &rows, &mut output)?,
        }
        progress.advance(size(keep.len()));
        return Ok(output.finish()?);
    }
    let failed = |e| Error::Store(verbatim_store::Error::io(&path, "write", e));
    let survivors = Survivors { shard, keep, progress };
    match shard.container {
        Container::Plain => survivors.copy(&mut output, failed)?,
        Container::Gzip => {
            // The header has no time and no name, so equal records give equal files.
            let mut encoder = flate2::write::GzEncoder::new(&mut output, flate2::Compression::default());
            survivors.copy(&mut encoder, failed)?;
            encoder.finish().map_err(failed)?;
        }
        Container::Zstd => {
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            let mut encoder = zstd::stream::write::Encoder::new(&mut output, level).map_err(failed)?;
            encoder.include_checksum(true).map_err(failed)?;
            survivors.copy(&mut encoder, failed)?;
            encoder.finish().map_err(failed)?;
        }
    }
    Ok(output.finish()?)
}

/// Which rows of a file of columns are kept; rows without a document are not.
fn kept_rows(shard: &Shard, keep: &[bool]) -> Vec<bool> {
    let mut rows = vec![false; index(shard.n_lines)];
    for local in kept(keep) {
        rows[shard.row_of(size(local))] = true;
    }
    rows
}

/// The records of one shard that are kept.
struct Survivors<'a> {
    shard: &'a Shard,
    keep: &'a [bool],
    progress: &'a dyn Progress,
}

impl Survivors<'_> {
    /// Copies records with the line ends that they have; a last line without one gets one.
    fn copy(&self, sink: &mut impl Write, failed: impl Fn(io::Error) -> Error) -> Result<()> {
        let content = self.shard.content();
        for (batch, keep) in self.keep.chunks(BATCH_DOCUMENTS).enumerate() {
            if self.progress.interrupted() {
                return Err(Error::Interrupted);
            }
            for local in kept(keep) {
                let span = self.shard.spans.get(batch * BATCH_DOCUMENTS + local);
                sink.write_all(span.record(content)).map_err(&failed)?;
                let after = &content[index(span.offset) + span.len as usize..];
                let line_end: &[u8] = match self.shard.format {
                    Format::Text(TextUnit::File) => b"",
                    _ if after.starts_with(b"\r\n") => b"\r\n",
                    _ => b"\n",
                };
                sink.write_all(line_end).map_err(&failed)?;
            }
            self.progress.advance(size(keep.len()));
        }
        Ok(())
    }
}

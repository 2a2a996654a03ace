//! Survivors back to disk: byte for byte, in the format, names and folders of the input.

use std::fs;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use verbatim_store::{Access, Progress, create_file};

use crate::corpus::Corpus;
use crate::cut::Selection;
use crate::document::{DocId, index, size};
use crate::error::{Error, Result};
use crate::formats::encode::encode;
use crate::formats::parquet_rewrite::{self, Rows};
use crate::formats::{Format, arrow_rewrite};
use crate::schema::TextUnit;
use crate::shard::Shard;

/// Documents between two looks at the wish to stop.
const BATCH_DOCUMENTS: usize = 4096;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Documents.
    pub n_documents: u64,
    /// Bytes of what is left of their records, without line ends.
    pub n_bytes: u64,
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Written) {
        self.n_documents += other.n_documents;
        self.n_bytes += other.n_bytes;
    }
}

/// Writes a selection of a corpus into a folder, which is best a [`verbatim_store::StagedDir`]: each shard under its
/// name, in its format and compression.
///
/// What is not cut is copied byte for byte: in JSON the cut stretches go from the string that holds the text, escapes
/// and all, and nothing is serialised anew. A shard without survivors becomes an empty file of its kind, except that
/// a text file that is one document is not written. Blank lines are not documents and are left out.
///
/// # Errors
/// What the disk refuses, inputs that changed since they were opened, and cuts that do not fall between characters of
/// the text.
///
/// # Panics
/// When `keep` does not have one entry for each document, or cuts overlap or lie in a document that goes.
pub fn write_survivors<'a>(
    corpus: &Corpus,
    selection: impl Into<Selection<'a>>,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<Written> {
    let selection = selection.into();
    selection.assert_fits(corpus);
    progress.stage("writing", Some(corpus.n_documents()), "documents");
    let shards: Vec<(u64, &Shard)> = corpus.shards().collect();
    let written: Vec<Result<Written>> = shards
        .par_iter()
        .map(|&(first, shard)| {
            let keep = &selection.keep[index(first)..][..shard.spans.len()];
            write_shard(&Survivors { shard, first, keep, selection }, out_dir, progress)
        })
        .collect();
    let mut total = Written::default();
    for shard in written {
        total += shard?;
    }
    corpus.verify_unchanged()?;
    Ok(total)
}

/// Writes a selection of a corpus as JSON lines to a stream. Records that are JSON are copied but for what is cut,
/// others become `{"id": …, "text": …}`.
///
/// # Errors
/// What the stream refuses, inputs that changed since they were opened, and cuts as in [`write_survivors`].
///
/// # Panics
/// As [`write_survivors`].
pub fn write_survivors_to<'a>(
    corpus: &Corpus,
    selection: impl Into<Selection<'a>>,
    sink: &mut dyn Write,
) -> Result<Written> {
    let selection = selection.into();
    selection.assert_fits(corpus);
    let failed = |e| Error::Store(verbatim_store::Error::io(Path::new("standard output"), "write", e));
    let mut written = Written::default();
    for local in kept(selection.keep) {
        let id = DocId(size(local));
        let pieces = corpus.pieces(id, selection.cuts_of(id))?;
        write_json(corpus, id, (&selection, &pieces), sink).map_err(failed)?;
        written += counted(&pieces);
    }
    sink.flush().map_err(failed)?;
    corpus.verify_unchanged()?;
    Ok(written)
}

/// Writes one document as a line of JSON: its record as it stands where that is JSON, `{"id": …, "text": …}` otherwise.
///
/// # Errors
/// What the stream refuses.
pub fn write_json_line(corpus: &Corpus, id: DocId, sink: &mut dyn Write) -> io::Result<()> {
    let nothing = Selection { keep: &[], cuts: &[], fields: None };
    write_json(corpus, id, (&nothing, &[corpus.record(id)]), sink)
}

/// As [`write_json_line`], of what is left of a record.
fn write_json(
    corpus: &Corpus,
    id: DocId,
    (selection, pieces): (&Selection<'_>, &[&[u8]]),
    sink: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        text: &'a str,
    }
    if corpus.shard_of(id).0.format == Format::Jsonl {
        selection.write(id, pieces, sink)?;
    } else {
        let text = pieces.concat();
        let line = Line { id: &corpus.label(id), text: &String::from_utf8_lossy(&text) };
        serde_json::to_writer(&mut *sink, &line)?;
    }
    sink.write_all(b"\n")
}

/// One document of which these pieces are left.
fn counted(pieces: &[&[u8]]) -> Written {
    Written { n_documents: 1, n_bytes: pieces.iter().map(|piece| size(piece.len())).sum() }
}

fn kept(keep: &[bool]) -> impl Iterator<Item = usize> {
    keep.iter().enumerate().filter(|(_, keep)| **keep).map(|(i, _)| i)
}

fn write_shard(survivors: &Survivors<'_>, out_dir: &Path, progress: &dyn Progress) -> Result<Written> {
    let Survivors { shard, keep, .. } = *survivors;
    let is_one_document = shard.format == Format::Text(TextUnit::File);
    if is_one_document && kept(keep).next().is_none() {
        return Ok(Written::default());
    }
    let path = out_dir.join(&shard.name);
    if let Some(folder) = path.parent() {
        let created = fs::create_dir_all(folder);
        created.map_err(|source| verbatim_store::Error::Create { path: folder.to_path_buf(), source })?;
    }
    let mut output = create_file(&path, Access::Shared)?;
    if shard.format.has_columns() {
        let (rows, written) = survivors.rows()?;
        match shard.format {
            Format::Arrow => arrow_rewrite::rewrite((&shard.file, &shard.path), &rows, &mut output)?,
            _ => parquet_rewrite::rewrite((&shard.file, &shard.path), &rows, &mut output)?,
        }
        progress.advance(size(keep.len()));
        output.finish()?;
        return Ok(written);
    }
    let mut written = Written::default();
    encode(shard.container, &mut output, |sink| {
        written = survivors.copy(sink, &path, progress)?;
        Ok(())
    })?;
    output.finish()?;
    Ok(written)
}

/// What is written of one shard.
struct Survivors<'a> {
    shard: &'a Shard,
    /// The shard's first document.
    first: u64,
    /// The shard's part of the selection's.
    keep: &'a [bool],
    selection: Selection<'a>,
}

impl Survivors<'_> {
    /// Copies records with the line ends that they have; a last line without one gets one.
    fn copy(&self, sink: &mut dyn Write, path: &Path, progress: &dyn Progress) -> Result<Written> {
        let failed = |e| Error::Store(verbatim_store::Error::io(path, "write", e));
        let mut written = Written::default();
        for (batch, keep) in self.keep.chunks(BATCH_DOCUMENTS).enumerate() {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            for local in kept(keep).map(|i| batch * BATCH_DOCUMENTS + i) {
                let pieces = self.pieces(local)?;
                let id = DocId(self.first + size(local));
                self.selection.write(id, &pieces, sink).map_err(failed)?;
                written += counted(&pieces);
                sink.write_all(self.shard.line_end(size(local))).map_err(failed)?;
            }
            progress.advance(size(keep.len()));
        }
        Ok(written)
    }

    fn pieces(&self, local: usize) -> Result<Vec<&[u8]>> {
        let local = size(local);
        self.shard.pieces(local, self.selection.cuts_of(DocId(self.first + local)))
    }

    /// Which rows of a file of columns are kept, and the texts that differ; rows without a document are not kept.
    fn rows(&self) -> Result<(Rows<'_>, Written)> {
        let mut keep = vec![false; index(self.shard.n_lines)];
        let mut texts = Vec::new();
        let mut written = Written::default();
        for local in kept(self.keep) {
            let row = self.shard.row_of(size(local));
            keep[row] = true;
            let pieces = self.pieces(local)?;
            written += counted(&pieces);
            if pieces.len() > 1 {
                texts.push((row, pieces));
            }
        }
        Ok((Rows { keep, texts, text_field: &self.shard.text_field }, written))
    }
}

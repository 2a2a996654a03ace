//! One input file: its bytes, mapped or decompressed, and the records found in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::current_num_threads;
use rayon::prelude::*;
use serde_json::Value;
use verbatim_store::{Bytes, Progress, Silent};

use crate::document::{index, printable, size};
use crate::error::{Error, Result};
use crate::formats::{
    Container, Format, Named, Promise, UTF8_BOM, arrow, compressed, container_of, damaged, format_of, jsonl,
    parquet, promise, text,
};
use crate::ids::ShardIds;
use crate::records::{Records, Rules, Scan};
use crate::reject::Reject;
use crate::remote::Object;
use crate::schema::{FieldPath, OnBad, OpenConfig, TextUnit};
use crate::source::{Content, Source};
use crate::spans::{Span, Spans};

/// Stretches of a file that are scanned at the same time; any size gives the same result.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks for each thread between two looks at errors and at the wish to stop. What they hold is in memory together:
/// for the shortest of records, some times their bytes.
const CHUNKS_A_THREAD: usize = 8;

/// One input file.
#[derive(Debug)]
pub(crate) struct Shard {
    /// The path relative to the output folder.
    pub(crate) name: PathBuf,
    /// The path as it was opened.
    pub(crate) path: PathBuf,
    pub(crate) container: Container,
    pub(crate) format: Format,
    pub(crate) text_field: FieldPath,
    pub(crate) file: Arc<Bytes>,
    /// What `file` is a download of.
    pub(crate) object: Option<Object>,
    /// The decompressed bytes, or the texts of a file of columns one after the other.
    pub(crate) decoded: Option<Bytes>,
    /// Columns of a file of columns other than the text, by row, read when first asked for.
    pub(crate) columns: Mutex<BTreeMap<FieldPath, Arc<Vec<Option<Value>>>>>,
    pub(crate) spans: Spans,
    /// Lines, or rows of a file of columns, with and without a document.
    pub(crate) n_lines: u64,
    pub(crate) n_text_bytes: u64,
    pub(crate) n_record_bytes: u64,
    /// xxh3-128 over the hashes of the records, in order.
    pub(crate) digest: u128,
}

/// What a person should hear of a shard.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) ids: ShardIds,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) warnings: Vec<String>,
}

impl Shard {
    /// Maps or decompresses a file and finds its records.
    ///
    /// # Errors
    /// What makes the file as a whole unusable; bad records are in the notes.
    pub(crate) fn open(
        source: Source,
        config: &OpenConfig,
        progress: &dyn Progress,
    ) -> Result<(Shard, Notes)> {
        let Source { path, name, content, .. } = source;
        let (file, object) = bytes_of(content, &path, config, progress)?;
        let file = Arc::new(file);
        let mut notes = Notes::default();
        let container = container_of(&file);
        let (mut decoded, mut damage) = (None, None);
        if container != Container::Plain {
            let result = compressed::decode((container, &file), &path, config, progress)?;
            notes.warnings.extend(result.warnings);
            (decoded, damage) = (Some(result.content), result.damage);
        }
        let content: &[u8] = decoded.as_deref().unwrap_or(&file);
        let content_len = content.len();
        let format = format_of(content, &name, config.text_unit)?;
        notes.compare_with_name(&path, (container, format), promise(&name));

        let rules = Rules::new(&path, config);
        // The compressed bytes were counted while they were decompressed.
        let progress: &dyn Progress = if container == Container::Plain { progress } else { &Silent };
        let mut records = match format {
            Format::Parquet | Format::Arrow if container != Container::Plain => {
                return Err(damaged(
                    &path,
                    "a file of columns, but compressed as a whole; decompress it first",
                ));
            }
            Format::Parquet | Format::Arrow => {
                let (texts, records) = match format {
                    Format::Arrow => arrow::decode(&file, &path, config, progress)?,
                    _ => parquet::decode(&file, &path, config, progress)?,
                };
                decoded = Some(texts);
                records
            }
            Format::Jsonl | Format::Text(_) => {
                let start = notes.check_encoding(content, format, &rules.path);
                scan_content(content, start, (format, &rules, config.on_bad), progress)?
            }
        };
        if let Some(cause) = damage {
            records.end_damaged(&rules.path, cause, content_len);
        }
        (notes.rejects, notes.ids) = (records.rejects, records.ids);
        let shard = Shard {
            name,
            path,
            container,
            format,
            text_field: config.text_field.clone(),
            file,
            object,
            decoded,
            columns: Mutex::default(),
            spans: records.spans.finish()?,
            n_lines: records.n_lines,
            n_text_bytes: records.n_text_bytes,
            n_record_bytes: records.n_record_bytes,
            digest: records.digest.digest128(),
        };
        Ok((shard, notes))
    }

    /// A field of one document's record.
    pub(crate) fn field(&self, document: u64, path: &FieldPath) -> Option<Value> {
        match self.format {
            Format::Jsonl => {
                let span = self.span(document);
                jsonl::field(span.record(self.content()), span.text_range(), path)
            }
            Format::Text(_) => None,
            Format::Parquet | Format::Arrow => {
                self.column(path).get(self.row_of(document)).cloned().flatten()
            }
        }
    }

    /// Checks that the input is still what was opened.
    pub(crate) fn verify_unchanged(&self) -> Result<()> {
        self.file.verify_unchanged()?;
        self.object.as_ref().map_or(Ok(()), Object::verify_unchanged)
    }

    /// The row of a file of columns that a document is, from 0.
    pub(crate) fn row_of(&self, document: u64) -> usize {
        index(self.span(document).line - 1)
    }

    /// What stands, or has to, behind the record of a document: the line end that it has, `\n` for a last line without one.
    pub(crate) fn line_end(&self, local: u64) -> &'static [u8] {
        let span = self.span(local);
        let after = &self.content()[index(span.offset) + span.len as usize..];
        match self.format {
            Format::Text(TextUnit::File) => b"",
            _ if after.starts_with(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }

    pub(crate) fn span(&self, document: u64) -> Span {
        self.spans.get(index(document))
    }

    fn column(&self, path: &FieldPath) -> Arc<Vec<Option<Value>>> {
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            Arc::new(match self.format {
                Format::Arrow => arrow::values(&self.file, &self.path, path),
                _ => parquet::values(&self.file, &self.path, path),
            })
        };
        Arc::clone(columns.entry(path.clone()).or_insert_with(read))
    }

    /// The bytes that spans point into.
    pub(crate) fn content(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or(&self.file)
    }
}

/// The bytes of an input, with the object that they are a download of, if they are.
fn bytes_of(
    content: Content,
    path: &Path,
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Result<(Bytes, Option<Object>)> {
    Ok(match content {
        Content::Spooled(bytes) => (bytes, None),
        Content::Object(object) => (object.download(&config.scratch, progress)?, Some(object)),
        Content::File if config.map_files => (Bytes::open(path)?, None),
        Content::File => (Bytes::read(path)?, None),
    })
}

impl Notes {
    /// Notes where a file is not what its name promises.
    fn compare_with_name(&mut self, path: &Path, (container, format): (Container, Format), name: Promise) {
        let found = match (container, format) {
            (_, Format::Parquet) if name.format != Some(Named::Parquet) => "as parquet",
            (_, Format::Arrow) if name.format != Some(Named::Arrow) => "as Arrow",
            (Container::Plain, _) if name.container != container => "as it is, not compressed",
            (Container::Gzip, _) if name.container != container => "as gzip",
            (Container::Zstd, _) if name.container != container => "as zstd",
            _ => return,
        };
        self.warnings.push(format!("{}: read {found}, whatever its name says", printable(path)));
    }

    /// Notes a byte order mark and text that is not UTF-8; gives the first byte after the mark.
    fn check_encoding(&mut self, content: &[u8], format: Format, path: &str) -> usize {
        if matches!(format, Format::Text(_)) && std::str::from_utf8(content).is_err() {
            self.warnings.push(format!("{path}: not UTF-8, read as bytes"));
        }
        if !content.starts_with(UTF8_BOM) {
            return 0;
        }
        self.warnings.push(format!("{path}: byte order mark left out"));
        UTF8_BOM.len()
    }
}

/// Scans lines in parallel, chunk by chunk, and joins the results in order.
fn scan_content(
    content: &[u8],
    start: usize,
    (format, rules, on_bad): (Format, &Rules, OnBad),
    progress: &dyn Progress,
) -> Result<Records> {
    let mut records = Records::new(rules);
    let scan_chunk = match format {
        Format::Text(TextUnit::File) => {
            records.append(text::scan_file(content, start..content.len(), rules))?;
            return Ok(records);
        }
        Format::Text(TextUnit::Line) => text::scan_lines,
        Format::Jsonl | Format::Parquet | Format::Arrow => jsonl::scan,
    };
    let mut chunks = chunks(content, start);
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let wave: Vec<Range<usize>> = chunks.by_ref().take(CHUNKS_A_THREAD * current_num_threads()).collect();
        if wave.is_empty() || (on_bad == OnBad::Error && !records.rejects.is_empty()) {
            return Ok(records);
        }
        let parts: Vec<Scan> = wave
            .into_par_iter()
            .map(|range| {
                let n_bytes = size(range.len());
                let part = scan_chunk(content, range, rules);
                progress.advance(n_bytes);
                part
            })
            .collect();
        parts.into_iter().try_for_each(|part| records.append(part))?;
    }
}

/// Cuts at line ends, about every `CHUNK_BYTES`. Each byte is looked at once at most, however long
/// the lines are.
fn chunks(content: &[u8], start: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = start;
    std::iter::from_fn(move || {
        let start = at;
        let mark = content.len().min(start + CHUNK_BYTES);
        at = memchr::memchr(b'\n', &content[mark..]).map_or(content.len(), |i| mark + i + 1);
        (start < content.len()).then_some(start..at)
    })
}

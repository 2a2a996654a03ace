//! One input file: its bytes, mapped or decompressed, and the records found in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde_json::Value;
use verbatim_store::{Bytes, Progress, Silent};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::document::{Lines, Location, Span, index, printable, size};
use crate::error::{Error, Result};
use crate::formats::{
    Container, Format, Named, Promise, UTF8_BOM, compressed, container_of, damaged, format_of, jsonl,
    parquet, promise, text,
};
use crate::reject::{Cause, Reject};
use crate::schema::{FieldPath, OnBad, OpenConfig, TextUnit};
use crate::source::Source;

/// Stretches of a file that are scanned at the same time; any size gives the same result.
const CHUNK_BYTES: usize = 4 << 20;
/// Chunks between two looks at errors and at the wish to stop.
const CHUNKS_IN_A_WAVE: usize = 64;

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
    /// The decompressed bytes, or the texts of a parquet file one after the other.
    decoded: Option<Bytes>,
    /// Columns of a parquet file other than the text, by row, read when first asked for.
    columns: Mutex<BTreeMap<FieldPath, Arc<Vec<Option<Value>>>>>,
    pub(crate) spans: Vec<Span>,
    pub(crate) lines: Lines,
    pub(crate) n_text_bytes: u64,
    /// xxh3-128 over the hashes of the records, in order.
    pub(crate) digest: u128,
}

/// What a shard's records must keep to.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The file in printable form, for messages.
    pub(crate) path: String,
    pub(crate) text_field: FieldPath,
    pub(crate) max_doc_bytes: u64,
}

/// What was found in a stretch of a shard. Lines count from the stretch's start.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) spans: Vec<Span>,
    pub(crate) hashes: Vec<u128>,
    pub(crate) lines: Lines,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) n_text_bytes: u64,
}

/// What a person should hear of a shard.
#[derive(Debug, Default)]
pub(crate) struct Notes {
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
        let file = Arc::new(match content {
            Some(spooled) => spooled,
            None => Bytes::open(&path)?,
        });
        let mut notes = Notes::default();
        let container = container_of(&file);
        let (mut decoded, mut damage) = (None, None);
        if container != Container::Plain {
            let result = compressed::decode((container, &file), &path, config.max_decoded_bytes, progress)?;
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
        let mut scan = match format {
            Format::Parquet if container != Container::Plain => {
                return Err(damaged(&path, "parquet, but compressed as a whole; decompress it first"));
            }
            Format::Parquet => {
                let (texts, scan) = parquet::decode(&file, &path, config, progress)?;
                decoded = Some(texts);
                scan
            }
            Format::Jsonl | Format::Text(_) => {
                let start = notes.check_encoding(content, format, &rules.path);
                scan_content(content, start, (format, &rules, config.on_bad), progress)?
            }
        };
        if let Some(cause) = damage {
            scan.end_damaged(&rules.path, cause, content_len);
        }
        notes.rejects = std::mem::take(&mut scan.rejects);
        let digest = scan.digest();
        let Scan { spans, lines, n_text_bytes, .. } = scan;
        let columns = Mutex::default();
        let shard = Shard {
            name,
            path,
            container,
            format,
            text_field: config.text_field.clone(),
            file,
            decoded,
            columns,
            spans,
            lines,
            n_text_bytes,
            digest,
        };
        Ok((shard, notes))
    }

    /// A field of one document's record.
    pub(crate) fn field(&self, document: u64, path: &FieldPath) -> Option<Value> {
        match self.format {
            Format::Jsonl => jsonl::field(self.spans[index(document)].record(self.content()), path),
            Format::Text(_) => None,
            Format::Parquet => self.column(path).get(self.row_of(document)).cloned().flatten(),
        }
    }

    /// The row of a parquet file that a document is, from 0.
    pub(crate) fn row_of(&self, document: u64) -> usize {
        index(self.lines.line_of(document) - 1)
    }

    fn column(&self, path: &FieldPath) -> Arc<Vec<Option<Value>>> {
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Arc::new(parquet::values(&self.file, &self.path, path));
        Arc::clone(columns.entry(path.clone()).or_insert_with(read))
    }

    /// The bytes that spans point into.
    pub(crate) fn content(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or(&self.file)
    }
}

impl Rules {
    pub(crate) fn new(path: &Path, config: &OpenConfig) -> Rules {
        let text_field = config.text_field.clone();
        Rules { path: printable(path), text_field, max_doc_bytes: config.max_doc_bytes }
    }
}

impl Notes {
    /// Notes where a file is not what its name promises.
    fn compare_with_name(&mut self, path: &Path, (container, format): (Container, Format), name: Promise) {
        let found = match (container, format) {
            (_, Format::Parquet) if name.format != Some(Named::Parquet) => "as parquet",
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

impl Scan {
    /// Adds a document whose record is at `offset`; `text` is the range of its raw text in it.
    pub(crate) fn push(&mut self, offset: usize, record: &[u8], text: Range<usize>, n_text_bytes: usize) {
        let short = |n| u32::try_from(n).expect("records over 4 GiB are refused before");
        self.spans.push(Span {
            offset: size(offset),
            len: short(record.len()),
            text_start: short(text.start),
            text_len: short(text.len()),
        });
        self.hashes.push(xxh3_128(record));
        self.lines.push_document();
        self.n_text_bytes += size(n_text_bytes);
    }

    /// Passes over a line whose record cannot be used; `byte` counts from the start of the file.
    pub(crate) fn reject(&mut self, path: &str, byte: usize, cause: Cause, n_bytes: usize) {
        self.lines.push_skipped();
        let location = Location { path: path.to_owned(), line: self.lines.n_lines(), byte: size(byte) };
        self.rejects.push(Reject { location, cause, n_bytes: size(n_bytes) });
    }

    fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        self.hashes.iter().for_each(|hash| hasher.update(&hash.to_le_bytes()));
        hasher.digest128()
    }

    /// Names a stream that broke after `n_bytes`. The record that it cut short is the same fault.
    fn end_damaged(&mut self, path: &str, cause: String, n_bytes: usize) {
        let cut = self.rejects.pop_if(|reject| reject.cause == Cause::Truncated);
        let line = cut.as_ref().map_or(self.lines.n_lines() + 1, |reject| reject.location.line);
        let location = Location { path: path.to_owned(), line, byte: size(n_bytes) };
        let n_bytes = cut.map_or(0, |reject| reject.n_bytes);
        self.rejects.push(Reject { location, cause: Cause::DamagedStream(cause), n_bytes });
    }

    fn append(&mut self, next: Scan) {
        let n_lines = self.lines.n_lines();
        self.rejects.extend(next.rejects.into_iter().map(|mut reject| {
            reject.location.line += n_lines;
            reject
        }));
        self.spans.extend(next.spans);
        self.hashes.extend(next.hashes);
        self.lines.append(next.lines);
        self.n_text_bytes += next.n_text_bytes;
    }
}

/// Scans lines in parallel, chunk by chunk, and joins the results in order.
fn scan_content(
    content: &[u8],
    start: usize,
    (format, rules, on_bad): (Format, &Rules, OnBad),
    progress: &dyn Progress,
) -> Result<Scan> {
    let scan_chunk = match format {
        Format::Text(TextUnit::File) => return Ok(text::scan_file(content, start..content.len(), rules)),
        Format::Text(TextUnit::Line) => text::scan_lines,
        Format::Jsonl | Format::Parquet => jsonl::scan,
    };
    let mut scan = Scan::default();
    for wave in chunks(content, start).chunks(CHUNKS_IN_A_WAVE) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let parts: Vec<Scan> = wave
            .par_iter()
            .map(|range| {
                let part = scan_chunk(content, range.clone(), rules);
                progress.advance(size(range.len()));
                part
            })
            .collect();
        parts.into_iter().for_each(|part| scan.append(part));
        if on_bad == OnBad::Error && !scan.rejects.is_empty() {
            break;
        }
    }
    Ok(scan)
}

/// Cuts at line ends, about every `CHUNK_BYTES`. Each byte is looked at once at most, however long
/// the lines are.
fn chunks(content: &[u8], start: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut at = start;
    while at < content.len() {
        let mark = content.len().min(at + CHUNK_BYTES);
        let end = memchr::memchr(b'\n', &content[mark..]).map_or(content.len(), |i| mark + i + 1);
        chunks.push(at..end);
        at = end;
    }
    chunks
}

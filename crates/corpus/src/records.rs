//! What a scan of a shard finds: stretches in parallel, joined in order.

use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::document::{Location, printable, size};
use crate::error::Result;
use crate::ids::{IdHash, ShardIds};
use crate::reject::{Cause, Reject};
use crate::schema::{FieldPath, OpenConfig, Surrogates};
use crate::spans::{Span, SpansWriter};

/// What a shard's records must keep to.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The file in printable form, for messages.
    pub(crate) path: String,
    pub(crate) text_field: FieldPath,
    pub(crate) id_field: Option<FieldPath>,
    pub(crate) max_doc_bytes: u64,
    /// What half of a surrogate pair stands for, if it may be.
    pub(crate) lone_surrogate: Option<char>,
    /// The folder for temporary files.
    scratch: PathBuf,
}

impl Rules {
    pub(crate) fn new(path: &Path, config: &OpenConfig) -> Rules {
        Rules {
            path: printable(path),
            text_field: config.text_field.clone(),
            id_field: config.id_field.clone(),
            max_doc_bytes: config.max_doc_bytes,
            lone_surrogate: (config.surrogates == Surrogates::Replace).then_some(char::REPLACEMENT_CHARACTER),
            scratch: config.scratch.clone(),
        }
    }
}

/// What a record says of its document.
#[derive(Debug)]
pub(crate) struct Found {
    /// The raw text within the record.
    pub(crate) text: Range<usize>,
    /// Bytes of the text when decoded.
    pub(crate) n_text_bytes: usize,
    pub(crate) id: Option<IdHash>,
}

/// What was found in a stretch of a shard. Lines count from the stretch's start.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    spans: Vec<Span>,
    hashes: Vec<u128>,
    ids: Vec<Option<IdHash>>,
    rejects: Vec<Reject>,
    n_lines: u64,
    n_text_bytes: u64,
}

impl Scan {
    /// Adds a document whose record is at `offset` of the shard's content.
    pub(crate) fn push(&mut self, offset: usize, record: &[u8], found: Found) {
        let short = |n| u32::try_from(n).expect("records over 4 GiB are refused before");
        self.n_lines += 1;
        self.spans.push(Span {
            offset: size(offset),
            line: self.n_lines,
            len: short(record.len()),
            text_start: short(found.text.start),
            text_len: short(found.text.len()),
        });
        self.hashes.push(xxh3_128(record));
        self.ids.push(found.id);
        self.n_text_bytes += size(found.n_text_bytes);
    }

    /// Passes over a line that is no record.
    pub(crate) fn skip(&mut self) {
        self.n_lines += 1;
    }

    /// Passes over a line whose record cannot be used; `byte` counts from the start of the file.
    pub(crate) fn reject(&mut self, path: &str, byte: usize, cause: Cause, n_bytes: usize) {
        self.n_lines += 1;
        let location = Location { path: path.to_owned(), line: self.n_lines, byte: size(byte) };
        self.rejects.push(Reject { location, cause, n_bytes: size(n_bytes) });
    }

    /// Lines so far, with and without a document.
    pub(crate) fn n_lines(&self) -> u64 {
        self.n_lines
    }
}

/// What was found in a shard up to here.
pub(crate) struct Records {
    pub(crate) spans: SpansWriter,
    pub(crate) digest: Xxh3,
    pub(crate) ids: ShardIds,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) n_lines: u64,
    pub(crate) n_text_bytes: u64,
    pub(crate) n_record_bytes: u64,
}

impl Records {
    pub(crate) fn new(rules: &Rules) -> Self {
        Records {
            spans: SpansWriter::new(rules.scratch.clone()),
            digest: Xxh3::new(),
            ids: ShardIds::default(),
            rejects: Vec::new(),
            n_lines: 0,
            n_text_bytes: 0,
            n_record_bytes: 0,
        }
    }

    /// Adds what was found in the stretch that follows.
    ///
    /// # Errors
    /// What the folder for temporary files refuses.
    pub(crate) fn append(&mut self, next: Scan) -> Result<()> {
        self.ids.append(self.spans.len(), next.ids);
        for mut span in next.spans {
            self.n_record_bytes += u64::from(span.len);
            span.line += self.n_lines;
            self.spans.push(&span)?;
        }
        next.hashes.iter().for_each(|hash| self.digest.update(&hash.to_le_bytes()));
        self.rejects.extend(next.rejects.into_iter().map(|mut reject| {
            reject.location.line += self.n_lines;
            reject
        }));
        self.n_lines += next.n_lines;
        self.n_text_bytes += next.n_text_bytes;
        Ok(())
    }

    /// Names a stream that broke after `n_bytes`. The record that it cut short is the same fault.
    pub(crate) fn end_damaged(&mut self, path: &str, cause: String, n_bytes: usize) {
        let cut = self.rejects.pop_if(|reject| reject.cause == Cause::Truncated);
        let line = cut.as_ref().map_or(self.n_lines + 1, |reject| reject.location.line);
        let location = Location { path: path.to_owned(), line, byte: size(n_bytes) };
        let n_bytes = cut.map_or(0, |reject| reject.n_bytes);
        self.rejects.push(Reject { location, cause: Cause::DamagedStream(cause), n_bytes });
    }
}

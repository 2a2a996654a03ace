//! The corpus: all documents of all inputs, numbered in input order, with their texts on demand.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use verbatim_store::Progress;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::document::{DocId, Location, printable, size};
use crate::error::{Error, Result};
use crate::formats::Format;
use crate::formats::unescape::unescape;
use crate::ids::{CorpusIds, id_of, repeated};
use crate::reject::Reject;
use crate::schema::{FieldPath, OnBad, OpenConfig};
use crate::shard::{Notes, Shard};
use crate::source::{self, Source};
use crate::spans::Span;

/// Documents of a larger corpus are not all put into an order, but enough for this many times those that are wanted.
const OVERSAMPLING: u64 = 20;

/// A corpus that is open: every record is found and checked, no text is in memory.
#[derive(Debug)]
pub struct Corpus {
    /// Those of the inputs, then those of the references.
    shards: Vec<Shard>,
    /// The first document of each shard, and the number of documents at the end.
    starts: Vec<u64>,
    /// Shards of the inputs.
    n_own: usize,
    id_field: Option<FieldPath>,
    rejects: Vec<Reject>,
    warnings: Vec<String>,
    fingerprint: String,
}

impl Corpus {
    /// Finds the inputs and scans their records in parallel.
    ///
    /// An input is a file, a folder (searched recursively, in the order of the bytes of the relative
    /// path; hidden files, `_verbatim` and, unless asked for, links are left out), a pattern, or `-` for standard input.
    /// With the feature `object-stores` it can also be the URL of an object, of a prefix, which is a folder here, or a
    /// pattern of such: `s3://`, `gs://`, `az://`.
    ///
    /// # Errors
    /// Missing or damaged inputs, a bad record ([`OnBad::Error`]: the first in input order), too many
    /// bad records ([`OnBad::Skip`]).
    pub fn open(inputs: &[PathBuf], config: &OpenConfig, progress: &dyn Progress) -> Result<Corpus> {
        Corpus::open_against(inputs, &[], config, progress)
    }

    /// As [`Corpus::open`], with other documents that the inputs are compared with.
    ///
    /// They are no part of the corpus: only what takes a [`DocId`] knows them, by numbers after those of its documents
    /// ([`Corpus::references`]).
    ///
    /// # Errors
    /// As [`Corpus::open`], for either.
    pub fn open_against(
        inputs: &[PathBuf],
        references: &[PathBuf],
        config: &OpenConfig,
        progress: &dyn Progress,
    ) -> Result<Corpus> {
        config.validate()?;
        let (mut sources, mut warnings) = source::find(inputs, config, progress)?;
        let n_own = sources.len();
        if !references.is_empty() {
            let (found, warned) = source::find(references, config, progress)?;
            sources.extend(found);
            warnings.extend(warned);
        }
        progress.stage("reading", Some(sources.iter().map(Source::n_bytes_to_read).sum()), "bytes");

        let opened: Result<Vec<(Shard, Notes)>> =
            open_shards(sources, config, progress).into_iter().map_while(|shard| shard).collect();
        Corpus::assembled((opened?, n_own), warnings, config)
    }

    /// The corpus of some shards, of which the first `n_own` are those of the inputs.
    pub(crate) fn assembled(
        (opened, n_own): (Vec<(Shard, Notes)>, usize),
        mut warnings: Vec<String>,
        config: &OpenConfig,
    ) -> Result<Corpus> {
        let mut shards = Vec::with_capacity(opened.len());
        let (mut rejects, mut ids) = (Vec::new(), CorpusIds::new(&config.scratch));
        let mut reference_rejects = Vec::new();
        let mut starts = vec![0];
        for (shard, notes) in opened {
            warnings.extend(notes.warnings);
            if shards.len() >= n_own {
                reference_rejects.extend(notes.rejects);
                starts.push(starts[starts.len() - 1] + size(shard.spans.len()));
                shards.push(shard);
                continue;
            }
            rejects.extend(notes.rejects);
            let start = starts[starts.len() - 1];
            ids.append(start, notes.ids)?;
            starts.push(start + size(shard.spans.len()));
            shards.push(shard);
        }
        let n_documents = starts[n_own];
        check_rejects(&rejects, n_documents, config)?;
        check_rejects(&reference_rejects, starts[starts.len() - 1] - n_documents, config)?;
        if let [first, ..] = &reference_rejects[..] {
            let n = reference_rejects.len();
            let records = if n == 1 { "record" } else { "records" };
            warnings.push(format!("{n} bad {records} of what the input is compared with left out: {first}"));
        }
        if n_documents == 0 {
            if config.require_documents {
                return Err(Error::NoDocuments);
            }
            warnings.push("the input holds no documents".to_owned());
        }
        let fingerprint = fingerprint(&shards[..n_own]);
        let id_field = config.id_field.clone();
        let mut corpus = Corpus { shards, starts, n_own, id_field, rejects, warnings, fingerprint };
        let repeated = config.id_field.as_ref().and_then(|field| repeated(&corpus, field, ids));
        corpus.warnings.extend(repeated);
        Ok(corpus)
    }

    /// How many documents there are.
    pub fn n_documents(&self) -> u64 {
        self.starts[self.n_own]
    }

    /// The documents that the corpus is compared with, if it was opened with such.
    pub fn references(&self) -> impl ExactSizeIterator<Item = DocId> + use<> {
        let (start, end) = (self.n_documents(), self.starts[self.starts.len() - 1]);
        // A corpus of this machine has fewer documents than its memory has bytes.
        (0..(end - start) as usize).map(move |i| DocId(start + i as u64))
    }

    /// Bytes of all texts of the references together, decoded.
    pub fn reference_text_bytes(&self) -> u64 {
        self.shards[self.n_own..].iter().map(|shard| shard.n_text_bytes).sum()
    }

    /// As [`Corpus::fingerprint`], of the references.
    pub fn reference_fingerprint(&self) -> String {
        fingerprint(&self.shards[self.n_own..])
    }

    /// Bytes of all texts together, decoded.
    pub fn text_bytes(&self) -> u64 {
        self.own().iter().map(|shard| shard.n_text_bytes).sum()
    }

    /// Bytes of all records together, without line ends.
    pub fn record_bytes(&self) -> u64 {
        self.own().iter().map(|shard| shard.n_record_bytes).sum()
    }

    /// All documents in order.
    pub fn ids(&self) -> impl Iterator<Item = DocId> + use<> {
        (0..self.n_documents()).map(DocId)
    }

    /// Documents in the order of a seeded hash; of a corpus that is much larger than the `n` that are wanted, not all, but many
    /// times as many as these.
    pub fn draw_order(&self, n: u64, seed: u64) -> Vec<DocId> {
        let n_documents = self.n_documents();
        let key = |id: u64| xxh3_64_with_seed(&id.to_le_bytes(), seed);
        let wanted = n.saturating_mul(OVERSAMPLING).max(1 << 20);
        let below = match n_documents > wanted {
            true => u64::MAX / n_documents * wanted,
            false => u64::MAX,
        };
        let mut keyed: Vec<(u64, u64)> =
            (0..n_documents).map(|id| (key(id), id)).filter(|(key, _)| *key <= below).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, id)| DocId(id)).collect()
    }

    /// The text of a document, decoded.
    ///
    /// # Panics
    /// When the corpus has no such document, as all functions that take a [`DocId`].
    pub fn text(&self, id: DocId) -> Cow<'_, [u8]> {
        let (shard, span) = self.locate(id);
        shard.decode(span.raw_text(shard.content()))
    }

    /// The text of a document as a string; in plain text files, bytes that are not UTF-8 become U+FFFD.
    pub fn text_str(&self, id: DocId) -> Cow<'_, str> {
        match self.text(id) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(lossy(bytes)),
        }
    }

    /// True for a text of white space only, and for an empty one. Hardly ever decodes more than a character.
    pub fn is_blank(&self, id: DocId) -> bool {
        let (raw, _) = self.raw_text(id);
        match raw.first() {
            None => true,
            Some(first) if first.is_ascii_graphic() && *first != b'\\' => false,
            Some(_) => self.text_str(id).trim().is_empty(),
        }
    }

    /// The same string as [`text_str`](Self::text_str), in `buffer` where it does not stand in the input as it is; for
    /// loops over many documents, which can then do without an allocation for each.
    pub fn text_str_in<'a>(&'a self, id: DocId, buffer: &'a mut TextBuffer) -> &'a str {
        let (raw, has_escapes) = self.raw_text(id);
        let bytes = if has_escapes && unescape(raw, &mut buffer.bytes) { &buffer.bytes } else { raw };
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                buffer.lossy = String::from_utf8_lossy(bytes).into_owned();
                &buffer.lossy
            }
        }
    }

    /// The record of a document as it stands in the input, without its line end: a JSON object, a
    /// line, a whole text file; for parquet and Arrow the text alone.
    pub fn record(&self, id: DocId) -> &[u8] {
        let (shard, span) = self.locate(id);
        match shard.format {
            Format::Parquet | Format::Arrow => span.raw_text(shard.content()),
            Format::Jsonl | Format::Text(_) => span.record(shard.content()),
        }
    }

    /// The line end behind the record of a document, `\n` for a last line without one; nothing where a record is no line.
    pub fn line_end(&self, id: DocId) -> &'static [u8] {
        let (shard, local) = self.shard_of(id);
        match shard.format {
            Format::Parquet | Format::Arrow => b"",
            Format::Jsonl | Format::Text(_) => shard.line_end(local),
        }
    }

    /// How many of some documents, one at least, have no more than so many bytes of records together: what is looked at
    /// before the next look at the memory that is taken.
    pub fn n_fitting(&self, docs: impl IntoIterator<Item = DocId>, most_bytes: usize) -> usize {
        let mut n_bytes = 0;
        let fitting = docs.into_iter().take_while(|&doc| {
            n_bytes += self.record(doc).len();
            n_bytes <= most_bytes
        });
        fitting.count().max(1)
    }

    /// The user's id of a document, or `file:line` where it has none.
    pub fn label(&self, id: DocId) -> String {
        let value = self.id_field.as_ref().and_then(|path| self.field(id, path));
        value.and_then(id_of).unwrap_or_else(|| {
            let (shard, span) = self.locate(id);
            format!("{}:{}", printable(&shard.name), span.line)
        })
    }

    /// Where the record of a document begins.
    pub fn location(&self, id: DocId) -> Location {
        let (shard, span) = self.locate(id);
        let byte = match shard.format {
            Format::Parquet | Format::Arrow => 0,
            Format::Jsonl | Format::Text(_) => span.offset,
        };
        Location { path: printable(&shard.path), line: span.line, byte }
    }

    /// A field of a document's record; `None` where the record does not have it exactly once.
    pub fn field(&self, id: DocId, path: &FieldPath) -> Option<serde_json::Value> {
        let (shard, local) = self.shard_of(id);
        shard.field(local, path)
    }

    /// The records that were left out, in input order.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// What a person should know about the inputs, though it stopped nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// xxh3-128 over the names of the shards and their records, in hexadecimal. It does not depend on
    /// compression, blank lines or the number of threads.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The paths of the shards relative to an output folder, in printable form and input order.
    pub fn shard_names(&self) -> Vec<String> {
        self.own().iter().map(|shard| printable(&shard.name)).collect()
    }

    /// The path of a document's shard relative to an output folder, in printable form.
    pub fn shard_name(&self, id: DocId) -> String {
        printable(&self.shard_of(id).0.name)
    }

    /// How many documents each shard holds, in the order of [`Corpus::shard_names`].
    pub fn shard_sizes(&self) -> impl Iterator<Item = u64> {
        self.own().iter().map(|shard| size(shard.spans.len()))
    }

    /// Checks that every input is still the file that was opened; call it before committing results.
    ///
    /// # Errors
    /// [`verbatim_store::Error::Changed`] for the first that is not, and an object store that does not answer.
    pub fn verify_unchanged(&self) -> Result<()> {
        let changed = self.shards.par_iter().find_map_first(|shard| shard.verify_unchanged().err());
        changed.map_or(Ok(()), Err)
    }

    /// Each shard with the number of its first document.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (u64, &Shard)> {
        self.starts.iter().copied().zip(self.own())
    }

    fn own(&self) -> &[Shard] {
        &self.shards[..self.n_own]
    }

    pub(crate) fn shard_of(&self, id: DocId) -> (&Shard, u64) {
        let n = self.starts[self.starts.len() - 1];
        assert!(id.0 < n, "document {} of {n}", id.0);
        let i = self.starts.partition_point(|&start| start <= id.0) - 1;
        (&self.shards[i], id.0 - self.starts[i])
    }

    fn locate(&self, id: DocId) -> (&Shard, Span) {
        let (shard, local) = self.shard_of(id);
        (shard, shard.span(local))
    }

    /// The text as it stands in the shard's content, and whether that is other than the text.
    fn raw_text(&self, id: DocId) -> (&[u8], bool) {
        let (shard, span) = self.locate(id);
        let raw = span.raw_text(shard.content());
        (raw, shard.format == Format::Jsonl && memchr::memchr(b'\\', raw).is_some())
    }
}

/// Memory for one text after the other.
#[derive(Debug, Default)]
pub struct TextBuffer {
    bytes: Vec<u8>,
    /// The text where it is not UTF-8.
    lossy: String,
}

/// Opens the shards in parallel, in order up to the first that fails.
pub(crate) fn open_shards(
    sources: Vec<Source>,
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Vec<Option<Result<(Shard, Notes)>>> {
    // A shard after one that failed need not be read; those before it are, so that the error
    // does not depend on which thread came first.
    let first_failed = AtomicUsize::new(usize::MAX);
    sources
        .into_par_iter()
        .enumerate()
        .map(|(i, source)| {
            if i > first_failed.load(Ordering::Relaxed) {
                return None;
            }
            let shard = Shard::open(source, config, progress).and_then(|opened| stop_at_bad(opened, config));
            if shard.is_err() {
                first_failed.fetch_min(i, Ordering::Relaxed);
            }
            Some(shard)
        })
        .collect()
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn stop_at_bad((shard, mut notes): (Shard, Notes), config: &OpenConfig) -> Result<(Shard, Notes)> {
    match config.on_bad {
        OnBad::Error if !notes.rejects.is_empty() => Err(Error::Bad(notes.rejects.swap_remove(0))),
        OnBad::Error | OnBad::Skip => Ok((shard, notes)),
    }
}

fn check_rejects(rejects: &[Reject], n_documents: u64, config: &OpenConfig) -> Result<()> {
    let n_bad = size(rejects.len());
    let n_records = n_documents + n_bad;
    match rejects.first() {
        Some(first) if !config.max_bad.tolerates(n_bad, n_records) => Err(Error::TooManyBad {
            n_bad,
            n_records,
            max_bad: config.max_bad,
            first: Box::new(first.clone()),
        }),
        _ => Ok(()),
    }
}

fn fingerprint(shards: &[Shard]) -> String {
    let mut hasher = Xxh3::new();
    for shard in shards {
        let name = printable(&shard.name);
        hasher.update(&size(name.len()).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&size(shard.spans.len()).to_le_bytes());
        hasher.update(&shard.digest.to_le_bytes());
    }
    format!("{:032x}", hasher.digest128())
}

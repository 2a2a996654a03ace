//! Stretches that go from documents which stay: where they are in the bytes of a record, and what is left of it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::corpus::Corpus;
use crate::document::{DocId, index, printable, size};
use crate::error::{Error, Result};
use crate::fields::NewFields;
use crate::formats::unescape::unescape;
use crate::formats::{Format, escapes};
use crate::shard::Shard;

/// A stretch of a document's text, in bytes of the decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stretch {
    /// The document.
    pub doc: DocId,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// What of a corpus is written. A slice of `bool` is a selection of whole documents.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// For each document, by [`DocId`], whether it stays.
    pub keep: &'a [bool],
    /// What goes from documents that stay: ascending, without overlap.
    pub cuts: &'a [Stretch],
    /// What records get besides, if anything.
    pub fields: Option<&'a NewFields<'a>>,
}

impl<'a, T: AsRef<[bool]> + ?Sized> From<&'a T> for Selection<'a> {
    fn from(keep: &'a T) -> Selection<'a> {
        Selection { keep: keep.as_ref(), cuts: &[], fields: None }
    }
}

impl<'a> Selection<'a> {
    pub(crate) fn assert_fits(&self, corpus: &Corpus) {
        assert_eq!(size(self.keep.len()), corpus.n_documents(), "one entry for each document");
        assert!(self.cuts.is_sorted_by(|a, b| (a.doc, a.end) <= (b.doc, b.start)), "cuts overlap");
        assert!(self.cuts.iter().all(|cut| self.keep[index(cut.doc.0)]), "a cut in a document that goes");
    }

    /// What goes from one document.
    pub(crate) fn cuts_of(&self, doc: DocId) -> &'a [Stretch] {
        self.cuts_in(doc.0..doc.0 + 1)
    }

    /// Writes what is left of a record, with the fields that it gets.
    pub(crate) fn write(&self, doc: DocId, pieces: &[&[u8]], sink: &mut dyn Write) -> io::Result<()> {
        match (self.fields, pieces) {
            // The brace that closes a record stands after its text, so in the last piece.
            (Some(fields), [before @ .., last]) => {
                before.iter().try_for_each(|piece| sink.write_all(piece))?;
                fields.write(doc, last, sink)
            }
            _ => pieces.iter().try_for_each(|piece| sink.write_all(piece)),
        }
    }

    fn cuts_in(&self, docs: Range<u64>) -> &'a [Stretch] {
        let start = self.cuts.partition_point(|cut| cut.doc.0 < docs.start);
        let len = self.cuts[start..].partition_point(|cut| cut.doc.0 < docs.end);
        &self.cuts[start..start + len]
    }
}

impl Corpus {
    /// Where ascending offsets into a document's text stand in its raw text: the text as the record holds it, which
    /// in JSON may have escapes. Both count bytes.
    ///
    /// `None` where an offset lies beyond the text or inside a character. A text that is not UTF-8 has no characters.
    pub fn raw_offsets(&self, id: DocId, offsets: impl IntoIterator<Item = u64>) -> Option<Vec<usize>> {
        let (shard, local) = self.shard_of(id);
        shard.raw_offsets(local, offsets)
    }

    /// The part of a document's text that a range of its raw text stands for, without decoding the rest.
    ///
    /// # Panics
    /// When the range is not one of [`Corpus::raw_offsets`].
    pub fn text_in(&self, id: DocId, raw: Range<usize>) -> Cow<'_, [u8]> {
        let (shard, local) = self.shard_of(id);
        shard.decode(&shard.span(local).raw_text(shard.content())[raw])
    }

    /// The bytes that a document's record loses by these cuts, which are all of that document.
    ///
    /// # Errors
    /// [`Error::Cut`] where a cut does not fall between characters of the text.
    pub fn cut_bytes(&self, id: DocId, cuts: &[Stretch]) -> Result<u64> {
        let (shard, local) = self.shard_of(id);
        Ok(shard.raw_cuts(local, cuts)?.iter().map(|cut| size(cut.len())).sum())
    }

    /// What is left of a document's record.
    pub(crate) fn pieces(&self, id: DocId, cuts: &[Stretch]) -> Result<Vec<&[u8]>> {
        let (shard, local) = self.shard_of(id);
        shard.pieces(local, cuts)
    }
}

impl Shard {
    /// A raw text, or a part of one, as text.
    ///
    /// JSON texts were checked at opening. One can only fail now if the file was changed since, which
    /// `verify_unchanged` reports before anything is committed.
    pub(crate) fn decode<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let has_escapes = self.format == Format::Jsonl && memchr::memchr(b'\\', raw).is_some();
        let mut text = Vec::new();
        if has_escapes && unescape(raw, &mut text) { Cow::Owned(text) } else { Cow::Borrowed(raw) }
    }

    fn raw_offsets(&self, local: u64, offsets: impl IntoIterator<Item = u64>) -> Option<Vec<usize>> {
        let raw = self.span(local).raw_text(self.content());
        match (self.format, std::str::from_utf8(raw)) {
            (Format::Jsonl, text) => escapes::raw_offsets(text.ok()?, offsets),
            (_, text) => {
                let is_between = |place: usize| match text {
                    Ok(text) => text.is_char_boundary(place),
                    Err(_) => place <= raw.len(),
                };
                let place = |offset| usize::try_from(offset).ok().filter(|&place| is_between(place));
                offsets.into_iter().map(place).collect()
            }
        }
    }

    /// Cuts of one document as ranges of its raw text.
    pub(crate) fn raw_cuts(&self, local: u64, cuts: &[Stretch]) -> Result<Vec<Range<usize>>> {
        if cuts.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = self.raw_offsets(local, cuts.iter().flat_map(|cut| [cut.start, cut.end]));
        let offsets =
            offsets.ok_or_else(|| Error::Cut { path: printable(&self.path), line: self.span(local).line })?;
        Ok(offsets.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect())
    }

    /// What is left of a document's record, or of its text in a file of columns.
    pub(crate) fn pieces(&self, local: u64, cuts: &[Stretch]) -> Result<Vec<&[u8]>> {
        let span = self.span(local);
        let (whole, text_start) = match self.format {
            Format::Parquet | Format::Arrow => (span.raw_text(self.content()), 0),
            Format::Jsonl | Format::Text(_) => (span.record(self.content()), span.text_start as usize),
        };
        let mut pieces = Vec::with_capacity(cuts.len() + 1);
        let mut at = 0;
        for cut in self.raw_cuts(local, cuts)? {
            pieces.push(&whole[at..text_start + cut.start]);
            at = text_start + cut.end;
        }
        pieces.push(&whole[at..]);
        if self.format == Format::Jsonl {
            escapes::keep_apart(&mut pieces);
        }
        Ok(pieces)
    }
}

//! Where each document of a shard is. The table goes to a temporary file once it is not small, so that a corpus of
//! many documents takes no more memory than one of few.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use verbatim_store::{Bytes, Spool};

use crate::document::{index, size};
use crate::error::Result;

/// A table larger than this is on disk.
const MAX_BYTES_IN_MEMORY: usize = 1 << 16;
const ENTRY_BYTES: usize = 28;

/// Where one record is in its shard's content, and where the text is in the record.
///
/// Records have less than 4 GiB, so lengths are 32 bits; offsets are 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    /// The line of the shard, or the row of a file of columns (parquet, Arrow), from 1.
    pub(crate) line: u64,
    pub(crate) len: u32,
    /// From the record's first byte to the text's. In JSON the text is the inside of the quotes.
    pub(crate) text_start: u32,
    pub(crate) text_len: u32,
}

impl Span {
    pub(crate) fn record<'a>(&self, content: &'a [u8]) -> &'a [u8] {
        &content[index(self.offset)..][..self.len as usize]
    }

    /// Where the raw text is in the record.
    pub(crate) fn text_range(&self) -> Range<usize> {
        let start = self.text_start as usize;
        start..start + self.text_len as usize
    }

    pub(crate) fn raw_text<'a>(&self, content: &'a [u8]) -> &'a [u8] {
        &self.record(content)[self.text_range()]
    }

    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&self.offset.to_le_bytes());
        entry[8..16].copy_from_slice(&self.line.to_le_bytes());
        entry[16..20].copy_from_slice(&self.len.to_le_bytes());
        entry[20..24].copy_from_slice(&self.text_start.to_le_bytes());
        entry[24..].copy_from_slice(&self.text_len.to_le_bytes());
        entry
    }

    fn decode(entry: &[u8]) -> Span {
        let long = |at| u64::from_le_bytes(*entry[at..].first_chunk().expect("an entry has 28 bytes"));
        let short = |at| u32::from_le_bytes(*entry[at..].first_chunk().expect("an entry has 28 bytes"));
        Span { offset: long(0), line: long(8), len: short(16), text_start: short(20), text_len: short(24) }
    }
}

/// The spans of a shard, by document.
#[derive(Debug)]
pub(crate) struct Spans {
    entries: Bytes,
}

impl Spans {
    /// A table that was saved, if all of it lies within a content of this length and lines.
    pub(crate) fn of_saved(entries: Bytes, content_len: usize, n_lines: u64) -> Option<Spans> {
        let (spans, rest) = entries.as_chunks::<ENTRY_BYTES>();
        let fits = |entry: &[u8; ENTRY_BYTES]| {
            let span = Span::decode(entry);
            let end = span.offset.checked_add(u64::from(span.len));
            let text_end = span.text_start.checked_add(span.text_len);
            end.is_some_and(|end| end <= size(content_len))
                && text_end.is_some_and(|end| end <= span.len)
                && (1..=n_lines).contains(&span.line)
        };
        (rest.is_empty() && spans.iter().all(fits)).then_some(Spans { entries })
    }

    /// The table as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.entries
    }

    /// How many documents there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// The span of a document of this shard.
    pub(crate) fn get(&self, document: usize) -> Span {
        Span::decode(&self.entries[document * ENTRY_BYTES..][..ENTRY_BYTES])
    }
}

/// Takes spans in order.
#[derive(Debug)]
pub(crate) struct SpansWriter {
    /// What is not yet in the spool; everything, while there is none.
    pending: Vec<u8>,
    spool: Option<Spool>,
    /// Where the spool is to lie.
    scratch: PathBuf,
}

impl SpansWriter {
    pub(crate) fn new(scratch: PathBuf) -> Self {
        SpansWriter { pending: Vec::new(), spool: None, scratch }
    }

    pub(crate) fn len(&self) -> u64 {
        let n_spooled = self.spool.as_ref().map_or(0, Spool::n_bytes);
        (n_spooled + size(self.pending.len())) / size(ENTRY_BYTES)
    }

    /// # Errors
    /// What the folder for temporary files refuses.
    pub(crate) fn push(&mut self, span: &Span) -> Result<()> {
        self.pending.extend_from_slice(&span.encode());
        if self.pending.len() > MAX_BYTES_IN_MEMORY { self.spill() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<Spans> {
        if self.spool.is_some() {
            self.spill()?;
        }
        let entries = match self.spool {
            Some(spool) => spool.into_bytes()?,
            None => {
                self.pending.shrink_to_fit();
                Bytes::from_vec(self.pending)
            }
        };
        Ok(Spans { entries })
    }

    fn spill(&mut self) -> Result<()> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(Spool::create(&self.scratch)?),
        };
        let written = spool.write_all(&self.pending);
        written.map_err(|e| verbatim_store::Error::io(Path::new("temporary file"), "write", e))?;
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_tables_give_back_their_spans() {
        const N_IN_MEMORY: usize = MAX_BYTES_IN_MEMORY / ENTRY_BYTES;
        for n in [0, 1, N_IN_MEMORY, N_IN_MEMORY + 1, 5 * N_IN_MEMORY + 7] {
            let span = |i: usize| Span {
                offset: (i as u64) << 33,
                line: u64::MAX - i as u64,
                len: u32::MAX - i as u32,
                text_start: i as u32,
                text_len: !(i as u32) / 3,
            };
            let mut writer = SpansWriter::new(std::env::temp_dir());
            (0..n).for_each(|i| writer.push(&span(i)).unwrap());
            assert_eq!((writer.len(), writer.spool.is_some()), (n as u64, n > N_IN_MEMORY));
            let spans = writer.finish().unwrap();
            assert_eq!(spans.len(), n);
            assert!((0..n).all(|i| spans.get(i) == span(i)));
        }
    }
}

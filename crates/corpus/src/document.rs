//! Documents by number: where each one's record and text are, and on which line it was.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

/// The number of a document: dense from 0, in input order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocId(pub u64);

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// The input file in printable form (control characters and bytes that are not UTF-8 escaped).
    pub path: String,
    /// The line, or the row of a parquet file, from 1.
    pub line: u64,
    /// The byte from the start of the file, from 0. In compressed files it counts decompressed bytes,
    /// in parquet files it is the byte within the row's text.
    pub byte: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.byte)
    }
}

/// A file name or path in printable form, without loss.
pub(crate) fn printable(path: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for chunk in path.as_ref().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Where one record is in its shard's content, and where the text is in the record.
///
/// Records have less than 4 GiB, so lengths are 32 bits; offsets are 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// From the record's first byte to the text's. In JSON the text is the inside of the quotes.
    pub(crate) text_start: u32,
    pub(crate) text_len: u32,
}

impl Span {
    pub(crate) fn record<'a>(&self, content: &'a [u8]) -> &'a [u8] {
        let start = index(self.offset);
        &content[start..start + self.len as usize]
    }

    pub(crate) fn raw_text<'a>(&self, content: &'a [u8]) -> &'a [u8] {
        let start = index(self.offset) + self.text_start as usize;
        &content[start..start + self.text_len as usize]
    }
}

/// A 64-bit offset as an index into mapped memory.
pub(crate) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset into mapped bytes fits the address space")
}

/// A length in memory as the 64 bits that sizes have on disk.
pub(crate) fn size(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}

/// On which line each document is, stored as the places where lines without a document lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    n_documents: u64,
    n_skipped: u64,
    /// (documents before, lines skipped so far), one entry for each run of skipped lines.
    gaps: Vec<(u64, u64)>,
}

impl Lines {
    pub(crate) fn push_document(&mut self) {
        self.n_documents += 1;
    }

    pub(crate) fn push_skipped(&mut self) {
        self.skip(1);
    }

    /// Lines so far, with and without a document.
    pub(crate) fn n_lines(&self) -> u64 {
        self.n_documents + self.n_skipped
    }

    /// The line of a document of this shard, from 1.
    pub(crate) fn line_of(&self, document: u64) -> u64 {
        let n_gaps = self.gaps.partition_point(|&(before, _)| before <= document);
        let n_skipped = if n_gaps == 0 { 0 } else { self.gaps[n_gaps - 1].1 };
        document + n_skipped + 1
    }

    /// Adds the lines of what follows.
    pub(crate) fn append(&mut self, next: Lines) {
        let mut n_skipped_before = 0;
        let n_documents = self.n_documents;
        for (before, n_skipped) in next.gaps {
            self.n_documents = n_documents + before;
            self.skip(n_skipped - n_skipped_before);
            n_skipped_before = n_skipped;
        }
        self.n_documents = n_documents + next.n_documents;
    }

    fn skip(&mut self, n: u64) {
        self.n_skipped += n;
        match self.gaps.last_mut() {
            Some(gap) if gap.0 == self.n_documents => gap.1 = self.n_skipped,
            _ => self.gaps.push((self.n_documents, self.n_skipped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn lines_agree_with_a_list_of_line_numbers(
            lines in proptest::collection::vec(proptest::bool::ANY, 0..60),
            cut in 0_usize..60,
        ) {
            let naive: Vec<u64> =
                lines.iter().enumerate().filter(|(_, has)| **has).map(|(i, _)| i as u64 + 1).collect();
            let collect = |part: &[bool]| {
                let mut lines = Lines::default();
                for &has_document in part {
                    if has_document { lines.push_document() } else { lines.push_skipped() }
                }
                lines
            };
            let cut = cut.min(lines.len());
            let mut joined = collect(&lines[..cut]);
            joined.append(collect(&lines[cut..]));
            proptest::prop_assert_eq!(&joined, &collect(&lines));
            proptest::prop_assert_eq!(joined.n_lines(), lines.len() as u64);
            let found: Vec<u64> = (0..naive.len() as u64).map(|i| joined.line_of(i)).collect();
            proptest::prop_assert_eq!(found, naive);
        }
    }

    #[test]
    fn fault_28_names_are_printed_escaped() {
        assert_eq!(printable("a/b c.jsonl"), "a/b c.jsonl");
        assert_eq!(printable("\u{1b}[31m\n\\x"), r"\u{1b}[31m\u{a}\\x");
        assert_eq!(printable(OsStr::from_bytes(b"\xff.txt")), r"\xff.txt");
    }
}

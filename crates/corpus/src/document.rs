//! Documents by number, and places in inputs.

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
    /// The line, or the row of a file of columns (parquet, Arrow), from 1.
    pub line: u64,
    /// The byte from the start of the file, from 0. In compressed files it counts decompressed bytes,
    /// in files of columns it is the byte within the row's text.
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

/// A 64-bit offset as an index into mapped memory.
pub(crate) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset into mapped bytes fits the address space")
}

/// A length in memory as the 64 bits that sizes have on disk.
pub(crate) fn size(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_28_names_are_printed_escaped() {
        assert_eq!(printable("a/b c.jsonl"), "a/b c.jsonl");
        assert_eq!(printable("\u{1b}[31m\n\\x"), r"\u{1b}[31m\u{a}\\x");
        assert_eq!(printable(OsStr::from_bytes(b"\xff.txt")), r"\xff.txt");
    }
}

//! An index of the substrings of a corpus, on disk: where a string of at least L bytes stands, without reading the corpus.
//!
//! Texts are sampled by anchors ([`crate::anchors`]): of any L bytes at least one k-gram is an anchor, and whether it is
//! depends on these bytes alone. So all occurrences of a string hold an anchor of the same hash at the same place within
//! them, and the index is the places of all anchors by hash. What the hashes propose is compared with the texts, which
//! stay in the corpus: the answers are exact, and the index is a fraction of the corpus.
//!
//! The same for texts as tokens, which are kept in the index, since making them takes long.
//!
//! Anchors are entries of eight bytes: the place, in symbols over all texts, in the low 40 bits, and above it the low bits of
//! a hash of 40 bits. The other bits of the hash choose the bucket that holds the entry; a directory has the first entry
//! of each bucket, and at last their number. Entries are in order of hash and place.

mod build;
mod longest;
mod lookup;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, Origin};
use verbatim_store::{Progress, Seal, Sealed, read_manifest};

use crate::anchors::Sampling;
use crate::error::{Error, Result};
use crate::symbols::Symbols;

pub use crate::substring_index::build::IndexConfig;

const MANIFEST: &str = "manifest.json";
const MAGIC: &str = "verbatim substring index";
const VERSION: u32 = 1;

/// Bits of a hash that are kept.
const HASH_BITS: u32 = 40;
/// Bits of a place.
const PLACE_BITS: u32 = 40;
/// Bits of a hash that an entry has room for; the others choose the bucket.
const REST_BITS: u32 = 64 - PLACE_BITS;
/// Entries of a bucket that are looked through one by one: as long as they lie side by side in memory.
const SCANNED: usize = if cfg!(test) { 2 } else { 64 };

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    magic: String,
    version: u32,
    /// Fingerprint of the corpus.
    corpus: String,
    n_documents: u64,
    /// Bytes or tokens of all texts.
    n_symbols: u64,
    min_len: u64,
    /// Where symbols are tokens: the SHA-256 of the tokenizer's file.
    tokenizer: Option<String>,
    /// Bits of a hash that choose the bucket.
    bucket_bits: u32,
    origin: Origin,
    /// Where each text begins among all of them, and the end.
    starts: Seal,
    /// Where symbols are tokens: those of all texts.
    tokens: Option<Seal>,
    directory: Seal,
    entries: Seal,
}

/// An index of the substrings of a corpus.
#[derive(Debug)]
pub struct SubstringIndex {
    folder: PathBuf,
    manifest: Manifest,
    sampling: Sampling,
    starts: Sealed,
    /// Where symbols are tokens: those of all texts.
    tokens: Option<Sealed>,
    directory: Sealed,
    entries: Sealed,
}

/// An index with its corpus.
#[derive(Clone, Copy, Debug)]
pub struct Indexed<'a> {
    index: &'a SubstringIndex,
    corpus: &'a Corpus,
}

impl SubstringIndex {
    /// Opens an index; `None` where the folder holds none.
    ///
    /// # Errors
    /// [`Error::BadIndex`] and those of the store if it cannot be read.
    pub fn open(folder: &Path) -> Result<Option<SubstringIndex>> {
        let path = folder.join(MANIFEST);
        let bad = |cause: String| Error::BadIndex { path: path.clone(), cause };
        let manifest: Option<Manifest> = read_manifest(&path, (MAGIC, VERSION), bad)?;
        let Some(manifest) = manifest else { return Ok(None) };
        let open = |seal: &Seal| Sealed::open(folder, seal);
        let [starts, directory, entries] =
            [open(&manifest.starts)?, open(&manifest.directory)?, open(&manifest.entries)?];
        let min_len = usize::try_from(manifest.min_len).ok().filter(|&len| len >= crate::MIN_REPEAT_LEN);
        let min_len = min_len.ok_or_else(|| bad(format!("strings of {} bytes", manifest.min_len)))?;
        let n_buckets = (HASH_BITS - REST_BITS..=HASH_BITS).contains(&manifest.bucket_bits);
        let n_buckets = n_buckets.then(|| 1_u64 << manifest.bucket_bits);
        let has =
            |file: &Sealed, n: Option<u64>| n.and_then(|n| n.checked_add(1)) == Some(file.n_numbers() as u64);
        if !has(&starts, Some(manifest.n_documents)) || !has(&directory, n_buckets) {
            return Err(bad("its numbers do not agree".to_owned()));
        }
        let tokens = match (&manifest.tokens, &manifest.tokenizer) {
            (None, None) => None,
            (Some(tokens), Some(_)) => Some(open(tokens)?),
            _ => return Err(bad("it is of bytes and of tokens".to_owned())),
        };
        let sampling = Sampling::new(min_len);
        let folder = folder.to_path_buf();
        Ok(Some(SubstringIndex { folder, manifest, sampling, starts, tokens, directory, entries }))
    }

    /// Where its corpus was read from, and how.
    pub fn origin(&self) -> &Origin {
        &self.manifest.origin
    }

    /// Bytes or tokens of the shortest strings that it finds.
    pub fn min_len(&self) -> usize {
        self.sampling.min_len
    }

    /// Where symbols are tokens: the SHA-256 of the file of the tokenizer that they are of.
    pub fn tokenizer(&self) -> Option<&str> {
        self.manifest.tokenizer.as_deref()
    }

    /// The error of a file that is not the one that it was made with.
    pub fn not_its(&self, path: &Path) -> Error {
        Error::BadIndex {
            path: path.to_path_buf(),
            cause: "it is not the file that the index was made with".to_owned(),
        }
    }

    /// Bytes of its files.
    pub fn n_bytes(&self) -> u64 {
        self.files().map(|file| file.n_bytes() as u64).sum()
    }

    fn files(&self) -> impl Iterator<Item = &Sealed> {
        [&self.starts, &self.directory, &self.entries].into_iter().chain(&self.tokens)
    }

    /// Documents of its corpus.
    pub fn n_documents(&self) -> u64 {
        self.manifest.n_documents
    }

    /// Bytes or tokens of their texts.
    pub fn n_symbols(&self) -> u64 {
        self.manifest.n_symbols
    }

    /// Anchors that it holds.
    pub fn n_anchors(&self) -> u64 {
        self.entries.n_numbers() as u64
    }

    /// Takes its corpus, opened as [`SubstringIndex::origin`] says.
    ///
    /// # Errors
    /// [`Error::BadIndex`] if it is another one, or no longer what it was.
    pub fn of<'a>(&'a self, corpus: &'a Corpus) -> Result<Indexed<'a>> {
        let manifest = &self.manifest;
        match (corpus.fingerprint(), corpus.n_documents()) == (&manifest.corpus[..], manifest.n_documents) {
            true => Ok(Indexed { index: self, corpus }),
            false => Err(self.bad("its corpus is no longer what it was; build the index anew")),
        }
    }

    /// Compares every byte with its checksum, and the order of everything with what a search relies on.
    ///
    /// # Errors
    /// [`Error::BadIndex`] and those of the store for what is damaged.
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        progress.stage("verifying", Some(self.n_bytes()), "bytes");
        self.files().try_for_each(|file| file.verify(progress))?;
        let n_entries = self.entries.n_numbers();
        let is_rising = |file: &Sealed, from: u64, to: u64| -> Result<bool> {
            let numbers = || file.numbers(0..file.n_numbers());
            Ok(numbers()?.is_sorted() && numbers()?.next() == Some(from) && numbers()?.last() == Some(to))
        };
        if !is_rising(&self.starts, 0, self.manifest.n_symbols)?
            || !is_rising(&self.directory, 0, n_entries as u64)?
        {
            return Err(self.bad("its tables are not in order"));
        }
        let n_buckets = self.directory.n_numbers() - 1;
        let is_bad = |bucket: usize| -> Result<bool> {
            let entries = self.bucket(bucket)?;
            let numbers = || self.entries.numbers(entries.clone());
            let rest = |entry: u64| entry >> PLACE_BITS >> self.rest_bits() == 0;
            let is_within = |entry: u64| place(entry) < self.manifest.n_symbols && rest(entry);
            Ok(!numbers()?.is_sorted_by(|a, b| a < b) || !numbers()?.all(is_within))
        };
        let found = (0..n_buckets).into_par_iter().find_map_first(|bucket| match is_bad(bucket) {
            Ok(false) => None,
            Ok(true) => Some(self.bad("its entries are not in order")),
            Err(error) => Some(error),
        });
        found.map_or(Ok(()), Err)
    }

    fn bad(&self, cause: &str) -> Error {
        Error::BadIndex { path: self.folder.join(MANIFEST), cause: cause.to_owned() }
    }

    /// Bits of the hash that entries have.
    fn rest_bits(&self) -> u32 {
        HASH_BITS - self.manifest.bucket_bits
    }

    /// The entries of a bucket.
    fn bucket(&self, bucket: usize) -> Result<Range<usize>> {
        let mut ends = self.directory.numbers(bucket..bucket + 2)?;
        let [start, end] = [(); 2].map(|()| ends.next().unwrap_or(u64::MAX));
        if start > end || end > self.n_anchors() {
            return Err(self.bad("its directory is not in order"));
        }
        Ok(start as usize..end as usize)
    }

    /// The entries of a hash.
    fn entries_of(&self, hash: u64) -> Result<Range<usize>> {
        let rest_bits = self.rest_bits();
        let bucket = self.bucket((hash >> rest_bits) as usize)?;
        let rest = hash & ((1 << rest_bits) - 1);
        let [first, after] = [rest << PLACE_BITS, (rest + 1) << PLACE_BITS];
        if bucket.len() > SCANNED {
            return Ok(self.first_entry(bucket.clone(), first)?..self.first_entry(bucket, after)?);
        }
        let entries = || self.entries.numbers(bucket.clone());
        let n_before =
            |limit: u64| -> Result<usize> { Ok(entries()?.take_while(|&entry| entry < limit).count()) };
        let [start, end] = [n_before(first)?, n_before(after)?];
        Ok(bucket.start + start..bucket.start + end)
    }

    /// The first entry of some that is not smaller than this.
    fn first_entry(&self, entries: Range<usize>, smallest: u64) -> Result<usize> {
        let Range { mut start, mut end } = entries;
        while start < end {
            let middle = start + (end - start) / 2;
            match self.entries.number(middle)? < smallest {
                true => start = middle + 1,
                false => end = middle,
            }
        }
        Ok(start)
    }

    /// The document that holds a place.
    fn document_of(&self, place: u64) -> Result<u64> {
        let (mut start, mut end) = (0, self.manifest.n_documents as usize);
        // The last that begins at or before it; those without text begin where the next one does.
        while start < end {
            let middle = start + (end - start) / 2;
            match self.starts.number(middle + 1)? <= place {
                true => start = middle + 1,
                false => end = middle,
            }
        }
        match start < self.manifest.n_documents as usize {
            true => Ok(start as u64),
            false => Err(self.bad("it points beyond the end of its corpus")),
        }
    }

    /// The places of a text.
    fn text_of(&self, doc: u64) -> Result<Range<u64>> {
        let [start, end] = [self.starts.number(doc as usize)?, self.starts.number(doc as usize + 1)?];
        Ok(start..end)
    }
}

impl<'a> Indexed<'a> {
    /// Bytes or tokens of the shortest strings that are found.
    pub fn min_len(&self) -> usize {
        self.index.min_len()
    }

    pub(crate) fn symbols(&self) -> Symbols<'a> {
        let SubstringIndex { tokens, starts, .. } = self.index;
        tokens.as_ref().map_or(Symbols::Bytes(self.corpus), |ids| Symbols::Tokens { ids, starts })
    }

    /// The symbols of a document, if there are as many as the index says.
    fn text(&self, doc: u64, places: &Range<u64>) -> Result<Cow<'a, [u8]>> {
        let symbols = self.symbols();
        let text = symbols.text(doc)?;
        match places.end.checked_sub(places.start) == Some((text.len() / symbols.width()) as u64) {
            true => Ok(text),
            false => Err(self.index.bad("its corpus is no longer what it was; build the index anew")),
        }
    }
}

/// The hash of an anchor as it is kept.
fn kept_hash(hash: u64) -> u64 {
    hash >> (64 - HASH_BITS)
}

fn place(entry: u64) -> u64 {
    entry & ((1 << PLACE_BITS) - 1)
}

#[cfg(test)]
mod tests;

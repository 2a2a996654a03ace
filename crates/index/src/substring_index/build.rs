//! Makes an index: samples the texts, sorts the anchors by hash, writes them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, Origin};
use verbatim_store::{
    Note, Progress, Room, RunFile, Seal, Sealed, SealedWriter, Sorted, Sorter, write_private,
};

use super::{
    HASH_BITS, Indexed, MAGIC, MANIFEST, Manifest, PLACE_BITS, REST_BITS, SubstringIndex, VERSION, kept_hash,
    place,
};
use crate::anchors::Sampling;
use crate::error::{Error, Result, stop_if};
use crate::repeats::MIN_REPEAT_LEN;
use crate::shingle::TokenFn;
use crate::symbols::{Symbols, TokensWriter, tokenize};

/// Documents and bytes of records that are sampled before the next look at the memory that is taken.
const WAVE_DOCS: u64 = if cfg!(test) { 3 } else { 1 << 14 };
const WAVE_BYTES: usize = 64 << 20;
/// Bytes of a text that a thread samples at once.
const CHUNK_LEN: usize = if cfg!(test) { 64 } else { 4 << 20 };
/// Bytes of records after which a run that can be taken up again notes how far it is.
const PART_BYTES: usize = if cfg!(test) { 100 } else { 1 << 30 };
/// Entries of a bucket, on average.
const BUCKET_LEN: u64 = 16;
const STEP: &str = "sampling";

/// What to make an index of.
pub struct IndexConfig {
    /// Bytes or tokens of the shortest strings that it is to find.
    pub min_len: usize,
    /// What makes tokens of texts, with the SHA-256 of its file; `None` for an index of bytes.
    pub tokenizer: Option<(TokenFn, String)>,
    /// Where the corpus was read from, and how.
    pub origin: Origin,
}

/// What sampling collects.
struct Sampled {
    /// Hash and place of each anchor.
    anchors: Sorter<2>,
    /// Each document and the symbols of its text.
    lengths: Sorter<2>,
}

impl SubstringIndex {
    /// Makes an index of a corpus and writes it into a folder that is not yet in use.
    ///
    /// # Errors
    /// [`Error::RepeatLen`] for a length below [`MIN_REPEAT_LEN`], [`Error::TooLarge`], those of files, interruption.
    pub fn build(
        corpus: &Corpus,
        config: &IndexConfig,
        (folder, room): (&Path, Room<'_>),
        progress: &dyn Progress,
    ) -> Result<()> {
        if config.min_len < MIN_REPEAT_LEN {
            return Err(Error::RepeatLen(config.min_len));
        }
        let Some((tokens, _)) = &config.tokenizer else {
            let sampled = sample(Symbols::Bytes(corpus), config, room, progress)?;
            let starts = write_starts(folder, sampled.lengths.finish().iter().map(|[_, len]| len))?;
            return write(config, corpus, folder, (starts, None, &sampled.anchors.finish()), progress);
        };
        let [ids, starts] = tokenize(corpus, tokens, folder, progress)?;
        let opened = [Sealed::open(folder, &ids)?, Sealed::open(folder, &starts)?];
        let symbols = Symbols::Tokens { ids: &opened[0], starts: &opened[1] };
        let sampled = sample(symbols, config, room, progress)?;
        write(config, corpus, folder, (starts, Some(ids), &sampled.anchors.finish()), progress)
    }

    /// Joins indexes of corpora that are read one after the other: `corpus` holds the documents of all of them, in their
    /// order. The same as [`SubstringIndex::build`] for it, but that no text is sampled again.
    ///
    /// # Errors
    /// [`Error::BadIndex`] where one is damaged, where their lengths differ, and where they are not of this corpus; as for
    /// building.
    pub fn merge(
        parts: &[Indexed<'_>],
        corpus: &Corpus,
        config: &IndexConfig,
        (folder, room): (&Path, Room<'_>),
        progress: &dyn Progress,
    ) -> Result<()> {
        let sum = |count: fn(&Manifest) -> u64| {
            parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(count(&part.index.manifest)))
        };
        let Some(n_symbols) = sum(|part| part.n_symbols).filter(|&n| {
            let is_known = config.tokenizer.is_some() || n == corpus.text_bytes();
            is_known && sum(|part| part.n_documents) == Some(corpus.n_documents())
        }) else {
            return Err(Error::NotTheSum);
        };
        check_size(n_symbols)?;
        for part in parts {
            part.index.verify(progress)?;
        }
        let tokenizer = config.tokenizer.as_ref().map(|(_, hash)| &hash[..]);
        let (mut lengths, mut offset) = (Vec::new(), 0);
        let mut tokens = tokenizer.map(|_| TokensWriter::create(folder)).transpose()?;
        let mut anchors: Sorter<2> = room.sorter("anchors");
        progress.stage("merging", Some(parts.iter().map(|part| part.index.n_anchors()).sum()), "anchors");
        for part in parts.iter().map(|part| part.index) {
            if part.sampling != Sampling::new(config.min_len) || part.tokenizer() != tokenizer {
                return Err(part.bad("it is of another length or tokenizer than the others"));
            }
            for bucket in 0..part.directory.n_numbers() - 1 {
                let entries = part.bucket(bucket)?;
                progress.advance(entries.len() as u64);
                let hash = |entry: u64| (bucket as u64) << part.rest_bits() | entry >> PLACE_BITS;
                anchors
                    .extend(part.entries.numbers(entries)?.map(|entry| [hash(entry), place(entry) + offset]));
                if anchors.is_full() {
                    anchors.spill(room.scratch)?;
                    stop_if(progress)?;
                }
            }
            match (&mut tokens, &part.tokens) {
                (Some(writer), Some(ids)) => {
                    let symbols = Symbols::Tokens { ids, starts: &part.starts };
                    (0..symbols.n_documents()).try_for_each(|doc| writer.push(&symbols.text(doc)?))?;
                }
                _ => {
                    let starts: Vec<u64> = part.starts.numbers(0..part.starts.n_numbers())?.collect();
                    lengths.extend(starts.windows(2).map(|text| text[1] - text[0]));
                }
            }
            offset += part.manifest.n_symbols;
        }
        let (starts, tokens) = match tokens {
            None => (write_starts(folder, lengths.into_iter())?, None),
            Some(tokens) => {
                let [tokens, starts] = tokens.finish()?;
                (starts, Some(tokens))
            }
        };
        write(config, corpus, folder, (starts, tokens, &anchors.finish()), progress)
    }
}

/// Refuses texts that have more symbols than an entry has numbers for.
pub(super) fn check_size(n_symbols: u64) -> Result<()> {
    match n_symbols >> PLACE_BITS {
        0 => Ok(()),
        _ => Err(Error::TooLarge { n_symbols, most: 1 << PLACE_BITS }),
    }
}

fn sample(
    symbols: Symbols<'_>,
    config: &IndexConfig,
    room: Room<'_>,
    progress: &dyn Progress,
) -> Result<Sampled> {
    let (n_documents, width) = (symbols.n_documents(), symbols.width());
    check_size(symbols.n_bytes() / width as u64)?;
    progress.stage(STEP, Some(n_documents), "documents");
    let sampling = Sampling::new(config.min_len);
    let mut sampled = Sampled { anchors: room.sorter("anchors"), lengths: room.sorter("lengths") };
    let (mut next, mut n_symbols) = sampled.take_up(room)?;
    progress.advance(next);
    let mut n_since = 0;
    while next < n_documents {
        stop_if(progress)?;
        let wave = wave(symbols, next, room);
        let texts: Result<Vec<Cow<'_, [u8]>>> =
            wave.clone().into_par_iter().map(|doc| symbols.text(doc)).collect();
        let texts = texts?;
        n_since += texts.iter().map(|text| text.len()).sum::<usize>();
        let len = |text: &Cow<'_, [u8]>| (text.len() / width) as u64;
        let starts: Vec<u64> =
            texts.iter().scan(n_symbols, |at, text| Some(std::mem::replace(at, *at + len(text)))).collect();
        // Those that are spilled before the wave is through are noted with it.
        let mut files = match width {
            1 => sampled.take::<1>((&texts, &starts), sampling, room)?,
            _ => sampled.take::<4>((&texts, &starts), sampling, room)?,
        };
        sampled.lengths.extend(wave.clone().zip(&texts).map(|(doc, text)| [doc, len(text)]));
        n_symbols += texts.iter().map(len).sum::<u64>();
        progress.advance(wave.end - wave.start);
        next = wave.end;
        let is_part = room.scratch.is_kept() && n_since >= PART_BYTES;
        let is_full = sampled.anchors.is_full() || sampled.lengths.is_full();
        if is_full || is_part || !files.is_empty() {
            files.extend(sampled.anchors.spill(room.scratch)?);
            files.extend(sampled.lengths.spill(room.scratch)?);
            room.scratch.note(&Note { step: STEP.to_owned(), end: next, files })?;
            n_since = 0;
        }
    }
    Ok(sampled)
}

impl Sampled {
    /// Takes the anchors of some texts of symbols of `N` bytes, and gives the files that they went to.
    fn take<const N: usize>(
        &mut self,
        (texts, starts): (&[Cow<'_, [u8]>], &[u64]),
        sampling: Sampling,
        room: Room<'_>,
    ) -> Result<Vec<RunFile>> {
        let chunks: Vec<(u64, &[[u8; N]])> = texts
            .iter()
            .zip(starts)
            .flat_map(|(text, start)| {
                let text: &[[u8; N]] = text.as_chunks().0;
                let begins = (0..text.len()).step_by(CHUNK_LEN);
                // Each begins with the last windows of the one before.
                begins.map(move |at| {
                    let end = text.len().min(at + CHUNK_LEN + sampling.min_len - 1);
                    (start + at as u64, &text[at..end])
                })
            })
            .collect();
        let mut files = Vec::new();
        let mut last = None;
        // Of a text of one byte every place is an anchor, so that a few chunks can fill the memory.
        for chunks in groups(&chunks) {
            let sampled: Vec<Vec<[u64; 2]>> =
                chunks.par_iter().map(|&(start, chunk)| anchors(start, chunk, sampling)).collect();
            let is_new = |&[_, place]: &[u64; 2]| {
                // The last windows of a chunk and the first ones of the next can have the same anchor.
                let is_new = last.is_none_or(|last| place > last);
                last = Some(place);
                is_new
            };
            self.anchors.extend(sampled.into_iter().flatten().filter(is_new));
            if self.anchors.is_full() {
                files.extend(self.anchors.spill(room.scratch)?);
            }
        }
        Ok(files)
    }

    /// Takes what an earlier process has sampled; tells the next document, and the bytes of the texts before it.
    fn take_up(&mut self, room: Room<'_>) -> Result<(u64, u64)> {
        let mut next = 0;
        let mut lengths: Sorter<2> = room.sorter("lengths");
        for note in room.scratch.notes().iter().filter(|note| note.step == STEP) {
            for file in &note.files {
                match self.anchors.owns(file) {
                    true => self.anchors.take_up(room.scratch, file)?,
                    false => {
                        self.lengths.take_up(room.scratch, file)?;
                        lengths.take_up(room.scratch, file)?;
                    }
                }
            }
            next = note.end;
        }
        Ok((next, lengths.finish().iter().map(|[_, len]| len).sum()))
    }
}

/// The documents that are sampled next, one at least.
fn wave(symbols: Symbols<'_>, next: u64, room: Room<'_>) -> Range<u64> {
    let most_bytes = WAVE_BYTES.min(room.n_bytes / 4);
    let docs = next..symbols.n_documents().min(next + WAVE_DOCS);
    match symbols {
        Symbols::Bytes(corpus) => next..next + corpus.n_fitting(docs.map(DocId), most_bytes) as u64,
        // They are mapped, and take no memory.
        Symbols::Tokens { .. } | Symbols::Texts(_) => docs,
    }
}

/// Chunks that are sampled at once: of short texts many, of long ones one for each thread.
fn groups<'c, 't, const N: usize>(
    chunks: &'c [(u64, &'t [[u8; N]])],
) -> impl Iterator<Item = &'c [(u64, &'t [[u8; N]])]> {
    let most = CHUNK_LEN * rayon::current_num_threads();
    let mut n = 0;
    chunks.chunk_by(move |_, next| {
        n += next.1.len();
        let fits = n <= most;
        if !fits {
            n = 0;
        }
        fits
    })
}

/// Hash and place of the anchors of a part of a text that begins at a place.
fn anchors<const N: usize>(start: u64, chunk: &[[u8; N]], sampling: Sampling) -> Vec<[u64; 2]> {
    let mut anchors = Vec::with_capacity(3 * chunk.len() / sampling.min_len);
    sampling.for_each_anchor(chunk, |at, hash| anchors.push([kept_hash(hash), start + at as u64]));
    anchors
}

/// Writes where texts of these lengths begin.
fn write_starts(folder: &Path, lengths: impl Iterator<Item = u64>) -> Result<Seal> {
    let mut starts = SealedWriter::create(folder, "starts")?;
    let mut n_symbols: u64 = 0;
    starts.number(0)?;
    for len in lengths {
        n_symbols += len;
        starts.number(n_symbols)?;
    }
    Ok(starts.finish()?)
}

/// Writes the anchors by hash, and what else there is to know.
fn write(
    config: &IndexConfig,
    corpus: &Corpus,
    folder: &Path,
    (starts, tokens, anchors): (Seal, Option<Seal>, &Sorted<2>),
    progress: &dyn Progress,
) -> Result<()> {
    let n_anchors = anchors.len() as u64;
    progress.stage("writing", Some(n_anchors), "anchors");
    let n_symbols = Sealed::open(folder, &starts)?.number(corpus.n_documents() as usize)?;
    let bucket_bits =
        (n_anchors / BUCKET_LEN).checked_ilog2().unwrap_or(0).clamp(HASH_BITS - REST_BITS, HASH_BITS);
    let rest_bits = HASH_BITS - bucket_bits;
    let mut directory = SealedWriter::create(folder, "directory")?;
    let mut entries = SealedWriter::create(folder, "entries")?;
    let (mut n_entries, mut n_buckets) = (0_u64, 0_u64);
    for [hash, place] in anchors.iter() {
        let bucket = hash >> rest_bits;
        for _ in n_buckets..=bucket {
            directory.number(n_entries)?;
        }
        n_buckets = n_buckets.max(bucket + 1);
        entries.number((hash & ((1 << rest_bits) - 1)) << PLACE_BITS | place)?;
        n_entries += 1;
        if n_entries.is_multiple_of(1 << 16) {
            stop_if(progress)?;
            progress.advance(1 << 16);
        }
    }
    for _ in n_buckets..=1 << bucket_bits {
        directory.number(n_entries)?;
    }
    let manifest = Manifest {
        magic: MAGIC.to_owned(),
        version: VERSION,
        corpus: corpus.fingerprint().to_owned(),
        n_documents: corpus.n_documents(),
        n_symbols,
        min_len: config.min_len as u64,
        tokenizer: config.tokenizer.as_ref().map(|(_, hash)| hash.clone()),
        bucket_bits,
        origin: config.origin.clone(),
        starts,
        tokens,
        directory: directory.finish()?,
        entries: entries.finish()?,
    };
    let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
    text.push(b'\n');
    Ok(write_private(&folder.join(MANIFEST), &text)?)
}

impl fmt::Debug for IndexConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokenizer = self.tokenizer.as_ref().map(|(_, hash)| hash);
        f.debug_struct("IndexConfig")
            .field("min_len", &self.min_len)
            .field("tokenizer", &tokenizer)
            .finish_non_exhaustive()
    }
}

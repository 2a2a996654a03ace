//! Makes an index: samples the texts, sorts the anchors by hash, writes them.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, Origin};
use verbatim_store::{Note, Progress, Room, SealedWriter, Sorted, Sorter, write_private};

use super::{
    HASH_BITS, Indexed, MAGIC, MANIFEST, Manifest, PLACE_BITS, REST_BITS, SubstringIndex, VERSION, kept_hash,
    place,
};
use crate::anchors::Sampling;
use crate::error::{Error, Result};
use crate::repeats::MIN_REPEAT_LEN;

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
#[derive(Debug)]
pub struct IndexConfig {
    /// Bytes of the shortest strings that it is to find.
    pub min_len: usize,
    /// Where the corpus was read from, and how.
    pub origin: Origin,
}

/// What sampling collects.
struct Sampled {
    /// Hash and place of each anchor.
    anchors: Sorter<2>,
    /// Each document and the bytes of its text.
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
        let sampled = sample(corpus, config, room, progress)?;
        let lengths = sampled.lengths.finish();
        write(
            config,
            corpus,
            folder,
            (lengths.iter().map(|[_, len]| len), &sampled.anchors.finish()),
            progress,
        )
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
        let is_sum = sum(|part| part.n_documents) == Some(corpus.n_documents())
            && sum(|part| part.n_bytes) == Some(corpus.text_bytes());
        if !is_sum {
            return Err(Error::NotTheSum);
        }
        check_size(corpus.text_bytes())?;
        for part in parts {
            part.index.verify(progress)?;
        }
        let (mut lengths, mut offset) = (Vec::new(), 0);
        let mut anchors: Sorter<2> = room.sorter("anchors");
        progress.stage("merging", Some(parts.iter().map(|part| part.index.n_anchors()).sum()), "anchors");
        for part in parts.iter().map(|part| part.index) {
            if part.sampling != Sampling::new(config.min_len) {
                return Err(part.bad("it is of another length than the others"));
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
            let starts: Vec<u64> = part.starts.numbers(0..part.starts.n_numbers())?.collect();
            lengths.extend(starts.windows(2).map(|text| text[1] - text[0]));
            offset += part.manifest.n_bytes;
        }
        write(config, corpus, folder, (lengths.into_iter(), &anchors.finish()), progress)
    }
}

fn stop_if(progress: &dyn Progress) -> Result<()> {
    if progress.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Refuses texts that have more bytes than an entry has numbers for.
pub(super) fn check_size(n_bytes: u64) -> Result<()> {
    match n_bytes >> PLACE_BITS {
        0 => Ok(()),
        _ => Err(Error::TooLarge { n_bytes, most: 1 << PLACE_BITS }),
    }
}

fn sample(corpus: &Corpus, config: &IndexConfig, room: Room<'_>, progress: &dyn Progress) -> Result<Sampled> {
    if config.min_len < MIN_REPEAT_LEN {
        return Err(Error::RepeatLen(config.min_len));
    }
    check_size(corpus.text_bytes())?;
    progress.stage(STEP, Some(corpus.n_documents()), "documents");
    let sampling = Sampling::new(config.min_len);
    let mut sampled = Sampled { anchors: room.sorter("anchors"), lengths: room.sorter("lengths") };
    let (mut next, mut n_bytes) = sampled.take_up(room)?;
    progress.advance(next);
    let mut n_since = 0;
    while next < corpus.n_documents() {
        stop_if(progress)?;
        let wave = wave(corpus, next, room);
        n_since += wave.clone().map(|doc| corpus.record(DocId(doc)).len()).sum::<usize>();
        let texts: Vec<Cow<'_, [u8]>> =
            wave.clone().into_par_iter().map(|doc| corpus.text(DocId(doc))).collect();
        let starts: Vec<u64> = texts
            .iter()
            .scan(n_bytes, |at, text| Some(std::mem::replace(at, *at + text.len() as u64)))
            .collect();
        sampled.anchors.extend(anchors(&texts, &starts, sampling));
        sampled.lengths.extend(wave.clone().zip(&texts).map(|(doc, text)| [doc, text.len() as u64]));
        n_bytes += texts.iter().map(|text| text.len() as u64).sum::<u64>();
        progress.advance(wave.end - wave.start);
        next = wave.end;
        let is_part = room.scratch.is_kept() && n_since >= PART_BYTES;
        if sampled.anchors.is_full() || sampled.lengths.is_full() || is_part {
            let files = [sampled.anchors.spill(room.scratch)?, sampled.lengths.spill(room.scratch)?];
            let files = files.into_iter().flatten().collect();
            room.scratch.note(&Note { step: STEP.to_owned(), end: next, files })?;
            n_since = 0;
        }
    }
    Ok(sampled)
}

impl Sampled {
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
fn wave(corpus: &Corpus, next: u64, room: Room<'_>) -> Range<u64> {
    let most_bytes = WAVE_BYTES.min(room.n_bytes / 4);
    let mut n_bytes = 0;
    let docs = next..corpus.n_documents().min(next + WAVE_DOCS);
    let fitting = docs.take_while(|&doc| {
        n_bytes += corpus.record(DocId(doc)).len();
        n_bytes <= most_bytes
    });
    next..next + (fitting.count() as u64).max(1)
}

/// Hash and place of the anchors of some texts.
fn anchors(texts: &[Cow<'_, [u8]>], starts: &[u64], sampling: Sampling) -> impl Iterator<Item = [u64; 2]> {
    let chunks: Vec<(u64, &[u8])> = texts
        .iter()
        .zip(starts)
        .flat_map(|(text, start)| {
            let begins = (0..text.len()).step_by(CHUNK_LEN);
            // Each begins with the last windows of the one before.
            begins.map(move |at| {
                let end = text.len().min(at + CHUNK_LEN + sampling.min_len - 1);
                (start + at as u64, &text[at..end])
            })
        })
        .collect();
    let sampled: Vec<Vec<[u64; 2]>> = chunks
        .par_iter()
        .map(|(start, chunk)| {
            let mut anchors = Vec::with_capacity(3 * chunk.len() / sampling.min_len);
            sampling.for_each_anchor::<1>(chunk.as_chunks().0, |at, hash| {
                anchors.push([kept_hash(hash), start + at as u64])
            });
            anchors
        })
        .collect();
    let mut last = None;
    sampled.into_iter().flatten().filter(move |&[_, place]| {
        // The last windows of a chunk and the first ones of the next can have the same anchor.
        let is_new = last.is_none_or(|last| place > last);
        last = Some(place);
        is_new
    })
}

/// Writes the files of an index: the lengths of the texts, and the anchors by hash.
fn write(
    config: &IndexConfig,
    corpus: &Corpus,
    folder: &Path,
    (lengths, anchors): (impl Iterator<Item = u64>, &Sorted<2>),
    progress: &dyn Progress,
) -> Result<()> {
    let n_anchors = anchors.len() as u64;
    progress.stage("writing", Some(n_anchors), "anchors");
    let mut starts = SealedWriter::create(folder, "starts")?;
    let mut n_bytes: u64 = 0;
    starts.number(0)?;
    for len in lengths {
        n_bytes += len;
        starts.number(n_bytes)?;
    }
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
        n_bytes,
        min_len: config.min_len as u64,
        bucket_bits,
        origin: config.origin.clone(),
        starts: starts.finish()?,
        directory: directory.finish()?,
        entries: entries.finish()?,
    };
    let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
    text.push(b'\n');
    Ok(write_private(&folder.join(MANIFEST), &text)?)
}

//! Lines or paragraphs that stand more than once in a corpus: found by hash, decided by their bytes.
//!
//! One copy stays: that of the document which the keep policy prefers, and the first within it. The others are cut out
//! with their line ends, so that what remains of a text reads as if they had never been there.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Normalizer;
use verbatim_store::{Progress, Sorted, Sorter};

use crate::config::Stage;
use crate::cut::{Cut, Earlier, Shortened};
use crate::error::{Error, Result};
use crate::exact::{HashedTexts, TextHash, for_each_batch, with_normalized};
use crate::plan::Removal;
use crate::roles::Roles;
use crate::room::{Resources, wave};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineUnit {
    /// A line, without its line end (LF or CRLF).
    Line,
    /// A paragraph: the lines between two blank ones.
    Paragraph,
}

/// The stage of repeated lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesConfig {
    /// What is compared.
    pub unit: LineUnit,
    /// Shorter ones, in bytes after normalisation, are never cut.
    pub min_bytes: u64,
    /// How often one must stand in the documents that the stages before left; below two means two.
    pub min_count: u64,
    /// Steps applied before lines are compared.
    pub normalize: Normalizer,
}

/// Where to look, and how.
pub(crate) struct LineSearch<'a> {
    pub(crate) corpus: &'a Corpus,
    /// The most preferred document first; a document's rank is its position.
    pub(crate) ranking: &'a [DocId],
    pub(crate) roles: Roles,
    pub(crate) config: &'a LinesConfig,
    pub(crate) hash: TextHash,
    pub(crate) resources: &'a Resources,
}

/// Finds repeated lines among the documents that earlier stages left.
///
/// A document of which nothing but white space would remain is removed, unless it is kept for another one: then all
/// its text stays, because what others went for must be there.
pub(crate) fn repeated_lines(
    search: &LineSearch<'_>,
    earlier: &Earlier<'_>,
    progress: &dyn Progress,
) -> Result<Shortened> {
    let lines = search.sorted_lines(earlier, progress)?;
    let min_count = usize::try_from(search.config.min_count.max(2)).unwrap_or(usize::MAX);
    let mut n_compared = 0;
    let mut repeats: Vec<Repeat> = Vec::new();
    for_each_batch(&lines, min_count, |runs| {
        n_compared += runs.iter().map(|run| run.len() as u64 - 1).sum::<u64>();
        let equal = runs.into_par_iter().flat_map_iter(|run| search.equal_groups(run));
        let repeated = equal.filter(|group| group.len() >= min_count);
        repeats.par_extend(repeated.flat_map_iter(|group| search.but_the_first(&group)));
    });
    drop(lines);
    repeats.par_sort_unstable();

    let fates: Vec<Fate> = repeats
        .par_chunk_by(|a, b| a.doc == b.doc)
        .map(|repeats| search.fate(repeats, earlier.is_needed(repeats[0].doc)))
        .collect();
    let mut found = Shortened { n_compared, ..Shortened::default() };
    for fate in fates {
        match fate {
            Fate::Emptied(removal) => found.removals.push(removal),
            Fate::Shortened(cuts) => found.cuts.extend(cuts),
        }
    }
    Ok(found)
}

/// A line that may be a repeat: its hash, the rank of its document, its offset in the text, and where it is in the raw
/// text, so that it can be read again without decoding what is around it. Texts, like records, have less than 4 GiB, so
/// the start and the end of the latter share a number. The order puts equal lines together, the one to keep first.
type Line = [u64; 4];

/// A line that goes, and where its like stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Repeat {
    doc: DocId,
    start: u32,
    kept_start: u32,
    kept: DocId,
}

/// What becomes of a document with repeats.
enum Fate {
    Emptied(Removal),
    Shortened(Vec<Cut>),
}

impl LineSearch<'_> {
    /// All lines that are long enough, in order.
    fn sorted_lines(&self, earlier: &Earlier<'_>, progress: &dyn Progress) -> Result<Sorted<4>> {
        progress.stage("hashing lines", Some(self.ranking.len() as u64), "documents");
        let room = self.resources.room();
        let mut sorter: Sorter<4> = room.sorter("lines");
        let mut start = 0;
        while start < self.ranking.len() {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let end = start + wave(&room, self.corpus, &self.ranking[start..]);
            let lines: Vec<Vec<Line>> = (start..end)
                .into_par_iter()
                .filter(|&rank| !earlier.is_removed(self.ranking[rank]))
                .map(|rank| self.lines_of(rank as u64))
                .collect();
            lines.into_iter().for_each(|lines| sorter.extend(lines));
            sorter.spill_if_full(room.scratch)?;
            progress.advance((end - start) as u64);
            start = end;
        }
        Ok(sorter.finish())
    }

    fn lines_of(&self, rank: u64) -> Vec<Line> {
        let doc = self.ranking[rank as usize];
        let text = self.corpus.text(doc);
        let hash = |line: &[u8]| {
            let is_long = !line.is_empty() && line.len() as u64 >= self.config.min_bytes;
            is_long.then(|| (self.hash)(line))
        };
        let hashed: Vec<(Part, u64)> = self
            .config
            .unit
            .split(&text)
            .into_iter()
            .filter_map(|part| Some((part, self.normalized(&text[part.start..part.end], hash)?)))
            .collect();
        let offsets = hashed.iter().flat_map(|(part, _)| [part.start as u64, part.end as u64]);
        // A text that was changed under us has no such offsets; that is noticed before anything is committed.
        let raw = self.corpus.raw_offsets(doc, offsets).unwrap_or_default();
        let line = |((part, hash), raw): (&(Part, u64), &[usize])| {
            [*hash, rank, part.start as u64, (raw[0] as u64) << 32 | raw[1] as u64]
        };
        hashed.iter().zip(raw.chunks_exact(2)).map(line).collect()
    }

    /// Calls `read` with the normalised line.
    fn normalized<T>(&self, line: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
        with_normalized(&self.config.normalize, line, read)
    }

    fn but_the_first(&self, group: &[Line]) -> Vec<Repeat> {
        let doc = |line: &Line| self.ranking[line[1] as usize];
        let (kept, kept_start) = (doc(&group[0]), group[0][2] as u32);
        let repeat = |line: &Line| Repeat { doc: doc(line), start: line[2] as u32, kept_start, kept };
        self.roles.going(group, |line| line[1]).map(repeat).collect()
    }

    /// What becomes of a document by its repeats, which are in order.
    fn fate(&self, repeats: &[Repeat], is_needed: bool) -> Fate {
        let doc = repeats[0].doc;
        let parts = self.config.unit.split(&self.corpus.text(doc));
        let goes =
            |part: &Part| repeats.binary_search_by_key(&part.start, |repeat| repeat.start as usize).ok();
        let goes: Vec<Option<usize>> = parts.iter().map(goes).collect();
        if goes.iter().all(Option::is_some) {
            let kept = repeats[0].kept;
            return match is_needed {
                true => Fate::Shortened(Vec::new()),
                false => Fate::Emptied(Removal { doc, kept, stage: Stage::Lines, similarity: 1.0 }),
            };
        }
        let cut = |(start, end, repeat): (usize, usize, usize)| {
            let Repeat { kept, kept_start, .. } = repeats[repeat];
            let [start, end] = [start, end].map(|offset| offset as u64);
            Cut { doc, start, end, kept, kept_start: kept_start.into(), stage: Stage::Lines }
        };
        Fate::Shortened(stretches(&parts, &goes).into_iter().map(cut).collect())
    }
}

impl HashedTexts for LineSearch<'_> {
    type Record = Line;

    fn with<T>(&self, &[_, rank, _, raw]: &Line, read: impl FnOnce(&[u8]) -> T) -> T {
        let raw = (raw >> 32) as usize..(raw & u64::from(u32::MAX)) as usize;
        self.normalized(&self.corpus.text_in(self.ranking[rank as usize], raw), read)
    }
}

/// A line or paragraph that is not blank, by offsets in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// Where what parts it from the one before begins.
    before: usize,
    start: usize,
    end: usize,
    /// The end of what goes with it: its line end, or the blank lines up to the next paragraph.
    next: usize,
}

impl LineUnit {
    fn split(self, text: &[u8]) -> Vec<Part> {
        let is_blank = |line: &Part| {
            std::str::from_utf8(&text[line.start..line.end]).is_ok_and(|line| line.trim().is_empty())
        };
        match self {
            LineUnit::Line => lines(text).filter(|line| !is_blank(line)).collect(),
            LineUnit::Paragraph => {
                let mut paragraphs: Vec<Part> = Vec::new();
                let mut is_open = false;
                for line in lines(text) {
                    let is_inside = !is_blank(&line);
                    match paragraphs.last_mut() {
                        _ if !is_inside => {}
                        Some(last) if is_open => (last.end, last.next) = (line.end, line.end),
                        last => {
                            let before = last.map_or(line.start, |last| {
                                last.next = line.start;
                                last.end
                            });
                            paragraphs.push(Part { before, next: line.end, ..line });
                        }
                    }
                    is_open = is_inside;
                }
                paragraphs
            }
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Part> {
    let (mut before, mut start) = (0, 0);
    text.split_inclusive(|&byte| byte == b'\n').map(move |line| {
        let content = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
        let part = Part { before, start, end: start + content.len(), next: start + line.len() };
        (before, start) = (part.end, part.next);
        part
    })
}

/// What is cut, as (start, end, index in `goes`), ascending.
///
/// A line goes with what follows it. Where nothing follows the last one, it goes with the line end before it, so that
/// the text ends as it did; then so do the lines just before it that go as well.
fn stretches(parts: &[Part], goes: &[Option<usize>]) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    let mut ends_text = true;
    let mut after = None;
    for (part, goes) in parts.iter().zip(goes).rev() {
        ends_text &= after.map_or(part.next == part.end, |before| before == part.end);
        if let Some(index) = *goes {
            found.push(if ends_text {
                (part.before, part.end, index)
            } else {
                (part.start, part.next, index)
            });
        }
        ends_text &= goes.is_some();
        after = Some(part.before);
    }
    found.reverse();
    found
}

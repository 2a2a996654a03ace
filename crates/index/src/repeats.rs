//! Runs of symbols, bytes or tokens, that stand more than once in a collection of texts, exactly, without a suffix array.
//!
//! Texts are sampled by anchors ([`crate::anchors`]) and the anchors sorted by hash. Any two equal runs of L symbols
//! meet in a group of anchors of one hash, so only there the texts themselves are compared: to the left and to the right
//! of two anchors, as far as runs of L symbols around them reach. Longer runs are put together from these.
//!
//! Groups of many anchors whose surroundings all differ, such as the end of a notice that stands in every text, are not
//! compared pair by pair: for each of the L − k + 1 places that an anchor can have in a run, the runs are hashed and
//! sorted, and those of one hash compared with the first. The time is linear in the length of the texts, for any texts.
//! Where runs must stand more than twice, all groups are taken in this way, and those runs counted.

use std::ops::Range;

use rayon::prelude::*;
use verbatim_store::{Note, Progress, Room, Sorted, Sorter};
use xxhash_rust::xxh3::xxh3_64;

use crate::anchors::Sampling;
use crate::error::{Error, Result, stop_if};

/// The shortest runs that are looked for. Shorter ones have so many anchors that sampling is of no use.
pub const MIN_REPEAT_LEN: usize = 16;

/// Symbols of a text that a thread samples at once.
const CHUNK_LEN: usize = if cfg!(test) { 64 } else { 4 << 20 };
/// Chunks that are sampled before the next look at the memory they take.
const CHUNKS_AT_ONCE: usize = if cfg!(test) { 2 } else { 16 };
/// Anchors whose groups are compared before the next look.
const ANCHORS_AT_ONCE: usize = 1 << 18;
/// Anchors with different surroundings up to which a group is compared pair by pair.
const MAX_DIFFERENT: usize = if cfg!(test) { 3 } else { 32 };

/// Bytes of texts, and of anchors, after which a run that can be taken up again notes how far it is.
const PART_BYTES: usize = if cfg!(test) { 200 } else { 1 << 30 };
/// What it notes that of.
const SAMPLING: &str = "sampling passages";
const COMPARING: &str = "comparing passages";

/// Texts that stand one after the other, the most preferred first, in symbols of `N` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a, const N: usize> {
    /// All of them.
    pub symbols: &'a [[u8; N]],
    /// Where each begins, in symbols, and at last the end.
    pub starts: &'a [u64],
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Symbols in the shortest runs.
    pub min_len: usize,
    /// How often a run must stand, wherever it overlaps with itself included; below two means two.
    pub min_count: u64,
    /// Which of its copies are told.
    pub copies: Copies,
}

/// Which copies of a run that stands more than once are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// All of them.
    All,
    /// All but the first in the order of the texts, and but those that overlap with it. Only what stands before this
    /// symbol counts as the first.
    ButTheFirst(u64),
}

/// A stretch of a repeated run of L symbols or more. Those that touch may be of one run, or of several that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeat {
    /// Its first symbol, counted over all texts.
    pub start: u64,
    /// The symbol after its last.
    pub end: u64,
    /// Where the same stretch stands again; for [`Copies::ButTheFirst`] before this place.
    pub source: u64,
}

/// Finds all symbols that are in a repeated run, as stretches: ascending, without overlap, none across texts.
///
/// # Errors
/// [`Error::RepeatLen`] for a length below [`MIN_REPEAT_LEN`], those of writing to the scratch, interruption.
pub fn repeats<const N: usize>(
    texts: Texts<'_, N>,
    wanted: Wanted,
    room: Room<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Repeat>> {
    if wanted.min_len < MIN_REPEAT_LEN {
        return Err(Error::RepeatLen(wanted.min_len));
    }
    let min_count = usize::try_from(wanted.min_count.max(2)).unwrap_or(usize::MAX);
    let search = Search { texts, sampling: Sampling::new(wanted.min_len), min_count, copies: wanted.copies };
    let mut found: Sorter<3> = room.sorter("repeats");
    let anchors = search.anchors(&mut found, room, progress)?;
    search.compare(&anchors, &mut found, room, progress)?;
    drop(anchors);
    let mut apart: Vec<Repeat> = Vec::new();
    for [start, end, source] in found.finish().iter() {
        let covered = apart.last().map_or(0, |last| last.end);
        if end <= covered {
            continue;
        }
        let from = start.max(covered);
        match apart.last_mut().filter(|last| last.end == from) {
            Some(last) if search.goes_on([last.start, last.end, last.source], end) => last.end = end,
            _ => apart.push(Repeat { start: from, end, source: source + (from - start) }),
        }
    }
    Ok(apart)
}

/// Whether so many bytes were looked at since a run that can be taken up again noted how far it is.
fn is_part(room: Room<'_>, n_bytes: usize) -> bool {
    room.scratch.is_kept() && n_bytes >= PART_BYTES
}

struct Search<'a, const N: usize> {
    texts: Texts<'a, N>,
    sampling: Sampling,
    min_count: usize,
    copies: Copies,
}

/// A place with as much of its text as runs of L symbols around it reach.
#[derive(Clone, Copy)]
struct Anchor {
    place: usize,
    before: usize,
    after: usize,
}

/// How many symbols around an anchor also stand around another one.
#[derive(Clone, Copy)]
struct Shared {
    before: usize,
    after: usize,
}

/// What a chunk holds: its anchors, and what repeats within a stretch of one short period.
#[derive(Default)]
struct Sampled {
    anchors: Vec<[u64; 2]>,
    repeats: Vec<[u64; 3]>,
}

impl<const N: usize> Search<'_, N> {
    /// All anchors, by hash and place.
    fn anchors(&self, found: &mut Sorter<3>, room: Room<'_>, progress: &dyn Progress) -> Result<Sorted<2>> {
        progress.stage("sampling", Some(self.texts.symbols.len() as u64), "symbols");
        let mut anchors: Sorter<2> = room.sorter("anchors");
        let chunks: Vec<Range<usize>> = self.chunks().collect();
        let mut n_done = 0;
        for note in room.scratch.notes().iter().filter(|note| note.step == SAMPLING) {
            for file in &note.files {
                match anchors.owns(file) {
                    true => anchors.take_up(room.scratch, file)?,
                    false => found.take_up(room.scratch, file)?,
                }
            }
            n_done = note.end as usize;
        }
        let n_known: usize = chunks.iter().take(n_done).map(Range::len).sum();
        progress.advance(n_known as u64);
        let mut n_since = 0;
        for chunks in chunks.get(n_done..).unwrap_or_default().chunks(CHUNKS_AT_ONCE) {
            stop_if(progress)?;
            let sampled: Vec<Sampled> = chunks
                .par_iter()
                .map(|chunk| {
                    progress.advance(chunk.len() as u64);
                    self.sample(chunk)
                })
                .collect();
            for Sampled { anchors: of_chunk, repeats } in sampled {
                anchors.extend(of_chunk);
                found.extend(repeats);
            }
            n_done += chunks.len();
            n_since += chunks.iter().map(|chunk| N * chunk.len()).sum::<usize>();
            if anchors.is_full() || found.is_full() || is_part(room, n_since) {
                let files = [anchors.spill(room.scratch)?, found.spill(room.scratch)?];
                let files = files.into_iter().flatten().collect();
                room.scratch.note(&Note { step: SAMPLING.to_owned(), end: n_done as u64, files })?;
                n_since = 0;
            }
        }
        Ok(anchors.finish())
    }

    /// Stretches of texts; each begins with the last runs of the one before, so that none is cut.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let overlap = self.sampling.min_len - 1;
        self.texts.starts.windows(2).flat_map(move |text| {
            let (start, end) = (text[0] as usize, text[1] as usize);
            (start..end).step_by(CHUNK_LEN).map(move |at| at..end.min(at + CHUNK_LEN + overlap))
        })
    }

    fn sample(&self, chunk: &Range<usize>) -> Sampled {
        let mut sampled = Sampled::default();
        let text = self.text_around(chunk.start);
        let mut last: Option<(usize, u64)> = None;
        // Where anchors of the same surroundings began.
        let mut chain = usize::MAX;
        self.sampling.for_each_anchor(&self.texts.symbols[chunk.clone()], |at, hash| {
            let place = chunk.start + at;
            let anchor = self.anchor(place, &text);
            let follows = last.filter(|&(_, of_last)| of_last == hash).map(|(last, _)| last);
            last = Some((place, hash));
            match follows.filter(|&last| self.is_equal(anchor, self.anchor(last, &text))) {
                None => chain = place,
                // In a stretch of a short period anchors are as close as the period. These overlap with no run at the
                // first one, and tell nothing of others that the first one does not.
                Some(_) if self.is_sparse(place - chain) && self.may_be_source(chain) => {
                    let [start, end, source] =
                        [place - anchor.before, place + anchor.after, chain - anchor.before]
                            .map(|at| at as u64);
                    match sampled.repeats.last_mut() {
                        Some(last) if start < last[1] && self.goes_on(*last, end) => last[1] = end,
                        _ => sampled.repeats.push([start, end, source]),
                    }
                    return;
                }
                Some(_) => {}
            }
            sampled.anchors.push([hash, place as u64]);
        });
        sampled
    }

    /// Compares the anchors of each hash.
    fn compare(
        &self,
        anchors: &Sorted<2>,
        found: &mut Sorter<3>,
        room: Room<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        progress.stage("comparing", Some(anchors.len() as u64), "anchors");
        let mut n_done = 0;
        for note in room.scratch.notes().iter().filter(|note| note.step == COMPARING) {
            note.files.iter().try_for_each(|file| found.take_up(room.scratch, file))?;
            n_done = note.end;
        }
        progress.advance(n_done);
        let mut n_since = 0;
        let mut records = anchors.iter().skip(n_done as usize).peekable();
        let mut places: Vec<usize> = Vec::new();
        let mut ends: Vec<usize> = Vec::new();
        while let Some([hash, place]) = records.next() {
            let start = places.len();
            places.push(place as usize);
            let mut n_records = 1;
            while let Some([_, place]) = records.next_if(|record| record[0] == hash) {
                n_records += 1;
                // Where chunks overlap, both have an anchor.
                if places.last() != Some(&(place as usize)) {
                    places.push(place as usize);
                }
            }
            progress.advance(n_records);
            n_done += n_records;
            n_since += 16 * n_records as usize;
            if places.len() == start + 1 {
                places.pop();
            } else {
                ends.push(places.len());
            }
            let is_enough = places.len() >= ANCHORS_AT_ONCE || is_part(room, n_since);
            if !is_enough && records.peek().is_some() {
                continue;
            }
            stop_if(progress)?;
            let starts = [0].into_iter().chain(ends.iter().copied());
            let groups: Vec<&[usize]> = starts.zip(&ends).map(|(start, &end)| &places[start..end]).collect();
            let repeats: Vec<Vec<[u64; 3]>> =
                groups.into_par_iter().map(|group| self.repeats_of(group)).collect();
            found.extend(repeats.into_iter().flatten());
            if found.is_full() || is_part(room, n_since) {
                let files = found.spill(room.scratch)?.into_iter().collect();
                room.scratch.note(&Note { step: COMPARING.to_owned(), end: n_done, files })?;
                n_since = 0;
            }
            places.clear();
            ends.clear();
        }
        Ok(())
    }

    /// Whether an anchor so far from the first of its chain tells nothing new.
    fn is_sparse(&self, distance: usize) -> bool {
        self.min_count == 2 && distance >= self.sampling.min_len
    }

    /// The repeats around the anchors of one hash, which are in order.
    fn repeats_of(&self, places: &[usize]) -> Vec<[u64; 3]> {
        if places.len() < self.min_count {
            return Vec::new();
        }
        let anchors: Vec<Anchor> =
            places.iter().map(|&place| self.anchor(place, &self.text_around(place))).collect();
        if self.min_count > 2 {
            return self.repeats_by_run(&anchors);
        }
        let mut found = Vec::new();
        // Those whose surroundings are not all those of one before.
        let mut different: Vec<Anchor> = Vec::new();
        for &anchor in &anchors {
            let is_covered = different.iter().any(|&earlier| {
                let (before, after) = self.shared(anchor, earlier);
                if before + after < self.sampling.min_len || !self.may_count(anchor.place, earlier.place) {
                    return false;
                }
                let stretch = |place: usize, source: usize| {
                    [place - before, place + after, source - before].map(|at| at as u64)
                };
                found.push(stretch(anchor.place, earlier.place));
                if self.copies == Copies::All {
                    found.push(stretch(earlier.place, anchor.place));
                }
                before == anchor.before && after == anchor.after
            });
            if is_covered || !self.may_be_source(anchor.place) {
                continue;
            }
            if different.len() == MAX_DIFFERENT {
                return self.repeats_by_run(&anchors);
            }
            different.push(anchor);
        }
        found
    }

    /// The same, by sorting the hashes of the runs around the anchors.
    fn repeats_by_run(&self, anchors: &[Anchor]) -> Vec<[u64; 3]> {
        let len = self.sampling.min_len;
        let mut found = Vec::new();
        let anchors = &self.different(anchors, &mut found)[..];
        let shared = self.most_shared(anchors);
        let run = |i: usize, before: usize| &self.texts.symbols[anchors[i].place - before..][..len];
        // The stretch of each anchor that grows as runs begin earlier.
        let mut growing: Vec<Option<[u64; 3]>> = vec![None; anchors.len()];
        for before in 0..=self.sampling.before() {
            let may_repeat = |&i: &usize| shared[i].before >= before && before + shared[i].after >= len;
            let mut runs: Vec<(u64, usize)> = (0..anchors.len())
                .into_par_iter()
                .filter(may_repeat)
                .map(|i| (xxh3_64(run(i, before).as_flattened()), i))
                .collect();
            runs.par_sort_unstable();
            let mut take = |i: usize, source: usize| {
                let [start, source] =
                    [anchors[i].place, anchors[source].place].map(|at| (at - before) as u64);
                match &mut growing[i] {
                    Some([begin, _, of]) if (*begin, *of) == (start + 1, source + 1) => {
                        (*begin, *of) = (start, source)
                    }
                    stretch => found.extend(stretch.replace([start, start + len as u64, source])),
                }
            };
            for same in runs.chunk_by(|a, b| a.0 == b.0) {
                let mut left: Vec<usize> = same.iter().map(|&(_, i)| i).collect();
                while let [first, ..] = left[..] {
                    let is_equal = |&i: &usize| run(i, before) == run(first, before);
                    let (equal, others): (Vec<usize>, Vec<usize>) = left.into_iter().partition(is_equal);
                    for &i in equal[1..].iter().filter(|_| equal.len() >= self.min_count) {
                        if self.may_count(anchors[i].place, anchors[first].place) {
                            take(i, first);
                            if self.copies == Copies::All && i == equal[1] {
                                take(first, i);
                            }
                        }
                    }
                    left = others;
                }
            }
        }
        found.extend(growing.into_iter().flatten());
        found
    }

    /// Those of some anchors whose surroundings are not all those of one before; what the others repeat is found.
    ///
    /// Where runs are counted, all of them.
    fn different(&self, anchors: &[Anchor], found: &mut Vec<[u64; 3]>) -> Vec<Anchor> {
        if self.min_count > 2 {
            return anchors.to_vec();
        }
        let around =
            |anchor: Anchor| &self.texts.symbols[anchor.place - anchor.before..anchor.place + anchor.after];
        let hash = |(i, &anchor): (usize, &Anchor)| (xxh3_64(around(anchor).as_flattened()), i);
        let mut hashes: Vec<(u64, usize)> = anchors.par_iter().enumerate().map(hash).collect();
        hashes.par_sort_unstable();
        let mut kept: Vec<usize> = Vec::new();
        for same in hashes.chunk_by(|a, b| a.0 == b.0) {
            let first = anchors[same[0].1];
            kept.push(same[0].1);
            for &(_, i) in &same[1..] {
                let Anchor { place, before, after } = anchors[i];
                if !self.is_equal(anchors[i], first) || !self.may_count(place, first.place) {
                    kept.push(i);
                    continue;
                }
                if before + after < self.sampling.min_len {
                    continue;
                }
                let stretch = |place: usize, source: usize| {
                    [place - before, place + after, source - before].map(|at| at as u64)
                };
                found.push(stretch(place, first.place));
                if self.copies == Copies::All {
                    found.push(stretch(first.place, place));
                }
            }
        }
        kept.sort_unstable();
        kept.into_iter().map(|i| anchors[i]).collect()
    }

    /// How far the surroundings of each anchor are equal to those of any other, before it and after it: what lies next to
    /// them in order shares the most with them.
    fn most_shared(&self, anchors: &[Anchor]) -> Vec<Shared> {
        let symbols = self.texts.symbols;
        let mut shared = vec![Shared { before: 0, after: self.sampling.gram }; anchors.len()];
        let before = |anchor: &Anchor| {
            let reversed: Vec<[u8; N]> =
                symbols[anchor.place - anchor.before..anchor.place].iter().rev().copied().collect();
            reversed
        };
        let after = |anchor: &Anchor| {
            let gram = self.sampling.gram.min(anchor.after);
            symbols[anchor.place + gram..anchor.place + anchor.after].to_vec()
        };
        for (i, n) in most_common(anchors, before) {
            shared[i].before = n;
        }
        for (i, n) in most_common(anchors, after) {
            shared[i].after += n;
        }
        shared
    }

    /// The text that holds a symbol.
    fn text_around(&self, place: usize) -> Range<usize> {
        let starts = self.texts.starts;
        let i = starts.partition_point(|&start| start <= place as u64);
        starts[i - 1] as usize..starts[i] as usize
    }

    fn anchor(&self, place: usize, text: &Range<usize>) -> Anchor {
        let before = self.sampling.before().min(place - text.start);
        let after = self.sampling.min_len.min(text.end - place);
        Anchor { place, before, after }
    }

    /// Whether a stretch and its source are equal up to another end, within their texts.
    fn goes_on(&self, [start, end, source]: [u64; 3], to: u64) -> bool {
        let symbols = self.texts.symbols;
        let [here, there] = [end, source + (end - start)].map(|at| at as usize);
        let n = (to - end) as usize;
        let fits = [here, there].iter().all(|&at| at + n <= self.text_around(at - 1).end);
        fits && symbols[here..here + n] == symbols[there..there + n]
    }

    /// How far the surroundings of two anchors are equal, before and after them.
    fn shared(&self, a: Anchor, b: Anchor) -> (usize, usize) {
        let symbols = self.texts.symbols;
        let [before_a, before_b] = [a, b].map(|anchor| &symbols[anchor.place - anchor.before..anchor.place]);
        let [after_a, after_b] = [a, b].map(|anchor| &symbols[anchor.place..][..anchor.after]);
        let n_after = common_prefix(after_a, after_b);
        (common_suffix(before_a, before_b), n_after)
    }

    fn is_equal(&self, a: Anchor, b: Anchor) -> bool {
        let around = |anchor: Anchor| {
            let Anchor { place, before, after } = anchor;
            &self.texts.symbols[place - before..place + after]
        };
        a.before == b.before && around(a) == around(b)
    }

    /// Whether the earlier of two anchors can be the one that stays.
    fn may_be_source(&self, place: usize) -> bool {
        match self.copies {
            Copies::All => true,
            Copies::ButTheFirst(end) => (place as u64) < end,
        }
    }

    /// Whether runs at a place are repeats of those at an earlier one. Where they overlap, cutting one would cut the
    /// other.
    fn may_count(&self, place: usize, earlier: usize) -> bool {
        match self.copies {
            Copies::All => true,
            Copies::ButTheFirst(_) => {
                let overlap =
                    place - earlier < self.sampling.min_len && self.text_around(place).start <= earlier;
                !overlap && self.may_be_source(earlier)
            }
        }
    }
}

/// For each anchor, by its number, how many symbols of its context any other begins with alike.
fn most_common<const N: usize>(
    anchors: &[Anchor],
    context: impl Fn(&Anchor) -> Vec<[u8; N]> + Sync,
) -> impl Iterator<Item = (usize, usize)> {
    let mut contexts: Vec<(Vec<[u8; N]>, usize)> =
        anchors.par_iter().enumerate().map(|(i, anchor)| (context(anchor), i)).collect();
    contexts.par_sort_unstable();
    let common = |i: usize| match contexts.get(i..i + 2) {
        Some([a, b]) => common_prefix(&a.0, &b.0),
        _ => 0,
    };
    let neighbours: Vec<usize> = (0..contexts.len()).into_par_iter().map(common).collect();
    contexts.into_iter().enumerate().map(move |(at, (_, i))| {
        let with_last = at.checked_sub(1).map_or(0, |last| neighbours[last]);
        (i, neighbours[at].max(with_last))
    })
}

/// How many symbols two texts begin with alike.
pub(crate) fn common_prefix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let (chunks_a, chunks_b) = (a.chunks_exact(8), b.chunks_exact(8));
    let n = 8 * chunks_a.zip(chunks_b).take_while(|(a, b)| a == b).count();
    n + a[n..].iter().zip(&b[n..]).take_while(|(a, b)| a == b).count()
}

/// How many symbols two texts end with alike.
pub(crate) fn common_suffix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let (chunks_a, chunks_b) = (a.rchunks_exact(8), b.rchunks_exact(8));
    let n = 8 * chunks_a.zip(chunks_b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - n], &b[..b.len() - n]);
    n + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;

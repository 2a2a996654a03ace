//! What becomes of each document by its repeats, in the order of preference: what it loses, and where that stays.

use std::collections::BTreeMap;
use std::ops::Range;

use verbatim_corpus::DocId;
use verbatim_index::Repeat;

use crate::config::Stage;
use crate::cut::Cut;
use crate::plan::Removal;
use crate::substring::SubstringSearch;
use crate::substring::rounds::without;
use crate::substring::spooled::Spooled;

/// Decides one document after the other. Places count symbols over all texts.
pub(super) struct Fates<'a> {
    search: &'a SubstringSearch<'a>,
    spooled: &'a Spooled<'a>,
    /// What goes, ascending.
    gone: Vec<Gone>,
    /// Where parts of it that had no copy stay after all, by their first symbol.
    found: BTreeMap<u64, Found>,
    removals: Vec<Removal>,
    cuts: Vec<Cut>,
}

/// A stretch that goes.
#[derive(Clone, Copy)]
struct Gone {
    start: u64,
    end: u64,
    /// Where its first symbol stays, with what follows; [`NO_COPY`] where no copy does, because the document that had it
    /// was removed for its other parts.
    copy: u64,
}

const NO_COPY: u64 = u64::MAX;

/// Where a stretch stays that went when it had no copy.
#[derive(Clone, Copy)]
struct Found {
    end: u64,
    home: u64,
}

/// Where a symbol stays.
#[derive(Clone, Copy)]
enum Home {
    At(u64),
    /// Nowhere: it went from here.
    Nowhere(u64),
}

/// A stretch of a document that stands elsewhere too, or did.
struct Copied {
    start: u64,
    end: u64,
    home: Home,
}

impl Copied {
    /// Where one of its symbols stays: here, if nowhere else.
    fn home_of(&self, symbol: u64) -> u64 {
        match self.home {
            Home::At(home) => home + (symbol - self.start),
            Home::Nowhere(_) => symbol,
        }
    }
}

impl<'a> Fates<'a> {
    pub(super) fn new(search: &'a SubstringSearch<'a>, spooled: &'a Spooled<'a>) -> Self {
        Fates {
            search,
            spooled,
            gone: Vec::new(),
            found: BTreeMap::new(),
            removals: Vec::new(),
            cuts: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Removal>, Vec<Cut>) {
        (self.removals, self.cuts)
    }

    /// Decides about the next document by its repeats.
    pub(super) fn decide(&mut self, rank: usize, repeats: &[Repeat], is_needed: bool) {
        let copied = self.copied(self.spooled.start_of(rank), repeats);
        let text = self.spooled.text(rank);
        let stretches: Vec<Range<usize>> = self
            .stretches(&copied)
            .into_iter()
            .filter_map(|stretch| self.spooled.bytes_of(rank, &stretch, text.len()))
            .collect();
        let cuts = self.search.config.snap.inwards(&text, &stretches);
        let (doc, is_struck) = (self.search.ranking[rank], self.search.config.strike_all);
        let is_short = !cuts.is_empty() && left(&text, &cuts) < self.search.config.min_left_bytes.max(1);
        // A document of which nothing stands in another one is no copy.
        let other = if is_struck { Some(doc) } else { self.other_of(rank, &copied) };
        match (is_short, other) {
            (true, _) if is_needed => self.keep(&copied, &[]),
            (true, Some(kept)) => {
                self.removals.push(Removal { doc, kept, stage: Stage::Substring, similarity: 1.0 });
                self.remove(self.spooled.symbols_of(rank), &copied);
            }
            (false, _) | (true, None) => {
                let cut = |range: Range<usize>| {
                    let [start, end] = [range.start, range.end].map(|byte| byte as u64);
                    let (kept, kept_start) = match is_struck {
                        true => (doc, start),
                        false => self.place_of(home_of(&copied, self.spooled.first_in(rank, range.start))),
                    };
                    Cut { doc, start, end, kept, kept_start, stage: Stage::Substring }
                };
                let found: Vec<Cut> = match self.search.config.until_clean && !is_struck {
                    false => cuts.iter().cloned().map(cut).collect(),
                    true => {
                        cuts.iter().flat_map(|range| self.by_home(rank, &copied, range)).map(cut).collect()
                    }
                };
                self.cuts.extend(found);
                let symbols = |range: &Range<usize>| {
                    self.spooled.symbol_at(rank, range.start)..self.spooled.symbol_at(rank, range.end)
                };
                // Where every copy goes, nobody asks where one stays.
                if !is_struck {
                    self.keep(&copied, &cuts.iter().map(symbols).collect::<Vec<_>>());
                }
            }
        }
    }

    /// The repeats of a text that begins at `text` in pieces, each with its home.
    fn copied(&self, text: u64, repeats: &[Repeat]) -> Vec<Copied> {
        let mut copied = Vec::new();
        for &Repeat { start, end, source } in repeats {
            if self.search.config.strike_all {
                copied.push(Copied { start, end, home: Home::At(source) });
                continue;
            }
            if source < text {
                let mut at = start;
                self.for_each_home(source..source + (end - start), &mut |home, len| {
                    push(&mut copied, Copied { start: at, end: at + len, home });
                    at += len;
                });
                continue;
            }
            // In the same text, where the source may go as well, and may reach into the repeat itself.
            let mut at = start;
            while at < end {
                let from = source + (at - start);
                let next = copied.get(copied.partition_point(|piece| piece.end <= from));
                let (home, len) = match next {
                    Some(piece) if piece.start <= from => (piece.home_of(from), piece.end - from),
                    Some(piece) => (from, piece.start - from),
                    None => (from, at - from),
                };
                let to = end.min(at + len);
                push(&mut copied, Copied { start: at, end: to, home: Home::At(home) });
                at = to;
            }
        }
        copied
    }

    /// Calls `take` with pieces of a stretch, in order: where each stays, and its length. What is gone is noted with
    /// its home, so that only what lost its home and found another has to be followed further.
    fn for_each_home(&self, stretch: Range<u64>, take: &mut dyn FnMut(Home, u64)) {
        let Range { start: mut at, end } = stretch;
        let mut i = self.gone.partition_point(|gone| gone.end <= at);
        while at < end {
            let gone = self.gone.get(i).filter(|gone| gone.start < end);
            let next = gone.map_or(end, |gone| gone.start.max(at));
            if at < next {
                take(Home::At(at), next - at);
                at = next;
                continue;
            }
            let Some(gone) = gone else { break };
            let next = gone.end.min(end);
            match gone.copy {
                NO_COPY => self.for_each_found(at..next, take),
                copy => self.for_each_home(copy + (at - gone.start)..copy + (next - gone.start), take),
            }
            at = next;
            i += 1;
        }
    }

    /// The same for a stretch that went without a copy.
    fn for_each_found(&self, stretch: Range<u64>, take: &mut dyn FnMut(Home, u64)) {
        let Range { start: mut at, end } = stretch;
        while at < end {
            let before = self.found.range(..=at).next_back().filter(|(_, found)| found.end > at);
            let next = match before {
                Some((&start, found)) => {
                    let next = found.end.min(end);
                    let home = found.home + (at - start);
                    self.for_each_home(home..home + (next - at), take);
                    next
                }
                None => {
                    let next = self.found.range(at..end).next().map_or(end, |(&next, _)| next);
                    take(Home::Nowhere(at), next - at);
                    next
                }
            };
            at = next;
        }
    }

    /// What stands elsewhere too, in one piece each.
    fn stretches(&self, copied: &[Copied]) -> Vec<Range<u64>> {
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for piece in copied.iter().filter(|piece| matches!(piece.home, Home::At(_))) {
            match stretches.last_mut() {
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => stretches.push(piece.start..piece.end),
            }
        }
        stretches
    }

    /// A cut in parts that each stay in one place.
    fn by_home(&self, rank: usize, copied: &[Copied], cut: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.spooled.first_in(rank, cut.start);
        let others = &copied[copied.partition_point(|piece| piece.start <= first)..];
        let mut parts = vec![cut.clone()];
        for piece in others {
            // Where a character begins.
            let begins =
                |&symbol: &u64| self.spooled.place(rank, symbol) > self.spooled.place(rank, symbol - 1);
            let Some(symbol) = (piece.start..piece.end).find(begins) else { continue };
            let byte = self.spooled.place(rank, symbol);
            match parts.last_mut().filter(|_| byte < cut.end) {
                None => break,
                Some(last) => last.end = byte,
            }
            parts.push(byte..cut.end);
        }
        parts
    }

    /// Notes a document that stays but for its cuts. What it has and nobody else any more is at home here now.
    fn keep(&mut self, copied: &[Copied], cuts: &[Range<u64>]) {
        for cut in cuts {
            let first = copied.partition_point(|piece| piece.end <= cut.start);
            for piece in copied[first..].iter().take_while(|piece| piece.start < cut.end) {
                let (start, end) = (piece.start.max(cut.start), piece.end.min(cut.end));
                if let Home::At(home) = piece.home {
                    self.gone.push(Gone { start, end, copy: home + (start - piece.start) });
                }
            }
        }
        for &Copied { start, end, home } in copied {
            if let Home::Nowhere(from) = home {
                self.bring_home(from..from + (end - start), start);
            }
        }
    }

    /// Notes that what went from a stretch stays from this symbol on.
    fn bring_home(&mut self, stretch: Range<u64>, home: u64) {
        let mut lost = Vec::new();
        let mut at = home;
        self.for_each_home(stretch, &mut |from, len| {
            if let Home::Nowhere(from) = from {
                lost.push((from, len, at));
            }
            at += len;
        });
        for (from, len, home) in lost {
            self.found.insert(from, Found { end: from + len, home });
        }
    }

    /// Notes a document that goes: what has no copy is lost until another document has it.
    fn remove(&mut self, symbols: Range<u64>, copied: &[Copied]) {
        let mut at = symbols.start;
        for &Copied { start, end, home } in copied {
            if at < start {
                self.gone.push(Gone { start: at, end: start, copy: NO_COPY });
            }
            let (Home::At(copy) | Home::Nowhere(copy)) = home;
            self.gone.push(Gone { start, end, copy });
            at = end;
        }
        if at < symbols.end {
            self.gone.push(Gone { start: at, end: symbols.end, copy: NO_COPY });
        }
    }

    /// The first other document that a part of this one stays in.
    fn other_of(&self, rank: usize, copied: &[Copied]) -> Option<DocId> {
        let own = self.spooled.symbols_of(rank);
        let mut homes = copied.iter().map(|piece| piece.home_of(piece.start));
        let other = homes.find(|home| !own.contains(home))?;
        Some(self.search.ranking[self.spooled.rank_of(other)])
    }

    /// The document of a symbol, and the byte at which it begins there.
    fn place_of(&self, symbol: u64) -> (DocId, u64) {
        let rank = self.spooled.rank_of(symbol);
        (self.search.ranking[rank], self.spooled.place(rank, symbol) as u64)
    }
}

/// Adds a piece to those before it, in one with the last where its home goes on from that.
fn push(copied: &mut Vec<Copied>, piece: Copied) {
    if let Some(last) = copied.last_mut().filter(|last| last.end == piece.start) {
        let len = last.end - last.start;
        let goes_on = match (last.home, piece.home) {
            (Home::At(home), Home::At(next)) | (Home::Nowhere(home), Home::Nowhere(next)) => {
                home + len == next
            }
            _ => false,
        };
        if goes_on {
            last.end = piece.end;
            return;
        }
    }
    copied.push(piece);
}

/// Where a symbol that is cut stays.
fn home_of(copied: &[Copied], symbol: u64) -> u64 {
    copied[copied.partition_point(|piece| piece.end <= symbol)].home_of(symbol)
}

/// Bytes of a text without its cuts, and without white space at the ends.
fn left(text: &[u8], cuts: &[Range<usize>]) -> u64 {
    let left = without(text, cuts.iter().cloned());
    String::from_utf8_lossy(&left).trim().len() as u64
}

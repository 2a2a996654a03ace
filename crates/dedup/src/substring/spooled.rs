//! The texts that are searched, one after the other in the order of preference, in a temporary file.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::{Texts, for_each_token};
use verbatim_store::{Bytes, Progress, Spool};

use crate::cut::{Cut, Earlier};
use crate::error::{Error, Result};
use crate::room::wave;
use crate::substring::rounds::{cuts_of, left_of};
use crate::substring::{RunUnit, SubstringSearch, TokenPlacesFn};

/// Texts as bytes, or as four bytes for each token.
pub(super) struct Spooled<'a> {
    corpus: &'a Corpus,
    ranking: &'a [DocId],
    /// What earlier rounds cut.
    cuts: &'a [Cut],
    symbols: Bytes,
    /// Where each text begins, by rank, in bytes or tokens; then the end. Texts that are not searched are empty.
    starts: Vec<u64>,
    /// The byte at which each token begins in its text, in four bytes; `None` where symbols are bytes.
    places: Option<Bytes>,
}

/// The tokens of a text, and where each begins.
type Tokenized = (Vec<u8>, Vec<u8>);

impl<'a> Spooled<'a> {
    pub(super) fn of(
        search: &SubstringSearch<'a>,
        earlier: &Earlier<'_>,
        cuts: &'a [Cut],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let SubstringSearch { corpus, ranking, config, resources, .. } = *search;
        progress.stage("collecting texts", Some(ranking.len() as u64), "documents");
        let folder = resources.scratch.folder();
        let mut symbols = Spool::create(folder)?;
        let mut places = match &config.unit {
            RunUnit::Bytes => None,
            RunUnit::Tokens(tokens) => Some((Spool::create(folder)?, tokens)),
        };
        let mut starts = vec![0];
        let failed = |error| verbatim_store::Error::io(folder, "write a temporary file", error);
        let room = resources.room();
        let mut rest = ranking;
        while !rest.is_empty() {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let (docs, after) = rest.split_at(wave(&room, corpus, rest));
            // A text of white space is nobody's copy.
            let is_out = |doc: DocId| earlier.is_removed(doc) || corpus.is_blank(doc);
            let text = |&doc: &DocId| match is_out(doc) {
                true => Cow::default(),
                false => left_of(corpus.text(doc), cuts_of(cuts, doc)),
            };
            match &mut places {
                None => {
                    let texts: Vec<Cow<'_, [u8]>> = docs.par_iter().map(text).collect();
                    for text in texts {
                        symbols.write_all(&text).map_err(failed)?;
                        starts.push(symbols.n_bytes());
                    }
                }
                Some((places, tokens)) => {
                    let texts: Vec<Tokenized> =
                        docs.par_iter().map(|doc| tokenized(&text(doc), tokens)).collect();
                    for (ids, begins) in texts {
                        symbols.write_all(&ids).map_err(failed)?;
                        places.write_all(&begins).map_err(failed)?;
                        starts.push(symbols.n_bytes() / 4);
                    }
                }
            }
            progress.advance(docs.len() as u64);
            rest = after;
        }
        let places = places.map(|(places, _)| places.into_bytes()).transpose()?;
        Ok(Spooled { corpus, ranking, cuts, symbols: symbols.into_bytes()?, starts, places })
    }

    /// The texts in symbols of `N` bytes.
    pub(super) fn texts<const N: usize>(&self) -> Texts<'_, N> {
        Texts { symbols: self.symbols.as_chunks().0, starts: &self.starts }
    }

    /// The first symbol of a text.
    pub(super) fn start_of(&self, rank: usize) -> u64 {
        self.starts[rank]
    }

    /// The text that holds a symbol.
    pub(super) fn rank_of(&self, symbol: u64) -> usize {
        self.starts.partition_point(|&start| start <= symbol) - 1
    }

    /// The text itself.
    pub(super) fn text(&self, rank: usize) -> Cow<'_, [u8]> {
        match self.places {
            None => Cow::Borrowed(&self.symbols[self.starts[rank] as usize..self.starts[rank + 1] as usize]),
            Some(_) => {
                let doc = self.ranking[rank];
                left_of(self.corpus.text(doc), cuts_of(self.cuts, doc))
            }
        }
    }

    /// The symbols of a text.
    pub(super) fn symbols_of(&self, rank: usize) -> Range<u64> {
        self.starts[rank]..self.starts[rank + 1]
    }

    /// The byte of its text at which a symbol begins.
    pub(super) fn place(&self, rank: usize, symbol: u64) -> usize {
        match &self.places {
            None => (symbol - self.starts[rank]) as usize,
            Some(places) => u32::from_le_bytes(places.as_chunks().0[symbol as usize]) as usize,
        }
    }

    /// The bytes of its text that some symbols stand for, but for characters of which they are a part only.
    pub(super) fn bytes_of(
        &self,
        rank: usize,
        symbols: &Range<u64>,
        text_len: usize,
    ) -> Option<Range<usize>> {
        let Range { mut start, end } = *symbols;
        let is_inside = |symbol: u64| {
            symbol > self.starts[rank] && self.place(rank, symbol) == self.place(rank, symbol - 1)
        };
        while start < end && is_inside(start) {
            start += 1;
        }
        let to = if end == self.starts[rank + 1] { text_len } else { self.place(rank, end) };
        (start < end).then(|| self.place(rank, start)..to).filter(|bytes| !bytes.is_empty())
    }

    /// The symbol that holds a byte.
    pub(super) fn first_in(&self, rank: usize, byte: usize) -> u64 {
        self.symbol_at(rank, byte + 1) - 1
    }

    /// The first symbol of a text that begins at or after a byte.
    pub(super) fn symbol_at(&self, rank: usize, byte: usize) -> u64 {
        let Range { start, end } = self.symbols_of(rank);
        match &self.places {
            None => start + byte as u64,
            Some(places) => {
                let places: &[[u8; 4]] = places.as_chunks().0;
                let places = &places[start as usize..end as usize];
                start + places.partition_point(|&place| (u32::from_le_bytes(place) as usize) < byte) as u64
            }
        }
    }
}

fn tokenized(text: &[u8], tokens: &TokenPlacesFn) -> Tokenized {
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for_each_token(
        text,
        |text| tokens(text),
        |id, place| {
            ids.extend_from_slice(&id.to_le_bytes());
            // Texts have less than 4 GiB, as records have.
            places.extend_from_slice(&(place as u32).to_le_bytes());
        },
    );
    (ids, places)
}

//! Counts and finds strings in a corpus, by whichever engine suits their length.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_corpus::Corpus;
use verbatim_store::Progress;

use crate::count::{distinct, scan_for};
use crate::error::{Error, Result, stop_if};
use crate::occurrences::Occurrences;
use crate::substring_index::Indexed;
use crate::suffix::SuffixArray;
use crate::symbols::Symbols;

/// What finds a string. All are exact, and give the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The index on disk: strings of its minimum length and more.
    Index,
    /// A pass over the corpus for many strings at once.
    Scan,
    /// A suffix array in memory.
    Suffix,
}

/// How strings are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Locator<'a> {
    /// Where.
    pub corpus: &'a Corpus,
    /// An index of the corpus.
    pub index: Option<Indexed<'a>>,
    /// What is to find them; `None` for the index where there is one and the string is long enough, and else a scan.
    pub engine: Option<Engine>,
    /// How many places of each string are told.
    pub most_places: usize,
    /// Bytes of memory for a suffix array.
    pub memory: usize,
}

/// What was found of a string, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// What found it.
    pub engine: Engine,
    /// Where it stands.
    pub occurrences: Occurrences,
}

impl Locator<'_> {
    /// Finds strings, in an index of tokens as [`crate::token_bytes`]; an empty one stands nowhere.
    ///
    /// # Errors
    /// [`Error::TooShort`] and [`Error::NoRoom`] for an engine that was asked for and cannot find them, what is wrong with
    /// the index, interruption.
    pub fn locate(&self, strings: &[&[u8]], progress: &dyn Progress) -> Result<Vec<Located>> {
        let engine = |string: &&[u8]| {
            let min_bytes = self.index.map(|index| index.min_len() * index.symbols().width());
            self.engine.unwrap_or(match min_bytes.is_some_and(|min_bytes| string.len() >= min_bytes) {
                true => Engine::Index,
                false => Engine::Scan,
            })
        };
        let engines: Vec<Engine> = strings.iter().map(engine).collect();
        let mut all: Vec<Located> = Vec::with_capacity(strings.len());
        all.extend(engines.iter().map(|&engine| Located { engine, occurrences: Occurrences::default() }));
        for engine in [Engine::Index, Engine::Scan, Engine::Suffix] {
            let of_engine: Vec<usize> = (0..strings.len()).filter(|&i| engines[i] == engine).collect();
            if of_engine.is_empty() {
                continue;
            }
            let wanted: Vec<&[u8]> = of_engine.iter().map(|&i| strings[i]).collect();
            let found = distinct(&wanted, |strings| self.find(engine, strings, progress))?;
            of_engine.into_iter().zip(found).for_each(|(i, found)| all[i].occurrences = found);
        }
        stop_if(progress)?;
        Ok(all)
    }

    fn find(&self, engine: Engine, strings: &[&[u8]], progress: &dyn Progress) -> Result<Vec<Occurrences>> {
        let symbols = self.index.as_ref().map_or(Symbols::Bytes(self.corpus), Indexed::symbols);
        match (engine, self.index) {
            (Engine::Index, Some(index)) => index.find(strings, self.most_places, progress),
            (Engine::Index, None) => Err(Error::NoIndex),
            (Engine::Scan, _) => scan_for(symbols, strings, self.most_places, progress),
            (Engine::Suffix, _) => {
                let array = SuffixArray::build(symbols, self.memory, progress)?;
                Ok(strings.par_iter().map(|string| array.find(string, self.most_places)).collect())
            }
        }
    }
}

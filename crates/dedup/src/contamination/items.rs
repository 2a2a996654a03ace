//! The evaluation items in memory: each part as numbers of words.

use std::collections::BTreeSet;
use std::ops::Range;

use rustc_hash::FxHashMap;
use serde_json::Value;
use verbatim_corpus::{Corpus, DocId, FieldPath};
use verbatim_index::{Normalizer, words};

use super::{ContaminationConfig, ItemPart};
use crate::error::{Error, Result};

/// A word that no item has.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// The words of all items.
pub(super) struct Items {
    pub(super) normalizer: Normalizer,
    /// The different words, by their number.
    pub(super) vocabulary: FxHashMap<Box<str>, u32>,
    /// The words of all parts, one part after the other.
    pub(super) words: Vec<u32>,
    pub(super) parts: Vec<Part>,
    pub(super) n_lacking: Vec<u64>,
}

/// One part of an item.
pub(super) struct Part {
    pub(super) told: ItemPart,
    /// Where its words are among those of all parts.
    pub(super) words: Range<usize>,
}

impl Items {
    pub(super) fn read(eval: &Corpus, config: &ContaminationConfig) -> Result<Items> {
        let mut items = Items {
            normalizer: config.normalizer.clone(),
            vocabulary: FxHashMap::default(),
            words: Vec::new(),
            parts: Vec::new(),
            n_lacking: vec![0; config.fields.len()],
        };
        for item in eval.ids() {
            let mut had = BTreeSet::new();
            for (field, name, text) in texts(eval, &config.fields, item) {
                had.insert(field);
                let words = items.push(&text)?;
                let (n_words, judged) = (words.len() as u64, words.len() >= config.min_words.max(1));
                items.parts.push(Part { told: ItemPart { item, field, name, n_words, judged }, words });
            }
            for (field, n_lacking) in items.n_lacking.iter_mut().enumerate() {
                *n_lacking += u64::from(!had.contains(&field));
            }
        }
        let never = items.n_lacking.iter().position(|&n| n == eval.n_documents() && n > 0);
        match never {
            Some(field) => Err(Error::NoEvaluationField(config.fields[field].to_string())),
            None => Ok(items),
        }
    }

    fn push(&mut self, text: &str) -> Result<Range<usize>> {
        let start = self.words.len();
        for word in words(&self.normalizer.apply(text)) {
            let next = self.vocabulary.len() as u32;
            let number = match self.vocabulary.get(word) {
                Some(&number) => number,
                None => *self.vocabulary.entry(word.into()).or_insert(next),
            };
            self.words.push(number);
        }
        // Also bounds the n-grams, of which there are no more than words, and the vocabulary.
        if self.words.len() >= UNKNOWN as usize {
            Err(Error::TooManyWords)
        } else {
            Ok(start..self.words.len())
        }
    }

    /// The number of a word, or [`UNKNOWN`].
    pub(super) fn number(&self, word: &str) -> u32 {
        self.vocabulary.get(word).copied().unwrap_or(UNKNOWN)
    }
}

/// The texts of an item: (number of the field, name, text). The elements of an array are parts of their own.
pub(super) fn texts<'a>(
    eval: &'a Corpus,
    fields: &'a [FieldPath],
    item: DocId,
) -> impl Iterator<Item = (usize, String, String)> + 'a {
    fields.iter().enumerate().flat_map(move |(number, field)| {
        let name = field.to_string();
        if number == 0 {
            return vec![(number, name, eval.text_str(item).into_owned())];
        }
        match eval.field(item, field) {
            Some(Value::String(text)) => vec![(number, name, text)],
            Some(Value::Array(values)) => {
                let text = |(i, value)| match value {
                    Value::String(text) => Some((number, format!("{name}[{i}]"), text)),
                    _ => None,
                };
                values.into_iter().enumerate().filter_map(text).collect()
            }
            _ => Vec::new(),
        }
    })
}

/// The bytes of the first `n_words` words of the normalised text in the text itself: those of the words that they
/// came from.
///
/// `None` where normalisation moved words across their borders, so that the two cannot be aligned.
pub(super) fn places(text: &str, normalizer: &Normalizer, n_words: usize) -> Option<Vec<Range<u64>>> {
    let normalised = normalizer.apply(text);
    let mut expected = words(&normalised).into_iter();
    let mut places = Vec::with_capacity(n_words);
    for word in words(text) {
        let start = (word.as_ptr() as usize - text.as_ptr() as usize) as u64;
        for piece in words(&normalizer.apply(word)) {
            if places.len() == n_words {
                return Some(places);
            }
            if expected.next() != Some(piece) {
                return None;
            }
            places.push(start..start + word.len() as u64);
        }
    }
    (places.len() == n_words).then_some(places)
}

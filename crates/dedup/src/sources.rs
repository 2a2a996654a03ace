//! Which source each document comes from, and what each source loses: a plan that takes nearly everything of one is
//! more likely a mistake than a find.

use std::cmp::Ordering;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde_json::Value;
use verbatim_corpus::{Corpus, DocId, FieldPath};

use crate::error::{Error, Result};
use crate::plan::Plan;

/// Sources that a field may name; a field of more values tells documents apart, not sources.
const MAX_SOURCES: usize = 1 << 16;
/// The longest name of a source in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// Documents whose fields are read before they are counted.
const BATCH_DOCUMENTS: u64 = 1 << 16;

/// The source of each document: four bytes a document, and each name once.
#[derive(Debug, Clone)]
pub struct Sources {
    names: Vec<Option<String>>,
    of: Vec<u32>,
}

/// What a source loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTally {
    /// Its name; `None` for the documents that name none.
    pub source: Option<String>,
    /// Documents of it.
    pub read: u64,
    /// Documents of it that go.
    pub removed: u64,
}

impl Sources {
    /// By where documents lie: the first folder of the file's path in the corpus, or the file where it lies in none.
    pub fn by_folder(corpus: &Corpus) -> Self {
        let mut interner = Interner::default();
        let mut of = Vec::with_capacity(corpus.n_documents() as usize);
        for (name, n_documents) in corpus.shard_names().iter().zip(corpus.shard_sizes()) {
            let folder = name.split_once('/').map_or(name.as_str(), |(folder, _)| folder);
            let source = interner.number(Some(folder.to_owned()));
            of.extend(std::iter::repeat_n(source, n_documents as usize));
        }
        Sources { names: interner.names, of }
    }

    /// For each document the place of its source in an order of preference, or the number of named sources where it is not
    /// named.
    ///
    /// # Errors
    /// [`Error::UnknownSource`] for the first name that no document's source has.
    pub(crate) fn places(&self, order: &[String]) -> Result<Vec<u32>> {
        let mut place_of = vec![order.len() as u32; self.names.len()];
        for (name, place) in order.iter().zip(0..) {
            let number = self.names.iter().position(|known| known.as_ref() == Some(name));
            place_of[number.ok_or_else(|| Error::UnknownSource(name.clone()))?] = place;
        }
        Ok(self.of.iter().map(|&source| place_of[source as usize]).collect())
    }

    /// By a field of the record, a string or a number, such as the `source` of the Dolma toolkit's records.
    ///
    /// # Errors
    /// [`Error::NotASource`] if the field has too many or too long values.
    pub fn by_field(corpus: &Corpus, field: &FieldPath) -> Result<Self> {
        let not_a_source = |cause: String| Error::NotASource { field: field.to_string(), cause };
        let mut interner = Interner::default();
        let mut of = Vec::with_capacity(corpus.n_documents() as usize);
        for start in (0..corpus.n_documents()).step_by(BATCH_DOCUMENTS as usize) {
            let batch = start..corpus.n_documents().min(start + BATCH_DOCUMENTS);
            let names: Vec<Option<String>> =
                batch.into_par_iter().map(|doc| corpus.field(DocId(doc), field).and_then(name_of)).collect();
            for name in names {
                if name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
                    return Err(not_a_source(format!("a value has more than {MAX_NAME_BYTES} bytes")));
                }
                of.push(interner.number(name));
            }
            if interner.names.len() > MAX_SOURCES {
                return Err(not_a_source(format!("it has more than {MAX_SOURCES} values")));
            }
        }
        Ok(Sources { names: interner.names, of })
    }

    /// The source of a document; `None` where it names none, or is not of the corpus itself.
    pub(crate) fn name(&self, doc: DocId) -> Option<&str> {
        let source = *self.of.get(doc.0 as usize)?;
        self.names[source as usize].as_deref()
    }

    /// What each source loses by a plan, those first that lose the largest share, then by documents and name.
    pub fn losses(&self, plan: &Plan) -> Vec<SourceTally> {
        let mut tallies: Vec<SourceTally> =
            self.names.iter().map(|name| SourceTally { source: name.clone(), read: 0, removed: 0 }).collect();
        self.of.iter().for_each(|&source| tallies[source as usize].read += 1);
        for removal in plan.removals() {
            tallies[self.of[removal.doc.0 as usize] as usize].removed += 1;
        }
        tallies.sort_by(|a, b| b.by_share(a).then(b.read.cmp(&a.read)).then_with(|| a.source.cmp(&b.source)));
        tallies
    }
}

impl SourceTally {
    /// Fewest documents of a source that can be wiped out. Of a few documents, all may be copies of one by chance: four
    /// files of one licence lose three quarters. Twenty lose more than nine tenths only if nineteen are copies.
    pub const MIN_DOCUMENTS: u64 = 20;

    /// The share of its documents that it loses.
    pub fn share(&self) -> f64 {
        self.removed as f64 / self.read.max(1) as f64
    }

    /// True if a source of at least [`SourceTally::MIN_DOCUMENTS`] loses more than this share.
    pub fn loses_more_than(&self, max_share: f64) -> bool {
        self.read >= Self::MIN_DOCUMENTS && self.share() > max_share
    }

    fn by_share(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.removed) * u128::from(b.read);
        cross(self, other).cmp(&cross(other, self))
    }
}

fn name_of(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Numbers names in the order in which they come.
#[derive(Default)]
struct Interner {
    numbers: FxHashMap<Option<String>, u32>,
    names: Vec<Option<String>>,
}

impl Interner {
    fn number(&mut self, name: Option<String>) -> u32 {
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("no more sources than documents or files");
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

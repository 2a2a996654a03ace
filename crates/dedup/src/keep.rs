//! Which of several copies stays: the one policy that all stages share.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_corpus::{Corpus, DocId, FieldPath};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::sources::Sources;

/// Which of several copies stays. Ties go to the document that comes first in the input.
///
/// ```
/// use verbatim_dedup::Keep;
/// let keep: Keep = "field:meta.score:max".parse()?;
/// assert_eq!(keep.to_string(), "field:meta.score:max");
/// # Ok::<(), verbatim_dedup::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Keep {
    /// The first in input order.
    First,
    /// The last in input order.
    Last,
    /// The one with most bytes of text.
    Longest,
    /// The one with fewest bytes of text.
    Shortest,
    /// The one with the largest or smallest value in a field. Numbers go before strings, and documents without
    /// either in that field come last.
    Field {
        /// Where the value stands in a record.
        path: FieldPath,
        /// Which value is preferred.
        order: Order,
    },
    /// One of the source that is named first; sources that are not named come last.
    Source {
        /// The field that names the source; without it, the first folder of the file in the corpus, or the file.
        field: Option<FieldPath>,
        /// The sources, the most preferred first.
        order: Vec<String>,
    },
    /// One drawn at random, the same for the same seed.
    Random {
        /// The seed of the draw.
        seed: u64,
    },
    /// None: all documents of a group go, the first in input order named as the one that the others are copies of.
    None,
}

/// Which end of an order is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::First => f.write_str("first"),
            Keep::Last => f.write_str("last"),
            Keep::None => f.write_str("none"),
            Keep::Source { field: None, order } => write!(f, "source:{}", order.join(",")),
            Keep::Source { field: Some(field), order } => write!(f, "source[{field}]:{}", order.join(",")),
            Keep::Longest => f.write_str("longest"),
            Keep::Shortest => f.write_str("shortest"),
            Keep::Field { path, order: Order::Max } => write!(f, "field:{path}:max"),
            Keep::Field { path, order: Order::Min } => write!(f, "field:{path}:min"),
            Keep::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}

impl FromStr for Keep {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::UnknownKeep(text.to_owned());
        if let Some(seed) = text.strip_prefix("random:") {
            return Ok(Keep::Random { seed: seed.parse().map_err(|_| unknown())? });
        }
        if let Some(field) = text.strip_prefix("field:") {
            let (path, order) = field.rsplit_once(':').ok_or_else(unknown)?;
            let order = match order {
                "max" => Order::Max,
                "min" => Order::Min,
                _ => return Err(unknown()),
            };
            return Ok(Keep::Field { path: path.parse().map_err(|_| unknown())?, order });
        }
        if let Some((field, order)) = text.strip_prefix("source").and_then(|rest| rest.split_once(':')) {
            let field = match field.strip_prefix('[').and_then(|field| field.strip_suffix(']')) {
                Some(field) => Some(field.parse().map_err(|_| unknown())?),
                None if field.is_empty() => None,
                None => return Err(unknown()),
            };
            let order: Vec<String> = order.split(',').map(str::to_owned).collect();
            let is_valid =
                order.iter().enumerate().all(|(i, name)| !name.is_empty() && !order[..i].contains(name));
            return is_valid.then_some(Keep::Source { field, order }).ok_or_else(unknown);
        }
        match text {
            "first" => Ok(Keep::First),
            "last" => Ok(Keep::Last),
            "none" => Ok(Keep::None),
            "longest" => Ok(Keep::Longest),
            "shortest" => Ok(Keep::Shortest),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Keep {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Keep> for String {
    fn from(keep: Keep) -> String {
        keep.to_string()
    }
}

impl Keep {
    /// All documents, the most preferred first. The position in this list is a document's rank.
    ///
    /// # Errors
    /// [`Error::UnknownSource`] where no document has a source that is named, and those of [`Sources::by_field`].
    pub(crate) fn ranking(&self, corpus: &Corpus) -> Result<Vec<DocId>> {
        let docs: Vec<DocId> = corpus.ids().collect();
        let text_len = |doc: DocId| corpus.text(doc).len();
        Ok(match self {
            Keep::First | Keep::None => docs,
            Keep::Last => sorted_by(docs, Reverse),
            Keep::Source { field, order } => {
                let sources = match field {
                    None => Sources::by_folder(corpus),
                    Some(field) => Sources::by_field(corpus, field)?,
                };
                let places = sources.places(order)?;
                sorted_by(docs, |doc| places[doc.0 as usize])
            }
            Keep::Longest => sorted_by(docs, |doc| Reverse(text_len(doc))),
            Keep::Shortest => sorted_by(docs, text_len),
            Keep::Random { seed } => sorted_by(docs, |doc| xxh3_64_with_seed(&doc.0.to_le_bytes(), *seed)),
            Keep::Field { path, order } => {
                let classed = |doc| {
                    let value = FieldValue::new(corpus.field(doc, path));
                    (value.class(), value)
                };
                match order {
                    Order::Min => sorted_by(docs, classed),
                    Order::Max => sorted_by(docs, |doc| {
                        let (class, value) = classed(doc);
                        (class, Reverse(value))
                    }),
                }
            }
        })
    }
}

/// The documents by key, then in input order.
fn sorted_by<K: Ord + Send>(docs: Vec<DocId>, key: impl Fn(DocId) -> K + Sync) -> Vec<DocId> {
    let mut keyed: Vec<(K, DocId)> = docs.into_par_iter().map(|doc| (key(doc), doc)).collect();
    keyed.par_sort_unstable();
    keyed.into_iter().map(|(_, doc)| doc).collect()
}

/// A field's value, in ascending order within its class.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FieldValue {
    /// The nearest f64, as an integer in the same order, then the integer itself, which tells large ones apart.
    Number(i64, i128),
    Text(String),
    Missing,
}

impl FieldValue {
    fn new(value: Option<Value>) -> Self {
        match value {
            Some(Value::Number(number)) => {
                let float = number.as_f64().unwrap_or(0.0);
                let integer = number.as_i128().unwrap_or(float as i128);
                // Adding zero turns -0.0 into 0.0. The bits of negative numbers fall as the number grows, so all
                // but the sign are flipped (the order of `f64::total_cmp`).
                let bits = (float + 0.0).to_bits() as i64;
                FieldValue::Number(if bits < 0 { bits ^ i64::MAX } else { bits }, integer)
            }
            Some(Value::String(text)) => FieldValue::Text(text),
            _ => FieldValue::Missing,
        }
    }

    /// Numbers go before strings, whichever end of the order is preferred; documents without either come last.
    fn class(&self) -> u8 {
        match self {
            FieldValue::Number(..) => 0,
            FieldValue::Text(..) => 1,
            FieldValue::Missing => 2,
        }
    }
}

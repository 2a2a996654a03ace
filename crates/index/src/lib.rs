//! What repeats in a corpus, where, and how often.
//!
//! Normalisation steps, shingles, clusters, and exact scans for strings. This room decides nothing: what should
//! go is the question of `verbatim-dedup`, what a model recited that of `verbatim-extraction`.

mod automaton;
mod count;
mod error;
mod normalize;
mod scan;
mod shingle;

pub use count::{Occurrences, count_strings};
pub use error::{Error, Result};
pub use normalize::{Normalizer, Step};
pub use scan::{Match, longest_matches};
pub use shingle::{Shingler, Shingles, TokenFn, Unit, words};

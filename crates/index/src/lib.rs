//! What repeats in a corpus, where, and how often.
//!
//! Normalisation steps, shingles, clusters, and exact scans for strings. This room decides nothing: what should
//! go is the question of `verbatim-dedup`, what a model recited that of `verbatim-extraction`.

mod anchors;
mod automaton;
mod buffers;
mod count;
mod error;
mod kinds;
mod locate;
mod normalize;
mod occurrences;
mod pass;
mod repeats;
mod scan;
mod secrets;
mod shingle;
mod substring_index;
mod suffix;
mod symbols;
#[cfg(test)]
mod testing;
mod words;

pub use buffers::Buffers;
pub use count::{count_in_texts, count_strings};
pub use error::{Error, Result};
pub use locate::{Engine, Located, Locator};
pub use normalize::{Normalizer, Step};
pub use occurrences::Occurrences;
pub use repeats::{Copies, MIN_REPEAT_LEN, Repeat, Texts, Wanted, repeats};
pub use scan::{Match, ending_matches, longest_matches};
pub use secrets::{Secret, SecretKind, secrets};
pub use shingle::{Shingler, Shingles, TokenFn, Unit};
pub use substring_index::{IndexConfig, Indexed, SubstringIndex};
pub use symbols::{TOKEN_BYTES, for_each_token, token_bytes};
pub use words::{Words, words};

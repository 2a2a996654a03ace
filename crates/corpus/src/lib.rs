//! What the documents of a corpus are, as bytes, and how a changed corpus gets back to disk.
//!
//! JSON lines (plain, gzip, zstd), parquet, Arrow and plain text come in; each document is a [`DocId`] with
//! its text, its record and its place. This room decides nothing about documents and knows no model.
//!
//! ```no_run
//! use verbatim_corpus::{Corpus, OpenConfig};
//! use verbatim_store::Silent;
//!
//! let corpus = Corpus::open(&["shards/".into()], &OpenConfig::standard(), &Silent)?;
//! for id in corpus.ids() {
//!     println!("{}: {} bytes", corpus.label(id), corpus.text(id).len());
//! }
//! # Ok::<(), verbatim_corpus::Error>(())
//! ```

mod catalog;
mod corpus;
mod cut;
mod document;
mod error;
mod fields;
mod formats;
mod ids;
mod listing;
mod origin;
mod records;
mod reject;
mod remote;
mod schema;
mod shard;
mod sidecar;
mod source;
mod spans;
mod write;

pub use catalog::Catalog;
pub use corpus::{Corpus, TextBuffer};
pub use cut::{Selection, Stretch};
pub use document::{DocId, Location};
pub use error::{Error, Result};
pub use fields::{FieldValues, NewFields};
pub use listing::Listing;
pub use origin::Origin;
pub use reject::{Cause, Reject};
pub use remote::{Mirror, Prefix, is_object_url};
pub use schema::{FieldPath, MaxBad, ObjectStoreOptions, OnBad, OpenConfig, Surrogates, TextUnit};
pub use sidecar::{Row, write_rows};
pub use write::{Written, write_json_line, write_survivors, write_survivors_to};

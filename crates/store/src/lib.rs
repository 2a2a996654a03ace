//! How bytes get safely from and to disk: mapped reading, atomic replacing, hashes, blocks of bytes.
//!
//! This room knows no document and no model. It holds the project's only `unsafe` code (`map`).

mod answers;
pub mod block;

mod error;
mod hash;
mod json;
mod manifest;
mod map;
mod parts;
mod progress;
mod replace;
mod scratch;
mod sealed;
mod sort;
mod spool;

pub use answers::{Answers, answer_each};
pub use error::{Error, Result};
pub use hash::{sha256_file, sha256_hex, xxh3_128_hex};
pub use json::json_fault;
pub use manifest::read_manifest;
pub use map::{Bytes, Table, install_truncation_handler};
pub use parts::{open_part, write_part};
pub use progress::{Progress, Silent, Within};
pub use replace::{Access, Existing, Output, Replace, StagedDir, create_file, write_private, write_shared};
pub use scratch::{Note, RunFile, Scratch, differences};
pub use sealed::{Seal, Sealed, SealedWriter};
pub use sort::{Merge, Room, Sorted, Sorter};
pub use spool::Spool;

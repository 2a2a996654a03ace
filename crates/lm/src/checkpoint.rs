//! A checkpoint in the Hugging Face layout: configuration, weights and tokenizer of one folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::gpt2::Gpt2;
use crate::tokenizer::Tokenizer;

/// One file of a checkpoint, named by its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// The name inside the folder.
    pub name: String,
    /// SHA-256 of the bytes that were read, as 64 hexadecimal digits.
    pub sha256: String,
    /// The length of the file in bytes.
    pub n_bytes: u64,
}

/// A model with its tokenizer, and the hashes of the files that it came from.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model, its weights as f32 in memory; no file stays mapped.
    pub model: Gpt2,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Every file that was read, in the order of reading.
    pub files: Vec<FileHash>,
    /// The last part of the folder's path.
    pub name: String,
    /// The commit, where the folder is a snapshot of a hub's cache.
    pub revision: Option<String>,
}

impl Checkpoint {
    /// Reads a folder with `config.json`, `tokenizer.json` and `model.safetensors` (single or sharded).
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn open(dir: &Path) -> Result<Self> {
        todo!("{}", dir.display())
    }
}

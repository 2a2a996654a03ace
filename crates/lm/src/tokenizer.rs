//! The tokenizer of a checkpoint.

use std::path::Path;

use crate::error::Result;

/// A byte-level BPE tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    bytes_by_id: Vec<Vec<u8>>,
    end_of_text: Option<u32>,
    sha256: String,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn open(path: &Path) -> Result<Self> {
        todo!("{}", path.display())
    }

    /// Reads the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self> {
        todo!()
    }

    /// Trains a byte-level BPE; returns the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn train<'a>(_texts: impl Iterator<Item = &'a str> + Send, _vocab_size: usize) -> Result<Vec<u8>> {
        todo!()
    }

    /// The ids of a text; the names of control tokens inside it are plain text.
    #[must_use]
    pub fn encode(&self, _text: &str) -> Vec<u32> {
        todo!()
    }

    /// The bytes that the ids stand for; not always whole characters.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.token_bytes(id)).collect()
    }

    /// The bytes that one id stands for; none for an id outside the vocabulary.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        self.bytes_by_id.get(id as usize).cloned().unwrap_or_default()
    }

    /// The number of ids.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.bytes_by_id.len()
    }

    /// The id of `<|endoftext|>`, if the vocabulary has it.
    #[must_use]
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    /// SHA-256 of the file, as 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

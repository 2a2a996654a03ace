//! Texts as symbols: bytes, or tokens of four bytes each.

use std::borrow::Cow;
use std::path::Path;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Progress, Seal, Sealed, SealedWriter};

use crate::error::{Result, stop_if};
use crate::shingle::TokenFn;

/// Stands for a byte that is no part of a character, with its value in the last eight bits; no token has such an id.
const BAD_BYTE: u32 = 0xFFFF_FF00;
/// Bytes of a token in a string of tokens.
pub const TOKEN_BYTES: usize = 4;
/// Documents that are tokenized before the next look at the wish to stop.
const WAVE_DOCS: u64 = if cfg!(test) { 3 } else { 1 << 10 };

/// The texts of a corpus as symbols.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbols<'a> {
    /// Their bytes.
    Bytes(&'a Corpus),
    /// The bytes of texts in memory, which are taken for documents with their numbers.
    Texts(&'a [&'a [u8]]),
    /// Their tokens, on disk.
    Tokens {
        /// Those of all texts.
        ids: &'a Sealed,
        /// Where each text begins, in tokens, and the end.
        starts: &'a Sealed,
    },
}

impl<'a> Symbols<'a> {
    /// Bytes of a symbol.
    pub(crate) fn width(&self) -> usize {
        match self {
            Symbols::Bytes(_) | Symbols::Texts(_) => 1,
            Symbols::Tokens { .. } => TOKEN_BYTES,
        }
    }

    pub(crate) fn n_documents(&self) -> u64 {
        match self {
            Symbols::Bytes(corpus) => corpus.n_documents(),
            Symbols::Texts(texts) => texts.len() as u64,
            Symbols::Tokens { starts, .. } => starts.n_numbers() as u64 - 1,
        }
    }

    /// Bytes of the symbols of all texts.
    pub(crate) fn n_bytes(&self) -> u64 {
        match self {
            Symbols::Bytes(corpus) => corpus.text_bytes(),
            Symbols::Texts(texts) => texts.iter().map(|text| text.len() as u64).sum(),
            Symbols::Tokens { ids, .. } => ids.n_bytes() as u64,
        }
    }

    /// The symbols of a text, as bytes.
    ///
    /// # Errors
    /// Those of a damaged file of tokens.
    pub(crate) fn text(&self, doc: u64) -> Result<Cow<'a, [u8]>> {
        match *self {
            Symbols::Bytes(corpus) => Ok(corpus.text(DocId(doc))),
            Symbols::Texts(texts) => Ok(Cow::Borrowed(texts[doc as usize])),
            Symbols::Tokens { ids, starts } => {
                let at = |i: u64| starts.number(i as usize).map(|start| start as usize);
                let bytes = at(doc)?.saturating_mul(TOKEN_BYTES)..at(doc + 1)?.saturating_mul(TOKEN_BYTES);
                Ok(Cow::Borrowed(ids.get(bytes)?))
            }
        }
    }
}

/// Calls `take` with the tokens of a text that need not be UTF-8, each with the byte at which it begins, as `tokens` gives
/// them for text that is. What is no part of a character is a token of each byte, as no tokenizer has them.
pub fn for_each_token<T: IntoIterator<Item = (u32, usize)>>(
    text: &[u8],
    tokens: impl Fn(&str) -> T,
    mut take: impl FnMut(u32, usize),
) {
    let mut start = 0;
    for chunk in text.utf8_chunks() {
        tokens(chunk.valid()).into_iter().for_each(|(id, place)| take(id, start + place));
        start += chunk.valid().len();
        for &byte in chunk.invalid() {
            take(BAD_BYTE | u32::from(byte), start);
            start += 1;
        }
    }
}

/// The tokens of a text, each in four bytes, the least significant first.
pub fn token_bytes(text: &[u8], tokens: &TokenFn) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Where they begin is not asked for.
    let tokens = |text: &str| tokens(text).into_iter().map(|id| (id, 0));
    for_each_token(text, tokens, |id, _| bytes.extend_from_slice(&id.to_le_bytes()));
    bytes
}

/// Writes the tokens of all texts, and where each begins, into a folder that is not yet in use.
pub(crate) fn tokenize(
    corpus: &Corpus,
    tokens: &TokenFn,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<[Seal; 2]> {
    progress.stage("tokenizing", Some(corpus.n_documents()), "documents");
    let mut writer = TokensWriter::create(folder)?;
    let n = corpus.n_documents();
    for start in (0..n).step_by(WAVE_DOCS as usize) {
        stop_if(progress)?;
        let tokenized: Vec<Vec<u8>> = (start..n.min(start + WAVE_DOCS))
            .into_par_iter()
            .map(|doc| {
                progress.advance(1);
                token_bytes(&corpus.text(DocId(doc)), tokens)
            })
            .collect();
        tokenized.iter().try_for_each(|text| writer.push(text))?;
    }
    writer.finish()
}

/// Takes the tokens of texts in order.
pub(crate) struct TokensWriter {
    ids: SealedWriter,
    starts: SealedWriter,
    n_tokens: u64,
}

impl TokensWriter {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let mut starts = SealedWriter::create(folder, "starts")?;
        starts.number(0)?;
        Ok(TokensWriter { ids: SealedWriter::create(folder, "tokens")?, starts, n_tokens: 0 })
    }

    pub(crate) fn push(&mut self, text: &[u8]) -> Result<()> {
        self.ids.bytes(text)?;
        self.n_tokens += (text.len() / TOKEN_BYTES) as u64;
        Ok(self.starts.number(self.n_tokens)?)
    }

    /// The seals of the tokens and of the starts.
    pub(crate) fn finish(self) -> Result<[Seal; 2]> {
        Ok([self.ids.finish()?, self.starts.finish()?])
    }
}

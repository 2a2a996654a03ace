//! The tokenizer of a checkpoint: BPE of bytes, text to ids and ids to bytes.
//!
//! Texts are data, never control: no text is encoded to a control token, whatever stands in it. Ids are
//! decoded to bytes, because a token may end inside a character. Where the file asks for no normalisation
//! (GPT-2 does not; GPT-NeoX asks for NFC; Llama puts a space before the text), the tokens' bytes put together are the
//! text's bytes.

mod schema;
mod train;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use std::sync::Arc;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NFC, Prepend as PrependMark, Replace, Sequence as NormalizerSequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitBy, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    SplitDelimiterBehavior, TokenizerImpl,
};

use self::schema::{ENDS_OF_TEXT, Kind, Prepend, Schema, Split};
pub(crate) use self::schema::{LLAMA_3_PATTERN, SPACE_MARK};
use crate::error::{Error, Result};
use crate::precheck::read_capped;

/// The longest `tokenizer.json` that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Encoded once while loading, so that what cannot encode is refused and not found out later.
const PROBE: &str = "It's 1984,\tCaf\u{e9}   \u{65e5}\u{672c} \u{1f600}\r\n<|endoftext|>\0  ";

type Encoder =
    TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A BPE tokenizer that encodes every text.
#[derive(Clone)]
pub struct Tokenizer {
    encoder: Encoder,
    bytes_by_id: Vec<Vec<u8>>,
    end_of_text: Option<u32>,
    missing_bytes: Vec<u8>,
    json: Arc<[u8]>,
    sha256: String,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokenizer").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json` of at most 64 MiB.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is not a byte-level BPE, [`Error::Missing`], [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = read_capped(path, MAX_FILE_BYTES)?;
        Self::from_bytes(&bytes).map_err(|error| error.of_file(path))
    }

    /// Reads the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`], under the name `tokenizer.json`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |cause: String| Error::BadFile { path: "tokenizer.json".into(), cause };
        let schema = schema::parse(bytes).map_err(bad)?;
        // What the schema lets through must neither fail nor panic; if it does, the file is to blame.
        let encoder = catch_unwind(AssertUnwindSafe(|| encoder(&schema)))
            .unwrap_or_else(|_| Err("the tokenizers crate panicked".into()))
            .map_err(|e| bad(e.to_string()))?;
        let id_of = |text: &&str| schema.tokens.iter().position(|token| token == text).map(|id| id as u32);
        let end_of_text = ENDS_OF_TEXT.iter().find_map(id_of);
        Ok(Self {
            encoder,
            bytes_by_id: schema.bytes,
            end_of_text,
            missing_bytes: schema.missing,
            json: bytes.into(),
            sha256: verbatim_store::sha256_hex(bytes),
        })
    }

    /// Trains a byte-level BPE and returns the bytes of its `tokenizer.json`.
    ///
    /// The same texts, in any order and for any number of threads, give the same bytes. `vocab_size` is the
    /// most tokens; few or short texts give fewer. `<|endoftext|>` is id 0, and text for the training.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for fewer than 257 or more than 2^20 tokens.
    pub fn train<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
    ) -> Result<Vec<u8>> {
        train::train(texts, vocab_size)
    }

    /// The ids of a text; the names of control tokens inside it are plain text.
    ///
    /// # Panics
    /// Never for a tokenizer that loaded: each byte of UTF-8 is a token, or is left out.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding =
            self.encoder.encode_fast(text, false).expect("each byte of UTF-8 is a token or left out");
        encoding.get_ids().to_vec()
    }

    /// The ids of a text, each with the byte at which it begins. Tokens that are a part of one character all begin
    /// where the character does.
    ///
    /// # Panics
    /// As [`Tokenizer::encode`].
    #[must_use]
    pub fn encode_with_places(&self, text: &str) -> Vec<(u32, usize)> {
        let encoding = self.encoder.encode(text, false).expect("each byte of UTF-8 is a token or left out");
        let starts = encoding.get_offsets().iter().map(|&(start, _)| start);
        encoding.get_ids().iter().copied().zip(starts).collect()
    }

    /// The bytes that the ids stand for; not always whole characters.
    ///
    /// A control token stands for its name. An id outside the vocabulary, which a model with padded
    /// embeddings may draw, stands for nothing.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.bytes(id)).copied().collect()
    }

    /// The bytes that one id stands for, as in [`Tokenizer::decode`].
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        self.bytes(id).to_vec()
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.bytes_by_id.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The number of ids; they are 0 to this number less one.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.bytes_by_id.len()
    }

    /// Bytes that texts lose in encoding, because the vocabulary has no token for them; control characters at most, and
    /// what private characters begin with.
    #[must_use]
    pub fn missing_bytes(&self) -> &[u8] {
        &self.missing_bytes
    }

    /// The contents of its `tokenizer.json`.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The id of the token that ends a document, `<|endoftext|>` or one of its kin, if the vocabulary has one.
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

/// Builds the tokenizers crate's tokenizer from a checked schema, and tries it.
fn encoder(schema: &Schema) -> tokenizers::Result<Encoder> {
    // Without the control tokens no text can be encoded to one. Runs of white space are part of the vocabulary, so that
    // they keep their ids, and are matched in texts.
    let vocab: Vocab = (0u32..)
        .zip(&schema.tokens)
        .filter(|(id, _)| !schema.controls.contains(id))
        .map(|(id, token)| (token.clone(), id))
        .collect();
    let mut model = BPE::builder().vocab_and_merges(vocab, schema.merges.clone());
    model = model.ignore_merges(schema.ignore_merges);
    if matches!(schema.kind, Kind::Marks(_)) {
        model = model.byte_fallback(true);
    }
    let mut encoder = Encoder::new(model.build()?);
    match schema.kind {
        Kind::ByteLevel { split, nfc } => {
            encoder.with_normalizer(nfc.then(|| NormalizerWrapper::from(NFC)))?;
            encoder.with_pre_tokenizer(Some(pre_tokenizer(split)?));
        }
        Kind::Marks(Prepend::Missing) => {
            let mark = SPACE_MARK.chars().next().expect("a character");
            let marks = Metaspace::new(mark, PrependScheme::First, false);
            encoder.with_pre_tokenizer(Some(PreTokenizerWrapper::from(marks)));
        }
        Kind::Marks(prepend) => {
            let before = (prepend == Prepend::Always).then(|| PrependMark::new(SPACE_MARK.to_owned()).into());
            let replace = Replace::new(" ", SPACE_MARK.to_owned())?.into();
            let steps: Vec<NormalizerWrapper> = before.into_iter().chain([replace]).collect();
            encoder.with_normalizer(Some(NormalizerWrapper::from(NormalizerSequence::new(steps))))?;
        }
    }
    encoder.add_tokens(schema.spaces.iter().map(|run| AddedToken::from(run.as_str(), false)))?;
    encoder.encode_fast(PROBE, false)?;
    Ok(encoder)
}

fn pre_tokenizer(split: Split) -> tokenizers::Result<PreTokenizerWrapper> {
    let words = ByteLevel::new(false, false, true);
    Ok(match split {
        Split::Words => words.into(),
        Split::WordsAndDigits => Sequence::new(vec![Digits::new(true).into(), words.into()]).into(),
        Split::Llama3 => {
            let pattern = SplitPattern::Regex(LLAMA_3_PATTERN.to_owned());
            let split = SplitBy::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
            Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into()
        }
    })
}

//! What of a `tokenizer.json` is let through to the tokenizers crate: the byte-level BPE of GPT-2, spelled
//! out and checked, and nothing else. The crate's own reader never sees the file: it panics or aborts on
//! configurations that this one refuses.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

/// The text of the token that ends a document.
pub(super) const END_OF_TEXT: &str = "<|endoftext|>";
/// The most tokens and the most merges.
const MAX_TOKENS: usize = 1 << 20;
/// The longest token, in bytes of its spelling.
const MAX_TOKEN_BYTES: usize = 4096;

/// A checked `tokenizer.json`; every id from 0 to `tokens.len() - 1` is taken exactly once.
#[derive(Debug)]
pub(super) struct Schema {
    /// By id: the token's spelling.
    pub(super) tokens: Vec<String>,
    /// By id: the bytes that the token stands for.
    pub(super) bytes: Vec<Vec<u8>>,
    pub(super) merges: Vec<(String, String)>,
    /// Runs of white space that are matched in the text before the BPE.
    pub(super) spaces: Vec<String>,
    /// Whether texts are brought into Unicode's NFC first.
    pub(super) nfc: bool,
}

/// Padding, truncation, post-processing and decoding are not read at all: we do none of them.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Normalizer {
    r#type: String,
}

#[derive(Deserialize)]
struct PreTokenizer {
    r#type: String,
    #[serde(default)]
    add_prefix_space: bool,
    #[serde(default = "yes")]
    use_regex: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Model {
    r#type: Option<String>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// Parses and checks the contents of a `tokenizer.json`; the error says what is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Schema, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| format!("no tokenizer that we know: {e}"))?;
    let nfc = check_kind(&file)?;
    let Model { vocab, merges, .. } = file.model;
    let controls: HashSet<&str> =
        file.added_tokens.iter().map(|token| token.content.as_str()).filter(|text| !is_space(text)).collect();
    let merges = check_merges(&vocab, merges, &controls)?;
    let tokens = tokens_by_id(vocab, &file.added_tokens)?;
    let bytes_by_letter = letters();
    let added: HashSet<&str> = file.added_tokens.iter().map(|token| token.content.as_str()).collect();
    let bytes = tokens
        .iter()
        .map(|token| match spelled_bytes(token, &bytes_by_letter) {
            Some(bytes) if !added.contains(token.as_str()) => bytes,
            // An added token stands for itself, and so does what is not in the byte-level alphabet.
            _ => token.as_bytes().to_vec(),
        })
        .collect();
    let spaces =
        file.added_tokens.iter().filter(|t| is_space(&t.content)).map(|t| t.content.clone()).collect();
    Ok(Schema { tokens, bytes, merges, spaces, nfc })
}

/// Refuses every kind but GPT-2's; whether texts are brought into NFC.
fn check_kind(file: &File) -> Result<bool, String> {
    const SUPPORTED: &str = "supported is the byte-level BPE of GPT-2 and GPT-NeoX";
    let model = &file.model;
    let kind = model.r#type.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(format!("model type `{kind}`; {SUPPORTED}"));
    }
    let affix = |affix: &Option<String>| affix.as_deref().is_some_and(|text| !text.is_empty());
    if affix(&model.continuing_subword_prefix) || affix(&model.end_of_word_suffix) {
        return Err(format!("subword prefixes or suffixes; {SUPPORTED}"));
    }
    if model.byte_fallback || model.ignore_merges {
        return Err(format!("`byte_fallback` or `ignore_merges` is set; {SUPPORTED}"));
    }
    if model.dropout.is_some_and(|p| p != 0.0) {
        return Err("`dropout` is set, which makes tokens random; set it to null".to_owned());
    }
    match &file.pre_tokenizer {
        Some(split) if split.r#type != "ByteLevel" || !split.use_regex => {
            return Err(format!("pre-tokenizer `{}`; {SUPPORTED}", split.r#type));
        }
        Some(split) if split.add_prefix_space => {
            return Err("`add_prefix_space` is set, so that tokens are not the text's own bytes".to_owned());
        }
        Some(_) => {}
        None => return Err(format!("no pre-tokenizer; {SUPPORTED}")),
    }
    match &file.normalizer {
        None => Ok(false),
        Some(normalizer) if normalizer.r#type == "NFC" => Ok(true),
        Some(normalizer) => Err(format!("normalizer `{}`; {SUPPORTED}", normalizer.r#type)),
    }
}

/// The merges as pairs. Each must build a token of the vocabulary out of two others, once, and no control
/// token: then no text can be encoded to one.
fn check_merges(
    vocab: &BTreeMap<String, u32>,
    merges: Vec<Merge>,
    controls: &HashSet<&str>,
) -> Result<Vec<(String, String)>, String> {
    if merges.len() > MAX_TOKENS {
        return Err(format!("{} merges, at most {MAX_TOKENS} are read", merges.len()));
    }
    let mut seen = HashSet::with_capacity(merges.len());
    let mut pairs = Vec::with_capacity(merges.len());
    for (number, merge) in merges.into_iter().enumerate() {
        let (left, right) = match merge {
            Merge::Pair(left, right) => (left, right),
            Merge::Line(line) => match line.split_once(' ') {
                Some((left, right)) => (left.to_owned(), right.to_owned()),
                None => return Err(format!("merge {number} is no pair")),
            },
        };
        let product = format!("{left}{right}");
        if left.is_empty()
            || right.is_empty()
            || ![&left, &right, &product].iter().all(|t| vocab.contains_key(*t))
        {
            return Err(format!("merge {number} makes or takes a token that the vocabulary lacks"));
        }
        if controls.contains(product.as_str()) {
            return Err(format!("merge {number} makes the control token {product:?}"));
        }
        if !seen.insert((vocab[&left], vocab[&right])) {
            return Err(format!("merge {number} is listed twice"));
        }
        pairs.push((left, right));
    }
    Ok(pairs)
}

/// Puts the vocabulary and the added tokens in the order of their ids, each id taken once, none left out.
fn tokens_by_id(vocab: BTreeMap<String, u32>, added: &[AddedToken]) -> Result<Vec<String>, String> {
    let mut ids: HashMap<String, u32> = vocab.into_iter().collect();
    for token in added {
        if *ids.entry(token.content.clone()).or_insert(token.id) != token.id {
            return Err(format!("added token {:?} has two ids", token.content));
        }
    }
    let n = ids.len();
    if n == 0 || n > MAX_TOKENS {
        return Err(format!("{n} tokens, expected 1 to {MAX_TOKENS}"));
    }
    // A letter that is missing would be dropped from texts in silence. Some bytes never occur in UTF-8, and
    // GPT-NeoX has no letters for them.
    let in_utf8 = |byte: u8| !matches!(byte, 0xC0 | 0xC1 | 0xF5..);
    if let Some((letter, byte)) =
        letters().into_iter().find(|&(letter, byte)| in_utf8(byte) && !ids.contains_key(&letter.to_string()))
    {
        return Err(format!("the vocabulary lacks {letter:?}, which stands for the byte {byte:#04x}"));
    }
    let mut by_id: Vec<(u32, String)> = ids.into_iter().map(|(token, id)| (id, token)).collect();
    by_id.sort_unstable();
    for (expected, (id, token)) in by_id.iter().enumerate() {
        if *id as usize != expected {
            return Err(format!("{n} tokens need the ids 0 to {}, each once; id {expected} is wrong", n - 1));
        }
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(format!("token {id} has {} bytes, expected 1 to {MAX_TOKEN_BYTES}", token.len()));
        }
    }
    Ok(by_id.into_iter().map(|(_, token)| token).collect())
}

/// Runs of white space are text; every other added token is for control.
fn is_space(token: &str) -> bool {
    token.chars().all(char::is_whitespace)
}

/// GPT-2's byte-level alphabet (Radford et al. 2019, `bytes_to_unicode` of their encoder): printable Latin-1
/// stands for itself, the other 68 bytes for U+0100 onwards.
pub(super) fn letters() -> BTreeMap<char, u8> {
    let mut next = 0x100;
    (0..=u8::MAX)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => (char::from(byte), byte),
            _ => {
                let letter = char::from_u32(next).expect("0x100 to 0x143 are characters");
                next += 1;
                (letter, byte)
            }
        })
        .collect()
}

/// The bytes that a token of byte-level letters spells.
fn spelled_bytes(token: &str, letters: &BTreeMap<char, u8>) -> Option<Vec<u8>> {
    token.chars().map(|letter| letters.get(&letter).copied()).collect()
}

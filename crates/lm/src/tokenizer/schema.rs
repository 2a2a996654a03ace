//! What of a `tokenizer.json` is let through to the tokenizers crate: the byte-level BPE of GPT-2 and its kin and the
//! SentencePiece BPE of Llama, spelled out and checked, and nothing else. The crate's own reader never sees the file: it
//! panics or aborts on configurations that this one refuses.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

/// The text of the token that ends a document in GPT-2's vocabulary and in ours.
pub(super) const END_OF_TEXT: &str = "<|endoftext|>";
/// Those of all vocabularies.
pub(super) const ENDS_OF_TEXT: [&str; 3] = [END_OF_TEXT, "<|end_of_text|>", "</s>"];
/// How Llama 3 takes a text apart before the BPE, the only pattern that is let through.
pub(crate) const LLAMA_3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What SentencePiece writes for a space.
pub(crate) const SPACE_MARK: &str = "\u{2581}";
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
    /// Ids of tokens that no text is encoded to.
    pub(super) controls: HashSet<u32>,
    /// Runs of white space that are matched in the text before the BPE.
    pub(super) spaces: Vec<String>,
    /// Bytes of UTF-8 that no token stands for.
    pub(super) missing: Vec<u8>,
    pub(super) kind: Kind,
    /// Whether a word that is a token is taken whole, without its merges.
    pub(super) ignore_merges: bool,
}

/// What becomes of a text before the BPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its bytes are spelled in letters, after it was taken apart.
    ByteLevel {
        split: Split,
        /// Whether it is brought into Unicode's NFC first.
        nfc: bool,
    },
    /// Spaces become marks; characters that are no tokens become their bytes' tokens.
    Marks(Prepend),
}

/// Whether a mark is put before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepend {
    Never,
    Always,
    /// Where it does not begin with one.
    Missing,
}

/// How a text is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// GPT-2's pattern.
    Words,
    /// The same, and each digit is a word of its own.
    WordsAndDigits,
    /// [`LLAMA_3_PATTERN`].
    Llama3,
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
    #[serde(default)]
    normalizers: Vec<Normalizer>,
    prepend: Option<String>,
    pattern: Option<Pattern>,
    content: Option<String>,
}

#[derive(Deserialize)]
struct PreTokenizer {
    r#type: String,
    #[serde(default)]
    add_prefix_space: bool,
    #[serde(default = "yes")]
    use_regex: bool,
    #[serde(default)]
    individual_digits: bool,
    pattern: Option<Pattern>,
    behavior: Option<String>,
    #[serde(default)]
    invert: bool,
    replacement: Option<String>,
    prepend_scheme: Option<String>,
    #[serde(default = "yes")]
    split: bool,
    #[serde(default)]
    pretokenizers: Vec<PreTokenizer>,
}

#[derive(Deserialize)]
enum Pattern {
    Regex(String),
    String(String),
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
    let kind = check_kind(&file)?;
    let Model { vocab, merges, ignore_merges, .. } = file.model;
    let added: HashSet<&str> = file.added_tokens.iter().map(|token| token.content.as_str()).collect();
    let controls: HashSet<&str> = added.iter().copied().filter(|text| !is_space(text)).collect();
    let merges = check_merges(&vocab, merges, &controls)?;
    let tokens = tokens_by_id(vocab, &file.added_tokens)?;
    let missing = missing_bytes(&tokens, kind)?;
    let letters = letters();
    let spelled = |token: &str| match kind {
        Kind::ByteLevel { .. } => spelled_bytes(token, &letters),
        Kind::Marks(_) => Some(marked_bytes(token)),
    };
    // An added token stands for itself, and so does what is not in the byte-level alphabet.
    let own = |token: &String| token.as_bytes().to_vec();
    let bytes = tokens.iter().map(|token| match spelled(token) {
        Some(bytes) if !added.contains(token.as_str()) => bytes,
        _ => own(token),
    });
    Ok(Schema {
        bytes: bytes.collect(),
        controls: (0..)
            .zip(&tokens)
            .filter(|(_, t)| controls.contains(t.as_str()))
            .map(|(id, _)| id)
            .collect(),
        spaces: added_spaces(&file.added_tokens),
        tokens,
        merges,
        missing,
        kind,
        ignore_merges,
    })
}

fn added_spaces(added: &[AddedToken]) -> Vec<String> {
    added.iter().filter(|token| is_space(&token.content)).map(|token| token.content.clone()).collect()
}

/// Refuses every kind but those of [`Kind`].
fn check_kind(file: &File) -> Result<Kind, String> {
    const SUPPORTED: &str = "supported are the byte-level BPE of GPT-2, GPT-NeoX, SmolLM2 and Llama 3 and the SentencePiece BPE of Llama";
    let model = &file.model;
    let kind = model.r#type.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(format!("model type `{kind}`; {SUPPORTED}"));
    }
    let affix = |affix: &Option<String>| affix.as_deref().is_some_and(|text| !text.is_empty());
    if affix(&model.continuing_subword_prefix) || affix(&model.end_of_word_suffix) {
        return Err(format!("subword prefixes or suffixes; {SUPPORTED}"));
    }
    if model.dropout.is_some_and(|p| p != 0.0) {
        return Err("`dropout` is set, which makes tokens random; set it to null".to_owned());
    }
    if model.byte_fallback {
        let marks =
            marks(file).ok_or_else(|| format!("`byte_fallback` without SentencePiece's marks; {SUPPORTED}"));
        return Ok(Kind::Marks(marks?));
    }
    let Some(before) = &file.pre_tokenizer else { return Err(format!("no pre-tokenizer; {SUPPORTED}")) };
    let parts =
        if before.r#type == "Sequence" { &before.pretokenizers[..] } else { std::slice::from_ref(before) };
    if parts.iter().any(|part| part.add_prefix_space) {
        return Err("`add_prefix_space` is set, so that tokens are not the text's own bytes".to_owned());
    }
    let byte_level = |part: &PreTokenizer, words: bool| part.r#type == "ByteLevel" && part.use_regex == words;
    let split = match parts {
        [only] if byte_level(only, true) => Split::Words,
        [first, last] if first.r#type == "Digits" && first.individual_digits && byte_level(last, true) => {
            Split::WordsAndDigits
        }
        [first, last] if is_llama_3(first) && byte_level(last, false) => Split::Llama3,
        _ => return Err(format!("pre-tokenizer `{}`; {SUPPORTED}", before.r#type)),
    };
    let nfc = match &file.normalizer {
        None => false,
        Some(normalizer) if normalizer.r#type == "NFC" => true,
        Some(normalizer) => return Err(format!("normalizer `{}`; {SUPPORTED}", normalizer.r#type)),
    };
    Ok(Kind::ByteLevel { split, nfc })
}

fn is_llama_3(part: &PreTokenizer) -> bool {
    let isolated = part.behavior.as_deref() == Some("Isolated") && !part.invert;
    part.r#type == "Split"
        && isolated
        && matches!(&part.pattern, Some(Pattern::Regex(pattern)) if pattern == LLAMA_3_PATTERN)
}

/// Whether a mark is put before a text, where spaces become marks: by normalizers in old files, by a pre-tokenizer in
/// newer ones.
fn marks(file: &File) -> Option<Prepend> {
    match (&file.normalizer, &file.pre_tokenizer) {
        (Some(sequence), None) if sequence.r#type == "Sequence" => {
            let prepends = |n: &Normalizer| n.r#type == "Prepend" && n.prepend.as_deref() == Some(SPACE_MARK);
            let replaces = |n: &Normalizer| {
                let space = matches!(&n.pattern, Some(Pattern::String(text)) if text == " ");
                n.r#type == "Replace" && space && n.content.as_deref() == Some(SPACE_MARK)
            };
            match &sequence.normalizers[..] {
                [first, second] if prepends(first) && replaces(second) => Some(Prepend::Always),
                [only] if replaces(only) => Some(Prepend::Never),
                _ => None,
            }
        }
        (None, Some(before)) if before.r#type == "Metaspace" && !before.split => {
            let mark = before.replacement.as_deref() == Some(SPACE_MARK);
            match before.prepend_scheme.as_deref() {
                Some("first" | "always") if mark => Some(Prepend::Missing),
                Some("never") if mark => Some(Prepend::Never),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The bytes of UTF-8 that no token stands for: they are left out of texts. None may be one that texts have: control
/// characters, and what characters above U+3FFFF begin with (Unicode has only private ones there), may be missing, as
/// they are in SmolLM2's vocabulary.
fn missing_bytes(tokens: &[String], kind: Kind) -> Result<Vec<u8>, String> {
    let tokens: HashSet<&str> = tokens.iter().map(String::as_str).collect();
    let mut missing = Vec::new();
    for (letter, byte) in letters() {
        let token = match kind {
            Kind::ByteLevel { .. } => letter.to_string(),
            Kind::Marks(_) => format!("<0x{byte:02X}>"),
        };
        // These never occur in UTF-8, and GPT-NeoX has no letters for them.
        if tokens.contains(token.as_str()) || matches!(byte, 0xC0 | 0xC1 | 0xF5..) {
            continue;
        }
        if !byte.is_ascii_control() && byte < 0xF1 || matches!(byte, b'\t' | b'\n' | b'\r') {
            return Err(format!("the vocabulary lacks {token:?}, which stands for the byte {byte:#04x}"));
        }
        missing.push(byte);
    }
    missing.sort_unstable();
    Ok(missing)
}

/// The bytes that a token of SentencePiece stands for.
fn marked_bytes(token: &str) -> Vec<u8> {
    let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).filter(|hex| hex.len() == 2);
    match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace(SPACE_MARK, " ").into_bytes(),
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

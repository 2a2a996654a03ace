//! The tokenizer of a GGUF file as the `tokenizer.json` that says the same, so that one schema judges both.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::header::{Header, Value};
use crate::tokenizer::{LLAMA_3_PATTERN, SPACE_MARK};

/// What stands in a `tokenizer.json` for a kind of tokenizer.
struct Parts {
    pre_tokenizer: Json,
    normalizer: Json,
    byte_fallback: bool,
    ignore_merges: bool,
    merges: Vec<String>,
}

/// A `tokenizer.json` that says what the metadata says; the error says what is wrong.
pub(super) fn tokenizer_json(header: &Header) -> Result<Vec<u8>, String> {
    let tokens = texts(header, "tokenizer.ggml.tokens")?;
    let kinds = match header.metadata.get("tokenizer.ggml.token_type") {
        Some(Value::Integers(kinds)) if kinds.len() == tokens.len() => kinds,
        _ => {
            return Err(
                "tokenizer.ggml.token_type is missing or has another length than the tokens".to_owned()
            );
        }
    };
    let parts = match text(header, "tokenizer.ggml.model").as_str() {
        "gpt2" => byte_level(header)?,
        "llama" => sentencepiece(header, &tokens, kinds)?,
        other => return Err(format!("tokenizer.ggml.model is `{other}`; read are gpt2 and llama")),
    };
    // Unknown, control and unused.
    let is_control = |kind: i64| matches!(kind, 2 | 3 | 5);
    let (mut vocab, mut added) = (serde_json::Map::new(), Vec::new());
    for ((id, token), kind) in (0u32..).zip(&tokens).zip(kinds) {
        if is_control(*kind) {
            added.push(json!({"id": id, "content": token, "special": true}));
        } else if vocab.insert(token.clone(), json!(id)).is_some() {
            return Err(format!("token {id} stands twice in tokenizer.ggml.tokens"));
        }
    }
    let json = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "model": {
            "type": "BPE",
            "byte_fallback": parts.byte_fallback,
            "ignore_merges": parts.ignore_merges,
            "vocab": vocab,
            "merges": parts.merges,
        },
    });
    Ok(json.to_string().into_bytes())
}

fn text(header: &Header, key: &str) -> String {
    match header.metadata.get(key) {
        Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn texts(header: &Header, key: &str) -> Result<Vec<String>, String> {
    let Some(Value::Texts(texts)) = header.metadata.get(key) else { return Err(format!("{key} is missing")) };
    let valid = |text: &Vec<u8>| {
        String::from_utf8(text.clone()).map_err(|_| format!("{key} holds what is not UTF-8"))
    };
    texts.iter().map(valid).collect()
}

/// The byte-level BPE of GPT-2 and its kin, which differ in how a text is taken apart.
fn byte_level(header: &Header) -> Result<Parts, String> {
    let byte_level =
        |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": use_regex});
    let both = |first: Json, last: Json| json!({"type": "Sequence", "pretokenizers": [first, last]});
    let (pre_tokenizer, ignore_merges) = match text(header, "tokenizer.ggml.pre").as_str() {
        "" | "default" | "gpt-2" | "gpt2" => (byte_level(true), false),
        "smollm" => (both(json!({"type": "Digits", "individual_digits": true}), byte_level(true)), false),
        "llama-bpe" | "llama3" | "llama-v3" => {
            let pattern = json!({"Regex": LLAMA_3_PATTERN});
            let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
            (both(split, byte_level(false)), true)
        }
        other => return Err(format!("tokenizer.ggml.pre is `{other}`, which is not supported")),
    };
    let merges = texts(header, "tokenizer.ggml.merges")?;
    Ok(Parts { pre_tokenizer, normalizer: Json::Null, byte_fallback: false, ignore_merges, merges })
}

/// The BPE of Llama, which has marks for spaces, and scores instead of merges.
fn sentencepiece(header: &Header, tokens: &[String], kinds: &[i64]) -> Result<Parts, String> {
    let scores = match header.metadata.get("tokenizer.ggml.scores") {
        Some(Value::Floats(scores)) if scores.len() == tokens.len() => scores,
        _ => return Err("tokenizer.ggml.scores is missing or has another length than the tokens".to_owned()),
    };
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK});
    let normalizers = match header.metadata.get("tokenizer.ggml.add_space_prefix") {
        Some(Value::Bool(false)) => vec![replace],
        _ => vec![json!({"type": "Prepend", "prepend": SPACE_MARK}), replace],
    };
    Ok(Parts {
        pre_tokenizer: Json::Null,
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        byte_fallback: true,
        ignore_merges: false,
        merges: merges_by_score(tokens, kinds, scores)?,
    })
}

/// Every way to make a token of two others, the token with the highest score first.
fn merges_by_score(tokens: &[String], kinds: &[i64], scores: &[f32]) -> Result<Vec<String>, String> {
    /// The longest token, in bytes; each is taken apart in every way.
    const MAX_TOKEN_BYTES: usize = 256;
    if let Some(at) = tokens.iter().position(|token| token.len() > MAX_TOKEN_BYTES) {
        return Err(format!("token {at} has {} bytes, at most {MAX_TOKEN_BYTES} are read", tokens[at].len()));
    }
    // Normal tokens and those that users have added.
    let normal = || tokens.iter().zip(0u32..).filter(|(_, id)| matches!(kinds[*id as usize], 1 | 4));
    let ids: HashMap<&str, u32> = normal().map(|(token, id)| (token.as_str(), id)).collect();
    let mut found: Vec<(f32, [u32; 3])> = Vec::new();
    for (token, id) in normal() {
        for (at, _) in token.char_indices().skip(1) {
            if let (Some(left), Some(right)) = (ids.get(&token[..at]), ids.get(&token[at..])) {
                found.push((scores[id as usize], [id, *left, *right]));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let spelled = |id: u32| &tokens[id as usize];
    Ok(found.iter().map(|(_, [_, left, right])| format!("{} {}", spelled(*left), spelled(*right))).collect())
}

//! Training a byte-level BPE (Sennrich et al. 2016; on bytes, Radford et al. 2019) with the tokenizers crate.

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerImpl};

use super::schema::{END_OF_TEXT, letters};
use crate::error::{Error, Result};

/// The longest token that training makes, in bytes.
const MAX_TOKEN_BYTES: usize = 256;
/// A pair that stands only once is not worth a token.
const MIN_FREQUENCY: u64 = 2;

type Trained =
    TokenizerImpl<BPE, tokenizers::NormalizerWrapper, ByteLevel, tokenizers::PostProcessorWrapper, ByteLevel>;

/// See [`super::Tokenizer::train`].
pub(super) fn train<S: AsRef<str> + Send>(
    texts: impl Iterator<Item = S> + Send,
    vocab_size: usize,
) -> Result<Vec<u8>> {
    if !(257..=1 << 20).contains(&vocab_size) {
        return Err(Error::InvalidArgument(format!(
            "a vocabulary of {vocab_size} tokens, expected 257 (256 bytes and {END_OF_TEXT}) to {}",
            1 << 20
        )));
    }
    // Said aloud, because the crate asks the environment otherwise. The result is the same either way.
    tokenizers::parallelism::set_parallelism(true);
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(MIN_FREQUENCY)
        .max_token_length(Some(MAX_TOKEN_BYTES))
        .initial_alphabet(letters().into_keys().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    let mut tokenizer: Trained = TokenizerImpl::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    tokenizer
        .train(&mut trainer, texts)
        .map_err(|e| Error::InvalidArgument(format!("the tokenizer cannot be trained: {e}")))?;
    Ok(file(tokenizer.get_model()))
}

/// The trained model as a `tokenizer.json`.
fn file(model: &BPE) -> Vec<u8> {
    let mut model = serde_json::to_value(model).expect("a BPE is strings and numbers");
    canonical_merges(&mut model);
    let split =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
    let end_of_text = json!({
        "id": model["vocab"][END_OF_TEXT], "content": END_OF_TEXT, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false, "special": true,
    });
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end_of_text],
        "normalizer": null, "pre_tokenizer": split, "post_processor": split, "decoder": split, "model": model,
    });
    serde_json::to_vec(&file).expect("JSON made of strings and numbers")
}

/// Sorts the merges by the ids of what they make and take.
///
/// The trainer hands out ids in the order of its merges, so this is that order, but for one case: its queue
/// may hold a pair twice with equal counts, then it lists the pair a second time, and when it does so depends
/// on the order of a hash table. The ids do not.
fn canonical_merges(model: &mut Value) {
    let ids = model["vocab"].as_object().expect("a BPE has a vocabulary").clone();
    let id = |token: &str| ids[token].as_u64().expect("ids are numbers");
    let text =
        |merge: &Value, side: usize| merge[side].as_str().expect("a merge is a pair of strings").to_owned();
    let merges = model["merges"].as_array_mut().expect("a BPE has merges");
    merges.sort_by_cached_key(|merge| {
        let (left, right) = (text(merge, 0), text(merge, 1));
        (id(&format!("{left}{right}")), id(&left), id(&right))
    });
}

//! The waist between attacks and engines: a causal language model as two questions.
//!
//! Attacks ask a [`LanguageModel`]. An engine need only be a [`Forward`]: the scoring and sampling code of
//! this room is written once, over that trait, and turns every `Forward` into a `LanguageModel`.

use candle_core::Tensor;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::record::{self, TokenRecord};
use crate::sampling::{self, Sample, SampleRequest, SamplingConfig};

/// A causal language model: what it says of given tokens, and what it says next.
pub trait LanguageModel: Send + Sync {
    /// V, the number of token ids.
    fn vocab_size(&self) -> usize;

    /// L, the most tokens that the model sees at once.
    fn context_len(&self) -> usize;

    /// The token that begins a text, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// One record for each token of each text but the first, from teacher-forced passes over at most `batch`
    /// texts at once; texts of no or one token have no records.
    ///
    /// A text of up to L + 1 tokens is one pass over its L inputs. A longer one is cut into windows of L
    /// inputs that begin every L / 2 tokens; each window scores the tokens that the windows before it have
    /// not, so each token is scored exactly once, with at least L / 2 tokens before it once L have passed.
    /// `batch` changes speed and memory, never a byte of the result.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an id outside the vocabulary or a batch of zero, [`Error::NotFinite`]
    /// when the model's logits are not finite numbers, [`Error::Interrupted`].
    fn score(
        &self,
        texts: &[Vec<u32>],
        batch: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<TokenRecord>>>;

    /// One sample for each request, in the order of the requests.
    ///
    /// A prompt has at least one and fewer than L tokens; a sample ends after `max_new_tokens` or when
    /// prompt and sample fill the context. Logits that are not finite end that sample alone, which then
    /// carries an error.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a configuration or prompt that makes no sense,
    /// [`Error::Interrupted`].
    fn sample(
        &self,
        requests: &[SampleRequest],
        config: &SamplingConfig,
        progress: &dyn Progress,
    ) -> Result<Vec<Sample>>;
}

/// What scoring and sampling need of an engine.
///
/// B sequences of T tokens each; V ids; C numbers for each position, whatever they mean to the engine. A
/// row's values must not depend on how many other sequences are computed beside it.
pub trait Forward: Send + Sync {
    /// What the engine remembers of a batch of sequences between calls.
    type Cache;

    /// V, the number of token ids.
    fn vocab_size(&self) -> usize;

    /// L, the most tokens that the model sees at once.
    fn context_len(&self) -> usize;

    /// The token that begins a text, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// An empty cache for `batch` sequences of up to `capacity` tokens.
    ///
    /// # Errors
    /// When the memory cannot be had.
    fn new_cache(&self, batch: usize, capacity: usize) -> Result<Self::Cache>;

    /// (B, T) u32 ids -> (B * T, C): each position's state, given the positions before it, those in the
    /// cache among them; appends the T positions to the cache.
    ///
    /// # Errors
    /// When the sequence is longer than the context, or the engine fails.
    fn hidden(&self, ids: &Tensor, cache: Option<&mut Self::Cache>) -> Result<Tensor>;

    /// (R, C) states -> (R, V) f32 logits of the next token.
    ///
    /// # Errors
    /// When the engine fails.
    fn head(&self, rows: &Tensor) -> Result<Tensor>;
}

impl<M: Forward> LanguageModel for M {
    fn vocab_size(&self) -> usize {
        Forward::vocab_size(self)
    }

    fn context_len(&self) -> usize {
        Forward::context_len(self)
    }

    fn bos(&self) -> Option<u32> {
        Forward::bos(self)
    }

    fn score(
        &self,
        texts: &[Vec<u32>],
        batch: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<TokenRecord>>> {
        record::score(self, texts, batch, progress)
    }

    fn sample(
        &self,
        requests: &[SampleRequest],
        config: &SamplingConfig,
        progress: &dyn Progress,
    ) -> Result<Vec<Sample>> {
        sampling::sample(self, requests, config, progress)
    }
}

/// The first id that is not in a vocabulary of `vocab_size`, as an error about `what`.
pub(crate) fn check_ids(ids: &[u32], vocab_size: usize, what: impl FnOnce() -> String) -> Result<()> {
    match ids.iter().find(|id| **id as usize >= vocab_size) {
        None => Ok(()),
        Some(id) => Err(Error::InvalidArgument(format!(
            "{}: token id {id} is outside the model's vocabulary of {vocab_size}",
            what()
        ))),
    }
}

//! The waist between attacks and engines: a causal language model as two questions.

use verbatim_store::Progress;

use crate::error::Result;
use crate::record::TokenRecord;
use crate::sampling::{Sample, SampleRequest, SamplingConfig};

/// A causal language model: what it says of given tokens, and what it says next.
pub trait LanguageModel: Send + Sync {
    /// The number of token ids.
    fn vocab_size(&self) -> usize;

    /// The longest sequence that the model sees at once, in tokens.
    fn context_len(&self) -> usize;

    /// The token that begins a text, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// One record for each token of each text but the first, from teacher-forced passes over at most `batch`
    /// texts at once.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for an id outside the vocabulary or a batch of zero.
    fn score(
        &self,
        texts: &[Vec<u32>],
        batch: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<TokenRecord>>>;

    /// One sample for each request, in the order of the requests.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a configuration or prompt that makes no sense.
    fn sample(
        &self,
        requests: &[SampleRequest],
        config: &SamplingConfig,
        progress: &dyn Progress,
    ) -> Result<Vec<Sample>>;
}

//! The waist between attacks and engines: a causal language model as questions: what it says of a text, what each decoding
//! would make of it, what it says next, and, for searches, the whole distribution after sequences that grow and fork.
//!
//! Attacks ask a [`LanguageModel`]. An engine need only be a [`Forward`]: the scoring and sampling code of
//! this room is written once, over that trait, and turns every `Forward` into a `LanguageModel`.

use verbatim_store::Progress;

use crate::choice::{self, Choices};
use crate::error::{Error, Result};
use crate::logits::{Logits, Row};
use crate::passage::Passage;
use crate::record::{self, Question, TokenRecord};
use crate::sampling::{self, Decoding, Sample, SampleRequest, SamplingConfig};
use crate::served::{self, Release, Served};
use crate::session::{Sequences, Session};

/// A causal language model: what it says of given tokens, and what it says next.
pub trait LanguageModel: Send + Sync {
    /// V, the number of token ids.
    fn vocab_size(&self) -> usize;

    /// L, the most tokens that the model sees at once.
    fn context_len(&self) -> usize;

    /// The token that begins a text, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// Memory that one more sequence of `n_tokens` takes while samples are drawn, in bytes.
    fn sequence_bytes(&self, n_tokens: usize) -> u64;

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
    ) -> Result<Vec<Vec<TokenRecord>>> {
        let mut records = vec![Vec::new(); texts.len()];
        self.score_each(texts, batch, &mut put(&mut records), progress)?;
        Ok(records)
    }

    /// As [`LanguageModel::score`], but each text's records are given to `take` as soon as they are there.
    ///
    /// # Errors
    /// Those of [`LanguageModel::score`] and of `take`, at the first of which it stops.
    fn score_each(
        &self,
        texts: &[Vec<u32>],
        batch: usize,
        take: Take<'_, Vec<TokenRecord>>,
        progress: &dyn Progress,
    ) -> Result<()>;

    /// What each decoding makes of the continuation of each passage, given the rest of it, from teacher-forced passes;
    /// cut, batched and handed over as by [`LanguageModel::score_each`].
    ///
    /// # Errors
    /// Those of [`LanguageModel::score_each`]; [`Error::InvalidArgument`] for a passage without a prompt or a decoding that
    /// makes no sense.
    fn choose_each(
        &self,
        asked: (&[Passage], &[Decoding]),
        batch: usize,
        take: Take<'_, Choices>,
        progress: &dyn Progress,
    ) -> Result<()>;

    /// `n_slots` empty sequences of up to `capacity` tokens that grow and fork as the caller likes.
    ///
    /// # Errors
    /// When the memory cannot be had.
    fn session(&self, n_slots: usize, capacity: usize) -> Result<Box<dyn Session + '_>>;

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
    ) -> Result<Vec<Sample>> {
        let mut samples = vec![Sample::default(); requests.len()];
        self.sample_each(requests, config, &mut put(&mut samples), progress)?;
        Ok(samples)
    }

    /// As [`LanguageModel::sample`], but each sample is given to `take` as soon as it has ended.
    ///
    /// # Errors
    /// Those of [`LanguageModel::sample`] and of `take`, at the first of which it stops.
    fn sample_each(
        &self,
        requests: &[SampleRequest],
        config: &SamplingConfig,
        take: Take<'_, Sample>,
        progress: &dyn Progress,
    ) -> Result<()>;

    /// The same model as a server shows it by `release`; of a model that is served already, on top of that.
    ///
    /// ```
    /// use verbatim_lm::{LanguageModel, Ngram, Release};
    /// /// Tells nothing at all.
    /// struct Nothing;
    /// impl Release for Nothing {
    ///     fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
    ///         log_probs.fill(0.0);
    ///     }
    /// }
    /// let model = Ngram::new((4, 64), 2, 0.5, &[vec![0, 1, 0, 1, 0, 2]]);
    /// let records = model.served(&Nothing).score(&[vec![0, 1]], 1, &verbatim_store::Silent)?;
    /// assert!((records[0][0].log_prob.exp() - 0.25).abs() < 1e-6);
    /// # Ok::<(), verbatim_lm::Error>(())
    /// ```
    fn served<'a>(&'a self, release: &'a dyn Release) -> Box<dyn LanguageModel + 'a>;
}

/// Takes an answer, with the number of the text or request that it is to.
pub type Take<'a, T> = &'a mut (dyn FnMut(usize, T) -> Result<()> + Send);

/// Puts each answer into its place.
fn put<T: Send>(places: &mut [T]) -> impl FnMut(usize, T) -> Result<()> + Send {
    |number, answer| {
        places[number] = answer;
        Ok(())
    }
}

/// Tokens that go on a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The sequence's number in the cache.
    pub slot: usize,
    /// T new tokens, at least one.
    pub tokens: &'a [u32],
}

/// What scoring and sampling need of an engine.
///
/// Sequences stand in the slots of a cache, each at its own position, and grow by runs of tokens. R rows are the new
/// positions of a pass, run after run; V ids. A row's values must not depend on what else is computed beside it, nor on
/// how its sequence was cut into runs.
pub trait Forward: Send + Sync {
    /// What the engine remembers of some sequences between passes.
    type Cache: Send;

    /// R states, whatever they are to the engine.
    type States: Send;

    /// V, the number of token ids.
    fn vocab_size(&self) -> usize;

    /// L, the most tokens that the model sees at once.
    fn context_len(&self) -> usize;

    /// The token that begins a text, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// Positions of a pass, all runs together, that are enough for full speed.
    fn max_positions(&self) -> usize {
        4096
    }

    /// Rows of logits at once that are enough for full speed.
    fn head_rows(&self) -> usize {
        128
    }

    /// Memory of a sequence of up to `capacity` tokens in a cache, in bytes.
    fn cache_bytes(&self, capacity: usize) -> u64;

    /// `n_slots` empty sequences of up to `capacity` tokens.
    ///
    /// # Errors
    /// When the memory cannot be had.
    fn new_cache(&self, n_slots: usize, capacity: usize) -> Result<Self::Cache>;

    /// As [`Forward::new_cache`], for one single pass.
    ///
    /// # Errors
    /// When the memory cannot be had.
    fn new_scratch(&self, n_slots: usize, capacity: usize) -> Result<Self::Cache> {
        self.new_cache(n_slots, capacity)
    }

    /// Appends runs to their sequences, slots ascending; each new position's state, given those before it.
    ///
    /// # Errors
    /// When a sequence is longer than the context, or the engine fails.
    fn hidden(&self, runs: &[Run<'_>], cache: &mut Self::Cache) -> Result<Self::States>;

    /// Makes the sequence in slot `to` the first `n` tokens of that in slot `from`; 0 empties it.
    ///
    /// # Errors
    /// When the engine fails.
    fn copy_prefix(&self, cache: &mut Self::Cache, from: usize, to: usize, n: usize) -> Result<()>;

    /// Room for logits.
    fn new_logits(&self) -> Logits {
        Logits::from_rows(Vec::new(), self.vocab_size())
    }

    /// The logits of the next token after each of some rows, in their order.
    ///
    /// # Errors
    /// When the engine fails.
    fn logits(&self, states: &Self::States, rows: &[usize], logits: &mut Logits) -> Result<()>;

    /// How answers show the logits, if not as they are.
    fn release(&self) -> Option<&dyn Release> {
        None
    }

    /// [`LanguageModel::served`] of this engine.
    fn behind<'a>(&'a self, release: &'a dyn Release) -> Box<dyn LanguageModel + 'a>
    where
        Self: Sized,
    {
        Box::new(Served::new(self, release))
    }
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

    fn sequence_bytes(&self, n_tokens: usize) -> u64 {
        // Its keys and values, and a row of logits.
        self.cache_bytes(n_tokens) + (Forward::vocab_size(self) * size_of::<f32>()) as u64
    }

    fn score_each(
        &self,
        texts: &[Vec<u32>],
        batch: usize,
        take: Take<'_, Vec<TokenRecord>>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let answer = |row: Row<'_>, context: &[u32], token| {
            served::told(self.release(), context, row, |row| row.record(token))
        };
        let question = Question { texts, first: &|_| 1, answer };
        in_pool(|| record::score(self, &question, batch, take, progress))
    }

    fn choose_each(
        &self,
        asked: (&[Passage], &[Decoding]),
        batch: usize,
        take: Take<'_, Choices>,
        progress: &dyn Progress,
    ) -> Result<()> {
        in_pool(|| choice::choose(self, asked, batch, take, progress))
    }

    fn session(&self, n_slots: usize, capacity: usize) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Sequences::new(self, n_slots, capacity)?))
    }

    fn sample_each(
        &self,
        requests: &[SampleRequest],
        config: &SamplingConfig,
        take: Take<'_, Sample>,
        progress: &dyn Progress,
    ) -> Result<()> {
        in_pool(|| sampling::sample(self, requests, config, take, progress))
    }

    fn served<'a>(&'a self, release: &'a dyn Release) -> Box<dyn LanguageModel + 'a> {
        self.behind(release)
    }
}

/// Refuses a sequence that is empty, or longer than the context once it has grown.
pub(crate) fn check_length(past: usize, n_new: usize, context_len: usize) -> Result<()> {
    if n_new > 0 && past + n_new <= context_len {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "a sequence of {} tokens does not fit the context of 1 to {context_len} tokens",
        past + n_new
    )))
}

/// Runs work on a thread of the pool: from outside, each of thousands of small parallel loops would put the caller to
/// sleep and wake it up again.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
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

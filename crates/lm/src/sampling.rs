//! Drawing continuations, in batches whose size never changes a sample.
//!
//! Each sample draws from its own stream of random numbers, keyed by (seed, sample index), one number for
//! each token; so a sample is the same whatever is drawn beside it, before it or after it.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::model::{Forward, check_ids};

/// One continuation to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRequest {
    /// The sample's number, which keys its random numbers.
    pub index: u64,
    /// The tokens to continue; at least one.
    pub prompt: Vec<u32>,
}

/// How flat the distribution is made, over the course of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Temperature {
    /// The same for each token; zero is greedy.
    Fixed(f32),
    /// From `from` in equal steps to `to`, which is reached after `over_tokens` tokens and kept
    /// (Carlini et al. 2021, section 5.1.1: 10 to 1 over the first 20 tokens).
    Decaying {
        /// The temperature of the first token.
        from: f32,
        /// The temperature once `over_tokens` tokens have been drawn.
        to: f32,
        /// The number of tokens over which it decays.
        over_tokens: usize,
    },
}

impl Temperature {
    /// The temperature of the token at `position`, the first drawn token being at 0.
    #[must_use]
    pub fn at(self, position: usize) -> f32 {
        match self {
            Self::Fixed(temperature) => temperature,
            Self::Decaying { to, over_tokens, .. } if position >= over_tokens => to,
            Self::Decaying { from, to, over_tokens } => {
                from + (to - from) * (position as f32 / over_tokens as f32)
            }
        }
    }

    fn is_sensible(self) -> bool {
        let sensible = |temperature: f32| temperature.is_finite() && temperature >= 0.0;
        match self {
            Self::Fixed(temperature) => sensible(temperature),
            Self::Decaying { from, to, .. } => sensible(from) && sensible(to),
        }
    }
}

/// How to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// The most tokens to draw; a sample also ends at the end of the context.
    pub max_new_tokens: usize,
    /// Draw among this many most likely tokens only.
    pub top_k: Option<usize>,
    /// Draw among the fewest tokens that hold this much of the probability left by `top_k`
    /// (Holtzman et al. 2020, section 3.1).
    pub top_p: Option<f32>,
    /// How flat the distribution is made, before `top_k` and `top_p`.
    pub temperature: Temperature,
    /// The run's seed.
    pub seed: u64,
    /// The most samples drawn at once; it changes speed and memory, never a sample.
    pub batch: usize,
    /// A sample ends before this token.
    pub stop_token: Option<u32>,
}

impl SamplingConfig {
    fn validate(&self, vocab_size: usize) -> Result<()> {
        let complaint = if self.max_new_tokens == 0 {
            "max_new_tokens is 0, expected at least 1".to_owned()
        } else if self.batch == 0 {
            "batch is 0, expected at least 1".to_owned()
        } else if !self.temperature.is_sensible() {
            format!("temperature is {:?}, expected 0 (greedy) or a positive number", self.temperature)
        } else if let Some(k) = self.top_k.filter(|k| !(1..=vocab_size).contains(k)) {
            format!("top_k is {k}, expected 1 to {vocab_size}, the size of the vocabulary")
        } else if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            format!("top_p is {p}, expected more than 0 and at most 1")
        } else if let Some(id) = self.stop_token.filter(|id| *id as usize >= vocab_size) {
            format!("stop_token is {id}, outside the vocabulary of {vocab_size}")
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument(complaint))
    }
}

/// A drawn continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The number from the request.
    pub index: u64,
    /// The prompt from the request.
    pub prompt: Vec<u32>,
    /// The tokens drawn, without the prompt.
    pub tokens: Vec<u32>,
    /// Why the sample ended early, if something went wrong.
    pub error: Option<String>,
}

/// A sample that is being drawn.
struct Drawing {
    sample: Sample,
    rng: ChaCha8Rng,
    done: bool,
}

/// [`crate::LanguageModel::sample`] for any engine.
pub(crate) fn sample<M: Forward + ?Sized>(
    model: &M,
    requests: &[SampleRequest],
    config: &SamplingConfig,
    progress: &dyn Progress,
) -> Result<Vec<Sample>> {
    config.validate(model.vocab_size())?;
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        check_request(request, model)?;
        by_length.entry(request.prompt.len()).or_default().push(number);
    }
    progress.stage("sampling", Some(requests.len() as u64), "samples");
    let mut samples: Vec<Option<Sample>> = vec![None; requests.len()];
    for numbers in by_length.values().flat_map(|group| group.chunks(config.batch)) {
        let batch: Vec<&SampleRequest> = numbers.iter().map(|number| &requests[*number]).collect();
        for (number, sample) in numbers.iter().zip(sample_batch(model, &batch, config, progress)?) {
            samples[*number] = Some(sample);
        }
        progress.advance(numbers.len() as u64);
    }
    Ok(samples.into_iter().map(|sample| sample.expect("each request is in one batch")).collect())
}

fn check_request<M: Forward + ?Sized>(request: &SampleRequest, model: &M) -> Result<()> {
    let SampleRequest { index, prompt } = request;
    check_ids(prompt, model.vocab_size(), || format!("the prompt of sample {index}"))?;
    if prompt.is_empty() {
        return Err(Error::InvalidArgument(format!(
            "the prompt of sample {index} is empty; begin with the model's first token"
        )));
    }
    if prompt.len() >= model.context_len() {
        return Err(Error::InvalidArgument(format!(
            "the prompt of sample {index} has {} tokens and leaves no room in the context of {}",
            prompt.len(),
            model.context_len()
        )));
    }
    Ok(())
}

/// Draws samples whose prompts are equally long, one token of each at a time.
fn sample_batch<M: Forward + ?Sized>(
    model: &M,
    requests: &[&SampleRequest],
    config: &SamplingConfig,
    progress: &dyn Progress,
) -> Result<Vec<Sample>> {
    let prompt_len = requests[0].prompt.len();
    let n_new = config.max_new_tokens.min(model.context_len() - prompt_len);
    let mut drawings: Vec<Drawing> = requests.iter().map(|request| begin(request, config.seed)).collect();
    let mut cache = model.new_cache(requests.len(), prompt_len + n_new)?;
    let mut inputs: Vec<u32> = requests.iter().flat_map(|request| request.prompt.iter().copied()).collect();
    for position in 0..n_new {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let logits = last_logits(model, inputs, requests.len(), &mut cache)?; // (B, V)
        inputs = drawings
            .par_iter_mut()
            .zip(logits.par_chunks(model.vocab_size()))
            .map(|(drawing, logits)| draw(drawing, logits, config, position))
            .collect();
        if drawings.iter().all(|drawing| drawing.done) {
            break;
        }
    }
    Ok(drawings.into_iter().map(|drawing| drawing.sample).collect())
}

fn begin(request: &SampleRequest, seed: u64) -> Drawing {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(request.index);
    let SampleRequest { index, prompt } = request.clone();
    Drawing { sample: Sample { index, prompt, tokens: Vec::new(), error: None }, rng, done: false }
}

/// Feeds B * T new ids; returns the logits after the last of each sequence, (B, V).
fn last_logits<M: Forward + ?Sized>(
    model: &M,
    ids: Vec<u32>,
    batch: usize,
    cache: &mut M::Cache,
) -> Result<Vec<f32>> {
    let t = ids.len() / batch;
    let ids = Tensor::from_vec(ids, (batch, t), &Device::Cpu)?;
    let hidden = model.hidden(&ids, Some(cache))?; // (B * T, C)
    let c = hidden.dim(1)?;
    let last = hidden.reshape((batch, t, c))?.narrow(1, t - 1, 1)?.reshape((batch, c))?; // (B, C)
    Ok(model.head(&last)?.flatten_all()?.to_vec1()?)
}

/// Draws the next token of one sample and returns it; a sample that has ended is fed zeros.
fn draw(drawing: &mut Drawing, logits: &[f32], config: &SamplingConfig, position: usize) -> u32 {
    if drawing.done {
        return 0;
    }
    match choose(logits, config, position, &mut drawing.rng) {
        Some(id) if Some(id) == config.stop_token => drawing.done = true,
        Some(id) => {
            drawing.sample.tokens.push(id);
            return id;
        }
        None => {
            drawing.sample.error = Some(format!("the logits of token {position} hold NaN or infinity"));
            drawing.done = true;
        }
    }
    0
}

/// The next token's id, or nothing when a logit is not a finite number.
///
/// Temperature, then top-k, then top-p, in the order of Hugging Face `generate`; one random number.
fn choose(logits: &[f32], config: &SamplingConfig, position: usize, rng: &mut ChaCha8Rng) -> Option<u32> {
    if logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let temperature = f64::from(config.temperature.at(position));
    let k = if temperature == 0.0 { Some(1) } else { config.top_k };
    let candidates = candidates(logits, k, config.top_p, temperature);
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    // 53 random bits: uniform in [0, 1), as fine as f64 can be.
    let mut target = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
    for candidate in &candidates {
        target -= candidate.weight;
        if target < 0.0 {
            return Some(candidate.id);
        }
    }
    // Rounding may leave a crumb of the total; it belongs to the last token that had any weight.
    candidates.iter().rev().find(|candidate| candidate.weight > 0.0).map(|candidate| candidate.id)
}

/// A token that may be drawn.
struct Candidate {
    id: u32,
    logit: f32,
    /// Proportional to the probability.
    weight: f64,
}

/// The tokens that may be drawn: by id when nothing is cut off, otherwise the most likely first, ties to the
/// lower id.
fn candidates(logits: &[f32], top_k: Option<usize>, top_p: Option<f32>, temperature: f64) -> Vec<Candidate> {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weigh = |(id, &logit): (u32, &f32)| {
        let below = f64::from(logit) - max;
        // At temperature zero only the first candidate is left, so any finite weight will do.
        let weight = if temperature == 0.0 { 1.0 } else { (below / temperature).exp() };
        Candidate { id, logit, weight }
    };
    let mut all: Vec<Candidate> = (0u32..).zip(logits).map(weigh).collect();
    let order = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id));
    if let Some(k) = top_k.filter(|k| *k < all.len()) {
        all.select_nth_unstable_by(k, order);
        all.truncate(k);
    }
    if top_k.is_some() || top_p.is_some() {
        all.sort_unstable_by(order);
    }
    if let Some(p) = top_p {
        let needed = f64::from(p) * all.iter().map(|candidate| candidate.weight).sum::<f64>();
        let mut held = 0.0;
        let n = all.iter().take_while(|candidate| {
            let more = held < needed;
            held += candidate.weight;
            more
        });
        let n = n.count().max(1);
        all.truncate(n);
    }
    all
}

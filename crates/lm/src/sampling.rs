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
        // Adding zero turns minus zero into zero: equal logits must be equal in the total order below.
        Candidate { id, logit: logit + 0.0, weight }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 8] = [0.3, -1.0, 2.0, 2.0, 0.0, 1.5, -4.0, 0.3];

    fn config(top_k: Option<usize>, top_p: Option<f32>, temperature: Temperature) -> SamplingConfig {
        SamplingConfig { max_new_tokens: 1, top_k, top_p, temperature, seed: 0, batch: 1, stop_token: None }
    }

    /// The distribution by its definition: temper, sort, cut to k, renormalise, cut to p, renormalise.
    fn naive(top_k: Option<usize>, top_p: Option<f32>, temperature: f32) -> Vec<f64> {
        let weights: Vec<f64> =
            LOGITS.iter().map(|l| (f64::from(*l) / f64::from(temperature)).exp()).collect();
        let mut ids: Vec<usize> = (0..LOGITS.len()).collect();
        ids.sort_by(|a, b| LOGITS[*b].total_cmp(&LOGITS[*a]));
        ids.truncate(top_k.unwrap_or(LOGITS.len()));
        let total: f64 = ids.iter().map(|id| weights[*id]).sum();
        let mut n = 0;
        let mut held = 0.0;
        while n < ids.len() && held < f64::from(top_p.unwrap_or(1.0)) - 1e-12 {
            held += weights[ids[n]] / total;
            n += 1;
        }
        ids.truncate(n);
        let total: f64 = ids.iter().map(|id| weights[*id]).sum();
        (0..LOGITS.len()).map(|id| if ids.contains(&id) { weights[id] / total } else { 0.0 }).collect()
    }

    #[test]
    fn draws_follow_the_definition() {
        let n_draws = 40_000;
        for (top_k, top_p) in [
            (None, None),
            (Some(3), None),
            (None, Some(0.8)),
            (Some(5), Some(0.9)),
            (Some(1), None),
            (None, Some(1e-6)),
        ] {
            for temperature in [0.5, 1.0, 3.0] {
                let config = config(top_k, top_p, Temperature::Fixed(temperature));
                let mut rng = ChaCha8Rng::seed_from_u64(1);
                let mut counts = [0u32; LOGITS.len()];
                for _ in 0..n_draws {
                    counts[choose(&LOGITS, &config, 0, &mut rng).unwrap() as usize] += 1;
                }
                for (id, p) in naive(top_k, top_p, temperature).into_iter().enumerate() {
                    let n = f64::from(n_draws);
                    let deviation = (n * p * (1.0 - p)).sqrt();
                    let error = (f64::from(counts[id]) - n * p).abs();
                    assert!(
                        error <= 4.5 * deviation,
                        "{top_k:?} {top_p:?} {temperature}: {id} {p} {counts:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn greedy_takes_the_lower_id_of_equals() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = config(None, Some(0.5), Temperature::Fixed(0.0));
        assert_eq!(choose(&LOGITS, &config, 0, &mut rng), Some(2));
        // Plus zero is above minus zero in a total order of floats; as logits they are equal.
        assert_eq!(choose(&[-1.0, -0.0, 0.0], &config, 0, &mut rng), Some(1));
    }

    #[test]
    fn extreme_logits_and_temperatures_still_give_a_choice() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for temperature in [f32::MIN_POSITIVE, 1e-45, f32::MAX] {
            let config = config(None, Some(0.999), Temperature::Fixed(temperature));
            assert!(choose(&[f32::MIN, f32::MAX, 0.0], &config, 0, &mut rng).is_some());
        }
    }

    #[test]
    fn logits_that_are_no_numbers_are_never_a_choice() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 1.0] {
                let config = config(Some(2), None, Temperature::Fixed(temperature));
                assert_eq!(choose(&[0.0, broken, 1.0], &config, 0, &mut rng), None);
            }
        }
    }

    #[test]
    fn temperature_decays_as_published() {
        let decaying = Temperature::Decaying { from: 10.0, to: 1.0, over_tokens: 20 };
        assert_eq!([0, 10, 20, 21].map(|position| decaying.at(position)), [10.0, 5.5, 1.0, 1.0]);
        assert_eq!(Temperature::Decaying { from: 3.0, to: 2.0, over_tokens: 0 }.at(0), 2.0);
    }
}

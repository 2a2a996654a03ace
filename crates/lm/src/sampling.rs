//! Drawing continuations, in batches whose size never changes a sample.
//!
//! Each sample draws from its own stream of random numbers, keyed by (seed, sample index), one number for
//! each token; so a sample is the same whatever is drawn beside it, before it or after it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::logits::{Logits, Row};
use crate::model::{Forward, Run, Take, check_ids};
use crate::record::TokenRecord;
use crate::served::{self, Release};

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

/// How one token is drawn from the model's distribution: temperature, then top-k, then top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoding {
    /// How flat the distribution is made; zero is greedy.
    pub temperature: f32,
    /// Draw among this many most likely tokens only.
    pub top_k: Option<usize>,
    /// Draw among the fewest tokens that hold this much of the probability left by `top_k`.
    pub top_p: Option<f32>,
}

impl Decoding {
    pub(crate) fn validate(&self, vocab_size: usize) -> Result<()> {
        let complaint = if !Temperature::Fixed(self.temperature).is_sensible() {
            format!("temperature is {}, expected 0 (greedy) or a positive number", self.temperature)
        } else if let Some(k) = self.top_k.filter(|k| !(1..=vocab_size).contains(k)) {
            format!("top_k is {k}, expected 1 to {vocab_size}, the size of the vocabulary")
        } else if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            format!("top_p is {p}, expected more than 0 and at most 1")
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument(complaint))
    }

    /// The tokens that may be drawn after logits whose largest is `max`.
    fn candidates(&self, logits: Row<'_>, max: f32) -> Vec<Candidate> {
        let k = if self.temperature == 0.0 { Some(1) } else { self.top_k };
        candidates(logits, max, (k, self.top_p), f64::from(self.temperature))
    }

    /// Draws a token after logits whose largest is `max`, with one random number, in the order of Hugging Face `generate`.
    pub(crate) fn draw(&self, logits: Row<'_>, max: f32, rng: &mut ChaCha8Rng) -> Option<Drawn> {
        let candidates = self.candidates(logits, max);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        // 53 random bits: uniform in [0, 1), as fine as f64 can be.
        let mut target = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
        let below = candidates.iter().position(|candidate| {
            target -= candidate.weight;
            target < 0.0
        });
        // Rounding may leave a crumb of the total; it belongs to the last token that had any weight.
        let at = below.or_else(|| candidates.iter().rposition(|candidate| candidate.weight > 0.0))?;
        let Candidate { id, logit, .. } = candidates[at];
        // What was cut is sorted, and begins with the model's first choice.
        let is_sorted = self.temperature == 0.0 || self.top_k.is_some() || self.top_p.is_some();
        Some(Drawn { id, logit, rank: is_sorted.then_some(at as u32) })
    }

    /// The `n` tokens that are the likeliest to be drawn after these logits (V), or fewer where the decoding cuts more off,
    /// each with the log-probability of drawing it; the most likely first, ties to the lower id.
    #[must_use]
    pub fn likeliest(&self, logits: Vec<f32>, n: usize) -> Vec<(u32, f64)> {
        let vocab_size = logits.len();
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut candidates = self.candidates(Logits::from_rows(logits, vocab_size).row(0), max);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let order = |a: &Candidate, b: &Candidate| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id));
        if n < candidates.len() {
            candidates.select_nth_unstable_by(n, order);
            candidates.truncate(n);
        }
        candidates.sort_unstable_by(order);
        candidates.iter().map(|candidate| (candidate.id, (candidate.weight / total).ln())).collect()
    }

    /// The log-probability with which `token` is drawn; minus infinity where it is cut off.
    pub(crate) fn log_prob(&self, logits: Row<'_>, max: f32, token: u32) -> f64 {
        let candidates = self.candidates(logits, max);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let own = candidates.iter().find(|candidate| candidate.id == token);
        own.map_or(f64::NEG_INFINITY, |own| (own.weight / total).ln())
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
        } else if let Some(id) = self.stop_token.filter(|id| *id as usize >= vocab_size) {
            format!("stop_token is {id}, outside the vocabulary of {vocab_size}")
        } else {
            return self.decoding(0).validate(vocab_size);
        };
        Err(Error::InvalidArgument(complaint))
    }

    /// How the token at `position` is drawn, the first being at 0.
    fn decoding(&self, position: usize) -> Decoding {
        Decoding { temperature: self.temperature.at(position), top_k: self.top_k, top_p: self.top_p }
    }
}

/// A drawn continuation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The number from the request.
    pub index: u64,
    /// The prompt from the request.
    pub prompt: Vec<u32>,
    /// The tokens drawn, without the prompt.
    pub tokens: Vec<u32>,
    /// What the model said of each token drawn: the records that scoring prompt and sample would give.
    pub records: Vec<TokenRecord>,
    /// Why the sample ended early, if something went wrong.
    pub error: Option<String>,
}

/// A sample that is being drawn.
struct Drawing {
    /// The request's number.
    number: usize,
    sample: Sample,
    n_new: usize,
    rng: ChaCha8Rng,
    done: bool,
}

/// [`crate::LanguageModel::sample_each`] for any engine.
///
/// Samples stand in the slots of a cache; where one ends, the next begins. A prompt is run once for all samples of
/// it that begin while one of them is being drawn: all of its tokens but the last, which goes with everyone's next
/// step.
pub(crate) fn sample<M: Forward + ?Sized>(
    model: &M,
    requests: &[SampleRequest],
    config: &SamplingConfig,
    take: Take<'_, Sample>,
    progress: &dyn Progress,
) -> Result<()> {
    config.validate(model.vocab_size())?;
    requests.iter().try_for_each(|request| check_request(request, model))?;
    progress.stage("sampling", Some(requests.len() as u64), "samples");
    let n_new =
        |request: &SampleRequest| config.max_new_tokens.min(model.context_len() - request.prompt.len());
    let capacity = requests.iter().map(|request| request.prompt.len() + n_new(request)).max().unwrap_or(0);
    // Equal prompts side by side; the order of drawing changes no sample.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|number| &requests[*number].prompt);
    let mut waiting = order.into_iter().map(|number| {
        let request = &requests[number];
        begin(number, request, n_new(request), config.seed)
    });
    let mut slots: Vec<Option<Drawing>> = Vec::new();
    slots.resize_with(config.batch.min(requests.len()), || None);
    let mut cache = model.new_cache(slots.len(), capacity)?;
    let mut logits = model.new_logits();
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        fill(model, &mut slots, &mut waiting, &mut cache)?;
        if slots.iter().all(Option::is_none) {
            return Ok(());
        }
        step(model, &mut slots, config, &mut cache, &mut logits)?;
        let ended = slots.iter_mut().filter_map(|slot| slot.take_if(|drawing| drawing.done));
        for drawing in ended {
            take(drawing.number, drawing.sample)?;
            progress.advance(1);
        }
    }
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

fn begin(number: usize, request: &SampleRequest, n_new: usize, seed: u64) -> Drawing {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(request.index);
    let SampleRequest { index, prompt } = request.clone();
    let sample = Sample { index, prompt, tokens: Vec::new(), records: Vec::new(), error: None };
    Drawing { number, sample, n_new, rng, done: false }
}

/// Puts waiting samples into empty slots, and their prompts but for the last token into the cache.
fn fill<M: Forward + ?Sized>(
    model: &M,
    slots: &mut [Option<Drawing>],
    waiting: &mut impl Iterator<Item = Drawing>,
    cache: &mut M::Cache,
) -> Result<()> {
    // (from, to): prompts that another slot has, or is about to have.
    let mut copies = Vec::new();
    let mut fresh = Vec::new();
    for slot in 0..slots.len() {
        if slots[slot].is_some() {
            continue;
        }
        let Some(drawing) = waiting.next() else { break };
        let prompt = &drawing.sample.prompt;
        let same =
            |other: &Option<Drawing>| other.as_ref().is_some_and(|other| other.sample.prompt == *prompt);
        match slots.iter().position(same) {
            Some(from) => copies.push((from, slot)),
            None => fresh.push(slot),
        }
        model.copy_prefix(cache, slot, slot, 0)?;
        slots[slot] = Some(drawing);
    }
    let head = |slot: usize| {
        let prompt = slots[slot].as_ref().map_or(&[][..], |drawing| &drawing.sample.prompt);
        &prompt[..prompt.len().saturating_sub(1)]
    };
    let runs: Vec<Run<'_>> = fresh.iter().map(|&slot| Run { slot, tokens: head(slot) }).collect();
    let runs: Vec<Run<'_>> = runs.into_iter().filter(|run| !run.tokens.is_empty()).collect();
    for pass in passes(&runs, model.max_positions()) {
        model.hidden(pass, cache)?;
    }
    copies.into_iter().try_for_each(|(from, to)| model.copy_prefix(cache, from, to, head(to).len()))
}

/// Feeds each sample's last token and draws the next.
fn step<M: Forward + ?Sized>(
    model: &M,
    slots: &mut [Option<Drawing>],
    config: &SamplingConfig,
    cache: &mut M::Cache,
    logits: &mut Logits,
) -> Result<()> {
    let runs: Vec<Run<'_>> = (0..)
        .zip(slots.iter())
        .filter_map(|(slot, drawing)| {
            let sample = &drawing.as_ref()?.sample;
            let last = sample.tokens.last().or(sample.prompt.last())?;
            Some(Run { slot, tokens: std::slice::from_ref(last) })
        })
        .collect();
    let states = model.hidden(&runs, cache)?;
    let rows: Vec<usize> = (0..runs.len()).collect();
    model.logits(&states, &rows, logits)?;
    let logits = &*logits;
    let release = model.release();
    let drawings: Vec<&mut Drawing> = slots.iter_mut().flatten().collect();
    drawings
        .into_par_iter()
        .enumerate()
        .for_each(|(row, drawing)| draw(drawing, logits.row(row), config, release));
    Ok(())
}

/// Draws the next token of one sample.
fn draw(drawing: &mut Drawing, logits: Row<'_>, config: &SamplingConfig, release: Option<&dyn Release>) {
    let Drawing { sample, rng, .. } = drawing;
    let position = sample.tokens.len();
    let decoding = config.decoding(position);
    let chosen = match release {
        None => choose(logits, &decoding, rng).map(Some),
        Some(release) => {
            let context = [&sample.prompt[..], &sample.tokens].concat();
            served::draw(release, &context, logits, (&decoding, rng))
        }
    };
    match chosen {
        // A server that has no answer says no more.
        Some(None) => drawing.done = true,
        Some(Some(record)) if Some(record.token) == config.stop_token => drawing.done = true,
        Some(Some(record)) => {
            sample.tokens.push(record.token);
            sample.records.push(record);
            drawing.done = sample.tokens.len() == drawing.n_new;
        }
        None => {
            sample.error = Some(format!("the logits of token {position} hold NaN or infinity"));
            drawing.done = true;
        }
    }
}

/// The next token's record, or nothing when a logit is not a finite number.
fn choose(logits: Row<'_>, decoding: &Decoding, rng: &mut ChaCha8Rng) -> Option<TokenRecord> {
    let distribution = logits.distribution()?;
    let Drawn { id, logit, rank } = decoding.draw(logits, distribution.max(), rng)?;
    Some(distribution.record(id, logit, rank.unwrap_or_else(|| logits.rank(id))))
}

/// A token that was drawn.
pub(crate) struct Drawn {
    pub(crate) id: u32,
    logit: f32,
    /// How many tokens come before it, where that is known already.
    rank: Option<u32>,
}

/// A token that may be drawn.
struct Candidate {
    id: u32,
    logit: f32,
    /// Proportional to the probability.
    weight: f64,
}

/// Cuts runs into passes of at most `max_positions`, or of one run.
pub(crate) fn passes<'r, 't>(
    mut rest: &'r [Run<'t>],
    max_positions: usize,
) -> impl Iterator<Item = &'r [Run<'t>]> {
    std::iter::from_fn(move || {
        let mut n_positions = 0;
        let fitting = rest.iter().take_while(|run| {
            n_positions += run.tokens.len();
            n_positions <= max_positions
        });
        let pass;
        (pass, rest) = rest.split_at(fitting.count().max(1).min(rest.len()));
        (!pass.is_empty()).then_some(pass)
    })
}

/// The tokens that may be drawn: by id when nothing is cut off, otherwise the most likely first, ties to the
/// lower id.
fn candidates(
    logits: Row<'_>,
    max: f32,
    (top_k, top_p): (Option<usize>, Option<f32>),
    temperature: f64,
) -> Vec<Candidate> {
    let top_k = top_k.filter(|k| *k < logits.len());
    let at_least = top_k.map_or(f32::NEG_INFINITY, |k| logits.at_most_the_kth(k));
    // Adding zero turns minus zero into zero: equal logits must be equal in the total order below.
    let all = (0u32..).zip(logits.parts().flatten()).map(|(id, &logit)| (id, logit + 0.0));
    let mut chosen: Vec<(u32, f32)> = all.filter(|(_, logit)| *logit >= at_least).collect();
    if top_k.is_some() || top_p.is_some() {
        chosen.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        chosen.truncate(top_k.unwrap_or(usize::MAX));
    }
    let weigh = |(id, logit): (u32, f32)| {
        let below = f64::from(logit) - f64::from(max);
        // At temperature zero only the first candidate is left, so any finite weight will do.
        let weight = if temperature == 0.0 { 1.0 } else { (below / temperature).exp() };
        Candidate { id, logit, weight }
    };
    let mut all: Vec<Candidate> = chosen.into_iter().map(weigh).collect();
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

    fn choose_id(logits: &[f32], config: &SamplingConfig, rng: &mut ChaCha8Rng) -> Option<u32> {
        let logits = Logits::from_rows(logits.to_vec(), logits.len());
        Some(choose(logits.row(0), &config.decoding(0), rng)?.token)
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
                    counts[choose_id(&LOGITS, &config, &mut rng).unwrap() as usize] += 1;
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
    fn the_likeliest_tokens_have_the_probabilities_of_the_definition() {
        for (top_k, top_p) in [(None, None), (Some(3), None), (Some(5), Some(0.9))] {
            for temperature in [0.5, 1.0, 3.0] {
                let p = naive(top_k, top_p, temperature);
                let decoding = Decoding { temperature, top_k, top_p };
                let n_drawn = p.iter().filter(|p| **p > 0.0).count();
                for n in [1, 4, 8, 20] {
                    let likeliest = decoding.likeliest(LOGITS.to_vec(), n);
                    assert_eq!(likeliest.len(), n.min(n_drawn));
                    assert!(likeliest.iter().all(|(id, log)| (log.exp() - p[*id as usize]).abs() < 1e-7));
                    let least = p[likeliest.last().unwrap().0 as usize];
                    assert_eq!(p.iter().filter(|p| **p > least + 1e-9).count().min(n), {
                        likeliest.iter().filter(|(id, _)| p[*id as usize] > least + 1e-9).count()
                    });
                    assert!(
                        likeliest.is_sorted_by_key(|(id, log)| (std::cmp::Reverse((log * 1e6) as i64), *id))
                    );
                }
            }
        }
    }

    #[test]
    fn greedy_takes_the_lower_id_of_equals() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = config(None, Some(0.5), Temperature::Fixed(0.0));
        assert_eq!(choose_id(&LOGITS, &config, &mut rng), Some(2));
        // Plus zero is above minus zero in a total order of floats; as logits they are equal.
        assert_eq!(choose_id(&[-1.0, -0.0, 0.0], &config, &mut rng), Some(1));
    }

    #[test]
    fn fault_66_extreme_logits_and_temperatures_still_give_a_choice() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for temperature in [f32::MIN_POSITIVE, 1e-45, f32::MAX] {
            let config = config(None, Some(0.999), Temperature::Fixed(temperature));
            assert!(choose_id(&[f32::MIN, f32::MAX, 0.0], &config, &mut rng).is_some());
        }
    }

    #[test]
    fn fault_64_logits_that_are_no_numbers_are_never_a_choice() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 1.0] {
                let config = config(Some(2), None, Temperature::Fixed(temperature));
                assert_eq!(choose_id(&[0.0, broken, 1.0], &config, &mut rng), None);
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

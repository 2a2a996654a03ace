//! An n-gram model: counts of what followed what. Its every probability is a fraction that a reader can work out, so what
//! is built on top of a [`LanguageModel`](crate::LanguageModel) can be tested against exact numbers.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::logits::Logits;
use crate::model::{Forward, Run};
use crate::scripted::{after_each, chosen};

/// How often each token followed a context.
type Followers = BTreeMap<u32, u64>;

/// An n-gram model with additive smoothing (Lidstone 1920; Jurafsky and Martin, chapter 3): after a context of n - 1
/// tokens, token t has probability (count(context, t) + alpha) / (count(context) + alpha V). At the beginning of a text
/// the context is shorter.
///
/// ```
/// use verbatim_lm::{LanguageModel, Ngram};
/// let model = Ngram::new((4, 64), 2, 0.5, &[vec![0, 1, 0, 1, 0, 2]]);
/// let records = model.score(&[vec![0, 1]], 1, &verbatim_store::Silent).expect("ids are in the vocabulary");
/// assert!((records[0][0].log_prob.exp() - 2.5 / 5.0).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct Ngram {
    vocab_size: usize,
    context_len: usize,
    order: usize,
    alpha: f64,
    counts: BTreeMap<Vec<u32>, Followers>,
}

impl Ngram {
    /// Counts the n-grams of `order` n in texts, for a vocabulary of V ids and sequences of up to L tokens.
    ///
    /// # Panics
    /// When the order is zero or alpha is no positive number.
    #[must_use]
    pub fn new(
        (vocab_size, context_len): (usize, usize),
        order: usize,
        alpha: f64,
        texts: &[Vec<u32>],
    ) -> Self {
        assert!(
            order > 0 && alpha > 0.0,
            "an order of at least one, and some of the probability for every token"
        );
        let mut counts: BTreeMap<Vec<u32>, Followers> = BTreeMap::new();
        for text in texts {
            for (at, token) in text.iter().enumerate() {
                let context = context(&text[..at], order).to_vec();
                *counts.entry(context).or_default().entry(*token).or_default() += 1;
            }
        }
        Self { vocab_size, context_len, order, alpha, counts }
    }

    /// The probability of each token after `seen`, (V).
    #[must_use]
    pub fn probabilities(&self, seen: &[u32]) -> Vec<f64> {
        let followers = self.counts.get(context(seen, self.order));
        let total: u64 = followers.into_iter().flat_map(BTreeMap::values).sum();
        let all = total as f64 + self.alpha * self.vocab_size as f64;
        let count = |token: u32| followers.and_then(|followers| followers.get(&token)).copied().unwrap_or(0);
        (0..self.vocab_size as u32).map(|token| (count(token) as f64 + self.alpha) / all).collect()
    }
}

/// The last n - 1 tokens, or as many as there are.
fn context(seen: &[u32], order: usize) -> &[u32] {
    &seen[seen.len().saturating_sub(order - 1)..]
}

impl Forward for Ngram {
    /// What each sequence has seen.
    type Cache = Vec<Vec<u32>>;

    /// The logits after each position.
    type States = Vec<Vec<f32>>;

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context_len(&self) -> usize {
        self.context_len
    }

    fn bos(&self) -> Option<u32> {
        None
    }

    fn cache_bytes(&self, capacity: usize) -> u64 {
        (capacity * size_of::<u32>()) as u64
    }

    fn new_cache(&self, n_slots: usize, _capacity: usize) -> Result<Self::Cache> {
        Ok(vec![Vec::new(); n_slots])
    }

    fn hidden(&self, runs: &[Run<'_>], cache: &mut Self::Cache) -> Result<Self::States> {
        let logits = |seen: &[u32]| self.probabilities(seen).into_iter().map(|p| p.ln() as f32).collect();
        Ok(after_each(runs, cache, logits))
    }

    fn copy_prefix(&self, cache: &mut Self::Cache, from: usize, to: usize, n: usize) -> Result<()> {
        cache[to] = cache[from][..n].to_vec();
        Ok(())
    }

    fn logits(&self, states: &Self::States, rows: &[usize], logits: &mut Logits) -> Result<()> {
        *logits = chosen(states, rows, self.vocab_size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LanguageModel, SampleRequest, SamplingConfig, Temperature};
    use verbatim_store::Silent;

    fn model(order: usize) -> Ngram {
        let text = |n: u32| (0..40).map(|t| (t * t * n + t) % 7).collect();
        Ngram::new((9, 32), order, 0.25, &(1..20).map(text).collect::<Vec<_>>())
    }

    #[test]
    fn every_fact_of_a_token_is_the_fractions_own() {
        for order in 1..=4 {
            let model = model(order);
            let text: Vec<u32> = (0..30).map(|t| (t * 5 + t / 3) % 9).collect();
            let records = &model.score(std::slice::from_ref(&text), 4, &Silent).unwrap()[0];
            for (at, record) in (1..).zip(records) {
                let p = model.probabilities(&text[..at]);
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                let mean: f64 = p.iter().map(|p| p * p.ln()).sum();
                let std = p.iter().map(|p| p * (p.ln() - mean).powi(2)).sum::<f64>().sqrt();
                let own = text[at] as usize;
                let before = (0..9).filter(|i| p[*i] > p[own] || (p[*i] == p[own] && *i < own)).count();
                for (found, expected) in [
                    (record.log_prob, p[own].ln()),
                    (record.mean_log_prob, mean),
                    (record.std_log_prob, std),
                    (record.entropy, -mean),
                ] {
                    assert!((f64::from(found) - expected).abs() < 2e-6, "{record:?}: {expected}");
                }
                assert_eq!((record.token, record.rank as usize), (text[at], before));
            }
        }
    }

    #[test]
    fn samples_follow_the_fractions() {
        let model = model(2);
        let n_samples = 20_000u32;
        let requests: Vec<SampleRequest> =
            (0..u64::from(n_samples)).map(|index| SampleRequest { index, prompt: vec![3] }).collect();
        let config = SamplingConfig {
            max_new_tokens: 1,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(1.0),
            seed: 5,
            batch: 64,
            stop_token: None,
        };
        let mut counts = [0u32; 9];
        for sample in model.sample(&requests, &config, &Silent).unwrap() {
            counts[sample.tokens[0] as usize] += 1;
        }
        for (count, p) in counts.iter().zip(model.probabilities(&[3])) {
            let n = f64::from(n_samples);
            let deviation = (n * p * (1.0 - p)).sqrt();
            assert!((f64::from(*count) - n * p).abs() < 4.5 * deviation, "{counts:?}");
        }
    }
}

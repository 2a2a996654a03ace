//! A model whose answers are written down, for tests of what is built on top.

use crate::error::Result;
use crate::logits::Logits;
use crate::model::{Forward, Run};

/// A model that knows some texts by heart and guesses evenly elsewhere.
///
/// Where the tokens so far end like a known text does at some point, the token that follows there gets the
/// text's probability, and the others share the rest evenly; the longest such ending counts, among equals
/// the text that was learnt first. Scoring and sampling run through the same code as a real model's.
///
/// ```
/// use verbatim_lm::{LanguageModel, Scripted};
/// let model = Scripted::new(10, 64).knows(vec![1, 2, 3], 0.9);
/// let records = model.score(&[vec![1, 2, 3]], 1, &verbatim_store::Silent).expect("ids are in the vocabulary");
/// assert!((records[0][0].log_prob.exp() - 0.9).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct Scripted {
    vocab_size: usize,
    context_len: usize,
    bos: Option<u32>,
    texts: Vec<(Vec<u32>, f64)>,
    broken_after: Option<u32>,
}

impl Scripted {
    /// A model of `vocab_size` ids that knows nothing yet.
    #[must_use]
    pub fn new(vocab_size: usize, context_len: usize) -> Self {
        Self { vocab_size, context_len, bos: None, texts: Vec::new(), broken_after: None }
    }

    /// Learns a text: each of its tokens but the first has `probability`, given those before it.
    ///
    /// # Panics
    /// When `probability` is not between 0 and 1, both excluded.
    #[must_use]
    pub fn knows(mut self, text: Vec<u32>, probability: f64) -> Self {
        assert!(probability > 0.0 && probability < 1.0, "a probability between 0 and 1, both excluded");
        self.texts.push((text, probability));
        self
    }

    /// Sets the token that begins a text.
    #[must_use]
    pub fn begins_with(mut self, bos: u32) -> Self {
        self.bos = Some(bos);
        self
    }

    /// From this token on, every logit of a sequence is NaN.
    #[must_use]
    pub fn breaks_after(mut self, token: u32) -> Self {
        self.broken_after = Some(token);
        self
    }

    /// The logits after `seen`: logarithms of probabilities, (V).
    fn logits_after(&self, seen: &[u32]) -> Vec<f32> {
        if self.broken_after.is_some_and(|token| seen.contains(&token)) {
            return vec![f32::NAN; self.vocab_size];
        }
        let mut longest = 0;
        let mut expected = None;
        for (text, probability) in &self.texts {
            for end in 1..text.len() {
                let common =
                    seen.iter().rev().zip(text[..end].iter().rev()).take_while(|(a, b)| a == b).count();
                if common > longest {
                    longest = common;
                    expected = Some((text[end], *probability));
                }
            }
        }
        match expected {
            None => vec![0.0; self.vocab_size],
            Some((token, probability)) => {
                let others = (1.0 - probability) / (self.vocab_size - 1) as f64;
                let mut logits = vec![others.ln() as f32; self.vocab_size];
                logits[token as usize] = probability.ln() as f32;
                logits
            }
        }
    }
}

/// Appends runs to what sequences have seen; the logits after each new token.
pub(crate) fn after_each(
    runs: &[Run<'_>],
    seen: &mut [Vec<u32>],
    logits_after: impl Fn(&[u32]) -> Vec<f32>,
) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for run in runs {
        for token in run.tokens {
            seen[run.slot].push(*token);
            rows.push(logits_after(&seen[run.slot]));
        }
    }
    rows
}

/// Some of these rows.
pub(crate) fn chosen(states: &[Vec<f32>], rows: &[usize], vocab_size: usize) -> Logits {
    Logits::from_rows(rows.iter().flat_map(|row| states[*row].clone()).collect(), vocab_size)
}

impl Forward for Scripted {
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
        self.bos
    }

    fn cache_bytes(&self, capacity: usize) -> u64 {
        (capacity * size_of::<u32>()) as u64
    }

    fn new_cache(&self, n_slots: usize, _capacity: usize) -> Result<Self::Cache> {
        Ok(vec![Vec::new(); n_slots])
    }

    fn hidden(&self, runs: &[Run<'_>], cache: &mut Self::Cache) -> Result<Self::States> {
        Ok(after_each(runs, cache, |seen| self.logits_after(seen)))
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

    fn probability(model: &Scripted, seen: &[u32], token: u32) -> f32 {
        crate::TokenRecord::from_logits(&model.logits_after(seen), token).unwrap().log_prob.exp()
    }

    #[test]
    fn the_longest_ending_decides_and_the_rest_is_shared_evenly() {
        let model = Scripted::new(5, 8).knows(vec![0, 1, 2], 0.8).knows(vec![3, 1, 4], 0.6);
        assert!((probability(&model, &[0, 1], 2) - 0.8).abs() < 1e-6);
        assert!((probability(&model, &[3, 1], 4) - 0.6).abs() < 1e-6);
        assert!((probability(&model, &[3, 1], 0) - 0.1).abs() < 1e-6);
        assert!((probability(&model, &[1], 2) - 0.8).abs() < 1e-6, "among equals, the text learnt first");
        assert!((probability(&model, &[2], 0) - 0.2).abs() < 1e-6, "nothing is known after the end");
    }
}

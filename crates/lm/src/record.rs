//! Teacher-forced scoring: one small record for each token, from which every membership score is computed
//! later without the model.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::model::{Forward, check_ids};

/// What a model said of one token, given the tokens before it. Natural logarithms throughout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenRecord {
    /// The token that stood there.
    pub token: u32,
    /// Its log-probability.
    pub log_prob: f32,
    /// The mean log-probability under the model's own distribution: sum of p ln p over the vocabulary.
    pub mean_log_prob: f32,
    /// The standard deviation of the log-probability under the model's own distribution.
    pub std_log_prob: f32,
    /// The entropy of the model's distribution, the mean's opposite.
    pub entropy: f32,
    /// How many tokens come before it in the order (log-probability descending, id ascending); 0 is the
    /// model's first choice.
    pub rank: u32,
}

impl TokenRecord {
    /// The record of `token` under the distribution softmax(`logits`), or nothing when a logit is NaN or
    /// infinite. Sums run in f64, in the order of ids.
    ///
    /// ```
    /// let record = verbatim_lm::TokenRecord::from_logits(&[0.0, 0.0], 1).expect("finite");
    /// assert_eq!((record.log_prob, record.rank), (-std::f32::consts::LN_2, 1));
    /// ```
    ///
    /// # Panics
    /// When `token` is outside the vocabulary.
    #[must_use]
    pub fn from_logits(logits: &[f32], token: u32) -> Option<Self> {
        let own = logits[token as usize];
        let mut max = f32::NEG_INFINITY;
        let mut rank = 0;
        for (id, &logit) in (0u32..).zip(logits) {
            if !logit.is_finite() {
                return None;
            }
            max = max.max(logit);
            rank += u32::from(logit > own || (logit == own && id < token));
        }
        // With d = logit - max and weight e^d: ln p = d - ln(sum of weights), so the mean of ln p is the
        // weighted mean of d shifted by a constant, and the deviation of ln p is that of d.
        let (mut sum, mut sum_d, mut sum_dd) = (0.0f64, 0.0f64, 0.0f64);
        for &logit in logits {
            let d = f64::from(logit) - f64::from(max);
            let weight = d.exp();
            sum += weight;
            sum_d += weight * d;
            sum_dd += weight * d * d;
        }
        let mean_d = sum_d / sum;
        let mean = mean_d - sum.ln();
        let variance = (sum_dd / sum - mean_d * mean_d).max(0.0);
        Some(Self {
            token,
            log_prob: (f64::from(own) - f64::from(max) - sum.ln()) as f32,
            mean_log_prob: mean as f32,
            std_log_prob: variance.sqrt() as f32,
            entropy: -mean as f32,
            rank,
        })
    }
}

/// Positions in one pass, all sequences together: bounds the memory of activations and attention.
const MAX_POSITIONS: usize = 4096;
/// Rows of logits in memory at once: 26 MB at GPT-2's vocabulary.
const HEAD_ROWS: usize = 128;
/// Sequences are padded on the right to a multiple of this. A causal model does not see the padding, and
/// the shape of a sequence's attention depends on that sequence alone.
const LENGTH_STEP: usize = 16;

/// A stretch of a text that is one sequence of a pass.
struct Window {
    text: usize,
    /// The inputs' positions in the text; the input at `i` predicts the token at `i + 1`.
    inputs: Range<usize>,
    /// The first input whose prediction no earlier window has made.
    first: usize,
}

/// [`crate::LanguageModel::score`] for any engine.
pub(crate) fn score<M: Forward + ?Sized>(
    model: &M,
    texts: &[Vec<u32>],
    batch: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<TokenRecord>>> {
    if batch == 0 {
        return Err(Error::InvalidArgument("a batch of zero texts cannot be scored".to_owned()));
    }
    for (number, text) in texts.iter().enumerate() {
        check_ids(text, model.vocab_size(), || format!("text {number}"))?;
    }
    progress.stage(
        "scoring",
        Some(texts.iter().map(|text| text.len().saturating_sub(1) as u64).sum()),
        "tokens",
    );
    let windows: Vec<Window> =
        (0..).zip(texts).flat_map(|(n, text)| cut(n, text.len(), model.context_len())).collect();
    let mut by_length: BTreeMap<usize, Vec<&Window>> = BTreeMap::new();
    for window in &windows {
        let length = window.inputs.len().next_multiple_of(LENGTH_STEP).min(model.context_len());
        by_length.entry(length).or_default().push(window);
    }
    let mut records: Vec<Vec<TokenRecord>> =
        texts.iter().map(|text| Vec::with_capacity(text.len())).collect();
    for (length, group) in by_length.into_iter().rev() {
        for pass in group.chunks(batch.min((MAX_POSITIONS / length).max(1))) {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            for (window, scored) in pass.iter().zip(score_pass(model, texts, pass, length)?) {
                progress.advance(scored.len() as u64);
                records[window.text].extend(scored);
            }
        }
    }
    Ok(records)
}

/// The windows of a text of `n_tokens`, in order.
fn cut(text: usize, n_tokens: usize, context_len: usize) -> Vec<Window> {
    let n_inputs = n_tokens.saturating_sub(1);
    let stride = (context_len / 2).max(1);
    let mut windows = Vec::new();
    let (mut start, mut done) = (0, 0);
    while done < n_inputs {
        let end = n_inputs.min(start + context_len);
        windows.push(Window { text, inputs: start..end, first: done });
        done = end;
        start += stride;
    }
    windows
}

/// The records of some windows of equal padded length.
fn score_pass<M: Forward + ?Sized>(
    model: &M,
    texts: &[Vec<u32>],
    pass: &[&Window],
    length: usize,
) -> Result<Vec<Vec<TokenRecord>>> {
    let mut ids = Vec::with_capacity(pass.len() * length);
    // (row of the pass, window of the pass, position in the text) of each prediction that is wanted.
    let mut wanted: Vec<(u32, usize, usize)> = Vec::new();
    for (number, window) in pass.iter().enumerate() {
        let row = (number * length) as u32;
        wanted.extend(
            (window.first..window.inputs.end)
                .map(|at| (row + (at - window.inputs.start) as u32, number, at + 1)),
        );
        ids.extend_from_slice(&texts[window.text][window.inputs.clone()]);
        ids.resize((number + 1) * length, 0);
    }
    let ids = Tensor::from_vec(ids, (pass.len(), length), &Device::Cpu)?; // (B, T)
    let hidden = model.hidden(&ids, None)?; // (B * T, C)
    let mut records = vec![Vec::new(); pass.len()];
    for chunk in wanted.chunks(HEAD_ROWS) {
        let rows: Vec<u32> = chunk.iter().map(|(row, ..)| *row).collect();
        let rows = hidden.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?; // (R, C)
        let logits = model.head(&rows)?.flatten_all()?.to_vec1::<f32>()?; // (R, V)
        let scored: Vec<Option<TokenRecord>> = logits
            .par_chunks(model.vocab_size())
            .zip(chunk)
            .map(|(logits, &(_, number, at))| TokenRecord::from_logits(logits, texts[pass[number].text][at]))
            .collect();
        for (record, &(_, number, at)) in scored.into_iter().zip(chunk) {
            let text = pass[number].text;
            records[number].push(record.ok_or(Error::NotFinite { text, position: at })?);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_the_definition() {
        let logits: Vec<f32> = (0..300u32).map(|i| (i * i % 97) as f32 * 0.2 - 9.0).collect();
        let total: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let p: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp() / total).collect();
        let mean: f64 = p.iter().map(|p| p * p.ln()).sum();
        let std = p.iter().map(|p| p * (p.ln() - mean).powi(2)).sum::<f64>().sqrt();
        for token in [0u32, 17, 97, 299] {
            let record = TokenRecord::from_logits(&logits, token).unwrap();
            let own = token as usize;
            assert!((f64::from(record.log_prob) - p[own].ln()).abs() < 1e-6);
            assert!((f64::from(record.mean_log_prob) - mean).abs() < 1e-6);
            assert!((f64::from(record.std_log_prob) - std).abs() < 1e-6);
            let before =
                (0..300).filter(|i| logits[*i] > logits[own] || (logits[*i] == logits[own] && *i < own));
            assert_eq!(record.rank as usize, before.count());
        }
    }

    #[test]
    fn a_certain_model_has_neither_entropy_nor_deviation() {
        let record = TokenRecord::from_logits(&[1e30, 0.0, -1e30], 0).unwrap();
        assert_eq!((record.log_prob, record.entropy, record.std_log_prob), (0.0, 0.0, 0.0));
    }

    #[test]
    fn windows_cover_each_prediction_once() {
        for context_len in 1..12 {
            for n_tokens in 0..60 {
                let mut next = 0;
                for window in cut(0, n_tokens, context_len) {
                    assert_eq!(window.first, next);
                    assert!(window.inputs.start <= next && window.inputs.end > next);
                    assert!(window.inputs.len() <= context_len);
                    assert!(next < context_len || next - window.inputs.start >= context_len / 2);
                    next = window.inputs.end;
                }
                assert_eq!(next, n_tokens.saturating_sub(1));
            }
        }
    }
}

//! Teacher-forced scoring: one small record for each token, from which every membership score is computed
//! later without the model.

use std::ops::Range;

use rayon::prelude::*;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::logits::{Logits, Row};
use crate::model::{Forward, Run, Take, check_ids};

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
    /// infinite. Weights are computed in f32 and summed in f64, in a fixed order.
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
        Logits::from_rows(logits.to_vec(), logits.len()).row(0).record(token)
    }
}

/// A stretch of a text that is one sequence of a pass.
struct Window {
    text: usize,
    /// The inputs' positions in the text; the input at `i` predicts the token at `i + 1`.
    inputs: Range<usize>,
    /// The first input whose prediction no earlier window has made.
    first: usize,
}

/// What is asked of each token of some texts.
pub(crate) struct Question<'a, A> {
    /// The texts.
    pub(crate) texts: &'a [Vec<u32>],
    /// The place of the first token of each text that is asked about; at least 1.
    pub(crate) first: &'a (dyn Fn(usize) -> usize + Sync),
    /// The answer for a token, given the logits before it and the text before it; nothing where the logits are no finite
    /// numbers.
    pub(crate) answer: A,
}

/// [`crate::LanguageModel::score_each`] for any engine and question.
pub(crate) fn score<M: Forward + ?Sized, T: Send + Clone>(
    model: &M,
    question: &Question<'_, impl Fn(Row<'_>, &[u32], u32) -> Option<T> + Sync>,
    batch: usize,
    take: Take<'_, Vec<T>>,
    progress: &dyn Progress,
) -> Result<()> {
    let texts = question.texts;
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
    let mut windows: Vec<Window> =
        (0..).zip(texts).flat_map(|(n, text)| cut(n, text.len(), model.context_len())).collect();
    // Equal lengths together, so that a pass needs little more memory than it has positions. Within a text the windows
    // stay in order: all but the last are equally long.
    windows.sort_by_key(|window| std::cmp::Reverse(window.inputs.len()));
    // Those of texts that are not complete.
    let mut answers: Vec<Vec<T>> = vec![Vec::new(); texts.len()];
    for number in (0..texts.len()).filter(|number| texts[*number].len() <= (question.first)(*number)) {
        take(number, Vec::new())?;
    }
    let mut logits = model.new_logits();
    let mut rest = &windows[..];
    while !rest.is_empty() {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let longest = rest[0].inputs.len();
        let pass;
        (pass, rest) = rest.split_at(batch.min(model.max_positions() / longest).clamp(1, rest.len()));
        score_pass(model, question, pass, &mut logits, |text, answer| {
            answers[text].push(answer);
            match answers[text].len() + (question.first)(text) == texts[text].len() {
                true => take(text, std::mem::take(&mut answers[text])),
                false => Ok(()),
            }
        })?;
        progress.advance(pass.iter().map(|window| (window.inputs.end - window.first) as u64).sum());
    }
    Ok(())
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

/// The answers about some windows, each given to `push` with the number of its text.
fn score_pass<M: Forward + ?Sized, T: Send>(
    model: &M,
    question: &Question<'_, impl Fn(Row<'_>, &[u32], u32) -> Option<T> + Sync>,
    pass: &[Window],
    logits: &mut Logits,
    mut push: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let texts = question.texts;
    let runs: Vec<Run<'_>> = (0..)
        .zip(pass)
        .map(|(slot, window)| Run { slot, tokens: &texts[window.text][window.inputs.clone()] })
        .collect();
    let mut scratch = model.new_scratch(runs.len(), pass[0].inputs.len())?;
    let states = model.hidden(&runs, &mut scratch)?;
    // (row of the pass, text, position in the text) of each prediction that is wanted.
    let mut wanted: Vec<(usize, usize, usize)> = Vec::new();
    let mut first_row = 0;
    for window in pass {
        let row = |at: usize| first_row + (at - window.inputs.start);
        let first = window.first.max((question.first)(window.text) - 1);
        wanted.extend((first..window.inputs.end).map(|at| (row(at), window.text, at + 1)));
        first_row += window.inputs.len();
    }
    for chunk in wanted.chunks(model.head_rows()) {
        let rows: Vec<usize> = chunk.iter().map(|(row, ..)| *row).collect();
        model.logits(&states, &rows, logits)?;
        let logits = &*logits;
        let scored: Vec<Option<T>> = chunk
            .par_iter()
            .enumerate()
            .map(|(row, &(_, text, at))| {
                (question.answer)(logits.row(row), &texts[text][..at], texts[text][at])
            })
            .collect();
        for (answer, &(_, text, position)) in scored.into_iter().zip(chunk) {
            push(text, answer.ok_or(Error::NotFinite { text, position })?)?;
        }
    }
    Ok(())
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

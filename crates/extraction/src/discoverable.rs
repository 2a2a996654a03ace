//! Which continuations a model gives back, from one teacher-forced pass over each: greedily, and by sampling.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Choices, Decoding, LanguageModel, Passage, Resources};
use verbatim_store::{Answers, Progress};

use crate::error::{Error, Result};
use crate::target::{Grid, Target};

/// Two logits that lie closer than this may change places with the order of additions.
pub const NEAR_TIE: f32 = 1e-4;

/// What a model makes of the continuation of one target, in one cell of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// Tokens that the model was given.
    pub n_prefix: u64,
    /// Tokens that it was to go on with.
    pub n_suffix: u64,
    /// Those among them that are the model's first choice after the true ones before.
    pub n_first_choices: u64,
    /// True when all are: greedy decoding spells the suffix.
    pub is_greedy: bool,
    /// Tokens that are within [`NEAR_TIE`] of changing that.
    pub n_near_ties: u64,
    /// The suffix's log-probability under the model itself, in nats.
    pub log_prob: f64,
    /// For each decoding, the log-probability with which it draws the suffix; none where it never does.
    pub log_drawn: Vec<Option<f64>>,
}

/// The answers about one target: one for each cell of the grid that it has tokens for, or none where the model's numbers
/// were not finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    target: u64,
    prefix: u64,
    continuations: Option<Vec<Continuation>>,
}

/// Asks a model to go on at each target, in each cell of a grid: for each target its continuations, prefix by prefix as in
/// the grid, each with all suffixes. `None` in place of those of a prefix for which the model's numbers are not finite.
///
/// A suffix is what greedy decoding makes of the prefix if and only if each of its tokens is the model's first choice after
/// the prefix and the suffix's tokens before it, so one pass over the suffix stands for decoding it. The same pass gives the
/// probability with which each of `decodings` draws the suffix: the product over its tokens (Hayes et al. 2025, section 3).
///
/// Shorter prefixes are the last tokens of the prompt. A target whose prompt or continuation is given, and shorter than a
/// cell asks for, is asked for as it is. In a run's folder, what earlier processes asked is not asked again. Of a target in
/// another process's share there is nothing.
///
/// # Errors
/// The model's own, those of a run's folder.
pub(crate) fn discover(
    (model, targets): (&dyn LanguageModel, &[Target]),
    grid: &Grid,
    decodings: &[Decoding],
    resources: Resources<'_>,
) -> Result<Vec<Vec<Option<Vec<Continuation>>>>> {
    let (earlier, mut answers) = Answers::open::<Answer>(resources.scratch, "discover")?;
    let mut all: BTreeMap<(u64, u64), Option<Vec<Continuation>>> =
        earlier.into_iter().map(|answer| ((answer.target, answer.prefix), answer.continuations)).collect();
    let mut places = Vec::new();
    let mut passages = Vec::new();
    for (number, target) in (0u64..).zip(targets) {
        for prefix in 0..grid.prefixes.len() {
            if resources.scratch.share().has(number) && !all.contains_key(&(number, prefix as u64)) {
                places.push((number, prefix as u64));
                passages.push(target.passage(grid.prefixes[prefix]));
            }
        }
    }
    let asking = (resources.batch, resources.progress);
    let outcome = ask(model, &passages, decodings, asking, &mut |asked, choices| {
        let ((target, prefix), n_prefix) = (places[asked], passages[asked].prompt.len());
        let continuations = choices.map(|choices| cells(&choices, n_prefix, grid));
        let answer = Answer { target, prefix, continuations };
        answers.keep(&answer)?;
        all.insert((target, prefix), answer.continuations);
        Ok(())
    });
    // What was asked before an interruption is of use.
    answers.save()?;
    outcome?;
    let mut next = |target: u64, prefix: usize| all.remove(&(target, prefix as u64)).flatten();
    Ok((0u64..)
        .zip(targets)
        .map(|(target, _)| (0..grid.prefixes.len()).map(|prefix| next(target, prefix)).collect())
        .collect())
}

impl Target {
    /// What the model is asked with a prefix of at most so many tokens.
    pub(crate) fn passage(&self, n_prefix: usize) -> Passage {
        let start = self.prompt.len().saturating_sub(n_prefix);
        Passage { prompt: self.prompt[start..].to_vec(), continuation: self.continuation.clone() }
    }
}

/// Gives the model's choices about each passage to `take`; `None` where its numbers are not finite.
pub(crate) fn ask(
    model: &dyn LanguageModel,
    passages: &[Passage],
    decodings: &[Decoding],
    (batch, progress): (usize, &dyn Progress),
    take: &mut (dyn FnMut(usize, Option<Choices>) -> verbatim_lm::Result<()> + Send),
) -> Result<()> {
    let mut is_left = vec![true; passages.len()];
    let mut take_finite = |number: usize, choices| {
        is_left[number] = false;
        take(number, Some(choices))
    };
    match model.choose_each((passages, decodings), batch, &mut take_finite, progress) {
        Err(verbatim_lm::Error::NotFinite { .. }) => {}
        outcome => return Ok(outcome?),
    }
    // One broken text fails a whole call; what is left is asked one by one.
    for number in (0..passages.len()).filter(|number| is_left[*number]) {
        let mut one = None;
        let mut take_one = |_, choices| {
            one = Some(choices);
            Ok(())
        };
        match model.choose_each((&passages[number..=number], decodings), 1, &mut take_one, progress) {
            Ok(()) | Err(verbatim_lm::Error::NotFinite { .. }) => take(number, one)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What the choices say of each suffix length of a grid.
fn cells(choices: &Choices, n_prefix: usize, grid: &Grid) -> Vec<Continuation> {
    let cell = |n_suffix: usize| {
        let n = n_suffix.min(choices.records.len());
        let sum = |log_probs: &[f32]| log_probs.iter().map(|log_prob| f64::from(*log_prob)).sum::<f64>();
        let n_first_choices = choices.is_first[..n].iter().filter(|is_first| **is_first).count();
        Continuation {
            n_prefix: n_prefix as u64,
            n_suffix: n as u64,
            n_first_choices: n_first_choices as u64,
            is_greedy: n_first_choices == n,
            n_near_ties: choices.margins[..n].iter().filter(|margin| margin.abs() < NEAR_TIE).count() as u64,
            log_prob: choices.records[..n].iter().map(|record| f64::from(record.log_prob)).sum(),
            log_drawn: choices
                .log_probs
                .iter()
                .map(|column| Some(sum(&column[..n])).filter(|log_prob| log_prob.is_finite()))
                .collect(),
        }
    };
    grid.suffixes.iter().map(|n_suffix| cell(*n_suffix)).collect()
}

/// Draws that are needed to have a continuation among them with probability `p`, when each is it with probability
/// exp(`log_drawn`): ln(1 - p) / ln(1 - p_z), rounded up (Hayes et al. 2025, equation 3). `None` where no number is enough.
///
/// # Errors
/// [`Error::InvalidArgument`] for a p that is not between 0 and 1.
pub fn draws_needed(log_drawn: Option<f64>, p: f64) -> Result<Option<f64>> {
    if !(p > 0.0 && p < 1.0) {
        return Err(Error::InvalidArgument(format!("a probability of {p}, expected one between 0 and 1")));
    }
    let Some(log_drawn) = log_drawn else { return Ok(None) };
    // ln(1 - e^x), exact for small and for large e^x (Maechler 2012).
    let log_missed = match log_drawn > -std::f64::consts::LN_2 {
        true => (-log_drawn.exp_m1()).ln(),
        false => (-log_drawn.exp()).ln_1p(),
    };
    let n = (-p).ln_1p() / log_missed;
    // Rounding may lift a whole number over itself.
    Ok(Some((n * (1.0 - 1e-12)).ceil().max(1.0)).filter(|n| n.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goldens of the method sheet: p_z = 0.1, 0.01 and 0.001 against p = 0.5, 0.9 and 0.99.
    #[test]
    fn draws_needed_are_those_of_the_formula() {
        let goldens =
            [(0.1, [7.0, 22.0, 44.0]), (0.01, [69.0, 230.0, 459.0]), (0.001, [693.0, 2302.0, 4603.0])];
        for (drawn, needed) in goldens {
            let drawn = Some(f64::ln(drawn));
            assert_eq!([0.5, 0.9, 0.99].map(|p| draws_needed(drawn, p).unwrap().unwrap()), needed);
        }
        assert_eq!(draws_needed(Some(0.0), 0.9).unwrap(), Some(1.0));
        assert_eq!(draws_needed(Some(f64::ln(0.5)), 0.5).unwrap(), Some(1.0));
        assert_eq!(draws_needed(None, 0.9).unwrap(), None);
        // So unlikely that 1 - p_z is 1 in floating point.
        let rare = draws_needed(Some(-60.0), 0.5).unwrap().unwrap();
        assert!((rare / (std::f64::consts::LN_2 * 60f64.exp()) - 1.0).abs() < 1e-9);
        assert_eq!(draws_needed(Some(-1e6), 0.5).unwrap(), None);
        assert!([0.0, 1.0, -1.0, f64::NAN].iter().all(|p| draws_needed(None, *p).is_err()));
    }
}

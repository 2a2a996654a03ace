//! Servers that tell less of the scores, and decode as before: rounded, of the top only, flattened, or only the first choice.

use verbatim_lm::Release;

use super::{between, first_choice, log_sum_exp, to_f32};
use crate::error::{Error, Result};

/// The most decimals of a probability that f64 tells apart.
const MAX_DECIMALS: u32 = 15;

/// Probabilities rounded to some decimals.
///
/// What rounds to zero is guessed: such tokens share evenly what the others leave of the probability, but have at most half a
/// unit each, the most that rounds to zero, and together at least that. No attacker can know more of one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounded {
    decimals: u32,
}

impl Rounded {
    /// Rounds to `decimals` places after the point, 0 to 15; halves away from zero.
    ///
    /// # Errors
    /// [`Error::Config`] for more decimals.
    pub fn new(decimals: u32) -> Result<Rounded> {
        if decimals <= MAX_DECIMALS {
            return Ok(Rounded { decimals });
        }
        Err(Error::Config(format!("{decimals} decimals of a probability, expected at most {MAX_DECIMALS}")))
    }
}

impl Release for Rounded {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        let units = 10f64.powi(self.decimals as i32);
        let log_sum = log_sum_exp(log_probs.iter().copied());
        let rounded: Vec<f64> = log_probs
            .iter()
            .map(|log_prob| ((f64::from(*log_prob) - log_sum).exp() * units).round() / units)
            .collect();
        let half_unit = 0.5 / units;
        let n_zero = rounded.iter().filter(|p| **p == 0.0).count() as f64;
        let left = (1.0 - rounded.iter().sum::<f64>()).max(half_unit);
        let guess = (left / n_zero).min(half_unit);
        for (log_prob, p) in log_probs.iter_mut().zip(rounded) {
            *log_prob = if p == 0.0 { guess.ln() } else { p.ln() } as f32;
        }
    }
}

/// The probabilities of the k most likely tokens only, ties to the lower id.
///
/// The others are guessed to share the rest evenly, which is what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
}

impl TopK {
    /// Tells of `k` tokens; of none for 0, of all where there are no more.
    pub fn new(k: usize) -> TopK {
        TopK { k }
    }
}

impl Release for TopK {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        if self.k >= log_probs.len() {
            return;
        }
        let mut ids: Vec<usize> = (0..log_probs.len()).collect();
        ids.select_nth_unstable_by(self.k, |a, b| log_probs[*b].total_cmp(&log_probs[*a]).then(a.cmp(b)));
        let mut others = ids.split_off(self.k);
        others.sort_unstable();
        let rest = log_sum_exp(others.iter().map(|id| log_probs[*id]));
        let share = to_f32(rest - (others.len() as f64).ln());
        others.iter().for_each(|id| log_probs[*id] = share);
    }
}

/// Probabilities flattened by a temperature: softmax(logits / T).
///
/// Nothing is withheld from who knows T: see [`super::TemperatureUndone`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tempered {
    temperature: f64,
}

impl Tempered {
    /// Flattens by a positive temperature; below 1 it sharpens.
    ///
    /// # Errors
    /// [`Error::Config`] for a temperature that is no positive finite number.
    pub fn new(temperature: f64) -> Result<Tempered> {
        Ok(Tempered { temperature: between("the temperature", temperature, (0.0, f64::INFINITY))? })
    }
}

impl Release for Tempered {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        log_probs.iter_mut().for_each(|log_prob| *log_prob = to_f32(f64::from(*log_prob) / self.temperature));
    }
}

/// The first choice only, without any probability; ties to the lower id.
///
/// The first choice is guessed to have the probability 1 - delta, and all others delta together, in equal shares. Any delta
/// below 1 - 1 / V orders single tokens alike; over a text it weighs nothing but how many tokens were the first choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelOnly {
    delta: f64,
}

impl LabelOnly {
    /// With this delta: how often an attacker thinks that a text goes on otherwise; between 0 and 1.
    ///
    /// # Errors
    /// [`Error::Config`] for another delta.
    pub fn new(delta: f64) -> Result<LabelOnly> {
        Ok(LabelOnly { delta: between("delta", delta, (0.0, 1.0))? })
    }
}

impl Release for LabelOnly {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        let first = first_choice(log_probs);
        let n_others = log_probs.len().saturating_sub(1).max(1) as f64;
        log_probs.fill(to_f32(self.delta.ln() - n_others.ln()));
        log_probs[first] = to_f32((-self.delta).ln_1p());
    }
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{LanguageModel, Ngram};
    use verbatim_store::Silent;

    use super::*;
    use crate::release::tests::{assert_near, samples, told};

    #[test]
    fn what_rounds_to_zero_shares_the_rest_with_half_a_unit_at_most() {
        let one = Rounded::new(1).unwrap();
        assert_near(&told(&one, &[0.62, 0.24, 0.08, 0.04, 0.02]), &[0.6, 0.2, 0.1, 0.05, 0.05]);
        // Nothing is left: half a unit, and 1.05 together.
        assert_near(&told(&one, &[0.96, 0.04]), &[1.0 / 1.05, 0.05 / 1.05]);
        // 0.2 is left for three, but each has at most 0.05: 0.95 together.
        let told_of_three = told(&one, &[0.44, 0.43, 0.044, 0.043, 0.043]);
        assert_near(&told_of_three, &[0.4, 0.4, 0.05, 0.05, 0.05].map(|p| p / 0.95));
        let none = Rounded::new(0).unwrap();
        assert_near(&told(&none, &[0.4, 0.3, 0.3]), &[1.0 / 3.0; 3]);
    }

    /// After a 3 the counts of 0 and 2 are 10 and 11 of 21, and both probabilities round to 0.5.
    #[test]
    fn a_tie_made_by_rounding_is_told_and_not_decoded() {
        let followed = |token: u32, n: usize| (0..n).map(move |_| vec![3, token]);
        let pairs: Vec<Vec<u32>> = followed(0, 10).chain(followed(2, 11)).collect();
        let model = Ngram::new((5, 64), 2, 0.01, &pairs);
        let rounded = Rounded::new(1).unwrap();
        let served = model.served(&rounded);
        let rank = |model: &dyn LanguageModel| model.score(&[vec![3, 2]], 1, &Silent).unwrap()[0][0].rank;
        assert_eq!((rank(&model), rank(&*served)), (0, 1));
        for (sample, plain) in samples(&*served, 0.0, 2).iter().zip(samples(&model, 0.0, 2)) {
            assert_eq!(sample.tokens, plain.tokens);
        }
    }

    #[test]
    fn outside_the_top_all_are_alike() {
        let p = [0.02, 0.4, 0.18, 0.3, 0.1];
        assert_near(&told(&TopK::new(2), &p), &[0.1, 0.4, 0.1, 0.3, 0.1]);
        assert_near(&told(&TopK::new(0), &p), &[0.2; 5]);
        assert_near(&told(&TopK::new(5), &p), &p);
        // Of equals the lower id is told.
        assert_near(&told(&TopK::new(1), &[0.1, 0.4, 0.1, 0.4]), &[0.2, 0.4, 0.2, 0.2]);
    }

    #[test]
    fn a_temperature_of_two_takes_square_roots() {
        let told = told(&Tempered::new(2.0).unwrap(), &[16.0 / 25.0, 9.0 / 25.0]);
        assert_near(&told, &[4.0 / 7.0, 3.0 / 7.0]);
    }

    #[test]
    fn of_the_first_choice_only_its_name_is_told() {
        let label = LabelOnly::new(0.2).unwrap();
        for p in [[0.1, 0.3, 0.2, 0.2, 0.2], [0.0025, 0.99, 0.0025, 0.0025, 0.0025]] {
            assert_near(&told(&label, &p), &[0.05, 0.8, 0.05, 0.05, 0.05]);
        }
        assert_near(&told(&label, &[0.25; 4]), &[0.8, 0.2 / 3.0, 0.2 / 3.0, 0.2 / 3.0]);
        assert_near(&told(&label, &[1.0]), &[1.0]);
    }
}

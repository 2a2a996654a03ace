//! What attackers who know the rule make of what is told, where that is more than a guess.

use verbatim_lm::Release;

use super::{Noise, between, log_sum_exp, to_f32};
use crate::error::{Error, Result};

/// Undoes a temperature, on top of a served model: log-probabilities times T, made a distribution again.
///
/// It is exact up to f32 where nothing else is withheld, so that a temperature protects against nobody who knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemperatureUndone {
    temperature: f64,
}

impl TemperatureUndone {
    /// Undoes [`super::Tempered`] with the same temperature.
    ///
    /// # Errors
    /// [`Error::Config`] for a temperature that is no positive finite number.
    pub fn new(temperature: f64) -> Result<TemperatureUndone> {
        Ok(TemperatureUndone { temperature: between("the temperature", temperature, (0.0, f64::INFINITY))? })
    }
}

impl Release for TemperatureUndone {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        log_probs.iter_mut().for_each(|log_prob| *log_prob = to_f32(f64::from(*log_prob) * self.temperature));
    }
}

/// Averages noise: the mean of the log-probabilities that a noisy server tells in some attempts, made a distribution again.
///
/// It stands for server and attacker together, in the place of [`Noise`], and costs as many queries as attempts. The standard
/// deviation of what is left of the noise is that of one attempt over the square root of their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaged {
    noise: Noise,
    n_attempts: u64,
}

impl Averaged {
    /// Over `n_attempts`, from the first one on.
    ///
    /// # Errors
    /// [`Error::Config`] for no attempts.
    pub fn new(noise: Noise, n_attempts: u64) -> Result<Averaged> {
        if n_attempts == 0 {
            return Err(Error::Config("noise cannot be averaged over no attempts".to_owned()));
        }
        Ok(Averaged { noise, n_attempts })
    }
}

impl Release for Averaged {
    fn tell(&self, context: &[u32], log_probs: &mut [f32]) {
        let mut sums = vec![0.0; log_probs.len()];
        for attempt in 0..self.n_attempts {
            let mut told = log_probs.to_vec();
            self.noise.attempt(attempt).tell(context, &mut told);
            let log_sum = log_sum_exp(told.iter().copied());
            sums.iter_mut().zip(told).for_each(|(sum, log_prob)| *sum += f64::from(log_prob) - log_sum);
        }
        for (log_prob, sum) in log_probs.iter_mut().zip(sums) {
            *log_prob = to_f32(sum / self.n_attempts as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use verbatim_lm::LanguageModel;
    use verbatim_store::Silent;

    use super::*;
    use crate::release::tests::{ngram, told, told_after};
    use crate::release::{NoiseKind, Tempered, TopK};

    #[test]
    fn who_knows_the_temperature_undoes_it() {
        let model = ngram();
        let texts: Vec<Vec<u32>> = (1..12).map(|n| (0..30).map(|t| (t * n + t / 4) % 5).collect()).collect();
        let plain = model.score(&texts, 4, &Silent).unwrap();
        for temperature in [0.5, 2.0, 10.0] {
            let tempered = Tempered::new(temperature).unwrap();
            let undone = TemperatureUndone::new(temperature).unwrap();
            let served = model.served(&tempered);
            let told = served.score(&texts, 4, &Silent).unwrap();
            let attacked = served.served(&undone).score(&texts, 4, &Silent).unwrap();
            let mut worst_told = 0f32;
            for ((plain, told), attacked) in plain.concat().iter().zip(told.concat()).zip(attacked.concat()) {
                worst_told = worst_told.max((plain.log_prob - told.log_prob).abs());
                assert!((plain.log_prob - attacked.log_prob).abs() < 2e-5, "{plain:?} {attacked:?}");
                assert!((plain.entropy - attacked.entropy).abs() < 2e-5, "{plain:?} {attacked:?}");
            }
            assert!(
                worst_told > 0.1,
                "a temperature of {temperature} hides something from who does not know it"
            );
        }
    }

    #[test]
    fn what_else_is_withheld_is_not_undone() {
        let p = [0.6, 0.3, 0.08, 0.02];
        let flat = told(&TopK::new(2), &told(&Tempered::new(2.0).unwrap(), &p));
        let undone = told(&TemperatureUndone::new(2.0).unwrap(), &flat);
        assert!((undone[0] / undone[1] - 2.0).abs() < 1e-5, "the ratio of what is told comes back");
        assert!((undone[2] - undone[3]).abs() < 1e-9, "the order of the others does not");
    }

    /// The root of the mean squared error over 400 contexts and 5 tokens: scale / sqrt(attempts) but for what normalising
    /// takes away, which is less than half of it.
    #[test]
    fn averaging_takes_the_noise_away_with_the_root_of_the_attempts() {
        let p = [0.5, 0.2, 0.15, 0.1, 0.05];
        for kind in [NoiseKind::Gaussian, NoiseKind::Laplace] {
            let noise = Noise::new(kind, 0.3, 11).unwrap();
            let error = |release: &dyn Release| {
                let squares = (0..400).flat_map(|n| told_after(release, &[n], &p)).zip(p.iter().cycle());
                (squares.map(|(told, p)| (told / p).ln().powi(2)).sum::<f64>() / 2000.0).sqrt()
            };
            let one = error(&noise);
            for n_attempts in [4, 25, 100] {
                let ratio =
                    error(&Averaged::new(noise, n_attempts).unwrap()) / one * (n_attempts as f64).sqrt();
                assert!((0.85..1.15).contains(&ratio), "{kind:?} {n_attempts}: {ratio}");
            }
            assert!(
                (error(&Averaged::new(noise, 1).unwrap()) - one).abs() < 1e-6,
                "one attempt averages nothing"
            );
        }
    }
}

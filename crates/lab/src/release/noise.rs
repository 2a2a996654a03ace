//! A server that adds noise to the scores that it tells, and decodes without it.

use verbatim_lm::Release;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{between, to_f32};
use crate::draw::Draw;
use crate::error::Result;

/// The distribution of noise around zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseKind {
    /// Normal, its scale being the standard deviation.
    Gaussian,
    /// Laplace's, with density e^(-|x| / scale) / (2 scale); its standard deviation is the square root of two times the scale.
    Laplace,
}

/// Log-probabilities with independent noise on each token's.
///
/// The noise is drawn anew for each context and attempt: who asks the same again within an attempt is told the same, so that an
/// attacker gains nothing from it, and only another attempt brings fresh noise to average: see [`super::Averaged`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    kind: NoiseKind,
    scale: f64,
    seed: u64,
    attempt: u64,
}

impl Noise {
    /// Noise of this scale, in nats, from a seed; the first attempt's.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a scale that is no positive finite number.
    pub fn new(kind: NoiseKind, scale: f64, seed: u64) -> Result<Noise> {
        let scale = between("the scale of the noise", scale, (0.0, f64::INFINITY))?;
        Ok(Noise { kind, scale, seed, attempt: 0 })
    }

    /// The noise of another attempt.
    #[must_use]
    pub fn attempt(self, attempt: u64) -> Noise {
        Noise { attempt, ..self }
    }

    fn draw(&self, numbers: &mut Draw) -> f64 {
        // 53 random bits: uniform between 0 and 1, neither of them.
        let mut uniform = || ((numbers.seed() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        match self.kind {
            // Box and Muller 1958.
            NoiseKind::Gaussian => {
                let radius = (-2.0 * uniform().ln()).sqrt();
                self.scale * radius * (std::f64::consts::TAU * uniform()).cos()
            }
            // The distribution's inverse.
            NoiseKind::Laplace => {
                let centred = uniform() - 0.5;
                -self.scale * (1.0 - 2.0 * centred.abs()).ln() * centred.signum()
            }
        }
    }
}

impl Release for Noise {
    fn tell(&self, context: &[u32], log_probs: &mut [f32]) {
        let bytes: Vec<u8> = context.iter().flat_map(|token| token.to_le_bytes()).collect();
        let mut numbers = Draw::new(self.seed, "noise", xxh3_64_with_seed(&bytes, self.attempt));
        for log_prob in log_probs {
            *log_prob = to_f32(f64::from(*log_prob) + self.draw(&mut numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise_of(noise: Noise, context: &[u32]) -> Vec<f32> {
        let mut told = vec![0.0; 100];
        noise.tell(context, &mut told);
        told
    }

    #[test]
    fn noise_is_fresh_for_each_context_and_attempt_and_for_nothing_else() {
        for kind in [NoiseKind::Gaussian, NoiseKind::Laplace] {
            let noise = Noise::new(kind, 0.5, 7).unwrap();
            let told = noise_of(noise, &[1, 2]);
            assert_eq!(noise_of(noise, &[1, 2]), told);
            let others = [
                noise_of(noise, &[1, 3]),
                noise_of(noise, &[2]),
                noise_of(noise.attempt(1), &[1, 2]),
                noise_of(Noise::new(kind, 0.5, 8).unwrap(), &[1, 2]),
            ];
            assert!(others.iter().all(|other| other.iter().zip(&told).all(|(one, two)| one != two)));
        }
    }

    /// Both have mean 0; the variances are scale^2 and 2 scale^2, the fourth moments 3 scale^4 and 24 scale^4. Within 4.5
    /// standard deviations of the means of 100,000 draws.
    #[test]
    fn noise_has_the_moments_of_its_distribution() {
        for (kind, variance, fourth) in [(NoiseKind::Gaussian, 4.0, 48.0), (NoiseKind::Laplace, 8.0, 384.0)] {
            let noise = Noise::new(kind, 2.0, 1).unwrap();
            let all: Vec<f64> = (0..1000).flat_map(|n| noise_of(noise, &[n])).map(f64::from).collect();
            let n = all.len() as f64;
            let mean = all.iter().sum::<f64>() / n;
            let square = all.iter().map(|x| x * x).sum::<f64>() / n;
            assert!(mean.abs() < 4.5 * (variance / n).sqrt(), "{kind:?}: {mean}");
            let deviation = ((fourth - variance * variance) / n).sqrt();
            assert!((square - variance).abs() < 4.5 * deviation, "{kind:?}: {square}");
            let n_above = all.iter().filter(|x| **x > 0.0).count() as f64;
            assert!((n_above - n / 2.0).abs() < 4.5 * (n / 4.0).sqrt(), "{kind:?}: {n_above}");
        }
    }
}

//! The confidence interval for the mean of a count that has no fixed number of trials.

use statrs::distribution::{ContinuousCDF, Gamma};

use crate::interval::{Interval, Method};

/// The exact interval for the mean of a Poisson count of which `k` was seen (Garwood 1936), from quantiles of the gamma
/// distribution.
///
/// # Panics
/// If the level is not between 0 and 1.
pub fn garwood(k: u64, level: f64) -> Interval {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    let tail = (1.0 - level) / 2.0;
    let low = if k == 0 { 0.0 } else { gamma_quantile(k as f64, tail) };
    Interval { low, high: gamma_quantile(k as f64 + 1.0, 1.0 - tail), level, method: Method::Garwood }
}

fn gamma_quantile(shape: f64, probability: f64) -> f64 {
    Gamma::new(shape, 1.0).expect("the shape is at least 1").inverse_cdf(probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goldens from scipy: `gamma.ppf(.025, k)`, `gamma.ppf(.975, k + 1)`.
    #[test]
    fn the_interval_of_a_count_equals_scipy() {
        for (k, low, high) in GOLDENS {
            let interval = garwood(k, 0.95);
            let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-7 * expected.max(1.0);
            assert!(near(interval.low, low) && near(interval.high, high), "{k}: {interval:?}");
        }
    }

    const GOLDENS: [(u64, f64, f64); 5] = [
        (0, 0.0, 3.688_879_454),
        (1, 0.025_317_808, 5.571_643_391),
        (10, 4.795_388_696, 18.390_356_042),
        (1000, 938.973_018_408, 1_063.952_136_016),
        (1_000_000, 998_040.983_340_294, 1_001_961.911_945_432),
    ];

    /// By definition: at the ends the Poisson tails are exactly half of what the level leaves.
    #[test]
    fn the_ends_have_the_tails_of_the_poisson_distribution() {
        for k in 0..=40_u64 {
            let interval = garwood(k, 0.9);
            assert!((at_most(k, interval.high) - 0.05).abs() < 1e-8, "{k}");
            if k > 0 {
                assert!((1.0 - at_most(k - 1, interval.low) - 0.05).abs() < 1e-8, "{k}");
            }
        }
    }

    /// The chance of a count of at most `k` around a mean.
    fn at_most(k: u64, mean: f64) -> f64 {
        let mut term = (-mean).exp();
        let mut sum = term;
        for i in 1..=k {
            term *= mean / i as f64;
            sum += term;
        }
        sum
    }
}

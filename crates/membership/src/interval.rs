//! Confidence intervals for a proportion: k of n.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::beta_reg;

/// How an interval was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Score interval of Wilson (1927): its coverage is near the level on average.
    Wilson,
    /// Exact interval of Clopper and Pearson (1934): its coverage is never below the level.
    ClopperPearson,
    /// Exact interval of Garwood (1936) for the mean of a Poisson count.
    Garwood,
    /// Interval of Newcombe (1998, method 10) for the difference of two proportions, from two Wilson intervals.
    Newcombe,
    /// Normal interval of an AUC, or of a difference of two, with the variance of DeLong et al. (1988).
    #[serde(rename = "delong")]
    DeLong,
    /// Interval of Newcombe (2006, method 5) for an AUC, from the numbers of texts alone.
    NewcombeAuc,
    /// Interval of Zou and Donner (2008) for a difference of two AUCs, from one of each.
    Mover,
    /// Interval of Bonett and Wright (2000) for a correlation of ranks.
    BonettWright,
    /// Percentile interval of Efron (1981) over resamples of texts, paired and within members and non-members.
    PairedBootstrap,
}

/// A two-sided confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence level, 0.95 for 95 %.
    pub level: f64,
    /// How it was computed.
    pub method: Method,
}

/// The Wilson score interval for `k` successes in `n` trials (Wilson 1927, equation 4), without continuity correction.
///
/// Without trials nothing is known: the interval is 0 to 1.
///
/// # Panics
/// If `k > n` or the level is not between 0 and 1.
pub fn wilson(k: u64, n: u64, level: f64) -> Interval {
    check(k, n, level);
    let method = Method::Wilson;
    if n == 0 {
        return Interval { low: 0.0, high: 1.0, level, method };
    }
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let (k, n) = (k as f64, n as f64);
    let rate = k / n;
    let scale = 1.0 + z * z / n;
    let centre = (rate + z * z / (2.0 * n)) / scale;
    let half_width = z / scale * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    // At k = 0 and k = n one end is 0 or 1 by algebra, which rounding may miss.
    let low = if k == 0.0 { 0.0 } else { (centre - half_width).max(0.0) };
    let high = if k == n { 1.0 } else { (centre + half_width).min(1.0) };
    Interval { low, high, level, method }
}

/// The exact interval for `k` successes in `n` trials (Clopper and Pearson 1934), from quantiles of the beta distribution.
///
/// Without trials nothing is known: the interval is 0 to 1.
///
/// # Panics
/// If `k > n` or the level is not between 0 and 1.
///
/// ```
/// let interval = verbatim_membership::clopper_pearson(0, 1000, 0.95);
/// assert_eq!(interval.low, 0.0);
/// assert!((interval.high - 0.003682).abs() < 1e-6);
/// ```
pub fn clopper_pearson(k: u64, n: u64, level: f64) -> Interval {
    check(k, n, level);
    let tail = (1.0 - level) / 2.0;
    let (successes, failures) = (k as f64, (n - k) as f64);
    // The quantiles of Beta(1, n) and Beta(n, 1) have a closed form, which any number of trials is fast with.
    let extreme = -((tail.ln() / n as f64).exp_m1());
    let low = match k {
        0 => 0.0,
        k if k == n => 1.0 - extreme,
        _ => beta_quantile(successes, failures + 1.0, tail),
    };
    let high = match k {
        k if k == n => 1.0,
        0 => extreme,
        _ => beta_quantile(successes + 1.0, failures, 1.0 - tail),
    };
    Interval { low, high, level, method: Method::ClopperPearson }
}

pub(crate) fn check(k: u64, n: u64, level: f64) {
    assert!(k <= n, "{k} successes in {n} trials");
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
}

/// By bisection, for statrs' own inverse does not come to an end where one shape is very much larger than the other. Six digits
/// are right for up to 10^9 trials.
fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_reg(a, b, middle) < probability { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(interval: Interval, low: f64, high: f64) {
        assert!((interval.low - low).abs() < 1e-6 && (interval.high - high).abs() < 1e-6, "{interval:?}");
    }

    /// Goldens from scipy: `beta.ppf(.025, k, n - k + 1)`, `beta.ppf(.975, k + 1, n - k)`.
    #[test]
    fn clopper_pearson_equals_scipy() {
        assert_near(clopper_pearson(0, 1000, 0.95), 0.0, 0.003_682);
        assert_near(clopper_pearson(25, 1000, 0.95), 0.016_243, 0.036_685);
    }

    /// Goldens from scipy: `beta.ppf(.975, 1, n)` for n of ten millions and a milliard.
    #[test]
    fn nothing_in_very_many_trials_has_an_exact_interval_at_once() {
        assert!((clopper_pearson(0, 10_000_000, 0.95).high / 3.688_878_766e-7 - 1.0).abs() < 1e-8);
        assert!((clopper_pearson(0, 1_000_000_000, 0.95).high / 3.688_879_447e-9 - 1.0).abs() < 1e-8);
        assert!((1.0 - clopper_pearson(10_000_000, 10_000_000, 0.95).low - 3.688_878_766e-7).abs() < 1e-12);
        assert_eq!((clopper_pearson(0, 0, 0.95).low, clopper_pearson(0, 0, 0.95).high), (0.0, 1.0));
    }

    /// Goldens from scipy: `beta.ppf(.025, k, n - k + 1)`, `beta.ppf(.975, k + 1, n - k)`.
    #[test]
    fn few_in_very_many_trials_have_an_exact_interval_at_once() {
        for (k, n, low, high) in [
            (5, 100_000, 1.623_505_682e-5, 1.166_794_304e-4),
            (5, 10_000_000, 1.623_486_583e-7, 1.166_832_819e-6),
            (3_000, 10_000_000, 2.893_613_872e-4, 3.109_296_535e-4),
            (400_000, 1_000_000_000, 3.987_616_041e-4, 4.012_412_894e-4),
            (5_000_000, 10_000_000, 0.499_690_052_5, 0.500_309_947_5),
        ] {
            let interval = clopper_pearson(k, n, 0.95);
            let is_near = |end: f64, golden: f64| (end / golden - 1.0).abs() < 1e-6;
            assert!(is_near(interval.low, low) && is_near(interval.high, high), "{k} of {n}: {interval:?}");
        }
    }

    /// Golden from scipy: `binomtest(25, 1000).proportion_ci(method="wilson")`.
    #[test]
    fn wilson_equals_scipy() {
        assert_near(wilson(25, 1000, 0.95), 0.016_990, 0.036_645);
    }

    /// By definition: the ends are where the binomial tails are exactly half of what the level leaves.
    #[test]
    fn clopper_pearson_ends_have_the_tails_of_the_binomial() {
        for n in 1..=30u64 {
            for k in 0..=n {
                let interval = clopper_pearson(k, n, 0.9);
                if k > 0 {
                    let at_least_k: f64 = (k..=n).map(|i| binomial(i, n, interval.low)).sum();
                    assert!((at_least_k - 0.05).abs() < 1e-9, "{k} of {n}: {at_least_k}");
                }
                if k < n {
                    let at_most_k: f64 = (0..=k).map(|i| binomial(i, n, interval.high)).sum();
                    assert!((at_most_k - 0.05).abs() < 1e-9, "{k} of {n}: {at_most_k}");
                }
            }
        }
    }

    /// By definition: the ends solve |p - k/n| = z sqrt(p (1 - p) / n), with z = 1.959964 for 95 %.
    #[test]
    fn wilson_ends_solve_the_score_equation() {
        for n in 1..=30u64 {
            for k in 0..=n {
                let interval = wilson(k, n, 0.95);
                for end in [interval.low, interval.high] {
                    let distance = (end - k as f64 / n as f64).abs();
                    let score = 1.959_963_985 * (end * (1.0 - end) / n as f64).sqrt();
                    assert!((distance - score).abs() < 1e-8, "{k} of {n} at {end}");
                }
            }
        }
    }

    #[test]
    fn the_ends_are_exact_where_nothing_or_everything_was_found() {
        for interval in [wilson(0, 7, 0.95), clopper_pearson(0, 7, 0.95)] {
            assert!(interval.low == 0.0 && interval.high < 1.0);
        }
        for interval in [wilson(7, 7, 0.95), clopper_pearson(7, 7, 0.95)] {
            assert!(interval.low > 0.0 && interval.high == 1.0);
        }
        for interval in [wilson(0, 0, 0.95), clopper_pearson(0, 0, 0.95)] {
            assert!(interval.low == 0.0 && interval.high == 1.0);
        }
    }

    fn binomial(k: u64, n: u64, p: f64) -> f64 {
        let ways: f64 = (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product();
        ways * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }
}

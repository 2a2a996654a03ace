//! How a share changes with the logarithm of something: a straight line through zeros and ones, with an interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Trials at one value of what is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trials {
    /// The value: a number of copies, of tokens; at least 1.
    pub x: f64,
    /// Successes among the trials.
    pub k: u64,
    /// Trials.
    pub n: u64,
}

/// A line: share = intercept + slope * log2 x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// What each doubling of x adds to the share.
    pub slope: f64,
    /// The share at x = 1.
    pub intercept: f64,
    /// Lower end of the slope's interval.
    pub slope_low: f64,
    /// Upper end of the slope's interval.
    pub slope_high: f64,
    /// Confidence level of the interval.
    pub level: f64,
    /// Trials in all.
    pub n: u64,
}

/// The least-squares line through the single outcomes, 0 or 1, over log2 x (the log-linear law of Carlini et al. 2023).
///
/// The interval is that of White (1980), in the form HC1 with n - 2 degrees of freedom, for the spread of a share depends on
/// the share. `None` where there is nothing to fit: fewer than three trials, one value of x, or outcomes that are all
/// alike, whose spread would be zero.
///
/// # Panics
/// If `k > n`, an x is less than 1, or the level is not between 0 and 1.
pub fn log_linear(groups: &[Trials], level: f64) -> Option<Trend> {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    assert!(groups.iter().all(|group| group.k <= group.n && group.x >= 1.0), "trials that cannot be");
    let n: u64 = groups.iter().map(|group| group.n).sum();
    let k: u64 = groups.iter().map(|group| group.k).sum();
    if n < 3 || k == 0 || k == n {
        return None;
    }
    let total = |value: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
        groups.iter().map(|group| value(group.x.log2(), group.k as f64, group.n as f64)).sum()
    };
    let (mean_x, mean_y) = (total(&|x, _, n| n * x) / n as f64, k as f64 / n as f64);
    let spread = total(&|x, _, n| n * (x - mean_x).powi(2));
    if spread <= 0.0 {
        return None;
    }
    let slope = total(&|x, k, n| (x - mean_x) * (k - n * mean_y)) / spread;
    let intercept = mean_y - slope * mean_x;
    let meat = total(&|x, k, n| {
        let fit = intercept + slope * x;
        (x - mean_x).powi(2) * (k * (1.0 - fit).powi(2) + (n - k) * fit.powi(2))
    });
    let freedom = n as f64 - 2.0;
    let error = (meat / spread / spread * n as f64 / freedom).sqrt();
    let t = StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom");
    let half_width = t.inverse_cdf(0.5 + level / 2.0) * error;
    Some(Trend { slope, intercept, slope_low: slope - half_width, slope_high: slope + half_width, level, n })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden from statsmodels 0.14: `OLS(y, add_constant(log2(x))).fit(cov_type="HC1", use_t=True)` over the single
    /// outcomes, `params` and `conf_int()`.
    #[test]
    fn the_line_and_its_interval_are_those_of_statsmodels() {
        let groups = [(1.0, 1, 40), (4.0, 6, 30), (16.0, 14, 20), (64.0, 9, 10)];
        let groups = groups.map(|(x, k, n)| Trials { x, k, n });
        let trend = log_linear(&groups, 0.95).unwrap();
        let goldens = [
            (trend.slope, GOLDEN[0]),
            (trend.intercept, GOLDEN[1]),
            (trend.slope_low, GOLDEN[2]),
            (trend.slope_high, GOLDEN[3]),
        ];
        for (value, golden) in goldens {
            assert!((value - golden).abs() < 1e-9, "{value} is not {golden}");
        }
    }

    const GOLDEN: [f64; 4] = [0.155, -0.01, 0.124_927_436_429_552, 0.185_072_563_570_448];

    #[test]
    fn there_is_no_line_where_nothing_varies() {
        let fit = |groups: &[(f64, u64, u64)]| {
            let groups: Vec<Trials> = groups.iter().map(|&(x, k, n)| Trials { x, k, n }).collect();
            log_linear(&groups, 0.95)
        };
        assert!(fit(&[]).is_none());
        assert!(fit(&[(1.0, 0, 9), (2.0, 0, 9)]).is_none(), "nothing was extracted");
        assert!(fit(&[(1.0, 9, 9), (2.0, 9, 9)]).is_none());
        assert!(fit(&[(2.0, 4, 9)]).is_none(), "one value of x");
        assert!(fit(&[(1.0, 0, 1), (2.0, 1, 1)]).is_none(), "two trials");
    }

    /// Of many samples from a known line, about as many intervals hold its slope as the level says.
    #[test]
    fn the_interval_covers_the_slope_as_often_as_it_says() {
        let (slope, intercept) = (0.1, 0.15);
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let n_runs = 2000;
        let n_covered = (0..n_runs)
            .filter(|_| {
                let groups = [1.0f64, 4.0, 16.0, 64.0].map(|x| {
                    let share = intercept + slope * x.log2();
                    Trials { x, k: (0..60).filter(|_| uniform() < share).count() as u64, n: 60 }
                });
                let trend = log_linear(&groups, 0.95).unwrap();
                (trend.slope_low..=trend.slope_high).contains(&slope)
            })
            .count();
        let share = n_covered as f64 / f64::from(n_runs);
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}

//! The confidence interval for how much one proportion is above another.

use crate::interval::{Interval, Method, wilson};

/// How far the rate of `after` lies above that of `before`, each `(successes, trials)` of its own trials: the interval of
/// Newcombe (1998, method 10), which puts two Wilson intervals together.
///
/// Without trials on either side nothing is known: the interval is -1 to 1.
///
/// # Panics
/// If there are more successes than trials, or the level is not between 0 and 1.
pub fn newcombe(after: (u64, u64), before: (u64, u64), level: f64) -> Interval {
    let (new, old) = (wilson(after.0, after.1, level), wilson(before.0, before.1, level));
    let method = Method::Newcombe;
    if after.1 == 0 || before.1 == 0 {
        return Interval { low: -1.0, high: 1.0, level, method };
    }
    let rate = |(k, n): (u64, u64)| k as f64 / n as f64;
    let (p, q) = (rate(after), rate(before));
    let low = p - q - (p - new.low).hypot(old.high - q);
    let high = p - q + (new.high - p).hypot(q - old.low);
    Interval { low: low.max(-1.0), high: high.min(1.0), level, method }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goldens from Newcombe 1998, table II, method 10, for his examples (a), (b), (d) and (g).
    #[test]
    fn the_interval_of_a_difference_is_that_of_the_paper() {
        let cases = [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((10, 10), (0, 20), 0.6791, 1.0),
        ];
        for (after, before, low, high) in cases {
            let interval = newcombe(after, before, 0.95);
            assert!(
                (interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5,
                "{after:?} {before:?}: {interval:?}"
            );
        }
    }

    #[test]
    fn exchanging_the_sides_turns_the_sign() {
        let (one, other) = (newcombe((7, 30), (3, 50), 0.9), newcombe((3, 50), (7, 30), 0.9));
        assert!((one.low + other.high).abs() < 1e-12 && (one.high + other.low).abs() < 1e-12);
    }

    #[test]
    fn without_trials_nothing_is_known_of_a_difference() {
        for (after, before) in [((0, 0), (3, 9)), ((3, 9), (0, 0)), ((0, 0), (0, 0))] {
            let interval = newcombe(after, before, 0.95);
            assert!(interval.low == -1.0 && interval.high == 1.0);
        }
    }
}

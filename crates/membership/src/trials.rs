//! How many trials a statement about a proportion takes.

use statrs::distribution::{ContinuousCDF, Normal};

/// Beyond this many trials nobody need be told a number.
const MOST: f64 = 1e12;

/// The smallest number of trials that shows a rate to be at most `bound` when none of them succeeds: with it the upper end
/// of Clopper and Pearson's interval, 1 - ((1 - level) / 2)^(1/n), is at most `bound`. None where no number does.
pub fn trials_without_any(bound: f64, level: f64) -> Option<u64> {
    if bound >= 1.0 {
        return Some(1);
    }
    if bound.is_nan() || bound <= 0.0 {
        return None;
    }
    let n = ((1.0 - level) / 2.0).ln() / (-bound).ln_1p();
    // Rounding must not add a trial where the number is whole.
    counted((n - 1e-9 * n).ceil().max(1.0))
}

/// About how many trials show a rate to be at most `bound` when the observed rate is `rate`: Wilson's interval inverted, n =
/// z^2 b (1-b) / (b-r)^2, with the continuity correction of Fleiss (1981, section 2.2) towards the exact interval. None
/// where no number does, because the rate is not below the bound.
pub fn trials_to_show_below(rate: f64, bound: f64, level: f64) -> Option<u64> {
    if rate <= 0.0 {
        return trials_without_any(bound, level);
    }
    if bound >= 1.0 {
        return Some(1);
    }
    let room = bound - rate;
    if room.is_nan() || room <= 0.0 {
        return None;
    }
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let n = z * z * bound * (1.0 - bound) / (room * room);
    let corrected = n / 4.0 * (1.0 + (1.0 + 2.0 / (n * room)).sqrt()).powi(2);
    counted(corrected.ceil().max(1.0))
}

fn counted(n: f64) -> Option<u64> {
    (n <= MOST).then_some(n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clopper_pearson;

    #[test]
    fn with_so_many_trials_and_none_found_the_bound_holds_and_with_one_less_it_does_not() {
        for bound in [0.5, 0.1, 0.03, 0.01, 0.001] {
            for level in [0.9, 0.95, 0.99] {
                let n = trials_without_any(bound, level).unwrap();
                assert!(clopper_pearson(0, n, level).high <= bound, "{bound} {level}: {n}");
                assert!(n == 1 || clopper_pearson(0, n - 1, level).high > bound, "{bound} {level}: {n}");
            }
        }
        // ln(0.025) / ln(0.99) = 367.04 by Python's math.log.
        assert_eq!(trials_without_any(0.01, 0.95), Some(368));
        assert_eq!((trials_without_any(0.0, 0.95), trials_without_any(f64::NAN, 0.95)), (None, None));
        assert_eq!((trials_without_any(1.0, 0.95), trials_without_any(1e-300, 0.95)), (Some(1), None));
    }

    /// The oracle tries all numbers of trials up to the first from which on the exact interval stays below the bound.
    #[test]
    fn at_an_observed_rate_the_number_is_close_to_the_exact_one() {
        for (rate, bound) in [(0.005, 0.01), (0.01, 0.05), (0.1, 0.2), (0.3, 0.4), (0.02, 0.03)] {
            let n = trials_to_show_below(rate, bound, 0.95).unwrap();
            let passes = |n: u64| clopper_pearson((rate * n as f64).round() as u64, n, 0.95).high <= bound;
            let last_miss = (1..4 * n).rev().find(|n| !passes(*n)).unwrap();
            let ratio = n as f64 / (last_miss + 1) as f64;
            assert!((0.85..1.3).contains(&ratio), "{rate} {bound}: {n}, exact {}", last_miss + 1);
        }
    }

    #[test]
    fn a_rate_at_the_bound_is_never_shown_to_be_below_it() {
        assert_eq!(trials_to_show_below(0.01, 0.01, 0.95), None);
        assert_eq!(trials_to_show_below(0.02, 0.01, 0.95), None);
        assert_eq!(trials_to_show_below(f64::NAN, 0.01, 0.95), None);
        assert_eq!(trials_to_show_below(0.0, 0.01, 0.95), Some(368));
    }
}

//! Confidence intervals for how much one proportion, or one AUC, is above another of other texts.

use crate::interval::{Interval, Method, wilson};
use crate::roc::{Auc, AucDifference};

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
    let (low, high) = mover((p, new), (q, old));
    Interval { low, high, level, method }
}

/// How far the AUC of one model over its texts lies above that of another model over texts of its own, as of a model with a
/// defence and one without: the interval that Zou and Donner (2008) put together from those of the two.
///
/// For two scores of the same texts [`roc::auc_difference`](crate::roc::auc_difference) has a narrower one. Of the same texts
/// under two models, where a text that the one gives away the other mostly does as well, this one is wider than need be.
///
/// # Panics
/// If the two intervals are not of one level.
pub fn independent_auc_difference(first: &Auc, second: &Auc) -> AucDifference {
    let level = first.interval.level;
    assert!(level.to_bits() == second.interval.level.to_bits(), "{level} and {}", second.interval.level);
    let (low, high) = mover((first.auc, first.interval), (second.auc, second.interval));
    AucDifference {
        difference: first.auc - second.auc,
        variance: first.variance.zip(second.variance).map(|(one, other)| one + other),
        interval: Interval { low, high, level, method: Method::Mover },
    }
}

/// The ends of the interval of a difference of two independent values in 0 to 1, each with an interval of its own (Zou and
/// Donner 2008).
pub(crate) fn mover((first, of_first): (f64, Interval), (second, of_second): (f64, Interval)) -> (f64, f64) {
    let difference = first - second;
    let low = difference - (first - of_first.low).hypot(of_second.high - second);
    let high = difference + (of_first.high - first).hypot(second - of_second.low);
    (low.max(-1.0), high.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;
    use crate::roc::{Scores, auc};

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

    /// By hand: 0.8 of 0.7 to 0.88 less 0.6 of 0.5 to 0.69 is 0.2, from 0.2 - hypot(0.1, 0.09) to 0.2 + hypot(0.08, 0.1).
    #[test]
    fn two_intervals_of_areas_make_one_of_their_difference() {
        let area = |auc: f64, low: f64, high: f64| Auc {
            auc,
            variance: Some(auc / 100.0),
            interval: Interval { low, high, level: 0.95, method: Method::DeLong },
            n_members: 50,
            n_non_members: 50,
            is_inverted: false,
        };
        let (first, second) = (area(0.8, 0.7, 0.88), area(0.6, 0.5, 0.69));
        let found = independent_auc_difference(&first, &second);
        let near = |value: f64, golden: f64| (value - golden).abs() < 1e-12;
        assert!(near(found.difference, 0.2) && near(found.variance.unwrap(), 0.014), "{found:?}");
        assert!(near(found.interval.low, 0.2 - 0.0181f64.sqrt()), "{found:?}");
        assert!(near(found.interval.high, 0.2 + 0.0164f64.sqrt()), "{found:?}");
        assert_eq!((found.interval.level, found.interval.method), (0.95, Method::Mover));
        let unknown = Auc { variance: None, ..second };
        assert_eq!(independent_auc_difference(&first, &unknown).variance, None);
        let turned = independent_auc_difference(&second, &first).interval;
        assert!(near(turned.low, -found.interval.high) && near(turned.high, -found.interval.low));
    }

    /// Two models with the same true area, each with texts of its own: the interval holds 0 about as often as it says.
    #[test]
    fn the_interval_of_two_models_covers_as_often_as_it_says() {
        let mut n_covered = 0;
        for run in 0..1000 {
            let mut draw = Draw::new(121, run);
            let mut set = |shift: f64| (0..40).map(|_| draw.normal() + shift).collect::<Vec<f64>>();
            let sides = [[set(1.0), set(0.0)], [set(1.0), set(0.0)]];
            let [first, second] =
                sides.each_ref().map(|[inside, outside]| Scores::new(inside, outside).unwrap());
            let found = independent_auc_difference(&auc(first, 0.9), &auc(second, 0.9)).interval;
            n_covered += u64::from(found.low <= 0.0 && found.high >= 0.0);
        }
        let share = crate::clopper_pearson(n_covered, 1000, 0.99);
        assert!(share.low < 0.9 && share.high > 0.89 && share.low > 0.85, "{n_covered} of 1000");
    }
}

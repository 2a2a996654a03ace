//! Was a set of texts used: tests of whether its scores lie above those of texts that were surely not, taken together.
//! `inference` makes the scores, too, from many features of each text.
//!
//! Single texts may be beyond telling where thousands are not (Maini et al. 2024). A small p-value says that the two sets
//! differ; that it is the training which made them differ, only a set drawn like the other can say.

mod inference;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::roc::Scores;
use crate::ties::{Ties, auc_of};

pub use inference::{DatasetInference, dataset_inference};

/// Welch's test of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welch {
    /// The difference of the means, suspects less controls, over its standard error.
    pub t: f64,
    /// Degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Probability of so large a t or a larger one where the suspects' mean is not above that of the controls.
    pub p_value: f64,
}

/// The test of Mann and Whitney.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MannWhitney {
    /// Pairs of a suspect and a control of which the suspect's score is higher, plus half of those that are equal.
    pub u: f64,
    /// U less its mean and the continuity correction of one half, over its standard deviation.
    pub z: f64,
    /// Probability of so large a U or a larger one where a suspect's score is as often lower as higher.
    pub p_value: f64,
}

/// Whether the mean score of suspects is above that of controls, by the one-sided test of Welch (1947), as dataset inference
/// has it (Maini et al. 2024). HIGHER scores are MORE LIKELY of members.
///
/// `None` with fewer than two on either side, where a score is not finite, or where neither side has any spread.
pub fn welch(suspects: &[f64], controls: &[f64]) -> Option<Welch> {
    let ((mean, error), (control_mean, control_error)) =
        (mean_and_error(suspects)?, mean_and_error(controls)?);
    let error_square = error + control_error;
    if error_square <= 0.0 {
        return None;
    }
    let freedom_of = |error: f64, n: usize| error * error / (n as f64 - 1.0);
    let spread = freedom_of(error, suspects.len()) + freedom_of(control_error, controls.len());
    let t = finite((mean - control_mean) / error_square.sqrt())?;
    let degrees_of_freedom = finite(error_square * error_square / spread)?;
    let p_value = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?.sf(t);
    Some(Welch { t, degrees_of_freedom, p_value })
}

/// Whether suspects have higher scores than controls, by the one-sided test of Mann and Whitney (1947): normal approximation,
/// with the corrections for ties and for continuity. HIGHER scores are MORE LIKELY of members.
///
/// The approximation is for eight or more on either side. `None` without any on either side, where a score is not finite, or
/// where all scores are equal.
pub fn mann_whitney(suspects: &[f64], controls: &[f64]) -> Option<MannWhitney> {
    let scores = Scores::new(suspects, controls).ok()?;
    let (m, n) = (suspects.len() as f64, controls.len() as f64);
    let groups = Ties::new(scores).groups();
    let u = auc_of(&groups) * m * n;
    // The product of a share and its whole; only halves can be meant.
    let u = (2.0 * u).round() / 2.0;
    let all = m + n;
    let cubes =
        groups.iter().map(|group| (group.n_members + group.n_non_members) as f64).map(|n| n * n * n - n);
    let variance = m * n / 12.0 * (all + 1.0 - cubes.sum::<f64>() / (all * (all - 1.0)));
    // All equal: rounding may leave something of zero.
    if groups.len() < 2 || variance <= 0.0 {
        return None;
    }
    let z = (u - m * n / 2.0 - 0.5) / variance.sqrt();
    Some(MannWhitney { u, z, p_value: Normal::standard().sf(z) })
}

/// The mean and the square of its standard error.
fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = finite(values.iter().sum::<f64>() / n)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, finite(squares / (n - 1.0) / n)?))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    fn near(value: f64, golden: f64) -> bool {
        (value / golden - 1.0).abs() < 1e-8
    }

    fn example() -> (Vec<f64>, Vec<f64>) {
        let suspects = (0..40).map(|i| f64::from((i * 37 + 11) % 101 / 2) / 10.0 + 0.8);
        (suspects.collect(), (0..50).map(|i| f64::from(i * 53 % 97 / 2) / 10.0).collect())
    }

    /// Goldens from scipy 1.17: `ttest_ind(x, y, equal_var=False, alternative="greater")`.
    #[test]
    fn the_test_of_means_is_that_of_scipy() {
        let (suspects, controls) = example();
        let above = welch(&suspects, &controls).unwrap();
        assert!(near(above.t, 3.085_123_085_826_64) && near(above.degrees_of_freedom, 82.122_519_877_374_8));
        assert!(near(above.p_value, 0.001_386_222_217_403_72), "{above:?}");
        let below = welch(&controls, &suspects).unwrap();
        assert!(near(below.t, -above.t) && near(below.p_value, 0.998_613_777_782_596), "{below:?}");
        let far: (Vec<f64>, Vec<f64>) = (
            (0..30).map(|i| 5.0 + f64::from(i) / 7.0).collect(),
            (0..25).map(|i| f64::from(i) / 9.0).collect(),
        );
        let far = welch(&far.0, &far.1).unwrap();
        assert!(
            near(far.t, 20.354_759_845_027_5) && (far.p_value / 3.167_935_174e-26 - 1.0).abs() < 1e-6,
            "{far:?}"
        );
    }

    /// Goldens from scipy 1.17: `mannwhitneyu(x, y, alternative="greater", method="asymptotic")`.
    #[test]
    fn the_test_of_ranks_is_that_of_scipy() {
        let (suspects, controls) = example();
        let above = mann_whitney(&suspects, &controls).unwrap();
        assert!(above.u == 1341.5 && near(above.p_value, 0.002_804_516_257_950_295), "{above:?}");
        let below = mann_whitney(&controls, &suspects).unwrap();
        assert!(below.u == 658.5 && near(below.p_value, 0.997_264_636_934_486), "{below:?}");
        let (high, low): (Vec<f64>, Vec<f64>) = (
            (0..30).map(|i| 5.0 + f64::from(i) / 7.0).collect(),
            (0..25).map(|i| f64::from(i) / 9.0).collect(),
        );
        let far = mann_whitney(&high, &low).unwrap();
        assert!(far.u == 750.0 && (far.p_value / 1.224_175_538e-10 - 1.0).abs() < 1e-6, "{far:?}");
    }

    /// By definition: U counts pairs, and the variance with ties is that of the ranks of all.
    #[test]
    fn u_counts_pairs_and_its_variance_is_that_of_the_ranks() {
        let mut draw = Draw::new(41, 0);
        for (m, n) in [(2, 9), (8, 8), (13, 5)] {
            let mut whole = |n| (0..n).map(|_| draw.index(5) as f64).collect::<Vec<f64>>();
            let (suspects, controls) = (whole(m), whole(n));
            let all: Vec<f64> = suspects.iter().chain(&controls).copied().collect();
            let u: f64 = suspects
                .iter()
                .flat_map(|x| controls.iter().map(move |y| if x > y { 1.0 } else { f64::from(x == y) / 2.0 }))
                .sum();
            let rank = |x: &f64| {
                let below = all.iter().filter(|y| *y < x).count() as f64;
                below + (all.iter().filter(|y| *y == x).count() as f64 + 1.0) / 2.0
            };
            let middle = (all.len() as f64 + 1.0) / 2.0;
            let squares: f64 = all.iter().map(|x| (rank(x) - middle).powi(2)).sum();
            let (m, n, n_all) = (m as f64, n as f64, all.len() as f64);
            let variance = m * n / (n_all * (n_all - 1.0)) * squares;
            let found = mann_whitney(&suspects, &controls).unwrap();
            assert_eq!(found.u, u);
            assert!((found.z - (u - m * n / 2.0 - 0.5) / variance.sqrt()).abs() < 1e-9, "{found:?}");
        }
    }

    /// Sets of one kind are told apart at 5 % about once in twenty.
    #[test]
    fn sets_of_one_kind_raise_no_more_alarms_than_they_should() {
        let mut n_alarms = [0, 0];
        for run in 0..2000 {
            let mut draw = Draw::new(42, run);
            let mut set = |n| (0..n).map(|_| draw.normal()).collect::<Vec<f64>>();
            let (suspects, controls) = (set(20), set(30));
            let p_values = [
                welch(&suspects, &controls).unwrap().p_value,
                mann_whitney(&suspects, &controls).unwrap().p_value,
            ];
            n_alarms.iter_mut().zip(p_values).for_each(|(n, p)| *n += u64::from(p < 0.05));
        }
        for n in n_alarms {
            let share = crate::clopper_pearson(n, 2000, 0.99);
            assert!(share.low <= 0.05 && share.high > 0.04, "{n} of 2000");
        }
    }

    #[test]
    fn fault_67_sets_that_say_nothing_have_no_test() {
        assert_eq!(
            [welch(&[1.0], &[0.0, 1.0]), welch(&[1.0, 2.0], &[]), welch(&[1.0; 3], &[0.0; 3])],
            [None; 3]
        );
        assert_eq!([welch(&[f64::NAN, 1.0], &[0.0, 1.0]), welch(&[1e300, -1e300], &[0.0, 1.0])], [None; 2]);
        assert_eq!(
            [mann_whitney(&[], &[0.0]), mann_whitney(&[1.0], &[]), mann_whitney(&[1.0; 3], &[1.0; 3])],
            [None; 3]
        );
        assert_eq!(mann_whitney(&[f64::INFINITY], &[0.0]), None);
        assert!(welch(&[1.0, 1.0], &[0.0, 1.0]).is_some(), "one side with a spread is enough");
    }
}

//! A threshold that keeps a false positive rate, from non-members that are used for nothing else.

use serde::{Deserialize, Serialize};

use crate::interval::clopper_pearson;
use crate::roc::Refusal;

/// Scores of non-members that only set thresholds: never those of texts that are judged. HIGHER means MORE LIKELY A MEMBER.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Rising.
    scores: Vec<f64>,
}

/// A threshold that calls at most a given share of non-members members.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibratedThreshold {
    /// Texts above, not at, are called members.
    pub threshold: f64,
    /// The false positive rate that it keeps, on average over draws of the calibration's non-members.
    pub fpr: f64,
    /// Non-members that it comes from.
    pub n_calibration: u64,
    /// The rank of the threshold among them, 1 for the highest.
    pub rank: u64,
}

impl Calibration {
    /// Of the scores of non-members that are drawn like those that will be judged.
    ///
    /// # Errors
    /// If there are none, or a score is not finite.
    pub fn new(non_members: &[f64]) -> Result<Calibration, Refusal> {
        if non_members.is_empty() {
            return Err(Refusal::NoNonMembers);
        }
        if non_members.iter().any(|score| !score.is_finite()) {
            return Err(Refusal::NotFinite);
        }
        let mut scores = non_members.to_vec();
        scores.sort_unstable_by(f64::total_cmp);
        Ok(Calibration { scores })
    }

    /// The conformal p-value of a text's score, (1 + number of non-members with as high a score) / (n + 1): for a non-member it
    /// is at most p with a probability of at most p (Vovk et al. 2005; Bates et al. 2023).
    ///
    /// `None` for a score that is not finite.
    pub fn p_value(&self, score: f64) -> Option<f64> {
        let n_below = self.scores.partition_point(|other| *other < score);
        let n = self.scores.len();
        score.is_finite().then(|| (1 + n - n_below) as f64 / (n + 1) as f64)
    }

    /// The threshold above which the p-value is at most `fpr`: the k-th highest score, k = floor(fpr * (n + 1)).
    ///
    /// # Errors
    /// If n + 1 is below 1 / `fpr`: so few non-members can set no such threshold.
    ///
    /// # Panics
    /// If the FPR is not between 0 and 1.
    ///
    /// ```
    /// use verbatim_membership::calibrate::Calibration;
    /// let calibration = Calibration::new(&[0.1, 0.4, 0.2, 0.3]).expect("finite scores");
    /// assert_eq!(calibration.threshold(0.2).expect("five times one in five").threshold, 0.4);
    /// assert!(calibration.threshold(0.19).is_err());
    /// ```
    pub fn threshold(&self, fpr: f64) -> Result<CalibratedThreshold, Refusal> {
        assert!(fpr > 0.0 && fpr < 1.0, "a false positive rate of {fpr}");
        let n = self.scores.len();
        // Rounding must not lose one where the number is whole.
        let rank = ((fpr * (n + 1) as f64 * (1.0 + 1e-12)) as usize).min(n);
        if rank == 0 {
            let needed = (1.0 / fpr * (1.0 - 1e-12)).ceil() as u64 - 1;
            return Err(Refusal::TooFewNonMembers { n: n as u64, needed });
        }
        let threshold = self.scores[n - rank];
        Ok(CalibratedThreshold { threshold, fpr, n_calibration: n as u64, rank: rank as u64 })
    }
}

impl CalibratedThreshold {
    /// Whether a text with this score is called a member; never where the score is NaN.
    pub fn accepts(&self, score: f64) -> bool {
        score > self.threshold
    }

    /// What the false positive rate of this one threshold is at most, with a confidence of `level`.
    ///
    /// The rate that is kept on average is spread over draws of the calibration like a beta variable with rank and n + 1 - rank
    /// (Vovk 2012), whose quantile is an end of the interval of Clopper and Pearson.
    ///
    /// # Panics
    /// If the level is not above 0.5 and below 1.
    pub fn fpr_at_most(&self, level: f64) -> f64 {
        assert!(level > 0.5 && level < 1.0, "a confidence level of {level}");
        clopper_pearson(self.rank - 1, self.n_calibration, 2.0 * level - 1.0).high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    /// By definition: the p-value counts, and the threshold accepts exactly the scores with a p-value of at most the FPR.
    #[test]
    fn the_threshold_accepts_what_the_p_value_does() {
        let mut draw = Draw::new(1, 0);
        for n in 1..60 {
            let scores: Vec<f64> = (0..n).map(|_| draw.index(25) as f64).collect();
            let calibration = Calibration::new(&scores).unwrap();
            for fpr in [0.01, 0.05, 0.1, 0.25, 0.5, 0.99] {
                let threshold = calibration.threshold(fpr);
                assert_eq!(threshold.is_err(), ((n + 1) as f64) < 1.0 / fpr - 1e-9, "{n} {fpr}");
                for half in -1..=52 {
                    let score = f64::from(half) / 2.0;
                    let n_as_high = scores.iter().filter(|other| **other >= score).count();
                    let p_value = (1 + n_as_high) as f64 / (n + 1) as f64;
                    assert_eq!(calibration.p_value(score), Some(p_value));
                    if let Ok(threshold) = threshold {
                        assert_eq!(threshold.accepts(score), p_value <= fpr + 1e-12, "{n} {fpr} {score}");
                    }
                }
            }
        }
    }

    #[test]
    fn too_few_non_members_set_no_threshold() {
        let of = |n: usize| Calibration::new(&vec![0.0; n]).unwrap().threshold(0.01);
        assert_eq!(of(98), Err(Refusal::TooFewNonMembers { n: 98, needed: 99 }));
        assert_eq!(of(99).map(|threshold| threshold.rank), Ok(1));
        assert_eq!(Calibration::new(&[]), Err(Refusal::NoNonMembers));
        assert_eq!(Calibration::new(&[f64::NAN]), Err(Refusal::NotFinite));
        let calibration = Calibration::new(&[0.0, 1.0]).unwrap();
        assert_eq!((calibration.p_value(f64::NAN), calibration.p_value(f64::INFINITY)), (None, None));
        assert!(!calibration.threshold(0.5).unwrap().accepts(f64::NAN));
    }

    /// Of 20 seeds and 3000 draws of a calibration and of one more non-member each, the rate at which the latter is called a
    /// member is at most the target, by the exact interval of the binomial; and it is the target where scores are not tied.
    #[test]
    fn the_realised_false_positive_rate_is_at_most_the_target() {
        for (n, fpr, is_tied) in [(99, 0.05, false), (70, 0.05, false), (99, 0.05, true), (99, 0.01, false)] {
            let mut n_alarms = 0;
            for seed in 0..20 {
                let mut draw = Draw::new(100 + seed, 0);
                let mut score = || if is_tied { draw.index(9) as f64 } else { draw.normal() };
                let of_seed = (0..3000).filter(|_| {
                    let scores: Vec<f64> = (0..n).map(|_| score()).collect();
                    Calibration::new(&scores).unwrap().threshold(fpr).unwrap().accepts(score())
                });
                let of_seed = of_seed.count() as u64;
                // Of 20 intervals one in 20 would miss at 95 %.
                assert!(
                    clopper_pearson(of_seed, 3000, 0.998).low <= fpr,
                    "{n} {fpr} {seed}: {of_seed} of 3000"
                );
                n_alarms += of_seed;
            }
            let share = clopper_pearson(n_alarms, 60_000, 0.95);
            assert!(share.low <= fpr, "{n} {fpr}: {n_alarms} of 60000");
            assert!(n == 70 || is_tied || share.high >= fpr, "{n} {fpr}: {n_alarms} of 60000");
        }
    }

    /// Goldens from scipy 1.17: `beta.ppf(.95, 5, 95)`, `beta.ppf(.95, 1, 99)`. Of uniform scores the rate is 1 - threshold.
    #[test]
    fn the_rate_of_one_threshold_has_an_upper_end() {
        let threshold = |fpr| Calibration::new(&[0.0; 99]).unwrap().threshold(fpr).unwrap();
        assert!((threshold(0.05).fpr_at_most(0.95) - GOLDEN[0]).abs() < 1e-8);
        assert!((threshold(0.01).fpr_at_most(0.95) - GOLDEN[1]).abs() < 1e-8);
        let n_kept = (0..2000).filter(|run| {
            let mut draw = Draw::new(4, *run);
            let scores: Vec<f64> = (0..99).map(|_| draw.uniform()).collect();
            let threshold = Calibration::new(&scores).unwrap().threshold(0.05).unwrap();
            1.0 - threshold.threshold <= threshold.fpr_at_most(0.9)
        });
        let share = clopper_pearson(n_kept.count() as u64, 2000, 0.99);
        assert!(share.low <= 0.9 && 0.9 <= share.high, "{share:?}");
    }

    const GOLDEN: [f64; 2] = [0.090073558192, 0.029806673773];
}

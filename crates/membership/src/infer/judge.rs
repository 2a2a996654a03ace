//! Texts of unknown membership: which of them a signal calls members, by a threshold from non-members that are used for nothing
//! else.

use serde::{Deserialize, Serialize};

use crate::calibrate::{CalibratedThreshold, Calibration};
use crate::dataset::{MannWhitney, Welch, mann_whitney, welch};
use crate::roc::Refusal;

/// What became of one text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its score.
    pub score: f64,
    /// The conformal p-value: for a non-member it is at most p with a probability of at most p.
    pub p_value: f64,
    /// Whether it is called a member.
    pub is_called: bool,
}

/// What became of all texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The threshold that was set.
    pub threshold: CalibratedThreshold,
    /// One call for each text, in their order; none where its score is undefined.
    pub calls: Vec<Option<Call>>,
    /// Texts that are called members.
    pub n_called: u64,
    /// Calls to expect on average, at most, if none of the texts with a score were a member and all were drawn like the
    /// calibration.
    pub n_expected_false: f64,
    /// Whether the mean score of the texts is above that of the calibration.
    pub welch: Option<Welch>,
    /// Whether the texts have higher scores than the calibration.
    pub mann_whitney: Option<MannWhitney>,
}

/// Calls texts members whose scores are above a threshold that the `calibration`'s scores set, so that at most a share of
/// `fpr` of non-members is called on average. Undefined scores of either are left out.
///
/// # Errors
/// [`Refusal::NoNonMembers`] without a defined score of the calibration, [`Refusal::TooFewNonMembers`] where n + 1 is below 1 /
/// `fpr`, [`Refusal::NotFinite`].
///
/// # Panics
/// If the FPR is not between 0 and 1.
pub fn judge(texts: &[Option<f64>], calibration: &[Option<f64>], fpr: f64) -> Result<Judged, Refusal> {
    let defined = |scores: &[Option<f64>]| scores.iter().copied().flatten().collect::<Vec<f64>>();
    let (suspects, controls) = (defined(texts), defined(calibration));
    let calibration = Calibration::new(&controls)?;
    let threshold = calibration.threshold(fpr)?;
    let call = |score: f64| {
        let p_value = calibration.p_value(score)?;
        Some(Call { score, p_value, is_called: threshold.accepts(score) })
    };
    let calls: Vec<Option<Call>> = texts.iter().map(|score| score.and_then(call)).collect();
    Ok(Judged {
        threshold,
        n_called: calls.iter().flatten().filter(|call| call.is_called).count() as u64,
        calls,
        n_expected_false: suspects.len() as f64 * threshold.rank as f64
            / (threshold.n_calibration + 1) as f64,
        welch: welch(&suspects, &controls),
        mann_whitney: mann_whitney(&suspects, &controls),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::clopper_pearson;
    use crate::random::Draw;

    #[test]
    fn texts_above_the_threshold_of_other_texts_are_called_and_no_others() {
        let calibration: Vec<Option<f64>> = (0..20).map(|i| (i != 7).then(|| f64::from(i))).collect();
        // 19 have a score: at 10 % the threshold is the second highest, 18.
        let texts = [Some(18.0), Some(18.5), None, Some(25.0), Some(-1.0)];
        let judged = judge(&texts, &calibration, 0.1).unwrap();
        assert_eq!((judged.threshold.threshold, judged.threshold.rank, judged.n_called), (18.0, 2, 2));
        let p_values: Vec<Option<f64>> =
            judged.calls.iter().map(|call| call.map(|call| call.p_value)).collect();
        assert_eq!(p_values, [Some(0.15), Some(0.1), None, Some(0.05), Some(1.0)]);
        assert_eq!(judged.n_expected_false, 4.0 * 2.0 / 20.0);
        assert!(judged.welch.is_some() && judged.mann_whitney.is_some());
        assert_eq!(judge(&texts, &calibration, 0.01), Err(Refusal::TooFewNonMembers { n: 19, needed: 99 }));
        assert_eq!(judge(&texts, &[None], 0.5), Err(Refusal::NoNonMembers));
    }

    /// Of 20 seeds, non-members that are judged by others: each share of calls is within the interval that it ought to be in,
    /// and so is that of all.
    #[test]
    fn thresholds_keep_their_rate_over_twenty_seeds() {
        for fpr in [0.1, 0.01] {
            let mut n_all = 0;
            for seed in 0..20 {
                let mut draw = Draw::new(600 + seed, 0);
                let mut scores = |n| (0..n).map(|_| Some(draw.normal())).collect::<Vec<Option<f64>>>();
                let judged = judge(&scores(500), &scores(1999), fpr).unwrap();
                // Both the calibration and the texts are drawn: an interval that one in a thousand seeds would leave.
                let at_most = judged.threshold.fpr_at_most(0.999);
                assert!(
                    clopper_pearson(judged.n_called, 500, 0.998).low <= at_most,
                    "{fpr} {seed}: {judged:?}"
                );
                n_all += judged.n_called;
            }
            let share = clopper_pearson(n_all, 10_000, 0.95);
            assert!(share.low <= fpr && fpr <= share.high, "{fpr}: {n_all} of 10000");
        }
    }
}

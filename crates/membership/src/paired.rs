//! How far one score is better than another over the same texts: resamples of the texts, drawn for both scores at once.

use serde::{Deserialize, Serialize};

use crate::interval::{Interval, Method};
use crate::random::Draw;
use crate::roc::{Refusal, Scores, check_paired, n_allowed};
use crate::ties::{Group, Ties, accept, auc_of};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The area under the ROC curve.
    Auc,
    /// The share of members found at this false positive rate.
    TprAtFpr(f64),
}

/// How texts are drawn again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Confidence level, 0.95 for 95 %.
    pub level: f64,
    /// Resamples; 2000 or more for 95 %.
    pub n_resamples: u64,
    /// Seed of the draws.
    pub seed: u64,
}

/// How far the metric of one score lies above that of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The first score's metric.
    pub first: f64,
    /// The second score's metric.
    pub second: f64,
    /// The first less the second.
    pub difference: f64,
    /// Its two-sided interval.
    pub interval: Interval,
    /// The lower end of its one-sided interval at the same level: above zero, the first score is better.
    pub low_one_sided: f64,
}

/// How far the metric of the first score lies above that of the second, over the same members and non-members in the same
/// order, with the percentile interval of the paired, stratified bootstrap (Efron 1981; Davison and Hinkley 1997, chapter
/// 5).
///
/// A resample draws as many members and as many non-members as there are, each with replacement, and both scores are measured
/// on it, each with a threshold of its own. Of n resamples the ends are the values of rank (n + 1) p and (n + 1) (1 - p), the
/// ranks rounded outwards.
///
/// # Errors
/// If the scores are not over the same numbers of texts, the non-members cannot show the FPR, there are fewer resamples than a
/// tail takes, or all resamples agree.
///
/// # Panics
/// If the FPR is not above 0 and at most 1, or the level is not between 0 and 1.
pub fn paired_difference(
    first: Scores<'_>,
    second: Scores<'_>,
    metric: Metric,
    config: &Bootstrap,
) -> Result<PairedDifference, Refusal> {
    assert!(config.level > 0.0 && config.level < 1.0, "a confidence level of {}", config.level);
    check_paired(first, second)?;
    let n_allowed = match metric {
        Metric::Auc => None,
        Metric::TprAtFpr(fpr) => Some(n_allowed(fpr, first.non_members().len() as u64)?),
    };
    let tail = (1.0 - config.level) / 2.0;
    let needed = (1.0 / tail - 1.0 - 1e-9).ceil() as u64;
    if config.n_resamples < needed {
        return Err(Refusal::TooFewResamples { needed });
    }
    let (first, second) = (Ties::new(first), Ties::new(second));
    let mut differences: Vec<f64> = (0..config.n_resamples)
        .map(|resample| {
            let (one, other) = resampled(&first, &second, &mut Draw::new(config.seed, resample));
            measured(&one, n_allowed) - measured(&other, n_allowed)
        })
        .collect();
    differences.sort_unstable_by(f64::total_cmp);
    let n = differences.len();
    if differences[0] == differences[n - 1] {
        return Err(Refusal::NoSpread);
    }
    // The value that at least a share of `tail` of the resamples, counted from either end, does not go beyond.
    let rank = |tail: f64| ((n + 1) as f64 * tail + 1e-9) as usize;
    let interval = Interval {
        low: differences[rank(tail) - 1],
        high: differences[n - rank(tail)],
        level: config.level,
        method: Method::PairedBootstrap,
    };
    let (one, other) = (measured(&first.groups(), n_allowed), measured(&second.groups(), n_allowed));
    let low_one_sided = differences[rank(2.0 * tail) - 1];
    Ok(PairedDifference { first: one, second: other, difference: one - other, interval, low_one_sided })
}

/// The same texts drawn for both scores.
fn resampled(first: &Ties, second: &Ties, draw: &mut Draw) -> (Vec<Group>, Vec<Group>) {
    let (mut one, mut other) =
        (vec![Group::default(); first.scores.len()], vec![Group::default(); second.scores.len()]);
    for _ in &first.members {
        let text = draw.index(first.members.len());
        one[first.members[text]].n_members += 1;
        other[second.members[text]].n_members += 1;
    }
    for _ in &first.non_members {
        let text = draw.index(first.non_members.len());
        one[first.non_members[text]].n_non_members += 1;
        other[second.non_members[text]].n_non_members += 1;
    }
    (one, other)
}

fn measured(groups: &[Group], n_allowed: Option<u64>) -> f64 {
    let Some(n_allowed) = n_allowed else { return auc_of(groups) };
    let n_members: u64 = groups.iter().map(|group| group.n_members).sum();
    // A group that was not drawn must not end the search, and does not: it adds no non-member.
    accept(groups, n_allowed).n_members as f64 / n_members as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roc::{auc, tpr_at_fpr};

    const CONFIG: Bootstrap = Bootstrap { level: 0.9, n_resamples: 199, seed: 3 };

    /// Two scores of the same texts that share half of what they say; `gain` is added for members to the first.
    fn drawn(run: u64, (m, n): (usize, usize), gain: f64) -> [Vec<f64>; 4] {
        let mut draw = Draw::new(11, run);
        let mut texts = |n: usize, shift: f64, gain: f64| -> (Vec<f64>, Vec<f64>) {
            let pair = |draw: &mut Draw| {
                let common = draw.normal() + shift;
                (common + draw.normal() + gain, common + draw.normal())
            };
            (0..n).map(|_| pair(&mut draw)).unzip()
        };
        let ((first, second), (first_non, second_non)) = (texts(m, 1.0, gain), texts(n, 0.0, 0.0));
        [first, first_non, second, second_non]
    }

    fn compared(
        texts: &[Vec<f64>; 4],
        metric: Metric,
        config: &Bootstrap,
    ) -> Result<PairedDifference, Refusal> {
        let [first, first_non, second, second_non] = texts;
        let (first, second) =
            (Scores::new(first, first_non).unwrap(), Scores::new(second, second_non).unwrap());
        paired_difference(first, second, metric, config)
    }

    /// By definition: texts copied out with the same draws, measured by `auc` and `tpr_at_fpr`, and sorted.
    #[test]
    fn resamples_equal_texts_copied_out() {
        let mut texts = drawn(0, (23, 31), 0.5);
        // Tied scores, that a threshold takes whole.
        texts.iter_mut().flatten().for_each(|score| *score = (*score * 3.0).round());
        for metric in [Metric::Auc, Metric::TprAtFpr(0.1)] {
            let mut naive: Vec<f64> = (0..CONFIG.n_resamples)
                .map(|resample| {
                    let mut draw = Draw::new(CONFIG.seed, resample);
                    let members: Vec<usize> = (0..23).map(|_| draw.index(23)).collect();
                    let non_members: Vec<usize> = (0..31).map(|_| draw.index(31)).collect();
                    let value = |side: usize| {
                        let taken =
                            |from: &[f64], at: &[usize]| at.iter().map(|&i| from[i]).collect::<Vec<f64>>();
                        let (taken, taken_non) =
                            (taken(&texts[side], &members), taken(&texts[side + 1], &non_members));
                        let scores = Scores::new(&taken, &taken_non).unwrap();
                        match metric {
                            Metric::Auc => auc(scores, 0.9).auc,
                            Metric::TprAtFpr(fpr) => tpr_at_fpr(scores, fpr, 0.9).unwrap().tpr,
                        }
                    };
                    value(0) - value(2)
                })
                .collect();
            naive.sort_by(f64::total_cmp);
            let found = compared(&texts, metric, &CONFIG).unwrap();
            // Of 199: ranks 10 and 190, and 20 for the one-sided end.
            assert_eq!((found.interval.low, found.interval.high), (naive[9], naive[189]), "{metric:?}");
            assert_eq!(found.low_one_sided, naive[19]);
            assert_eq!(found, compared(&texts, metric, &CONFIG).unwrap(), "the same seed, the same bits");
        }
    }

    /// Where both scores are as good, the one-sided end is above zero about as often as the level leaves, or less often.
    #[test]
    fn scores_that_are_equally_good_are_seldom_told_apart() {
        for metric in [Metric::Auc, Metric::TprAtFpr(0.1)] {
            let n_alarms = (0..400).filter(|run| {
                let config = Bootstrap { level: 0.95, ..CONFIG };
                compared(&drawn(*run, (60, 60), 0.0), metric, &config).unwrap().low_one_sided > 0.0
            });
            let n_alarms = n_alarms.count() as u64;
            let share = crate::clopper_pearson(n_alarms, 400, 0.95);
            assert!(share.low <= 0.05, "{metric:?}: {n_alarms} of 400");
        }
    }

    #[test]
    fn a_better_score_is_told_from_a_worse_one() {
        for metric in [Metric::Auc, Metric::TprAtFpr(0.1)] {
            let found = compared(&drawn(0, (200, 200), 2.0), metric, &CONFIG).unwrap();
            assert!(found.low_one_sided > 0.0 && found.low_one_sided >= found.interval.low, "{found:?}");
            assert!(found.difference == found.first - found.second && found.difference > 0.1, "{found:?}");
        }
    }

    #[test]
    fn what_resamples_cannot_show_is_refused() {
        let texts = drawn(0, (20, 20), 0.0);
        let few = Bootstrap { n_resamples: 18, ..CONFIG };
        assert_eq!(compared(&texts, Metric::Auc, &few), Err(Refusal::TooFewResamples { needed: 19 }));
        assert!(compared(&texts, Metric::Auc, &Bootstrap { n_resamples: 19, ..CONFIG }).is_ok());
        let refused = Refusal::TooFewNonMembers { n: 20, needed: 100 };
        assert_eq!(compared(&texts, Metric::TprAtFpr(0.01), &CONFIG), Err(refused));
        let [first, first_non, ..] = texts.clone();
        let same = [first.clone(), first_non.clone(), first, first_non];
        assert_eq!(compared(&same, Metric::Auc, &CONFIG), Err(Refusal::NoSpread));
        let unpaired = [vec![1.0], vec![0.0], vec![1.0, 2.0], vec![0.0]];
        assert_eq!(compared(&unpaired, Metric::Auc, &CONFIG), Err(Refusal::NotPaired));
    }
}

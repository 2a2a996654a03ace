//! How well a score tells members from non-members: AUC and TPR at a given FPR, each with an interval.
//!
//! HIGHER means MORE LIKELY A MEMBER. A rate that too few texts can show is refused, not guessed. The largest TPR - FPR is not
//! offered: as a maximum over thresholds it lies above what the score can do, most where there is nothing to find.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::difference::mover;
use crate::interval::{Interval, Method, clopper_pearson};
use crate::ties::{Group, Ties, accept, auc_of};

/// With fewer texts on either side an interval does not rely on a normal distribution.
const FEWEST_FOR_NORMAL: usize = 30;

/// Scores of members and of non-members: finite, at least one of each. HIGHER means MORE LIKELY A MEMBER.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores<'a> {
    members: &'a [f64],
    non_members: &'a [f64],
}

/// Why something was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// There is no member.
    NoMembers,
    /// There is no non-member.
    NoNonMembers,
    /// A score is NaN or infinite.
    NotFinite,
    /// Two scores are not over the same numbers of texts.
    NotPaired,
    /// An FPR that so few non-members cannot show.
    TooFewNonMembers {
        /// Non-members that there are.
        n: u64,
        /// Non-members that it takes.
        needed: u64,
    },
    /// Tails that so few resamples cannot show.
    TooFewResamples {
        /// Resamples that it takes.
        needed: u64,
    },
    /// All resamples agree, so that they say nothing of the spread.
    NoSpread,
}

/// The area under the ROC curve: how often a member has a higher score than a non-member; equal scores count one half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auc {
    /// The area, 0 to 1.
    pub auc: f64,
    /// The variance of the area (DeLong et al. 1988); `None` with fewer than two members or two non-members.
    pub variance: Option<f64>,
    /// Its interval, by `DeLong` or by `NewcombeAuc`.
    pub interval: Interval,
    /// Members.
    pub n_members: u64,
    /// Non-members.
    pub n_non_members: u64,
    /// Whether the whole interval lies below one half: then the score tells the two apart, but with the wrong sign.
    pub is_inverted: bool,
}

/// How far the AUC of one score lies above that of another, over the same texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AucDifference {
    /// The first AUC less the second.
    pub difference: f64,
    /// Its variance (DeLong et al. 1988); `None` with fewer than two members or two non-members.
    pub variance: Option<f64>,
    /// Its interval, by `DeLong` or by `Mover`.
    pub interval: Interval,
}

/// The members that a threshold finds at a false positive rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Texts at or above are called members; `None` where already the highest score has too many non-members.
    pub threshold: Option<f64>,
    /// Share of the members that are called so.
    pub tpr: f64,
    /// Its interval by Clopper and Pearson, for the threshold that was chosen.
    pub interval: Interval,
    /// Share of the non-members that are called members; at most what was asked for.
    pub fpr: f64,
    /// Members that are called so.
    pub n_true_positives: u64,
    /// Non-members that are called members.
    pub n_false_positives: u64,
}

/// A point of the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Share of the non-members at or above a threshold.
    pub fpr: f64,
    /// Share of the members at or above it.
    pub tpr: f64,
}

impl<'a> Scores<'a> {
    /// The scores of members and of non-members.
    ///
    /// # Errors
    /// If there are no members or no non-members, or a score is not finite.
    pub fn new(members: &'a [f64], non_members: &'a [f64]) -> Result<Scores<'a>, Refusal> {
        if members.is_empty() {
            return Err(Refusal::NoMembers);
        }
        if non_members.is_empty() {
            return Err(Refusal::NoNonMembers);
        }
        if members.iter().chain(non_members).any(|score| !score.is_finite()) {
            return Err(Refusal::NotFinite);
        }
        Ok(Scores { members, non_members })
    }

    /// Scores of the members.
    pub fn members(&self) -> &'a [f64] {
        self.members
    }

    /// Scores of the non-members.
    pub fn non_members(&self) -> &'a [f64] {
        self.non_members
    }
}

/// The area under the ROC curve with its variance and interval (DeLong et al. 1988), in the time of the midrank form of Sun and
/// Xu (2014).
///
/// With fewer than 30 members or non-members, without variance, or where DeLong's interval leaves 0 to 1, the interval is
/// that of [`newcombe_auc`].
///
/// # Panics
/// If the level is not between 0 and 1.
///
/// ```
/// use verbatim_membership::roc::{Scores, auc};
/// let scores = Scores::new(&[3.0, 2.0], &[1.0, 2.0]).expect("finite scores");
/// assert_eq!(auc(scores, 0.95).auc, 0.875);
/// ```
pub fn auc(scores: Scores<'_>, level: f64) -> Auc {
    let placements = Placements::new(scores);
    let (n_members, n_non_members) = (scores.members.len() as u64, scores.non_members.len() as u64);
    let variance = placements.variance();
    let interval = delong(placements.auc, (variance, 0.0), scores, level)
        .unwrap_or_else(|| newcombe_auc(placements.auc, (n_members, n_non_members), level));
    let is_inverted = interval.high < 0.5;
    Auc { auc: placements.auc, variance, interval, n_members, n_non_members, is_inverted }
}

/// The interval of an AUC from the numbers of members and non-members alone (Newcombe 2006, method 5): where the AUC is a
/// normal deviate away from what was seen, with the variance of Hanley and McNeil (1982) at that AUC. It has a width even
/// where all members are above all non-members.
///
/// Without members or without non-members nothing is known: the interval is 0 to 1.
///
/// # Panics
/// If the AUC is not in 0 to 1 or the level is not between 0 and 1.
pub fn newcombe_auc(auc: f64, (n_members, n_non_members): (u64, u64), level: f64) -> Interval {
    assert!((0.0..=1.0).contains(&auc), "an area of {auc}");
    let z = normal_quantile(level);
    let method = Method::NewcombeAuc;
    if n_members == 0 || n_non_members == 0 {
        return Interval { low: 0.0, high: 1.0, level, method };
    }
    let (m, n) = (n_members as f64, n_non_members as f64);
    let others = f64::midpoint(m, n) - 1.0;
    let is_too_far = |at: f64| {
        let pairs = 1.0 + others * ((1.0 - at) / (2.0 - at) + at / (1.0 + at));
        (at - auc).abs() > z * (at * (1.0 - at) * pairs / (m * n)).sqrt()
    };
    let end = |extreme: f64| {
        let (mut outside, mut inside) = (extreme, auc);
        loop {
            let middle = f64::midpoint(outside, inside);
            if middle == outside || middle == inside {
                return middle;
            }
            if is_too_far(middle) { outside = middle } else { inside = middle }
        }
    };
    Interval { low: end(0.0), high: end(1.0), level, method }
}

/// How far the AUC of the first score lies above that of the second, over the same members and non-members in the same order
/// (DeLong et al. 1988).
///
/// With fewer than 30 members or non-members, without variance, or where the interval leaves -1 to 1, it is put together
/// from the two of [`newcombe_auc`] (Zou and Donner 2008) as if the scores were independent, which is wide where
/// they agree.
///
/// # Errors
/// If the two are not over the same numbers of texts.
///
/// # Panics
/// If the level is not between 0 and 1.
pub fn auc_difference(first: Scores<'_>, second: Scores<'_>, level: f64) -> Result<AucDifference, Refusal> {
    check_paired(first, second)?;
    let (one, other) = (Placements::new(first), Placements::new(second));
    let difference = one.auc - other.auc;
    let variance = one.less(&other).variance();
    let sizes = (first.members.len() as u64, first.non_members.len() as u64);
    let interval = delong(difference, (variance, -1.0), first, level).unwrap_or_else(|| {
        let (new, old) = (newcombe_auc(one.auc, sizes, level), newcombe_auc(other.auc, sizes, level));
        let (low, high) = mover((one.auc, new), (other.auc, old));
        Interval { low, high, level, method: Method::Mover }
    });
    Ok(AucDifference { difference, variance, interval })
}

/// The share of members found when at most floor(`fpr` * non-members) non-members are called members.
///
/// The threshold is the lowest score that allows it; texts with equal scores are called the same. It is chosen on the same
/// non-members, so the FPR of other non-members may be higher: `calibrate` has a threshold that keeps it.
///
/// # Errors
/// If `fpr` is below 1 / non-members: no number of false positives but none would be allowed, which says nothing of the FPR.
///
/// # Panics
/// If the FPR is not above 0 and at most 1, or the level is not between 0 and 1.
pub fn tpr_at_fpr(scores: Scores<'_>, fpr: f64, level: f64) -> Result<OperatingPoint, Refusal> {
    let (n_members, n_non_members) = (scores.members.len() as u64, scores.non_members.len() as u64);
    let n_allowed = n_allowed(fpr, n_non_members)?;
    let ties = Ties::new(scores);
    let accepted = accept(&ties.groups(), n_allowed);
    Ok(OperatingPoint {
        threshold: ties.scores.get(accepted.first_group).copied(),
        tpr: accepted.n_members as f64 / n_members as f64,
        interval: clopper_pearson(accepted.n_members, n_members, level),
        fpr: accepted.n_non_members as f64 / n_non_members as f64,
        n_true_positives: accepted.n_members,
        n_false_positives: accepted.n_non_members,
    })
}

/// The ROC curve from (0, 0) to (1, 1): one point for each distinct score, less those inside a straight stretch.
pub fn roc_points(scores: Scores<'_>) -> Vec<RocPoint> {
    let mut points: Vec<Group> = vec![Group::default()];
    for group in Ties::new(scores).groups().into_iter().rev() {
        let last = points[points.len() - 1];
        let next = Group {
            n_members: last.n_members + group.n_members,
            n_non_members: last.n_non_members + group.n_non_members,
        };
        if points.len() > 1 && is_straight(points[points.len() - 2], last, next) {
            points.pop();
        }
        points.push(next);
    }
    let (n_members, n_non_members) = (scores.members.len() as f64, scores.non_members.len() as f64);
    let rates = |point: Group| RocPoint {
        fpr: point.n_non_members as f64 / n_non_members,
        tpr: point.n_members as f64 / n_members,
    };
    points.into_iter().map(rates).collect()
}

fn is_straight(before: Group, middle: Group, after: Group) -> bool {
    let step = |from: Group, to: Group| {
        (u128::from(to.n_non_members - from.n_non_members), u128::from(to.n_members - from.n_members))
    };
    let ((x, y), (next_x, next_y)) = (step(before, middle), step(middle, after));
    x * next_y == next_x * y
}

/// How many of `n` non-members may be called members.
pub(crate) fn n_allowed(fpr: f64, n: u64) -> Result<u64, Refusal> {
    assert!(fpr > 0.0 && fpr <= 1.0, "a false positive rate of {fpr}");
    // Rounding must not lose one where the number is whole, as in 0.29 * 100.
    let n_allowed = (fpr * n as f64 * (1.0 + 1e-12)) as u64;
    if n_allowed == 0 {
        return Err(Refusal::TooFewNonMembers { n, needed: (1.0 / fpr * (1.0 - 1e-12)).ceil() as u64 });
    }
    Ok(n_allowed)
}

pub(crate) fn check_paired(first: Scores<'_>, second: Scores<'_>) -> Result<(), Refusal> {
    let is_paired =
        first.members.len() == second.members.len() && first.non_members.len() == second.non_members.len();
    if is_paired { Ok(()) } else { Err(Refusal::NotPaired) }
}

/// For each text the share of the other side that it is on the right side of.
struct Placements {
    auc: f64,
    members: Vec<f64>,
    non_members: Vec<f64>,
}

impl Placements {
    fn new(scores: Scores<'_>) -> Placements {
        let ties = Ties::new(scores);
        let groups = ties.groups();
        let (m, n) = (scores.members.len() as u64, scores.non_members.len() as u64);
        let (mut below, mut sums) = (Group::default(), Vec::with_capacity(groups.len()));
        for group in &groups {
            let member = (2 * below.n_non_members + group.n_non_members) as f64 / (2.0 * n as f64);
            let above = 2 * (m - below.n_members) - group.n_members;
            sums.push((member, above as f64 / (2.0 * m as f64)));
            below.n_members += group.n_members;
            below.n_non_members += group.n_non_members;
        }
        Placements {
            auc: auc_of(&groups),
            members: ties.members.iter().map(|&group| sums[group].0).collect(),
            non_members: ties.non_members.iter().map(|&group| sums[group].1).collect(),
        }
    }

    fn less(&self, other: &Placements) -> Placements {
        let less = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a - b).collect();
        Placements {
            auc: self.auc - other.auc,
            members: less(&self.members, &other.members),
            non_members: less(&self.non_members, &other.non_members),
        }
    }

    /// DeLong et al. 1988: the spread of the placements on each side.
    fn variance(&self) -> Option<f64> {
        let side = |placements: &[f64]| {
            let squares: f64 = placements.iter().map(|placement| (placement - self.auc).powi(2)).sum();
            let n = placements.len() as f64;
            (n > 1.0).then(|| squares / (n - 1.0) / n)
        };
        Some(side(&self.members)? + side(&self.non_members)?)
    }
}

/// The normal interval about a value of at least `least` and at most 1, where it can be relied upon.
fn delong(
    value: f64,
    (variance, least): (Option<f64>, f64),
    scores: Scores<'_>,
    level: f64,
) -> Option<Interval> {
    let half_width = normal_quantile(level) * variance?.sqrt();
    let (low, high) = (value - half_width, value + half_width);
    let is_enough = scores.members.len().min(scores.non_members.len()) >= FEWEST_FOR_NORMAL;
    let is_relied_upon = is_enough && half_width > 1e-12 && low >= least && high <= 1.0;
    is_relied_upon.then_some(Interval { low, high, level, method: Method::DeLong })
}

fn normal_quantile(level: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    Normal::standard().inverse_cdf(0.5 + level / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    fn near(value: f64, golden: f64) -> bool {
        (value - golden).abs() < 1e-9
    }

    /// Two scores of 40 members and 50 non-members, with ties.
    pub(crate) fn example() -> [(Vec<f64>, Vec<f64>); 2] {
        let tenths = |n: u64, rule: &dyn Fn(u64) -> u64, plus: f64| -> Vec<f64> {
            (0..n).map(|i| rule(i) as f64 / 10.0 + plus).collect()
        };
        [
            (tenths(40, &|i| (i * 37 + 11) % 101 / 2, 1.5), tenths(50, &|i| i * 53 % 97 / 2, 0.0)),
            (tenths(40, &|i| (i * 61 + 7) % 89 / 3, 0.7), tenths(50, &|i| (i * 29 + 5) % 83 / 3, 0.0)),
        ]
    }

    fn scores((members, non_members): &(Vec<f64>, Vec<f64>)) -> Scores<'_> {
        Scores::new(members, non_members).unwrap()
    }

    /// Normal scores, those of members higher by `shift`.
    fn normals(draw: &mut Draw, (m, n): (usize, usize), shift: f64) -> (Vec<f64>, Vec<f64>) {
        let members = (0..m).map(|_| draw.normal() + shift).collect();
        (members, (0..n).map(|_| draw.normal()).collect())
    }

    /// Goldens: AUC by scikit-learn 1.9 `roc_auc_score`; variance with numpy 2.4 from the matrix K of all pairs (1, 0, or one
    /// half): `np.cov(K.mean(1)) / 40 + np.cov(K.mean(0)) / 50`, and its normal interval with scipy's 1.959964.
    #[test]
    fn the_area_and_its_interval_are_those_of_scikit_learn_and_numpy() {
        let [first, second] = example();
        let one = auc(scores(&first), 0.95);
        assert!(near(one.auc, 0.775) && near(one.variance.unwrap(), 0.002_308_929_879_644), "{one:?}");
        assert!(near(one.interval.low, 0.680_821_132_665) && near(one.interval.high, 0.869_178_867_335));
        assert_eq!((one.interval.method, one.is_inverted), (Method::DeLong, false));
        let other = auc(scores(&second), 0.95);
        assert!(near(other.auc, 0.744) && near(other.interval.low, 0.643_341_877_110), "{other:?}");
        let both = auc_difference(scores(&first), scores(&second), 0.95).unwrap();
        assert!(near(both.difference, 0.031) && near(both.variance.unwrap(), 0.004_708_483_516_484));
        assert!(near(both.interval.low, -0.103_489_574_081) && near(both.interval.high, 0.165_489_574_081));
        assert_eq!(both.interval.method, Method::DeLong);
    }

    /// Goldens from scipy 1.17: `brentq` on |a - t| - 1.959964 sqrt(V(t)), with V as in the paper.
    #[test]
    fn newcombe_ends_are_those_of_a_root_finder() {
        for (auc, sizes, low, high) in [
            (0.8, (20, 30), 0.643_345_614_521, 0.894_146_241_651),
            (1.0, (10, 10), 0.800_213_612_881, 1.0),
            (0.0, (5, 9), 0.0, 0.292_541_611_396),
            (0.5, (3, 4), 0.166_864_326_824, 0.833_135_673_176),
            (0.97, (100, 15), 0.871_697_574_363, 0.992_974_560_482),
        ] {
            let interval = newcombe_auc(auc, sizes, 0.95);
            assert!(near(interval.low, low) && near(interval.high, high), "{auc} {sizes:?}: {interval:?}");
        }
        let unknown = newcombe_auc(0.5, (0, 4), 0.95);
        assert_eq!((unknown.low, unknown.high), (0.0, 1.0));
    }

    /// By definition: all pairs.
    #[test]
    fn the_area_counts_all_pairs_and_equal_ones_half() {
        let mut draw = Draw::new(1, 0);
        for (m, n) in [(1, 1), (1, 7), (5, 2), (9, 9), (30, 41)] {
            let whole = |draw: &mut Draw, n| (0..n).map(|_| draw.index(6) as f64).collect::<Vec<f64>>();
            let (members, non_members) = (whole(&mut draw, m), whole(&mut draw, n));
            let pairs = members.iter().flat_map(|x| non_members.iter().map(move |y| (x, y)));
            let wins: f64 = pairs.map(|(x, y)| if x > y { 1.0 } else { f64::from(x == y) / 2.0 }).sum();
            let found = auc(Scores::new(&members, &non_members).unwrap(), 0.9);
            assert_eq!(found.auc, wins / (m * n) as f64);
            assert!(found.interval.low <= found.auc && found.auc <= found.interval.high, "{found:?}");
        }
        assert_eq!(auc(Scores::new(&[0.0], &[-0.0]).unwrap(), 0.9).auc, 0.5, "the two zeros are equal");
    }

    #[test]
    fn where_the_variance_degenerates_the_interval_has_a_width() {
        let (high, low) = ([2.0; 40], [1.0; 40]);
        let all = auc(Scores::new(&high, &low).unwrap(), 0.95);
        assert_eq!((all.auc, all.variance, all.interval.method), (1.0, Some(0.0), Method::NewcombeAuc));
        assert!(all.interval.low < 0.97 && all.interval.low > 0.9 && all.interval.high == 1.0, "{all:?}");
        let none = auc(Scores::new(&low, &high).unwrap(), 0.95);
        assert!(none.auc == 0.0 && none.interval.low == 0.0 && none.is_inverted, "{none:?}");
        let equal = auc(Scores::new(&high, &high).unwrap(), 0.95);
        assert!(equal.auc == 0.5 && equal.interval.low < 0.4 && equal.interval.high > 0.6, "{equal:?}");
        let single = auc(Scores::new(&[1.0], &[0.0]).unwrap(), 0.95);
        assert!(single.variance.is_none() && single.interval.low < 0.3, "{single:?}");
        let same = Scores::new(&high, &low).unwrap();
        let difference = auc_difference(same, same, 0.95).unwrap();
        assert_eq!((difference.difference, difference.interval.method), (0.0, Method::Mover));
        assert!(difference.interval.low < -0.02 && difference.interval.high > 0.02, "{difference:?}");
    }

    /// AUC of normal scores that are `shift` apart: Phi(shift / sqrt 2). Over runs of many sizes the interval holds it about as
    /// often as it says, also where few texts leave no room for a normal one.
    #[test]
    fn intervals_of_areas_cover() {
        for (shift, sizes) in [
            (0.0, (12, 12)),
            (1.0, (12, 40)),
            (2.5, (12, 12)),
            (2.5, (40, 40)),
            (0.5, (40, 60)),
            (1.5, (60, 40)),
        ] {
            let truth = Normal::standard().cdf(shift / 2f64.sqrt());
            let covered = (0..1000).filter(|run| {
                let drawn = normals(&mut Draw::new(5, *run), sizes, shift);
                let interval = auc(scores(&drawn), 0.95).interval;
                interval.low <= truth && truth <= interval.high
            });
            let covered = covered.count();
            assert!(covered >= 925, "{shift} {sizes:?}: {covered} of 1000");
        }
    }

    #[test]
    fn intervals_of_differences_cover_nothing_where_there_is_nothing() {
        let mut n_covered = 0;
        for run in 0..1000 {
            let mut draw = Draw::new(6, run);
            let common = normals(&mut draw, (40, 50), 1.0);
            let noisy = |draw: &mut Draw| {
                let mut add = |scores: &[f64]| scores.iter().map(|score| score + draw.normal()).collect();
                (add(&common.0), add(&common.1))
            };
            let (first, second) = (noisy(&mut draw), noisy(&mut draw));
            let interval = auc_difference(scores(&first), scores(&second), 0.95).unwrap().interval;
            n_covered += u32::from(interval.low <= 0.0 && interval.high >= 0.0);
        }
        assert!((930..=970).contains(&n_covered), "{n_covered} of 1000");
    }

    /// Goldens from scikit-learn 1.9: `roc_curve(drop_intermediate=False)`, the largest tpr of those with fpr at most so much.
    #[test]
    fn the_share_found_at_a_false_positive_rate_is_that_of_scikit_learn() {
        let [first, _] = example();
        for (target, tpr, fpr, threshold) in
            [(0.02, 0.35, 0.02, 4.6), (0.05, 0.35, 0.02, 4.6), (0.1, 0.45, 0.08, 4.2), (0.2, 0.55, 0.2, 3.7)]
        {
            let point = tpr_at_fpr(scores(&first), target, 0.95).unwrap();
            assert!(near(point.tpr, tpr) && near(point.fpr, fpr), "{target}: {point:?}");
            assert!(near(point.threshold.unwrap(), threshold), "{target}: {point:?}");
        }
    }

    /// By definition: of all scores as thresholds, the one that finds most members among those that are allowed.
    #[test]
    fn the_threshold_is_the_lowest_that_is_allowed() {
        let mut draw = Draw::new(2, 0);
        for run in 0..300 {
            let mut whole = |n| (0..n).map(|_| draw.index(12) as f64).collect::<Vec<f64>>();
            let (members, non_members) = (whole(1 + run % 9), whole(10 + run % 7));
            let n_above =
                |texts: &[f64], threshold| texts.iter().filter(|score| **score >= threshold).count();
            let (fpr, n) = (0.1 + 0.05 * (run % 5) as f64, non_members.len());
            let is_allowed =
                |threshold: f64| n_above(&non_members, threshold) as f64 <= fpr * n as f64 + 1e-9;
            let all = members.iter().chain(&non_members).copied();
            let best = all.filter(|threshold| is_allowed(*threshold)).min_by(f64::total_cmp);
            let point = tpr_at_fpr(Scores::new(&members, &non_members).unwrap(), fpr, 0.95).unwrap();
            assert_eq!(point.threshold, best);
            let n_found = best.map_or(0, |threshold| n_above(&members, threshold));
            assert_eq!(point.n_true_positives, n_found as u64);
            assert_eq!(point.interval, clopper_pearson(n_found as u64, members.len() as u64, 0.95));
        }
    }

    #[test]
    fn a_rate_that_the_non_members_cannot_show_is_refused() {
        let (members, non_members) = ([1.0; 5], [0.0; 99]);
        let scores = Scores::new(&members, &non_members).unwrap();
        let refused = Refusal::TooFewNonMembers { n: 99, needed: 100 };
        assert_eq!(tpr_at_fpr(scores, 0.01, 0.95).unwrap_err(), refused);
        assert!(tpr_at_fpr(scores, 1.0 / 99.0, 0.95).is_ok());
        assert_eq!(
            (n_allowed(0.29, 100), n_allowed(0.07, 100), n_allowed(0.01, 100)),
            (Ok(29), Ok(7), Ok(1))
        );
        // A group of equal non-members at the top that is too large leaves nothing to call a member.
        let tied = tpr_at_fpr(Scores::new(&[1.0; 5], &[1.0; 9]).unwrap(), 0.5, 0.95).unwrap();
        assert_eq!((tied.threshold, tied.tpr, tied.fpr), (None, 0.0, 0.0));
    }

    #[test]
    fn fault_67_scores_that_are_not_finite_or_missing_are_refused() {
        assert_eq!(Scores::new(&[], &[0.0]), Err(Refusal::NoMembers));
        assert_eq!(Scores::new(&[0.0], &[]), Err(Refusal::NoNonMembers));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Scores::new(&[0.0, bad], &[0.0]), Err(Refusal::NotFinite));
            assert_eq!(Scores::new(&[0.0], &[bad]), Err(Refusal::NotFinite));
        }
        let (one, other) = (Scores::new(&[0.0], &[1.0]).unwrap(), Scores::new(&[0.0], &[1.0, 2.0]).unwrap());
        assert_eq!(auc_difference(one, other, 0.95), Err(Refusal::NotPaired));
    }

    /// The trapezoids under the points are the area, and the corners are those of all thresholds.
    #[test]
    fn the_curve_holds_the_area_with_no_point_too_many() {
        let [first, second] = example();
        for drawn in [&first, &second] {
            let points = roc_points(scores(drawn));
            let trapezoids =
                points.windows(2).map(|w| (w[1].fpr - w[0].fpr) * f64::midpoint(w[0].tpr, w[1].tpr));
            assert!(near(trapezoids.sum::<f64>(), auc(scores(drawn), 0.95).auc));
            let ends = (points[0], points[points.len() - 1]);
            assert_eq!(ends, (RocPoint { fpr: 0.0, tpr: 0.0 }, RocPoint { fpr: 1.0, tpr: 1.0 }));
        }
        let points = roc_points(Scores::new(&[4.0, 3.0, 3.0, 0.0], &[2.0, 1.0]).unwrap());
        let pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.fpr, point.tpr)).collect();
        assert_eq!(pairs, [(0.0, 0.0), (0.0, 0.75), (1.0, 0.75), (1.0, 1.0)]);
    }
}

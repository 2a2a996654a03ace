//! Who is exposed most: how well one score finds the members of each slice of the texts, by rarity, copies, length or source.

use crate::interval::{Interval, clopper_pearson};
use crate::roc::{Auc, Refusal, Scores, auc, tpr_at_fpr};
use crate::trend::{Trend, Trials, log_linear};

/// How well a score tells the members of one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<K> {
    /// What its texts have in common.
    pub key: K,
    /// Its members and the non-members that they are compared with.
    pub n: [u64; 2],
    /// The area under the ROC curve of these.
    pub auc: Result<Auc, Refusal>,
    /// Members at or above the threshold of all slices.
    pub n_true_positives: u64,
    /// Non-members at or above it.
    pub n_false_positives: u64,
    /// The interval of the share of its members that are, by Clopper and Pearson; 0 to 1 without any.
    pub tpr_interval: Interval,
    /// The interval of the share of its non-members that are. A slice of high scores has many of both.
    pub fpr_interval: Interval,
}

/// The slices of texts by a key, rising, for a score with one threshold for all: the one that calls at most a share of `fpr` of
/// all non-members members, as [`tpr_at_fpr`] has it. HIGHER scores are MORE LIKELY of members.
///
/// Each text is its key and its score. A non-member without a key is compared with the members of every slice, as where the key is
/// how many copies of a text were in the training set, of which non-members have none.
///
/// # Errors
/// If there are no members or no non-members at all, a score is not finite, or so few non-members cannot show the FPR.
///
/// # Panics
/// If the FPR is not above 0 and at most 1, or the level is not between 0 and 1.
pub fn slices<K: Ord + Clone>(
    members: &[(K, f64)],
    non_members: &[(Option<K>, f64)],
    fpr: f64,
    level: f64,
) -> Result<Vec<Slice<K>>, Refusal> {
    let inside: Vec<f64> = members.iter().map(|(_, score)| *score).collect();
    let outside: Vec<f64> = non_members.iter().map(|(_, score)| *score).collect();
    let threshold = tpr_at_fpr(Scores::new(&inside, &outside)?, fpr, level)?.threshold;
    let mut keys: Vec<&K> = members
        .iter()
        .map(|(key, _)| key)
        .chain(non_members.iter().filter_map(|(key, _)| key.as_ref()))
        .collect();
    keys.sort();
    keys.dedup();
    let slice = |key: &K| {
        let inside = members.iter().filter(|(other, _)| other == key);
        let inside: Vec<f64> = inside.map(|(_, score)| *score).collect();
        let outside = non_members.iter().filter(|(other, _)| other.as_ref().is_none_or(|other| other == key));
        let outside: Vec<f64> = outside.map(|(_, score)| *score).collect();
        let n_called = |scores: &[f64]| {
            scores.iter().filter(|score| threshold.is_some_and(|threshold| **score >= threshold)).count()
                as u64
        };
        let n = [inside.len() as u64, outside.len() as u64];
        let (n_true_positives, n_false_positives) = (n_called(&inside), n_called(&outside));
        Slice {
            key: key.clone(),
            n,
            auc: Scores::new(&inside, &outside).map(|scores| auc(scores, level)),
            n_true_positives,
            n_false_positives,
            tpr_interval: clopper_pearson(n_true_positives, n[0], level),
            fpr_interval: clopper_pearson(n_false_positives, n[1], level),
        }
    };
    Ok(keys.into_iter().map(slice).collect())
}

/// How the share of members found changes over slices: [`log_linear`] with a slice's `x`, at least 1, such as its copies. Slices
/// that only have an order lie on a line by number where the x of slice i is 2^i.
///
/// # Panics
/// If an x is less than 1, or the level is not between 0 and 1.
pub fn slice_trend<K>(slices: &[Slice<K>], x: impl Fn(&K) -> f64, level: f64) -> Option<Trend> {
    let trials = |slice: &Slice<K>| Trials { x: x(&slice.key), k: slice.n_true_positives, n: slice.n[0] };
    log_linear(&slices.iter().map(trials).collect::<Vec<Trials>>(), level)
}

/// The slice of each value where the values are cut into `n_slices` of about as many each: 0 for the lowest. Equal values are in
/// one slice, that of the first of them.
///
/// For keys of members and of non-members alike, give the values of both at once.
///
/// # Panics
/// If there are no slices, or a value is NaN.
pub fn quantile_slices(values: &[f64], n_slices: usize) -> Vec<usize> {
    assert!(n_slices > 0, "no slices");
    assert!(values.iter().all(|value| !value.is_nan()), "a value that is NaN has no slice");
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    values
        .iter()
        .map(|value| sorted.partition_point(|other| other < value) * n_slices / sorted.len())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    /// By hand: at an FPR of 1/4 the threshold is 5, which one of eight non-members reaches, for two may and the next are equal.
    #[test]
    fn each_slice_is_judged_by_the_threshold_of_all() {
        let members = [("long", 9.0), ("long", 5.0), ("short", 4.0), ("short", 6.0), ("odd", 1.0)];
        let outside = [("long", 5.0), ("short", 4.5), ("long", 4.5), ("long", 0.0), ("none", 0.0)];
        let mut non_members: Vec<(Option<&str>, f64)> =
            outside.iter().map(|(key, score)| (Some(*key), *score)).collect();
        non_members.extend([(Some("short"), 0.0), (Some("short"), 2.0), (Some("short"), 3.0)]);
        let found = slices(&members, &non_members, 0.25, 0.95).unwrap();
        let keys: Vec<&str> = found.iter().map(|slice| slice.key).collect();
        assert_eq!(keys, ["long", "none", "odd", "short"]);
        let counts = |slice: &Slice<&str>| (slice.n, slice.n_true_positives, slice.n_false_positives);
        let expected = [([2, 3], 2, 1), ([0, 1], 0, 0), ([1, 0], 0, 0), ([2, 4], 1, 0)];
        assert!(found.iter().map(counts).eq(expected), "{found:?}");
        // Long: 9 above 5, 4.5 and 0; 5 equal to 5 and above the others.
        assert_eq!(found[0].auc.unwrap().auc, 5.5 / 6.0);
        assert_eq!([found[1].auc, found[2].auc], [Err(Refusal::NoMembers), Err(Refusal::NoNonMembers)]);
        assert_eq!(found[0].tpr_interval, clopper_pearson(2, 2, 0.95));
        assert_eq!(found[3].fpr_interval, clopper_pearson(0, 4, 0.95));
        assert_eq!((found[1].tpr_interval.low, found[1].tpr_interval.high), (0.0, 1.0));
    }

    #[test]
    fn non_members_without_a_key_stand_against_every_slice() {
        let mut draw = Draw::new(101, 0);
        let copies = [1u64, 4, 16, 64];
        let members: Vec<(u64, f64)> =
            (0..400).map(|i| (copies[i % 4], draw.normal() + (i % 4) as f64 / 2.0)).collect();
        let non_members: Vec<(Option<u64>, f64)> = (0..200).map(|_| (None, draw.normal())).collect();
        let found = slices(&members, &non_members, 0.05, 0.95).unwrap();
        assert!(found.iter().map(|slice| (slice.key, slice.n)).eq(copies.map(|key| (key, [100, 200]))));
        assert!(found.iter().all(|slice| slice.n_false_positives == 10));
        assert!(found[0].auc.unwrap().interval.low < 0.5 && found[3].auc.unwrap().interval.low > 0.7);
        let trend = slice_trend(&found, |copies| *copies as f64, 0.95).unwrap();
        assert!(trend.slope_low > 0.0 && trend.n == 400, "{trend:?}");
    }

    #[test]
    fn fault_67_slices_that_cannot_be_judged_are_refused() {
        let (member, non_member) = ([((), 1.0)], [(Some(()), 0.0)]);
        assert_eq!(
            slices(&member, &non_member, 0.5, 0.95),
            Err(Refusal::TooFewNonMembers { n: 1, needed: 2 })
        );
        assert_eq!(slices(&[], &non_member, 1.0, 0.95), Err(Refusal::NoMembers));
        assert_eq!(slices(&member, &[], 1.0, 0.95), Err(Refusal::NoNonMembers));
        assert_eq!(slices(&[((), f64::NAN)], &non_member, 1.0, 0.95), Err(Refusal::NotFinite));
        // Of four non-members one may be called so, and two are equal at the top.
        let equal = [3.0, 3.0, 0.0, 0.0].map(|score| (None, score));
        let found = slices(&member, &equal, 0.25, 0.95).unwrap();
        assert_eq!((found[0].n_true_positives, found[0].n_false_positives), (0, 0));
    }

    #[test]
    fn quantiles_part_values_evenly_and_keep_equal_ones_together() {
        let found = quantile_slices(&[7.0, 1.0, 3.0, 5.0, 9.0, 2.0], 3);
        assert_eq!(found, [2, 0, 1, 1, 2, 0]);
        assert_eq!(quantile_slices(&[1.0, 1.0, 1.0, 1.0, 2.0, 2.0], 3), [0, 0, 0, 0, 2, 2]);
        assert_eq!(quantile_slices(&[0.0, -0.0], 2), [0, 0]);
        assert!(quantile_slices(&[], 3).is_empty());
    }
}

//! Whether two things rise together over a few points, such as overfitting and leakage over the snapshots of a training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::interval::{Interval, Method};

/// The most points of which all orders are counted.
const MOST_COUNTED: usize = 12;

/// A correlation of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankCorrelation {
    /// -1 to 1; 1 where both rise together without exception.
    pub rho: f64,
    /// Its interval, by `BonettWright`.
    pub interval: Interval,
    /// Probability of so large a correlation or a larger one where any order is as likely as any other.
    pub p_value: f64,
    /// Whether the p-value counts all orders; else it is that of a t distribution.
    pub is_exact: bool,
    /// Points.
    pub n: u64,
}

/// Whether two values of each point rise together: the correlation of their ranks, equal values having their mean rank (Spearman
/// 1904). To ask whether one falls as the other rises, turn its sign.
///
/// The p-value is one-sided. With up to 12 points it is exact, ties included: the share of all orders of the one that correlate
/// as highly with the other. With more it is the upper tail of t with n - 2 degrees of freedom, and at least 1 / n!. The
/// interval is normal on Fisher's scale with the variance (1 + rho^2 / 2) / (n - 3) (Bonett and Wright 2000). A correlation
/// of 1 or -1 has no such variance: its inner end is that of the next correlation that n points without ties can have.
///
/// `None` with fewer than four points, where a value is not finite, or where all values of one kind are equal.
///
/// # Panics
/// If there are not as many values of one kind as of the other, or the level is not between 0 and 1.
///
/// ```
/// let gaps = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2];
/// let aucs = [0.50, 0.52, 0.51, 0.60, 0.80, 0.95];
/// let correlation = verbatim_membership::spearman(&gaps, &aucs, 0.95).expect("values that differ");
/// assert!((correlation.rho - 33.0 / 35.0).abs() < 1e-12);
/// assert!((correlation.p_value - 6.0 / 720.0).abs() < 1e-12);
/// ```
pub fn spearman(one: &[f64], other: &[f64], level: f64) -> Option<RankCorrelation> {
    assert!(one.len() == other.len(), "{} values and {} others", one.len(), other.len());
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    let n = one.len();
    if n < 4 || one.iter().chain(other).any(|value| !value.is_finite()) {
        return None;
    }
    let ranks = [one, other].map(doubled_ranks);
    // Doubled ranks have n + 1 for their mean, ties or not.
    let middle = n as i64 + 1;
    let product = |a: &[u64], b: &[u64]| -> i64 {
        a.iter().zip(b).map(|(a, b)| (*a as i64 - middle) * (*b as i64 - middle)).sum()
    };
    let spreads = ranks.each_ref().map(|ranks| product(ranks, ranks));
    if spreads.contains(&0) {
        return None;
    }
    let rho = product(&ranks[0], &ranks[1]) as f64 / (spreads[0] as f64 * spreads[1] as f64).sqrt();
    let rho = rho.clamp(-1.0, 1.0);
    let is_exact = n <= MOST_COUNTED;
    let p_value = if is_exact { share_of_orders(&ranks) } else { t_tail(rho, n as f64) };
    Some(RankCorrelation {
        rho,
        interval: bonett_wright(rho, n as f64, level),
        p_value,
        is_exact,
        n: n as u64,
    })
}

/// Twice the mean of the ranks that a value and its equals have.
fn doubled_ranks(values: &[f64]) -> Vec<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        (below + sorted.partition_point(|other| other <= value) + 1) as u64
    };
    values.iter().map(rank).collect()
}

/// The share of the orders of the second ranks whose sum of products with the first is at least that of the order given.
///
/// Points are taken one after the other. What was given to those before is a set, and for each set the ways to each sum are
/// counted: 2^n sets instead of n! orders.
fn share_of_orders([first, second]: &[Vec<u64>; 2]) -> f64 {
    let product = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<u64>() as usize;
    let (mut rising, mut others) = (first.clone(), second.clone());
    rising.sort_unstable();
    others.sort_unstable();
    let n_sums = product(&rising, &others) + 1;
    let mut ways_by_set = BTreeMap::from([(0u32, vec![1u64])]);
    for rank in first {
        let mut next: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (set, ways) in ways_by_set {
            for (at, other) in second.iter().enumerate().filter(|(at, _)| (set >> at) & 1 == 0) {
                let sums = next.entry(set | (1 << at)).or_insert_with(|| vec![0; n_sums]);
                let moved = sums[(rank * other) as usize..].iter_mut();
                moved.zip(&ways).for_each(|(sum, ways)| *sum += ways);
            }
        }
        ways_by_set = next;
    }
    let ways = ways_by_set.into_values().next().unwrap_or_default();
    let seen = product(first, second);
    ways[seen..].iter().sum::<u64>() as f64 / ways.iter().sum::<u64>() as f64
}

fn t_tail(rho: f64, n: f64) -> f64 {
    let least = (2..=n as u64).map(|k| 1.0 / k as f64).product::<f64>();
    let freedom = n - 2.0;
    let t = rho * (freedom / ((1.0 - rho) * (1.0 + rho)).max(f64::MIN_POSITIVE)).sqrt();
    let tail = StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom").sf(t);
    tail.clamp(least, 1.0)
}

fn bonett_wright(rho: f64, n: f64, level: f64) -> Interval {
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let most = 1.0 - 12.0 / (n * n * n - n);
    let inner = rho.clamp(-most, most);
    let half_width = z * ((1.0 + inner * inner / 2.0) / (n - 3.0)).sqrt();
    let end = |sign: f64| (inner.atanh() + sign * half_width).tanh();
    let low = if rho <= -1.0 { -1.0 } else { end(-1.0) };
    let high = if rho >= 1.0 { 1.0 } else { end(1.0) };
    Interval { low, high, level, method: Method::BonettWright }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Draw, order};

    const GAPS: [f64; 8] = [0.1, 0.3, 0.2, 0.5, 0.4, 0.9, 0.7, 1.2];
    const AUCS: [f64; 8] = [0.5, 0.52, 0.52, 0.51, 0.6, 0.58, 0.8, 0.75];

    /// Goldens from scipy 1.17: `spearmanr(x, y).statistic` and `permutation_test((x,), lambda x: spearmanr(x, y).statistic,
    /// permutation_type="pairings", n_resamples=inf, alternative="greater").pvalue`.
    #[test]
    fn correlations_of_few_points_are_those_of_scipy() {
        let turned = AUCS.map(|auc| -auc);
        let cases: [(&[f64], &[f64], [f64; 2]); 4] = [
            (&GAPS, &AUCS, GOLDENS[0]),
            (&GAPS, &turned, GOLDENS[1]),
            (&GAPS[..6], &AUCS[..6], GOLDENS[2]),
            (&GAPS[..5], &[1.0, 2.0, 1.0, 3.0, 3.0], GOLDENS[3]),
        ];
        for (one, other, [rho, p_value]) in cases {
            let found = spearman(one, other, 0.95).unwrap();
            assert!((found.rho - rho).abs() < 1e-12 && (found.p_value - p_value).abs() < 1e-12, "{found:?}");
            assert!(found.is_exact && found.n == one.len() as u64);
        }
    }

    const GOLDENS: [[f64; 2]; 4] = [
        [0.706_599_494_528_822_8, 0.028_918_650_793_650_795],
        [-0.706_599_494_528_822_8, 0.974_057_539_682_539_7],
        [0.521_793_932_087_203_6, 0.15],
        [0.948_683_298_050_513_8, 0.033_333_333_333_333_33],
    ];

    /// Goldens from scipy 1.17: `spearmanr(x, y, alternative="greater")`; the interval by its formula in numpy.
    #[test]
    fn correlations_of_many_points_have_the_tail_of_t() {
        let (one, other): (Vec<f64>, Vec<f64>) =
            (0..20).map(|i| (f64::from(i), f64::from(i * 37 % 23 + i))).unzip();
        let found = spearman(&one, &other, 0.9).unwrap();
        assert!(!found.is_exact && (found.rho - MANY[0]).abs() < 1e-12, "{found:?}");
        assert!((found.p_value / MANY[1] - 1.0).abs() < 1e-8, "{found:?}");
        let Interval { low, high, .. } = found.interval;
        assert!((low - MANY[2]).abs() < 1e-9 && (high - MANY[3]).abs() < 1e-9, "{low} {high}");
    }

    const MANY: [f64; 4] =
        [0.714_285_714_285_714_2, 2.016_262_973_720_612_4e-4, 0.421_032_927_244_94, 0.872_346_150_028_054];

    /// By definition: every order is made, and its correlation compared.
    #[test]
    fn counted_orders_are_all_orders() {
        fn orders(rest: &[u64]) -> Vec<Vec<u64>> {
            if rest.is_empty() {
                return vec![Vec::new()];
            }
            let starting = |at: usize| {
                let others = [&rest[..at], &rest[at + 1..]].concat();
                orders(&others).into_iter().map(move |order| [vec![rest[at]], order].concat())
            };
            (0..rest.len()).flat_map(starting).collect()
        }
        let mut draw = Draw::new(111, 0);
        for n in [4, 5, 6] {
            let ranks =
                [0; 2].map(|_| doubled_ranks(&(0..n).map(|_| draw.index(4) as f64).collect::<Vec<f64>>()));
            let product = |order: &[u64]| ranks[0].iter().zip(order).map(|(a, b)| a * b).sum::<u64>();
            let all = orders(&ranks[1]);
            let n_high = all.iter().filter(|order| product(order) >= product(&ranks[1])).count();
            let share = n_high as f64 / all.len() as f64;
            assert!((share_of_orders(&ranks) - share).abs() < 1e-15, "{ranks:?}");
        }
    }

    #[test]
    fn points_without_exception_have_the_least_p_value_and_an_interval() {
        for (n, orders) in [(6, 720.0), (12, 479_001_600.0)] {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let rising = spearman(&values, &values, 0.95).unwrap();
            assert!(rising.rho == 1.0 && (rising.p_value * orders - 1.0).abs() < 1e-12, "{rising:?}");
            assert!(rising.interval.low > 0.3 && rising.interval.low < 1.0 && rising.interval.high == 1.0);
            let falling =
                spearman(&values, &values.iter().map(|value| -value).collect::<Vec<_>>(), 0.95).unwrap();
            assert_eq!((falling.rho, falling.p_value), (-1.0, 1.0));
            assert!(falling.interval.low == -1.0);
            assert!((falling.interval.high + rising.interval.low).abs() < 1e-12, "{falling:?}");
        }
        let many: Vec<f64> = (0..15).map(f64::from).collect();
        let p_value = spearman(&many, &many, 0.95).unwrap().p_value;
        assert!((p_value * 1_307_674_368_000.0 - 1.0).abs() < 1e-9, "{p_value}");
    }

    /// Where nothing rises with anything, a p-value of at most 5 % comes at most that often.
    #[test]
    fn orders_by_chance_raise_no_more_alarms_than_they_should() {
        let values: Vec<f64> = (0..8).map(f64::from).collect();
        let is_alarm = |run: &u64| {
            let other: Vec<f64> = order(8, *run).into_iter().map(|rank| rank as f64).collect();
            spearman(&values, &other, 0.95).unwrap().p_value <= 0.05
        };
        let n_alarms = (0..2000).filter(is_alarm).count() as u64;
        let share = crate::clopper_pearson(n_alarms, 2000, 0.99);
        assert!(share.low <= 0.05 && share.high > 0.04, "{n_alarms} of 2000");
    }

    #[test]
    fn fault_67_points_that_say_nothing_have_no_correlation() {
        let rising = [1.0, 2.0, 3.0, 4.0];
        assert_eq!([spearman(&[], &[], 0.95), spearman(&rising[..3], &rising[..3], 0.95)], [None; 2]);
        assert_eq!(
            [spearman(&rising, &[1.0; 4], 0.95), spearman(&[0.0, -0.0, 0.0, 0.0], &rising, 0.95)],
            [None; 2]
        );
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!(spearman(&rising, &[1.0, 2.0, 3.0, bad], 0.95), None);
        }
    }
}

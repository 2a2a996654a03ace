//! How much a model is at least not private: lower bounds on the epsilon of differential privacy, from guesses of who is a
//! member.
//!
//! A bound is right with the probability of its level only if what was guessed was settled beforehand. Where several choices of
//! thresholds or of numbers of guesses are looked at and the best is kept, each is held to a level that makes up for
//! their number (Bonferroni).

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

use crate::interval::clopper_pearson;
use crate::roc::Scores;
use crate::ties::{Group, Ties};

/// The guesses of an audit in one training run, where a fair coin of its own puts each canary in or leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guesses {
    /// Canaries, in or out (the paper's m).
    pub n_canaries: u64,
    /// Canaries that were guessed to be in or out; the others were abstained from (r).
    pub n_guesses: u64,
    /// Guesses that are right (v).
    pub n_correct: u64,
}

/// Who is called a member by one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// Members that are called so.
    pub n_true_positives: u64,
    /// Members.
    pub n_members: u64,
    /// Non-members that are called members.
    pub n_false_positives: u64,
    /// Non-members.
    pub n_non_members: u64,
}

/// The best of several lower bounds, each held to a level that makes up for their number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonBound {
    /// Epsilon is at least so much; 0 where nothing is shown.
    pub epsilon: f64,
    /// Which of the choices shows it, the first of equals; `None` where none shows anything.
    pub choice: Option<u64>,
    /// Choices that were looked at.
    pub n_choices: u64,
    /// Confidence level of all of them together.
    pub level: f64,
}

/// The probability of at least so many right guesses, at most, if training is (`epsilon`, `delta`)-private (Steinke, Nasr and
/// Jagielski 2023).
///
/// With q = 1 / (1 + exp(-epsilon)) and B binomial of r and q it is P(B >= v) + 2 m delta max over i of P(v > B >= v - i) / i.
///
/// # Panics
/// If there are more right guesses than guesses or more guesses than canaries, epsilon is negative or not finite, or delta is
/// not in 0 to 1.
pub fn one_run_p_value(guesses: Guesses, epsilon: f64, delta: f64) -> f64 {
    let Guesses { n_canaries, n_guesses, n_correct } = guesses;
    assert!(n_correct <= n_guesses && n_guesses <= n_canaries, "guesses that cannot be: {guesses:?}");
    assert!(epsilon >= 0.0 && epsilon.is_finite(), "an epsilon of {epsilon}");
    check_delta(delta);
    if n_correct == 0 {
        return 1.0;
    }
    let (r, v) = (n_guesses as f64, n_correct as f64);
    let q = 1.0 / (1.0 + (-epsilon).exp());
    let by_epsilon = beta_reg(v, r - v + 1.0, q);
    if delta == 0.0 {
        return by_epsilon.min(1.0);
    }
    // ln P(B = k), from k = v - 1 downwards. In logarithms, for the first may be below the least f64 and the last not.
    let ln_q = 0.0 - (-epsilon).exp().ln_1p();
    let ln_ways = ln_gamma(r + 1.0) - ln_gamma(v) - ln_gamma(r - v + 2.0);
    let mut ln_probability = ln_ways + r * ln_q - (r - v + 1.0) * epsilon;
    let (mut sum, mut largest) = (0.0, 0.0f64);
    for i in 1..=n_correct {
        sum += ln_probability.exp();
        largest = largest.max(sum / i as f64);
        let k = (n_correct - i) as f64;
        ln_probability += k.ln() - (r - k + 1.0).ln() - epsilon;
    }
    (by_epsilon + 2.0 * n_canaries as f64 * delta * largest).min(1.0)
}

/// Epsilon is at least so much, with a confidence of `level`, by the guesses of one training run (Steinke, Nasr and Jagielski
/// 2023): the least whose p-value is not below 1 - `level`. 0 where nothing is shown.
///
/// The number of guesses must be settled before it is known which are right; [`one_run_epsilon_searched`] takes several.
///
/// # Panics
/// If there are more right guesses than guesses or more guesses than canaries, delta is not in 0 to 1, or the level is not
/// between 0 and 1.
pub fn one_run_epsilon(guesses: Guesses, delta: f64, level: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    one_run_bound(guesses, delta, 1.0 - level)
}

/// The best bound of several numbers of guesses, each at a p-value of (1 - `level`) / choices.
///
/// # Panics
/// As [`one_run_epsilon`].
pub fn one_run_epsilon_searched(choices: &[Guesses], delta: f64, level: f64) -> EpsilonBound {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    let p_value = (1.0 - level) / choices.len() as f64;
    best(choices.iter().map(|guesses| one_run_bound(*guesses, delta, p_value)), level)
}

/// The guesses that call the `n_in` canaries with the highest scores in and the `n_out` with the lowest out.
///
/// Canaries with equal scores are all guessed or none, so that there may be fewer guesses.
///
/// # Panics
/// If there are more guesses than canaries.
pub fn one_run_guesses(scores: Scores<'_>, (n_in, n_out): (u64, u64)) -> Guesses {
    let n_canaries = (scores.members().len() + scores.non_members().len()) as u64;
    assert!(n_in.saturating_add(n_out) <= n_canaries, "{n_in} and {n_out} guesses of {n_canaries}");
    let groups = Ties::new(scores).groups();
    let guessed_in = whole_groups(groups.iter().rev(), n_in);
    let guessed_out = whole_groups(groups.iter(), n_out);
    let n_guesses = [guessed_in, guessed_out].iter().map(|group| group.n_members + group.n_non_members).sum();
    Guesses { n_canaries, n_guesses, n_correct: guessed_in.n_members + guessed_out.n_non_members }
}

/// Epsilon is at least so much, with a confidence of `level`, by who one threshold calls a member, of `n_thresholds` that were
/// looked at: the larger of ln((TPR - delta) / FPR) and ln((TNR - delta) / FNR) at the ends of the intervals of Clopper and
/// Pearson (Jagielski et al. 2020; Nasr et al. 2021). 0 where nothing is shown.
///
/// Both rest on the lower end of the TPR and the upper end of the FPR, each of which may fail once in
/// 2 `n_thresholds` / (1 - `level`).
///
/// # Panics
/// If more are called members than there are, delta is not in 0 to 1, no threshold was looked at, or the level is not between
/// 0 and 1.
pub fn rates_epsilon(called: Called, n_thresholds: u64, delta: f64, level: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    assert!(n_thresholds > 0, "no threshold");
    check_delta(delta);
    let each = 1.0 - (1.0 - level) / n_thresholds as f64;
    let tpr = clopper_pearson(called.n_true_positives, called.n_members, each).low;
    let fpr = clopper_pearson(called.n_false_positives, called.n_non_members, each).high;
    let bound = |hit: f64, miss: f64| if hit > delta { ((hit - delta) / miss).ln() } else { 0.0 };
    bound(tpr, fpr).max(bound(1.0 - fpr, 1.0 - tpr)).max(0.0)
}

/// The best bound of several thresholds, at or above which a text is called a member.
///
/// The thresholds should come from other texts. If they are the scores themselves, all of them have to be given; then what is
/// called is not quite binomial, and that the level is kept is known from simulation only (`peer_04` in the tests).
///
/// # Panics
/// If delta is not in 0 to 1 or the level is not between 0 and 1.
pub fn thresholds_epsilon(scores: Scores<'_>, thresholds: &[f64], delta: f64, level: f64) -> EpsilonBound {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    check_delta(delta);
    let sorted = |texts: &[f64]| {
        let mut texts = texts.to_vec();
        texts.sort_unstable_by(f64::total_cmp);
        texts
    };
    let (members, non_members) = (sorted(scores.members()), sorted(scores.non_members()));
    let n_at_or_above = |texts: &[f64], threshold: f64| {
        texts.len() - texts.partition_point(|score| *score < threshold || threshold.is_nan())
    };
    let n_thresholds = thresholds.len() as u64;
    let bounds = thresholds.iter().map(|&threshold| {
        let called = Called {
            n_true_positives: n_at_or_above(&members, threshold) as u64,
            n_members: members.len() as u64,
            n_false_positives: n_at_or_above(&non_members, threshold) as u64,
            n_non_members: non_members.len() as u64,
        };
        rates_epsilon(called, n_thresholds, delta, level)
    });
    best(bounds, level)
}

fn check_delta(delta: f64) {
    assert!((0.0..=1.0).contains(&delta), "a delta of {delta}");
}

fn one_run_bound(guesses: Guesses, delta: f64, p_value: f64) -> f64 {
    let is_rejected = |epsilon| one_run_p_value(guesses, epsilon, delta) < p_value;
    if !is_rejected(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while is_rejected(high) {
        (low, high) = (high, 2.0 * high);
    }
    // Far below what is reported of an epsilon; the lower end is the one that is shown.
    while high - low > 1e-10 * high {
        let middle = f64::midpoint(low, high);
        if is_rejected(middle) { low = middle } else { high = middle }
    }
    low
}

/// The groups from the first on that have at most `n` canaries together.
fn whole_groups<'a>(groups: impl Iterator<Item = &'a Group>, n: u64) -> Group {
    let mut taken = Group::default();
    for group in groups {
        if taken.n_members + taken.n_non_members + group.n_members + group.n_non_members > n {
            break;
        }
        taken.n_members += group.n_members;
        taken.n_non_members += group.n_non_members;
    }
    taken
}

fn best(bounds: impl ExactSizeIterator<Item = f64>, level: f64) -> EpsilonBound {
    let n_choices = bounds.len() as u64;
    let mut found = EpsilonBound { epsilon: 0.0, choice: None, n_choices, level };
    for (choice, epsilon) in bounds.enumerate() {
        if epsilon > found.epsilon {
            found = EpsilonBound { epsilon, choice: Some(choice as u64), ..found };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Draw;

    fn guesses(n_canaries: u64, n_guesses: u64, n_correct: u64) -> Guesses {
        Guesses { n_canaries, n_guesses, n_correct }
    }

    /// Goldens from scipy 1.17: `binom.sf(v - 1, r, q)` and sums of `binom.pmf`, epsilon by bisection at p = 0.05.
    #[test]
    fn one_run_bounds_are_those_of_scipy() {
        for (m, r, v, delta, golden) in [
            (1000, 100, 90, 0.0, 1.630823),
            (1000, 100, 100, 0.0, 3.492965),
            (1000, 100, 90, 1e-5, 1.626143),
            (1000, 1000, 600, 0.0, 0.297468),
            (100, 100, 50, 0.0, 0.0),
            (100_000, 20_000, 14_000, 1e-6, 0.821687),
        ] {
            let epsilon = one_run_epsilon(guesses(m, r, v), delta, 0.95);
            assert!((epsilon - golden).abs() < 1e-6, "{m} {r} {v} {delta}: {epsilon}");
        }
        let p_value = one_run_p_value(guesses(1000, 100, 90), 1.5, 1e-5);
        assert!((p_value - 0.018_764_588_475).abs() < 1e-11, "{p_value}");
        let p_value = one_run_p_value(guesses(500, 40, 37), 2.0, 1e-3);
        assert!((p_value - 0.473_125_671_112).abs() < 1e-11, "{p_value}");
    }

    /// By definition: binomial probabilities from products, and the sum of each i anew.
    #[test]
    fn the_p_value_equals_sums_of_binomial_probabilities() {
        for (r, v) in (0..=12u64).flat_map(|r| (0..=r).map(move |v| (r, v))) {
            for (epsilon, delta) in [(0.0, 0.0), (0.7, 0.0), (0.0, 0.01), (1.3, 0.002)] {
                let q: f64 = 1.0 / (1.0 + f64::exp(-epsilon));
                let probability = |k: u64| {
                    let ways: f64 = (0..k).map(|i| (r - i) as f64 / (i + 1) as f64).product();
                    ways * q.powi(k as i32) * (1.0 - q).powi((r - k) as i32)
                };
                let between = |from: u64, to: u64| (from..to).map(probability).sum::<f64>();
                let largest = (1..=v).map(|i| between(v - i, v) / i as f64).fold(0.0, f64::max);
                let naive = (between(v, r + 1) + 2.0 * 20.0 * delta * largest).min(1.0);
                let found = one_run_p_value(guesses(20, r, v), epsilon, delta);
                assert!((found - naive).abs() < 1e-12, "{r} {v} {epsilon} {delta}: {found} is not {naive}");
            }
        }
    }

    /// Goldens from scipy 1.17: `beta.ppf` for both ends, then the two logarithms.
    #[test]
    fn bounds_from_rates_are_those_of_scipy() {
        for ((tp, fp), n_thresholds, delta, golden) in [
            ((60, 5), 1, 0.0, 1.483_084_976_578),
            ((60, 5), 10, 0.01, 1.127_820_796_166),
            ((100, 50), 1, 0.0, 2.397_738_402_656),
            ((5, 5), 1, 0.0, 0.0),
            ((0, 0), 1, 0.5, 0.0),
        ] {
            let called =
                Called { n_true_positives: tp, n_members: 100, n_false_positives: fp, n_non_members: 100 };
            let epsilon = rates_epsilon(called, n_thresholds, delta, 0.95);
            assert!((epsilon - golden).abs() < 1e-8, "{tp} {fp}: {epsilon}");
        }
        let nobody = Called { n_true_positives: 0, n_members: 0, n_false_positives: 0, n_non_members: 0 };
        assert_eq!(rates_epsilon(nobody, 1, 0.0, 0.95), 0.0);
    }

    /// By hand: scores 9 8 | 5 5 | 1 0, of which 9 and one 5 are members, and so is 0.
    #[test]
    fn guesses_take_equal_scores_whole() {
        let scores = Scores::new(&[9.0, 5.0, 0.0], &[8.0, 5.0, 1.0]).unwrap();
        assert_eq!(one_run_guesses(scores, (1, 0)), guesses(6, 1, 1));
        assert_eq!(one_run_guesses(scores, (3, 0)), guesses(6, 2, 1));
        assert_eq!(one_run_guesses(scores, (4, 2)), guesses(6, 6, 3));
        assert_eq!(one_run_guesses(scores, (0, 2)), guesses(6, 2, 1));
        assert_eq!(one_run_guesses(scores, (0, 0)), guesses(6, 0, 0));
    }

    #[test]
    fn the_best_threshold_is_kept_at_the_level_of_all() {
        let (members, non_members) = ([3.0; 200], [1.0; 200]);
        let scores = Scores::new(&members, &non_members).unwrap();
        let found = thresholds_epsilon(scores, &[0.0, 2.0, 5.0, f64::NAN], 0.0, 0.95);
        let called =
            Called { n_true_positives: 200, n_members: 200, n_false_positives: 0, n_non_members: 200 };
        assert_eq!((found.choice, found.n_choices), (Some(1), 4));
        assert_eq!(found.epsilon, rates_epsilon(called, 4, 0.0, 0.95));
        assert!(found.epsilon < rates_epsilon(called, 1, 0.0, 0.95));
        let nothing = thresholds_epsilon(scores, &[], 0.0, 0.95);
        assert_eq!((nothing.epsilon, nothing.choice), (0.0, None));
        let searched = one_run_epsilon_searched(&[guesses(50, 10, 6), guesses(50, 50, 45)], 0.0, 0.95);
        assert_eq!(searched.choice, Some(1));
        assert_eq!(searched.epsilon, one_run_epsilon(guesses(50, 50, 45), 0.0, 0.975));
    }

    /// Runs without anything to find, of `n` members among `n` others: a row of fair coins, or of shuffled texts.
    fn shuffled(run: u64, n: usize) -> Vec<bool> {
        let mut draw = Draw::new(21, run);
        let mut is_member: Vec<bool> = (0..2 * n).map(|text| text < n).collect();
        (1..2 * n).rev().for_each(|last| is_member.swap(last, draw.index(last + 1)));
        is_member
    }

    /// The upper end of the exact interval for the share of alarms.
    fn highest_share(n_alarms: u64, n_runs: u64) -> f64 {
        clopper_pearson(n_alarms, n_runs, 0.95).high
    }

    /// ml_privacy_meter keeps the best of a grid of numbers of guesses, uncorrected: random guesses then show an epsilon above
    /// zero in half of the runs, at a nominal 5 %.
    #[test]
    fn peer_03_the_best_of_many_numbers_of_guesses_raises_no_more_alarms_than_it_says() {
        const RUNS: u64 = 10_000;
        const CANARIES: usize = 1000;
        let grid: Vec<usize> = (0..=CANARIES).step_by(31).collect();
        let pairs: Vec<(usize, usize)> = grid
            .iter()
            .flat_map(|&top| grid.iter().map(move |&bottom| (top, bottom)))
            .filter(|(top, bottom)| (1..=CANARIES).contains(&(top + bottom)))
            .collect();
        let level_of_each = 1.0 - 0.05 / pairs.len() as f64;
        let mut least = [0.95, level_of_each].map(|level| (level, BTreeMap::new()));
        let mut n_alarms = [0, 0];
        for run in 0..RUNS {
            let mut draw = Draw::new(20, run);
            let is_in: Vec<bool> = (0..CANARIES).map(|_| draw.index(2) == 1).collect();
            // Canaries by falling score: how many are in among the first so many.
            let mut n_in = vec![0; CANARIES + 1];
            (0..CANARIES).for_each(|at| n_in[at + 1] = n_in[at] + u64::from(is_in[at]));
            let n_correct = |&(top, bottom): &(usize, usize)| {
                n_in[top] + bottom as u64 - (n_in[CANARIES] - n_in[CANARIES - bottom])
            };
            for ((level, least), n_alarms) in least.iter_mut().zip(&mut n_alarms) {
                let is_alarm = pairs.iter().any(|pair| {
                    let r = (pair.0 + pair.1) as u64;
                    let shows = |v| one_run_epsilon(guesses(1000, r, v), 0.0, *level) > 0.0;
                    // The least number of right guesses that shows anything, if there is one.
                    let least = least.entry(r).or_insert_with(|| (r / 2..=r).find(|&v| shows(v)));
                    least.is_some_and(|least| n_correct(pair) >= least)
                });
                *n_alarms += u64::from(is_alarm);
            }
            if run < 3 {
                let choices: Vec<Guesses> = pairs
                    .iter()
                    .map(|pair| guesses(1000, (pair.0 + pair.1) as u64, n_correct(pair)))
                    .collect();
                let searched = one_run_epsilon_searched(&choices, 0.0, 0.95);
                assert_eq!(searched.epsilon > 0.0, n_alarms[1] > 0, "run {run}");
            }
        }
        assert!(n_alarms[0] > 3 * RUNS / 10, "uncorrected: {} of {RUNS}", n_alarms[0]);
        assert!(highest_share(n_alarms[1], RUNS) <= 0.06, "{} of {RUNS}", n_alarms[1]);
    }

    /// TensorFlow Privacy keeps the best of all thresholds and of both signs of the score, uncorrected.
    #[test]
    fn peer_04_the_best_of_all_thresholds_raises_no_more_alarms_than_it_says() {
        const RUNS: u64 = 10_000;
        const SIDE: usize = 200;
        let called = |tp: usize, fp: usize| Called {
            n_true_positives: tp as u64,
            n_members: SIDE as u64,
            n_false_positives: fp as u64,
            n_non_members: SIDE as u64,
        };
        let unknown = || vec![None; (SIDE + 1) * (SIDE + 1)];
        let mut shown = [1, 4 * SIDE as u64].map(|n_choices| (n_choices, unknown()));
        let mut n_alarms = [0, 0];
        for run in 0..RUNS {
            let is_member = shuffled(run, SIDE);
            for ((n_choices, shown), n_alarms) in shown.iter_mut().zip(&mut n_alarms) {
                let mut shows = |tp: usize, fp: usize| {
                    *shown[tp * (SIDE + 1) + fp]
                        .get_or_insert_with(|| rates_epsilon(called(tp, fp), *n_choices, 0.0, 0.95) > 0.0)
                };
                let (mut tp, mut is_alarm) = (0, false);
                for (at, &is_member) in is_member.iter().enumerate() {
                    tp += usize::from(is_member);
                    let fp = at + 1 - tp;
                    is_alarm |= shows(tp, fp) || shows(fp, tp);
                }
                *n_alarms += u64::from(is_alarm);
            }
        }
        assert!(n_alarms[0] > 8 * RUNS / 100, "uncorrected: {} of {RUNS}", n_alarms[0]);
        assert!(highest_share(n_alarms[1], RUNS) <= 0.06, "{} of {RUNS}", n_alarms[1]);
    }

    /// `thresholds_epsilon` does for scores what the runs above do for ranks.
    #[test]
    fn all_scores_as_thresholds_are_all_ranks() {
        for run in 0..20 {
            let is_member = shuffled(run, 30);
            let side = |kept: bool| {
                let texts = is_member.iter().enumerate().filter(|(_, is_member)| **is_member == kept);
                texts.map(|(at, _)| -(at as f64) - if kept { 0.0 } else { 40.5 }).collect::<Vec<f64>>()
            };
            let (members, non_members) = (side(true), side(false));
            let thresholds: Vec<f64> = members.iter().chain(&non_members).copied().collect();
            let scores = Scores::new(&members, &non_members).unwrap();
            let found = thresholds_epsilon(scores, &thresholds, 0.0, 0.95);
            let n_above = |texts: &[f64], at: f64| texts.iter().filter(|score| **score >= at).count() as u64;
            let naive = thresholds.iter().map(|&at| {
                let called = Called {
                    n_true_positives: n_above(&members, at),
                    n_members: 30,
                    n_false_positives: n_above(&non_members, at),
                    n_non_members: 30,
                };
                rates_epsilon(called, 60, 0.0, 0.95)
            });
            assert_eq!(found.epsilon, naive.fold(0.0, f64::max), "run {run}");
            assert!(found.epsilon > 0.0, "the sides are far apart");
        }
    }
}

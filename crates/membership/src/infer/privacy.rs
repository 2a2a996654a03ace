//! How much a model is at least not private, from signals of texts of known membership.

use serde::{Deserialize, Serialize};

use crate::epsilon::{Called, rates_epsilon, thresholds_epsilon};
use crate::random::order;
use crate::roc::Scores;

/// A lower bound of the epsilon of differential privacy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedEpsilon {
    /// Epsilon is at least so much, for the delta that was given; 0 where nothing is shown.
    pub epsilon: f64,
    /// The number of the signal that shows it; `None` where none shows anything.
    pub signal: Option<u64>,
    /// Signals that were looked at, each with one threshold.
    pub n_signals: u64,
    /// Members and non-members that the threshold was tried on.
    pub n: [u64; 2],
    /// Confidence level of all signals together.
    pub level: f64,
}

/// Epsilon is at least so much, with a confidence of `level`, by the best of several signals of the same members and
/// non-members, in this order for each (HIGHER means MORE LIKELY A MEMBER).
///
/// The texts are parted by the seed. One half chooses a threshold for each signal, the other tries it: the rates are as of texts
/// that chose nothing, and each is held to a level that makes up for the number of signals ([`rates_epsilon`]; Jagielski et
/// al. 2020). Texts are taken as drawn independently, for there is one training only.
///
/// # Panics
/// If delta is not in 0 to 1 or the level is not between 0 and 1.
pub fn audited_epsilon(
    signals: &[[Vec<Option<f64>>; 2]],
    (delta, level): (f64, f64),
    seed: u64,
) -> AuditedEpsilon {
    let level_of_each = 1.0 - (1.0 - level) / signals.len().max(1) as f64;
    let mut found =
        AuditedEpsilon { epsilon: 0.0, signal: None, n_signals: signals.len() as u64, n: [0, 0], level };
    for (number, [members, non_members]) in (0..).zip(signals) {
        let [(chosen_by, tried_on), (others_chosen_by, others_tried_on)] =
            [(members, 2), (non_members, 3)].map(|(scores, part)| halves(scores, seed.wrapping_add(part)));
        let (Ok(choosing), Ok(trying)) =
            (Scores::new(&chosen_by, &others_chosen_by), Scores::new(&tried_on, &others_tried_on))
        else {
            continue;
        };
        if number == 0 {
            found.n = [tried_on.len() as u64, others_tried_on.len() as u64];
        }
        let Some(threshold) = best_threshold(choosing, level_of_each) else { continue };
        let bound = thresholds_epsilon(trying, &[threshold], delta, level_of_each);
        if bound.epsilon > found.epsilon {
            let n = [tried_on.len() as u64, others_tried_on.len() as u64];
            found = AuditedEpsilon { epsilon: bound.epsilon, signal: Some(number), n, ..found };
        }
    }
    found
}

/// The defined scores of two halves of a set, divided by chance.
fn halves(scores: &[Option<f64>], seed: u64) -> (Vec<f64>, Vec<f64>) {
    let order = order(scores.len(), seed);
    let (first, second) = order.split_at(order.len() / 2);
    let of = |numbers: &[usize]| numbers.iter().filter_map(|number| scores[*number]).collect();
    (of(first), of(second))
}

/// The threshold that shows most, by what one would conclude if it had been settled beforehand; none where none shows anything.
/// Tried are the 1st, 2nd, 4th, ... highest and lowest score of all.
fn best_threshold(scores: Scores<'_>, level: f64) -> Option<f64> {
    let mut all: Vec<f64> = scores.members().iter().chain(scores.non_members()).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let ranks = (0..).map(|power| 1usize << power).take_while(|rank| *rank <= all.len());
    let thresholds = ranks.flat_map(|rank| [all[all.len() - rank], all[rank - 1]]);
    let at_or_above =
        |texts: &[f64], threshold: f64| texts.iter().filter(|score| **score >= threshold).count() as u64;
    let shown = |threshold: f64| {
        let called = Called {
            n_true_positives: at_or_above(scores.members(), threshold),
            n_members: scores.members().len() as u64,
            n_false_positives: at_or_above(scores.non_members(), threshold),
            n_non_members: scores.non_members().len() as u64,
        };
        (threshold, rates_epsilon(called, 1, 0.0, level))
    };
    let best = thresholds.map(shown).reduce(|a, b| if b.1 > a.1 { b } else { a });
    best.filter(|(_, epsilon)| *epsilon > 0.0).map(|(threshold, _)| threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::clopper_pearson;
    use crate::random::Draw;

    fn scores(draw: &mut Draw, n: usize, shift: f64) -> Vec<Option<f64>> {
        (0..n).map(|_| Some(draw.normal() + shift)).collect()
    }

    /// By hand: where all are told apart, the bound of one signal is that of n of n members and 0 of n non-members.
    #[test]
    fn a_signal_that_tells_all_shows_what_the_numbers_can_show() {
        let mut draw = Draw::new(71, 0);
        let clear = [scores(&mut draw, 400, 100.0), scores(&mut draw, 300, 0.0)];
        let nothing = [scores(&mut draw, 400, 0.0), scores(&mut draw, 300, 0.0)];
        let alone = audited_epsilon(std::slice::from_ref(&clear), (0.0, 0.95), 1);
        assert_eq!((alone.signal, alone.n_signals, alone.n), (Some(0), 1, [200, 150]));
        let called =
            Called { n_true_positives: 200, n_members: 200, n_false_positives: 0, n_non_members: 150 };
        // The threshold is one of a few ranks, so that a few may be missed.
        assert!(alone.epsilon > 1.0 && alone.epsilon <= rates_epsilon(called, 1, 0.0, 0.95), "{alone:?}");
        let among = audited_epsilon(&[nothing.clone(), clear], (0.0, 0.95), 1);
        assert!(among.signal == Some(1) && among.epsilon < alone.epsilon, "{among:?}");
        let none = audited_epsilon(&[nothing, [vec![None; 4], vec![]]], (0.0, 0.95), 1);
        assert_eq!((none.epsilon, none.signal), (0.0, None));
        assert_eq!(audited_epsilon(&[], (0.0, 0.95), 1).epsilon, 0.0);
    }

    /// Ten signals of sets without a difference: any bound above 0 is a false alarm.
    #[test]
    fn sets_of_one_kind_raise_no_more_alarms_than_the_level_allows() {
        const RUNS: u64 = 600;
        let is_alarm = |run: &u64| {
            let mut draw = Draw::new(72, *run);
            let signals: Vec<_> = (0..10).map(|_| [(); 2].map(|()| scores(&mut draw, 60, 0.0))).collect();
            audited_epsilon(&signals, (0.0, 0.9), *run).epsilon > 0.0
        };
        let n_alarms = (0..RUNS).filter(is_alarm).count() as u64;
        assert!(clopper_pearson(n_alarms, RUNS, 0.95).low <= 0.1, "{n_alarms} of {RUNS}");
    }
}

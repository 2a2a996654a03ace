//! What the order in which texts are tried gains over an order by chance: how many extractions the first tries find.
//!
//! A text is tried whole or not at all, so that in an order by chance the extracted ones among the first are hypergeometric,
//! however many places a text has.

use std::collections::BTreeMap;

use verbatim_membership::roc::{Scores, auc};
use verbatim_membership::{Hypergeometric, Interval};

use crate::audit::Audited;
use crate::target::Role;

/// The shares of all texts, in percent, that are looked at as budgets.
const BUDGETS: [u64; 5] = [1, 5, 10, 25, 50];
/// Points of the curve.
const CURVE_POINTS: u64 = 100;

/// What became of one text that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// Places in it at which the model was asked to go on, and did.
    pub n_queries: u64,
    /// Whether greedy decoding spells the suffix of one of them.
    pub is_extracted: bool,
}

/// What the first tries of an order find, beside as many by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FirstTries {
    /// Texts that are tried.
    pub n_tried: u64,
    /// Places that the model is asked for in them.
    pub n_queries: u64,
    /// Texts that are extracted.
    pub n_found: u64,
    /// How many are in an order by chance, on average.
    pub expected: f64,
    /// How few and how many are in an order by chance, at the level.
    pub chance: (u64, u64),
    /// The probability that an order by chance finds at least as many.
    pub p_value: f64,
}

/// The area under the curve of the share of extractions by the share of texts tried: 0.5 on average by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// The area.
    pub value: f64,
    /// That of an order which has all extractions first.
    pub best: f64,
    /// Its interval, for other texts of which as large a share is extracted.
    pub interval: Interval,
}

/// Whether an order finds extractions earlier than chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// It does: orders by chance hardly ever do so well at any of the budgets.
    Shown,
    /// Nothing of the kind is shown.
    NotShown,
    /// So few texts are extracted, or all but so few, that not even the best order could be told from chance.
    Inconclusive,
}

/// What an order gains over an order by chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// At some budgets, rising.
    pub budgets: Vec<FirstTries>,
    /// The smallest p-value of these, times their number (Bonferroni); 1 without texts.
    pub p_value: f64,
    /// What that says.
    pub conclusion: Conclusion,
    /// The area under the curve; none where no text is extracted or all are.
    pub area: Option<Area>,
    /// The curve, from the first texts to all.
    pub curve: Vec<FirstTries>,
}

impl Audited {
    /// What became of chosen texts, in the order of their numbers in `order`. Those without a place, or for whose places the
    /// model's numbers are not finite, are left out.
    pub fn tries(&self, order: &[u64]) -> Vec<Try> {
        let mut by_text = BTreeMap::<u64, Try>::new();
        for (number, target) in self.of_role(Role::Chosen) {
            let Some(base) = self.base(number) else { continue };
            let of_text = by_text.entry(target.text).or_insert(Try { n_queries: 0, is_extracted: false });
            of_text.n_queries += 1;
            of_text.is_extracted |= base.is_greedy;
        }
        order.iter().filter_map(|text| by_text.get(text).copied()).collect()
    }
}

/// What the order of some tries gains over an order by chance.
///
/// # Panics
/// If the level is not between 0 and 1.
pub fn gain(tries: &[Try], level: f64) -> Gain {
    let n = tries.len() as u64;
    let mut sums = vec![(0, 0)];
    for one in tries {
        let (n_queries, n_found) = sums[sums.len() - 1];
        sums.push((n_queries + one.n_queries, n_found + u64::from(one.is_extracted)));
    }
    let n_extracted = sums[tries.len()].1;
    let first = |n_tried: u64| {
        let (n_queries, n_found) = sums[n_tried as usize];
        let by_chance = Hypergeometric::new(n, n_extracted, n_tried);
        FirstTries {
            n_tried,
            n_queries,
            n_found,
            expected: by_chance.mean(),
            chance: by_chance.interval(level),
            p_value: by_chance.at_least(n_found),
        }
    };
    let budgets: Vec<FirstTries> =
        rising(BUDGETS.iter().map(|percent| (n * percent).div_ceil(100))).map(first).collect();
    let smallest = |p_value: &dyn Fn(&FirstTries) -> f64| {
        let smallest = budgets.iter().map(p_value).fold(1.0, f64::min);
        (smallest * budgets.len().max(1) as f64).min(1.0)
    };
    let p_value = smallest(&|first| first.p_value);
    let at_best = smallest(&|first| {
        let by_chance = Hypergeometric::new(n, n_extracted, first.n_tried);
        by_chance.at_least(by_chance.most())
    });
    let conclusion = match 1.0 - level {
        error if at_best > error => Conclusion::Inconclusive,
        error if p_value > error => Conclusion::NotShown,
        _ => Conclusion::Shown,
    };
    let curve =
        rising((1..=CURVE_POINTS).map(|point| (n * point).div_ceil(CURVE_POINTS))).map(first).collect();
    Gain { budgets, p_value, conclusion, area: area(tries, level), curve }
}

/// Of numbers that do not fall, each once and no 0.
fn rising(numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut last = 0;
    numbers.filter(move |number| std::mem::replace(&mut last, *number) < *number)
}

/// With trapezes under the curve the area is 1/2 + (A - 1/2) (1 - K / n), where A is how often an extracted text, of K, is
/// tried before another of the n: an AUC.
fn area(tries: &[Try], level: f64) -> Option<Area> {
    let (mut extracted, mut others) = (Vec::new(), Vec::new());
    for (place, one) in tries.iter().enumerate() {
        if one.is_extracted { &mut extracted } else { &mut others }.push(0.0 - place as f64);
    }
    let found = auc(Scores::new(&extracted, &others).ok()?, level);
    let room = 1.0 - extracted.len() as f64 / tries.len() as f64;
    let scaled = |auc: f64| 0.5 + (auc - 0.5) * room;
    let interval =
        Interval { low: scaled(found.interval.low), high: scaled(found.interval.high), ..found.interval };
    Some(Area { value: scaled(found.auc), best: scaled(1.0), interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: f64 = 0.95;

    /// One query a text; those at these places are extracted.
    fn tries(n: usize, extracted: &[usize]) -> Vec<Try> {
        (0..n).map(|place| Try { n_queries: 1, is_extracted: extracted.contains(&place) }).collect()
    }

    /// Every way in which 3 of 12 texts can be the extracted ones, which an order by chance makes equally likely.
    fn all_orders() -> Vec<Vec<Try>> {
        let places = (0..12).flat_map(|a| (0..a).flat_map(move |b| (0..b).map(move |c| [a, b, c])));
        places.map(|places| tries(12, &places)).collect()
    }

    fn n_found(tries: &[Try], n_tried: u64) -> u64 {
        tries[..n_tried as usize].iter().filter(|one| one.is_extracted).count() as u64
    }

    #[test]
    fn what_chance_finds_is_what_all_orders_find_counted_out() {
        let orders = all_orders();
        assert_eq!(orders.len(), 220);
        let share = |is_wanted: &dyn Fn(&[Try]) -> bool| {
            orders.iter().filter(|order| is_wanted(order)).count() as f64 / 220.0
        };
        for order in &orders {
            let gain = gain(order, LEVEL);
            let budgets: Vec<u64> = gain.budgets.iter().map(|first| first.n_tried).collect();
            assert_eq!((budgets, gain.curve.len()), (vec![1, 2, 3, 6], 12));
            for first in gain.budgets.iter().chain(&gain.curve) {
                let found = |order: &[Try]| n_found(order, first.n_tried);
                assert_eq!((first.n_queries, first.n_found), (first.n_tried, found(order)));
                let p_value = share(&|other| found(other) >= first.n_found);
                assert!((first.p_value - p_value).abs() < 1e-12, "{first:?}");
                let mean = orders.iter().map(|order| found(order) as f64).sum::<f64>() / 220.0;
                assert!((first.expected - mean).abs() < 1e-12, "{first:?}");
                let (low, high) = first.chance;
                assert!(
                    share(&|other| found(other) < low) <= 0.025
                        && share(&|other| found(other) > high) <= 0.025
                );
            }
            let smallest = gain.budgets.iter().map(|first| first.p_value).fold(1.0, f64::min);
            assert_eq!(gain.p_value, (4.0 * smallest).min(1.0));
        }
        // All three among the first three: 1 order of 220, four times.
        let is_shown = |order: &[Try]| gain(order, LEVEL).conclusion == Conclusion::Shown;
        assert_eq!(share(&is_shown), 1.0 / 220.0);
    }

    #[test]
    fn the_area_is_that_under_the_curve_and_one_half_on_average() {
        let mut sum = 0.0;
        for order in all_orders() {
            let area = gain(&order, LEVEL).area.unwrap();
            let share = |n_tried: u64| n_found(&order, n_tried) as f64 / 3.0;
            let naive: f64 = (0..12).map(|i| f64::midpoint(share(i), share(i + 1)) / 12.0).sum();
            assert!((area.value - naive).abs() < 1e-12, "{area:?} {naive}");
            assert!(area.interval.low <= area.value && area.value <= area.interval.high);
            assert!(area.value <= area.best + 1e-12 && area.best == 0.875, "1 - 3 / 24: {area:?}");
            sum += area.value;
        }
        assert!((sum / 220.0 - 0.5).abs() < 1e-12);
    }

    /// Goldens from scipy: `hypergeom(598, 33, q)`, its `mean()`, `ppf(.025)`, `ppf(.975)` and `sf(k - 1)`.
    #[test]
    fn budgets_equal_scipy() {
        let early: Vec<usize> = (0..29).chain([40, 41, 50, 59]).collect();
        let found = gain(&tries(598, &early), LEVEL);
        let goldens = [
            (6, 6, 0.331_103_678_929_765_9, (0, 2), 1.788_228_520_039_480_3e-8),
            (30, 29, 1.655_518_394_648_829_4, (0, 4), 6.426_204_062_028_897e-44),
            (60, 33, 3.311_036_789_297_659, (0, 7), 4.391_896_742_279_868_5e-38),
            (150, 33, 8.277_591_973_244_148, (4, 13), 8.271_225_112_769_337e-22),
            (299, 33, 16.5, (11, 22), 4.573_954_965_714_478e-11),
        ];
        assert_eq!(found.budgets.len(), goldens.len());
        for (first, (n_tried, n_found, mean, chance, p_value)) in found.budgets.iter().zip(goldens) {
            assert_eq!((first.n_tried, first.n_found, first.chance), (n_tried, n_found, chance));
            assert!(
                (first.expected / mean - 1.0).abs() < 1e-12 && (first.p_value / p_value - 1.0).abs() < 1e-9
            );
        }
        assert_eq!((found.conclusion, found.curve.len()), (Conclusion::Shown, 100));
    }

    #[test]
    fn too_few_extractions_to_tell_an_order_from_chance_are_inconclusive() {
        let conclusion = |n: usize, extracted: &[usize]| gain(&tries(n, extracted), LEVEL).conclusion;
        // One of 598 is the first of six by chance in 1 of 100 orders, five times.
        for (n, extracted) in [(598, &[0][..]), (598, &[]), (12, &[3, 4]), (1, &[0]), (0, &[])] {
            assert_eq!(conclusion(n, extracted), Conclusion::Inconclusive, "{n} {extracted:?}");
        }
        let all: Vec<usize> = (0..40).collect();
        assert_eq!(conclusion(40, &all), Conclusion::Inconclusive);
        assert_eq!(conclusion(598, &[0, 1]), Conclusion::Shown);
        assert_eq!(conclusion(598, &[300, 301]), Conclusion::NotShown);
        let none = gain(&[], LEVEL);
        assert_eq!((none.p_value, none.area, none.budgets.len(), none.curve.len()), (1.0, None, 0, 0));
    }
}

//! Similarities and thresholds as exact fractions, so that no rounding decides what is removed.

use serde::{Deserialize, Serialize};

/// How alike two sets of shingles are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Shingles in both documents, of those in either.
    #[default]
    Jaccard,
    /// Shingles in both documents, of those in the one that goes (Broder 1997). A document that is a part of another
    /// is contained in it however long the other is.
    Containment,
}

impl Measure {
    /// The similarity of a document to one that would be kept for it, from the sizes of the two sets and of what they
    /// share.
    pub(crate) fn of(self, copy: usize, kept: usize, shared: usize) -> Similarity {
        let whole = match self {
            Measure::Jaccard => copy + kept - shared,
            Measure::Containment => copy,
        };
        Similarity { shared: shared as u64, whole: whole as u64 }
    }
}

/// An exact similarity of two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Similarity {
    /// Shingles in both documents.
    pub(crate) shared: u64,
    /// Shingles that could have been shared, as the measure has it; at least 1.
    pub(crate) whole: u64,
}

impl Similarity {
    /// Equal texts.
    pub(crate) const EQUAL: Similarity = Similarity { shared: 1, whole: 1 };

    /// The similarity for a report, cut (not rounded up) after nine decimals.
    pub(crate) fn value(self) -> f64 {
        let billionths = u128::from(self.shared) * 1_000_000_000 / u128::from(self.whole);
        billionths as f64 / 1e9
    }
}

/// A similarity threshold: the decimal fraction that a person wrote, not the binary one next to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold {
    numerator: u128,
    denominator: u128,
}

impl Threshold {
    /// Least threshold that is accepted: below it nearly every pair is a candidate.
    const MIN: f64 = 0.01;
    const MAX_DECIMALS: u32 = 18;

    /// The shortest decimal fraction that reads as `threshold`; `None` outside 0.01 to 1.
    pub(crate) fn new(threshold: f64) -> Option<Self> {
        if !(Self::MIN..=1.0).contains(&threshold) {
            return None;
        }
        // Display writes the shortest decimal that reads back as the same number, and never an exponent.
        let text = threshold.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let n_decimals = u32::try_from(decimals.len()).ok().filter(|&n| n <= Self::MAX_DECIMALS)?;
        let numerator = format!("{whole}{decimals}").parse().ok()?;
        Some(Threshold { numerator, denominator: 10u128.pow(n_decimals) })
    }

    /// The fewest of `n` shingles that are at least the threshold's share of them.
    pub(crate) fn least_of(self, n: usize) -> usize {
        (self.numerator * n as u128).div_ceil(self.denominator) as usize
    }

    /// True if the similarity is at least the threshold.
    pub(crate) fn reached_by(self, similarity: Similarity) -> bool {
        u128::from(similarity.shared) * self.denominator >= self.numerator * u128::from(similarity.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_the_decimals_that_were_written() {
        assert_eq!(Threshold::new(0.8), Some(Threshold { numerator: 8, denominator: 10 }));
        assert_eq!(Threshold::new(1.0), Some(Threshold { numerator: 1, denominator: 1 }));
        for bad in [0.0, -0.5, 1.000001, f64::NAN, f64::INFINITY, 1e-30] {
            assert_eq!(Threshold::new(bad), None);
        }
    }

    #[test]
    fn the_fewest_shingles_reach_the_threshold_and_one_less_does_not() {
        for t in [0.01, 0.07, 0.5, 0.8, 0.95, 1.0] {
            let threshold = Threshold::new(t).unwrap();
            for n in 1..300 {
                let least = threshold.least_of(n) as u64;
                assert!(threshold.reached_by(Similarity { shared: least, whole: n as u64 }));
                assert!(!threshold.reached_by(Similarity { shared: least - 1, whole: n as u64 }));
            }
        }
    }

    #[test]
    fn measures_are_what_they_say() {
        assert_eq!(Measure::Jaccard.of(4, 10, 3), Similarity { shared: 3, whole: 11 });
        assert_eq!(Measure::Containment.of(4, 10, 3), Similarity { shared: 3, whole: 4 });
    }

    #[test]
    fn a_pair_at_the_threshold_reaches_it_and_one_just_below_does_not() {
        let threshold = |t| Threshold::new(t).unwrap();
        for (t, shared, whole) in
            [(0.8, 4, 5), (0.7, 7, 10), (0.3, 3, 10), (0.1, 1 << 40, 10 << 40), (0.07, 7, 100)]
        {
            assert!(threshold(t).reached_by(Similarity { shared, whole }));
            assert!(!threshold(t).reached_by(Similarity { shared: shared - 1, whole }));
            assert!(!threshold(t).reached_by(Similarity { shared, whole: whole + 1 }));
        }
        // As binary fractions these two are the same number.
        let near = Similarity { shared: (1 << 62) - 1, whole: 1 << 62 };
        assert_eq!(near.shared as f64 / near.whole as f64, 1.0);
        assert!(!threshold(1.0).reached_by(near));
    }

    #[test]
    fn reported_similarities_never_round_up() {
        assert_eq!(Similarity { shared: 4, whole: 5 }.value(), 0.8);
        assert_eq!(Similarity { shared: 2, whole: 3 }.value(), 0.666666666);
        assert!(Similarity { shared: u64::MAX - 1, whole: u64::MAX }.value() < 1.0);
    }
}

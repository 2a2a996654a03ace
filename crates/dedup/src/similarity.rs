//! Jaccard similarities and thresholds as exact fractions, so that no rounding decides what is removed.

/// An exact Jaccard similarity of two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Similarity {
    /// Shingles in both documents.
    pub(crate) shared: u64,
    /// Shingles in either document; at least 1.
    pub(crate) union: u64,
}

impl Similarity {
    /// Equal texts.
    pub(crate) const EQUAL: Similarity = Similarity { shared: 1, union: 1 };

    /// The similarity for a report, cut (not rounded up) after nine decimals.
    pub(crate) fn value(self) -> f64 {
        let billionths = u128::from(self.shared) * 1_000_000_000 / u128::from(self.union);
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

    /// True if the similarity is at least the threshold.
    pub(crate) fn reached_by(self, similarity: Similarity) -> bool {
        u128::from(similarity.shared) * self.denominator >= self.numerator * u128::from(similarity.union)
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
    fn a_pair_at_the_threshold_reaches_it_and_one_just_below_does_not() {
        let threshold = |t| Threshold::new(t).unwrap();
        for (t, shared, union) in
            [(0.8, 4, 5), (0.7, 7, 10), (0.3, 3, 10), (0.1, 1 << 40, 10 << 40), (0.07, 7, 100)]
        {
            assert!(threshold(t).reached_by(Similarity { shared, union }));
            assert!(!threshold(t).reached_by(Similarity { shared: shared - 1, union }));
            assert!(!threshold(t).reached_by(Similarity { shared, union: union + 1 }));
        }
        // As binary fractions these two are the same number.
        let near = Similarity { shared: (1 << 62) - 1, union: 1 << 62 };
        assert_eq!(near.shared as f64 / near.union as f64, 1.0);
        assert!(!threshold(1.0).reached_by(near));
    }

    #[test]
    fn reported_similarities_never_round_up() {
        assert_eq!(Similarity { shared: 4, union: 5 }.value(), 0.8);
        assert_eq!(Similarity { shared: 2, union: 3 }.value(), 0.666666666);
        assert!(Similarity { shared: u64::MAX - 1, union: u64::MAX }.value() < 1.0);
    }
}

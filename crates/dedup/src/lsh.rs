//! How many bands of how many rows find a pair of a given similarity, and which choice costs least.
//!
//! Banding: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.

use serde::{Deserialize, Serialize};

/// The longest signature that is chosen, in permutations.
const MAX_CHOSEN: usize = 4096;

/// The longest signature that is accepted; Lee et al. 2021 have 9000.
pub(crate) const MAX_PERMUTATIONS: usize = 1 << 14;

/// What one unit of candidate probability, integrated over the similarities below the threshold, costs in
/// permutations. Real text is full of pairs at similarities of 0.5 to 0.8; each that becomes a candidate has to be
/// cut into shingles again to be refused.
const CANDIDATE_COST: f64 = 2000.0;

/// Bands and rows for a threshold and a recall.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BandChoice {
    /// Bands; two documents are compared if any band is equal.
    pub bands: usize,
    /// Values in a band, all of which must be equal.
    pub rows: usize,
    /// The probability that a pair of exactly the threshold's similarity is compared.
    pub predicted_recall: f64,
    /// Work in permutations of one shingle: the signature's, and that for candidates below the threshold.
    pub cost: f64,
}

/// The probability that two documents of a similarity are compared: 1 - (1 - s^rows)^bands.
///
/// ```
/// // Pairs of similarity 0.8 with the much-used 14 bands of 8 rows.
/// let found = verbatim_dedup::candidate_probability(0.8, 14, 8);
/// assert!((found - 0.924).abs() < 5e-4);
/// ```
pub fn candidate_probability(similarity: f64, bands: usize, rows: usize) -> f64 {
    // ln_1p and exp_m1 keep the digits of probabilities close to 0 and 1.
    let missed_by_all = bands as f64 * (-similarity.powf(rows as f64)).ln_1p();
    -missed_by_all.exp_m1()
}

/// The cheapest bands and rows that find a pair at the threshold with at least the given probability.
///
/// # Panics
/// If `threshold` is not above 0 and at most 1, or `recall` not between 0 and 1.
pub fn choose_bands(threshold: f64, recall: f64) -> BandChoice {
    assert!(threshold > 0.0 && threshold <= 1.0, "a threshold of {threshold}");
    assert!(recall > 0.0 && recall < 1.0, "a recall of {recall}");
    let mut best: Option<BandChoice> = None;
    for rows in 1.. {
        let bands = fewest_bands(threshold, recall, rows);
        let cost = cost(threshold, bands, rows);
        if best.is_none_or(|best| cost < best.cost) {
            let predicted_recall = candidate_probability(threshold, bands, rows);
            best = Some(BandChoice { bands, rows, predicted_recall, cost });
        }
        // Each further row needs at least as many bands, so the signature only grows.
        if bands.saturating_mul(rows + 1) > MAX_CHOSEN {
            break;
        }
    }
    best.expect("one row is always tried")
}

fn fewest_bands(threshold: f64, recall: f64, rows: usize) -> usize {
    let band_misses = (-threshold.powf(rows as f64)).ln_1p();
    let mut bands = ((-recall).ln_1p() / band_misses).ceil().max(1.0) as usize;
    // The quotient may be off by a rounding; the promise is kept by asking the formula that is printed.
    while candidate_probability(threshold, bands, rows) < recall && bands < usize::MAX / 2 {
        bands += 1;
    }
    bands
}

pub(crate) fn cost(threshold: f64, bands: usize, rows: usize) -> f64 {
    const STEPS: usize = 1000;
    let width = threshold / STEPS as f64;
    let below: f64 =
        (0..STEPS).map(|i| candidate_probability((i as f64 + 0.5) * width, bands, rows) * width).sum();
    (bands * rows) as f64 + CANDIDATE_COST * below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_s_curve_equals_published_values() {
        // dedup-methods reference, section 2.1: bands, rows, and P at s = .5 .6 .7 .75 .8 .85 .9, three decimals.
        let golden = [
            (14, 8, [0.053, 0.211, 0.565, 0.772, 0.924, 0.988, 1.000]),
            (450, 20, [0.000, 0.016, 0.302, 0.761, 0.995, 1.0, 1.0]),
            (26, 11, [0.013, 0.090, 0.405, 0.674, 0.903, 0.991, 1.000]),
            (20, 13, [0.002, 0.026, 0.177, 0.382, 0.677, 0.924, 0.997]),
            (93, 15, [0.003, 0.043, 0.358, 0.714, 0.964, 1.0, 1.0]),
            (9, 13, [0.001, 0.012, 0.084, 0.195, 0.399, 0.686, 0.929]),
            (8, 16, [0.000, 0.002, 0.026, 0.077, 0.204, 0.461, 0.806]),
            (50, 4, [0.960, 0.999, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ];
        for (bands, rows, expected) in golden {
            for (similarity, expected) in [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9].into_iter().zip(expected) {
                let found = candidate_probability(similarity, bands, rows);
                assert!((found - expected).abs() < 6e-4, "{bands}x{rows} at {similarity}: {found}");
            }
        }
        assert_eq!(candidate_probability(1.0, 3, 5), 1.0);
        assert_eq!(candidate_probability(0.0, 3, 5), 0.0);
    }

    #[test]
    fn peer_duplodocus_nemo_more_bands_find_more_and_more_rows_fewer() {
        // Two manuals have it the other way round: more bands for a stricter search.
        for similarity in [0.3, 0.5, 0.8, 0.9] {
            let found = |bands, rows| candidate_probability(similarity, bands, rows);
            assert!(found(30, 8) > found(20, 8) && found(20, 9) < found(20, 8), "{similarity}");
        }
    }

    #[test]
    fn the_choice_keeps_the_promise_with_no_band_to_spare() {
        for threshold in [0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0] {
            for recall in [0.5, 0.9, 0.99, 0.999] {
                let BandChoice { bands, rows, predicted_recall, .. } = choose_bands(threshold, recall);
                assert!(predicted_recall >= recall, "{threshold} {recall}");
                assert_eq!(predicted_recall, candidate_probability(threshold, bands, rows));
                assert!(bands == 1 || candidate_probability(threshold, bands - 1, rows) < recall);
                assert!(bands * rows <= MAX_CHOSEN);
            }
        }
    }

    #[test]
    fn the_choice_is_the_cheapest_of_all() {
        for (threshold, recall) in [(0.5, 0.9), (0.8, 0.99), (0.9, 0.999)] {
            let choice = choose_bands(threshold, recall);
            for rows in 1..40 {
                for bands in 1..=MAX_CHOSEN / rows / 8 {
                    if candidate_probability(threshold, bands, rows) >= recall {
                        assert!(cost(threshold, bands, rows) >= choice.cost, "{bands}x{rows}");
                        break;
                    }
                }
            }
        }
    }
}

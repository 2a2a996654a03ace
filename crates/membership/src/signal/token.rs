//! Signals from one pass over a text beyond its loss: which tokens are the most and the least likely, and how sure the model was.

use std::collections::BTreeSet;

use verbatim_lm::TokenRecord;

use super::{finite, mean, mean_of_lowest, share_of};

/// The cap of [`dc_pdd`] in the paper's experiments (Zhang et al. 2024).
pub const DC_PDD_CAP: f64 = 0.01;

/// The entropy below which [`surp`] takes the model to be sure, in nats (Zhang and Wu 2024).
pub const SURP_ENTROPY_NATS: f64 = 2.0;

/// K-max: the mean of the highest `fraction` of the log-probabilities (a feature of Maini et al. 2024; 0.05 to 0.6).
///
/// Of `n` tokens it takes floor(n * fraction), but always at least one.
///
/// # Panics
/// If the fraction is not above 0 and at most 1.
pub fn k_max(records: &[TokenRecord], fraction: f64) -> Option<f64> {
    mean_of_lowest(records.iter().map(|record| -f64::from(record.log_prob)).collect(), fraction)
        .map(|mean| 0.0 - mean)
}

/// SURP: the mean log-probability of the tokens that surprise a model which is sure, those of the lowest `fraction` where the
/// entropy is below `entropy_nats` (Zhang and Wu 2024; 0.4 and [`SURP_ENTROPY_NATS`]).
///
/// Tokens as likely as the last of the lowest are taken as well. Where no token surprises, the signal is 0, which no mean of
/// log-probabilities exceeds: such a text is the most like a member. The authors' code has -100, the least like one.
///
/// # Panics
/// If the fraction is not above 0 and at most 1.
pub fn surp(records: &[TokenRecord], fraction: f64, entropy_nats: f64) -> Option<f64> {
    let n_lowest = share_of(records.len(), fraction);
    if records.is_empty() || records.iter().any(|r| !r.log_prob.is_finite() || !r.entropy.is_finite()) {
        return None;
    }
    let mut log_probs: Vec<f32> = records.iter().map(|record| record.log_prob).collect();
    log_probs.sort_by(f32::total_cmp);
    let highest = log_probs[n_lowest - 1];
    let surprises =
        |record: &&TokenRecord| record.log_prob <= highest && f64::from(record.entropy) < entropy_nats;
    let surprising: Vec<f64> =
        records.iter().filter(surprises).map(|record| f64::from(record.log_prob)).collect();
    if surprising.is_empty() { Some(0.0) } else { mean(surprising.into_iter()) }
}

/// DC-PDD: the mean over the first occurrence of each token of min(`cap`, -p ln f), where p is the token's probability and f its
/// frequency in a corpus (Zhang et al. 2024; [`DC_PDD_CAP`]).
///
/// `ln_frequency` gives ln f of a token; of a smoothed frequency, for that of a token which was never seen is not finite.
/// `None` where one that is needed is above 0 or not finite.
pub fn dc_pdd(records: &[TokenRecord], ln_frequency: impl Fn(u32) -> f64, cap: f64) -> Option<f64> {
    if records.iter().any(|record| !record.log_prob.is_finite()) {
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for record in records.iter().filter(|record| seen.insert(record.token)) {
        let ln_frequency = finite(ln_frequency(record.token)).filter(|value| *value <= 0.0)?;
        values.push((0.0 - f64::from(record.log_prob).exp() * ln_frequency).min(cap));
    }
    mean(values.into_iter())
}

/// Accuracy: the share of the tokens that are the model's first choice, 0 to 1, which whoever sees nothing but its choices can
/// count (after the label-only attack of Yeom et al. 2018, who ask whether a label is right).
pub fn accuracy_signal(records: &[TokenRecord]) -> Option<f64> {
    mean(records.iter().map(|record| f64::from(u8::from(record.rank == 0))))
}

/// Rank: the opposite of the tokens' mean rank, 1 for the model's first choice (Gehrmann et al. 2019, test 2).
pub fn rank_signal(records: &[TokenRecord]) -> Option<f64> {
    mean(records.iter().map(|record| f64::from(record.rank) + 1.0)).map(|mean| 0.0 - mean)
}

/// Log-rank: the opposite of the mean of the natural logarithm of the tokens' ranks, 1 for the model's first choice.
pub fn log_rank_signal(records: &[TokenRecord]) -> Option<f64> {
    mean(records.iter().map(|record| f64::from(record.rank).ln_1p())).map(|mean| 0.0 - mean)
}

/// Entropy: the opposite of the mean entropy of the model's distributions, in nats (Gehrmann et al. 2019, test 3).
pub fn entropy_signal(records: &[TokenRecord]) -> Option<f64> {
    mean(records.iter().map(|record| f64::from(record.entropy))).map(|mean| 0.0 - mean)
}

/// Polarized distance: the mean of the highest `far` of the log-probabilities less that of the lowest `near` (Ye et al. 2024;
/// 0.05 and 0.3). No signal by itself: [`pac`] compares it.
///
/// # Panics
/// If a fraction is not above 0 and at most 1.
pub fn polarized_distance(records: &[TokenRecord], far: f64, near: f64) -> Option<f64> {
    let lowest = mean_of_lowest(records.iter().map(|record| f64::from(record.log_prob)).collect(), near)?;
    finite(k_max(records, far)? - lowest)
}

/// PAC: how far the mean polarized distance of variants of a text, its words swapped at random, is above that of the text (Ye et
/// al. 2024; five variants).
///
/// Swaps make the unlikely tokens of a text that was seen much less likely, those of another little. `None` without variants.
pub fn pac(distance: f64, variant_distances: &[f64]) -> Option<f64> {
    finite(mean(variant_distances.iter().copied())? - distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of six tokens: probability, entropy, rank, token.
    fn records() -> Vec<TokenRecord> {
        [
            (0.5, 1.0, 0, 7),
            (0.25, 3.0, 1, 8),
            (0.125, 1.0, 3, 7),
            (0.5, 0.5, 0, 9),
            (0.0625, 2.5, 9, 8),
            (1.0, 0.0, 0, 10),
        ]
        .map(|(p, entropy, rank, token): (f64, f32, u32, u32)| TokenRecord {
            token,
            log_prob: p.ln() as f32,
            mean_log_prob: -entropy,
            std_log_prob: 1.0,
            entropy,
            rank,
        })
        .to_vec()
    }

    fn assert_near(value: Option<f64>, golden: f64) {
        assert!((value.unwrap() - golden).abs() < 1e-7, "{value:?} is not {golden}");
    }

    const LN_2: f64 = std::f64::consts::LN_2;

    /// By hand: in units of -ln 2 the losses are 1 2 3 1 4 0.
    #[test]
    fn signals_of_tokens_are_those_worked_out_by_hand() {
        let records = records();
        assert_near(k_max(&records, 0.5), -2.0 / 3.0 * LN_2);
        assert_near(k_max(&records, 0.01), 0.0);
        // The lowest third are 4 and 3, of which the model was sure of the 3.
        assert_near(surp(&records, 0.34, 2.0), -3.0 * LN_2);
        // Four lowest reach the two losses of 1, both of which count.
        assert_near(surp(&records, 0.67, 2.0), -5.0 / 3.0 * LN_2);
        assert_near(accuracy_signal(&records), 0.5);
        assert_near(rank_signal(&records), -19.0 / 6.0);
        assert_near(log_rank_signal(&records), -(2f64.ln() + 4f64.ln() + 10f64.ln()) / 6.0);
        assert_near(entropy_signal(&records), -8.0 / 6.0);
        // The highest one less the lowest two.
        assert_near(polarized_distance(&records, 0.05, 0.34), 3.5 * LN_2);
        assert_near(pac(3.0, &[4.0, 5.5]), 1.75);
        // First occurrences: 0.5 of token 7, 0.25 of 8, 0.5 of 9, 1 of 10; ln f is -token / 100.
        let ln_frequency = |token| -f64::from(token) / 100.0;
        assert_near(dc_pdd(&records, ln_frequency, 10.0), (0.035 + 0.02 + 0.045 + 0.1) / 4.0);
        assert_near(dc_pdd(&records, ln_frequency, 0.03), (0.03 + 0.02 + 0.03 + 0.03) / 4.0);
    }

    /// ml_privacy_meter's sign is turned for one signal; here all rise for the text that the model knows.
    #[test]
    fn peer_02_signals_of_tokens_rise_for_the_text_that_the_model_knows() {
        let with = |p: f64, entropy: f32, rank| TokenRecord {
            token: 0,
            log_prob: p.ln() as f32,
            mean_log_prob: -entropy,
            std_log_prob: 1.0,
            entropy,
            rank,
        };
        let (known, unknown) = ([with(0.9, 0.3, 0); 8], [with(0.1, 1.5, 6); 8]);
        assert!(k_max(&known, 0.2) > k_max(&unknown, 0.2));
        assert!(surp(&known, 0.4, 2.0) > surp(&unknown, 0.4, 2.0));
        assert!(dc_pdd(&known, |_| -0.01, DC_PDD_CAP) > dc_pdd(&unknown, |_| -0.01, DC_PDD_CAP));
        assert!(accuracy_signal(&known) > accuracy_signal(&unknown));
        assert!(rank_signal(&known) > rank_signal(&unknown));
        assert!(log_rank_signal(&known) > log_rank_signal(&unknown));
        assert!(entropy_signal(&known) > entropy_signal(&unknown));
        // Swapped words cost the known text much: its lowest tokens fall.
        assert!(pac(0.1, &[4.0]) > pac(2.0, &[2.5]));
    }

    #[test]
    fn where_no_token_surprises_the_signal_is_the_highest_there_is() {
        let calm = TokenRecord { entropy: 5.0, ..records()[0] };
        assert_eq!(surp(&[calm; 4], 0.4, SURP_ENTROPY_NATS), Some(0.0));
    }

    #[test]
    fn fault_67_undefined_signals_of_tokens_are_none() {
        let all = |records: &[TokenRecord]| {
            [
                k_max(records, 0.2),
                surp(records, 0.4, 2.0),
                dc_pdd(records, |_| -1.0, 0.01),
                polarized_distance(records, 0.05, 0.3),
            ]
        };
        let bad = |log_prob| [records()[0], TokenRecord { log_prob, ..records()[0] }];
        for records in [&[][..], &bad(f32::NAN), &bad(f32::NEG_INFINITY)] {
            assert_eq!(all(records), [None; 4]);
        }
        let ranks = [accuracy_signal(&[]), rank_signal(&[]), log_rank_signal(&[])];
        assert_eq!((ranks, entropy_signal(&[])), ([None; 3], None));
        let unsure = [TokenRecord { entropy: f32::NAN, ..records()[0] }];
        assert_eq!([entropy_signal(&unsure), surp(&unsure, 0.4, 2.0)], [None; 2]);
        for bad in [f64::NAN, f64::NEG_INFINITY, 0.1] {
            assert_eq!(dc_pdd(&records(), |_| bad, 0.01), None);
        }
        assert_eq!([pac(1.0, &[]), pac(f64::NAN, &[1.0]), pac(1.0, &[f64::INFINITY])], [None; 3]);
    }
}

//! Signals of membership: pure functions of what a model said of a text's tokens.
//!
//! One convention for all but [`perplexity`]: HIGHER means MORE LIKELY A MEMBER of the training set. A signal that is
//! not defined for a text (no scored token, an infinite loss) is `None`, never NaN. Sums run in f64, first to last,
//! so that a signal has the same bits everywhere. No token is left out for having a loss of zero: tokens that the
//! model is sure of are what memorization looks like.

mod context;
mod rmia;
mod sequence;
mod shadow;
mod token;
mod variants;

use verbatim_lm::TokenRecord;

use crate::zlib::zlib_len;

pub use context::{con_recall, recall};
pub use rmia::{
    RmiaLine, RmiaPopulation, RmiaText, info_rmia, info_rmia_of_tokens, info_rmia_token, offline_marginal,
    online_marginal, rmia_line, rmia_ratio,
};
pub use sequence::sequence_lira;
pub(crate) use shadow::median;
pub use shadow::{
    Gaussian, counterfactual_memorization, fixed_deviation, lira_offline, lira_online, logit_confidence,
    shadow_gaussian,
};
pub use token::{
    DC_PDD_CAP, SURP_ENTROPY_NATS, accuracy_signal, dc_pdd, entropy_signal, k_max, log_rank_signal, pac,
    polarized_distance, rank_signal, surp,
};
pub use variants::{neighbourhood, rouge_1_recall, samia};

/// The loss at which a text counts as certain, in nats a token.
///
/// Ratios divide by the loss, and a text recited with certainty has a loss of zero. A floor far below what f32
/// log-probabilities resolve keeps such a text finite and first, where dividing by zero would lose it.
pub const LOSS_FLOOR: f64 = 1e-9;

/// The least standard deviation of a log-probability that [`min_k_plus_plus`] divides by.
///
/// A model that is certain of a token has none; the token's score then tends to zero, as it does with this floor.
const DEVIATION_FLOOR: f64 = 1e-6;

/// Perplexity: exp of the mean loss. The one value here where LOWER means more likely a member.
///
/// `None` without records, or where it overflows.
pub fn perplexity(records: &[TokenRecord]) -> Option<f64> {
    finite(loss(records)?.exp())
}

/// The mean loss in nats a token, which is the logarithm of the perplexity.
pub fn loss(records: &[TokenRecord]) -> Option<f64> {
    mean_loss(records.iter().map(|record| record.log_prob))
}

/// The mean loss in nats a token, from log-probabilities alone.
pub fn mean_loss(log_probs: impl ExactSizeIterator<Item = f32>) -> Option<f64> {
    mean(log_probs.map(f64::from)).map(|mean| 0.0 - mean)
}

/// Loss attack: the mean log-probability (Yeom et al. 2018).
pub fn loss_signal(records: &[TokenRecord]) -> Option<f64> {
    loss(records).map(|loss| 0.0 - loss)
}

/// zlib: compressed length in bytes over loss (Carlini et al. 2021, section 5.2). `text` is what the records score.
pub fn zlib_signal(records: &[TokenRecord], text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return None;
    }
    zlib_ratio(records, zlib_len(text) as u64)
}

/// [`zlib_signal`] of a text whose compressed length is known.
pub fn zlib_ratio(records: &[TokenRecord], zlib_bytes: u64) -> Option<f64> {
    loss_ratio(zlib_bytes as f64, loss(records)?)
}

/// Reference model: its loss over this model's loss (Carlini et al. 2021, section 5.2, "Small" and "Medium").
pub fn reference_signal(records: &[TokenRecord], reference_records: &[TokenRecord]) -> Option<f64> {
    loss_ratio(loss(reference_records)?, loss(records)?)
}

/// Lowercase: loss of the lower-cased text over loss of the text (Carlini et al. 2021, section 5.2).
pub fn lowercase_signal(records: &[TokenRecord], lowercase_records: &[TokenRecord]) -> Option<f64> {
    loss_ratio(loss(lowercase_records)?, loss(records)?)
}

/// `numerator` over a loss that is kept from zero by [`LOSS_FLOOR`].
pub fn loss_ratio(numerator: f64, loss: f64) -> Option<f64> {
    finite(numerator / loss.max(LOSS_FLOOR))
}

/// Window: the highest mean log-probability of `n_tokens` consecutive tokens, at every start
/// (Carlini et al. 2021, section 5.2: 50). A shorter text is one window.
///
/// # Panics
/// If `n_tokens` is zero.
pub fn window_signal(records: &[TokenRecord], n_tokens: usize) -> Option<f64> {
    assert!(n_tokens > 0, "a window of no tokens");
    if records.iter().any(|record| !record.log_prob.is_finite()) {
        return None;
    }
    let n_tokens = n_tokens.min(records.len());
    if n_tokens == 0 {
        return None;
    }
    // Prefix sums: window sums that start and end anywhere, without an error that grows along the text.
    let mut sums = vec![0.0];
    sums.extend(records.iter().scan(0.0, |sum, record| {
        *sum += f64::from(record.log_prob);
        Some(*sum)
    }));
    let best = (n_tokens..sums.len()).map(|end| sums[end] - sums[end - n_tokens]).max_by(f64::total_cmp)?;
    finite(best / n_tokens as f64)
}

/// Min-K%: the mean of the lowest `fraction` of the log-probabilities (Shi et al. 2024; 0.2).
///
/// Of `n` tokens it takes floor(n * fraction), as the authors' code does, but always at least one.
///
/// # Panics
/// If the fraction is not above 0 and at most 1.
pub fn min_k(records: &[TokenRecord], fraction: f64) -> Option<f64> {
    mean_of_lowest(records.iter().map(|record| f64::from(record.log_prob)).collect(), fraction)
}

/// Min-K%++: the mean of the lowest `fraction` of the log-probabilities, each standardised by the mean and the
/// standard deviation of the log-probability under the model's own distribution (Zhang et al. 2025; 0.2).
///
/// # Panics
/// If the fraction is not above 0 and at most 1.
pub fn min_k_plus_plus(records: &[TokenRecord], fraction: f64) -> Option<f64> {
    let standardise = |record: &TokenRecord| {
        let distance = f64::from(record.log_prob) - f64::from(record.mean_log_prob);
        distance / f64::from(record.std_log_prob).max(DEVIATION_FLOOR)
    };
    if records.iter().any(|record| record.std_log_prob.is_nan()) {
        return None;
    }
    mean_of_lowest(records.iter().map(standardise).collect(), fraction)
}

fn mean_of_lowest(mut values: Vec<f64>, fraction: f64) -> Option<f64> {
    let n_lowest = share_of(values.len(), fraction);
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    mean(values[..n_lowest].iter().copied())
}

/// floor(n * fraction), but at least one where there is one.
fn share_of(n: usize, fraction: f64) -> usize {
    assert!(fraction > 0.0 && fraction <= 1.0, "a share of {fraction} of the tokens");
    ((n as f64 * fraction) as usize).max(1).min(n)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n_values = values.len();
    if n_values == 0 {
        return None;
    }
    finite(values.sum::<f64>() / n_values as f64)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 120 records from a formula, exact in f32; the reference's are `records(120, 3)`.
    fn records(n: u64, offset: u64) -> Vec<TokenRecord> {
        (0..n)
            .map(|i| TokenRecord {
                token: i as u32,
                log_prob: -(((i * 37 + offset * 11) % 64) as f32) / 16.0,
                mean_log_prob: -(((i * 29 + offset) % 32 + 8) as f32) / 8.0,
                std_log_prob: ((i * 13 + offset) % 16 + 4) as f32 / 8.0,
                entropy: 1.0,
                rank: 0,
            })
            .collect()
    }

    fn constant(log_prob: f32) -> TokenRecord {
        TokenRecord { token: 0, log_prob, mean_log_prob: -1.0, std_log_prob: 0.5, entropy: 1.0, rank: 0 }
    }

    fn assert_near(value: Option<f64>, golden: f64) {
        let value = value.unwrap();
        assert!((value - golden).abs() <= 1e-12 * golden.abs(), "{value} is not {golden}");
    }

    /// Goldens from numpy 2.4.6:
    ///
    /// ```python
    /// import numpy as np, zlib
    /// i, off = np.arange(120), 3
    /// l, r = -((i * 37) % 64) / 16, -((i * 37 + off * 11) % 64) / 16
    /// mu, sd = -((i * 29) % 32 + 8) / 8, ((i * 13) % 16 + 4) / 8
    /// L, R, z = -l.mean(), -r.mean(), len(zlib.compress(b"It was a dark and stormy night; it was a dark night."))
    /// s, k = (l - mu) / sd, int(120 * .2)
    /// print(np.exp(L), -L, z / L, R / L, np.convolve(l, np.ones(50) / 50, "valid").max(),
    ///       np.sort(l)[:k].mean(), np.sort(s)[:k].mean())
    /// ```
    #[test]
    fn signals_equal_numpy() {
        let (records, reference) = (records(120, 0), records(120, 3));
        let text = b"It was a dark and stormy night; it was a dark night.";
        assert_near(perplexity(&records), 7.1022857344470784);
        assert_near(loss_signal(&records), -1.9604166666666667);
        assert_near(zlib_signal(&records, text), 23.464399574920296);
        assert_near(reference_signal(&records, &reference), 0.997874601487779);
        assert_near(window_signal(&records, 50), -1.90125);
        assert_near(min_k(&records, 0.2), -3.5598958333333335);
        assert_near(min_k_plus_plus(&records, 0.2), -1.3449684574684575);
    }

    /// ml_privacy_meter negates a probability as if it were a loss, and ranks members last.
    #[test]
    fn peer_02_every_signal_rises_for_the_text_that_the_model_knows() {
        let (unknown, known) = ([constant(-3.0); 60], [constant(-0.5); 60]);
        let reference = [constant(-2.0); 60];
        assert!(perplexity(&known) < perplexity(&unknown));
        assert!(loss_signal(&known) > loss_signal(&unknown));
        assert!(zlib_signal(&known, b"text") > zlib_signal(&unknown, b"text"));
        assert!(reference_signal(&known, &reference) > reference_signal(&unknown, &reference));
        assert!(lowercase_signal(&known, &reference) > lowercase_signal(&unknown, &reference));
        assert!(window_signal(&known, 50) > window_signal(&unknown, 50));
        assert!(min_k(&known, 0.2) > min_k(&unknown, 0.2));
        assert!(min_k_plus_plus(&known, 0.2) > min_k_plus_plus(&unknown, 0.2));
    }

    #[test]
    fn window_equals_every_window_summed() {
        let records = records(120, 5);
        for n_tokens in [1, 2, 7, 50, 119, 120, 500] {
            let naive = records
                .windows(n_tokens.min(120))
                .map(|window| {
                    window.iter().map(|record| f64::from(record.log_prob)).sum::<f64>() / window.len() as f64
                })
                .fold(f64::NEG_INFINITY, f64::max);
            assert_near(window_signal(&records, n_tokens), naive);
        }
    }

    /// LLM-PBE's window never ran, and equalled the perplexity without a word.
    #[test]
    fn peer_08_window_differs_from_loss_on_a_long_text() {
        let mut records = vec![constant(-4.0); 200];
        records[70..120].fill(constant(-0.25));
        assert_eq!(window_signal(&records, 50), Some(-0.25));
        assert!(loss_signal(&records).unwrap() < -3.0);
    }

    /// Several peers drop tokens of loss zero as padding; those are the memorized ones.
    #[test]
    fn peer_12_tokens_with_a_loss_of_zero_count() {
        let records = [constant(0.0), constant(0.0), constant(0.0), constant(-4.0)];
        assert_eq!(loss_signal(&records), Some(-1.0));
        assert_eq!(min_k(&records, 0.5), Some(-2.0));
    }

    /// LM_Memorization divides by the logarithm of a perplexity that tends to 1.
    #[test]
    fn peer_13_a_loss_of_zero_makes_the_ratios_large_and_finite() {
        let (certain, nearly) = ([constant(0.0); 9], [constant(-1e-3); 9]);
        for (first, second) in [
            (zlib_signal(&certain, b"text"), zlib_signal(&nearly, b"text")),
            (reference_signal(&certain, &[constant(-1.0)]), reference_signal(&nearly, &[constant(-1.0)])),
            (lowercase_signal(&certain, &[constant(-1.0)]), lowercase_signal(&nearly, &[constant(-1.0)])),
        ] {
            assert!(first.unwrap() > second.unwrap());
        }
        assert_eq!(loss_signal(&certain).map(f64::to_bits), Some(0.0f64.to_bits()), "no negative zero");
    }

    #[test]
    fn fault_67_undefined_signals_are_none() {
        let all = |records: &[TokenRecord], text: &[u8]| {
            [
                perplexity(records),
                loss_signal(records),
                zlib_signal(records, text),
                reference_signal(records, records),
                lowercase_signal(records, records),
                window_signal(records, 50),
                min_k(records, 0.2),
                min_k_plus_plus(records, 0.2),
            ]
        };
        assert_eq!(all(&[], b"text"), [None; 8]);
        assert_eq!(all(&[constant(f32::NAN)], b"text"), [None; 8]);
        assert_eq!(all(&[constant(-1.0), constant(f32::NEG_INFINITY)], b"text"), [None; 8]);
        assert!(all(&[constant(-1.0)], b"text").iter().all(Option::is_some), "one token is enough");
        assert_eq!(zlib_signal(&[constant(-1.0)], b""), None);
        assert_eq!(perplexity(&[constant(-800.0)]), None, "exp overflows");
        let undefined = TokenRecord { std_log_prob: f32::NAN, ..constant(-1.0) };
        assert_eq!(min_k_plus_plus(&[undefined], 0.2), None);
    }

    #[test]
    fn a_token_without_deviation_is_standardised_to_zero() {
        let certain = TokenRecord { mean_log_prob: 0.0, std_log_prob: 0.0, ..constant(0.0) };
        assert_eq!(min_k_plus_plus(&[certain], 1.0), Some(0.0));
    }

    #[test]
    fn min_k_takes_at_least_one_token() {
        assert_eq!(min_k(&[constant(-1.0), constant(-3.0)], 0.2), Some(-3.0));
        assert_eq!(min_k(&[constant(-1.0), constant(-3.0)], 1.0), Some(-2.0));
    }
}

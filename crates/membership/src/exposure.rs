//! Exposure of a secret (Carlini et al. 2019): how much more likely a model finds it than texts that could have stood in
//! its place, in bits. A secret that was not learnt ranks anywhere among them, so its exposure is 1.44 bits on average.

use statrs::distribution::{ContinuousCDF, Gamma};

use crate::interval::clopper_pearson;
use crate::skew_normal::{NoFit, SkewNormal};

/// The mean exposure, in bits, of secrets that rank anywhere: 1 / ln 2.
pub const CHANCE_BITS: f64 = std::f64::consts::LOG2_E;

/// Where a secret ranks among references.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankExposure {
    /// References that it was compared with.
    pub n_references: u64,
    /// 1 if it is more likely than all of them; a reference that is as likely goes before it.
    pub rank: u64,
    /// log2 of the number of candidates, itself among them, less log2 of its rank.
    pub bits: f64,
    /// Lower end of the interval of its exposure among all candidates that there are.
    pub low: f64,
    /// Upper end, at most log2 of the number of all candidates.
    pub high: f64,
    /// Whether it ranks first: then more references could only raise it, and the exposure is at least `bits`.
    pub saturated: bool,
}

/// The exposure of a secret from its log-probability and those of references drawn evenly from all candidates.
///
/// The share of all candidates that are at least as likely is a proportion, of which the references are a sample: its
/// interval of Clopper and Pearson becomes that of the exposure, -log2 of the share. `space_bits` is log2 of the number
/// of all candidates, the secret among them; no exposure is above it. Where the references are all the others, there is
/// nothing left to infer, and the interval is a point.
///
/// # Panics
/// If the level is not between 0 and 1.
pub fn rank_exposure(secret: f64, references: &[f64], space_bits: f64, level: f64) -> RankExposure {
    let n_references = references.len() as u64;
    let n_before = references.iter().filter(|reference| **reference >= secret).count() as u64;
    let n_candidates = (n_references + 1) as f64;
    let bits = n_candidates.log2() - ((n_before + 1) as f64).log2();
    let is_all = n_candidates.log2() >= space_bits - 1e-9;
    let (low, high) = if is_all {
        (bits, bits)
    } else {
        let share = clopper_pearson(n_before, n_references, level);
        // Not even all candidates at once can be ahead of the secret.
        ((0.0 - share.high.log2()).max(0.0), (0.0 - share.low.log2()).min(space_bits))
    };
    RankExposure { n_references, rank: n_before + 1, bits, low, high, saturated: n_before == 0 && !is_all }
}

/// The exposure of a secret by the skew-normal distribution that fits the references: -log2 of the probability of a loss
/// as low as the secret's. At most `space_bits`.
///
/// # Errors
/// Why the references have no such fit.
pub fn extrapolated_exposure(secret: f64, references: &[f64], space_bits: f64) -> Result<f64, NoFit> {
    let losses: Vec<f64> = references.iter().map(|reference| -reference).collect();
    let fitted = SkewNormal::fit(&losses)?;
    Ok((0.0 - fitted.ln_cdf(-secret) / std::f64::consts::LN_2).min(space_bits))
}

/// Where the mean exposure of `n` secrets that rank anywhere stands, with a probability of `level`.
///
/// -log2 of an even share is exponential with a mean of 1 / ln 2, so the sum of n is a gamma variable.
///
/// # Panics
/// If the level is not between 0 and 1.
pub fn chance_interval(n: u64, level: f64) -> Option<(f64, f64)> {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    if n == 0 {
        return None;
    }
    let sum = Gamma::new(n as f64, 1.0).expect("both parameters are positive");
    let at = |probability| sum.inverse_cdf(probability) / n as f64 * CHANCE_BITS;
    Some((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skew_normal::tests::uniforms;

    /// By hand: rank 1 of 8, rank 3 of 8, and last.
    #[test]
    fn exposure_is_the_log_of_candidates_less_that_of_the_rank() {
        let references = [-9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0];
        let exposure = |secret| rank_exposure(secret, &references, 20.0, 0.95);
        let first = exposure(-1.0);
        assert_eq!((first.rank, first.bits, first.saturated), (1, 3.0, true));
        // Of 7 references at most 41 % can have been ahead (scipy: beta.ppf(.975, 1, 7) = 0.409616), and none may be.
        assert!((first.low + 0.409_616_f64.log2()).abs() < 1e-5 && first.high == 20.0, "{first:?}");
        let third = exposure(-4.5);
        assert_eq!((third.rank, third.bits, third.saturated), (3, 3.0 - 3f64.log2(), false));
        assert!(third.low < third.bits && third.bits < third.high, "{third:?}");
        assert_eq!((exposure(-99.0).bits, exposure(-99.0).low), (0.0, 0.0));
    }

    /// The published code puts the canary behind references that are as likely.
    #[test]
    fn among_equals_the_reference_goes_first() {
        let exposure = rank_exposure(-4.0, &[-4.0, -4.0, -9.0], 30.0, 0.95);
        assert_eq!((exposure.rank, exposure.bits), (3, 2.0 - 3f64.log2()));
        assert_eq!(rank_exposure(0.0, &[0.0; 3], 30.0, 0.95).bits, 0.0);
    }

    #[test]
    fn references_that_are_all_candidates_leave_no_doubt() {
        let exposure = rank_exposure(-1.0, &[-2.0, -3.0, -4.0], 2.0, 0.95);
        assert_eq!((exposure.bits, exposure.low, exposure.high, exposure.saturated), (2.0, 2.0, 2.0, false));
        let none = rank_exposure(-1.0, &[], 12.0, 0.95);
        assert_eq!((none.bits, none.low, none.high), (0.0, 0.0, 12.0), "without references nothing is known");
    }

    /// Golden from scipy: `gamma.ppf([.025, .975], 36) / 36 / log(2)`.
    #[test]
    fn secrets_that_rank_anywhere_stand_in_the_interval_of_chance() {
        let (low, high) = chance_interval(36, 0.95).unwrap();
        assert!((low - 1.010_446).abs() < 1e-5 && (high - 1.950_705).abs() < 1e-5, "{low} {high}");
        assert_eq!(chance_interval(0, 0.95), None);
        let mut inside = 0;
        for trial in 0..200 {
            let values = uniforms(36 * 101, 1000 + trial);
            let bits = values.chunks(101).map(|drawn| rank_exposure(drawn[0], &drawn[1..], 40.0, 0.95).bits);
            let mean = bits.sum::<f64>() / 36.0;
            inside += u32::from((low..=high).contains(&mean));
        }
        assert!((180..=199).contains(&inside), "{inside} of 200");
    }

    /// The interval holds the exposure among all candidates about as often as it says.
    #[test]
    fn intervals_of_exposures_cover() {
        let values = uniforms(400 * 200, 9);
        let mut covered = 0;
        for (trial, drawn) in values.chunks(200).enumerate() {
            // The share of candidates ahead of the secret, known here.
            let share = (trial + 1) as f64 / 400.0;
            let exposure = rank_exposure(1.0 - share, drawn, 60.0, 0.95);
            covered += u32::from((exposure.low..=exposure.high).contains(&-share.log2()));
        }
        assert!(covered >= 370, "{covered} of 400");
    }

    #[test]
    fn extrapolation_goes_on_where_ranks_end_and_never_beyond_the_space() {
        let normal: Vec<f64> =
            uniforms(6 * 800, 3).chunks(6).map(|six| six.iter().sum::<f64>() * 4.0).collect();
        let references: Vec<f64> = normal.iter().map(|value| value - 40.0).collect();
        let bits = |secret, space| extrapolated_exposure(secret, &references, space).unwrap();
        let mut sorted = references.clone();
        sorted.sort_by(f64::total_cmp);
        // At the quartile that a quarter of the references are ahead of, two bits.
        assert!((bits(sorted[600], 40.0) - 2.0).abs() < 0.15, "{}", bits(sorted[600], 40.0));
        assert!(bits(-5.0, 400.0) > 15.0 && bits(-5.0, 400.0) < bits(0.0, 400.0));
        assert_eq!(bits(0.0, 12.0), 12.0);
        assert!(bits(-1e5, 12.0) < 1e-9);
        assert_eq!(extrapolated_exposure(0.0, &references[..9], 12.0), Err(NoFit::TooFew));
    }
}

//! The price of noise: the Rényi accountant of a training whose every step draws examples at random and adds normal noise.
//!
//! It bounds epsilon from above, by proof, for the ideal normal distribution; `epsilon` of the membership room bounds it
//! from below, by experiment. It knows no model.

use std::f64::consts::PI;

use crate::error::{Error, Result};

/// The largest noise multiplier that [`noise_for_epsilon`] tries.
const MOST_NOISE: f64 = 1e6;

/// How close [`noise_for_epsilon`] comes to the smallest noise multiplier, as a share of it.
const NOISE_STEP: f64 = 1e-6;

/// The least noise for which fractional orders are looked at: with less, their integral would need very many points, and
/// epsilon is in the hundreds anyway.
const LEAST_NOISE_OF_FRACTIONS: f64 = 0.1;

/// The sampled Gaussian mechanism (Mironov, Talwar and Zhang 2019), step after step: each example is drawn with the same
/// probability, independently of all others, and normal noise is added to a sum to which no example adds more than a
/// given norm. Two data sets are neighbours when one has one example more than the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledGaussian {
    /// Standard deviation of the noise in each coordinate, divided by the largest norm of what one example adds.
    pub noise_multiplier: f64,
    /// The probability of each example to be in a step.
    pub sampling_rate: f64,
    /// Steps.
    pub n_steps: u64,
}

/// How a Rényi divergence R of order a becomes an epsilon for a given delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// R + ln(1 / delta) / (a - 1) (Mironov 2017, proposition 3): what the published tables of DP-SGD were made with.
    Classical,
    /// R + ln((a - 1) / a) - (ln delta + ln a) / (a - 1) (Canonne, Kamath and Steinke 2020, proposition 12; Balle et al.
    /// 2020, theorem 21): never above the classical one.
    Tight,
}

/// The orders of which [`epsilon_spent`] takes the best: 1.1 to 10.9 in tenths, 11 to 64, then 128, 256, 512 and 1,024; with a
/// noise multiplier below 0.1 the whole ones among them.
fn orders(noise: f64) -> impl Iterator<Item = f64> {
    let tenths = (11..110).map(|tenths| f64::from(tenths) / 10.0);
    let orders = tenths.chain((11..=64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0]);
    orders.filter(move |order| noise >= LEAST_NOISE_OF_FRACTIONS || is_whole(*order))
}

/// The smallest epsilon for which the mechanism is shown to be (epsilon, `delta`)-differentially private: the divergences
/// of the steps add up at each order, and the best order counts. Infinite without noise, 0 when nothing is ever drawn.
///
/// # Errors
/// [`Error::Config`] unless the noise multiplier is at least 0 and finite, the sampling rate from 0 to 1, and `delta`
/// above 0 and below 1.
pub fn epsilon_spent(mechanism: &SampledGaussian, delta: f64, conversion: Conversion) -> Result<f64> {
    let SampledGaussian { noise_multiplier, sampling_rate, n_steps } = *mechanism;
    if !(noise_multiplier >= 0.0 && noise_multiplier.is_finite()) {
        return Err(Error::Config("the noise multiplier must be 0 or above".to_owned()));
    }
    if !(0.0..=1.0).contains(&sampling_rate) {
        return Err(Error::Config("the sampling rate must be from 0 to 1".to_owned()));
    }
    if !(delta > 0.0 && delta < 1.0) {
        return Err(Error::Config("delta must be above 0 and below 1".to_owned()));
    }
    if n_steps == 0 || sampling_rate == 0.0 {
        return Ok(0.0);
    }
    if noise_multiplier == 0.0 {
        return Ok(f64::INFINITY);
    }
    let of_order = |order: f64| {
        let divergence = n_steps as f64 * step_divergence(noise_multiplier, sampling_rate, order);
        divergence
            + match conversion {
                Conversion::Classical => -delta.ln() / (order - 1.0),
                Conversion::Tight => (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0),
            }
    };
    Ok(orders(noise_multiplier).map(of_order).fold(f64::INFINITY, f64::min).max(0.0))
}

/// The smallest noise multiplier, to a millionth of itself and never below, for which [`epsilon_spent`] by
/// [`Conversion::Tight`] is at most `epsilon`; 0 when nothing is ever drawn.
///
/// # Errors
/// [`Error::Config`] for an `epsilon` that is not above 0, for one so small that no order of the accountant shows it
/// whatever the noise, and as [`epsilon_spent`].
pub fn noise_for_epsilon(epsilon: f64, delta: f64, sampling_rate: f64, n_steps: u64) -> Result<f64> {
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(Error::Config("epsilon must be above 0".to_owned()));
    }
    let keeps = |noise_multiplier| {
        let mechanism = SampledGaussian { noise_multiplier, sampling_rate, n_steps };
        Ok::<bool, Error>(epsilon_spent(&mechanism, delta, Conversion::Tight)? <= epsilon)
    };
    if keeps(0.0)? {
        return Ok(0.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while !keeps(high)? {
        (low, high) = (high, 2.0 * high);
        if high > MOST_NOISE {
            return Err(Error::Config(format!(
                "no noise is shown to keep epsilon {epsilon} at delta {delta}; choose a larger epsilon or delta"
            )));
        }
    }
    while high - low > NOISE_STEP * high {
        let middle = f64::midpoint(low, high);
        if keeps(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// What (`epsilon`, `delta`) for one example comes to for `copies` of it, as epsilon and delta: `copies` times epsilon, and
/// delta times 1 + e^epsilon + ... + e^((copies - 1) epsilon), at most 1. This is basic group privacy: the guarantee of one
/// example is applied once for each copy (Dwork and Roth 2014, section 2.3; Vadhan 2017, lemma 2.2). A delta near 1 says
/// nothing any more.
#[must_use]
pub fn epsilon_of_copies(epsilon: f64, delta: f64, copies: u64) -> (f64, f64) {
    let together = copies as f64 * epsilon;
    let factor = match epsilon {
        0.0 => copies as f64,
        // The sum of a geometric series, without overflow.
        _ => (ln_exp_m1(together) - ln_exp_m1(epsilon)).exp(),
    };
    (together, (delta * factor).min(1.0))
}

/// The Rényi divergence of one step at an order above 1; the larger one of the two directions (Mironov, Talwar and Zhang
/// 2019, theorem 4 and section 3.3).
fn step_divergence(noise: f64, rate: f64, order: f64) -> f64 {
    if rate == 1.0 {
        return order / (2.0 * noise * noise);
    }
    let ln_moment =
        if is_whole(order) { whole_moment(noise, rate, order) } else { any_moment(noise, rate, order) };
    ln_moment.max(0.0) / (order - 1.0)
}

/// ln A of a whole order a: A = sum over k of C(a, k) (1 - q)^(a - k) q^k e^((k^2 - k) / (2 s^2)). As the binomial
/// probabilities sum to 1, A - 1 is the sum with e^(...) - 1, whose first two terms are zero and none is negative: so no
/// digit is lost where A is close to 1.
fn whole_moment(noise: f64, rate: f64, order: f64) -> f64 {
    let (ln_rate, ln_rest) = (rate.ln(), (-rate).ln_1p());
    let mut ln_choices = 0.0;
    let mut above_one = LnSum::default();
    let mut k = 1.0;
    while k <= order {
        ln_choices += ((order - k + 1.0) / k).ln();
        let exponent = k * (k - 1.0) / (2.0 * noise * noise);
        if exponent > 0.0 {
            above_one.add(ln_choices + k * ln_rate + (order - k) * ln_rest + ln_exp_m1(exponent));
        }
        k += 1.0;
    }
    // ln(1 + e^x)
    let x = above_one.ln();
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// ln A of any order a: A is the mean of (1 - q + q e^((2 z - 1) / (2 s^2)))^a over normal z with deviation s. The trapezoid
/// rule converges geometrically on it; the paper's two series for fractional orders (section 3.3) are the same integral, but
/// alternate, fall slowly, and need the error function to more digits than it is to be had with.
fn any_moment(noise: f64, rate: f64, order: f64) -> f64 {
    // The mass lies around 0 and the order. The integrand is analytic but for branch points pi s^2 away from the real line.
    let (from, to) = (-15.0 * noise, order + 15.0 * noise);
    let n = ((to - from) / (0.2 * noise * noise.min(1.0))).ceil();
    let step = (to - from) / n;
    let mut sum = LnSum::default();
    let mut at = 0.0;
    while at <= n {
        let z = from + at * step;
        let ln_ratio = (2.0 * z - 1.0) / (2.0 * noise * noise);
        let ln_mixture = if ln_ratio > 0.0 {
            ln_ratio + (rate + (1.0 - rate) * (-ln_ratio).exp()).ln()
        } else {
            (rate * ln_ratio.exp_m1()).ln_1p()
        };
        sum.add(order * ln_mixture - z * z / (2.0 * noise * noise));
        at += 1.0;
    }
    sum.ln() + (step / (noise * (2.0 * PI).sqrt())).ln()
}

fn is_whole(order: f64) -> bool {
    order.fract() == 0.0
}

/// ln(e^x - 1) of x >= 0.
fn ln_exp_m1(x: f64) -> f64 {
    if x < 1.0 { x.exp_m1().ln() } else { x + (-(-x).exp()).ln_1p() }
}

/// A sum of positive numbers whose logarithms are given.
#[derive(Default)]
struct LnSum {
    /// In units of e^`ln_unit`.
    sum: f64,
    ln_unit: Option<f64>,
}

impl LnSum {
    fn add(&mut self, ln_term: f64) {
        let unit = self.ln_unit.get_or_insert(ln_term);
        if ln_term > *unit {
            self.sum *= (*unit - ln_term).exp();
            *unit = ln_term;
        }
        self.sum += (ln_term - *unit).exp();
    }

    fn ln(&self) -> f64 {
        self.ln_unit.map_or(f64::NEG_INFINITY, |unit| unit + self.sum.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mechanism(noise_multiplier: f64, sampling_rate: f64, n_steps: u64) -> SampledGaussian {
        SampledGaussian { noise_multiplier, sampling_rate, n_steps }
    }

    fn both(mechanism: &SampledGaussian, delta: f64) -> [f64; 2] {
        [Conversion::Classical, Conversion::Tight]
            .map(|conversion| epsilon_spent(mechanism, delta, conversion).unwrap())
    }

    #[test]
    fn the_integral_of_any_order_is_the_binomial_sum_at_whole_ones() {
        for noise in [0.1, 0.2, 0.5, 0.7, 1.0, 1.3, 5.0, 20.0] {
            for rate in [1e-3, 0.04, 0.5, 0.9] {
                for order in [2.0, 3.0, 7.0, 11.0, 64.0] {
                    let [sum, integral] = [whole_moment, any_moment].map(|of| of(noise, rate, order));
                    let is_close = (sum - integral).abs() < 1e-13 * (1.0 + sum.abs());
                    assert!(is_close, "{noise} {rate} {order}: {sum} {integral}");
                }
            }
        }
    }

    /// Moments by mpmath 1.4.1, with the trapezoid rule on 8,001 points and 30 digits; for 0.7, 0.5, 1.1 the two series of
    /// the paper give the same. Columns: noise, rate, order, divergence.
    #[test]
    fn divergences_of_fractional_orders_agree_with_mpmath() {
        for (noise, rate, order, golden) in [
            (1.3, 256.0 / 60_000.0, 1.5, 1.099_560_427_165e-5),
            (1.3, 256.0 / 60_000.0, 8.7, 6.585_943_274_651e-5),
            (1.0, 0.04, 1.1, 1.401_530_523_353_2e-3),
            (1.0, 0.04, 2.5, 3.597_104_765_147_4e-3),
            (1.0, 0.04, 6.3, 2.417_912_705_036_9e-2),
            (0.5, 0.1, 3.3, 3.297_840_050_033_4),
            (0.7, 0.5, 1.1, 0.352_070_517_856_87),
            (0.7, 0.5, 10.9, 10.359_286_934_159),
            (2.0, 0.9, 4.4, 0.475_021_449_872_2),
            (5.0, 0.001, 7.7, 1.571_584_976_0e-7),
        ] {
            let ours = step_divergence(noise, rate, order);
            let tolerance = 1e-12 * golden + 2e-15 / (order - 1.0);
            assert!((ours - golden).abs() < tolerance, "{noise} {rate} {order}: {ours} {golden}");
        }
    }

    /// With 60,000 examples, batches of 256 and delta 1e-5, the tutorials of TensorFlow Privacy print 1.19, 3.01 and 7.10
    /// after 15, 60 and 45 epochs: the classical conversion gives them, the tight one less.
    #[test]
    fn published_epsilons_are_those_of_the_classical_conversion() {
        for (noise, n_epochs, printed) in [(1.3, 15, 1.19), (1.1, 60, 3.01), (0.7, 45, 7.10)] {
            let n_steps = n_epochs * 60_000 / 256;
            let [classical, tight] = both(&mechanism(noise, 256.0 / 60_000.0, n_steps), 1e-5);
            assert!((classical - printed).abs() < 0.005, "{classical} for {printed}");
            assert!(tight < 0.9 * printed, "{tight} for {printed}");
        }
    }

    /// Columns: mechanism, delta; the classical and the tight epsilon from numpy 2.4.6 (each order's moment by the
    /// trapezoid rule on 40,001 points); the epsilon of Google's dp-accounting 0.6.0 by privacy loss distributions, which
    /// is nearly exact. Its own Rényi accountant adds the series' terms without their signs, and so is up to 1 % higher.
    const GOLDEN: [(SampledGaussian, f64, [f64; 3]); 10] = [
        (mechanism(1.3, 256.0 / 60_000.0, 3515), 1e-5, [1.192_129_965, 0.954_429_509, 0.864_459]),
        (mechanism(1.1, 256.0 / 60_000.0, 14_062), 1e-5, [3.008_272_083, 2.596_555_869, 2.381_686]),
        (mechanism(0.7, 256.0 / 60_000.0, 10_546), 1e-5, [7.100_268_331, 6.318_100_587, 5.639_447]),
        (mechanism(1.0, 0.04, 300), 1e-5, [5.819_819_147, 5.118_829_353, 4.563_099]),
        (mechanism(0.5, 0.04, 300), 1e-5, [29.709_796_824, 28.064_453_270, 24.877_158]),
        (mechanism(2.0, 0.04, 300), 1e-5, [1.980_711_001, 1.659_726_302, 1.507_913]),
        (mechanism(4.0, 1.0, 10), 1e-6, [4.468_259_175, 4.010_376_255, 3.747_217]),
        (mechanism(20.0, 0.04, 300), 1e-5, [0.168_496_057, 0.122_447_917, 0.107_755]),
        (mechanism(0.8, 0.5, 20), 1e-3, [19.695_113_442, 18.149_449_895, 15.969_386]),
        (mechanism(5.0, 0.001, 100_000), 1e-6, [0.350_224_038, 0.268_461_664, 0.246_216]),
    ];

    #[test]
    fn epsilons_agree_with_an_independent_computation_and_are_not_below_the_exact_ones() {
        for (mechanism, delta, [classical, tight, nearly_exact]) in GOLDEN {
            let ours = both(&mechanism, delta);
            assert!((ours[0] - classical).abs() < 1e-6 * classical, "{mechanism:?}: {ours:?}");
            assert!((ours[1] - tight).abs() < 1e-6 * tight, "{mechanism:?}: {ours:?}");
            assert!(ours[1] > nearly_exact && ours[1] < 1.2 * nearly_exact, "{mechanism:?}: {ours:?}");
        }
    }

    #[test]
    fn drawing_everything_is_the_plain_gaussian_mechanism() {
        assert_eq!(step_divergence(2.0, 1.0, 3.0), 3.0 / 8.0);
        for order in [1.3, 4.5, 6.0] {
            let (nearly, all) = (step_divergence(2.0, 1.0 - 1e-9, order), step_divergence(2.0, 1.0, order));
            assert!((nearly - all).abs() < 1e-6, "{order}: {nearly} {all}");
        }
    }

    #[test]
    fn nothing_drawn_costs_nothing_and_no_noise_has_no_bound() {
        assert_eq!(both(&mechanism(1.0, 0.5, 0), 1e-5), [0.0, 0.0]);
        assert_eq!(both(&mechanism(1.0, 0.0, 10), 1e-5), [0.0, 0.0]);
        assert_eq!(both(&mechanism(0.0, 0.0, 10), 1e-5), [0.0, 0.0]);
        assert_eq!(both(&mechanism(0.0, 0.5, 10), 1e-5), [f64::INFINITY; 2]);
        assert_eq!(noise_for_epsilon(1.0, 1e-5, 0.1, 0).unwrap(), 0.0);
        // Next to no noise is finite, and no number on the way overflows.
        assert!(both(&mechanism(1e-3, 0.5, 10), 1e-5).iter().all(|epsilon| epsilon.is_finite()));
    }

    #[test]
    fn more_noise_or_fewer_steps_or_rarer_draws_never_cost_more() {
        let epsilon = |noise, rate, n_steps| both(&mechanism(noise, rate, n_steps), 1e-5)[1];
        let of_noise: Vec<f64> = [4.0, 2.0, 1.0, 0.7, 0.4].map(|noise| epsilon(noise, 0.04, 300)).to_vec();
        let of_rate: Vec<f64> = [1e-4, 0.01, 0.1, 0.5, 1.0].map(|rate| epsilon(1.0, rate, 300)).to_vec();
        let of_steps: Vec<f64> = [1, 10, 100, 1000].map(|n_steps| epsilon(1.0, 0.04, n_steps)).to_vec();
        assert!(of_noise.is_sorted() && of_rate.is_sorted() && of_steps.is_sorted());
        assert!(of_rate[4] > of_rate[0] && of_steps[3] > of_steps[0]);
    }

    #[test]
    fn the_noise_for_an_epsilon_is_the_smallest_that_keeps_it() {
        for (epsilon, rate, n_steps) in
            [(0.5, 0.04, 300), (3.0, 0.004, 14_062), (20.0, 0.5, 20), (1.0, 1.0, 1)]
        {
            let noise = noise_for_epsilon(epsilon, 1e-5, rate, n_steps).unwrap();
            let spent = |noise| both(&mechanism(noise, rate, n_steps), 1e-5)[1];
            assert!(spent(noise) <= epsilon && spent(noise * (1.0 - 2e-6)) > epsilon, "{epsilon}: {noise}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (mechanism, delta) in [
            (mechanism(-1.0, 0.1, 1), 1e-5),
            (mechanism(f64::NAN, 0.1, 1), 1e-5),
            (mechanism(f64::INFINITY, 0.1, 1), 1e-5),
            (mechanism(1.0, 1.1, 1), 1e-5),
            (mechanism(1.0, f64::NAN, 1), 1e-5),
            (mechanism(1.0, 0.1, 1), 0.0),
            (mechanism(1.0, 0.1, 1), 1.0),
            (mechanism(1.0, 0.1, 1), f64::NAN),
        ] {
            let refused = epsilon_spent(&mechanism, delta, Conversion::Tight);
            assert!(matches!(refused, Err(Error::Config(_))), "{mechanism:?} {delta}");
        }
        for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-4] {
            assert!(matches!(noise_for_epsilon(epsilon, 1e-5, 0.1, 10), Err(Error::Config(_))), "{epsilon}");
        }
    }

    #[test]
    fn copies_multiply_epsilon_and_add_up_delta() {
        assert_eq!(epsilon_of_copies(0.5, 1e-5, 1), (0.5, 1e-5));
        let (epsilon, delta) = epsilon_of_copies(0.5, 1e-5, 3);
        // 1 + e^0.5 + e^1
        assert!((epsilon - 1.5).abs() < 1e-12 && (delta - 5.367_003_10e-5).abs() < 1e-12, "{delta}");
        let (epsilon, delta) = epsilon_of_copies(0.0, 1e-5, 7);
        assert!(epsilon == 0.0 && (delta - 7e-5).abs() < 1e-18);
        assert_eq!(epsilon_of_copies(3.0, 1e-5, 64), (192.0, 1.0));
        assert_eq!(epsilon_of_copies(800.0, 1e-5, 2), (1600.0, 1.0));
    }
}

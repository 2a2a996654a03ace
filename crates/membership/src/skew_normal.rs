//! The skew-normal distribution (Azzalini 1985): its fit by maximum likelihood, and its distribution function in
//! logarithms, which stay finite however far out in the tail they are asked for.

use std::f64::consts::{LN_2, PI};

use statrs::function::erf::erfc;

/// Values below which nothing is fitted: three parameters need more than a handful.
pub(crate) const MIN_VALUES: usize = 50;

/// The shape beyond which a fit has run to the border of the family, the half-normal, where the likelihood is flat.
const MAX_SHAPE: f64 = 100.0;

/// What the gradient of the mean log-likelihood is brought down to.
const TOLERANCE: f64 = 1e-8;

/// What it may be where rounding hides what is left to climb. By chance alone it is some 1 / sqrt(n) at the true values.
const FLAT: f64 = 1e-5;

/// Mean log-likelihoods that differ by less are as good as each other.
const AS_GOOD: f64 = 1e-9;

/// The probability below which the Kolmogorov-Smirnov test calls a fit poor (Carlini et al. 2019, section 4.3).
const POOR: f64 = 0.1;

/// A skew-normal distribution: density 2/w phi(z) Phi(a z), with z = (x - location) / w.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkewNormal {
    /// Where it stands.
    pub location: f64,
    /// w, how wide it is, above 0.
    pub scale: f64,
    /// a, how far it leans: 0 is the normal distribution.
    pub shape: f64,
}

/// Why values have no skew-normal fit that can be relied on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoFit {
    /// There are fewer than 50, or some are not finite.
    TooFew,
    /// All values are the same.
    NoSpread,
    /// The likelihood has no maximum inside the family, or it was not found.
    NotConverged,
    /// The Kolmogorov-Smirnov test tells the values from the fitted distribution.
    Poor {
        /// Its p-value, for a distribution that had not been fitted to the values: the true one is lower.
        p_value: f64,
    },
}

impl SkewNormal {
    /// The distribution under which values are the most likely, if it fits them.
    ///
    /// # Errors
    /// Why there is none. The test of the fit is lenient, as is the paper's: its p-value takes no notice of the three
    /// parameters that come from the values themselves.
    pub fn fit(values: &[f64]) -> Result<SkewNormal, NoFit> {
        let fitted = Self::most_likely(values)?;
        let p_value = fitted.kolmogorov_smirnov(values);
        if p_value < POOR { Err(NoFit::Poor { p_value }) } else { Ok(fitted) }
    }

    /// The distribution under which values are the most likely, however well it fits.
    fn most_likely(values: &[f64]) -> Result<SkewNormal, NoFit> {
        if values.len() < MIN_VALUES || values.iter().any(|value| !value.is_finite()) {
            return Err(NoFit::TooFew);
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        if deviation <= 1e-9 * mean.abs().max(1e-9) {
            return Err(NoFit::NoSpread);
        }
        let standard: Vec<f64> = values.iter().map(|value| (value - mean) / deviation).collect();
        let skewness = standard.iter().map(|value| value.powi(3)).sum::<f64>() / n;
        // The likelihood is stationary at a shape of 0 whatever the values are, so it is left on both sides.
        let starts = [shape_of(skewness), 1.5, -1.5];
        let climbed = starts.map(|shape| maximize(&standard, start(shape)));
        let highest = climbed.iter().map(|one| one.value).fold(f64::NEG_INFINITY, f64::max);
        let best = climbed.iter().filter(|one| one.value >= highest - AS_GOOD).find(|one| one.converged);
        let best = best.ok_or(NoFit::NotConverged)?;
        let [location, ln_scale, shape] = best.at;
        if shape.abs() > MAX_SHAPE {
            return Err(NoFit::NotConverged);
        }
        Ok(SkewNormal { location: mean + deviation * location, scale: deviation * ln_scale.exp(), shape })
    }

    /// The logarithm of the probability of at most `x`.
    pub fn ln_cdf(&self, x: f64) -> f64 {
        let z = (x - self.location) / self.scale;
        // The tail that is integrated is the one in which the density falls all the way.
        if self.slope(z) > 0.0 {
            self.ln_tail(z, -1.0)
        } else {
            (-self.ln_tail(z, 1.0).exp().min(1.0)).ln_1p()
        }
    }

    /// The logarithm of the density at z, in units of the scale.
    fn ln_density(&self, z: f64) -> f64 {
        LN_2 - 0.5 * z * z - 0.5 * (2.0 * PI).ln() + ln_normal_cdf(self.shape * z)
    }

    /// The derivative of [`SkewNormal::ln_density`].
    fn slope(&self, z: f64) -> f64 {
        self.shape * mills(self.shape * z) - z
    }

    /// The logarithm of the integral of the density from z on in the direction of `sign`, in which it falls.
    ///
    /// Relative to its value at z the density is 1 at the beginning and, being log-concave, falls at least as fast as at
    /// the beginning; so Gauss's rule on short panels, until nothing is left, has no cancellation anywhere.
    fn ln_tail(&self, z: f64, sign: f64) -> f64 {
        let at = self.ln_density(z);
        let width = 1.0 / self.shape.abs().max(self.slope(z).abs()).max(1.0);
        let mut sum = 0.0;
        let mut from = 0.0;
        loop {
            let panel: f64 = GAUSS
                .iter()
                .flat_map(|&(node, weight)| [(node, weight), (-node, weight)])
                .map(|(node, weight)| {
                    let step = from + width * 0.5 * (1.0 + node);
                    0.5 * width * weight * (self.ln_density(z + sign * step) - at).exp()
                })
                .sum();
            sum += panel;
            from += width;
            if panel <= 1e-17 * sum {
                return at + sum.ln();
            }
        }
    }

    /// The p-value of the test of Kolmogorov and Smirnov, by the series for large samples with Stephens's correction.
    fn kolmogorov_smirnov(&self, values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let distance = (0..sorted.len())
            .map(|i| {
                let expected = self.ln_cdf(sorted[i]).exp();
                (expected - i as f64 / n).max((i + 1) as f64 / n - expected)
            })
            .fold(0.0, f64::max);
        let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
        if lambda < 0.2 {
            return 1.0;
        }
        let term = |k: i32| {
            let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
            sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
        };
        (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
    }
}

/// Half the nodes and the weights of Gauss's rule of eight points; the others are their mirror images.
const GAUSS: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_3),
];

/// The logarithm of the normal distribution function, finite for every finite x.
fn ln_normal_cdf(x: f64) -> f64 {
    if x > -30.0 {
        return (0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)).ln();
    }
    // The asymptotic series of Mills's ratio; its next term is below 1e-11 of the sum here.
    let s = 1.0 / (x * x);
    let series = 1.0 - s * (1.0 - 3.0 * s * (1.0 - 5.0 * s * (1.0 - 7.0 * s)));
    -0.5 * x * x - (-x).ln() - 0.5 * (2.0 * PI).ln() + series.ln()
}

/// phi(x) / Phi(x), the derivative of [`ln_normal_cdf`].
fn mills(x: f64) -> f64 {
    (-0.5 * x * x - 0.5 * (2.0 * PI).ln() - ln_normal_cdf(x)).exp()
}

/// The shape with a given skewness, as far as there is one (Azzalini 1985).
fn shape_of(skewness: f64) -> f64 {
    let power = skewness.abs().min(0.95).powf(2.0 / 3.0);
    let delta = (PI / 2.0 * power / (power + ((4.0 - PI) / 2.0).powf(2.0 / 3.0))).sqrt();
    skewness.signum() * delta / (1.0 - delta * delta).sqrt()
}

/// Location, logarithm of the scale and shape with a mean of 0 and a deviation of 1.
fn start(shape: f64) -> [f64; 3] {
    let mean = (2.0 / PI).sqrt() * shape / (1.0 + shape * shape).sqrt();
    let scale = 1.0 / (1.0 - mean * mean).sqrt();
    [-scale * mean, scale.ln(), shape]
}

/// The mean log-likelihood and its gradient.
fn likelihood(values: &[f64], [location, ln_scale, shape]: [f64; 3]) -> (f64, [f64; 3]) {
    let scale = ln_scale.exp();
    let n = values.len() as f64;
    let (mut sum, mut gradient) = (0.0, [0.0; 3]);
    for value in values {
        let z = (value - location) / scale;
        let ratio = mills(shape * z);
        sum += LN_2 - ln_scale - 0.5 * z * z - 0.5 * (2.0 * PI).ln() + ln_normal_cdf(shape * z);
        gradient[0] += (z - shape * ratio) / scale;
        gradient[1] += z * z - shape * z * ratio - 1.0;
        gradient[2] += z * ratio;
    }
    (sum / n, gradient.map(|part| part / n))
}

/// Where a climb ended.
struct Climbed {
    at: [f64; 3],
    value: f64,
    /// Whether that is a maximum.
    converged: bool,
}

/// Climbs to a maximum by the method of Broyden, Fletcher, Goldfarb and Shanno.
fn maximize(values: &[f64], mut at: [f64; 3]) -> Climbed {
    let mut inverse = IDENTITY;
    let (mut value, mut gradient) = likelihood(values, at);
    for _ in 0..500 {
        if gradient.iter().all(|part| part.abs() < TOLERANCE) {
            return Climbed { at, value, converged: true };
        }
        let mut direction = times(&inverse, gradient);
        if dot(direction, gradient) <= 0.0 {
            (inverse, direction) = (IDENTITY, gradient);
        }
        // No step may change a parameter beyond reason.
        let longest = direction.iter().fold(0.0_f64, |longest, part| longest.max(part.abs()));
        let mut step = (2.0 / longest).min(1.0);
        let rise = dot(direction, gradient);
        let next = loop {
            let next: [f64; 3] = std::array::from_fn(|i| at[i] + step * direction[i]);
            let (higher, slope) = likelihood(values, next);
            if higher >= value + 1e-4 * step * rise {
                break Some((next, higher, slope));
            }
            step *= 0.5;
            if step < 1e-12 {
                break None;
            }
        };
        let Some((next, higher, slope)) = next else { break };
        let moved: [f64; 3] = std::array::from_fn(|i| next[i] - at[i]);
        let turned: [f64; 3] = std::array::from_fn(|i| gradient[i] - slope[i]);
        updated(&mut inverse, moved, turned);
        (at, value, gradient) = (next, higher, slope);
        if at[2].abs() > 10.0 * MAX_SHAPE {
            break;
        }
    }
    Climbed { at, value, converged: gradient.iter().all(|part| part.abs() < FLAT) }
}

const IDENTITY: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn times(matrix: &[[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| dot(row, vector))
}

/// The inverse Hessian after a step, where the step tells something of the curvature.
fn updated(inverse: &mut [[f64; 3]; 3], moved: [f64; 3], turned: [f64; 3]) {
    let curvature = dot(moved, turned);
    if curvature <= 1e-14 {
        return;
    }
    let spread = times(inverse, turned);
    let factor = (1.0 + dot(turned, spread) / curvature) / curvature;
    for (i, row) in inverse.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell += factor * moved[i] * moved[j] - (spread[i] * moved[j] + moved[i] * spread[j]) / curvature;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    /// Uniform numbers between 0 and 1 from a congruential generator (Knuth's MMIX), as the script of the goldens has
    /// them.
    pub(crate) fn uniforms(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        (0..n).map(|_| draw()).collect()
    }

    /// Skew-normal numbers from pairs of normal ones.
    fn drawn(seed: u64, n: usize, (location, scale, shape): (f64, f64, f64)) -> Vec<f64> {
        let normal = Normal::standard();
        let delta = shape / (1.0 + shape * shape).sqrt();
        let pairs: Vec<f64> = uniforms(2 * n, seed).into_iter().map(|u| normal.inverse_cdf(u)).collect();
        let of = |pair: &[f64]| delta * pair[0].abs() + (1.0 - delta * delta).sqrt() * pair[1];
        pairs.chunks(2).map(|pair| location + scale * of(pair)).collect()
    }

    /// Goldens from scipy 1.17: `skewnorm.fit` of the same numbers, which agrees with the negative log-likelihood
    /// minimised to 1e-10 by `minimize(..., method="Nelder-Mead")`; and `kstest` against that.
    #[test]
    fn fits_equal_those_of_scipy() {
        for (seed, n, parameters, [location, scale, shape], p_value) in [
            (1, 400, (20.0, 3.0, 4.0), [19.988_804, 3.025_074, 3.636_118], 0.823_9),
            (2, 1000, (35.0, 6.0, -2.5), [35.010_390, 5.880_756, -2.495_783], 0.995_0),
            (3, 300, (5.0, 0.5, 8.0), [5.016_389, 0.496_203, 9.102_418], 0.546_7),
            (4, 2000, (0.0, 1.0, 1.5), [0.016_154, 0.979_517, 1.420_256], 0.998_1),
        ] {
            let values = drawn(seed, n, parameters);
            let fitted = SkewNormal::fit(&values).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() < 1e-3 * b.abs().max(0.1);
            assert!(near(fitted.location, location), "{seed}: {fitted:?}");
            assert!(near(fitted.scale, scale) && near(fitted.shape, shape), "{seed}: {fitted:?}");
            assert!((fitted.kolmogorov_smirnov(&values) - p_value).abs() < 0.02, "{seed}");
        }
    }

    /// Goldens from mpmath at 40 digits: log of the integral of 2 phi(t) Phi(a t). scipy 1.17's `skewnorm.logcdf` agrees
    /// wherever it is finite, and gives minus infinity for the first two of the shape 8.
    #[test]
    fn logarithms_of_the_distribution_function_are_right_in_the_extreme_tails() {
        for (shape, goldens) in [
            (0.0, [-454.321_244, -35.013_437_16, -1.841_021_645, -0.368_946_415_3, -0.023_012_909_33]),
            (4.0, [-7_662.166_832, -553.525_926_3, -14.016_441_36, -0.956_202_519_4, -0.046_567_912_29]),
            (-2.5, [-453.628_096_8, -34.320_289_98, -1.148_954_411, -0.012_939_760_51, -2.008_408_778e-9]),
            (8.0, [-29_264.201_01, -2_091.558_166, -39.942_666_06, -0.959_914_714_4, -0.046_567_912_29]),
            (50.0, [-1_125_469.683_6, -80_049.040_10, -1_263.382_397, -0.959_916_333_7, -0.046_567_912_29]),
        ] {
            let distribution = SkewNormal { location: 3.0, scale: 2.0, shape };
            for (z, golden) in [-30.0, -8.0, -1.0, 0.5, 2.0].into_iter().zip(goldens) {
                let found = distribution.ln_cdf(3.0 + 2.0 * z);
                assert!((found / golden - 1.0).abs() < 1e-7, "{shape} at {z}: {found}, {golden}");
            }
        }
        let steep = SkewNormal { location: 0.0, scale: 1.0, shape: 80.0 };
        assert!(steep.ln_cdf(-1e6).is_finite() && steep.ln_cdf(1e6) == 0.0);
    }

    #[test]
    fn the_distribution_function_rises_and_its_two_ways_meet() {
        for shape in [-60.0, -3.0, -0.1, 0.0, 0.7, 12.0, 99.0] {
            let distribution = SkewNormal { location: 0.0, scale: 1.0, shape };
            let values: Vec<f64> = (-600..=600).map(|i| distribution.ln_cdf(f64::from(i) / 100.0)).collect();
            assert!(values.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{shape}");
            let step = |pair: &[f64]| pair[1].exp() - pair[0].exp();
            let most = values.windows(2).map(step).fold(0.0, f64::max);
            assert!(most < 0.0085, "no density of the family is above 0.8: {shape}, {most}");
        }
    }

    #[test]
    fn what_has_no_fit_says_why() {
        let values = drawn(5, 400, (0.0, 1.0, 2.0));
        assert_eq!(SkewNormal::fit(&values[..MIN_VALUES - 1]), Err(NoFit::TooFew));
        assert_eq!(SkewNormal::fit(&[f64::NAN; 100]), Err(NoFit::TooFew));
        assert_eq!(SkewNormal::fit(&[7.25; 100]), Err(NoFit::NoSpread));
        // Half-normal numbers: the likelihood rises with the shape without end.
        let half: Vec<f64> = drawn(6, 200, (0.0, 1.0, 0.0)).iter().map(|value| value.abs()).collect();
        assert_eq!(SkewNormal::fit(&half), Err(NoFit::NotConverged));
        // Lumps as high as a normal distribution would have them.
        let heights = [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4].map(f64::from);
        let lumps: Vec<f64> = (0..400).map(|i| heights[i % 16] + 1e-3 * values[i]).collect();
        assert!(matches!(SkewNormal::fit(&lumps), Err(NoFit::Poor { p_value }) if p_value < 1e-6));
    }

    /// Losses of real references hardly lean, and there the likelihood is flat.
    #[test]
    fn values_that_hardly_lean_have_a_fit_nearly_always() {
        let sums = |seed| -> Vec<f64> {
            uniforms(6 * 255, seed).chunks(6).map(|six| 40.0 + 3.0 * six.iter().sum::<f64>()).collect()
        };
        let fits = (1..=60).filter(|seed| SkewNormal::fit(&sums(*seed)).is_ok());
        assert!(fits.count() >= 57);
    }

    #[test]
    fn values_without_a_lean_are_fitted_as_well() {
        let normal = Normal::standard();
        let even: Vec<f64> = (0..500).map(|i| normal.inverse_cdf((f64::from(i) + 0.5) / 500.0)).collect();
        let fitted = SkewNormal::fit(&even).unwrap();
        for z in [-3.0, -1.0, 0.0, 1.0, 3.0] {
            assert!((fitted.ln_cdf(z).exp() - normal.cdf(z)).abs() < 2e-3, "{fitted:?}");
        }
    }
}

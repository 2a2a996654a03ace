//! The functions between matrix products: norms, activations, softmax, and what a row of logits says. Plain loops over
//! sixteen numbers, which become vectors; sums run in sixteen chains and meet in a fixed order, so that the bytes do
//! not depend on the width of the vectors.

use crate::engine::kernel::{Arithmetic, Job, Kernel};

/// Numbers side by side in a loop.
const LANES: usize = 16;

/// The function between the two matrices of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// The tanh form of GELU (Hendrycks and Gimpel 2016, section 2), `gelu_new` in `transformers`.
    GeluTanh,
    /// x times the normal distribution's function, `gelu` in `transformers`.
    GeluErf,
    /// x times the logistic function, also called swish.
    Silu,
}

/// e^x, within two units in the last place; 1.2e-38 below -87.3.
///
/// x = n ln 2 + r with |r| at most ln 2 / 2, e^r by its Taylor polynomial of degree 7, 2^n through the exponent.
#[inline(always)]
fn exp<A: Arithmetic>(a: A, x: f32) -> f32 {
    /// Adding it leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has so few bits that n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = x.clamp(-87.3, 88.3);
    let shifted = a.mul_add_one(x, std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = a.mul_add_one(n, -LN_2[1], a.mul_add_one(n, -LN_2[0], x));
    let mut y = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        y = a.mul_add_one(y, r, coefficient);
    }
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[inline(always)]
fn activated<A: Arithmetic>(a: A, activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::GeluTanh => {
            // 0.5 (1 + tanh u) is 1 / (1 + e^-2u).
            let cube = x * x * x;
            let u = 0.797_884_6 * a.mul_add_one(0.044_715, cube, x);
            x / (1.0 + exp(a, -2.0 * u))
        }
        Activation::GeluErf => {
            // Abramowitz and Stegun 1964, 7.1.26: erf within 1.5e-7.
            let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
            let t = 1.0 / a.mul_add_one(0.327_591_1, z, 1.0);
            let mut y = 1.061_405_4;
            for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6, 0.0] {
                y = a.mul_add_one(y, t, coefficient);
            }
            let erf = 1.0 - y * exp(a, -z * z);
            0.5 * x * (1.0 + erf.copysign(x))
        }
        Activation::Silu => x / (1.0 + exp(a, -x)),
    }
}

struct Activate<'a>(Activation, &'a mut [f32]);

impl Job for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) {
        let Self(activation, values) = self;
        // The choice stands outside of the loops, which then have no branch.
        match activation {
            Activation::GeluTanh => each(a, values, Activation::GeluTanh),
            Activation::GeluErf => each(a, values, Activation::GeluErf),
            Activation::Silu => each(a, values, Activation::Silu),
        }
    }
}

#[inline(always)]
fn each<A: Arithmetic>(a: A, values: &mut [f32], activation: Activation) {
    for x in values {
        *x = activated(a, activation, *x);
    }
}

/// Applies an activation to each number.
pub(crate) fn activate(kernel: Kernel, activation: Activation, values: &mut [f32]) {
    kernel.run(Activate(activation, values));
}

/// What is summed over a row, in N sums. A trait and no closure: what is not inlined loses its vector instructions.
trait Terms<const N: usize>: Copy {
    /// Stands after the end of a row.
    const FILLER: f32;

    /// Adds sixteen numbers to the sixteen chains of each sum; must be `inline(always)`.
    fn add<A: Arithmetic>(self, a: A, block: &[f32; LANES], sums: &mut [[f32; LANES]; N]);
}

/// Sums over a row: number i goes to chain i mod 16, the chains are added in pairs.
#[inline(always)]
fn sum_by<A: Arithmetic, T: Terms<N>, const N: usize>(a: A, values: &[f32], terms: T) -> [f32; N] {
    let mut chains = [[0.0f32; LANES]; N];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        terms.add(a, block, &mut chains);
    }
    if !rest.is_empty() {
        let mut block = [T::FILLER; LANES];
        block[..rest.len()].copy_from_slice(rest);
        terms.add(a, &block, &mut chains);
    }
    let mut sums = [0.0; N];
    for (sum, chain) in sums.iter_mut().zip(&mut chains) {
        for width in [8, 4, 2, 1] {
            for at in 0..width {
                chain[at] += chain[at + width];
            }
        }
        *sum = chain[0];
    }
    sums
}

/// x * x.
#[derive(Clone, Copy)]
struct Squares;

impl Terms<1> for Squares {
    const FILLER: f32 = 0.0;

    #[inline(always)]
    fn add<A: Arithmetic>(self, a: A, block: &[f32; LANES], [sum]: &mut [[f32; LANES]; 1]) {
        for at in 0..LANES {
            sum[at] = a.mul_add_one(block[at], block[at], sum[at]);
        }
    }
}

/// x times a factor: 1 for the sum itself; 0 for zero, or NaN where a number is NaN or infinite.
#[derive(Clone, Copy)]
struct Times(f32);

impl Terms<1> for Times {
    const FILLER: f32 = 0.0;

    #[inline(always)]
    fn add<A: Arithmetic>(self, a: A, block: &[f32; LANES], [sum]: &mut [[f32; LANES]; 1]) {
        for at in 0..LANES {
            sum[at] = a.mul_add_one(block[at], self.0, sum[at]);
        }
    }
}

/// Takes the mean off a row.
#[inline(always)]
fn centre<A: Arithmetic>(a: A, row: &mut [f32]) {
    let mean = sum_by(a, row, Times(1.0))[0] / row.len() as f32;
    for x in row {
        *x -= mean;
    }
}

/// One over the root of the mean square, to which `epsilon` is added.
#[inline(always)]
fn inverse_root<A: Arithmetic>(a: A, row: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum_by(a, row, Squares)[0] / row.len() as f32 + epsilon).sqrt()
}

/// With d = x - max: e^d, e^d d and e^d d^2.
#[derive(Clone, Copy)]
struct Weighted {
    max: f32,
}

impl Terms<3> for Weighted {
    const FILLER: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn add<A: Arithmetic>(self, a: A, block: &[f32; LANES], sums: &mut [[f32; LANES]; 3]) {
        let (mut below, mut weight) = ([0.0; LANES], [0.0; LANES]);
        for at in 0..LANES {
            // Below -87 the weight is nothing, and an infinite difference times nothing must be nothing, too.
            below[at] = (block[at] - self.max).max(-87.0);
            weight[at] = if below[at] > -87.0 { exp(a, below[at]) } else { 0.0 };
        }
        for at in 0..LANES {
            sums[0][at] += weight[at];
            weight[at] *= below[at];
            sums[1][at] += weight[at];
            sums[2][at] = a.mul_add_one(weight[at], below[at], sums[2][at]);
        }
    }
}

/// A norm over a row.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    /// With a bias it is layer norm (Ba et al. 2016), without RMS norm (Zhang and Sennrich 2019).
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) epsilon: f32,
}

struct Normalize<'a>(&'a Norm, &'a mut [f32]);

impl Job for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) {
        let Self(norm, row) = self;
        if norm.bias.is_some() {
            centre(a, row);
        }
        let scale = inverse_root(a, row, norm.epsilon);
        match &norm.bias {
            Some(bias) => {
                for ((x, weight), bias) in row.iter_mut().zip(&norm.weight).zip(bias) {
                    *x = a.mul_add_one(*x * scale, *weight, *bias);
                }
            }
            None => {
                for (x, weight) in row.iter_mut().zip(&norm.weight) {
                    *x = *x * scale * weight;
                }
            }
        }
    }
}

impl Norm {
    /// Normalises a row in place.
    pub(crate) fn apply(&self, kernel: Kernel, row: &mut [f32]) {
        kernel.run(Normalize(self, row));
    }
}

struct Softmax<'a>(&'a mut [f32]);

impl Job for Softmax<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) -> f32 {
        let max = max(self.0);
        for x in self.0.iter_mut() {
            *x = exp(a, *x - max);
        }
        sum_by(a, self.0, Times(1.0))[0]
    }
}

/// Turns logits into weights, e^(x - max); returns their sum.
pub(crate) fn softmax_weights(kernel: Kernel, row: &mut [f32]) -> f32 {
    kernel.run(Softmax(row))
}

/// The largest number; a NaN may be passed over.
#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for at in 0..LANES {
            lanes[at] = if block[at] > lanes[at] { block[at] } else { lanes[at] };
        }
    }
    let mut max = f32::NEG_INFINITY;
    for x in rest.iter().chain(&lanes) {
        max = if *x > max { *x } else { max };
    }
    max
}

/// The largest logit of a part of a row, NaN where one is NaN or infinite.
struct Largest<'a>(&'a [f32]);

impl Job for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) -> f32 {
        max(self.0) + sum_by(a, self.0, Times(0.0))[0]
    }
}

/// The largest number, or NaN where one is NaN or infinite.
pub(crate) fn largest_finite(kernel: Kernel, values: &[f32]) -> f32 {
    kernel.run(Largest(values))
}

struct Moments<'a>(&'a [f32], f32);

impl Job for Moments<'_> {
    type Output = [f32; 3];

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) -> [f32; 3] {
        sum_by(a, self.0, Weighted { max: self.1 })
    }
}

/// With d = x - `max` and weights e^d: the sums of the weights, of weight d and of weight d^2.
pub(crate) fn moments(kernel: Kernel, values: &[f32], max: f32) -> [f32; 3] {
    kernel.run(Moments(values, max))
}

struct Above<'a>(&'a [f32], f32);

impl Job for Above<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<A: Arithmetic>(self, _: A) -> u32 {
        let mut counts = [0u32; LANES];
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        for block in blocks {
            for at in 0..LANES {
                counts[at] += u32::from(block[at] > self.1);
            }
        }
        for (at, x) in rest.iter().enumerate() {
            counts[at] += u32::from(*x > self.1);
        }
        counts.iter().sum()
    }
}

/// How many numbers are above `limit`.
pub(crate) fn count_above(kernel: Kernel, values: &[f32], limit: f32) -> u32 {
    kernel.run(Above(values, limit))
}

struct Maxima<'a>(&'a [f32], &'a mut Vec<f32>);

impl Job for Maxima<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, _: A) {
        for part in self.0.chunks(64) {
            self.1.push(max(part));
        }
    }
}

/// Appends the largest of every 64 numbers.
pub(crate) fn push_maxima(kernel: Kernel, values: &[f32], out: &mut Vec<f32>) {
    kernel.run(Maxima(values, out));
}

struct GeluBackward<'a>(&'a [f32], &'a mut [f32]);

impl Job for GeluBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) {
        for (x, gradient) in self.0.iter().zip(self.1.iter_mut()) {
            // With s = 1 / (1 + e^-2u): gelu = x s, and its slope s + x s (1 - s) 2 u'.
            let square = x * x;
            let u = 0.797_884_6 * x * a.mul_add_one(0.044_715, square, 1.0);
            let slope = 0.797_884_6 * a.mul_add_one(0.134_145, square, 1.0);
            let s = 1.0 / (1.0 + exp(a, -2.0 * u));
            *gradient *= a.mul_add_one(2.0 * x * s * (1.0 - s), slope, s);
        }
    }
}

/// From the gradient of the output of [`Activation::GeluTanh`] at `x` to that of its input.
pub(crate) fn gelu_backward(kernel: Kernel, x: &[f32], gradient: &mut [f32]) {
    kernel.run(GeluBackward(x, gradient));
}

struct Standardize<'a>(&'a mut [f32], f32);

impl Job for Standardize<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) -> f32 {
        let Self(row, epsilon) = self;
        centre(a, row);
        let scale = inverse_root(a, row, epsilon);
        for x in row.iter_mut() {
            *x *= scale;
        }
        scale
    }
}

/// Brings a row to mean 0 and variance 1; returns what it was multiplied by.
pub(crate) fn standardize(kernel: Kernel, row: &mut [f32], epsilon: f32) -> f32 {
    kernel.run(Standardize(row, epsilon))
}

struct NormBackward<'a> {
    weight: &'a [f32],
    x: &'a [f32],
    scale: f32,
    gradient: &'a mut [f32],
}

impl Job for NormBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) {
        let Self { weight, x, scale, gradient } = self;
        let n = x.len() as f32;
        let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
        for at in 0..x.len() {
            gradient[at] *= weight[at];
            sums[at % LANES] += gradient[at];
            products[at % LANES] = a.mul_add_one(gradient[at], x[at], products[at % LANES]);
        }
        let mean = sums.iter().sum::<f32>() / n;
        let slope = products.iter().sum::<f32>() / n;
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = scale * (*gradient - mean - x * slope);
        }
    }
}

/// From the gradient of a layer norm's output to that of its input; `x` and `scale` are those of [`standardize`].
pub(crate) fn norm_backward(kernel: Kernel, weight: &[f32], (x, scale): (&[f32], f32), gradient: &mut [f32]) {
    kernel.run(NormBackward { weight, x, scale, gradient });
}

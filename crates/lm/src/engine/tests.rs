//! The engine's kernels against the same arithmetic, one number after the other, bit for bit.

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use super::kernel::Kernel;
use super::math::{self, Activation, Norm};
use super::packed::{Columns, Finish, Packed, Rows, WeightType, bf16_bits, product};

/// The kernels with fused arithmetic that this machine has, and their twin.
fn fused() -> Vec<Kernel> {
    let found = ["avx512", "avx2"].iter().filter_map(|name| name.parse().ok());
    found.chain([Kernel::fused_scalar()]).collect()
}

/// Any deterministic numbers will do.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let number = |i: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&i.to_le_bytes(), seed);
    (0..n as u64).map(|i| (number(i) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// A product by a kernel, (R, N) row after row.
fn multiplied(kernel: Kernel, (r, k, n): (usize, usize, usize), weight_type: WeightType) -> Vec<f32> {
    let (x, w, bias) = (noise(r * k, 1), noise(k * n, 2), noise(n, 3));
    let packed = Packed::new((k, n), weight_type, |depth, column| w[depth * n + column]).with_bias(&bias);
    let mut rows = Rows::default();
    rows.fill((r, k), kernel, |row, out| out.copy_from_slice(&x[row * k..][..k]));
    let mut columns = Columns::default();
    columns.reshape(Rows::padded(r, kernel), n);
    product(kernel, &rows, &packed, &mut columns, Finish::Store);
    let mut out = vec![0.0; r * n];
    out.chunks_mut(n).enumerate().for_each(|(row, out)| columns.copy(row, 0, out));
    out
}

/// The definition: a chain from the bias over the depth, each step by `mul_add`.
fn chain(
    (r, k, n): (usize, usize, usize),
    weight_type: WeightType,
    mul_add: fn(f32, f32, f32) -> f32,
) -> Vec<f32> {
    let (x, mut w, bias) = (noise(r * k, 1), noise(k * n, 2), noise(n, 3));
    if weight_type == WeightType::Bf16 {
        w.iter_mut().for_each(|w| *w = f32::from_bits(u32::from(bf16_bits(*w)) << 16));
    }
    let number = |row: usize, column: usize| {
        (0..k).fold(bias[column], |sum, depth| mul_add(x[row * k + depth], w[depth * n + column], sum))
    };
    (0..r * n).map(|at| number(at / n, at % n)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn products_are_chains_bit_for_bit(
        // A single row goes another way.
        r in prop_oneof![Just(1), 1usize..40], k in 1usize..70, n in 1usize..300, bf16: bool
    ) {
        let weight_type = if bf16 { WeightType::Bf16 } else { WeightType::F32 };
        let expected = chain((r, k, n), weight_type, f32::mul_add);
        for kernel in fused() {
            prop_assert_eq!(&multiplied(kernel, (r, k, n), weight_type), &expected, "{}", kernel.name());
        }
        let portable = multiplied("portable".parse().unwrap(), (r, k, n), weight_type);
        prop_assert_eq!(portable, chain((r, k, n), weight_type, |a, b, c| a * b + c));
    }

    #[test]
    fn rows_are_the_same_by_every_fused_kernel(n in 1usize..200, seed: u64, shift in -50.0f32..50.0) {
        let row: Vec<f32> = noise(n, seed).iter().map(|x| x * 20.0 + shift).collect();
        let all = |kernel: Kernel| {
            let mut out = vec![math::largest_finite(kernel, &row), math::softmax_weights(kernel, &mut row.clone())];
            out.extend(math::moments(kernel, &row, out[0]));
            out.push(math::count_above(kernel, &row, row[n / 2]) as f32);
            math::push_maxima(kernel, &row, &mut out);
            for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
                let mut values = row.clone();
                math::activate(kernel, activation, &mut values);
                out.extend(values);
            }
            for bias in [None, Some(noise(n, 7))] {
                let mut values = row.clone();
                Norm { weight: noise(n, 8), bias, epsilon: 1e-5 }.apply(kernel, &mut values);
                out.extend(values);
            }
            out.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
        };
        let expected = all(Kernel::fused_scalar());
        for kernel in fused() {
            prop_assert_eq!(&all(kernel), &expected, "{}", kernel.name());
        }
    }
}

/// erf by its series, in f64.
fn erf(x: f64) -> f64 {
    let term = |(sum, term): (f64, f64), n: i32| {
        let term = term * -x * x / f64::from(n);
        (sum + term / f64::from(2 * n + 1), term)
    };
    2.0 / std::f64::consts::PI.sqrt() * (1..120).fold((x, x), term).0
}

#[test]
fn activations_are_those_of_their_definitions() {
    let xs: Vec<f32> = (-600..=600).map(|i| i as f32 / 100.0).collect();
    type Definition = fn(f64) -> f64;
    let definitions: [(Activation, Definition); 3] = [
        (Activation::GeluTanh, |x| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }),
        (Activation::GeluErf, |x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))),
        (Activation::Silu, |x| x / (1.0 + (-x).exp())),
    ];
    for kernel in ["auto", "portable"].map(|name| name.parse::<Kernel>().unwrap()) {
        for (activation, definition) in definitions {
            let mut values = xs.clone();
            math::activate(kernel, activation, &mut values);
            let error = |(x, y): (&f32, &f32)| (definition(f64::from(*x)) - f64::from(*y)).abs();
            let largest = xs.iter().zip(&values).map(error).fold(0.0, f64::max);
            assert!(largest < 1e-6, "{activation:?} by {}: {largest:e}", kernel.name());
            // Far out nothing overflows.
            let mut far = [-1e30, -200.0, 200.0, 1e30];
            math::activate(kernel, activation, &mut far);
            assert!(far[0].abs() < 1e-8 && far[1].abs() < 1e-8, "{activation:?}: {far:?}");
            assert_eq!(far[2..], [200.0, 1e30], "{activation:?}");
        }
    }
}

#[test]
fn the_sum_of_weights_is_that_of_f64() {
    for n in [1, 7, 16, 500, 3000] {
        let row: Vec<f32> = noise(n, 5).iter().map(|x| x * 30.0).collect();
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let expected: f64 = row.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).sum();
        for kernel in ["auto", "portable"].map(|name| name.parse::<Kernel>().unwrap()) {
            let mut weights = row.clone();
            let sum = f64::from(math::softmax_weights(kernel, &mut weights));
            assert!((sum / expected - 1.0).abs() < 1e-6, "{n}: {sum} against {expected}");
        }
    }
}

#[test]
fn a_product_is_the_same_for_every_number_of_threads() {
    let size = (37, 50, 700);
    let by = |n_threads| {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| multiplied(Kernel::default(), size, WeightType::F32))
    };
    let one = by(1);
    assert!([2, 3, 8].into_iter().all(|n_threads| by(n_threads) == one));
}

#[test]
fn bf16_rounds_to_the_nearest_even() {
    let near = 1.0 + f32::EPSILON;
    for (x, bits) in [(1.0, 0x3f80), (near, 0x3f80), (-2.5, 0xc020), (f32::MAX, 0x7f80), (0.0, 0)] {
        assert_eq!(bf16_bits(x), bits, "{x}");
    }
    // Halfway between two: the one whose last bit is zero.
    assert_eq!(bf16_bits(f32::from_bits(0x3f80_8000)), 0x3f80);
    assert_eq!(bf16_bits(f32::from_bits(0x3f81_8000)), 0x3f82);
    assert!(f32::from_bits(u32::from(bf16_bits(f32::NAN)) << 16).is_nan());
}

//! Goldens from outside, and simulations in which what there is is known.

use super::*;

/// Numbers that look random, for simulations only.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn near(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} is not {b}");
}

/// Words of Shakespeare by how often he used them, up to a hundred times (Efron and Thisted 1976, table 1).
const SHAKESPEARE: [u64; 100] = [
    14376, 4343, 2292, 1463, 1043, 837, 638, 519, 430, 364, 305, 259, 242, 223, 187, 181, 179, 130, 127, 128,
    104, 105, 99, 112, 93, 74, 83, 76, 72, 63, 73, 47, 56, 59, 53, 45, 34, 49, 45, 52, 49, 41, 30, 35, 37,
    21, 41, 30, 28, 19, 25, 19, 28, 27, 31, 19, 19, 22, 23, 14, 30, 19, 21, 18, 15, 10, 15, 14, 11, 16, 13,
    12, 10, 16, 18, 11, 8, 15, 12, 7, 13, 12, 11, 8, 10, 11, 7, 12, 9, 8, 4, 7, 6, 7, 10, 10, 15, 7, 7, 5,
];

fn shakespeare() -> Frequencies {
    let counts = (1..).zip(SHAKESPEARE).flat_map(|(k, n)| std::iter::repeat_n(k, n as usize));
    let words = Frequencies::new(0, counts);
    Frequencies { n_draws: words.n_seen(), ..words }
}

/// Efron and Thisted give 11 430 ± 178, from these and the 846 words that stand more than a hundred times. Beyond: numpy,
/// sum of (-1)^(k+1) t^k P[L >= k] f_k with `scipy.stats.binom(floor(log3(n t^2 / (t - 1)) / 2), 2 / (2 + t)).sf(k - 1)`.
#[test]
fn the_words_that_shakespeare_would_use_next() {
    let words = shakespeare();
    assert_eq!((words.n_distinct(), words.n_seen()), (31_534 - 846, 194_667));
    near(words.growth(1.0), 11_430.0, 178.0);
    for (times, expected) in [
        (0.0, 0.0),
        (0.5, 6_320.375_121_435_284),
        (1.0, 11_486.0),
        (2.0, 19_630.812_5),
        (5.0, 35_259.099_694_855_04),
        (10.0, 48_106.358_453_360_765),
    ] {
        near(words.growth(times), expected, 1e-6);
    }
}

/// The spiders of a girdled and of a logged hemlock plot (Ellison et al. 2010), as in the R package iNEXT: its coverages
/// are 0.9289 and 0.9446 with the correction of Chao and Jost 2012, 1 - f1/n without; the bounds are the formulas of the
/// EstimateS guide in python3.
#[test]
fn spiders_are_counted_as_elsewhere() {
    let girdled = [&[46, 22, 17, 15, 15, 9, 8, 6, 6, 4][..], &[2; 4], &[1; 12]].concat();
    let logged =
        [&[88, 22, 16, 15, 13, 10, 8, 8, 7, 7, 7, 5, 4, 4, 4, 3, 3, 3, 3][..], &[2; 4], &[1; 14]].concat();
    for (counts, n, coverage, [bound, variance, low, high]) in [
        (girdled, 168, 0.928_571_428_6, [39.121_428_571_4, 103.395_465_47, 29.421_499_526, 76.320_593_774]),
        (logged, 252, 0.944_444_444_4, [55.127_777_777_8, 171.957_997_266, 42.083_174_56, 101.647_854_074]),
    ] {
        let spiders = Frequencies::new(n, counts);
        assert_eq!(spiders.n_seen(), n);
        near(spiders.coverage().unwrap(), coverage, 1e-9);
        near(spiders.chao_variance(), variance, 1e-6);
        let interval = spiders.chao_interval(spiders.chao_variance(), 0.95);
        near(interval.value, bound, 1e-9);
        near(interval.low, low, 1e-6);
        near(interval.high, high, 1e-6);
    }
}

/// scikit-bio: `chao1_ci([1, 1, 4, 2, 5, 2, 4, 1, 2])` and `chao1_ci([2, 2, 2, 3, 5, 9])`, which do not correct for the
/// number of draws and take 1.96 for the quantile.
#[test]
fn the_bound_equals_scikit_bio() {
    let many = 1 << 60;
    for (counts, value, low, high) in [
        (&[1, 1, 4, 2, 5, 2, 4, 1, 2][..], 9.75, 9.066_559_447, 17.451_091_783),
        (&[2, 2, 2, 3, 5, 9], 6.0, 6.0, 6.846_672_059),
    ] {
        let seen = Frequencies::new(many, counts.iter().copied());
        let interval = seen.chao_interval(seen.chao_variance(), 0.95);
        near(interval.value, value, 1e-9);
        near(interval.low, low, 1e-3);
        near(interval.high, high, 1e-3);
    }
    // Nothing was seen twice; python3.
    let once = Frequencies::new(18, [1, 1, 1, 1, 1, 3, 3, 7]);
    near(once.chao_variance(), 91.767_515_923_566_88, 1e-9);
}

/// numpy: figures of all lists but one, `(n - 1) / n * ((values - values.mean()) ** 2).sum()`.
#[test]
fn the_jackknife_equals_numpy() {
    let holdings: [&[u32]; 6] = [&[0, 1], &[0], &[1, 2], &[3], &[0, 4, 5], &[4]];
    let counts = [3, 2, 1, 1, 2, 1];
    let all = Frequencies::new(7, counts);
    let figures = [Figure::Coverage, Figure::Chao, Figure::Growth(1.0)];
    let values = figures.map(|figure| figure.of(&all));
    let variances = jackknife(&all, &counts, &holdings, &figures);
    for (value, expected) in values.iter().zip([0.7, 6.857_142_857, 2.0]) {
        near(*value, expected, 1e-9);
    }
    for (variance, expected) in variances.iter().zip([0.046_246_28, 6.148_384_35, 9.306_122_45]) {
        near(*variance, expected, 1e-7);
    }
    let share = share(&[(0, 10), (3, 12), (5, 5), (0, 20), (1, 7)], 0.95).unwrap();
    near(share.value, 1.0 / 6.0, 1e-12);
    // Its lower end is below 0.
    assert_eq!(share.low, 0.0);
    near(share.high, 0.406_194_591, 1e-8);
}

#[test]
fn nothing_seen_and_everything_seen_are_not_certain() {
    let nothing = richness(50, &[], &[1.0], 0.95);
    assert_eq!((nothing.coverage, nothing.at_least, nothing.growth.len()), (None, None, 0));
    let few = share(&[(0, 10); 9], 0.95).unwrap();
    assert!(few.low == 0.0 && few.high > 0.2, "{few:?}");
    let all = share(&[(10, 10); 9], 0.95).unwrap();
    assert!(all.low < 0.8 && all.high == 1.0, "{all:?}");
    assert_eq!(share(&[(0, 0)], 0.95), None);
    let same = vec![&[0_u32, 1, 2][..]; 12];
    let same = richness(20, &same, &[], 0.95);
    let coverage = same.coverage.unwrap();
    assert!(coverage.value == 1.0 && coverage.low < 0.8, "{coverage:?}");
    assert_eq!(same.at_least.unwrap().value, 3.0);
}

#[test]
fn what_was_nearly_all_seen_once_is_inconclusive() {
    let once: Vec<[u32; 1]> = (0..40).map(|i| [i.max(1)]).collect();
    let once: Vec<&[u32]> = once.iter().map(|things| &things[..]).collect();
    let found = richness(100, &once, &[1.0], 0.95);
    assert!(found.coverage.unwrap().value < MIN_COVERAGE);
    assert_eq!((found.n_distinct, found.n_once, found.at_least), (39, 38, None));
    assert!(found.growth.is_empty());
    let few = richness(100, &[&[0, 1], &[0, 1], &[0]], &[1.0], 0.95);
    assert_eq!(few.at_least, None, "three draws say nothing");
}

/// What a world of things shows of itself in draws: means over many.
struct Simulated {
    /// Of the bound over the number of things.
    mean_bound: f64,
    /// How often the interval of the bound holds the number of things.
    held: f64,
    /// The same, of an interval that takes the things of one draw as independent.
    held_naively: f64,
    /// Of the distance between the coverage and the truth, and of the difference.
    coverage_error: (f64, f64),
    /// How often the interval of the coverage holds the truth.
    coverage_held: f64,
    /// Of what the growth says over what as many draws again showed.
    mean_growth: f64,
    /// How often its interval holds what is to be expected of them.
    growth_held: f64,
}

/// Draws of groups of things that come together: each draw has each group with its chance.
fn simulate(chances: &[f64], group: u32, n_draws: u64, stream: &mut Stream) -> Simulated {
    let n_worlds = 200;
    let n_things = chances.len() as u32 * group;
    let mut sums = [0.0; 9];
    for _ in 0..n_worlds {
        let draws: Vec<Vec<u32>> = (0..n_draws)
            .map(|_| {
                let groups = (0_u32..).zip(chances);
                let had: Vec<u32> =
                    groups.filter(|(_, chance)| stream.unit() < **chance).map(|(i, _)| i).collect();
                had.iter().flat_map(|i| i * group..(i + 1) * group).collect()
            })
            .collect();
        let holdings: Vec<&[u32]> = draws.iter().map(Vec::as_slice).collect();
        let found = richness(n_draws, &holdings, &[1.0], 0.95);
        let (bound, coverage, growth) =
            (found.at_least.unwrap(), found.coverage.unwrap(), found.growth[0].new);
        let mut counts = vec![0; n_things as usize];
        draws.iter().flatten().for_each(|&thing| counts[thing as usize] += 1);
        let naive = Frequencies::new(n_draws, counts.iter().copied());
        let naive = naive.chao_interval(naive.chao_variance(), 0.95);
        let is_seen = |i: usize| counts[i * group as usize] > 0;
        let all: f64 = chances.iter().sum();
        let seen = chances.iter().enumerate().filter(|(i, _)| is_seen(*i)).map(|(_, chance)| chance);
        let truth = seen.sum::<f64>() / all;
        let unseen = chances.iter().enumerate().filter(|(i, _)| !is_seen(*i));
        let new: f64 = unseen.map(|(_, chance)| 1.0 - (1.0 - chance).powi(n_draws as i32)).sum();
        let new = new * f64::from(group);
        let holds =
            |estimate: &Estimate, truth: f64| f64::from(estimate.low <= truth && truth <= estimate.high);
        let error = coverage.value - truth;
        for (sum, value) in sums.iter_mut().zip([
            bound.value / f64::from(n_things),
            holds(&bound, f64::from(n_things)),
            holds(&naive, f64::from(n_things)),
            error.abs(),
            error,
            holds(&coverage, truth),
            growth.value,
            new,
            holds(&growth, new),
        ]) {
            *sum += value / f64::from(n_worlds);
        }
    }
    let [mean_bound, held, held_naively, distance, error, coverage_held, growth, new, growth_held] = sums;
    let mean_growth = growth / new;
    let coverage_error = (distance, error);
    Simulated { mean_bound, held, held_naively, coverage_error, coverage_held, mean_growth, growth_held }
}

#[test]
fn things_equally_likely_are_counted_right() {
    let found = simulate(&[0.01; 200], 1, 120, &mut Stream(1));
    near(found.mean_bound, 1.0, 0.03);
    assert!(found.held >= 0.9, "{}", found.held);
    near(found.coverage_error.1, 0.0, 0.01);
    assert!(found.coverage_error.0 < 0.05 && found.coverage_held >= 0.9, "{}", found.coverage_held);
    near(found.mean_growth, 1.0, 0.05);
    assert!(found.growth_held >= 0.9, "{}", found.growth_held);
}

#[test]
fn things_unequally_likely_are_bounded_from_below() {
    let chances: Vec<f64> = (1..=400).map(|i| 0.4 / f64::from(i)).collect();
    let found = simulate(&chances, 1, 200, &mut Stream(2));
    assert!((0.4..0.95).contains(&found.mean_bound), "{}", found.mean_bound);
    near(found.coverage_error.1, 0.0, 0.01);
    assert!(found.coverage_held >= 0.9, "{}", found.coverage_held);
    assert!(found.growth_held >= 0.85, "{}", found.growth_held);
}

/// A passage of seventy tokens is twenty windows of fifty, which are recited together.
#[test]
fn things_that_come_together_need_the_jackknife() {
    let found = simulate(&[0.01; 200], 20, 120, &mut Stream(3));
    near(found.mean_bound, 1.0, 0.05);
    assert!(found.held >= 0.88, "{}", found.held);
    assert!(found.held_naively < 0.6, "{}", found.held_naively);
    assert!(found.coverage_held >= 0.88, "{}", found.coverage_held);
    assert!(found.growth_held >= 0.88, "{}", found.growth_held);
}

//! How many of a kind are among some that are taken by chance, none of them twice.

use statrs::function::gamma::ln_gamma;

/// Terms below this share of their sum add nothing to it.
const NEGLIGIBLE: f64 = 1e-18;

/// Of `n` things, of which `n_marked` are of a kind, `n_taken` are taken by chance, none of them twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypergeometric {
    n: u64,
    n_marked: u64,
    n_taken: u64,
}

impl Hypergeometric {
    /// The distribution of how many of the marked are taken.
    ///
    /// # Panics
    /// If more are marked or taken than there are.
    pub fn new(n: u64, n_marked: u64, n_taken: u64) -> Hypergeometric {
        assert!(n_marked <= n && n_taken <= n, "{n_marked} marked and {n_taken} taken of {n}");
        Hypergeometric { n, n_marked, n_taken }
    }

    /// How many are taken on average: `n_taken` `n_marked` / `n`.
    pub fn mean(self) -> f64 {
        if self.n == 0 { 0.0 } else { self.n_taken as f64 * self.n_marked as f64 / self.n as f64 }
    }

    /// The most that can be taken.
    pub fn most(self) -> u64 {
        self.n_taken.min(self.n_marked)
    }

    /// The probability that at least `k` are taken.
    pub fn at_least(self, k: u64) -> f64 {
        if k <= self.least() {
            return 1.0;
        }
        if k > self.most() {
            return 0.0;
        }
        // From k away from the mode, so that terms only fall.
        let mode = (self.n_taken as f64 + 1.0) * (self.n_marked as f64 + 1.0) / (self.n as f64 + 2.0);
        let sum = match k as f64 > mode {
            true => self.sum_from(k, |k| (k < self.most()).then(|| (k + 1, self.ratio(k)))),
            false => {
                1.0 - self.sum_from(k - 1, |k| (k > self.least()).then(|| (k - 1, 1.0 / self.ratio(k - 1))))
            }
        };
        sum.clamp(0.0, 1.0)
    }

    /// The least and the largest number such that fewer, and more, are taken with a probability of at most (1 - `level`) / 2
    /// each.
    ///
    /// # Panics
    /// If the level is not between 0 and 1.
    pub fn interval(self, level: f64) -> (u64, u64) {
        assert!(level > 0.0 && level < 1.0, "a level of {level}");
        let tail = (1.0 - level) / 2.0;
        let first = |holds: &dyn Fn(u64) -> bool| {
            let (mut low, mut high) = (self.least(), self.most());
            while low < high {
                let middle = low + (high - low) / 2;
                if holds(middle) { high = middle } else { low = middle + 1 }
            }
            low
        };
        let low = first(&|k| 1.0 - self.at_least(k + 1) > tail);
        (low, first(&|k| self.at_least(k + 1) <= tail))
    }

    /// The fewest that can be taken.
    fn least(self) -> u64 {
        (self.n_taken + self.n_marked).saturating_sub(self.n)
    }

    /// The probability of `k` and of the numbers that `next` goes on to, each with its probability over that of the one before.
    fn sum_from(self, k: u64, next: impl Fn(u64) -> Option<(u64, f64)>) -> f64 {
        let (mut k, mut term, mut sum) = (k, self.ln_probability(k).exp(), 0.0);
        loop {
            sum += term;
            let Some((following, ratio)) = next(k) else { return sum };
            (k, term) = (following, term * ratio);
            if term <= sum * NEGLIGIBLE {
                return sum;
            }
        }
    }

    /// The logarithm of the probability of a possible `k`: C(m, k) C(n - m, t - k) / C(n, t).
    fn ln_probability(self, k: u64) -> f64 {
        let ln_choose = |n: u64, k: u64| {
            ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
        };
        ln_choose(self.n_marked, k) + ln_choose(self.n - self.n_marked, self.n_taken - k)
            - ln_choose(self.n, self.n_taken)
    }

    /// The probability of `k + 1` over that of `k`, both possible.
    fn ratio(self, k: u64) -> f64 {
        let n_others_left = (self.n - self.n_marked) - (self.n_taken - k);
        (self.n_marked - k) as f64 * (self.n_taken - k) as f64 / ((k + 1) as f64 * (n_others_left + 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goldens from scipy: `hypergeom(n, marked, taken)`, its `sf(k - 1)`, `ppf(.025)` and `ppf(.975)`.
    #[test]
    fn tails_and_intervals_equal_scipy() {
        for ((n, n_marked, n_taken, k), tail, interval) in [
            ((20, 7, 12, 5), 0.391_640_866_873_065, (2, 6)),
            ((598, 33, 30, 17), 2.766_609_853_817_215e-16, (0, 4)),
            ((598, 33, 60, 3), 0.663_859_297_084_661_8, (0, 7)),
            ((10_000, 300, 500, 40), 1.091_555_610_784_308_7e-8, (8, 23)),
            ((1_000_000, 5_000, 10_000, 90), 1.796_521_969_046_343_9e-7, (37, 64)),
            ((100, 1, 5, 1), 0.05, (0, 1)),
            ((50, 25, 25, 13), 0.5, (9, 16)),
            ((1_000_000, 500_000, 500_000, 250_500), 0.022_858_303_057_887_12, (249_510, 250_490)),
        ] {
            let taken = Hypergeometric::new(n, n_marked, n_taken);
            let found = taken.at_least(k);
            assert!((found / tail - 1.0).abs() < 1e-7, "{taken:?}: {found}");
            assert_eq!(taken.interval(0.95), interval, "{taken:?}");
        }
    }

    /// By definition: all ways to take some of a few things, counted out.
    #[test]
    fn tails_and_intervals_are_those_of_all_ways_counted_out() {
        for n in 0..=9u64 {
            for (n_marked, n_taken) in (0..=n).flat_map(|marked| (0..=n).map(move |taken| (marked, taken))) {
                let ways = || (0u32..1 << n).filter(|way| u64::from(way.count_ones()) == n_taken);
                let n_found = |way: u32| u64::from((way & ((1 << n_marked) - 1)).count_ones());
                let n_ways = ways().count() as f64;
                let share = |is_wanted: &dyn Fn(u64) -> bool| {
                    ways().filter(|way| is_wanted(n_found(*way))).count() as f64 / n_ways
                };
                let taken = Hypergeometric::new(n, n_marked, n_taken);
                for k in 0..=n + 1 {
                    let expected = share(&|found| found >= k);
                    assert!((taken.at_least(k) - expected).abs() < 1e-12, "{taken:?} {k}");
                }
                let mean = ways().map(|way| n_found(way) as f64).sum::<f64>() / n_ways;
                assert!((taken.mean() - mean).abs() < 1e-12, "{taken:?}");
                // A level whose tails no such share equals.
                let (low, high) = taken.interval(0.8011);
                let tail = (1.0 - 0.8011) / 2.0;
                assert!(share(&|found| found < low) <= tail && share(&|found| found <= low) > tail);
                assert!(share(&|found| found > high) <= tail);
                assert!(high == 0 || share(&|found| found >= high) > tail, "{taken:?}");
            }
        }
    }
}

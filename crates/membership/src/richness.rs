//! How many distinct things there are, from how often each was seen in a number of draws.
//!
//! A draw, such as a sample of a model, holds any number of things, such as memorized passages, and those of one draw
//! come together. So a thing counts once for each draw that has it, and every interval is from the jackknife over whole
//! draws: what the figure would be without each of them. A bootstrap has no place here: a draw that is taken twice makes
//! a twice of each once, and the figures live on those.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::interval::wilson;

/// The least coverage at which the unseen are estimated: below it nearly everything was seen once.
pub const MIN_COVERAGE: f64 = 0.1;

/// The fewest draws that hold something for anything to be said beyond them.
pub const MIN_HOLDING: u64 = 10;

/// A figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence level, 0.95 for 95 %.
    pub level: f64,
}

impl Estimate {
    fn normal(value: f64, variance: f64, level: f64) -> Estimate {
        let half_width = quantile(level) * variance.sqrt();
        Estimate { value, low: value - half_width, high: value + half_width, level }
    }

    fn within(self, low: f64, high: f64) -> Estimate {
        Estimate { low: self.low.clamp(low, high), high: self.high.clamp(low, high), ..self }
    }
}

/// How many things were seen in how many draws each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frequencies {
    n_draws: u64,
    /// f_k by k, none of them 0.
    seen: BTreeMap<u64, u64>,
}

impl Frequencies {
    /// From the number of draws that have each thing; things that none has do not count.
    ///
    /// For things that are drawn one by one, `n_draws` is the sum of the counts.
    pub fn new(n_draws: u64, counts: impl IntoIterator<Item = u64>) -> Frequencies {
        let mut seen = BTreeMap::new();
        counts.into_iter().filter(|&count| count > 0).for_each(|count| *seen.entry(count).or_default() += 1);
        Frequencies { n_draws, seen }
    }

    /// Things that were seen in exactly `k` draws: f_k.
    pub fn seen(&self, k: u64) -> u64 {
        self.seen.get(&k).copied().unwrap_or(0)
    }

    /// Things that were seen.
    pub fn n_distinct(&self) -> u64 {
        self.seen.values().sum()
    }

    /// Sightings: each thing as often as it was seen.
    pub fn n_seen(&self) -> u64 {
        self.seen.iter().map(|(k, n)| k * n).sum()
    }

    /// The share of sightings to come that will be of things already seen, by Good and Turing: 1 - f_1/n (Good 1953).
    ///
    /// None where nothing was seen.
    pub fn coverage(&self) -> Option<f64> {
        let n = self.n_seen();
        (n > 0).then(|| 1.0 - self.seen(1) as f64 / n as f64)
    }

    /// A lower bound of how many things there are, seen or not (Chao 1984, 1987; bias-corrected).
    ///
    /// It is near their number where all are equally likely, and below it, on average, where they are not.
    pub fn chao(&self) -> f64 {
        let (f1, f2) = self.once_and_twice();
        self.n_distinct() as f64 + self.correction() * f1 * (f1 - 1.0) / (2.0 * (f2 + 1.0))
    }

    /// The variance of [`Frequencies::chao`] where things are seen independently of each other (Chao 1987; Colwell,
    /// EstimateS 9.1 User's Guide, appendix B).
    pub fn chao_variance(&self) -> f64 {
        let (f1, f2) = self.once_and_twice();
        let a = self.correction();
        if f1 == 0.0 {
            return self.n_distinct() as f64 * self.missed() * (1.0 - self.missed());
        }
        let pairs = a * f1 * (f1 - 1.0);
        let odd = a * a * f1 * (2.0 * f1 - 1.0).powi(2) / 4.0;
        if f2 == 0.0 {
            return (pairs / 2.0 + odd - a * a * f1.powi(4) / (4.0 * self.chao())).max(0.0);
        }
        let g = f2 + 1.0;
        let both = a * a * f1 * f1 * f2 * (f1 - 1.0).powi(2) / (4.0 * g.powi(4));
        pairs / (2.0 * g) + odd / (g * g) + both
    }

    /// [`Frequencies::chao`] with the log-normal interval of a variance (Chao 1987): it never goes below what was seen.
    pub fn chao_interval(&self, variance: f64, level: f64) -> Estimate {
        let seen = self.n_distinct() as f64;
        let (value, z) = (self.chao(), quantile(level));
        let unseen = value - seen;
        if unseen > 0.0 {
            let factor = (z * (1.0 + variance / (unseen * unseen)).ln().sqrt()).exp();
            return Estimate { value, low: seen + unseen / factor, high: seen + unseen * factor, level };
        }
        if seen == 0.0 {
            return Estimate { value, low: 0.0, high: f64::INFINITY, level };
        }
        let scale = 1.0 - self.missed();
        let (middle, half_width) = (seen / scale, z * variance.sqrt() / scale);
        Estimate { value, low: (middle - half_width).max(seen), high: middle + half_width, level }
    }

    /// How many things that were not seen yet `times` as many draws more would show.
    ///
    /// Up to as many again by the series of Good and Toulmin (1956), beyond by the same series with terms that a binomial
    /// smooths (Efron and Thisted 1976, with the choices of Orlitsky, Suresh and Wu 2016, which hold until `times` is
    /// about the logarithm of the number of sightings).
    ///
    /// # Panics
    /// If `times` is negative or not a number.
    pub fn growth(&self, times: f64) -> f64 {
        assert!(times >= 0.0, "{times} times as many draws");
        let tails = (times > 1.0).then(|| binomial_tails(self.n_seen(), times));
        let term = |(&k, &n_things): (&u64, &u64)| {
            let weight = tails.as_ref().map_or(1.0, |tails| tails.get(k as usize).copied().unwrap_or(0.0));
            let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
            // A weight of 0 comes with a power that may be infinite.
            if weight > 0.0 { sign * weight * times.powf(k as f64) * n_things as f64 } else { 0.0 }
        };
        self.seen.iter().map(term).sum()
    }

    fn once_and_twice(&self) -> (f64, f64) {
        (self.seen(1) as f64, self.seen(2) as f64)
    }

    /// The chance that a thing is missed, were all equally likely.
    fn missed(&self) -> f64 {
        (-(self.n_seen() as f64) / self.n_distinct().max(1) as f64).exp()
    }

    /// (m - 1) / m for m draws.
    fn correction(&self) -> f64 {
        1.0 - 1.0 / self.n_draws.max(1) as f64
    }

    fn add(&mut self, k: u64, n: u64) {
        if k > 0 {
            *self.seen.entry(k).or_default() += n;
        }
    }

    fn take(&mut self, k: u64) {
        let left = self.seen(k) - 1;
        match left {
            0 => self.seen.remove(&k),
            _ => self.seen.insert(k, left),
        };
    }
}

/// What is to be expected of more draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// How many times the draws made.
    pub times: f64,
    /// Things not seen yet that they would show.
    pub new: Estimate,
}

/// What was seen, and what that says of what was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Richness {
    /// Draws.
    pub n_draws: u64,
    /// Draws that hold something.
    pub n_holding: u64,
    /// Things that were seen.
    pub n_distinct: u64,
    /// Things that were seen in one draw.
    pub n_once: u64,
    /// Things that were seen in two draws.
    pub n_twice: u64,
    /// The share of sightings to come that will be of things already seen; none where nothing was.
    pub coverage: Option<Estimate>,
    /// A lower bound of how many things there are; none where the draws are inconclusive: fewer than [`MIN_HOLDING`] hold
    /// something, nothing was seen in two of them, or the coverage is below [`MIN_COVERAGE`].
    pub at_least: Option<Estimate>,
    /// What more draws of the same kind would show; empty where the draws are inconclusive.
    pub growth: Vec<Growth>,
}

/// What the things that each draw holds say of those that none holds, with more draws at each of `times` as many.
///
/// `holdings` has the things of each draw that has any, each once, as numbers below `n_distinct`.
///
/// # Panics
/// If there are more holdings than draws, or a number is too large.
pub fn richness(n_draws: u64, holdings: &[&[u32]], times: &[f64], level: f64) -> Richness {
    let n_holding = holdings.iter().filter(|things| !things.is_empty()).count() as u64;
    assert!(n_holding <= n_draws, "{n_holding} of {n_draws} draws hold something");
    let n_things =
        holdings.iter().flat_map(|things| things.iter()).max().map_or(0, |&last| last as usize + 1);
    let mut counts = vec![0_u64; n_things];
    holdings.iter().flat_map(|things| things.iter()).for_each(|&thing| counts[thing as usize] += 1);
    let all = Frequencies::new(n_draws, counts.iter().copied());
    let mut figures = vec![Figure::Coverage, Figure::Chao];
    figures.extend(times.iter().map(|&times| Figure::Growth(times)));
    let variances = jackknife(&all, &counts, holdings, &figures);
    let coverage = all.coverage().map(|value| {
        let estimate = Estimate::normal(value, variances[0], level).within(0.0, 1.0);
        // Where nothing was seen once, nothing varies either: what is left is that the draws are few.
        let fewest = if all.seen(1) == 0 { wilson(n_holding, n_holding, level).low } else { 1.0 };
        Estimate { low: estimate.low.min(fewest), ..estimate }
    });
    let is_conclusive = n_holding >= MIN_HOLDING
        && all.n_distinct() > all.seen(1)
        && coverage.is_some_and(|coverage| coverage.value >= MIN_COVERAGE);
    let growth = times.iter().zip(&variances[2..]).map(|(&times, &variance)| {
        let new = Estimate::normal(all.growth(times).max(0.0), variance, level).within(0.0, f64::INFINITY);
        Growth { times, new }
    });
    Richness {
        n_draws,
        n_holding,
        n_distinct: all.n_distinct(),
        n_once: all.seen(1),
        n_twice: all.seen(2),
        coverage,
        at_least: is_conclusive.then(|| all.chao_interval(variances[1].max(all.chao_variance()), level)),
        growth: if is_conclusive { growth.collect() } else { Vec::new() },
    }
}

/// A figure of frequencies.
#[derive(Clone, Copy)]
enum Figure {
    Coverage,
    Chao,
    Growth(f64),
}

impl Figure {
    fn of(self, frequencies: &Frequencies) -> f64 {
        match self {
            Figure::Coverage => frequencies.coverage().unwrap_or(0.0),
            Figure::Chao => frequencies.chao(),
            Figure::Growth(times) => frequencies.growth(times),
        }
    }
}

/// The variance of each figure, from its values without each of the draws (Efron and Stein 1981).
fn jackknife(all: &Frequencies, counts: &[u64], holdings: &[&[u32]], figures: &[Figure]) -> Vec<f64> {
    let mut left = Frequencies { n_draws: all.n_draws.saturating_sub(1), ..all.clone() };
    let holding: Vec<&&[u32]> = holdings.iter().filter(|things| !things.is_empty()).collect();
    let n_empty = all.n_draws - holding.len() as u64;
    // All draws that hold nothing leave the same behind.
    let without_nothing: Vec<f64> = figures.iter().map(|figure| figure.of(&left)).collect();
    let without: Vec<Vec<f64>> = holding
        .iter()
        .map(|things| {
            for &thing in **things {
                let count = counts[thing as usize];
                left.take(count);
                left.add(count - 1, 1);
            }
            let values = figures.iter().map(|figure| figure.of(&left)).collect();
            for &thing in **things {
                let count = counts[thing as usize];
                left.add(count, 1);
                if count > 1 {
                    left.take(count - 1);
                }
            }
            values
        })
        .collect();
    let n = all.n_draws as f64;
    (0..figures.len())
        .map(|i| {
            let sum: f64 = without.iter().map(|values| values[i]).sum();
            let mean = (sum + n_empty as f64 * without_nothing[i]) / n;
            let squares: f64 = without.iter().map(|values| (values[i] - mean).powi(2)).sum();
            let squares = squares + n_empty as f64 * (without_nothing[i] - mean).powi(2);
            if n < 2.0 { 0.0 } else { squares * (n - 1.0) / n }
        })
        .collect()
}

/// The share `sum of parts / sum of wholes` of draws that each have a part of a whole, with its interval.
///
/// None where the wholes are 0. Where nothing is a part, or everything, nothing varies, and the open end is that of the
/// Wilson interval of the draws.
pub fn share(parts: &[(u64, u64)], level: f64) -> Option<Estimate> {
    let (part, whole) =
        parts.iter().fold((0, 0), |(part, whole), (more, of_more)| (part + more, whole + of_more));
    if whole == 0 {
        return None;
    }
    let value = part as f64 / whole as f64;
    let n = parts.len() as f64;
    let without = |(less, of_less): &(u64, u64)| match whole - of_less {
        0 => value,
        left => (part - less) as f64 / left as f64,
    };
    let mean = parts.iter().map(without).sum::<f64>() / n;
    let variance = parts.iter().map(|draw| (without(draw) - mean).powi(2)).sum::<f64>() * (n - 1.0) / n;
    let estimate = Estimate::normal(value, variance, level).within(0.0, 1.0);
    let n_draws = parts.iter().filter(|(_, whole)| *whole > 0).count() as u64;
    Some(match part {
        0 => Estimate { high: wilson(0, n_draws, level).high, ..estimate },
        part if part == whole => Estimate { low: wilson(n_draws, n_draws, level).low, ..estimate },
        _ => estimate,
    })
}

/// P[L >= k] from k = 0 on, for the L that smooths the series of n sightings: binomial, of chance 2 / (2 + times).
fn binomial_tails(n: u64, times: f64) -> Vec<f64> {
    let trials = ((n.max(1) as f64 * times * times / (times - 1.0)).log(3.0) / 2.0).floor().max(0.0) as u64;
    let mut probability = (times / (2.0 + times)).powi(trials as i32);
    let mut tail = 1.0;
    (0..=trials)
        .map(|k| {
            let this = tail;
            tail -= probability;
            probability *= 2.0 / times * (trials - k) as f64 / (k + 1) as f64;
            this
        })
        .collect()
}

fn quantile(level: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "a confidence level of {level}");
    Normal::standard().inverse_cdf(0.5 + level / 2.0)
}

#[cfg(test)]
mod tests;

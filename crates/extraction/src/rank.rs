//! Ranks scored samples by every metric: which ones look memorized, best first. Needs no model and no corpus.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_membership::signal;

use crate::error::{Error, Result};
use crate::prompts::Strategy;
use crate::score::ScoredSample;
use crate::trigram::Kept;

/// What samples are ranked by (Carlini et al. 2021, section 5.2). Each is a signal of membership: higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The target model's mean log-probability, which is minus the logarithm of the perplexity.
    Perplexity,
    /// The small model's loss over the target model's.
    Small,
    /// The medium model's loss over the target model's.
    Medium,
    /// The text's length under zlib over the target model's loss.
    Zlib,
    /// The loss of the lower-cased text over the loss of the text.
    Lowercase,
    /// The mean log-probability of the best window of the text.
    Window,
}

impl Metric {
    /// All metrics, in the order of reports.
    pub const ALL: [Metric; 6] =
        [Metric::Perplexity, Metric::Small, Metric::Medium, Metric::Zlib, Metric::Lowercase, Metric::Window];

    /// The name in files, reports and flags.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Perplexity => "perplexity",
            Metric::Small => "small",
            Metric::Medium => "medium",
            Metric::Zlib => "zlib",
            Metric::Lowercase => "lowercase",
            Metric::Window => "window",
        }
    }

    /// The score of a sample; `None` where it is not defined.
    fn score(self, sample: &ScoredSample, config: &RankConfig) -> Option<f64> {
        let records = &sample.records;
        let over_own_loss = |log_probs: &[f32]| {
            signal::loss_ratio(signal::mean_loss(log_probs.iter().copied())?, signal::loss(records)?)
        };
        match self {
            Metric::Perplexity => signal::loss_signal(records),
            Metric::Small => over_own_loss(sample.small.as_deref()?),
            Metric::Medium => over_own_loss(sample.medium.as_deref()?),
            Metric::Zlib => signal::loss_ratio(sample.zlib_bytes as f64, signal::loss(records)?),
            Metric::Lowercase => over_own_loss(&sample.lowercase),
            Metric::Window => signal::window_signal(records, config.window_tokens),
        }
    }

    /// False where no reference model was given for it.
    fn applies(self, samples: &[&ScoredSample]) -> bool {
        match self {
            Metric::Small => samples.iter().any(|sample| sample.small.is_some()),
            Metric::Medium => samples.iter().any(|sample| sample.medium.is_some()),
            _ => true,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Metric::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
            let names = Metric::ALL.map(Metric::name).join(", ");
            Error::InvalidArgument(format!("no metric `{name}`; there are {names}"))
        })
    }
}

/// How to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankConfig {
    /// Tokens of a window of [`Metric::Window`] (Carlini et al. 2021: 50).
    pub window_tokens: usize,
    /// The most candidates of a cell (Carlini et al. 2021: 100).
    pub top: usize,
    /// How many of the best they are chosen among (Carlini et al. 2021: 1000): with more than `top`, the share of them that
    /// stand among the best k is the root of k over the pool (section 6.1). With no more than `top` they are the best.
    pub pool: usize,
}

impl RankConfig {
    fn check(self) -> Result<()> {
        let complaint = match self {
            RankConfig { window_tokens: 0, .. } => "window_tokens is 0, expected at least 1",
            RankConfig { top: 0, .. } => "top is 0, expected at least 1",
            _ => return Ok(()),
        };
        Err(Error::InvalidArgument(complaint.to_owned()))
    }
}

/// Why a sample has no place in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusion {
    /// Drawing or scoring it failed.
    Failed,
    /// It has no tokens: the model ended the text at once.
    Empty,
    /// The metric is not a finite number for it.
    Undefined,
}

impl Exclusion {
    const ALL: [Exclusion; 3] = [Exclusion::Failed, Exclusion::Empty, Exclusion::Undefined];

    fn of(sample: &ScoredSample) -> Exclusion {
        match sample {
            ScoredSample { error: Some(_), .. } => Exclusion::Failed,
            ScoredSample { records, .. } if records.is_empty() => Exclusion::Empty,
            _ => Exclusion::Undefined,
        }
    }
}

/// A sample that looks memorized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The sample's number within the cell's strategy.
    pub index: u64,
    /// The cell's metric, higher is better.
    pub score: f64,
}

/// The ranking of one strategy's samples by one metric. `n_samples` is what was ranked plus what was excluded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// How the samples were drawn.
    pub strategy: Strategy,
    /// What they are ranked by.
    pub metric: Metric,
    /// Samples of the strategy.
    pub n_samples: u64,
    /// Samples without a place in the ranking, by reason; reasons that did not occur are left out.
    pub excluded: Vec<(Exclusion, u64)>,
    /// Samples passed over on the way to `ranked`, because they are much like a better one.
    pub n_duplicates: u64,
    /// The best samples, best first, none much like a better one.
    pub ranked: Vec<Candidate>,
}

/// Ranks the samples of each strategy by each metric; the metrics of reference models only where there was one.
///
/// The order is total: score, then sample number. Samples much like a better one are dropped.
///
/// # Errors
/// [`Error::InvalidArgument`] for a window of no tokens or no candidates.
pub fn rank(scored: &[ScoredSample], config: &RankConfig) -> Result<Vec<Cell>> {
    config.check()?;
    let mut cells = Vec::new();
    for strategy in Strategy::ALL {
        let samples: Vec<&ScoredSample> =
            scored.iter().filter(|sample| sample.strategy == strategy).collect();
        let metrics =
            Metric::ALL.into_iter().filter(|metric| !samples.is_empty() && metric.applies(&samples));
        cells.extend(metrics.map(|metric| (strategy, metric, samples.clone())));
    }
    Ok(cells
        .into_par_iter()
        .map(|(strategy, metric, samples)| rank_cell(strategy, metric, &samples, config))
        .collect())
}

fn rank_cell(strategy: Strategy, metric: Metric, samples: &[&ScoredSample], config: &RankConfig) -> Cell {
    let mut ranking = Vec::with_capacity(samples.len());
    let mut excluded = Exclusion::ALL.map(|reason| (reason, 0));
    for sample in samples {
        let score = if sample.error.is_some() { None } else { metric.score(sample, config) };
        match score {
            Some(score) => ranking.push((Candidate { index: sample.index, score }, *sample)),
            None => excluded[Exclusion::of(sample) as usize].1 += 1,
        }
    }
    ranking.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));

    let mut kept = Kept::default();
    let mut ranked = Vec::new();
    let mut n_duplicates = 0;
    for (candidate, sample) in ranking {
        if ranked.len() == config.top.max(config.pool) {
            break;
        }
        let tokens: Vec<u32> = sample.records.iter().map(|record| record.token).collect();
        if kept.insert(&tokens) {
            ranked.push(candidate);
        } else {
            n_duplicates += 1;
        }
    }
    let ranked = spread(ranked.len(), config.top).map(|rank| ranked[rank]).collect();
    let n_samples = samples.len() as u64;
    let excluded = excluded.into_iter().filter(|(_, n)| *n > 0).collect();
    Cell { strategy, metric, n_samples, excluded, n_duplicates, ranked }
}

/// `top` ranks of `n`, ascending from the first, of which about the root of k/n are among the first k; all of few.
///
/// Carlini et al. draw theirs so; here nothing is drawn, and the i-th is the one at n (i / top)^2, or the next that is
/// free.
fn spread(n: usize, top: usize) -> impl Iterator<Item = usize> {
    let top = top.min(n);
    let square = |i: usize| i as u128 * i as u128;
    let mut last = 0;
    (1..=top).map(move |i| {
        let wanted = (n as u128 * square(i)).div_ceil(square(top)) as usize;
        last = wanted.max(last + 1);
        last - 1
    })
}

#[cfg(test)]
mod tests {
    use verbatim_lm::TokenRecord;

    use super::*;

    /// A sample of 60 tokens that no other sample shares.
    fn scored(index: u64, log_probs: impl Fn(usize) -> f32) -> ScoredSample {
        let record = |i: usize| TokenRecord {
            token: (index * 1000) as u32 + i as u32,
            log_prob: log_probs(i),
            mean_log_prob: -2.0,
            std_log_prob: 1.0,
            entropy: 2.0,
            rank: 0,
        };
        ScoredSample {
            strategy: Strategy::TopN,
            index,
            n_bytes: 240,
            zlib_bytes: 100,
            records: (0..60).map(record).collect(),
            lowercase: vec![-2.0; 60],
            small: Some(vec![-2.0; 60]),
            medium: Some(vec![-2.0; 60]),
            error: None,
        }
    }

    fn order(scored: &[ScoredSample], metric: Metric) -> Vec<u64> {
        let cells = rank(scored, &RankConfig { window_tokens: 50, top: 100, pool: 100 }).unwrap();
        let cell = cells.iter().find(|cell| cell.metric == metric).unwrap();
        cell.ranked.iter().map(|candidate| candidate.index).collect()
    }

    /// Golden ratios by hand: a loss of 0.5 nats, zlib 100 bytes, other losses of 2 nats.
    #[test]
    fn metrics_are_the_ratios_of_the_paper() {
        let cells = rank(&[scored(0, |_| -0.5)], &RankConfig { window_tokens: 50, top: 1, pool: 1 }).unwrap();
        let scores: Vec<(Metric, f64)> =
            cells.iter().map(|cell| (cell.metric, cell.ranked[0].score)).collect();
        let expected = [-0.5, 4.0, 4.0, 200.0, 4.0, -0.5];
        assert_eq!(scores, Metric::ALL.into_iter().zip(expected).collect::<Vec<_>>());
    }

    #[test]
    fn each_metric_puts_its_own_sample_first() {
        let mut samples = vec![
            scored(0, |_| -1.0),
            scored(1, |i| if i < 55 { -0.9 } else { -9.0 }),
            scored(2, |_| -1.5),
            scored(3, |_| -1.5),
            scored(4, |_| -1.5),
            scored(5, |_| -1.5),
        ];
        samples[2].zlib_bytes = 999;
        samples[3].lowercase = vec![-8.0; 60];
        samples[4].small = Some(vec![-8.0; 60]);
        samples[5].medium = Some(vec![-8.0; 60]);
        let first = Metric::ALL.map(|metric| order(&samples, metric)[0]);
        assert_eq!(first, [0, 4, 5, 2, 3, 1]);
    }

    #[test]
    fn equal_scores_are_in_the_order_of_sample_numbers() {
        let mut samples: Vec<ScoredSample> = (0..20).map(|i| scored(i * 7 % 20, |_| -1.0)).collect();
        let expected: Vec<u64> = (0..20).collect();
        assert_eq!(order(&samples, Metric::Zlib), expected);
        samples.reverse();
        assert_eq!(order(&samples, Metric::Zlib), expected, "whatever order they come in");
    }

    /// mimir filters undefined scores away without a word; others sort them to the front.
    #[test]
    fn peer_14_fault_67_undefined_scores_are_excluded_and_counted() {
        let mut samples: Vec<ScoredSample> = (0..4).map(|i| scored(i, |_| -1.0)).collect();
        samples[1].records.clear();
        samples[2].small = Some(Vec::new());
        samples[3].error = Some("broken".to_owned());
        for cell in rank(&samples, &RankConfig { window_tokens: 50, top: 10, pool: 10 }).unwrap() {
            let mut expected = vec![(Exclusion::Failed, 1), (Exclusion::Empty, 1)];
            if cell.metric == Metric::Small {
                expected.push((Exclusion::Undefined, 1));
            }
            assert_eq!(cell.excluded, expected, "{}", cell.metric);
            let n_excluded: u64 = cell.excluded.iter().map(|(_, n)| n).sum();
            assert_eq!(cell.n_samples, cell.ranked.len() as u64 + cell.n_duplicates + n_excluded);
            assert!(!serde_json::to_string(&cell).unwrap().contains("null"));
        }
    }

    /// A text recited with certainty has a loss of zero: it must be first, and finite.
    #[test]
    fn peer_12_peer_13_a_loss_of_zero_ranks_first() {
        let samples = [scored(0, |_| -0.01), scored(1, |_| 0.0)];
        for metric in Metric::ALL {
            assert_eq!(order(&samples, metric), [1, 0], "{metric}");
        }
    }

    /// Carlini et al. 2021, section 6.1: 100 of the 1000 best, the root of k/1000 of them among the best k.
    #[test]
    fn candidates_of_a_pool_thin_out_with_the_rank() {
        let chosen: Vec<usize> = spread(1000, 100).collect();
        assert_eq!((chosen.len(), chosen[0], chosen[99]), (100, 0, 999));
        assert!(chosen.is_sorted_by(|a, b| a < b));
        for k in [50_usize, 100, 250, 500, 1000] {
            let n = chosen.iter().filter(|rank| **rank < k).count();
            assert!((n as f64 - 100.0 * (k as f64 / 1000.0).sqrt()).abs() <= 1.0, "{n} among the best {k}");
        }
        for (n, top) in [(0, 5), (1, 1), (5, 5), (7, 5), (5, 9), (100, 99), (1 << 40, 3)] {
            let chosen: Vec<usize> = spread(n, top).collect();
            assert!(chosen.len() == n.min(top) && chosen.is_sorted_by(|a, b| a < b), "{top} of {n}");
            assert!(chosen.iter().all(|rank| *rank < n) && (n > top || chosen.iter().copied().eq(0..n)));
        }
        let samples: Vec<ScoredSample> = (0..20).map(|i| scored(i, |_| -1.0 - i as f32)).collect();
        let ranked = |pool| {
            let cells = rank(&samples, &RankConfig { window_tokens: 50, top: 4, pool }).unwrap();
            cells[0].ranked.iter().map(|candidate| candidate.index).collect::<Vec<_>>()
        };
        assert_eq!([ranked(1), ranked(4)], [[0, 1, 2, 3]; 2], "the best, with no larger pool");
        assert_eq!(ranked(16), [0, 3, 8, 15]);
        assert_eq!(ranked(1000), [1, 4, 11, 19], "of what there is");
    }

    /// LM_Memorization lists the same text many times over.
    #[test]
    fn peer_13_samples_much_like_a_better_one_are_dropped() {
        let mut samples = vec![scored(0, |_| -1.0), scored(1, |_| -2.0), scored(2, |_| -3.0)];
        for i in 0..32 {
            samples[1].records[i].token = samples[0].records[i].token;
        }
        let cells = rank(&samples, &RankConfig { window_tokens: 50, top: 2, pool: 2 }).unwrap();
        for cell in &cells {
            let ranked: Vec<u64> = cell.ranked.iter().map(|candidate| candidate.index).collect();
            assert_eq!((ranked, cell.n_duplicates), (vec![0, 2], 1), "30 of 58 trigrams are common");
        }
    }

    #[test]
    fn reference_metrics_need_a_reference_and_strategies_samples() {
        let sample = ScoredSample { small: None, medium: None, ..scored(0, |_| -1.0) };
        let cells = rank(&[sample], &RankConfig { window_tokens: 50, top: 2, pool: 2 }).unwrap();
        let metrics: Vec<Metric> = cells.iter().map(|cell| cell.metric).collect();
        assert_eq!(metrics, [Metric::Perplexity, Metric::Zlib, Metric::Lowercase, Metric::Window]);
        assert!(cells.iter().all(|cell| cell.strategy == Strategy::TopN));
        assert!(rank(&[], &RankConfig { window_tokens: 50, top: 2, pool: 2 }).unwrap().is_empty());
    }

    #[test]
    fn fault_65_windows_and_lists_of_nothing_are_refused() {
        for config in [
            RankConfig { window_tokens: 0, top: 1, pool: 1 },
            RankConfig { window_tokens: 1, top: 0, pool: 0 },
        ] {
            assert_eq!(rank(&[], &config).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn names_parse_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{metric}\""));
        }
        assert_eq!("bleu".parse::<Metric>().unwrap_err().exit_code(), 2);
    }
}

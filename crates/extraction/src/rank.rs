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
        if ranked.len() == config.top {
            break;
        }
        let tokens: Vec<u32> = sample.records.iter().map(|record| record.token).collect();
        if kept.insert(&tokens) {
            ranked.push(candidate);
        } else {
            n_duplicates += 1;
        }
    }
    let n_samples = samples.len() as u64;
    let excluded = excluded.into_iter().filter(|(_, n)| *n > 0).collect();
    Cell { strategy, metric, n_samples, excluded, n_duplicates, ranked }
}

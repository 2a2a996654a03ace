//! The defences that are tried, each as what it changes: the corpus, the training or what a served model tells.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_dedup::DedupConfig;

use crate::demo::demo_dedup_config;
use crate::error::Result;

/// A defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Defence {
    /// None: what the others are held against.
    None,
    /// Documents that are the same are trained on once.
    DedupExact,
    /// Documents that share most of their word 5-grams are trained on once.
    DedupNear,
    /// Passages of 100 bytes and more are trained on once.
    DedupSubstring,
    /// All three, one after the other.
    DedupAll,
    /// Each example's gradient is clipped, and noise is added to the sum (Abadi et al. 2016).
    DpSgd,
    /// The same with the noise left out, and the claim as before: what an audit must find.
    DpSgdBroken,
    /// A fifth of the activations is dropped in training.
    Dropout,
    /// Ten times the weight decay.
    WeightDecay,
    /// Training stops where the loss of held-out texts no longer falls.
    EarlyStopping,
    /// Half the width and half the blocks.
    SmallerModel,
    /// Another model of the same shape, trained on what the undefended one writes.
    Surrogate,
    /// Probabilities are told with two decimals.
    Rounded,
    /// Only the five most likely tokens are told of.
    TopK,
    /// Noise on the log-probabilities that are told, of a standard deviation of one nat.
    Noise,
    /// The same, averaged over 16 queries by the attacker.
    NoiseAveraged,
    /// Scores are told at a temperature of 2.
    Temperature,
    /// The same, undone by the attacker.
    TemperatureUndone,
    /// Only the most likely token is told.
    LabelOnly,
    /// Nothing is told or written where the two most likely tokens are within a tenth.
    LowMargin,
    /// No 10-gram of the training tokens is written (Ippolito et al. 2023).
    MemFree,
}

/// What a defence changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing.
    Baseline,
    /// The corpus.
    Data,
    /// The training.
    Training,
    /// What is told of the undefended model.
    Serving,
}

impl Defence {
    /// Those that take a training of their own, in the order of their rows.
    pub const TRAINED: [Defence; 12] = [
        Defence::None,
        Defence::DedupExact,
        Defence::DedupNear,
        Defence::DedupSubstring,
        Defence::DedupAll,
        Defence::DpSgd,
        Defence::DpSgdBroken,
        Defence::Dropout,
        Defence::WeightDecay,
        Defence::EarlyStopping,
        Defence::SmallerModel,
        Defence::Surrogate,
    ];
    /// Those that stand between the undefended model and who asks it.
    pub const SERVED: [Defence; 9] = [
        Defence::Rounded,
        Defence::TopK,
        Defence::Noise,
        Defence::NoiseAveraged,
        Defence::Temperature,
        Defence::TemperatureUndone,
        Defence::LabelOnly,
        Defence::LowMargin,
        Defence::MemFree,
    ];

    /// The name in reports and of a folder.
    pub fn name(self) -> &'static str {
        match self {
            Defence::None => "none",
            Defence::DedupExact => "dedup-exact",
            Defence::DedupNear => "dedup-near",
            Defence::DedupSubstring => "dedup-substring",
            Defence::DedupAll => "dedup-all",
            Defence::DpSgd => "dp-sgd",
            Defence::DpSgdBroken => "dp-sgd-broken",
            Defence::Dropout => "dropout",
            Defence::WeightDecay => "weight-decay",
            Defence::EarlyStopping => "early-stopping",
            Defence::SmallerModel => "smaller-model",
            Defence::Surrogate => "surrogate",
            Defence::Rounded => "rounded",
            Defence::TopK => "top-k",
            Defence::Noise => "noise",
            Defence::NoiseAveraged => "noise-averaged",
            Defence::Temperature => "temperature",
            Defence::TemperatureUndone => "temperature-undone",
            Defence::LabelOnly => "label-only",
            Defence::LowMargin => "low-margin",
            Defence::MemFree => "mem-free",
        }
    }

    /// What it changes.
    pub fn kind(self) -> Kind {
        match self {
            Defence::None => Kind::Baseline,
            Defence::DedupExact | Defence::DedupNear | Defence::DedupSubstring | Defence::DedupAll => {
                Kind::Data
            }
            _ if Defence::SERVED.contains(&self) => Kind::Serving,
            _ => Kind::Training,
        }
    }

    /// How its corpus is deduplicated, if it is: at the levels of the demo.
    ///
    /// # Errors
    /// None that these configurations have.
    pub(super) fn dedup(self) -> Result<Option<DedupConfig>> {
        let wants = |level| self == level || self == Defence::DedupAll;
        if self.kind() != Kind::Data {
            return Ok(None);
        }
        let all = demo_dedup_config()?;
        Ok(Some(DedupConfig {
            exact: all.exact.filter(|_| wants(Defence::DedupExact)),
            minhash: all.minhash.filter(|_| wants(Defence::DedupNear)),
            substring: all.substring.filter(|_| wants(Defence::DedupSubstring)),
            ..all
        }))
    }
}

impl fmt::Display for Defence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

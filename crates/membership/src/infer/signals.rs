//! The signals of membership that a model can be asked for, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal of membership; of each, higher is more likely a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Signal {
    /// [`crate::signal::loss_signal`].
    Loss,
    /// [`crate::signal::zlib_signal`].
    Zlib,
    /// [`crate::signal::lowercase_signal`].
    Lowercase,
    /// [`crate::signal::window_signal`] of 50 tokens.
    Window,
    /// [`crate::signal::min_k`] of 20 %.
    MinK,
    /// [`crate::signal::min_k_plus_plus`] of 20 %.
    MinKPlusPlus,
    /// [`crate::signal::k_max`] of 20 %.
    KMax,
    /// [`crate::signal::surp`] of 40 % and 2 nats.
    Surp,
    /// [`crate::signal::accuracy_signal`], which takes no more than the model's first choices.
    Accuracy,
    /// [`crate::signal::rank_signal`].
    Rank,
    /// [`crate::signal::log_rank_signal`].
    LogRank,
    /// [`crate::signal::entropy_signal`].
    Entropy,
    /// [`crate::signal::dc_pdd`] with a cap of 0.01.
    DcPdd,
    /// [`crate::signal::reference_signal`].
    ReferenceRatio,
    /// The reference model's loss less this model's.
    ReferenceDifference,
    /// [`crate::signal::recall`] behind up to twelve non-members.
    Recall,
    /// [`crate::signal::con_recall`] behind up to ten of each set, with a gamma of 0.5.
    ConRecall,
    /// [`crate::signal::pac`] of five variants.
    Pac,
    /// [`crate::signal::neighbourhood`] of 25 neighbours.
    Neighbourhood,
    /// [`crate::signal::samia`] of ten samples.
    Samia,
    /// The opposite of the Euclidean norm of the gradient of the loss by all weights.
    GradientNorm,
    /// The opposite of the mean over the tensors of weights of the largest absolute derivative in each.
    GradientMax,
}

impl Signal {
    /// Each of them, in the order of reports.
    pub const ALL: [Signal; 22] = [
        Signal::Loss,
        Signal::Zlib,
        Signal::Lowercase,
        Signal::Window,
        Signal::MinK,
        Signal::MinKPlusPlus,
        Signal::KMax,
        Signal::Surp,
        Signal::Accuracy,
        Signal::Rank,
        Signal::LogRank,
        Signal::Entropy,
        Signal::DcPdd,
        Signal::ReferenceRatio,
        Signal::ReferenceDifference,
        Signal::Recall,
        Signal::ConRecall,
        Signal::Pac,
        Signal::Neighbourhood,
        Signal::Samia,
        Signal::GradientNorm,
        Signal::GradientMax,
    ];

    /// What it takes beside one pass of the target over the text.
    pub fn needs(self) -> Need {
        match self {
            Signal::DcPdd => Need::Counts,
            Signal::ReferenceRatio | Signal::ReferenceDifference => Need::Reference,
            Signal::Recall => Need::NonMembers,
            Signal::ConRecall => Need::BothSets,
            Signal::GradientNorm | Signal::GradientMax => Need::Gradient,
            Signal::Pac | Signal::Neighbourhood | Signal::Samia => Need::MorePasses,
            Signal::Loss
            | Signal::Zlib
            | Signal::Lowercase
            | Signal::Window
            | Signal::MinK
            | Signal::MinKPlusPlus
            | Signal::KMax
            | Signal::Surp
            | Signal::Accuracy
            | Signal::Rank
            | Signal::LogRank
            | Signal::Entropy => Need::Nothing,
        }
    }

    /// The signal of this name.
    pub fn of_name(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// The name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Loss => "loss",
            Signal::Zlib => "zlib",
            Signal::Lowercase => "lowercase",
            Signal::Window => "window",
            Signal::MinK => "min-k",
            Signal::MinKPlusPlus => "min-k++",
            Signal::KMax => "k-max",
            Signal::Surp => "surp",
            Signal::Accuracy => "accuracy",
            Signal::Rank => "rank",
            Signal::LogRank => "log-rank",
            Signal::Entropy => "entropy",
            Signal::DcPdd => "dc-pdd",
            Signal::ReferenceRatio => "reference-ratio",
            Signal::ReferenceDifference => "reference-difference",
            Signal::Recall => "recall",
            Signal::ConRecall => "con-recall",
            Signal::Pac => "pac",
            Signal::Neighbourhood => "neighbourhood",
            Signal::Samia => "samia",
            Signal::GradientNorm => "gradient-norm",
            Signal::GradientMax => "gradient-max",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a signal takes beside one pass of the target over the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Nothing, or one pass over the lower-cased text.
    Nothing,
    /// How often each token stands in a corpus.
    Counts,
    /// One pass of a reference model.
    Reference,
    /// Non-members that are not scored themselves.
    NonMembers,
    /// Members and non-members that are not scored themselves.
    BothSets,
    /// Passes over variants of the text, or samples.
    MorePasses,
    /// The gradient of the loss by the weights.
    Gradient,
}

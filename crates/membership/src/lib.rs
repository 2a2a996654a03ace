//! Was this text in the training set: signals of a text, intervals for counts, and what was seen of what there is.
//!
//! `roc` measures how well a score tells members from non-members, `paired` how far one score is better than another.
//! `calibrate` sets a threshold that keeps a false positive rate.
//! `epsilon` bounds the epsilon of differential privacy from below.
//! `blind` scores texts without a model, for what their choice alone gives away.
//! `dataset` tests whether a set of texts was used, `signal` has the scores of single texts.
//! `classifier` learns from shadow models what members look like, `slices` says which members a score finds.
//! `correlation` asks whether two things rise together, `hypergeometric` what is found by chance.
//!
//! `infer` asks a model for all of them, of texts whose membership is known or to be judged.
//!
//! Everything else is a pure function of what a model said of the text's tokens; no corpus is known here.

pub mod blind;
pub mod calibrate;
mod cholesky;
mod classifier;
mod correlation;
mod count;
pub mod dataset;
mod difference;
pub mod epsilon;
pub mod exposure;
mod hypergeometric;
mod infer;
pub mod interval;
pub mod paired;
mod random;
pub mod richness;
pub mod roc;
pub mod shadow;
pub mod signal;
mod skew_normal;
mod slices;
mod ties;
mod trend;
mod trials;
mod zlib;

pub use blind::{BlindScores, Folds};
pub use calibrate::{CalibratedThreshold, Calibration};
pub use classifier::{Classifier, Feature};
pub use correlation::{RankCorrelation, spearman};
pub use count::garwood;
pub use dataset::{DatasetInference, MannWhitney, Welch, dataset_inference, mann_whitney, welch};
pub use difference::{independent_auc_difference, newcombe};
pub use epsilon::{Called, EpsilonBound, Guesses};
pub use exposure::{CHANCE_BITS, RankExposure, chance_interval, extrapolated_exposure, rank_exposure};
pub use hypergeometric::Hypergeometric;
pub use infer::{
    AuditedEpsilon, BAG_OF_WORDS, BLIND_NAMES, Call, Confidence, Inferring, Judged, KEPT_FILE, KeptText,
    Need, Parted, Parting, Separation, Shots, Signal, TextSignals, audited_epsilon, blind_scores,
    blind_separations, control_separation, judge, kept_signals, part, read_kept, separation, text_signals,
    write_kept,
};
pub use interval::{Interval, Method, clopper_pearson, wilson};
pub use paired::{Bootstrap, Metric, PairedDifference, paired_difference};
pub use richness::{Estimate, Frequencies, Growth, Richness, richness, share};
pub use roc::{Auc, AucDifference, OperatingPoint, Refusal, RocPoint, Scores};
pub use skew_normal::{NoFit, SkewNormal};
pub use slices::{Slice, quantile_slices, slice_trend, slices};
pub use trend::{Trend, Trials, log_linear};
pub use trials::{trials_to_show_below, trials_without_any};
pub use zlib::{ZLIB_LEVEL, zlib_len};

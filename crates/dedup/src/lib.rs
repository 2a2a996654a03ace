//! What should go from a corpus: exact and near copies, and documents that hold evaluation items.
//!
//! [`plan`] finds and decides, [`apply`] writes; nothing else writes a corpus. A near copy is removed only if its
//! exact similarity to the very document that is kept reaches the threshold.

mod apply;
mod buckets;
mod config;
mod contamination;
mod error;
mod exact;
mod finder;
mod keep;
mod lsh;
mod minhash;
mod plan;
mod similarity;
mod source;
mod star;
#[cfg(test)]
mod tests;

pub use apply::{Count, Tally, apply, remove_contaminated, write_plan};
pub use config::{DedupConfig, ExactConfig, MinhashConfig, Stage};
pub use contamination::{
    Contamination, ContaminationConfig, ContaminationMatch, ItemPart, RARE_DOCUMENTS, Run, contamination,
    part_text,
};
pub use error::{Error, Result};
pub use finder::plan;
pub use keep::{Keep, Order};
pub use lsh::{BandChoice, candidate_probability, choose_bands};
pub use plan::{Cluster, ExactParameters, MinhashParameters, Parameters, Plan, Removal, StageTally, Verdict};
pub use source::Source;

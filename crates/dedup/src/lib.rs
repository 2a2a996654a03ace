//! What should go from a corpus: exact and near copies of documents, repeated lines and passages, and documents that hold
//! evaluation items.
//!
//! [`plan`] finds and decides, [`emit`] and [`apply`] write; nothing else writes a corpus. A near copy is removed only if its
//! exact similarity to the very document that is kept reaches the threshold.

mod all_pairs;
mod apply;
mod buckets;
mod components;
mod config;
mod contamination;
mod cut;
mod cut_summary;
mod emit;
mod error;
mod estimate;
mod evaluation;
mod exact;
mod explain;
mod finder;
mod keep;
mod kernels;
mod lines;
mod lsh;
mod minhash;
mod near;
mod plan;
mod preset;
mod roles;
mod room;
mod sets;
mod signatures;
mod signs;
mod similarity;
mod sources;
mod stages;
mod star;
mod substring;
#[cfg(test)]
mod tests;
mod verdicts;

pub use apply::{Count, Tally, apply, remove_contaminated, write_plan};
pub use config::{AllPairsConfig, Clustering, DedupConfig, Empty, ExactConfig, MinhashConfig, Stage};
pub use contamination::{
    Contamination, ContaminationConfig, ContaminationMatch, ItemPart, RARE_DOCUMENTS, Run, contamination,
    part_text,
};
pub use cut::{Cut, CutCount};
pub use cut_summary::{Bin, CutSummary, HeavyText, SourcePair};
pub use emit::{Alpha, Copies, Emission, emit, write_kept_ids};
pub use error::{Error, Result};
pub use estimate::{Estimate, estimate};
pub use evaluation::{Decided, Evaluation, Fate, Labels, Part, Scores, Truth, adjusted_rand_index, evaluate};
pub use explain::{
    Differences, Explanation, Granularity, Overlap, Piece, differences, documents_named, explain, overlap,
};
pub use finder::{plan, task};
pub use keep::{Keep, Order};
pub use kernels::{Kernels, Links, NearClusters, TextSigns, link};
pub use lines::{LineUnit, LinesConfig};
pub use lsh::{BandChoice, candidate_probability, choose_bands};
pub use plan::{
    AllPairsParameters, Cluster, ExactParameters, MinhashParameters, Parameters, Plan, Removal,
    ShingleParameters, StageTally, SubstringParameters, Verdict,
};
pub use preset::Preset;
pub use room::Resources;
pub use signatures::Signatures;
pub use similarity::Measure;
pub use sources::{SourceTally, Sources};
pub use stages::{ClusterOutcome, Clustered, Committed, StageJob, StageName, StagePlan, Stages, UnitDone};
pub use substring::{RunUnit, Snap, SubstringConfig, TokenPlacesFn};

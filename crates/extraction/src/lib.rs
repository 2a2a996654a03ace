//! What text can be got out of a model: draw samples, rank them, verify them in the corpus;
//! and audit a checkpoint with planted canaries.
//!
//! [`draw`] -> [`score`] -> [`rank`] -> [`verify`] is the extraction attack of Carlini et al. 2021; samples and records
//! are stored in between, so that ranking again needs no model ([`load_runs`]). [`audit_canaries`] asks for secrets that were planted,
//! [`audit_exposure`] how much likelier they are than others of their format, and [`invert`] which are the likeliest of all.

mod answers;
mod canary;
mod columns;
mod draw;
mod error;
mod exposure;
mod format;
mod invert;
mod prompts;
mod rank;
#[cfg(test)]
mod real_data;
mod recitation;
mod score;
mod store;
mod template;
#[cfg(test)]
mod testing;
mod trigram;
mod verify;

pub use answers::Resources;
pub use canary::{Canary, Placement, Shape};
pub use draw::{DrawnSample, Draws, ExtractConfig, draw};
pub use error::{Error, Result};
pub use exposure::{
    ControlCheck, Exposure, ExposureConfig, ExposureGroup, ExposureSummary, NoExposure, audit_exposure,
    summarize_exposure,
};
pub use format::canary_templates;
pub use invert::{
    Answer, Inversion, InvertConfig, Known, MAX_EXHAUSTIVE, Outcome, invert, invert_exhaustively,
};
pub use prompts::{Strategy, parse_prompts};
pub use rank::{Candidate, Cell, Exclusion, Metric, RankConfig, rank};
pub use recitation::{CanaryGroup, CanarySummary, Recitation, RecitedCount, audit_canaries, summarize};
pub use score::{ScoredSample, Scorers, TextModel, score};
pub use store::{
    RECORDS_FILE, SAMPLES_FILE, load_runs, read_ledger, save_records, save_samples, write_ledger,
};
pub use template::Template;
pub use verify::{Finding, Found, Precision, Proof, Verdict, candidates, precision, verify};

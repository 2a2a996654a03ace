//! What text can be got out of a model: draw samples, rank them, verify them in the corpus;
//! and audit a checkpoint with planted canaries.
//!
//! [`draw`] -> [`score`] -> [`rank`] -> [`verify`] is the extraction attack of Carlini et al. 2021; samples and records
//! are stored in between, so that ranking again needs no model ([`load_runs`]). [`audit_canaries`] asks for secrets that were planted.

mod answers;
mod audit;
mod canary;
mod columns;
mod divergence;
mod draw;
mod error;
mod places;
mod prompts;
mod rank;
#[cfg(test)]
mod real_data;
mod scale;
mod score;
mod store;
#[cfg(test)]
mod testing;
mod trigram;
mod verify;

pub use answers::Resources;
pub use audit::{CanaryGroup, CanarySummary, Recitation, RecitedCount, audit_canaries, summarize};
pub use canary::{Canary, Placement, Shape};
pub use divergence::{Divergence, divergences};
pub use draw::{DrawnSample, Draws, ExtractConfig, draw};
pub use error::{Error, Result};
pub use places::{PromptPlaces, Prompts};
pub use prompts::{Strategy, parse_prompts};
pub use rank::{Candidate, Cell, Exclusion, Metric, RankConfig, rank};
pub use scale::{Recital, Scale, recitals, scale};
pub use score::{ScoredSample, Scorers, TextModel, score};
pub use store::{
    RECORDS_FILE, SAMPLES_FILE, load_runs, read_ledger, save_records, save_samples, write_ledger,
};
pub use verify::{Finding, Found, Precision, Proof, Verdict, candidates, precision, verify};

//! What text can be got out of a model: unasked, by drawing samples, ranking them and verifying them in the corpus; and asked
//! for, by giving it the beginning of a text or of a planted canary.
//!
//! [`draw`] -> [`score`] -> [`rank`] -> [`verify`] is the extraction attack of Carlini et al. 2021; samples and records
//! are stored in between, so that ranking again needs no model ([`load_run`]). [`audit`] asks for texts of a corpus,
//! [`audit_canaries`] for secrets that were planted; [`audit_exposure`] says how much likelier they are than others of their
//! format, [`invert`] which are the likeliest of all, and [`elicit`] how short a prompt is enough for them.

mod audit;
mod canary;
mod chosen;
mod decoded;
mod discoverable;
mod divergence;
mod draw;
mod elicit;
mod error;
mod exposure;
mod format;
mod gain;
mod invert;
mod near;
mod order;
mod overlap;
mod places;
mod prompts;
mod random;
mod rank;
#[cfg(test)]
mod real_data;
mod recitation;
mod scale;
mod scaling;
mod score;
mod secrets;
mod store;
mod target;
mod taxonomy;
mod template;
#[cfg(test)]
mod testing;
mod trigram;
mod verify;

pub use audit::{AuditConfig, Audited, audit};
pub use canary::{Canary, Placement, Shape};
pub use chosen::{ChosenText, read_texts};
pub use decoded::Decoded;
pub use discoverable::{Continuation, NEAR_TIE, draws_needed};
pub use divergence::{Divergence, divergences};
pub use draw::{DrawnSample, Draws, ExtractConfig, draw};
pub use elicit::{ElicitConfig, ElicitTarget, Elicited, canary_targets, elicit, text_targets};
pub use error::{Error, Result};
pub use exposure::{
    ControlCheck, Exposure, ExposureConfig, ExposureGroup, ExposureSummary, NoExposure, audit_exposure,
    summarize_exposure,
};
pub use format::canary_templates;
pub use gain::{Area, Conclusion, FirstTries, Gain, Try, gain};
pub use invert::{
    Answer, Inversion, InvertConfig, Known, MAX_EXHAUSTIVE, Outcome, invert, invert_each, invert_exhaustively,
};
pub use near::{Distance, Near, NearConfig, NearMass};
pub use order::{Budget, TextOrder, read_order};
pub use places::{PromptPlaces, Prompts};
pub use prompts::{Strategy, parse_prompts};
pub use rank::{Candidate, Cell, Exclusion, Metric, RankConfig, rank};
pub use recitation::{
    CanaryGroup, CanarySummary, Recitation, RecitedCount, audit_canaries, likenesses, summarize,
};
pub use scale::{Recital, Scale, recitals, scale};
pub use scaling::{Doubling, Scaling, scaling};
pub use score::{ScoredSample, Scorers, score};
pub use secrets::{SpokenSecret, spoken_secrets};
pub use store::{
    RECORDS_FILE, SAMPLES_FILE, TARGETS_FILE, load_run, read_ledger, save_records, save_samples,
    save_targets, write_ledger,
};
pub use target::{Copies, Grid, Role, Target};
pub use taxonomy::Category;
pub use template::Template;
pub use verify::{Finding, Found, Precision, Proof, Verdict, candidates, precision, verify};

//! What each defence is worth: the same corpus, recipe and seed, trained again with it and audited again.

mod claims;
mod defence;
mod guarded;
mod made;
mod measure;
mod run;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_corpus::Corpus;
use verbatim_extraction::{Canary, Placement};
use verbatim_membership::Refusal;

use crate::guard::Judged;
use crate::private::PrivacySpent;
use crate::recipe::Recipe;

pub use claims::{Claim, Verdict};
pub use defence::{Defence, Kind};
pub use made::{MadeCorpus, MadeDocument, Person, make_corpus};
pub use measure::{FPR, Measured, SignalScores};
pub use run::defend;

/// How defences are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefendConfig {
    /// The training that each defence changes.
    pub recipe: Recipe,
    /// Epsilon of the private training, for one document.
    pub epsilon: f64,
    /// References of each secret.
    pub n_references: usize,
    /// The seed of draws; that of the training is the recipe's.
    pub seed: u64,
    /// The level of intervals.
    pub level: f64,
}

/// What is to be defended.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The training corpus as it is. Records with a field `source` are also compared by it.
    pub corpus: &'a Corpus,
    /// Secrets planted in it, and controls.
    pub ledger: &'a [Canary],
    /// People whose records stand in it; may be empty.
    pub people: &'a [Person],
    /// Texts of the same kind that are not in it.
    pub held_out: &'a Corpus,
    /// The bytes of the tokenizer.json of all models.
    pub tokenizer_json: &'a [u8],
}

/// What a training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingFacts {
    /// Documents that were trained on.
    pub n_documents: u64,
    /// Tokens of one pass.
    pub n_tokens: u64,
    /// Updates.
    pub n_steps: u64,
    /// Weights.
    pub n_parameters: u64,
    /// What it claims of privacy.
    pub privacy: Option<PrivacySpent>,
}

/// One defence and what was measured with it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The defence.
    pub defence: Defence,
    /// Its training; none where it only stands before the undefended model.
    pub training: Option<TrainingFacts>,
    /// Of the secrets planted more than once, by placement, how often their texts stand in the training corpus.
    pub copies_left: BTreeMap<Placement, u64>,
    /// The answers of its model.
    pub measured: Measured,
}

/// The undefended model at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The mean loss of members and of non-members, in nats a token.
    pub nats: [f64; 2],
    /// The area under the ROC curve of the loss.
    pub auc: f64,
    /// Planted secrets that are recited.
    pub n_recited: u64,
}

/// Members of one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceRow {
    /// What they are sliced by: `rarity`, `length` or `source`.
    pub by: &'static str,
    /// The slice, from 0 for the lowest.
    pub number: usize,
    /// What it is called, where it has a name of its own.
    pub name: Option<String>,
    /// Members and non-members in it.
    pub n: [u64; 2],
    /// The area under the ROC curve of the loss in it, and its interval.
    pub auc: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What all defences came to.
#[derive(Clone, Debug)]
pub struct Defended {
    /// Members and non-members that were told apart.
    pub n: [u64; 2],
    /// The defences, the undefended model first.
    pub rows: Vec<Row>,
    /// The undefended model along its training.
    pub moments: Vec<Moment>,
    /// The undefended model's members by what they are like.
    pub slices: Vec<SliceRow>,
    /// Query limits and detectors before the undefended model; a refusal where there was too little to judge by.
    pub guards: std::result::Result<Judged, Refusal>,
    /// What the field claims, tested.
    pub claims: Vec<Claim>,
}

//! What training a model came to, and what was planted in a corpus before.

use serde::Serialize;
use verbatim_lab::{EpochLosses, TrainingRecord};

use crate::figure::{counted, rounded};
use crate::provenance::{FileUsed, Provenance};
use crate::report::Body;

/// What training a model came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainBody {
    /// What it was computed from; the recipe is in its parameters.
    pub provenance: Provenance,
    /// Trained weights.
    pub n_parameters: u64,
    /// Tokens in one pass over the training documents.
    pub n_tokens: u64,
    /// Optimiser steps.
    pub n_steps: u64,
    /// The loss as it went down.
    pub curve: Vec<LossPoint>,
    /// Files of the checkpoint that was written.
    pub files: Vec<FileUsed>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for TrainBody {
    const KIND: &'static str = "train";
}

impl From<&EpochLosses> for LossPoint {
    fn from(losses: &EpochLosses) -> LossPoint {
        LossPoint {
            step: losses.step,
            train_nats: rounded(losses.train_loss),
            validation_nats: losses.validation_loss.map(rounded),
        }
    }
}

impl TrainBody {
    /// The body of a training, with the files of the checkpoint that it wrote.
    pub fn new(record: &TrainingRecord, provenance: Provenance, files: Vec<FileUsed>) -> TrainBody {
        TrainBody {
            provenance,
            n_parameters: record.n_parameters as u64,
            n_tokens: record.n_train_tokens as u64,
            n_steps: record.n_steps,
            curve: record.history.iter().map(LossPoint::from).collect(),
            files,
            warnings: Vec::new(),
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let loss = |nats: f64| format!("{nats:.3} nats a token");
        let steps = counted(self.n_steps, "step", "steps");
        let weights = counted(self.n_parameters, "weight", "weights");
        let Some(last) = self.curve.last() else { return format!("{weights} after {steps}.") };
        let validation = self.curve.iter().rev().find_map(|point| point.validation_nats);
        let after =
            validation.map_or_else(String::new, |nats| format!(", {} on documents kept out", loss(nats)));
        format!("{weights} after {steps}: a loss of {}{after}.", loss(last.train_nats))
    }
}

/// The loss at one step, in nats a token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LossPoint {
    /// Optimiser step.
    pub step: u64,
    /// Mean over the batches since the point before.
    pub train_nats: f64,
    /// On documents kept out of training, where there are any and where it was measured.
    pub validation_nats: Option<f64>,
}

/// What was planted in a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlantBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Documents before.
    pub n_documents_before: u64,
    /// Documents after.
    pub n_documents_after: u64,
    /// One row for each placement, shape and number of copies.
    pub rows: Vec<PlantedRow>,
    /// Canaries that were made and not planted.
    pub n_controls: u64,
    /// Fingerprint of the corpus that was written.
    pub fingerprint: String,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for PlantBody {
    const KIND: &'static str = "plant";
}

impl PlantBody {
    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let n_canaries = self.rows.iter().map(|row| row.n_canaries).sum();
        format!(
            "{} planted, {} made and kept out.",
            counted(n_canaries, "canary", "canaries"),
            counted(self.n_controls, "control", "controls")
        )
    }
}

/// Canaries of one kind, planted equally often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlantedRow {
    /// How the copies stand in the corpus.
    pub placement: String,
    /// What the secret looks like.
    pub shape: String,
    /// Copies of each.
    pub copies: u64,
    /// Different canaries.
    pub n_canaries: u64,
}

//! What training a model came to, and what was planted in a corpus before.

use serde::Serialize;
use verbatim_lab::{EpochLosses, PrivacySpent, TrainingRecord, epsilon_of_copies};

use crate::figure::{counted, percent, rounded};
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
    /// What a private training guarantees; none of any other.
    pub privacy: Option<Guarantee>,
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
            privacy: record.privacy.as_ref().map(Guarantee::from),
            files,
            warnings: record.privacy.iter().flat_map(warnings).collect(),
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

/// What a private training guarantees for each example (DP-SGD).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guarantee {
    /// Upper bound by the Rényi accountant; none when there is no bound, for want of noise.
    pub epsilon: Option<f64>,
    /// The delta of the guarantee.
    pub delta: f64,
    /// Standard deviation of the noise, divided by the clipping norm.
    pub noise_multiplier: f64,
    /// Largest norm of the gradient of an example.
    pub clip_norm: Option<f64>,
    /// Probability of an example to be in a step.
    pub sampling_rate: f64,
    /// Optimiser steps.
    pub n_steps: u64,
    /// What one example is.
    pub example: String,
}

impl From<&PrivacySpent> for Guarantee {
    fn from(spent: &PrivacySpent) -> Guarantee {
        Guarantee {
            epsilon: spent.epsilon.map(rounded),
            delta: spent.delta,
            noise_multiplier: rounded(spent.noise_multiplier),
            clip_norm: spent.clip_norm.map(rounded),
            sampling_rate: rounded(spent.sampling_rate),
            n_steps: spent.n_steps,
            example: spent.example.clone(),
        }
    }
}

impl Guarantee {
    /// The sentences that say what is guaranteed, and for what.
    pub fn sentences(&self) -> String {
        let Guarantee { delta, noise_multiplier, example, .. } = self;
        let Some(epsilon) = self.epsilon else {
            return format!("No epsilon holds for {example}: nothing was added to hide it.");
        };
        // Never less than what was spent.
        let told = |epsilon: f64| format!("{:.2}", (epsilon * 100.0).ceil() / 100.0);
        let clip_norm = self.clip_norm.map_or_else(String::new, |norm| format!(" times the norm {norm}"));
        let (of_two, delta_of_two) = epsilon_of_copies(epsilon, *delta, 2);
        format!(
            "Epsilon {} at delta {delta:e} for {example}: noise {noise_multiplier:.3}{clip_norm}, {} of the documents \
             in a step, {}. A text that stands k times has k times that epsilon and a larger delta; twice: {} at \
             {delta_of_two:.1e}.",
            told(epsilon),
            percent(self.sampling_rate),
            counted(self.n_steps, "step", "steps"),
            told(of_two)
        )
    }
}

/// What the guarantee of a private training does not cover.
fn warnings(spent: &PrivacySpent) -> Vec<String> {
    if spent.epsilon.is_none() {
        return Vec::new();
    }
    let seed = "Draws and noise follow from the seed, which training.json and this report hold: whoever has it can \
                take the noise off. Publish neither with the model, and for a release choose a seed that nobody can \
                guess.";
    vec![seed.to_owned(), "The losses are computed without noise: epsilon does not cover them.".to_owned()]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(epsilon: Option<f64>) -> PrivacySpent {
        PrivacySpent {
            epsilon,
            delta: 1e-6,
            noise_multiplier: 1.213_4,
            clip_norm: Some(0.5),
            sampling_rate: 0.04,
            n_steps: 300,
            example: "one document".to_owned(),
        }
    }

    #[test]
    fn epsilon_is_told_rounded_up_with_what_it_is_for_and_what_copies_cost() {
        let told = Guarantee::from(&spent(Some(1.001_2))).sentences();
        assert!(
            told.starts_with("Epsilon 1.01 at delta 1e-6 for one document: noise 1.213 times the norm 0.5,")
        );
        // 2 x 1.0012, and 1e-6 (1 + e^1.0012)
        assert!(told.ends_with("k times that epsilon and a larger delta; twice: 2.01 at 3.7e-6."), "{told}");
        assert_eq!(warnings(&spent(Some(1.0))).len(), 2);
    }

    #[test]
    fn without_noise_no_guarantee_is_told() {
        let none = Guarantee::from(&spent(None));
        assert_eq!(none.epsilon, None);
        assert!(none.sentences().starts_with("No epsilon holds for one document"));
        assert!(warnings(&spent(None)).is_empty());
    }
}

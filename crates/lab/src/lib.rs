//! What would change memorization: trains small models, plants canaries, and holds the demo's recipe.
//!
//! The lab has no model of its own: it trains the one GPT-2 of the lm room.

mod accountant;
mod data;
pub mod defend;
pub mod demo;
mod draw;
mod error;
mod gradient;
mod grammar;
pub mod guard;
mod optimizer;
mod plant;
mod private;
mod recipe;
pub mod release;
mod secret;
mod shadow;
mod state;
mod synth;
mod train;

pub use accountant::{Conversion, SampledGaussian, epsilon_of_copies, epsilon_spent, noise_for_epsilon};
pub use data::{TrainingData, n_trained_on};
pub use error::{Error, Result};
pub use optimizer::AdamWConfig;
pub use plant::{
    Insertion, LedgerLine, PlantConfig, Planting, check_secrets, plan_planting, plant_documents,
};
pub use private::{PrivacySpent, PrivateConfig, standard_delta};
pub use recipe::{
    Destination, ModelShape, Recipe, TrainingRecord, TrainingTexts, train_checkpoint, train_tokenizer,
};
pub use shadow::{Ensemble, ShadowConfig, ShadowRecord, train_shadows};
pub use synth::{SynthConfig, SynthDocument, synthesize, write_documents};
pub use train::{EpochLosses, Length, Observer, TrainConfig, Trained, train, train_observed};

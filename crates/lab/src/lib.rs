//! What would change memorization: trains small models, plants canaries, and holds the demo's recipe.
//!
//! The lab has no model of its own: it trains the one GPT-2 of the lm room.

mod data;
pub mod demo;
mod draw;
mod error;
mod gradient;
mod grammar;
pub mod guard;
mod optimizer;
mod plant;
mod recipe;
pub mod release;
mod secret;
mod state;
mod synth;
mod train;

pub use data::TrainingData;
pub use error::{Error, Result};
pub use optimizer::AdamWConfig;
pub use plant::{
    Insertion, LedgerLine, PlantConfig, Planting, check_secrets, plan_planting, plant_documents,
};
pub use recipe::{Destination, ModelShape, Recipe, TrainingRecord, train_checkpoint, train_tokenizer};
pub use synth::{SynthConfig, SynthDocument, synthesize, write_documents};
pub use train::{EpochLosses, Length, TrainConfig, Trained, train};

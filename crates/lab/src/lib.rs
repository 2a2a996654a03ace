//! What would change memorization: trains small models, plants canaries, and holds the demo's recipe.
//!
//! The lab has no model of its own: it trains the one GPT-2 of the lm room.

mod draw;
mod error;
mod grammar;
mod plant;
mod secret;
mod synth;

pub use error::{Error, Result};
pub use plant::{Insertion, LedgerLine, PlantConfig, Planting, plan_planting, plant_documents};
pub use synth::{SynthConfig, SynthDocument, synthesize, write_documents};

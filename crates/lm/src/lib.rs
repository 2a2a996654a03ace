//! The lm room: what a causal language model says of given tokens, and what it says next.
//!
//! It knows tokens and checkpoints, never a corpus. [`LanguageModel`] is the one waist: attacks ask it to
//! score texts and to draw samples, whatever model stands behind it.

mod checkpoint;
mod error;
mod gpt2;
mod gpt2_config;
pub mod hub;
mod model;
mod precheck;
mod record;
mod sampling;
mod scripted;
mod tokenizer;

pub use checkpoint::{Checkpoint, FileHash};
pub use error::{Error, Result};
pub use gpt2::{Dropout, Gpt2, KvCache};
pub use gpt2_config::Gpt2Config;
pub use model::{Forward, LanguageModel};
pub use record::TokenRecord;
pub use sampling::{Sample, SampleRequest, SamplingConfig, Temperature};
pub use scripted::Scripted;
pub use tokenizer::Tokenizer;

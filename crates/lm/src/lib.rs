//! The lm room: what a causal language model says of given tokens, and what it says next.
//!
//! It knows tokens and checkpoints, never a corpus. [`LanguageModel`] is the one waist: attacks ask it to
//! score texts and to draw samples, whatever model stands behind it.

mod checkpoint;
mod choice;
pub mod columns;
mod config;
mod engine;
mod error;
mod gguf;
mod gpt2;
mod gpt2_config;
mod gpt2_gradient;
mod gpt_neox;
pub mod hub;
mod llama;
mod logits;
mod loss_gradient;
mod model;
mod ngram;
mod ops;
mod passage;
mod precheck;
mod prompt_gradient;
mod record;
mod rope;
mod runtime;
mod sampling;
mod scripted;
mod served;
mod session;
mod tensors;
mod text_model;
mod tokenizer;
mod unasked;

pub use checkpoint::{Checkpoint, FileHash};
pub use choice::Choices;
pub use config::ModelConfig;
pub use engine::CpuEngine;
pub use engine::kernel::Kernel;
pub use engine::packed::WeightType;
pub use error::{Error, Result};
pub use gpt_neox::{GptNeox, GptNeoxConfig};
pub use gpt2::{Dropout, Gpt2};
pub use gpt2_config::Gpt2Config;
pub use gpt2_gradient::{Gpt2Gradient, Parameters};
pub use llama::{Llama, LlamaConfig};
pub use logits::{Logits, Row};
pub use loss_gradient::{GradientNorms, LossGradient};
pub use model::{Forward, LanguageModel, Run, Take};
pub use ngram::Ngram;
pub use ops::KvCache;
pub use passage::{Passage, score_passages, score_passages_each};
pub use prompt_gradient::PromptGradient;
pub use record::TokenRecord;
pub use runtime::{Device, Dtype, Runtime};
pub use sampling::{Decoding, Sample, SampleRequest, SamplingConfig, Temperature};
pub use scripted::Scripted;
pub use served::Release;
pub use session::Session;
pub use text_model::{Resources, TextModel};
pub use tokenizer::Tokenizer;

//! The configurations of all architectures as one: what `config.json` may be.

use std::collections::HashMap;

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use crate::checkpoint::CONFIG;
use crate::engine::Decoder;
use crate::engine::load::Weights;
use crate::error::{Error, Result};
use crate::gpt_neox::{GptNeox, GptNeoxConfig};
use crate::gpt2::Gpt2;
use crate::gpt2_config::Gpt2Config;
use crate::llama::{Llama, LlamaConfig};
use crate::model::LanguageModel;
use crate::tensors::{self, TensorSpec};

/// A model's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelConfig {
    /// GPT-2 and its look-alikes.
    Gpt2(Gpt2Config),
    /// GPT-NeoX and Pythia.
    GptNeox(GptNeoxConfig),
    /// Llama, TinyLlama, SmolLM2.
    Llama(LlamaConfig),
}

/// What is supported, for errors.
const SUPPORTED: &str = "GPT-2 (gpt2), GPT-NeoX and Pythia (gpt_neox), Llama and SmolLM2 (llama)";

impl ModelConfig {
    /// Reads a configuration and refuses what is not supported, or absurd, before anything is allocated for it.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(json: &[u8]) -> Result<Self> {
        let value: Value =
            serde_json::from_slice(json).map_err(|e| Error::Config(format!("{CONFIG}: {e}")))?;
        let model_type = value.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architectures: Vec<&str> = value
            .get("architectures")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let family = |name: &str, class: &str| {
            let named = if model_type.is_empty() { !architectures.is_empty() } else { model_type == name };
            named && architectures.iter().all(|architecture| architecture.starts_with(class))
        };
        for field in ["quantization_config", "add_cross_attention", "sliding_window"] {
            if value.get(field).is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false))) {
                return Err(Error::Config(format!("`{field}` is set, which is not supported")));
            }
        }
        fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T> {
            T::deserialize(value).map_err(|e| Error::Config(format!("{CONFIG}: {e}")))
        }
        let config = if family("gpt2", "GPT2") {
            Self::Gpt2(read(&value)?)
        } else if family("gpt_neox", "GPTNeoX") {
            Self::GptNeox(read(&value)?)
        } else if family("llama", "Llama") {
            Self::Llama(read(&value)?)
        } else {
            return Err(Error::Config(format!(
                "model_type {model_type:?}, architectures {architectures:?}; supported are {SUPPORTED}"
            )));
        };
        config.validate()?;
        Ok(config)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self {
            Self::Gpt2(config) => config.validate(),
            Self::GptNeox(config) => config.validate(),
            Self::Llama(config) => config.validate(),
        }
    }

    /// V, the number of token ids.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Gpt2(config) => config.vocab_size,
            Self::GptNeox(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }

    /// L, the most tokens that the model sees at once.
    pub(crate) fn context_len(&self) -> usize {
        match self {
            Self::Gpt2(config) => config.n_positions,
            Self::GptNeox(config) => config.max_position_embeddings,
            Self::Llama(config) => config.max_position_embeddings,
        }
    }

    /// The token that begins a text, if the model has one.
    pub(crate) fn bos(&self) -> Option<u32> {
        match self {
            Self::Gpt2(config) => config.bos_token_id,
            Self::GptNeox(config) => config.bos_token_id,
            Self::Llama(config) => config.bos_token_id,
        }
    }

    /// Every tensor of the model, and the prefix that its names may have.
    fn tensors(&self) -> (Vec<TensorSpec>, &'static str) {
        match self {
            Self::Gpt2(config) => (config.tensors(), "transformer."),
            Self::GptNeox(config) => (config.tensors(), "gpt_neox."),
            Self::Llama(config) => (config.tensors(), "model."),
        }
    }

    /// The number of parameters of the model.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        self.tensors().0.iter().map(TensorSpec::n_elements).sum()
    }

    /// The number of parameters of its largest tensor.
    pub(crate) fn n_largest(&self) -> usize {
        self.tensors().0.iter().map(TensorSpec::n_elements).max().unwrap_or(0)
    }

    /// The tensors that the model needs, checked.
    pub(crate) fn take_tensors(&self, tensors: &HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>> {
        let (specs, prefix) = self.tensors();
        tensors::take(&specs, prefix, tensors)
    }

    /// The model for the engine, of checked tensors.
    pub(crate) fn decoder(&self, weights: Weights) -> Result<Decoder> {
        match self {
            Self::Gpt2(config) => config.decoder(weights),
            Self::GptNeox(config) => config.decoder(weights),
            Self::Llama(config) => config.decoder(weights),
        }
    }

    /// The readable model in candle, with the type and on the device of its tensors.
    ///
    /// # Errors
    /// [`Error::Tensors`] lists every tensor that is missing or has another shape, or holds NaN or infinity.
    pub fn readable(&self, tensors: HashMap<String, Tensor>) -> Result<Box<dyn LanguageModel>> {
        Ok(match self {
            Self::Gpt2(config) => Box::new(Gpt2::new(config.clone(), tensors)?),
            Self::GptNeox(config) => Box::new(GptNeox::new(config.clone(), &tensors)?),
            Self::Llama(config) => Box::new(Llama::new(config.clone(), &tensors)?),
        })
    }
}

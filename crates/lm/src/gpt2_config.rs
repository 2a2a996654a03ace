//! A GPT-2's configuration, the tensors that follow from it, and how they begin.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::engine::attention::Heads;
use crate::engine::load::Weights;
use crate::engine::math::Activation;
use crate::engine::{Decoder, Layer, Mlp, Positions};
use crate::error::{Error, Result};
use crate::tensors::{TensorSpec, check_sizes};

/// What Hugging Face writes in `config.json` for a GPT-2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    /// V, the number of token ids.
    pub vocab_size: usize,
    /// The longest sequence, in tokens.
    pub n_positions: usize,
    /// C, the width of the residual stream.
    pub n_embd: usize,
    /// The number of blocks.
    pub n_layer: usize,
    /// H, the number of attention heads; divides `n_embd`.
    pub n_head: usize,
    /// The width of the hidden layer of the MLP; 4 C when absent.
    #[serde(default)]
    pub n_inner: Option<usize>,
    /// The activation of the MLP; only the tanh form of GELU is GPT-2.
    #[serde(default = "gelu_new")]
    pub activation_function: String,
    /// Added to the variance in each layer norm.
    #[serde(default = "epsilon")]
    pub layer_norm_epsilon: f64,
    /// The standard deviation of the initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// Probability of dropping an entry of the embeddings in training.
    #[serde(default = "dropout")]
    pub embd_pdrop: f64,
    /// Probability of dropping an attention weight in training.
    #[serde(default = "dropout")]
    pub attn_pdrop: f64,
    /// Probability of dropping an entry of what a sublayer adds to the residual stream in training.
    #[serde(default = "dropout")]
    pub resid_pdrop: f64,
    /// Whether attention logits are divided by sqrt(D).
    #[serde(default = "yes")]
    pub scale_attn_weights: bool,
    /// Whether attention logits are also divided by the block's number, counted from one.
    #[serde(default)]
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether the head is the token embedding; otherwise `lm_head.weight` is read.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// The token that begins a text, if any.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// The token that ends a text, if any.
    #[serde(default)]
    pub eos_token_id: Option<u32>,
}

fn gelu_new() -> String {
    "gelu_new".to_owned()
}

fn epsilon() -> f64 {
    1e-5
}

fn initializer_range() -> f64 {
    0.02
}

fn dropout() -> f64 {
    0.1
}

fn yes() -> bool {
    true
}

impl Gpt2Config {
    /// Refuses a configuration that is absurd or not GPT-2, before anything is allocated from it.
    ///
    /// # Errors
    /// [`Error::Config`] with the field and its value.
    pub(crate) fn validate(&self) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, 1 << 24),
            ("n_positions", self.n_positions, 1 << 20),
            ("n_embd", self.n_embd, 1 << 16),
            ("n_layer", self.n_layer, 1 << 10),
            ("n_head", self.n_head, 1 << 10),
            ("n_inner", self.inner(), 1 << 20),
        ])?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(Error::Config(format!(
                "n_embd is {}, which n_head {} does not divide",
                self.n_embd, self.n_head
            )));
        }
        if !matches!(self.activation_function.as_str(), "gelu_new" | "gelu_pytorch_tanh") {
            return Err(Error::Config(format!(
                "activation_function is `{}`, expected `gelu_new`",
                self.activation_function
            )));
        }
        let numbers = [
            (
                "layer_norm_epsilon",
                self.layer_norm_epsilon,
                f64::MIN_POSITIVE..1.0,
                "more than 0 and less than 1",
            ),
            ("initializer_range", self.initializer_range, 0.0..10.0, "0 to 10"),
            ("embd_pdrop", self.embd_pdrop, 0.0..1.0, "0 to less than 1"),
            ("attn_pdrop", self.attn_pdrop, 0.0..1.0, "0 to less than 1"),
            ("resid_pdrop", self.resid_pdrop, 0.0..1.0, "0 to less than 1"),
        ];
        for (field, value, range, expected) in numbers {
            if !range.contains(&value) {
                return Err(Error::Config(format!("{field} is {value}, expected {expected}")));
            }
        }
        Ok(())
    }

    /// What the queries of a block are multiplied by.
    pub(crate) fn attention_scale(&self, layer: usize) -> f64 {
        let d = (self.n_embd / self.n_head) as f64;
        let scale = if self.scale_attn_weights { 1.0 / d.sqrt() } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx { scale / (layer + 1) as f64 } else { scale }
    }

    /// The number of parameters of the model.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        self.tensors().iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
    }

    /// [`crate::Gpt2::initial_tensors`].
    pub(crate) fn initial_tensors(&self, seed: u64) -> Result<BTreeMap<String, Tensor>> {
        self.validate()?;
        let mut tensors = BTreeMap::new();
        for (stream, spec) in (0u64..).zip(self.tensors()) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            let values = self.initial_values(&spec, &mut rng);
            tensors.insert(spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu)?);
        }
        Ok(tensors)
    }

    /// The model for the engine, of checked tensors.
    pub(crate) fn decoder(&self, mut weights: Weights) -> Result<Decoder> {
        let (c, inner, v) = (self.n_embd, self.inner(), self.vocab_size);
        let mut layers = Vec::with_capacity(self.n_layer);
        for layer in 0..self.n_layer {
            let name = |part: &str| format!("h.{layer}.{part}");
            layers.push(Layer {
                attention_norm: weights.norm(&name("ln_1"), self.layer_norm_epsilon)?,
                qkv: weights.conv1d(&name("attn.c_attn"), (c, 3 * c))?,
                scale: self.attention_scale(layer) as f32,
                attention_out: weights.conv1d(&name("attn.c_proj"), (c, c))?,
                mlp_norm: weights.norm(&name("ln_2"), self.layer_norm_epsilon)?,
                mlp: Mlp::Plain {
                    up: weights.conv1d(&name("mlp.c_fc"), (c, inner))?,
                    activation: Activation::GeluTanh,
                    down: weights.conv1d(&name("mlp.c_proj"), (inner, c))?,
                },
            });
        }
        let head = (!self.tie_word_embeddings).then_some("lm_head");
        let (embeddings, head) = weights.ends("wte", head, (c, v))?;
        Ok(Decoder {
            context_len: self.n_positions,
            bos: self.bos_token_id,
            heads: Heads { n_query: self.n_head, n_key: self.n_head, dim: c / self.n_head },
            positions: Positions::Learned(weights.vector("wpe.weight")?),
            parallel: false,
            embeddings,
            layers,
            final_norm: weights.norm("ln_f", self.layer_norm_epsilon)?,
            head,
        })
    }

    pub(crate) fn inner(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// Every tensor of the model with its shape, in the order of the file.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let (c, inner) = (self.n_embd, self.inner());
        let mut specs = vec![
            TensorSpec::new("wte.weight", &[self.vocab_size, c]),
            TensorSpec::new("wpe.weight", &[self.n_positions, c]),
        ];
        for layer in 0..self.n_layer {
            let block = |name: &str, shape: &[usize]| TensorSpec::new(format!("h.{layer}.{name}"), shape);
            specs.extend([
                block("ln_1.weight", &[c]),
                block("ln_1.bias", &[c]),
                block("attn.c_attn.weight", &[c, 3 * c]),
                block("attn.c_attn.bias", &[3 * c]),
                block("attn.c_proj.weight", &[c, c]),
                block("attn.c_proj.bias", &[c]),
                block("ln_2.weight", &[c]),
                block("ln_2.bias", &[c]),
                block("mlp.c_fc.weight", &[c, inner]),
                block("mlp.c_fc.bias", &[inner]),
                block("mlp.c_proj.weight", &[inner, c]),
                block("mlp.c_proj.bias", &[c]),
            ]);
        }
        specs.push(TensorSpec::new("ln_f.weight", &[c]));
        specs.push(TensorSpec::new("ln_f.bias", &[c]));
        if !self.tie_word_embeddings {
            specs.push(TensorSpec::new("lm_head.weight", &[self.vocab_size, c]));
        }
        specs
    }

    /// How a tensor begins: a constant, or normal with mean 0 and a standard deviation.
    fn initial_values(&self, spec: &TensorSpec, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let n = spec.shape.iter().product();
        // GPT-2 scales what is added to the residual stream by one over the square root of the additions.
        let residual = self.initializer_range / (2.0 * self.n_layer as f64).sqrt();
        match spec.name.as_str() {
            name if name.ends_with(".bias") => vec![0.0; n],
            name if name.contains("ln_") => vec![1.0; n],
            name if name.ends_with("c_proj.weight") => normal_values(rng, n, residual),
            _ => normal_values(rng, n, self.initializer_range),
        }
    }
}

/// Normal values by Box and Muller, computed in f64.
fn normal_values(rng: &mut ChaCha8Rng, n: usize, deviation: f64) -> Vec<f32> {
    // 53 random bits, shifted by half a step so that the logarithm never sees zero.
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        let radius = deviation * (-2.0 * uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * uniform();
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(n);
    values
}

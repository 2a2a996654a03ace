//! GPT-NeoX (Black et al. 2022, section 2.1), the architecture of Pythia: rotary positions on a part of each head,
//! attention and MLP side by side. Names and layouts are those of Hugging Face `transformers`.
//!
//! Letters in shapes: T new positions of a sequence, S positions seen so far, C width, H heads, D = C / H, V ids,
//! R rows: the new positions of all sequences.

use std::collections::HashMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::engine::attention::Heads;
use crate::engine::load::Weights;
use crate::engine::math::Activation;
use crate::engine::{Decoder, Layer, Mlp, Positions};
use crate::error::{Error, Result};
use crate::model::Run;
use crate::ops::{self, KvCache, Linear, Norm, Readable, Rotary, Sizes};
use crate::rope::RopeParameters;
use crate::tensors::{self, TensorSpec, check_sizes};

/// What Hugging Face writes in `config.json` for a GPT-NeoX.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GptNeoxConfig {
    /// V, the number of token ids.
    pub vocab_size: usize,
    /// C, the width of the residual stream.
    pub hidden_size: usize,
    /// The number of blocks.
    pub num_hidden_layers: usize,
    /// H, the number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// The width of the hidden layer of the MLP.
    pub intermediate_size: usize,
    /// The activation of the MLP: `gelu`, `gelu_new` or `gelu_fast`.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// The part of a head that is rotated.
    #[serde(default)]
    pub rotary_pct: Option<f64>,
    /// The base of the rotary frequencies.
    #[serde(default, alias = "rope_theta")]
    pub rotary_emb_base: Option<f64>,
    /// Both of the former, in newer files.
    #[serde(default, alias = "rope_scaling")]
    pub rope_parameters: Option<RopeParameters>,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the variance in each layer norm.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    /// Whether attention and MLP read the same input.
    #[serde(default = "yes")]
    pub use_parallel_residual: bool,
    /// Whether the attention's projections have a bias.
    #[serde(default = "yes")]
    pub attention_bias: bool,
    /// Whether the head is the token embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// The token that begins a text, if any.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn epsilon() -> f64 {
    1e-5
}

fn yes() -> bool {
    true
}

impl GptNeoxConfig {
    /// Refuses a configuration that is absurd or not GPT-NeoX, before anything is allocated from it.
    pub(crate) fn validate(&self) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
        ])?;
        self.rope().validate()?;
        let part = self.rotary_part();
        let complaint = if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            format!(
                "hidden_size is {}, which num_attention_heads {} does not divide",
                self.hidden_size, self.num_attention_heads
            )
        } else if self.activation().is_none() {
            format!("hidden_act is `{}`, expected `gelu` or `gelu_new`", self.hidden_act)
        } else if !(0.0..=1.0).contains(&part) || !self.n_rotated().is_multiple_of(2) {
            format!("rotary_pct is {part}: {} numbers of a head cannot be rotated in pairs", self.n_rotated())
        } else if !(self.theta() > 0.0 && self.theta().is_finite()) {
            format!("rotary_emb_base is {}, expected a positive number", self.theta())
        } else if !(f64::MIN_POSITIVE..1.0).contains(&self.layer_norm_eps) {
            format!("layer_norm_eps is {}, expected more than 0 and less than 1", self.layer_norm_eps)
        } else {
            return Ok(());
        };
        Err(Error::Config(complaint))
    }

    fn activation(&self) -> Option<Activation> {
        match self.hidden_act.as_str() {
            "gelu" => Some(Activation::GeluErf),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
            _ => None,
        }
    }

    fn rope(&self) -> RopeParameters {
        self.rope_parameters.clone().unwrap_or_default()
    }

    fn rotary_part(&self) -> f64 {
        self.rope().partial_rotary_factor.or(self.rotary_pct).unwrap_or(0.25)
    }

    fn theta(&self) -> f64 {
        self.rope().rope_theta.or(self.rotary_emb_base).unwrap_or(10_000.0)
    }

    fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn n_rotated(&self) -> usize {
        (self.head_dim() as f64 * self.rotary_part()) as usize
    }

    fn frequencies(&self) -> Vec<f32> {
        self.rope().frequencies(self.theta(), self.n_rotated())
    }

    /// Every tensor of the model with its shape.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let (c, inner, v) = (self.hidden_size, self.intermediate_size, self.vocab_size);
        let mut specs = vec![TensorSpec::new("embed_in.weight", &[v, c])];
        let mut pair = |name: String, shape: &[usize], bias: bool| {
            specs.push(TensorSpec::new(format!("{name}.weight"), shape));
            if bias {
                specs.push(TensorSpec::new(format!("{name}.bias"), &shape[..1]));
            }
        };
        for layer in 0..self.num_hidden_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            pair(name("input_layernorm"), &[c], true);
            pair(name("post_attention_layernorm"), &[c], true);
            pair(name("attention.query_key_value"), &[3 * c, c], self.attention_bias);
            pair(name("attention.dense"), &[c, c], self.attention_bias);
            pair(name("mlp.dense_h_to_4h"), &[inner, c], true);
            pair(name("mlp.dense_4h_to_h"), &[c, inner], true);
        }
        pair("final_layer_norm".to_owned(), &[c], true);
        if !self.tie_word_embeddings {
            // `transformers` calls it `lm_head` since version 5.
            let spec = TensorSpec::new("embed_out.weight", &[v, c]);
            specs.push(TensorSpec { alias: Some("lm_head.weight"), ..spec });
        }
        specs
    }

    /// Row `column` of queries, keys and values side by side, in the file's order: (H, 3, D).
    fn qkv_row(&self, column: usize) -> usize {
        let (c, d) = (self.hidden_size, self.head_dim());
        let (part, head, at) = (column / c, column % c / d, column % d);
        (head * 3 + part) * d + at
    }

    /// The model for the engine, of checked tensors.
    pub(crate) fn decoder(&self, mut weights: Weights) -> Result<Decoder> {
        let (c, inner, v) = (self.hidden_size, self.intermediate_size, self.vocab_size);
        let activation = self.activation().expect("validated");
        let mut layers = Vec::with_capacity(self.num_hidden_layers);
        for layer in 0..self.num_hidden_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            let qkv = |column| self.qkv_row(column);
            layers.push(Layer {
                attention_norm: weights.norm(&name("input_layernorm"), self.layer_norm_eps)?,
                qkv: weights.linear(&name("attention.query_key_value"), (c, 3 * c), qkv)?,
                scale: 1.0 / (self.head_dim() as f32).sqrt(),
                attention_out: weights.linear(&name("attention.dense"), (c, c), |row| row)?,
                mlp_norm: weights.norm(&name("post_attention_layernorm"), self.layer_norm_eps)?,
                mlp: Mlp::Plain {
                    up: weights.linear(&name("mlp.dense_h_to_4h"), (c, inner), |row| row)?,
                    activation,
                    down: weights.linear(&name("mlp.dense_4h_to_h"), (inner, c), |row| row)?,
                },
            });
        }
        let head = (!self.tie_word_embeddings).then_some("embed_out");
        let (embeddings, head) = weights.ends("embed_in", head, (c, v))?;
        Ok(Decoder {
            context_len: self.max_position_embeddings,
            bos: self.bos_token_id,
            heads: Heads {
                n_query: self.num_attention_heads,
                n_key: self.num_attention_heads,
                dim: self.head_dim(),
            },
            positions: Positions::Rotary(self.frequencies()),
            parallel: self.use_parallel_residual,
            embeddings,
            layers,
            final_norm: weights.norm("final_layer_norm", self.layer_norm_eps)?,
            head,
        })
    }
}

#[derive(Clone, Debug)]
struct Block {
    input_norm: Norm,
    qkv: Linear, // C -> 3 C, (H, 3, D)
    dense: Linear,
    mlp_norm: Norm,
    up: Linear,   // C -> inner
    down: Linear, // inner -> C
}

/// A GPT-NeoX with its weights, in candle.
#[derive(Clone, Debug)]
pub struct GptNeox {
    config: GptNeoxConfig,
    embeddings: Tensor, // (V, C)
    rotary: Rotary,
    blocks: Vec<Block>,
    final_norm: Norm,
    head: Tensor, // (V, C)
}

impl GptNeox {
    /// Builds the model from named tensors, with or without the "gpt_neox." prefix.
    ///
    /// # Errors
    /// [`Error::Config`] for an absurd configuration; [`Error::Tensors`] lists every tensor that is missing
    /// or has another shape, or holds NaN or infinity.
    pub fn new(config: GptNeoxConfig, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        config.validate()?;
        let tensors = tensors::take(&config.tensors(), "gpt_neox.", tensors)?;
        let epsilon = config.layer_norm_eps;
        let blocks = (0..config.num_hidden_layers).map(|layer| {
            let name = |part: &str| format!("layers.{layer}.{part}");
            Ok(Block {
                input_norm: Norm::of(&tensors, &name("input_layernorm"), epsilon),
                qkv: Linear::of(&tensors, &name("attention.query_key_value"))?,
                dense: Linear::of(&tensors, &name("attention.dense"))?,
                mlp_norm: Norm::of(&tensors, &name("post_attention_layernorm"), epsilon),
                up: Linear::of(&tensors, &name("mlp.dense_h_to_4h"))?,
                down: Linear::of(&tensors, &name("mlp.dense_4h_to_h"))?,
            })
        });
        let embeddings = tensors["embed_in.weight"].clone();
        Ok(Self {
            rotary: Rotary::new(config.frequencies()),
            blocks: blocks.collect::<Result<_>>()?,
            final_norm: Norm::of(&tensors, "final_layer_norm", epsilon),
            head: tensors.get("embed_out.weight").unwrap_or(&embeddings).clone(),
            embeddings,
            config,
        })
    }

    /// (R, 3 C) -> (R, C), each position attending to itself and before.
    fn attention(&self, layer: usize, qkv: &Tensor, runs: &[Run<'_>], cache: &KvCache) -> Result<Tensor> {
        let (h, d) = (self.config.num_attention_heads, self.config.head_dim());
        ops::each_run(runs, |run, first_row| {
            let t = run.tokens.len();
            let qkv = qkv.narrow(0, first_row, t)?.reshape((1, t, h, 3, d))?;
            let qkv = qkv.permute((3, 0, 2, 1, 4))?.contiguous()?; // (3, 1, H, T, D)
            let past = cache.len(run.slot);
            let q = self.rotary.apply(&qkv.get(0)?, past)?;
            let (k, v) =
                cache.append(run.slot, layer, &self.rotary.apply(&qkv.get(1)?, past)?, &qkv.get(2)?)?;
            ops::attend(&q, &k, &v, 1.0 / (d as f64).sqrt())
        })
    }

    fn mlp(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        let hidden = block.up.apply(&block.mlp_norm.apply(x)?)?;
        let erf = self.config.activation() == Some(Activation::GeluErf);
        block.down.apply(&if erf { hidden.gelu_erf()? } else { hidden.gelu()? })
    }
}

impl Readable for GptNeox {
    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.config.vocab_size,
            context_len: self.config.max_position_embeddings,
            bos: self.config.bos_token_id,
            n_layer: self.config.num_hidden_layers,
            key_heads: self.config.num_attention_heads,
            head_dim: self.config.head_dim(),
        }
    }

    fn embeddings(&self) -> &Tensor {
        &self.embeddings
    }

    fn head(&self) -> &Tensor {
        &self.head
    }

    fn states(
        &self,
        ids: &Tensor,
        _positions: &[u32],
        runs: &[Run<'_>],
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let mut x = self.embeddings.index_select(ids, 0)?; // (R, C)
        for (layer, block) in self.blocks.iter().enumerate() {
            let qkv = block.qkv.apply(&block.input_norm.apply(&x)?)?; // (R, 3 C)
            let attended = block.dense.apply(&self.attention(layer, &qkv, runs, cache)?)?;
            x = if self.config.use_parallel_residual {
                ((&x + attended)? + self.mlp(block, &x)?)?
            } else {
                let x = (x + attended)?;
                (&x + self.mlp(block, &x)?)?
            };
        }
        self.final_norm.apply(&x)
    }
}

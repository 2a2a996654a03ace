//! Llama (Touvron et al. 2023, section 2.2): RMS norms, rotary positions, a gated MLP, and keys that several query
//! heads may share. Names and layouts are those of Hugging Face `transformers`.
//!
//! Letters in shapes: T new positions of a sequence, S positions seen so far, C width, H query heads, G key heads,
//! D numbers of a head, V ids, R rows: the new positions of all sequences.

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

/// What Hugging Face writes in `config.json` for a Llama.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// V, the number of token ids.
    pub vocab_size: usize,
    /// C, the width of the residual stream.
    pub hidden_size: usize,
    /// The width of the hidden layer of the MLP.
    pub intermediate_size: usize,
    /// The number of blocks.
    pub num_hidden_layers: usize,
    /// H, the number of query heads.
    pub num_attention_heads: usize,
    /// G, the number of heads of keys and values; H when absent.
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// D; C / H when absent.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// The activation of the MLP; only `silu` is Llama.
    #[serde(default = "silu")]
    pub hidden_act: String,
    /// Added to the mean square in each norm.
    #[serde(default = "epsilon")]
    pub rms_norm_eps: f64,
    /// The base of the rotary frequencies.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// How they are stretched for long contexts, and in newer files the base.
    #[serde(default, alias = "rope_scaling")]
    pub rope_parameters: Option<RopeParameters>,
    /// Whether the attention's projections have a bias.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the MLP's projections have a bias.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Whether the head is the token embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// The token that begins a text, if any.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
}

fn silu() -> String {
    "silu".to_owned()
}

fn epsilon() -> f64 {
    1e-6
}

impl LlamaConfig {
    /// Refuses a configuration that is absurd or not Llama, before anything is allocated from it.
    pub(crate) fn validate(&self) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_key_value_heads", self.n_key_heads(), self.num_attention_heads),
            ("head_dim", self.head_dim(), 1 << 12),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
        ])?;
        self.rope().validate()?;
        let complaint = if !self.num_attention_heads.is_multiple_of(self.n_key_heads()) {
            format!(
                "num_attention_heads is {}, which num_key_value_heads {} does not divide",
                self.num_attention_heads,
                self.n_key_heads()
            )
        } else if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            format!(
                "hidden_size is {}, which num_attention_heads {} does not divide",
                self.hidden_size, self.num_attention_heads
            )
        } else if !self.head_dim().is_multiple_of(2) {
            format!("heads of {} numbers cannot be rotated in pairs", self.head_dim())
        } else if self.hidden_act != "silu" {
            format!("hidden_act is `{}`, expected `silu`", self.hidden_act)
        } else if !(self.theta() > 0.0 && self.theta().is_finite()) {
            format!("rope_theta is {}, expected a positive number", self.theta())
        } else if !(f64::MIN_POSITIVE..1.0).contains(&self.rms_norm_eps) {
            format!("rms_norm_eps is {}, expected more than 0 and less than 1", self.rms_norm_eps)
        } else {
            return Ok(());
        };
        Err(Error::Config(complaint))
    }

    fn n_key_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(crate) fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn rope(&self) -> RopeParameters {
        self.rope_parameters.clone().unwrap_or_default()
    }

    fn theta(&self) -> f64 {
        self.rope().rope_theta.or(self.rope_theta).unwrap_or(10_000.0)
    }

    fn frequencies(&self) -> Vec<f32> {
        self.rope().frequencies(self.theta(), self.head_dim())
    }

    /// Every tensor of the model with its shape.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let (c, inner, v) = (self.hidden_size, self.intermediate_size, self.vocab_size);
        let (queries, keys) =
            (self.num_attention_heads * self.head_dim(), self.n_key_heads() * self.head_dim());
        let mut specs = vec![TensorSpec::new("embed_tokens.weight", &[v, c])];
        let mut add = |name: String, shape: &[usize], bias: bool| {
            specs.push(TensorSpec::new(format!("{name}.weight"), shape));
            if bias {
                specs.push(TensorSpec::new(format!("{name}.bias"), &shape[..1]));
            }
        };
        for layer in 0..self.num_hidden_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            add(name("input_layernorm"), &[c], false);
            add(name("self_attn.q_proj"), &[queries, c], self.attention_bias);
            add(name("self_attn.k_proj"), &[keys, c], self.attention_bias);
            add(name("self_attn.v_proj"), &[keys, c], self.attention_bias);
            add(name("self_attn.o_proj"), &[c, queries], self.attention_bias);
            add(name("post_attention_layernorm"), &[c], false);
            add(name("mlp.gate_proj"), &[inner, c], self.mlp_bias);
            add(name("mlp.up_proj"), &[inner, c], self.mlp_bias);
            add(name("mlp.down_proj"), &[c, inner], self.mlp_bias);
        }
        add("norm".to_owned(), &[c], false);
        if !self.tie_word_embeddings {
            add("lm_head".to_owned(), &[v, c], false);
        }
        specs
    }

    /// The model for the engine, of checked tensors.
    pub(crate) fn decoder(&self, mut weights: Weights) -> Result<Decoder> {
        let (c, inner, v) = (self.hidden_size, self.intermediate_size, self.vocab_size);
        let heads =
            Heads { n_query: self.num_attention_heads, n_key: self.n_key_heads(), dim: self.head_dim() };
        let mut layers = Vec::with_capacity(self.num_hidden_layers);
        for layer in 0..self.num_hidden_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            let parts = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
            layers.push(Layer {
                attention_norm: weights.norm(&name("input_layernorm"), self.rms_norm_eps)?,
                qkv: weights.side_by_side(&parts, c)?,
                scale: 1.0 / (heads.dim as f32).sqrt(),
                attention_out: weights.linear(&name("self_attn.o_proj"), (heads.width(), c), |row| row)?,
                mlp_norm: weights.norm(&name("post_attention_layernorm"), self.rms_norm_eps)?,
                mlp: Mlp::Gated {
                    gate: weights.linear(&name("mlp.gate_proj"), (c, inner), |row| row)?,
                    up: weights.linear(&name("mlp.up_proj"), (c, inner), |row| row)?,
                    activation: Activation::Silu,
                    down: weights.linear(&name("mlp.down_proj"), (inner, c), |row| row)?,
                },
            });
        }
        let head = (!self.tie_word_embeddings).then_some("lm_head");
        let (embeddings, head) = weights.ends("embed_tokens", head, (c, v))?;
        Ok(Decoder {
            context_len: self.max_position_embeddings,
            bos: self.bos_token_id,
            heads,
            positions: Positions::Rotary(self.frequencies()),
            parallel: false,
            embeddings,
            layers,
            final_norm: weights.norm("norm", self.rms_norm_eps)?,
            head,
        })
    }
}

#[derive(Clone, Debug)]
struct Block {
    input_norm: Norm,
    q: Linear,   // C -> H * D
    k: Linear,   // C -> G * D
    v: Linear,   // C -> G * D
    out: Linear, // H * D -> C
    mlp_norm: Norm,
    gate: Linear, // C -> inner
    up: Linear,   // C -> inner
    down: Linear, // inner -> C
}

/// A Llama with its weights, in candle.
#[derive(Clone, Debug)]
pub struct Llama {
    config: LlamaConfig,
    embeddings: Tensor, // (V, C)
    rotary: Rotary,
    blocks: Vec<Block>,
    final_norm: Norm,
    head: Tensor, // (V, C)
}

impl Llama {
    /// Builds the model from named tensors, with or without the "model." prefix.
    ///
    /// # Errors
    /// [`Error::Config`] for an absurd configuration; [`Error::Tensors`] lists every tensor that is missing
    /// or has another shape, or holds NaN or infinity.
    pub fn new(config: LlamaConfig, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        config.validate()?;
        let tensors = tensors::take(&config.tensors(), "model.", tensors)?;
        let epsilon = config.rms_norm_eps;
        let blocks = (0..config.num_hidden_layers).map(|layer| {
            let linear = |part: &str| Linear::of(&tensors, &format!("layers.{layer}.{part}"));
            let norm = |part: &str| Norm::of(&tensors, &format!("layers.{layer}.{part}"), epsilon);
            Ok(Block {
                input_norm: norm("input_layernorm"),
                q: linear("self_attn.q_proj")?,
                k: linear("self_attn.k_proj")?,
                v: linear("self_attn.v_proj")?,
                out: linear("self_attn.o_proj")?,
                mlp_norm: norm("post_attention_layernorm"),
                gate: linear("mlp.gate_proj")?,
                up: linear("mlp.up_proj")?,
                down: linear("mlp.down_proj")?,
            })
        });
        let embeddings = tensors["embed_tokens.weight"].clone();
        Ok(Self {
            rotary: Rotary::new(config.frequencies()),
            blocks: blocks.collect::<Result<_>>()?,
            final_norm: Norm::of(&tensors, "norm", epsilon),
            head: tensors.get("lm_head.weight").unwrap_or(&embeddings).clone(),
            embeddings,
            config,
        })
    }

    /// (R, C) -> (R, H * D), each position attending to itself and before.
    fn attention(&self, layer: usize, x: &Tensor, runs: &[Run<'_>], cache: &KvCache) -> Result<Tensor> {
        let block = &self.blocks[layer];
        let d = self.config.head_dim();
        let (q, k, v) = (block.q.apply(x)?, block.k.apply(x)?, block.v.apply(x)?);
        ops::each_run(runs, |run, first_row| {
            let t = run.tokens.len();
            // (R, N * D) -> (1, N, T, D)
            let heads = |x: &Tensor| {
                let n = x.dim(1)? / d;
                x.narrow(0, first_row, t)?.reshape((1, t, n, d))?.transpose(1, 2)?.contiguous()
            };
            let past = cache.len(run.slot);
            let q = self.rotary.apply(&heads(&q)?, past)?;
            let (k, v) =
                cache.append(run.slot, layer, &self.rotary.apply(&heads(&k)?, past)?, &heads(&v)?)?;
            ops::attend(&q, &k, &v, 1.0 / (d as f64).sqrt())
        })
    }
}

impl Readable for Llama {
    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.config.vocab_size,
            context_len: self.config.max_position_embeddings,
            bos: self.config.bos_token_id,
            n_layer: self.config.num_hidden_layers,
            key_heads: self.config.n_key_heads(),
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
            let attended = self.attention(layer, &block.input_norm.apply(&x)?, runs, cache)?;
            x = (x + block.out.apply(&attended)?)?;
            let y = block.mlp_norm.apply(&x)?;
            let hidden = (block.gate.apply(&y)?.silu()? * block.up.apply(&y)?)?;
            x = (x + block.down.apply(&hidden)?)?;
        }
        self.final_norm.apply(&x)
    }
}

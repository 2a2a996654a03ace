//! GPT-2 (Radford et al. 2019): ONE forward pass; `gpt2_config.rs` has the sizes and the tensors' names.
//!
//! The same pass trains and infers. Candle's fused layer norm and softmax detach the graph without a word,
//! so they are used only where no gradient is wanted ([`Pass::Infer`]); a finite-difference check over every
//! parameter guards the other path. `engine.rs` computes the same, faster. Weight names and layouts are those of Hugging Face `transformers`:
//! projections are "Conv1D", stored as (in, out).
//!
//! Letters in shapes: B sequences, T new positions of one, S positions seen so far (S >= T), C = `n_embd`,
//! H = `n_head`, D = C / H, V = `vocab_size`, R rows: the new positions of all sequences.

use std::collections::{BTreeMap, HashMap};

use candle_core::{D, DType, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::Result;
use crate::gpt2_config::Gpt2Config;
use crate::model::{Run, check_length};
use crate::ops::{self, KvCache, Readable, Sizes};
use crate::tensors;

/// Where dropout draws its masks from: the same seed gives the same masks, site by site.
///
/// A trainer makes one for each step, with a seed derived from the run's seed and the step's number.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The seed of this step.
    pub seed: u64,
}

impl Dropout {
    /// What `n` numbers at a site are multiplied by: zero with probability `p`, else 1 / (1 - p).
    pub(crate) fn mask(self, n: usize, p: f64, site: u64) -> impl Iterator<Item = f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(site);
        let threshold = (p * f64::from(u32::MAX)) as u32;
        let scale = (1.0 / (1.0 - p)) as f32;
        (0..n).map(move |_| if rng.next_u32() < threshold { 0.0 } else { scale })
    }

    /// Drops entries of `x` with probability `p` and scales the rest by 1 / (1 - p).
    fn apply(self, x: &Tensor, p: f64, site: u64) -> Result<Tensor> {
        if p == 0.0 {
            return Ok(x.clone());
        }
        let mask: Vec<f32> = self.mask(x.elem_count(), p, site).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok((x * mask)?)
    }
}

/// What a forward pass is for.
enum Pass<'a> {
    /// Gradients are wanted, of `batch` sequences of equal length: only operations that keep them.
    Train { batch: usize, dropout: Option<Dropout> },
    /// No gradients are wanted: fused operations, row tiles, and keys and values from before.
    Infer { runs: &'a [Run<'a>], cache: &'a mut KvCache },
}

impl Pass<'_> {
    fn drop(&self, x: Tensor, p: f64, site: u64) -> Result<Tensor> {
        match self {
            Self::Train { dropout: Some(dropout), .. } => dropout.apply(&x, p, site),
            _ => Ok(x),
        }
    }
}

/// Layer norm (Ba et al. 2016) over the last dimension.
#[derive(Clone, Debug)]
struct Norm {
    weight: Tensor, // (C)
    bias: Tensor,   // (C)
    epsilon: f64,
}

impl Norm {
    /// (R, C) -> (R, C)
    fn apply(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        if matches!(pass, Pass::Infer { .. }) && x.dtype() == DType::F32 {
            return Ok(candle_nn::ops::layer_norm(x, &self.weight, &self.bias, self.epsilon as f32)?);
        }
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?; // (R, 1)
        let normed = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        Ok(normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

/// A projection in Hugging Face's Conv1D layout.
#[derive(Clone, Debug)]
struct Linear {
    weight: Tensor, // (in, out)
    bias: Tensor,   // (out)
}

impl Linear {
    /// (R, in) -> (R, out)
    fn apply(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let y = match pass {
            Pass::Train { .. } => x.matmul(&self.weight)?,
            Pass::Infer { .. } => ops::product(x, &self.weight)?,
        };
        Ok(y.broadcast_add(&self.bias)?)
    }
}

#[derive(Clone, Debug)]
struct Block {
    ln_1: Norm,
    c_attn: Linear,    // C -> 3 C
    attn_proj: Linear, // C -> C
    ln_2: Norm,
    c_fc: Linear,     // C -> 4 C
    mlp_proj: Linear, // 4 C -> C
}

/// A GPT-2 with its weights.
#[derive(Clone, Debug)]
pub struct Gpt2 {
    config: Gpt2Config,
    wte: Tensor, // (V, C)
    wpe: Tensor, // (n_positions, C)
    blocks: Vec<Block>,
    ln_f: Norm,
    head: Tensor, // (V, C)
}

impl Gpt2 {
    /// Builds the model from named tensors, with or without the "transformer." prefix.
    ///
    /// Tensors that the model does not need (`h.N.attn.bias`, a tied `lm_head.weight`) are ignored. f64
    /// tensors stay f64; everything else becomes f32. Variables stay variables: a model made from a
    /// trainer's variables sees their updates, and gradients reach them.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an absurd configuration; [`crate::Error::Tensors`] lists every tensor that is missing
    /// or has another shape, or holds NaN or infinity.
    pub fn new(config: Gpt2Config, tensors: HashMap<String, Tensor>) -> Result<Self> {
        config.validate()?;
        let mut checked = tensors::take(&config.tensors(), "transformer.", &tensors)?;
        // Variables must stay themselves, or a trainer would not reach them.
        for tensor in checked.values_mut().filter(|tensor| !matches!(tensor.dtype(), DType::F32 | DType::F64))
        {
            *tensor = tensor.to_dtype(DType::F32)?;
        }
        let mut take = |name: &str| {
            checked.remove(name).expect("a checked list has every tensor that the configuration names")
        };
        let mut blocks = Vec::with_capacity(config.n_layer);
        let (wte, wpe) = (take("wte.weight"), take("wpe.weight"));
        let epsilon = config.layer_norm_epsilon;
        let mut pair = |name: &str| (take(&format!("{name}.weight")), take(&format!("{name}.bias")));
        let mut norm = |name: &str| {
            let (weight, bias) = pair(name);
            Norm { weight, bias, epsilon }
        };
        let ln_f = norm("ln_f");
        let norms: Vec<(Norm, Norm)> = (0..config.n_layer)
            .map(|n| (norm(&format!("h.{n}.ln_1")), norm(&format!("h.{n}.ln_2"))))
            .collect();
        for (n, (ln_1, ln_2)) in norms.into_iter().enumerate() {
            let mut linear = |name: &str| {
                let (weight, bias) = pair(&format!("h.{n}.{name}"));
                Linear { weight, bias }
            };
            let (c_attn, attn_proj) = (linear("attn.c_attn"), linear("attn.c_proj"));
            let (c_fc, mlp_proj) = (linear("mlp.c_fc"), linear("mlp.c_proj"));
            blocks.push(Block { ln_1, c_attn, attn_proj, ln_2, c_fc, mlp_proj });
        }
        let head = if config.tie_word_embeddings { wte.clone() } else { take("lm_head.weight") };
        Ok(Self { config, wte, wpe, blocks, ln_f, head })
    }

    /// GPT-2's initial weights: normal with deviation 0.02, residual projections scaled down by
    /// sqrt(2 `n_layer`), norms one, biases zero. Each tensor draws from its own stream of `seed`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an absurd configuration.
    pub fn initial_tensors(config: &Gpt2Config, seed: u64) -> Result<BTreeMap<String, Tensor>> {
        config.initial_tensors(seed)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    /// Logits for training, (B, T) u32 ids -> (B, T, V): every operation keeps gradients.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] when T is zero or longer than the context.
    pub fn forward_train(&self, ids: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
        let (batch, t) = ids.dims2()?;
        check_length(0, t, self.config.n_positions)?;
        let positions: Vec<u32> = (0..batch).flat_map(|_| 0..t as u32).collect();
        let mut pass = Pass::Train { batch, dropout: dropout.copied() };
        let rows = self.hidden_rows(&ids.flatten_all()?, &positions, &mut pass)?; // (R, C)
        Ok(rows.matmul(&self.head.t()?)?.reshape((batch, t, self.config.vocab_size))?)
    }

    /// (R) ids at their positions -> (R, C), the last layer's output after the final norm.
    fn hidden_rows(&self, ids: &Tensor, positions: &[u32], pass: &mut Pass<'_>) -> Result<Tensor> {
        let positions = Tensor::new(positions, ids.device())?;
        let x = (self.wte.index_select(ids, 0)? + self.wpe.index_select(&positions, 0)?)?; // (R, C)
        let mut x = pass.drop(x, self.config.embd_pdrop, 0)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            // Each block has three places of dropout, each with its own stream of random numbers.
            let site = 1 + 3 * layer as u64;
            let y = block.c_attn.apply(&block.ln_1.apply(&x, pass)?, pass)?; // (R, 3 C)
            let y = self.attention(layer, &y, pass)?; // (R, C)
            let y = block.attn_proj.apply(&y, pass)?;
            x = (x + pass.drop(y, self.config.resid_pdrop, site + 1)?)?;
            let y = block.c_fc.apply(&block.ln_2.apply(&x, pass)?, pass)?; // (R, 4 C)
            // Candle's `gelu` is the tanh form, which transformers calls "gelu_new".
            let y = block.mlp_proj.apply(&y.gelu()?, pass)?;
            x = (x + pass.drop(y, self.config.resid_pdrop, site + 2)?)?;
        }
        self.ln_f.apply(&x, pass)
    }

    /// (R, 3 C) queries, keys and values -> (R, C), each position attending to itself and before.
    fn attention(&self, layer: usize, qkv: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let scale = self.config.attention_scale(layer);
        match pass {
            Pass::Train { batch, .. } => {
                let [q, k, v] = self.heads(qkv, *batch)?;
                let weights = ops::softmax(&ops::masked(&(q * scale)?.matmul(&k.transpose(2, 3)?)?)?)?;
                let weights = pass.drop(weights, self.config.attn_pdrop, 1 + 3 * layer as u64)?;
                ops::side_by_side(&weights.matmul(&v)?)
            }
            Pass::Infer { runs, cache } => ops::each_run(runs, |run, first_row| {
                let [q, k, v] = self.heads(&qkv.narrow(0, first_row, run.tokens.len())?, 1)?;
                let (k, v) = cache.append(run.slot, layer, &k, &v)?; // (1, H, S, D)
                let logits = ops::masked(&(q * scale)?.matmul(&k.transpose(2, 3)?)?)?; // (1, H, T, S)
                ops::side_by_side(&ops::fused_softmax(&logits)?.matmul(&v)?)
            }),
        }
    }

    /// (B * T, 3 C) -> queries, keys and values, (B, H, T, D) each.
    fn heads(&self, qkv: &Tensor, batch: usize) -> Result<[Tensor; 3]> {
        let (h, d) = (self.config.n_head, self.config.n_embd / self.config.n_head);
        let qkv = qkv.reshape((batch, qkv.dim(0)? / batch, 3, h, d))?;
        let qkv = qkv.permute((2, 0, 3, 1, 4))?.contiguous()?; // (3, B, H, T, D)
        Ok([qkv.get(0)?, qkv.get(1)?, qkv.get(2)?])
    }
}

impl Readable for Gpt2 {
    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.config.vocab_size,
            context_len: self.config.n_positions,
            bos: self.config.bos_token_id,
            n_layer: self.config.n_layer,
            key_heads: self.config.n_head,
            head_dim: self.config.n_embd / self.config.n_head,
        }
    }

    fn embeddings(&self) -> &Tensor {
        &self.wte
    }

    fn head(&self) -> &Tensor {
        &self.head
    }

    fn states(
        &self,
        ids: &Tensor,
        positions: &[u32],
        runs: &[Run<'_>],
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        self.hidden_rows(ids, positions, &mut Pass::Infer { runs, cache })
    }
}

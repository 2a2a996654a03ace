//! GPT-2 (Radford et al. 2019): ONE forward pass; `gpt2_config.rs` has the sizes and the tensors' names.
//!
//! The same pass trains and infers. Candle's fused layer norm and softmax detach the graph without a word,
//! so they are used only where no gradient is wanted ([`Pass::Infer`]); a finite-difference check over every
//! parameter guards the other path. Weight names and layouts are those of Hugging Face `transformers`:
//! projections are "Conv1D", stored as (in, out).
//!
//! Letters in shapes: B sequences, T new positions, S positions seen so far (S >= T), C = `n_embd`,
//! H = `n_head`, D = C / H, V = `vocab_size`, R = B * T rows.

use std::collections::{BTreeMap, HashMap};

use candle_core::{D, DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::{Error, Result};
use crate::gpt2_config::Gpt2Config;
use crate::model::Forward;

// Nothing is called here: the dependency switches on gemm's AVX-512 kernels, which candle leaves off and
// which double the speed of its matrix products.
use gemm as _;

/// Rows of a matrix product at inference come in multiples of this number, see [`product`].
const ROW_TILE: usize = 16;
/// Up to this many columns gemm chooses its blocking by the number of rows as well, see [`product`].
const MAX_SMALL_COLUMNS: usize = 64;

/// Where dropout draws its masks from: the same seed gives the same masks, site by site.
///
/// A trainer makes one for each step, with a seed derived from the run's seed and the step's number.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The seed of this step.
    pub seed: u64,
}

impl Dropout {
    /// Drops entries of `x` with probability `p` and scales the rest by 1 / (1 - p).
    fn apply(self, x: &Tensor, p: f64, site: u64) -> Result<Tensor> {
        if p == 0.0 {
            return Ok(x.clone());
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(site);
        let threshold = (p * f64::from(u32::MAX)) as u32;
        let scale = (1.0 / (1.0 - p)) as f32;
        let mask: Vec<f32> =
            (0..x.elem_count()).map(|_| if rng.next_u32() < threshold { 0.0 } else { scale }).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok((x * mask)?)
    }
}

/// What a forward pass is for.
enum Pass<'a> {
    /// Gradients are wanted: only operations that keep them.
    Train(Option<Dropout>),
    /// No gradients are wanted: fused operations, row tiles, and keys and values from before.
    Infer(Option<&'a mut KvCache>),
}

impl Pass<'_> {
    fn drop(&self, x: Tensor, p: f64, site: u64) -> Result<Tensor> {
        match self {
            Self::Train(Some(dropout)) => dropout.apply(&x, p, site),
            _ => Ok(x),
        }
    }

    fn softmax(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Infer(_) if x.dtype() == DType::F32 => {
                Ok(candle_nn::ops::softmax_last_dim(&x.contiguous()?)?)
            }
            _ => {
                // The maximum only guards against overflow; the result does not depend on it, so it needs
                // no gradient.
                let exp = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
                Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
            }
        }
    }
}

/// Keys and values of the positions seen so far, for a batch of sequences of equal length.
#[derive(Debug)]
pub struct KvCache {
    /// For each block: keys and values, (B, H, capacity, D), filled up to `len`.
    layers: Vec<(Tensor, Tensor)>,
    /// S, the number of positions seen so far.
    len: usize,
}

impl KvCache {
    /// Appends (B, H, T, D) keys and values of one block; returns all so far, (B, H, S, D), as views.
    fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (keys, values) = &self.layers[layer];
        keys.slice_set(&k.contiguous()?, 2, self.len)?;
        values.slice_set(&v.contiguous()?, 2, self.len)?;
        let seen = self.len + k.dim(2)?;
        Ok((keys.narrow(2, 0, seen)?, values.narrow(2, 0, seen)?))
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
        if matches!(pass, Pass::Infer(_)) && x.dtype() == DType::F32 {
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
        Ok(product(x, &self.weight, pass)?.broadcast_add(&self.bias)?)
    }
}

/// (R, K) x (K, N) -> (R, N).
///
/// Matrix kernels change with the number of rows, and with them the last bits of a row. At inference a
/// row's bytes must not depend on how many rows stand beside it, so rows are padded to whole tiles. That is
/// enough where gemm blocks by K alone; where it looks at the rows too (N <= 64, `gemm.rs` of gemm-common
/// 0.19), each tile is a product of its own.
fn product(x: &Tensor, weight: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
    let (rows, columns) = (x.dim(0)?, weight.dim(1)?);
    if matches!(pass, Pass::Train(_)) {
        return Ok(x.matmul(weight)?);
    }
    let padded_rows = rows.next_multiple_of(ROW_TILE);
    let x = if padded_rows == rows { x.contiguous()? } else { x.pad_with_zeros(0, 0, padded_rows - rows)? };
    let y = if columns > MAX_SMALL_COLUMNS {
        x.matmul(weight)?
    } else {
        let tiles = (0..padded_rows).step_by(ROW_TILE).map(|row| x.narrow(0, row, ROW_TILE)?.matmul(weight));
        Tensor::cat(&tiles.collect::<candle_core::Result<Vec<_>>>()?, 0)?
    };
    Ok(y.narrow(0, 0, rows)?)
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
    /// [`Error::Config`] for an absurd configuration; [`Error::Tensors`] lists every tensor that is missing
    /// or has another shape, or holds NaN or infinity.
    pub fn new(config: Gpt2Config, tensors: HashMap<String, Tensor>) -> Result<Self> {
        config.validate()?;
        let mut checked = config.take_tensors(&tensors)?;
        let mut take = |name: &str| {
            checked.remove(name).expect("take_tensors returns every tensor that the configuration names")
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
    /// [`Error::Config`] for an absurd configuration.
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
    /// [`Error::InvalidArgument`] when T is zero or longer than the context.
    pub fn forward_train(&self, ids: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
        let (b, t) = ids.dims2()?;
        let mut pass = Pass::Train(dropout.copied());
        let rows = self.hidden_rows(ids, &mut pass)?; // (R, C)
        Ok(self.head_rows(&rows, &pass)?.reshape((b, t, self.config.vocab_size))?)
    }

    /// (B, T) ids -> (R, C), the last layer's output after the final norm.
    fn hidden_rows(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (b, t) = ids.dims2()?;
        let c = self.config.n_embd;
        let offset = match pass {
            Pass::Infer(Some(cache)) => cache.len,
            _ => 0,
        };
        if t == 0 || offset + t > self.config.n_positions {
            return Err(Error::InvalidArgument(format!(
                "a sequence of {} tokens does not fit the context of 1 to {} tokens",
                offset + t,
                self.config.n_positions
            )));
        }
        let tokens = self.wte.index_select(&ids.flatten_all()?, 0)?.reshape((b, t, c))?;
        let x = tokens.broadcast_add(&self.wpe.narrow(0, offset, t)?)?.reshape((b * t, c))?; // (R, C)
        let mut x = pass.drop(x, self.config.embd_pdrop, 0)?;
        let mask = if t > 1 { Some(causal_mask(t, offset, x.dtype())?) } else { None };
        for (layer, block) in self.blocks.iter().enumerate() {
            // Each block has three places of dropout, each with its own stream of random numbers.
            let site = 1 + 3 * layer as u64;
            let y = block.c_attn.apply(&block.ln_1.apply(&x, pass)?, pass)?; // (R, 3 C)
            let y = self.attention(layer, &y.reshape((b, t, 3 * c))?, mask.as_ref(), pass)?; // (R, C)
            let y = block.attn_proj.apply(&y, pass)?;
            x = (x + pass.drop(y, self.config.resid_pdrop, site + 1)?)?;
            let y = block.c_fc.apply(&block.ln_2.apply(&x, pass)?, pass)?; // (R, 4 C)
            // Candle's `gelu` is the tanh form, which transformers calls "gelu_new".
            let y = block.mlp_proj.apply(&y.gelu()?, pass)?;
            x = (x + pass.drop(y, self.config.resid_pdrop, site + 2)?)?;
        }
        if let Pass::Infer(Some(cache)) = pass {
            cache.len += t;
        }
        self.ln_f.apply(&x, pass)
    }

    /// (B, T, 3 C) queries, keys and values -> (R, C), each position attending to itself and before.
    fn attention(
        &self,
        layer: usize,
        qkv: &Tensor,
        mask: Option<&Tensor>,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let (b, t, _) = qkv.dims3()?;
        let (h, d) = (self.config.n_head, self.config.n_embd / self.config.n_head);
        let qkv = qkv.reshape((b, t, 3, h, d))?.permute((2, 0, 3, 1, 4))?.contiguous()?; // (3, B, H, T, D)
        let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        let (k, v) = match pass {
            Pass::Infer(Some(cache)) => cache.append(layer, &k, &v)?, // (B, H, S, D)
            _ => (k, v),
        };
        let mut scale = if self.config.scale_attn_weights { 1.0 / (d as f64).sqrt() } else { 1.0 };
        if self.config.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        let logits = (q * scale)?.matmul(&k.transpose(2, 3)?)?; // (B, H, T, S)
        let logits = match mask {
            Some(mask) => logits.broadcast_add(mask)?,
            None => logits,
        };
        let weights = pass.drop(pass.softmax(&logits)?, self.config.attn_pdrop, 1 + 3 * layer as u64)?;
        let y = weights.matmul(&v)?; // (B, H, T, D)
        Ok(y.transpose(1, 2)?.reshape((b * t, h * d))?)
    }

    /// (R, C) -> (R, V) logits.
    fn head_rows(&self, rows: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        product(rows, &self.head.t()?, pass)
    }
}

impl Forward for Gpt2 {
    type Cache = KvCache;

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn context_len(&self) -> usize {
        self.config.n_positions
    }

    fn bos(&self) -> Option<u32> {
        self.config.bos_token_id
    }

    fn new_cache(&self, batch: usize, capacity: usize) -> Result<KvCache> {
        let (h, d) = (self.config.n_head, self.config.n_embd / self.config.n_head);
        let empty = || Tensor::zeros((batch, h, capacity, d), self.wte.dtype(), &Device::Cpu);
        let layers = self.blocks.iter().map(|_| Ok((empty()?, empty()?))).collect::<Result<_>>()?;
        Ok(KvCache { layers, len: 0 })
    }

    fn hidden(&self, ids: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor> {
        self.hidden_rows(ids, &mut Pass::Infer(cache))
    }

    fn head(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(self.head_rows(rows, &Pass::Infer(None))?.to_dtype(DType::F32)?)
    }
}

/// (T, S) zeros where a position may look, minus infinity where it may not.
fn causal_mask(t: usize, offset: usize, dtype: DType) -> Result<Tensor> {
    let seen = offset + t;
    let mask: Vec<f32> = (0..t)
        .flat_map(|row| {
            (0..seen).map(move |column| if column > offset + row { f32::NEG_INFINITY } else { 0.0 })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (t, seen), &Device::Cpu)?.to_dtype(dtype)?)
}

//! GPT-2 (Radford et al. 2019) in one file: configuration, initialisation, and ONE forward pass.
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
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Forward;

/// Rows of a matrix product at inference come in multiples of this number, see [`Linear::apply`].
const ROW_TILE: usize = 16;

/// What Hugging Face writes in `config.json` for a GPT-2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    /// V, the number of token ids.
    pub vocab_size: usize,
    /// The longest sequence, in tokens.
    #[serde(alias = "n_ctx")]
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
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("n_positions", self.n_positions, 1 << 20),
            ("n_embd", self.n_embd, 1 << 16),
            ("n_layer", self.n_layer, 1 << 10),
            ("n_head", self.n_head, 1 << 10),
            ("n_inner", self.inner(), 1 << 20),
        ];
        for (field, value, limit) in sizes {
            if value == 0 || value > limit {
                return Err(Error::Config(format!("{field} is {value}, expected 1 to {limit}")));
            }
        }
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
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return Err(Error::Config(format!("layer_norm_epsilon is {}", self.layer_norm_epsilon)));
        }
        let probabilities = [
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
            ("resid_pdrop", self.resid_pdrop),
        ];
        for (field, p) in probabilities {
            if !(0.0..1.0).contains(&p) {
                return Err(Error::Config(format!("{field} is {p}, expected 0 to less than 1")));
            }
        }
        Ok(())
    }

    /// The number of parameters of the model.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        self.tensors().iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
    }

    fn inner(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// Every tensor of the model with its shape and how it begins, in the order of the file.
    fn tensors(&self) -> Vec<TensorSpec> {
        let (c, inner) = (self.n_embd, self.inner());
        let normal = Init::Normal(self.initializer_range);
        // GPT-2 scales what is added to the residual stream by one over the square root of the additions.
        let residual = Init::Normal(self.initializer_range / (2.0 * self.n_layer as f64).sqrt());
        let spec = |name: String, shape: &[usize], init| TensorSpec { name, shape: shape.to_vec(), init };
        let mut specs = vec![
            spec("wte.weight".to_owned(), &[self.vocab_size, c], normal),
            spec("wpe.weight".to_owned(), &[self.n_positions, c], normal),
        ];
        for layer in 0..self.n_layer {
            let block = |name: &str, shape: &[usize], init| spec(format!("h.{layer}.{name}"), shape, init);
            specs.extend([
                block("ln_1.weight", &[c], Init::One),
                block("ln_1.bias", &[c], Init::Zero),
                block("attn.c_attn.weight", &[c, 3 * c], normal),
                block("attn.c_attn.bias", &[3 * c], Init::Zero),
                block("attn.c_proj.weight", &[c, c], residual),
                block("attn.c_proj.bias", &[c], Init::Zero),
                block("ln_2.weight", &[c], Init::One),
                block("ln_2.bias", &[c], Init::Zero),
                block("mlp.c_fc.weight", &[c, inner], normal),
                block("mlp.c_fc.bias", &[inner], Init::Zero),
                block("mlp.c_proj.weight", &[inner, c], residual),
                block("mlp.c_proj.bias", &[c], Init::Zero),
            ]);
        }
        specs.push(spec("ln_f.weight".to_owned(), &[c], Init::One));
        specs.push(spec("ln_f.bias".to_owned(), &[c], Init::Zero));
        if !self.tie_word_embeddings {
            specs.push(spec("lm_head.weight".to_owned(), &[self.vocab_size, c], normal));
        }
        specs
    }
}

/// One tensor that the model needs.
struct TensorSpec {
    name: String,
    shape: Vec<usize>,
    init: Init,
}

/// How a tensor begins: a constant, or normal with mean 0 and this standard deviation.
#[derive(Clone, Copy)]
enum Init {
    Zero,
    One,
    Normal(f64),
}

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
/// Matrix kernels change with the number of rows, and with them the last bits of a row. At inference rows
/// are therefore padded to whole tiles, so that a row's bytes do not depend on how many rows stand beside it.
fn product(x: &Tensor, weight: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let padding = match pass {
        Pass::Train(_) => 0,
        Pass::Infer(_) => rows.next_multiple_of(ROW_TILE) - rows,
    };
    if padding == 0 {
        return Ok(x.contiguous()?.matmul(weight)?);
    }
    let padded = x.pad_with_zeros(0, 0, padding)?.contiguous()?.matmul(weight)?;
    Ok(padded.narrow(0, 0, rows)?)
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
        let mut checked = checked_tensors(&config, &tensors)?;
        let mut take =
            |name: &str| checked.remove(name).expect("checked_tensors returns every tensor of the spec");
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
        config.validate()?;
        let mut tensors = BTreeMap::new();
        for (stream, spec) in (0u64..).zip(config.tensors()) {
            let n: usize = spec.shape.iter().product();
            let values = match spec.init {
                Init::Zero => vec![0.0; n],
                Init::One => vec![1.0; n],
                Init::Normal(deviation) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(stream);
                    normal_values(&mut rng, n, deviation)
                }
            };
            tensors.insert(spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu)?);
        }
        Ok(tensors)
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

/// The tensors that the configuration asks for, by name without prefix; all complaints at once.
fn checked_tensors(
    config: &Gpt2Config,
    tensors: &HashMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>> {
    let mut checked = HashMap::new();
    let mut complaints = Vec::new();
    for spec in config.tensors() {
        let Some(tensor) =
            tensors.get(&spec.name).or_else(|| tensors.get(&format!("transformer.{}", spec.name)))
        else {
            complaints.push(format!("`{}` is missing, expected shape {:?}", spec.name, spec.shape));
            continue;
        };
        let mut transposed = spec.shape.clone();
        transposed.reverse();
        if tensor.dims() == spec.shape {
            match numbers(tensor)? {
                Some(tensor) => {
                    checked.insert(spec.name, tensor);
                }
                None => complaints.push(format!("`{}` holds NaN or infinity", spec.name)),
            }
        } else if tensor.dims() == transposed {
            complaints.push(format!(
                "`{}` is transposed: expected the Conv1D layout (in, out) {:?}, got {:?}",
                spec.name,
                spec.shape,
                tensor.dims()
            ));
        } else {
            complaints.push(format!(
                "`{}`: expected shape {:?}, got {:?}",
                spec.name,
                spec.shape,
                tensor.dims()
            ));
        }
    }
    if complaints.is_empty() { Ok(checked) } else { Err(Error::Tensors(complaints)) }
}

/// The tensor as f32 (f64 stays), unless it holds a value that is not a finite number.
fn numbers(tensor: &Tensor) -> Result<Option<Tensor>> {
    let tensor = if tensor.dtype() == DType::F64 { tensor.clone() } else { tensor.to_dtype(DType::F32)? };
    // The sum of |x| * 0 is zero, or NaN if any value is NaN or infinite.
    let probe = (tensor.detach().abs()? * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok((probe == 0.0).then_some(tensor))
}

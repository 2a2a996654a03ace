//! A GPT-2's configuration, the tensors that follow from it, and how they begin.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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

    /// The tensors that the model needs, by name without prefix, checked; all complaints at once.
    pub(crate) fn take_tensors(&self, tensors: &HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>> {
        let mut checked = HashMap::new();
        let mut complaints = Vec::new();
        for spec in self.tensors() {
            let found =
                tensors.get(&spec.name).or_else(|| tensors.get(&format!("transformer.{}", spec.name)));
            let Some(tensor) = found else {
                complaints.push(format!("`{}` is missing, expected shape {:?}", spec.name, spec.shape));
                continue;
            };
            match fitting(tensor, &spec)? {
                Ok(tensor) => {
                    checked.insert(spec.name, tensor);
                }
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() { Ok(checked) } else { Err(Error::Tensors(complaints)) }
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

/// The tensor as f32 (f64 stays), or why it does not fit.
fn fitting(tensor: &Tensor, spec: &TensorSpec) -> Result<std::result::Result<Tensor, String>> {
    let (name, expected, got) = (&spec.name, &spec.shape, tensor.dims());
    if got != expected {
        let transposed = expected.iter().rev().eq(got);
        return Ok(Err(if transposed {
            format!("`{name}` is transposed: expected the Conv1D layout (in, out) {expected:?}, got {got:?}")
        } else {
            format!("`{name}`: expected shape {expected:?}, got {got:?}")
        }));
    }
    if !tensor.dtype().is_float() {
        return Ok(Err(format!("`{name}` holds {:?}, expected floating-point numbers", tensor.dtype())));
    }
    let tensor = if tensor.dtype() == DType::F64 { tensor.clone() } else { tensor.to_dtype(DType::F32)? };
    // x * 0 is zero, or NaN where x is NaN or infinite, and so is the sum.
    let probe = (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok(if probe == 0.0 { Ok(tensor) } else { Err(format!("`{name}` holds NaN or infinity")) })
}

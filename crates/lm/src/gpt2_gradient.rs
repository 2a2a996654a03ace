//! GPT-2's loss and its gradient, written out by hand: what `forward_train` of `gpt2.rs` and candle's backward pass
//! compute, several times as fast. Tests compare the two, and both with finite differences.
//!
//! Letters in shapes: B sequences of T tokens, R = B * T rows, C = `n_embd`, H = `n_head`, D = C / H, I the width of the
//! MLP, V ids. Matrices lie row after row.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::engine::kernel::Kernel;
use crate::engine::math::{self, Activation};
use crate::engine::matrix::{Panels, Target, View, add_column_sums, multiply, multiply_rows};
use crate::error::{Error, Result};
use crate::gpt2::Dropout;
use crate::gpt2_config::Gpt2Config;
use crate::model::in_pool;

/// Logits in memory at once.
const MAX_LOGITS: usize = 1 << 22;

/// Parameters, or gradients of them, by their names in the checkpoint.
pub type Parameters = BTreeMap<String, Vec<f32>>;

/// Computes losses and gradients of one model; the buffers live from one call to the next.
#[derive(Debug)]
pub struct Gpt2Gradient {
    config: Gpt2Config,
    kernel: Kernel,
    layers: Vec<Layer>,
    ends: Ends,
    scratch: Scratch,
}

/// What the backward pass of a block needs of its forward pass, and the block's matrices in panels.
#[derive(Debug, Default)]
struct Layer {
    norm_1: Normed,
    /// (R, 3 C)
    qkv: Vec<f32>,
    /// (B, H, T, T), before dropout.
    weights: Vec<f32>,
    /// (R, C)
    attended: Vec<f32>,
    norm_2: Normed,
    /// (R, I), before the activation and after.
    up: Vec<f32>,
    active: Vec<f32>,
    /// In the order of [`PROJECTIONS`], for the way forward and for the way back.
    forward: [Panels; 4],
    backward: [Panels; 4],
    /// Masks: attention weights, attention's output, the MLP's.
    masks: [Vec<f32>; 3],
}

/// The matrices of a block.
const PROJECTIONS: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];

/// A norm's output before weight and bias, (R, C), and what it divided by, (R).
#[derive(Debug, Default)]
struct Normed {
    rows: Vec<f32>,
    scales: Vec<f32>,
    /// (R, C), after weight and bias.
    out: Vec<f32>,
}

/// Embeddings and head.
#[derive(Debug, Default)]
struct Ends {
    norm: Normed,
    /// (C, V) and (V, C).
    forward: Panels,
    backward: Panels,
    mask: Vec<f32>,
    logits: Vec<f32>,
}

/// Buffers that hold nothing between two uses.
#[derive(Debug, Default)]
struct Scratch {
    /// (R, C), the residual stream, and on the way back its gradient.
    stream: Vec<f32>,
    /// (R, C), (R, I), (R, 3 C), and what is (B, H, ...).
    narrow: Vec<f32>,
    wide: Vec<f32>,
    qkv: Vec<f32>,
    heads: Vec<f32>,
    panels: Panels,
}

/// Sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    b: usize,
    t: usize,
    rows: usize,
    c: usize,
    h: usize,
    d: usize,
    inner: usize,
}

impl Gpt2Gradient {
    /// For models of this configuration.
    ///
    /// # Errors
    /// [`Error::Config`] for an absurd configuration.
    pub fn new(config: Gpt2Config, kernel: Kernel) -> Result<Self> {
        config.validate()?;
        let layers = (0..config.n_layer).map(|_| Layer::default()).collect();
        Ok(Self { config, kernel, layers, ends: Ends::default(), scratch: Scratch::default() })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    /// Takes the weights for the calls that follow.
    ///
    /// # Panics
    /// When a parameter is missing or has another length than the configuration says.
    pub fn load(&mut self, parameters: &Parameters) {
        let (c, inner, v) = (self.config.n_embd, self.config.inner(), self.config.vocab_size);
        let shapes = [(c, 3 * c), (c, c), (c, inner), (inner, c)];
        for (number, layer) in self.layers.iter_mut().enumerate() {
            for (at, (name, (k, n))) in PROJECTIONS.into_iter().zip(shapes).enumerate() {
                let weight = &parameters[&format!("h.{number}.{name}.weight")];
                assert_eq!(weight.len(), k * n, "the length of {name}");
                layer.forward[at].fill_in_parallel((k, n), View::Rows(weight, n));
                layer.backward[at].fill_in_parallel((n, k), View::Columns(weight, n));
            }
        }
        let head = &parameters[self.head_name()];
        assert_eq!(head.len(), v * c, "the length of the head");
        self.ends.forward.fill_in_parallel((c, v), View::Columns(head, c));
        self.ends.backward.fill_in_parallel((v, c), View::Rows(head, c));
    }

    fn head_name(&self) -> &'static str {
        if self.config.tie_word_embeddings { "wte.weight" } else { "lm_head.weight" }
    }

    /// The summed loss in nats of rows of ids, each one longer than the context that the model sees, with the weights
    /// of the last [`Gpt2Gradient::load`], which `parameters` must be.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for rows of no or different lengths.
    pub fn loss(&mut self, parameters: &Parameters, rows: &[Vec<u32>]) -> Result<f64> {
        let sizes = self.sizes(rows)?;
        self.forward(parameters, rows, sizes, None)?;
        Ok(self.head(rows, sizes, (1, None), None))
    }

    /// As [`Gpt2Gradient::loss`]; adds the gradient of `scale` times the loss to `gradients`.
    ///
    /// # Errors
    /// As [`Gpt2Gradient::loss`].
    pub fn add_gradient(
        &mut self,
        parameters: &Parameters,
        rows: &[Vec<u32>],
        (scale, dropout): (f32, Option<Dropout>),
        gradients: &mut Parameters,
    ) -> Result<f64> {
        let sizes = self.sizes(rows)?;
        in_pool(|| {
            self.forward(parameters, rows, sizes, dropout)?;
            let loss = self.head(rows, sizes, (1, Some(scale)), Some(&mut *gradients));
            self.backward(parameters, sizes, Some(&mut *gradients));
            self.add_to_embeddings(rows, sizes, gradients);
            Ok(loss)
        })
    }

    /// The summed loss in nats of the tokens of a row from the `first` on, given those before them, and its gradient by
    /// the embedding of each token of the row but the last, (T, C).
    ///
    /// # Errors
    /// As [`Gpt2Gradient::loss`].
    pub(crate) fn by_embedding(
        &mut self,
        parameters: &Parameters,
        row: Vec<u32>,
        first: usize,
    ) -> Result<(f64, &[f32])> {
        let rows = [row];
        let sizes = self.sizes(&rows)?;
        let loss = in_pool(|| {
            self.forward(parameters, &rows, sizes, None)?;
            let loss = self.head(&rows, sizes, (first, Some(1.0)), None);
            self.backward(parameters, sizes, None);
            Ok::<f64, Error>(loss)
        })?;
        Ok((loss, &self.scratch.stream))
    }

    fn sizes(&self, rows: &[Vec<u32>]) -> Result<Sizes> {
        let t = rows.first().map_or(0, Vec::len).saturating_sub(1);
        if t == 0 || t > self.config.n_positions || rows.iter().any(|row| row.len() != t + 1) {
            return Err(Error::InvalidArgument(format!(
                "rows to learn from need equal lengths of 2 to {} tokens",
                self.config.n_positions + 1
            )));
        }
        for (number, row) in rows.iter().enumerate() {
            crate::model::check_ids(row, self.config.vocab_size, || format!("row {number}"))?;
        }
        let (c, h) = (self.config.n_embd, self.config.n_head);
        let inner = self.config.inner();
        Ok(Sizes { b: rows.len(), t, rows: rows.len() * t, c, h, d: c / h, inner })
    }

    /// Leaves the last layer's normed output in `ends`, and in each layer what its way back needs.
    fn forward(
        &mut self,
        parameters: &Parameters,
        rows: &[Vec<u32>],
        sizes: Sizes,
        dropout: Option<Dropout>,
    ) -> Result<()> {
        let Self { config, kernel, layers, ends, scratch } = self;
        let (kernel, c) = (*kernel, sizes.c);
        let Scratch { stream, narrow, .. } = scratch;
        let parameter = |name: &str| &parameters[name][..];
        stream.resize(sizes.rows * c, 0.0);
        let (wte, wpe) = (parameter("wte.weight"), parameter("wpe.weight"));
        for (at, row) in stream.chunks_exact_mut(c).enumerate() {
            let (b, t) = (at / sizes.t, at % sizes.t);
            let token = rows[b][t] as usize;
            let sum = wte[token * c..][..c].iter().zip(&wpe[t * c..][..c]);
            row.iter_mut().zip(sum).for_each(|(x, (token, position))| *x = token + position);
        }
        mask(dropout, config.embd_pdrop, (stream.len(), 0), &mut ends.mask);
        drop_out(stream, &ends.mask);
        for (number, layer) in layers.iter_mut().enumerate() {
            let name = |part: &str| format!("h.{number}.{part}");
            let bias = |part: &str| parameter(&name(&format!("{part}.bias")));
            let site = 1 + 3 * number as u64;
            let n_weights = sizes.b * sizes.h * sizes.t * sizes.t;
            mask(dropout, config.attn_pdrop, (n_weights, site), &mut layer.masks[0]);
            mask(dropout, config.resid_pdrop, (stream.len(), site + 1), &mut layer.masks[1]);
            mask(dropout, config.resid_pdrop, (stream.len(), site + 2), &mut layer.masks[2]);
            let epsilon = config.layer_norm_epsilon as f32;
            let norm_of = |part: &str| (parameter(&name(&format!("{part}.weight"))), bias(part), epsilon);
            layer.norm_1.forward(kernel, stream, norm_of("ln_1"));
            project(kernel, &layer.norm_1.out, &layer.forward[0], bias(PROJECTIONS[0]), &mut layer.qkv);
            layer.attend(kernel, sizes, config.attention_scale(number) as f32, &mut scratch.heads);
            project(kernel, &layer.attended, &layer.forward[1], bias(PROJECTIONS[1]), narrow);
            drop_out(narrow, &layer.masks[1]);
            add(stream, narrow);
            layer.norm_2.forward(kernel, stream, norm_of("ln_2"));
            project(kernel, &layer.norm_2.out, &layer.forward[2], bias(PROJECTIONS[2]), &mut layer.up);
            layer.active.clone_from(&layer.up);
            layer
                .active
                .par_chunks_mut(1 << 14)
                .for_each(|part| math::activate(kernel, Activation::GeluTanh, part));
            project(kernel, &layer.active, &layer.forward[3], bias(PROJECTIONS[3]), narrow);
            drop_out(narrow, &layer.masks[2]);
            add(stream, narrow);
        }
        let epsilon = config.layer_norm_epsilon as f32;
        ends.norm.forward(kernel, stream, (parameter("ln_f.weight"), parameter("ln_f.bias"), epsilon));
        Ok(())
    }

    /// The summed loss of the tokens of each row from the `first` on. With a scale, leaves the gradient of the last norm's
    /// output in `scratch.narrow`, and adds the head's to `gradients`.
    fn head(
        &mut self,
        rows: &[Vec<u32>],
        sizes: Sizes,
        (first, scale): (usize, Option<f32>),
        gradients: Option<&mut Parameters>,
    ) -> f64 {
        let (kernel, c, v) = (self.kernel, sizes.c, self.config.vocab_size);
        let head_name = self.head_name();
        let Self { ends, scratch, .. } = self;
        let predicted = rows.iter().flat_map(|row| row.iter().enumerate().skip(1));
        let targets: Vec<(u32, bool)> = predicted.map(|(t, id)| (*id, t >= first)).collect();
        let at_once = (MAX_LOGITS / v).clamp(1, sizes.rows);
        let mut by_head = gradients.map(|gradients| gradients.get_mut(head_name).expect("every parameter"));
        scratch.narrow.resize(sizes.rows * c, 0.0);
        let mut loss = 0.0;
        for (chunk, targets) in targets.chunks(at_once).enumerate() {
            let states = &ends.norm.out[chunk * at_once * c..][..targets.len() * c];
            ends.logits.resize(targets.len() * v, 0.0);
            multiply(kernel, View::Rows(states, c), &ends.forward, &mut ends.logits, Target::Replace);
            let losses: Vec<f32> = ends
                .logits
                .par_chunks_mut(v)
                .zip(targets)
                .map(|(logits, (target, is_counted))| {
                    let factor = if *is_counted { 1.0 } else { 0.0 };
                    factor * cross_entropy(kernel, logits, *target, scale.map(|scale| factor * scale))
                })
                .collect();
            loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            let by_logit = &ends.logits[..];
            if scale.is_some() {
                let by_state = &mut scratch.narrow[chunk * at_once * c..][..targets.len() * c];
                multiply(kernel, View::Rows(by_logit, v), &ends.backward, by_state, Target::Replace);
            }
            if let Some(by_head) = &mut by_head {
                // (V, R) x (R, C)
                scratch.panels.fill_in_parallel((targets.len(), c), View::Rows(states, c));
                multiply(kernel, View::Columns(by_logit, v), &scratch.panels, by_head, Target::Add);
            }
        }
        loss
    }

    /// From the gradient of the last norm's output, in `scratch.narrow`, to that of the embeddings, in `scratch.stream`, and
    /// to those of the blocks and the last norm.
    fn backward(&mut self, parameters: &Parameters, sizes: Sizes, gradients: Option<&mut Parameters>) {
        let Self { config, kernel, layers, ends, scratch } = self;
        let (kernel, c) = (*kernel, sizes.c);
        let Scratch { stream, narrow, wide, qkv, heads, panels } = scratch;
        let mut grow = Grow { kernel, gradients, panels };
        stream.fill(0.0);
        grow.norm("ln_f", &ends.norm, &parameters["ln_f.weight"], (narrow, stream));
        for (number, layer) in layers.iter_mut().enumerate().rev() {
            let name = |part: &str| format!("h.{number}.{part}");
            let weight = |part: &str| &parameters[&name(&format!("{part}.weight"))];
            narrow.clone_from(stream);
            drop_out(narrow, &layer.masks[2]);
            grow.projection(&name(PROJECTIONS[3]), &layer.active, narrow);
            wide.resize(sizes.rows * sizes.inner, 0.0);
            multiply(kernel, View::Rows(narrow, c), &layer.backward[3], wide, Target::Replace);
            wide.par_chunks_mut(1 << 14)
                .zip(layer.up.par_chunks(1 << 14))
                .for_each(|(gradient, x)| math::gelu_backward(kernel, x, gradient));
            grow.projection(&name(PROJECTIONS[2]), &layer.norm_2.out, wide);
            multiply(kernel, View::Rows(wide, sizes.inner), &layer.backward[2], narrow, Target::Replace);
            grow.norm(&name("ln_2"), &layer.norm_2, weight("ln_2"), (narrow, stream));

            narrow.clone_from(stream);
            drop_out(narrow, &layer.masks[1]);
            grow.projection(&name(PROJECTIONS[1]), &layer.attended, narrow);
            let by_attended = &mut layer.attended;
            multiply(kernel, View::Rows(narrow, c), &layer.backward[1], by_attended, Target::Replace);
            layer.attend_backward(kernel, sizes, config.attention_scale(number) as f32, (heads, qkv));
            grow.projection(&name(PROJECTIONS[0]), &layer.norm_1.out, qkv);
            multiply(kernel, View::Rows(qkv, 3 * c), &layer.backward[0], narrow, Target::Replace);
            grow.norm(&name("ln_1"), &layer.norm_1, weight("ln_1"), (narrow, stream));
        }
        drop_out(stream, &ends.mask);
    }

    /// Adds the gradients of the embeddings, from `scratch.stream`.
    fn add_to_embeddings(&self, rows: &[Vec<u32>], sizes: Sizes, gradients: &mut Parameters) {
        let c = sizes.c;
        for (name, of_position) in [("wte.weight", false), ("wpe.weight", true)] {
            let sums = gradients.get_mut(name).expect("every parameter");
            for (at, gradient) in self.scratch.stream.chunks_exact(c).enumerate() {
                let (b, t) = (at / sizes.t, at % sizes.t);
                let row = if of_position { t } else { rows[b][t] as usize };
                add(&mut sums[row * c..][..c], gradient);
            }
        }
    }
}

/// Adds to gradients of parameters, where they are wanted.
struct Grow<'a> {
    kernel: Kernel,
    gradients: Option<&'a mut Parameters>,
    panels: &'a mut Panels,
}

impl Grow<'_> {
    fn of(&mut self, name: &str, part: &str) -> Option<&mut Vec<f32>> {
        let gradients = self.gradients.as_mut()?;
        Some(gradients.get_mut(&format!("{name}.{part}")).expect("every parameter"))
    }

    /// Of a projection with these inputs (R, K) and this gradient (R, N) of its output.
    fn projection(&mut self, name: &str, inputs: &[f32], by_output: &[f32]) {
        let Some(sums) = self.of(name, "bias") else { return };
        add_column_sums(by_output, sums);
        let n = sums.len();
        let (rows, kernel) = (by_output.len() / n, self.kernel);
        self.panels.fill_in_parallel((rows, n), View::Rows(by_output, n));
        let gradients = self.gradients.as_mut().expect("they are wanted");
        let sums = gradients.get_mut(&format!("{name}.weight")).expect("every parameter");
        // (K, R) x (R, N)
        multiply(kernel, View::Columns(inputs, inputs.len() / rows), self.panels, sums, Target::Add);
    }

    /// Of a norm, and adds the gradient of its input to `stream`.
    fn norm(
        &mut self,
        name: &str,
        norm: &Normed,
        weight: &[f32],
        (by_output, stream): (&mut [f32], &mut [f32]),
    ) {
        let (c, kernel) = (weight.len(), self.kernel);
        if let Some(sums) = self.of(name, "bias") {
            add_column_sums(by_output, sums);
        }
        let products = self.of(name, "weight").map_or(&mut [][..], |products| products);
        products.par_chunks_mut(64).enumerate().for_each(|(block, sums)| {
            for (gradient, x) in by_output.chunks_exact(c).zip(norm.rows.chunks_exact(c)) {
                let pairs = gradient[block * 64..].iter().zip(&x[block * 64..]);
                sums.iter_mut().zip(pairs).for_each(|(sum, (gradient, x))| *sum += gradient * x);
            }
        });
        let rows = by_output.par_chunks_mut(c).zip(norm.rows.par_chunks(c)).zip(&norm.scales);
        rows.zip(stream.par_chunks_mut(c)).for_each(|(((gradient, x), scale), stream)| {
            math::norm_backward(kernel, weight, (x, *scale), gradient);
            add(stream, gradient);
        });
    }
}

impl Normed {
    /// (R, C) -> (R, C)
    fn forward(&mut self, kernel: Kernel, x: &[f32], (weight, bias, epsilon): (&[f32], &[f32], f32)) {
        let c = weight.len();
        self.rows.resize(x.len(), 0.0);
        self.out.resize(x.len(), 0.0);
        self.scales.resize(x.len() / c, 0.0);
        let outputs = self.rows.par_chunks_mut(c).zip(self.out.par_chunks_mut(c)).zip(&mut self.scales);
        outputs.zip(x.par_chunks(c)).for_each(|(((row, out), scale), x)| {
            row.copy_from_slice(x);
            *scale = math::standardize(kernel, row, epsilon);
            for (((out, x), weight), bias) in out.iter_mut().zip(row.iter()).zip(weight).zip(bias) {
                *out = x * weight + bias;
            }
        });
    }
}

impl Layer {
    /// `qkv` -> `weights` and `attended`.
    fn attend(&mut self, kernel: Kernel, sizes: Sizes, scale: f32, heads: &mut Vec<f32>) {
        let Sizes { b, t, rows, c, h, d, .. } = sizes;
        self.weights.resize(b * h * t * t, 0.0);
        heads.resize(rows * c, 0.0);
        let (qkv, mask) = (&self.qkv[..], &self.masks[0][..]);
        let outputs = self.weights.par_chunks_mut(t * t).zip(heads.par_chunks_mut(t * d));
        outputs.enumerate().for_each_init(Small::default, |small, (number, (weights, out))| {
            let [q, k, v] = parts(qkv, number, sizes);
            small.multiply(kernel, (q, (t, d)), (k.transposed(), t), (weights, Target::Replace));
            for (at, row) in weights.chunks_exact_mut(t).enumerate() {
                row[..=at].iter_mut().for_each(|x| *x *= scale);
                let total = math::softmax_weights(kernel, &mut row[..=at]);
                row[..=at].iter_mut().for_each(|x| *x /= total);
                row[at + 1..].fill(0.0);
            }
            small.dropped.clear();
            small.dropped.extend_from_slice(weights);
            drop_out(&mut small.dropped, mask.get(number * t * t..(number + 1) * t * t).unwrap_or_default());
            let dropped = std::mem::take(&mut small.dropped);
            small.multiply(kernel, (View::Rows(&dropped, t), (t, t)), (v, d), (out, Target::Replace));
            small.dropped = dropped;
        });
        // (B, H, T, D) -> (R, C)
        self.attended.resize(rows * c, 0.0);
        self.attended.par_chunks_mut(c).enumerate().for_each(|(row, out)| {
            for (head, out) in out.chunks_exact_mut(d).enumerate() {
                let start = ((row / t * h + head) * t + row % t) * d;
                out.copy_from_slice(&heads[start..start + d]);
            }
        });
    }

    /// From the gradient of the outputs, which stands in `attended`, to that of `qkv`, in `by_qkv`.
    fn attend_backward(
        &self,
        kernel: Kernel,
        sizes: Sizes,
        scale: f32,
        (heads, by_qkv): (&mut Vec<f32>, &mut Vec<f32>),
    ) {
        let Sizes { t, rows, c, h, d, .. } = sizes;
        // (B, H, 3, T, D)
        heads.resize(rows * 3 * c, 0.0);
        let mask = &self.masks[0][..];
        heads.par_chunks_mut(3 * t * d).enumerate().for_each_init(Small::default, |small, (number, out)| {
            let [q, k, v] = parts(&self.qkv, number, sizes);
            let weights = &self.weights[number * t * t..][..t * t];
            let mask = mask.get(number * t * t..(number + 1) * t * t).unwrap_or_default();
            let by_out = View::Rows(&self.attended[number / h * t * c + number % h * d..], c);
            let (by_q, rest) = out.split_at_mut(t * d);
            let (by_k, by_v) = rest.split_at_mut(t * d);
            let mut dropped = std::mem::take(&mut small.dropped);
            dropped.clear();
            dropped.extend_from_slice(weights);
            drop_out(&mut dropped, mask);
            small.multiply(
                kernel,
                (View::Columns(&dropped, t), (t, t)),
                (by_out, d),
                (by_v, Target::Replace),
            );
            // Now the gradient of the weights, then that of the logits.
            small.multiply(kernel, (by_out, (t, d)), (v.transposed(), t), (&mut dropped, Target::Replace));
            drop_out(&mut dropped, mask);
            for (at, (row, weights)) in dropped.chunks_exact_mut(t).zip(weights.chunks_exact(t)).enumerate() {
                let mean: f32 =
                    row[..=at].iter().zip(weights).map(|(gradient, weight)| gradient * weight).sum();
                for (gradient, weight) in row[..=at].iter_mut().zip(weights) {
                    *gradient = weight * (*gradient - mean) * scale;
                }
                row[at + 1..].fill(0.0);
            }
            small.multiply(kernel, (View::Rows(&dropped, t), (t, t)), (k, d), (by_q, Target::Replace));
            small.multiply(kernel, (View::Columns(&dropped, t), (t, t)), (q, d), (by_k, Target::Replace));
            small.dropped = dropped;
        });
        by_qkv.resize(rows * 3 * c, 0.0);
        by_qkv.par_chunks_mut(3 * c).enumerate().for_each(|(row, out)| {
            for (number, out) in out.chunks_exact_mut(d).enumerate() {
                let (part, head) = (number / h, number % h);
                let start = (((row / t * h + head) * 3 + part) * t + row % t) * d;
                out.copy_from_slice(&heads[start..start + d]);
            }
        });
    }
}

/// Buffers of one head on one thread.
#[derive(Default)]
struct Small {
    panels: Panels,
    tiles: Vec<f32>,
    /// (T, T)
    dropped: Vec<f32>,
}

impl Small {
    /// (M, K) x (K, N) into `out`, on this thread.
    fn multiply(
        &mut self,
        kernel: Kernel,
        (a, (_, k)): (View<'_>, (usize, usize)),
        (b, n): (View<'_>, usize),
        (out, into): (&mut [f32], Target),
    ) {
        self.panels.fill((k, n), b);
        multiply_rows(kernel, (a, 0), &self.panels, out, (into, &mut self.tiles));
    }
}

/// Queries, keys and values of head `number` of all sequences' heads, (T, D) each.
fn parts(qkv: &[f32], number: usize, Sizes { t, c, h, d, .. }: Sizes) -> [View<'_>; 3] {
    let start = number / h * t * 3 * c + number % h * d;
    [0, 1, 2].map(|part| View::Rows(&qkv[start + part * c..], 3 * c))
}

/// (R, K) x (K, N) + bias into `out`.
fn project(kernel: Kernel, x: &[f32], weight: &Panels, bias: &[f32], out: &mut Vec<f32>) {
    let (k, n) = (weight.k(), bias.len());
    out.resize(x.len() / k * n, 0.0);
    out.par_chunks_mut(n).for_each(|row| row.copy_from_slice(bias));
    multiply(kernel, View::Rows(x, k), weight, out, Target::Add);
}

/// The loss of one row of logits; with a scale, the logits become the gradient of `scale` times that loss.
fn cross_entropy(kernel: Kernel, logits: &mut [f32], target: u32, scale: Option<f32>) -> f32 {
    let target = target as usize;
    let own = logits[target];
    let largest = math::largest_finite(kernel, logits);
    let total = math::softmax_weights(kernel, logits);
    if let Some(scale) = scale {
        let factor = scale / total;
        logits.iter_mut().for_each(|weight| *weight *= factor);
        logits[target] -= scale;
    }
    total.ln() - (own - largest)
}

/// The mask of one site, empty where nothing is dropped.
fn mask(dropout: Option<Dropout>, p: f64, (n, site): (usize, u64), out: &mut Vec<f32>) {
    out.clear();
    if let Some(dropout) = dropout.filter(|_| p > 0.0) {
        out.extend(dropout.mask(n, p, site));
    }
}

fn drop_out(values: &mut [f32], mask: &[f32]) {
    values.iter_mut().zip(mask).for_each(|(x, mask)| *x *= mask);
}

fn add(sums: &mut [f32], addends: &[f32]) {
    sums.iter_mut().zip(addends).for_each(|(sum, addend)| *sum += addend);
}

//! What the readable models share: products whose rows do not depend on each other, attention's softmax and mask,
//! and the keys and values of sequences that grow.

use std::collections::HashMap;

use candle_core::{D, DType, Tensor};

use crate::error::Result;
use crate::logits::Logits;
use crate::model::{Forward, Run, check_length};

// Nothing is called here: the dependency switches on gemm's AVX-512 kernels, which candle leaves off and
// which double the speed of its matrix products.
use gemm as _;

/// Rows of a matrix product at inference come in multiples of this number, see [`product`].
const ROW_TILE: usize = 16;
/// Up to this many columns gemm chooses its blocking by the number of rows as well, see [`product`].
const MAX_SMALL_COLUMNS: usize = 64;

/// (R, K) x (K, N) -> (R, N).
///
/// Matrix kernels change with the number of rows, and with them the last bits of a row. At inference a
/// row's bytes must not depend on how many rows stand beside it, so rows are padded to whole tiles. That is
/// enough where gemm blocks by K alone; where it looks at the rows too (N <= 64, `gemm.rs` of gemm-common
/// 0.19), each tile is a product of its own.
pub(crate) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, columns) = (x.dim(0)?, weight.dim(1)?);
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

/// A projection, stored as (out, in).
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Tensor, // (in, out)
    bias: Option<Tensor>,
}

impl Linear {
    /// Of checked tensors; the bias may be missing.
    pub(crate) fn of(tensors: &HashMap<String, Tensor>, name: &str) -> Result<Self> {
        let weight = tensors[&format!("{name}.weight")].t()?;
        Ok(Self { weight, bias: tensors.get(&format!("{name}.bias")).cloned() })
    }

    /// (R, in) -> (R, out)
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = product(x, &self.weight)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }
}

/// A norm over the last dimension: with a bias layer norm (Ba et al. 2016), without RMS norm (Zhang and Sennrich 2019).
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    weight: Tensor,       // (C)
    bias: Option<Tensor>, // (C)
    epsilon: f32,
}

impl Norm {
    /// Of checked tensors.
    pub(crate) fn of(tensors: &HashMap<String, Tensor>, name: &str, epsilon: f64) -> Self {
        Self {
            weight: tensors[&format!("{name}.weight")].clone(),
            bias: tensors.get(&format!("{name}.bias")).cloned(),
            epsilon: epsilon as f32,
        }
    }

    /// (R, C) -> (R, C)
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.bias {
            Some(bias) => candle_nn::ops::layer_norm(x, &self.weight, bias, self.epsilon)?,
            None => candle_nn::ops::rms_norm(x, &self.weight, self.epsilon)?,
        })
    }
}

/// Rotary position embeddings (Su et al. 2021, section 3.2.2): the first numbers of a head in pairs that stand half of
/// the rotated numbers apart.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    /// Radians a position, one for each pair.
    frequencies: Vec<f32>,
}

impl Rotary {
    pub(crate) fn new(frequencies: Vec<f32>) -> Self {
        Self { frequencies }
    }

    /// (1, H, T, D) queries or keys of positions `past` and on.
    pub(crate) fn apply(&self, x: &Tensor, past: usize) -> Result<Tensor> {
        let (_, _, t, d) = x.dims4()?;
        let n = self.frequencies.len();
        // The angle is rounded to f32, as where the models were trained.
        let angles: Vec<f32> = (past..past + t)
            .flat_map(|position| self.frequencies.iter().map(move |frequency| position as f32 * frequency))
            .collect();
        let angles = Tensor::from_vec(angles, (t, n), x.device())?;
        let (cos, sin) = (angles.cos()?.to_dtype(x.dtype())?, angles.sin()?.to_dtype(x.dtype())?);
        let (left, right) = (x.narrow(3, 0, n)?, x.narrow(3, n, n)?);
        let turned = [
            (left.broadcast_mul(&cos)? - right.broadcast_mul(&sin)?)?,
            (right.broadcast_mul(&cos)? + left.broadcast_mul(&sin)?)?,
            x.narrow(3, 2 * n, d - 2 * n)?,
        ];
        Ok(Tensor::cat(&turned[..if 2 * n == d { 2 } else { 3 }], 3)?)
    }
}

/// (1, H, T, D) queries, (1, G, S, D) keys and values -> (T, H * D); each key head serves H / G query heads.
pub(crate) fn attend(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let (h, g) = (q.dim(1)?, k.dim(1)?);
    let spread = |x: &Tensor| {
        let (_, _, s, d) = x.dims4()?;
        let x = x.unsqueeze(2)?.expand((1, g, h / g, s, d))?;
        x.reshape((1, h, s, d))?.contiguous()
    };
    let logits = masked(&(q * scale)?.matmul(&spread(k)?.transpose(2, 3)?)?)?; // (1, H, T, S)
    side_by_side(&fused_softmax(&logits)?.matmul(&spread(v)?)?)
}

/// Some rows of (R, C) states times (V, C) embeddings of the output.
pub(crate) fn head(states: &Tensor, rows: &[usize], embeddings: &Tensor) -> Result<Logits> {
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    let states = states.index_select(&Tensor::new(rows, states.device())?, 0)?;
    let logits = product(&states, &embeddings.t()?)?.to_dtype(DType::F32)?;
    Ok(Logits::from_rows(logits.flatten_all()?.to_vec1()?, embeddings.dim(0)?))
}

/// Softmax over the last dimension, of operations that keep gradients.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    // The maximum only guards against overflow; the result does not depend on it, so it needs no gradient.
    let exp = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
}

/// Softmax over the last dimension, without gradients.
pub(crate) fn fused_softmax(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F32 => Ok(candle_nn::ops::softmax_last_dim(&x.contiguous()?)?),
        _ => softmax(x),
    }
}

/// (B, H, T, S) attention logits with minus infinity where a position may not look; the T positions are the last of S.
pub(crate) fn masked(logits: &Tensor) -> Result<Tensor> {
    let (_, _, t, seen) = logits.dims4()?;
    if t == 1 {
        return Ok(logits.clone());
    }
    let offset = seen - t;
    let mask: Vec<f32> = (0..t)
        .flat_map(|row| {
            (0..seen).map(move |column| if column > offset + row { f32::NEG_INFINITY } else { 0.0 })
        })
        .collect();
    let mask = Tensor::from_vec(mask, (t, seen), logits.device())?.to_dtype(logits.dtype())?;
    Ok(logits.broadcast_add(&mask)?)
}

/// (B, H, T, D) -> (B * T, H * D)
pub(crate) fn side_by_side(heads: &Tensor) -> Result<Tensor> {
    let (b, h, t, d) = heads.dims4()?;
    Ok(heads.transpose(1, 2)?.reshape((b * t, h * d))?)
}

/// The results of `attend(run, first row)`, (T, C) each, one below the other.
pub(crate) fn each_run(
    runs: &[Run<'_>],
    mut attend: impl FnMut(&Run<'_>, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut first_row = 0;
    let mut outputs = Vec::with_capacity(runs.len());
    for run in runs {
        outputs.push(attend(run, first_row)?);
        first_row += run.tokens.len();
    }
    Ok(Tensor::cat(&outputs, 0)?)
}

/// A model written to be read: with its forward pass and its sizes it is a [`Forward`].
pub(crate) trait Readable: Send + Sync {
    /// The sizes.
    fn sizes(&self) -> Sizes;

    /// (V, C), whose type and device are the model's.
    fn embeddings(&self) -> &Tensor;

    /// (V, C), the output's embeddings.
    fn head(&self) -> &Tensor;

    /// (R) ids at their positions -> (R, C) states after the final norm; appends keys and values to the cache, which
    /// counts them afterwards.
    fn states(
        &self,
        ids: &Tensor,
        positions: &[u32],
        runs: &[Run<'_>],
        cache: &mut KvCache,
    ) -> Result<Tensor>;
}

/// Sizes of a readable model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// V
    pub(crate) vocab_size: usize,
    /// L
    pub(crate) context_len: usize,
    pub(crate) bos: Option<u32>,
    pub(crate) n_layer: usize,
    /// Heads of keys, and the numbers of a head.
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
}

impl<M: Readable> Forward for M {
    type Cache = KvCache;

    /// (R, C)
    type States = Tensor;

    fn vocab_size(&self) -> usize {
        self.sizes().vocab_size
    }

    fn context_len(&self) -> usize {
        self.sizes().context_len
    }

    fn bos(&self) -> Option<u32> {
        self.sizes().bos
    }

    fn cache_bytes(&self, capacity: usize) -> u64 {
        let Sizes { n_layer, key_heads, head_dim, .. } = self.sizes();
        // Keys and values, at most four bytes each.
        (2 * n_layer * key_heads * head_dim * capacity * size_of::<f32>()) as u64
    }

    fn new_cache(&self, n_slots: usize, capacity: usize) -> Result<KvCache> {
        let Sizes { n_layer, key_heads, head_dim, .. } = self.sizes();
        KvCache::new(n_slots, n_layer, self.embeddings(), (key_heads, capacity, head_dim))
    }

    fn hidden(&self, runs: &[Run<'_>], cache: &mut KvCache) -> Result<Tensor> {
        let (ids, positions) = cache.inputs(runs, self.sizes().context_len)?;
        let ids = Tensor::new(ids, self.embeddings().device())?;
        let states = self.states(&ids, &positions, runs, cache)?;
        cache.advance(runs);
        Ok(states)
    }

    fn copy_prefix(&self, cache: &mut KvCache, from: usize, to: usize, n: usize) -> Result<()> {
        cache.copy_prefix(from, to, n)
    }

    fn logits(&self, states: &Tensor, rows: &[usize], logits: &mut Logits) -> Result<()> {
        *logits = head(states, rows, self.head())?;
        Ok(())
    }
}

/// Keys and values of some sequences, each as far as it has come.
#[derive(Debug)]
pub struct KvCache {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// For each block: keys and values, (1, H, capacity, D), filled up to `len`.
    layers: Vec<(Tensor, Tensor)>,
    len: usize,
}

impl KvCache {
    /// For `n_slots` sequences and `n_layer` blocks of (H, capacity, D) keys, of the type and device of `like`.
    pub(crate) fn new(
        n_slots: usize,
        n_layer: usize,
        like: &Tensor,
        (h, capacity, d): (usize, usize, usize),
    ) -> Result<Self> {
        let empty = || Tensor::zeros((1, h, capacity, d), like.dtype(), like.device());
        let slot = |_| {
            let layers = (0..n_layer).map(|_| Ok((empty()?, empty()?))).collect::<Result<_>>()?;
            Ok(Slot { layers, len: 0 })
        };
        Ok(Self { slots: (0..n_slots).map(slot).collect::<Result<_>>()? })
    }

    /// The positions that a sequence has.
    pub(crate) fn len(&self, slot: usize) -> usize {
        self.slots[slot].len
    }

    /// The ids of all runs, and their positions.
    pub(crate) fn inputs(&self, runs: &[Run<'_>], context_len: usize) -> Result<(Vec<u32>, Vec<u32>)> {
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for run in runs {
            let past = self.slots[run.slot].len;
            check_length(past, run.tokens.len(), context_len)?;
            ids.extend_from_slice(run.tokens);
            positions.extend((past..past + run.tokens.len()).map(|position| position as u32));
        }
        Ok((ids, positions))
    }

    /// Appends (1, H, T, D) keys and values of one block; returns all so far, (1, H, S, D), as views.
    pub(crate) fn append(
        &self,
        slot: usize,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Slot { layers, len } = &self.slots[slot];
        let (keys, values) = &layers[layer];
        keys.slice_set(&k.contiguous()?, 2, *len)?;
        values.slice_set(&v.contiguous()?, 2, *len)?;
        let seen = len + k.dim(2)?;
        Ok((keys.narrow(2, 0, seen)?, values.narrow(2, 0, seen)?))
    }

    /// Counts the runs' positions as seen, once all blocks have appended them.
    pub(crate) fn advance(&mut self, runs: &[Run<'_>]) {
        runs.iter().for_each(|run| self.slots[run.slot].len += run.tokens.len());
    }

    /// Makes one sequence the first `n` positions of another.
    pub(crate) fn copy_prefix(&mut self, from: usize, to: usize, n: usize) -> Result<()> {
        if n > 0 && from != to {
            let copy = |from: &Tensor, to: &Tensor| to.slice_set(&from.narrow(2, 0, n)?.contiguous()?, 2, 0);
            for (from, to) in self.slots[from].layers.iter().zip(&self.slots[to].layers) {
                copy(&from.0, &to.0)?;
                copy(&from.1, &to.1)?;
            }
        }
        self.slots[to].len = n;
        Ok(())
    }
}

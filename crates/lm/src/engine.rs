//! The CPU engine: one forward pass for every decoder that is built of norms, causal attention and an MLP, over
//! weights that were packed once.
//!
//! The readable models (`gpt2.rs`, `gpt_neox.rs`, `llama.rs`) say what is computed; this file computes the same
//! several times as fast, and tests compare the two. A row's bytes depend on its sequence alone: not on the rows
//! beside it, the number of threads, or whether its text came at once or token by token.
//!
//! Letters in shapes: R new positions of all sequences together, C the width, V ids.

pub(crate) mod attention;
pub(crate) mod kernel;
pub(crate) mod load;
pub(crate) mod math;
pub(crate) mod matrix;
pub(crate) mod packed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::Tensor;
use rayon::prelude::*;

use self::attention::{Attended, Attention, Heads, KeyValues, Rotation, Stretch};
use self::kernel::Kernel;
use self::load::Weights;
use self::math::{Activation, Norm};
use self::packed::{Columns, Finish, Packed, Rows, WeightType, block_product, product};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::logits::{BLOCK, Logits};
use crate::model::{Forward, Run, check_length};

/// Positions in one scoring pass: enough for full speed, and 14 MB of activations for a GPT-2 of 124M parameters.
const MAX_POSITIONS: usize = 512;
/// Rows of logits in memory at once in scoring: 19 MB at GPT-2's vocabulary.
const HEAD_ROWS: usize = 96;

/// How a model knows where a token stands.
#[derive(Debug)]
pub(crate) enum Positions {
    /// A learnt vector for each position, (L, C), added to the token's.
    Learned(Vec<f32>),
    /// Rotated queries and keys: a frequency for each pair of numbers.
    Rotary(Vec<f32>),
}

/// What an MLP computes.
#[derive(Debug)]
pub(crate) enum Mlp {
    /// `down`(activation(`up`(x))).
    Plain { up: Packed, activation: Activation, down: Packed },
    /// `down`(activation(`gate`(x)) * `up`(x)).
    Gated { gate: Packed, up: Packed, activation: Activation, down: Packed },
}

/// One block of a decoder.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Norm,
    /// C -> queries, keys and values side by side.
    pub(crate) qkv: Packed,
    /// What queries are multiplied by.
    pub(crate) scale: f32,
    pub(crate) attention_out: Packed,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: Mlp,
}

/// The token embeddings.
#[derive(Debug)]
pub(crate) enum Embeddings {
    /// They are the head's columns.
    Tied,
    /// (V, C).
    Own(Packed),
}

/// Everything that the engine needs of a model.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) context_len: usize,
    pub(crate) bos: Option<u32>,
    pub(crate) heads: Heads,
    pub(crate) positions: Positions,
    /// Whether attention and MLP read the same input, as in GPT-NeoX.
    pub(crate) parallel: bool,
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Norm,
    /// C -> V.
    pub(crate) head: Packed,
}

/// A decoder with packed weights.
#[derive(Debug)]
pub struct CpuEngine {
    decoder: Decoder,
    kernel: Kernel,
    /// Those that no pass is using.
    buffers: Mutex<Vec<Buffers>>,
}

/// Keys and values of some sequences.
#[derive(Debug)]
pub struct Memory {
    /// One for each layer; a single one where nothing outlives a pass.
    layers: Vec<KeyValues>,
    /// The positions of each sequence.
    lens: Vec<usize>,
    keeps: bool,
}

/// Buffers of a pass, kept from one to the next.
#[derive(Debug, Default)]
struct Buffers {
    /// (R, C), the residual stream.
    stream: Columns,
    input: Rows,
    qkv: Columns,
    attended: Attended,
    hidden: Columns,
    rotation: Rotation,
}

/// (R, C) states after the final norm.
#[derive(Debug, Default)]
pub struct States {
    n_rows: usize,
    values: Vec<f32>,
}

impl CpuEngine {
    /// A model of named tensors, as its readable twin takes them.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an absurd configuration; [`crate::Error::Tensors`] lists every tensor that is
    /// missing or has another shape, or holds NaN or infinity.
    pub fn new(
        config: &ModelConfig,
        tensors: HashMap<String, Tensor>,
        kernel: Kernel,
        weight_type: WeightType,
    ) -> Result<Self> {
        config.validate()?;
        let checked = config.take_tensors(&tensors)?;
        // From here on each tensor is dropped once it is packed.
        drop(tensors);
        let decoder = config.decoder(Weights::new(checked, weight_type))?;
        Ok(Self { decoder, kernel, buffers: Mutex::default() })
    }

    fn width(&self) -> usize {
        self.decoder.final_norm.weight.len()
    }

    /// Where each run goes on, checked.
    fn stretches(&self, runs: &[Run<'_>], lens: &[usize]) -> Result<Vec<Stretch>> {
        runs.iter()
            .map(|run| {
                let (past, n_new) = (lens[run.slot], run.tokens.len());
                check_length(past, n_new, self.decoder.context_len)?;
                Ok(Stretch { slot: run.slot, past, n_new })
            })
            .collect()
    }

    /// Token and position embeddings of the new positions.
    fn embed(&self, runs: &[Run<'_>], stretches: &[Stretch], buffers: &mut Buffers) {
        let c = self.width();
        let table = match &self.decoder.embeddings {
            Embeddings::Tied => &self.decoder.head,
            Embeddings::Own(table) => table,
        };
        let positions = stretches.iter().flat_map(|stretch| stretch.past..stretch.past + stretch.n_new);
        if let Positions::Rotary(frequencies) = &self.decoder.positions {
            buffers.rotation.fill(frequencies, positions.clone());
        }
        let rows: Vec<(u32, usize)> =
            runs.iter().flat_map(|run| run.tokens).copied().zip(positions).collect();
        buffers.stream.reshape(Rows::padded(rows.len(), self.kernel), c);
        buffers.stream.fill(rows.len(), c, |row, first, out| {
            let (token, position) = rows[row];
            table.copy_column(token as usize, first, out);
            if let Positions::Learned(vectors) = &self.decoder.positions {
                out.iter_mut().zip(&vectors[position * c + first..]).for_each(|(x, more)| *x += more);
            }
        });
    }

    /// One block; `memory` holds the keys and values of its layer.
    fn block(&self, layer: &Layer, memory: &mut KeyValues, stretches: &[Stretch], buffers: &mut Buffers) {
        let Buffers { stream, input, qkv, attended, hidden, rotation } = buffers;
        let (kernel, heads, c) = (self.kernel, self.decoder.heads, self.width());
        let n_rows: usize = stretches.iter().map(|stretch| stretch.n_new).sum();
        let padded = Rows::padded(n_rows, kernel);
        let normed = |norm: &Norm, stream: &Columns, input: &mut Rows| {
            input.fill((n_rows, c), kernel, |row, out| {
                stream.copy(row, 0, out);
                norm.apply(kernel, out);
            });
        };
        normed(&layer.attention_norm, stream, input);
        qkv.reshape(padded, layer.qkv.n());
        product(kernel, input, &layer.qkv, qkv, Finish::Store);
        Attention { kernel, scale: layer.scale, rotation, qkv }.run(memory, stretches, attended);
        if self.decoder.parallel {
            normed(&layer.mlp_norm, stream, input);
            self.mlp_in(&layer.mlp, input, padded, hidden);
        }
        input.fill((n_rows, heads.width()), kernel, |row, out| attended.copy(row, out));
        product(kernel, input, &layer.attention_out, stream, Finish::Add);
        if !self.decoder.parallel {
            normed(&layer.mlp_norm, stream, input);
            self.mlp_in(&layer.mlp, input, padded, hidden);
        }
        let (Mlp::Plain { down, .. } | Mlp::Gated { down, .. }) = &layer.mlp;
        input.fill((n_rows, down.k()), kernel, |row, out| hidden.copy(row, 0, out));
        product(kernel, input, down, stream, Finish::Add);
    }

    /// The first half of an MLP, into `hidden`.
    fn mlp_in(&self, mlp: &Mlp, input: &Rows, padded: usize, hidden: &mut Columns) {
        match mlp {
            Mlp::Plain { up, activation, .. } => {
                hidden.reshape(padded, up.n());
                product(self.kernel, input, up, hidden, Finish::Activate(*activation));
            }
            Mlp::Gated { gate, up, activation, .. } => {
                hidden.reshape(padded, up.n());
                product(self.kernel, input, gate, hidden, Finish::Activate(*activation));
                product(self.kernel, input, up, hidden, Finish::Multiply);
            }
        }
    }
}

impl Forward for CpuEngine {
    type Cache = Memory;
    type States = States;

    fn vocab_size(&self) -> usize {
        self.decoder.head.n()
    }

    fn context_len(&self) -> usize {
        self.decoder.context_len
    }

    fn bos(&self) -> Option<u32> {
        self.decoder.bos
    }

    fn max_positions(&self) -> usize {
        MAX_POSITIONS
    }

    fn cache_bytes(&self, capacity: usize) -> u64 {
        self.decoder.layers.len() as u64 * KeyValues::sequence_bytes(self.decoder.heads, capacity)
    }

    fn new_cache(&self, n_slots: usize, capacity: usize) -> Result<Memory> {
        let layer = |_: &Layer| KeyValues::new(self.decoder.heads, n_slots, capacity);
        let layers = self.decoder.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Memory { layers, lens: vec![0; n_slots], keeps: true })
    }

    fn new_scratch(&self, n_slots: usize, capacity: usize) -> Result<Memory> {
        let layers = vec![KeyValues::new(self.decoder.heads, n_slots, capacity)?];
        Ok(Memory { layers, lens: vec![0; n_slots], keeps: false })
    }

    fn hidden(&self, runs: &[Run<'_>], memory: &mut Memory) -> Result<States> {
        let stretches = self.stretches(runs, &memory.lens)?;
        let mut buffers = self.buffers.lock().expect("no pass panics").pop().unwrap_or_default();
        self.embed(runs, &stretches, &mut buffers);
        for (number, layer) in self.decoder.layers.iter().enumerate() {
            let key_values = &mut memory.layers[if memory.keeps { number } else { 0 }];
            self.block(layer, key_values, &stretches, &mut buffers);
        }
        if memory.keeps {
            stretches.iter().for_each(|stretch| memory.lens[stretch.slot] += stretch.n_new);
        }
        let (c, n_rows) = (self.width(), stretches.iter().map(|stretch| stretch.n_new).sum());
        let mut values = vec![0.0; n_rows * c];
        values.par_chunks_mut(c).enumerate().for_each(|(row, out)| {
            buffers.stream.copy(row, 0, out);
            self.decoder.final_norm.apply(self.kernel, out);
        });
        self.buffers.lock().expect("no pass panics").push(buffers);
        Ok(States { n_rows, values })
    }

    fn copy_prefix(&self, memory: &mut Memory, from: usize, to: usize, n: usize) -> Result<()> {
        memory.layers.iter_mut().for_each(|layer| layer.copy_prefix(from, to, n));
        memory.lens[to] = n;
        Ok(())
    }

    fn new_logits(&self) -> Logits {
        Logits::blocks(self.kernel, self.decoder.head.n())
    }

    fn head_rows(&self) -> usize {
        HEAD_ROWS
    }

    fn logits(&self, states: &States, rows: &[usize], logits: &mut Logits) -> Result<()> {
        let c = self.width();
        debug_assert!(rows.iter().all(|row| *row < states.n_rows), "rows of these states");
        let mut input = Rows::default();
        input.fill((rows.len(), c), self.kernel, |at, out| {
            out.copy_from_slice(&states.values[rows[at] * c..][..c]);
        });
        logits.reshape(rows.len());
        block_product(self.kernel, &input, &self.decoder.head, BLOCK, &mut logits.values);
        Ok(())
    }
}

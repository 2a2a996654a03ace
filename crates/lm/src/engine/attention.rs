//! Causal attention over sequences that grow, each at its own position.
//!
//! Keys and values of a head are kept as panels, the layout of weights, so that scores and outputs are products like
//! any other: queries (M, D) times keys (D, S), and weights (M, S) times values (S, D). A position's output is the
//! same chain of operations whether it came alone or with its whole text.

use rayon::prelude::*;

use crate::engine::kernel::{Kernel, PANEL, tile_for};
use crate::engine::math;
use crate::engine::packed::{Columns, run_tile};
use crate::error::{Error, Result};

/// Queries, keys and values of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// H, the query heads.
    pub(crate) n_query: usize,
    /// The heads of keys and of values; each serves the same number of query heads.
    pub(crate) n_key: usize,
    /// D.
    pub(crate) dim: usize,
}

impl Heads {
    /// Query heads that share keys and values.
    fn group(self) -> usize {
        self.n_query / self.n_key
    }

    /// H * D.
    pub(crate) fn width(self) -> usize {
        self.n_query * self.dim
    }
}

/// New positions of one sequence, as rows of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) slot: usize,
    /// Positions that the sequence had before.
    pub(crate) past: usize,
    /// T, the new positions.
    pub(crate) n_new: usize,
}

/// Keys and values of all sequences in one layer.
#[derive(Debug)]
pub(crate) struct KeyValues {
    heads: Heads,
    /// Positions of a sequence, a multiple of 32.
    capacity: usize,
    /// For each sequence, for each key head: keys (capacity / 32, D, 32), then values (ceil(D / 32), capacity, 32).
    lines: Vec<[f32; PANEL]>,
}

impl KeyValues {
    /// Room for `n_slots` sequences of up to `capacity` positions.
    pub(crate) fn new(heads: Heads, n_slots: usize, capacity: usize) -> Result<Self> {
        let capacity = capacity.next_multiple_of(PANEL);
        let mut new = Self { heads, capacity, lines: Vec::new() };
        let n_lines = n_slots * heads.n_key * new.lines_of_head();
        new.lines.try_reserve_exact(n_lines).map_err(|_| Error::OutOfMemory {
            what: "the keys and values of the sequences",
            n_bytes: (n_lines * size_of::<[f32; PANEL]>()) as u64,
        })?;
        new.lines.resize(n_lines, [0.0; PANEL]);
        Ok(new)
    }

    /// Memory of one sequence.
    pub(crate) fn sequence_bytes(heads: Heads, capacity: usize) -> u64 {
        let empty = Self { heads, capacity: capacity.next_multiple_of(PANEL), lines: Vec::new() };
        (heads.n_key * empty.lines_of_head() * size_of::<[f32; PANEL]>()) as u64
    }

    fn key_lines(&self) -> usize {
        self.capacity / PANEL * self.heads.dim
    }

    fn lines_of_head(&self) -> usize {
        self.key_lines() + self.heads.dim.div_ceil(PANEL) * self.capacity
    }

    /// Copies the first `n` positions of one sequence to another.
    pub(crate) fn copy_prefix(&mut self, from: usize, to: usize, n: usize) {
        let (head, keys) = (self.lines_of_head(), self.key_lines());
        for number in 0..self.heads.n_key {
            let (from, to) =
                ((from * self.heads.n_key + number) * head, (to * self.heads.n_key + number) * head);
            let mut copy = |start: usize, n: usize| {
                self.lines.copy_within(from + start..from + start + n, to + start);
            };
            copy(0, n.div_ceil(PANEL) * self.heads.dim);
            (0..self.heads.dim.div_ceil(PANEL)).for_each(|panel| copy(keys + panel * self.capacity, n));
        }
    }
}

/// Rotary position embeddings (Su et al. 2021, section 3.2.2) for the rows of a pass: the first numbers of a head in
/// pairs that stand half of the rotated numbers apart.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    n_pairs: usize,
    /// (R, `n_pairs`) cosines and sines.
    turns: Vec<(f32, f32)>,
}

impl Rotation {
    /// For positions `positions`, with a frequency for each pair.
    pub(crate) fn fill(&mut self, frequencies: &[f32], positions: impl Iterator<Item = usize>) {
        self.n_pairs = frequencies.len();
        self.turns.clear();
        for position in positions {
            self.turns.extend(frequencies.iter().map(|frequency| {
                // The angle is rounded to f32, as where the models were trained.
                let angle = f64::from(position as f32 * frequency);
                (angle.cos() as f32, angle.sin() as f32)
            }));
        }
    }

    fn apply(&self, row: usize, head: &mut [f32]) {
        let turns = &self.turns[row * self.n_pairs..(row + 1) * self.n_pairs];
        let (left, right) = head.split_at_mut(self.n_pairs);
        for ((x, y), (cos, sin)) in left.iter_mut().zip(right).zip(turns) {
            (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
        }
    }
}

/// What all heads of a layer have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention<'a> {
    pub(crate) kernel: Kernel,
    /// What queries are multiplied by.
    pub(crate) scale: f32,
    pub(crate) rotation: &'a Rotation,
    /// (R, (H + 2 key heads) * D): queries, keys, values.
    pub(crate) qkv: &'a Columns,
}

/// One head of keys of one sequence.
struct Task<'a> {
    stretch: Stretch,
    /// The first row of the stretch.
    first_row: usize,
    /// The number of the key head.
    head: usize,
    keys: &'a mut [[f32; PANEL]],
    values: &'a mut [[f32; PANEL]],
    /// (T, group, D).
    out: &'a mut [f32],
}

/// Outputs, for each stretch, for each key head: (T, group, D).
#[derive(Debug, Default)]
pub(crate) struct Attended {
    values: Vec<f32>,
    /// For each row, where its first head's part stands, and how much further on the next head's.
    places: Vec<(usize, usize)>,
    /// group * D
    part: usize,
}

impl Attended {
    fn reshape(&mut self, heads: Heads, stretches: &[Stretch]) {
        self.part = heads.group() * heads.dim;
        self.places.clear();
        for stretch in stretches {
            let start = self.places.len() * heads.width();
            let row = |at| (start + at * self.part, stretch.n_new * self.part);
            self.places.extend((0..stretch.n_new).map(row));
        }
        self.values.resize(self.places.len() * heads.width(), 0.0);
    }

    /// Copies the H * D numbers of a row.
    pub(crate) fn copy(&self, row: usize, out: &mut [f32]) {
        let (start, stride) = self.places[row];
        for (head, out) in out.chunks_mut(self.part).enumerate() {
            let start = start + head * stride;
            out.copy_from_slice(&self.values[start..start + self.part]);
        }
    }
}

impl Attention<'_> {
    /// Appends the keys and values of the new positions and attends; `stretches` are in the order of their slots.
    pub(crate) fn run(self, memory: &mut KeyValues, stretches: &[Stretch], attended: &mut Attended) {
        let heads = memory.heads;
        attended.reshape(heads, stretches);
        let (of_head, n_keys, capacity) = (memory.lines_of_head(), memory.key_lines(), memory.capacity);
        let mut slots = memory.lines.chunks_mut(heads.n_key * of_head).enumerate();
        let mut outs = &mut attended.values[..];
        let mut first_row = 0;
        let mut tasks = Vec::with_capacity(stretches.len() * heads.n_key);
        for &stretch in stretches {
            let (_, lines) = slots.find(|(slot, _)| *slot == stretch.slot).expect("slots ascend");
            for (head, lines) in lines.chunks_mut(of_head).enumerate() {
                let (keys, values) = lines.split_at_mut(n_keys);
                let out;
                (out, outs) = outs.split_at_mut(stretch.n_new * heads.group() * heads.dim);
                tasks.push(Task { stretch, first_row, head, keys, values, out });
            }
            first_row += stretch.n_new;
        }
        // A single position of a single sequence is done before another thread has woken up.
        let at_least = (16 * stretches.len() / first_row.max(1)).max(1);
        tasks.into_par_iter().with_min_len(at_least).for_each_init(Scratch::default, |scratch, mut task| {
            self.append(heads, capacity, &mut task, scratch);
            self.attend(heads, capacity, task, scratch);
        });
    }

    /// Copies a head out of a row of queries, keys and values.
    fn head(self, heads: Heads, row: usize, number: usize, out: &mut [f32]) {
        self.qkv.copy(row, number * heads.dim, out);
        if number < heads.n_query + heads.n_key {
            self.rotation.apply(row, out);
        }
    }

    /// Keys go into columns, values into rows.
    fn append(self, heads: Heads, capacity: usize, task: &mut Task<'_>, scratch: &mut Scratch) {
        let row = &mut scratch.row;
        row.resize(heads.dim, 0.0);
        for at in 0..task.stretch.n_new {
            let position = task.stretch.past + at;
            self.head(heads, task.first_row + at, heads.n_query + task.head, row);
            let lines = &mut task.keys[position / PANEL * heads.dim..][..heads.dim];
            lines.iter_mut().zip(row.iter()).for_each(|(line, x)| line[position % PANEL] = *x);
            self.head(heads, task.first_row + at, heads.n_query + heads.n_key + task.head, row);
            for (panel, part) in row.chunks(PANEL).enumerate() {
                task.values[panel * capacity + position][..part.len()].copy_from_slice(part);
            }
        }
    }

    /// Queries in tiles: row r of the task is query head r mod group of position r / group.
    fn attend(self, heads: Heads, capacity: usize, task: Task<'_>, scratch: &mut Scratch) {
        let (kernel, group) = (self.kernel, heads.group());
        let Scratch { rows, sums, row } = scratch;
        let tile_rows = kernel.tile_rows();
        for (tile, out) in task.out.chunks_mut(tile_rows * heads.dim).enumerate() {
            let (first, n) = (tile * tile_rows, out.len() / heads.dim);
            let m = tile_for(n, tile_rows);
            let seen = |at: usize| task.stretch.past + (first + at) / group + 1;
            let n_seen = seen(n - 1);
            let n_panels = n_seen.div_ceil(PANEL);
            rows.clear();
            rows.resize(m * heads.dim.max(n_seen), 0.0);
            row.resize(heads.dim, 0.0);
            for at in 0..n {
                let query = task.head * group + (first + at) % group;
                self.head(heads, task.first_row + (first + at) / group, query, row);
                let column = rows.iter_mut().skip(at).step_by(m);
                column.zip(row.iter()).for_each(|(out, x)| *out = *x * self.scale);
            }
            sums.clear();
            sums.resize(n_panels * m, [0.0; PANEL]);
            for (panel, sums) in sums.chunks_mut(m).enumerate() {
                let keys = &task.keys[panel * heads.dim..][..heads.dim];
                run_tile(kernel, &rows[..m * heads.dim], keys, sums);
            }
            let mut totals = [1.0f32; 12];
            row.resize(n_panels * PANEL, 0.0);
            for at in 0..n {
                let lines = sums.iter().skip(at).step_by(m);
                row.chunks_mut(PANEL).zip(lines).for_each(|(row, line)| row.copy_from_slice(line));
                totals[at] = math::softmax_weights(kernel, &mut row[..seen(at)]);
                // What a position may not see weighs nothing, and adding nothing changes no bit.
                row[seen(at)..].fill(0.0);
                let column = rows[..m * n_seen].iter_mut().skip(at).step_by(m);
                column.zip(row.iter()).for_each(|(out, x)| *out = *x);
            }
            for panel in 0..heads.dim.div_ceil(PANEL) {
                let sums = &mut sums[..m];
                sums.fill([0.0; PANEL]);
                let values = &task.values[panel * capacity..][..n_seen];
                run_tile(kernel, &rows[..m * n_seen], values, sums);
                for ((out, sums), total) in out.chunks_mut(heads.dim).zip(sums.iter()).zip(totals) {
                    let part = &mut out[panel * PANEL..];
                    part.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / total);
                }
            }
        }
    }
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    /// (D, M), then (S, M).
    rows: Vec<f32>,
    /// (panels, M, 32).
    sums: Vec<[f32; PANEL]>,
    /// (D) or (S).
    row: Vec<f32>,
}

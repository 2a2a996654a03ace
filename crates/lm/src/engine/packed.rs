//! Matrices in the order in which the kernel reads them, and products with them.
//!
//! A matrix (K, N) is packed once into panels of 32 columns, (N / 32, K, 32), as f32 or bf16. Results come as panels,
//! too, (N / 32, R, 32): threads share out the panels, and each writes its own.

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::kernel::{Kernel, PANEL, Row, STREAMS, Tile, Weight, tile_for};
use crate::engine::math::{self, Activation};

/// Weights of the panels that are one piece of work for a thread: few enough that two threads end at nearly one time.
const WEIGHTS_AT_ONCE: usize = 1 << 15;

/// How weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// As they are in nearly every checkpoint, or wider.
    #[default]
    F32,
    /// Half the memory, and twice the speed where memory is the limit; 8 bits of precision.
    Bf16,
}

/// A matrix of weights (K, N) with its bias.
#[derive(Debug)]
pub(crate) struct Packed {
    k: usize,
    n: usize,
    panels: Panels,
    /// (N), or nothing for zeros.
    bias: Option<Vec<[f32; PANEL]>>,
}

/// (ceil(N / 32), K, 32), the last panel filled up with zeros.
#[derive(Debug)]
enum Panels {
    F32(Vec<[f32; PANEL]>),
    Bf16(Vec<[u16; PANEL]>),
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    /// It replaces what was there.
    Store,
    /// It is added to what was there.
    Add,
    /// What was there is multiplied by it.
    Multiply,
    /// It goes through an activation and replaces what was there.
    Activate(Activation),
}

impl Packed {
    /// Packs a matrix whose entry at depth `k` and column `n` is `entry(k, n)`.
    pub(crate) fn new(
        (k, n): (usize, usize),
        weight_type: WeightType,
        entry: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let n_lines = n.div_ceil(PANEL) * k;
        let line = |line: usize| {
            let (panel, depth) = (line / k, line % k);
            std::array::from_fn(|at| {
                let column = panel * PANEL + at;
                if column < n { entry(depth, column) } else { 0.0 }
            })
        };
        let panels = match weight_type {
            WeightType::F32 => Panels::F32((0..n_lines).into_par_iter().map(line).collect()),
            WeightType::Bf16 => Panels::Bf16(
                (0..n_lines).into_par_iter().map(|at| line(at).map(|x: f32| bf16_bits(x))).collect(),
            ),
        };
        Self { k, n, panels, bias: None }
    }

    /// Adds a bias of N numbers.
    pub(crate) fn with_bias(mut self, bias: &[f32]) -> Self {
        assert_eq!(bias.len(), self.n, "a bias has one number a column");
        let mut padded = vec![[0.0; PANEL]; self.n.div_ceil(PANEL)];
        padded.as_flattened_mut()[..self.n].copy_from_slice(bias);
        self.bias = Some(padded);
        self
    }

    /// The depth.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// The number of columns.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// Copies a part of column `n`, from depth `first`.
    pub(crate) fn copy_column(&self, n: usize, first: usize, out: &mut [f32]) {
        let (start, at) = (n / PANEL * self.k + first, n % PANEL);
        let lines = start..start + out.len();
        match &self.panels {
            Panels::F32(panels) => out.iter_mut().zip(&panels[lines]).for_each(|(x, line)| *x = line[at]),
            Panels::Bf16(panels) => out
                .iter_mut()
                .zip(&panels[lines])
                .for_each(|(x, line)| *x = f32::from_bits(u32::from(line[at]) << 16)),
        }
    }
}

/// The bf16 next to `x`, ties to even.
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 1;
    }
    // What overflows is infinity, as it should be.
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Rows of activations side by side, as the kernel reads them: tiles of up to [`Kernel::tile_rows`] rows, each (K, M).
#[derive(Debug, Default)]
pub(crate) struct Rows {
    k: usize,
    n_rows: usize,
    tile_rows: usize,
    values: Vec<f32>,
    scratch: Vec<f32>,
}

impl Rows {
    /// Rows after the last tile was filled up to a size that the kernel knows.
    pub(crate) fn padded(n_rows: usize, kernel: Kernel) -> usize {
        let most = kernel.tile_rows();
        n_rows / most * most + if n_rows.is_multiple_of(most) { 0 } else { tile_for(n_rows % most, most) }
    }

    /// Takes `n_rows` rows of `k` numbers; `fill(row, out)` writes one.
    pub(crate) fn fill(
        &mut self,
        (n_rows, k): (usize, usize),
        kernel: Kernel,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        (self.n_rows, self.k, self.tile_rows) = (n_rows, k, kernel.tile_rows());
        self.values.resize(Self::padded(n_rows, kernel) * k, 0.0);
        let n_tiles = n_rows.div_ceil(self.tile_rows);
        self.scratch.resize(n_tiles * k, 0.0);
        let tiles = self.values.par_chunks_mut(self.tile_rows * k).zip(self.scratch.par_chunks_mut(k));
        let tile_rows = self.tile_rows;
        tiles.enumerate().for_each(|(number, (tile, row))| {
            let m = tile.len() / k;
            for at in 0..m {
                match number * tile_rows + at {
                    index if index < n_rows => fill(index, row),
                    _ => row.fill(0.0),
                }
                tile.iter_mut().skip(at).step_by(m).zip(row.iter()).for_each(|(out, x)| *out = *x);
            }
        });
    }

    /// The tiles, (K, M) each.
    fn tiles(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.tile_rows * self.k)
    }
}

/// Results, (ceil(N / 32), R, 32): R rows, padded as [`Rows`] are.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    n_rows: usize,
    panels: Vec<[f32; PANEL]>,
}

impl Columns {
    /// Makes room for `n_rows` rows, padded, of `n` numbers. What stood there is undefined afterwards.
    pub(crate) fn reshape(&mut self, n_rows: usize, n: usize) {
        self.n_rows = n_rows;
        self.panels.resize(n.div_ceil(PANEL) * n_rows, [0.0; PANEL]);
    }

    /// Copies numbers `start..start + out.len()` of a row.
    pub(crate) fn copy(&self, row: usize, start: usize, out: &mut [f32]) {
        let mut done = 0;
        while done < out.len() {
            let (panel, at) = ((start + done) / PANEL, (start + done) % PANEL);
            let n = (PANEL - at).min(out.len() - done);
            let line = &self.panels[panel * self.n_rows + row];
            out[done..done + n].copy_from_slice(&line[at..at + n]);
            done += n;
        }
    }

    /// Writes the first `n_rows` rows of `n` numbers: `fill(row, first, out)` gives those from `first` on.
    pub(crate) fn fill(&mut self, n_rows: usize, n: usize, fill: impl Fn(usize, usize, &mut [f32]) + Sync) {
        self.panels.par_chunks_mut(self.n_rows).enumerate().for_each(|(panel, rows)| {
            let width = PANEL.min(n - panel * PANEL);
            for (row, out) in rows.iter_mut().enumerate() {
                *out = [0.0; PANEL];
                if row < n_rows {
                    fill(row, panel * PANEL, &mut out[..width]);
                }
            }
        });
    }
}

/// (R, K) x (K, N) -> (R, N), each result a chain that begins at the bias.
pub(crate) fn product(kernel: Kernel, x: &Rows, w: &Packed, out: &mut Columns, finish: Finish) {
    debug_assert_eq!(x.k, w.k, "depths agree");
    let n_rows = out.n_rows;
    let at_once = match x.n_rows {
        1 => STREAMS,
        _ => (WEIGHTS_AT_ONCE / (PANEL * w.k)).max(1),
    };
    out.panels.par_chunks_mut(at_once * n_rows).enumerate().for_each(|(group, panels)| {
        let first = group * at_once;
        panel_products(kernel, (x, w), first..first + panels.len() / n_rows, |number, row, sums| {
            let out = &mut panels[(number - first) * n_rows + row..][..sums.len()];
            finish_tile(kernel, finish, sums, out);
        });
    });
}

/// All tiles times some panels: gives `take` the number of a panel, a tile's first row, and its sums.
fn panel_products(
    kernel: Kernel,
    (x, w): (&Rows, &Packed),
    numbers: Range<usize>,
    mut take: impl FnMut(usize, usize, &mut [[f32; PANEL]]),
) {
    let bias = |number: usize| w.bias.as_ref().map_or([0.0; PANEL], |bias| bias[number]);
    let mut sums = [[0.0f32; PANEL]; 12];
    let mut number = numbers.start;
    while number < numbers.end {
        let start = number * w.k;
        if x.n_rows == 1 && number + STREAMS <= numbers.end {
            let sums = &mut sums[..STREAMS];
            (number..).zip(sums.iter_mut()).for_each(|(number, sum)| *sum = bias(number));
            let lines = start..start + STREAMS * w.k;
            match &w.panels {
                Panels::F32(panels) => kernel.run(Row { x: &x.values, panels: &panels[lines], out: sums }),
                Panels::Bf16(panels) => kernel.run(Row { x: &x.values, panels: &panels[lines], out: sums }),
            }
            (number..).zip(sums.chunks_mut(1)).for_each(|(number, sum)| take(number, 0, sum));
            number += STREAMS;
            continue;
        }
        let lines = start..start + w.k;
        for (tile, first) in x.tiles().zip((0..x.n_rows).step_by(x.tile_rows)) {
            let sums = &mut sums[..tile.len() / x.k];
            sums.fill(bias(number));
            match &w.panels {
                Panels::F32(panels) => run_tile(kernel, tile, &panels[lines.clone()], sums),
                Panels::Bf16(panels) => run_tile(kernel, tile, &panels[lines.clone()], sums),
            }
            take(number, first, sums);
        }
        number += 1;
    }
}

/// One tile (K, M) times one panel (K, 32), added to `sums` (M, 32).
pub(crate) fn run_tile<W: Weight>(
    kernel: Kernel,
    x: &[f32],
    panel: &[[W; PANEL]],
    sums: &mut [[f32; PANEL]],
) {
    kernel.run(Tile { x, panel, out: sums });
}

fn finish_tile(kernel: Kernel, finish: Finish, sums: &mut [[f32; PANEL]], out: &mut [[f32; PANEL]]) {
    match finish {
        Finish::Store => out.copy_from_slice(sums),
        Finish::Add => zip(out, sums, |out, sum| *out += sum),
        Finish::Multiply => zip(out, sums, |out, sum| *out *= sum),
        Finish::Activate(activation) => {
            math::activate(kernel, activation, sums.as_flattened_mut());
            out.copy_from_slice(sums);
        }
    }
}

fn zip(out: &mut [[f32; PANEL]], sums: &[[f32; PANEL]], combine: impl Fn(&mut f32, f32)) {
    out.as_flattened_mut().iter_mut().zip(sums.as_flattened()).for_each(|(out, sum)| combine(out, *sum));
}

/// Rows of logits, (R, V), in blocks of columns as [`crate::logits::Logits`] keeps them: (V / width, R, width).
pub(crate) fn block_product(kernel: Kernel, x: &Rows, w: &Packed, width: usize, out: &mut [f32]) {
    let n_rows = x.n_rows;
    let in_block = width / PANEL;
    out.par_chunks_mut(n_rows * width).enumerate().for_each(|(block, out)| {
        let first = block * in_block;
        let last = (first + in_block).min(w.n.div_ceil(PANEL));
        panel_products(kernel, (x, w), first..last, |number, first_row, sums| {
            let column = (number - first) * PANEL;
            for (row, sums) in (first_row..n_rows).zip(sums.iter()) {
                out[row * width + column..][..PANEL].copy_from_slice(sums);
            }
        });
    });
}

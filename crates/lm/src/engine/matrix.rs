//! Products of matrices that change with every step, for training: row after row, with results row after row.
//!
//! As in `packed.rs`, each result is one chain over the depth, so neither threads nor tiles change a byte.

use rayon::prelude::*;

use crate::engine::kernel::{Kernel, PANEL, tile_for};
use crate::engine::packed::run_tile;

/// Tiles whose rows go through all panels together, so that a panel is read once for all of them.
const TILES_AT_ONCE: usize = 8;

/// A matrix as it lies in memory: rows `stride` numbers apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'a> {
    /// Entry (i, j) is number `i * stride + j`.
    Rows(&'a [f32], usize),
    /// Entry (i, j) is number `j * stride + i`: the transpose of what lies there.
    Columns(&'a [f32], usize),
}

impl View<'_> {
    /// The transpose.
    pub(crate) fn transposed(self) -> Self {
        match self {
            Self::Rows(values, stride) => Self::Columns(values, stride),
            Self::Columns(values, stride) => Self::Rows(values, stride),
        }
    }

    fn at(self, i: usize, j: usize) -> f32 {
        match self {
            Self::Rows(values, stride) => values[i * stride + j],
            Self::Columns(values, stride) => values[j * stride + i],
        }
    }

    /// Rows `first..first + n` as a tile (K, M); rows beyond are zero.
    fn fill_tile(self, first: usize, n: usize, (k, m): (usize, usize), tile: &mut [f32]) {
        match self {
            Self::Columns(values, stride) if n == m => {
                for (depth, out) in tile.chunks_exact_mut(m).enumerate() {
                    out.copy_from_slice(&values[depth * stride + first..][..m]);
                }
            }
            Self::Rows(values, stride) => {
                tile.fill(0.0);
                for at in 0..n {
                    let row = &values[(first + at) * stride..][..k];
                    tile.iter_mut().skip(at).step_by(m).zip(row).for_each(|(out, x)| *out = *x);
                }
            }
            Self::Columns(..) => {
                for (depth, out) in tile.chunks_exact_mut(m).enumerate() {
                    out.fill(0.0);
                    (0..n).for_each(|at| out[at] = self.at(first + at, depth));
                }
            }
        }
    }
}

/// A matrix (K, N) in panels, (ceil(N / 32), K, 32).
#[derive(Debug, Default)]
pub(crate) struct Panels {
    k: usize,
    n: usize,
    lines: Vec<[f32; PANEL]>,
}

impl Panels {
    /// K.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Takes the entries of a (K, N) matrix.
    pub(crate) fn fill(&mut self, (k, n): (usize, usize), matrix: View<'_>) {
        (self.k, self.n) = (k, n);
        self.lines.resize(n.div_ceil(PANEL) * k, [0.0; PANEL]);
        for (panel, lines) in self.lines.chunks_mut(k.max(1)).enumerate() {
            fill_panel(lines, panel, n, matrix);
        }
    }

    /// As [`Panels::fill`], with all threads.
    pub(crate) fn fill_in_parallel(&mut self, (k, n): (usize, usize), matrix: View<'_>) {
        (self.k, self.n) = (k, n);
        self.lines.resize(n.div_ceil(PANEL) * k, [0.0; PANEL]);
        self.lines
            .par_chunks_mut(k)
            .enumerate()
            .for_each(|(panel, lines)| fill_panel(lines, panel, n, matrix));
    }
}

fn fill_panel(lines: &mut [[f32; PANEL]], panel: usize, n: usize, matrix: View<'_>) {
    let first = panel * PANEL;
    let width = PANEL.min(n - first);
    for (depth, line) in lines.iter_mut().enumerate() {
        line[width..].fill(0.0);
        match matrix {
            View::Rows(values, stride) => {
                line[..width].copy_from_slice(&values[depth * stride + first..][..width]);
            }
            View::Columns(..) => {
                for (at, out) in line[..width].iter_mut().enumerate() {
                    *out = matrix.at(depth, first + at);
                }
            }
        }
    }
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It replaces what was there.
    Replace,
    /// It is added to what was there.
    Add,
}

/// (M, K) x (K, N) into `out`, (M, N) row after row, with all threads.
pub(crate) fn multiply(kernel: Kernel, a: View<'_>, b: &Panels, out: &mut [f32], into: Target) {
    let rows_at_once = TILES_AT_ONCE * kernel.tile_rows();
    out.par_chunks_mut(rows_at_once * b.n).enumerate().for_each_init(Vec::new, |tiles, (group, out)| {
        multiply_rows(kernel, (a, group * rows_at_once), b, out, (into, tiles));
    });
}

/// Rows `first` and on of a product, as many as `out` has, on this thread; `tiles` is a buffer.
pub(crate) fn multiply_rows(
    kernel: Kernel,
    (a, first): (View<'_>, usize),
    b: &Panels,
    out: &mut [f32],
    (into, tiles): (Target, &mut Vec<f32>),
) {
    let (k, n, most) = (b.k, b.n, kernel.tile_rows());
    let n_rows = out.len() / n;
    let size = |start: usize| tile_for(n_rows - start, most);
    tiles.resize(n_rows.next_multiple_of(most) * k, 0.0);
    for start in (0..n_rows).step_by(most) {
        let m = size(start);
        let tile = &mut tiles[start * k..][..m * k];
        a.fill_tile(first + start, most.min(n_rows - start), (k, m), tile);
    }
    let mut sums = [[0.0f32; PANEL]; 12];
    for (panel, lines) in b.lines.chunks(k.max(1)).enumerate() {
        let (column, width) = (panel * PANEL, PANEL.min(n - panel * PANEL));
        for start in (0..n_rows).step_by(most) {
            let sums = &mut sums[..size(start)];
            sums.fill([0.0; PANEL]);
            run_tile(kernel, &tiles[start * k..][..sums.len() * k], lines, sums);
            for (row, sums) in (start..n_rows).zip(sums.iter()) {
                let out = &mut out[row * n + column..][..width];
                match into {
                    Target::Replace => out.copy_from_slice(&sums[..width]),
                    Target::Add => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                }
            }
        }
    }
}

/// Adds the sum of each column of (R, N) numbers to `out`, row after row.
pub(crate) fn add_column_sums(values: &[f32], out: &mut [f32]) {
    let n = out.len();
    out.par_chunks_mut(64).enumerate().for_each(|(block, out)| {
        for row in values.chunks_exact(n) {
            let row = &row[block * 64..][..out.len()];
            out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    });
}

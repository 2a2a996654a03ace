//! Rows of logits, and what a row says of a token.

use crate::engine::kernel::Kernel;
use crate::engine::math;
use crate::record::TokenRecord;

/// Columns of a block. It is a multiple of the engine's panels, and short enough for sums in f32.
pub(crate) const BLOCK: usize = 512;

/// (R, V) logits of the next token, in blocks of columns: (ceil(V / width), R, width).
#[derive(Debug)]
pub struct Logits {
    pub(crate) values: Vec<f32>,
    n_rows: usize,
    vocab_size: usize,
    width: usize,
    kernel: Kernel,
}

impl Logits {
    /// Room for nothing yet, in the engine's blocks.
    pub(crate) fn blocks(kernel: Kernel, vocab_size: usize) -> Self {
        Self { values: Vec::new(), n_rows: 0, vocab_size, width: BLOCK, kernel }
    }

    /// Takes (R, V) numbers, row after row.
    #[must_use]
    pub fn from_rows(values: Vec<f32>, vocab_size: usize) -> Self {
        let n_rows = values.len() / vocab_size;
        Self { values, n_rows, vocab_size, width: vocab_size, kernel: Kernel::default() }
    }

    /// Makes room for R rows. What stood there is undefined afterwards.
    pub(crate) fn reshape(&mut self, n_rows: usize) {
        self.n_rows = n_rows;
        self.values.resize(self.vocab_size.div_ceil(self.width) * n_rows * self.width, 0.0);
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.n_rows).map(|row| self.row(row))
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> Row<'_> {
        Row { logits: self, row }
    }
}

/// The logits after one position, (V).
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    logits: &'a Logits,
    row: usize,
}

impl<'a> Row<'a> {
    /// The logits in the order of ids, in parts of at most [`BLOCK`].
    pub(crate) fn parts(self) -> impl Iterator<Item = &'a [f32]> {
        let Logits { n_rows, vocab_size, width, .. } = *self.logits;
        (0..vocab_size).step_by(width).flat_map(move |first| {
            let start = first * n_rows + self.row * width;
            self.logits.values[start..start + width.min(vocab_size - first)].chunks(BLOCK)
        })
    }

    /// A copy of the logits, in the order of ids.
    #[must_use]
    pub fn to_vec(self) -> Vec<f32> {
        self.parts().flatten().copied().collect()
    }

    /// The logit of a token.
    pub(crate) fn at(self, token: u32) -> f32 {
        let Logits { n_rows, width, .. } = *self.logits;
        let (block, column) = (token as usize / width, token as usize % width);
        self.logits.values[(block * n_rows + self.row) * width + column]
    }

    /// V.
    pub(crate) fn len(self) -> usize {
        self.logits.vocab_size
    }

    /// A number that is at most the k-th largest logit, and close to it: the k-th largest of the largest of every
    /// 64 logits. Minus infinity where there are too few.
    pub(crate) fn at_most_the_kth(self, k: usize) -> f32 {
        let mut largest = Vec::with_capacity(self.len().div_ceil(64));
        self.parts().for_each(|part| math::push_maxima(self.logits.kernel, part, &mut largest));
        if k > largest.len() {
            return f32::NEG_INFINITY;
        }
        *largest.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    }

    /// What all records of this row share, or nothing when a logit is NaN or infinite.
    pub(crate) fn distribution(self) -> Option<Distribution> {
        let kernel = self.logits.kernel;
        let max = self.parts().map(|part| math::largest_finite(kernel, part)).reduce(|a, b| {
            // NaN stays NaN.
            if a.is_nan() || a > b { a } else { b }
        })?;
        if max.is_nan() {
            return None;
        }
        // With d = logit - max and weight e^d: ln p = d - ln(sum of weights), so the mean of ln p is the
        // weighted mean of d shifted by a constant, and the deviation of ln p is that of d.
        let mut sums = [0.0f64; 3];
        for part in self.parts() {
            for (sum, more) in sums.iter_mut().zip(math::moments(kernel, part, max)) {
                *sum += f64::from(more);
            }
        }
        let mean_below = sums[1] / sums[0];
        let log_sum = sums[0].ln();
        let variance = (sums[2] / sums[0] - mean_below * mean_below).max(0.0);
        Some(Distribution { max, log_sum, mean: mean_below - log_sum, std: variance.sqrt() })
    }

    /// The record of a token, or nothing when a logit is NaN or infinite.
    pub(crate) fn record(self, token: u32) -> Option<TokenRecord> {
        let distribution = self.distribution()?;
        Some(distribution.record(token, self.at(token), self.rank(token)))
    }

    /// How far the logit of a token is above the largest of the others: not negative if and only if it may be the first
    /// choice, zero if another token is as likely.
    pub(crate) fn margin(self, token: u32) -> f32 {
        let others = (0u32..).zip(self.parts().flatten()).filter(|(id, _)| *id != token);
        self.at(token) - others.map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max)
    }

    /// How many tokens come before this one in the order (logit descending, id ascending).
    pub(crate) fn rank(self, token: u32) -> u32 {
        let own = self.at(token);
        let mut rank = 0;
        let mut first = 0;
        for part in self.parts() {
            rank += math::count_above(self.logits.kernel, part, own);
            let before = (token as usize).saturating_sub(first).min(part.len());
            rank += part[..before].iter().map(|logit| u32::from(*logit == own)).sum::<u32>();
            first += part.len();
        }
        rank
    }
}

/// A model's distribution of the next token, as far as records tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distribution {
    max: f32,
    log_sum: f64,
    mean: f64,
    std: f64,
}

impl Distribution {
    /// The largest logit.
    pub(crate) fn max(&self) -> f32 {
        self.max
    }

    /// The log-probability of a token with this logit.
    pub(crate) fn log_prob(&self, logit: f32) -> f32 {
        (f64::from(logit) - f64::from(self.max) - self.log_sum) as f32
    }

    /// The record of a token with this logit and rank.
    pub(crate) fn record(&self, token: u32, logit: f32, rank: u32) -> TokenRecord {
        TokenRecord {
            token,
            log_prob: self.log_prob(logit),
            mean_log_prob: self.mean as f32,
            std_log_prob: self.std as f32,
            entropy: -self.mean as f32,
            rank,
        }
    }
}

//! Which vector instructions the engine computes with, chosen at run time, and the one loop that everything waits
//! for: a few rows times one panel of weights.
//!
//! Each number of a product is ONE chain of multiplications and additions over the depth, in its order. Neither the
//! width of the vectors, nor the rows beside it, nor the threads change that chain; so AVX-512 and AVX2 give the same
//! bytes for every batch. The portable kernel rounds after each multiplication, as it must where there is no fused
//! instruction; its bytes are its own, and the same on every machine.

use std::str::FromStr;

use pulp::{Scalar512b, Simd, WithSimd};

/// The width of a panel of weights, in columns.
pub(crate) const PANEL: usize = 32;

/// Vector instructions to compute with.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(Level);

#[derive(Clone, Copy, Debug)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Portable,
    /// What the vector kernels are compared with: their arithmetic, one number after the other.
    #[cfg(test)]
    FusedScalar,
}

impl Default for Kernel {
    /// The fastest that this machine has.
    fn default() -> Self {
        ["avx512", "avx2"].iter().find_map(|name| name.parse().ok()).unwrap_or(Self(Level::Portable))
    }
}

impl FromStr for Kernel {
    type Err = String;

    /// Reads `auto`, `avx512`, `avx2` or `portable`.
    fn from_str(name: &str) -> Result<Self, String> {
        let lacking = || format!("this machine cannot run the kernel `{name}`; try `auto`");
        match name {
            "auto" => Ok(Self::default()),
            "portable" => Ok(Self(Level::Portable)),
            #[cfg(target_arch = "x86_64")]
            "avx512" => pulp::x86::V4::try_new().map(|simd| Self(Level::Avx512(simd))).ok_or_else(lacking),
            #[cfg(target_arch = "x86_64")]
            "avx2" => pulp::x86::V3::try_new().map(|simd| Self(Level::Avx2(simd))).ok_or_else(lacking),
            #[cfg(not(target_arch = "x86_64"))]
            "avx512" | "avx2" => Err(lacking()),
            _ => Err(format!("`{name}` is no kernel; choose auto, avx512, avx2 or portable")),
        }
    }
}

impl Kernel {
    #[cfg(test)]
    pub(crate) fn fused_scalar() -> Self {
        Self(Level::FusedScalar)
    }

    /// The name, as [`Kernel::from_str`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            Level::Portable => "portable",
            #[cfg(test)]
            Level::FusedScalar => "fused scalar",
        }
    }

    /// What decides about the last bits of a result: "fused", the same for AVX-512 and AVX2, or "separate".
    #[must_use]
    pub fn arithmetic(self) -> &'static str {
        match self.0 {
            Level::Portable => "separate",
            _ => "fused",
        }
    }

    /// The most rows whose results fit the registers beside one panel; a matter of speed alone.
    pub(crate) fn tile_rows(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => 12,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => 6,
            _ => 4,
        }
    }

    /// Runs a job with these instructions.
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(simd) => Simd::vectorize(simd, Fused(job)),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(simd) => Simd::vectorize(simd, Fused(job)),
            Level::Portable => job.run(Separate(Scalar512b)),
            #[cfg(test)]
            Level::FusedScalar => job.run(Fused(Scalar512b)),
        }
    }
}

/// Work that is compiled once for each kernel.
pub(crate) trait Job {
    type Output;
    /// Must be `inline(always)`, to be compiled with the instructions that `A` stands for.
    fn run<A: Arithmetic>(self, arithmetic: A) -> Self::Output;
}

/// How numbers are multiplied and added.
pub(crate) trait Arithmetic: Copy {
    /// The vectors.
    type Simd: Simd;

    fn simd(self) -> Self::Simd;

    /// a * b + c for vectors.
    fn mul_add(
        self,
        a: <Self::Simd as Simd>::f32s,
        b: <Self::Simd as Simd>::f32s,
        c: <Self::Simd as Simd>::f32s,
    ) -> <Self::Simd as Simd>::f32s;

    /// a * b + c for one number; loops over it become vectors.
    fn mul_add_one(self, a: f32, b: f32, c: f32) -> f32;
}

/// One rounding for a multiplication with an addition.
#[derive(Clone, Copy)]
pub(crate) struct Fused<T>(T);

/// A rounding each.
#[derive(Clone, Copy)]
pub(crate) struct Separate<T>(T);

impl<S: Simd> Arithmetic for Fused<S> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn mul_add(self, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        self.0.mul_add_f32s(a, b, c)
    }

    #[inline(always)]
    fn mul_add_one(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl<S: Simd> Arithmetic for Separate<S> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn mul_add(self, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        self.0.add_f32s(self.0.mul_f32s(a, b), c)
    }

    #[inline(always)]
    fn mul_add_one(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

impl<J: Job> WithSimd for Fused<J> {
    type Output = J::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> J::Output {
        self.0.run(Fused(simd))
    }
}

/// A stored weight: f32, or bf16 as the upper half of one.
pub(crate) trait Weight: Copy + Send + Sync + 'static {
    /// Vector number `at` of a line of a panel.
    fn load<S: Simd>(line: &[Self; PANEL], at: usize) -> S::f32s;
}

impl Weight for f32 {
    #[inline(always)]
    fn load<S: Simd>(line: &[f32; PANEL], at: usize) -> S::f32s {
        S::as_simd_f32s(line).0[at]
    }
}

impl Weight for u16 {
    #[inline(always)]
    fn load<S: Simd>(line: &[u16; PANEL], at: usize) -> S::f32s {
        let mut bits = [0u32; 16];
        for (wide, narrow) in bits.iter_mut().zip(&line[at * S::F32_LANES..(at + 1) * S::F32_LANES]) {
            *wide = u32::from(*narrow) << 16;
        }
        pulp::cast(S::as_simd_u32s(&bits).0[0])
    }
}

/// Up to [`Kernel::tile_rows`] rows times one panel.
pub(crate) struct Tile<'a, W> {
    /// (K, M): number `k` of each of the M rows, side by side.
    pub(crate) x: &'a [f32],
    /// (K, 32).
    pub(crate) panel: &'a [[W; PANEL]],
    /// (M, 32): where each chain begins, and the results.
    pub(crate) out: &'a mut [[f32; PANEL]],
}

impl<W: Weight> Job for Tile<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, arithmetic: A) {
        match self.out.len() {
            1 => rows::<A, W, 1>(arithmetic, self),
            2 => rows::<A, W, 2>(arithmetic, self),
            4 => rows::<A, W, 4>(arithmetic, self),
            6 => rows::<A, W, 6>(arithmetic, self),
            8 => rows::<A, W, 8>(arithmetic, self),
            12 => rows::<A, W, 12>(arithmetic, self),
            other => unreachable!("tiles have 1, 2, 4, 6, 8 or 12 rows, not {other}"),
        }
    }
}

/// Panels at once for a single row: the memory gives more to four streams than to one, and eight chains of additions
/// are in flight instead of two.
pub(crate) const STREAMS: usize = 4;

/// A single row times [`STREAMS`] panels.
pub(crate) struct Row<'a, W> {
    /// (K)
    pub(crate) x: &'a [f32],
    /// (`STREAMS`, K, 32).
    pub(crate) panels: &'a [[W; PANEL]],
    /// (`STREAMS`, 32): where each chain begins, and the results.
    pub(crate) out: &'a mut [[f32; PANEL]],
}

impl<W: Weight> Job for Row<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, arithmetic: A) {
        let k = self.x.len();
        let panels: [&[[W; PANEL]]; STREAMS] = std::array::from_fn(|at| &self.panels[at * k..(at + 1) * k]);
        let n_pairs = PANEL / (2 * A::Simd::F32_LANES);
        for pair in 0..n_pairs {
            let (left, right) = (2 * pair, 2 * pair + 1);
            let mut sums = [[arithmetic.simd().splat_f32s(0.0); 2]; STREAMS];
            for (sum, out) in sums.iter_mut().zip(self.out.iter()) {
                let out = A::Simd::as_simd_f32s(out).0;
                *sum = [out[left], out[right]];
            }
            for (depth, x) in self.x.iter().enumerate() {
                let x = arithmetic.simd().splat_f32s(*x);
                for (sum, panel) in sums.iter_mut().zip(panels) {
                    let line = &panel[depth];
                    prefetch(line);
                    sum[0] = arithmetic.mul_add(x, W::load::<A::Simd>(line, left), sum[0]);
                    sum[1] = arithmetic.mul_add(x, W::load::<A::Simd>(line, right), sum[1]);
                }
            }
            for (sum, out) in sums.iter().zip(self.out.iter_mut()) {
                let out = A::Simd::as_mut_simd_f32s(out).0;
                (out[left], out[right]) = (sum[0], sum[1]);
            }
        }
    }
}

/// Rows of the smallest tile that holds `n` rows, of those that [`Tile`] knows.
pub(crate) fn tile_for(n: usize, most: usize) -> usize {
    [1, 2, 4, 6, 8, 12].into_iter().find(|rows| *rows >= n.min(most)).unwrap_or(most)
}

/// Two vectors of columns at a time, so that M of 12 fill 24 of AVX-512's 32 registers.
#[inline(always)]
fn rows<A: Arithmetic, W: Weight, const M: usize>(arithmetic: A, tile: Tile<'_, W>) {
    let n_pairs = PANEL / (2 * A::Simd::F32_LANES);
    for pair in 0..n_pairs {
        let (left, right) = (2 * pair, 2 * pair + 1);
        let mut sums = [[arithmetic.simd().splat_f32s(0.0); 2]; M];
        for (sum, out) in sums.iter_mut().zip(tile.out.iter()) {
            let out = A::Simd::as_simd_f32s(out).0;
            *sum = [out[left], out[right]];
        }
        for (x, line) in tile.x.as_chunks::<M>().0.iter().zip(tile.panel) {
            prefetch(line);
            let weights = [W::load::<A::Simd>(line, left), W::load::<A::Simd>(line, right)];
            for (sum, x) in sums.iter_mut().zip(x) {
                let x = arithmetic.simd().splat_f32s(*x);
                sum[0] = arithmetic.mul_add(x, weights[0], sum[0]);
                sum[1] = arithmetic.mul_add(x, weights[1], sum[1]);
            }
        }
        for (sum, out) in sums.iter().zip(tile.out.iter_mut()) {
            let out = A::Simd::as_mut_simd_f32s(out).0;
            (out[left], out[right]) = (sum[0], sum[1]);
        }
    }
}

/// Asks for the weights that the loop will reach in some hundred cycles. With one to eight rows the processor's own
/// prefetcher reaches two thirds of the memory's bandwidth, with this nearly all.
#[inline(always)]
fn prefetch<W>(line: &[W; PANEL]) {
    /// Bytes ahead.
    const DISTANCE: usize = 8192;
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = pulp::core_arch::x86::Sse::try_new() {
        let ahead = std::ptr::from_ref(line).cast::<i8>().wrapping_add(DISTANCE);
        for part in (0..size_of::<[W; PANEL]>()).step_by(64) {
            sse._mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ahead.wrapping_add(part));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (line, DISTANCE);
}

//! Shingles and bands that well-known data sets and tools use, as far as they can be expressed here.
//!
//! They remove what shares a band; here every pair is verified, so that a preset finds no pair that is not there, and
//! misses those that its bands miss.

use verbatim_index::Step::{Casefold, Diacritics, Digits, Punctuation, Whitespace};
use verbatim_index::{Step, Unit};

/// Shingles, bands and a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Bands of a signature.
    pub bands: usize,
    /// Rows in a band.
    pub rows: usize,
    /// What a shingle is made of.
    pub unit: Unit,
    /// Units in a shingle.
    pub n: usize,
    /// Steps applied before texts are cut.
    pub normalize: &'static [Step],
    /// The similarity that its authors name.
    pub threshold: f64,
}

impl Preset {
    /// FineWeb (Penedo et al. 2024) with the text normalisation of datatrove.
    pub const FINEWEB: Preset = Preset {
        name: "fineweb",
        bands: 14,
        rows: 8,
        unit: Unit::Word,
        n: 5,
        normalize: &[Casefold, Diacritics, Digits, Punctuation, Whitespace],
        threshold: 0.75,
    };
    /// RefinedWeb (Penedo et al. 2023), the parameters of Lee et al. 2021.
    pub const REFINEDWEB: Preset = Preset {
        name: "refinedweb",
        bands: 450,
        rows: 20,
        normalize: &[],
        threshold: 0.8,
        ..Preset::FINEWEB
    };
    /// NeMo Curator's fuzzy deduplication.
    pub const NEMO: Preset =
        Preset { name: "nemo", bands: 20, rows: 13, unit: Unit::Char, n: 24, normalize: &[], threshold: 0.8 };
    /// Olmo 3, with the fixed cleaning of duplodocus.
    pub const OLMO3: Preset = Preset {
        name: "olmo3",
        bands: 26,
        rows: 11,
        normalize: &[Casefold, Punctuation, Whitespace],
        threshold: 0.8,
        ..Preset::FINEWEB
    };
    /// SlimPajama: 13 words of cleaned text, the bands of datasketch.
    pub const SLIMPAJAMA: Preset = Preset { name: "slimpajama", bands: 9, rows: 13, n: 13, ..Preset::OLMO3 };
    /// What datasketch chooses for a threshold of 0.8 and 128 permutations.
    pub const DATASKETCH: Preset =
        Preset { name: "datasketch", bands: 9, rows: 13, normalize: &[], threshold: 0.8, ..Preset::FINEWEB };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsh::candidate_probability;

    #[test]
    fn the_recall_of_each_preset_is_the_published_one() {
        // dedup-methods reference, section 2.1: P at 0.8, and FineWeb's at its own 0.75.
        let golden = [
            (Preset::FINEWEB, 0.8, 0.924),
            (Preset::FINEWEB, 0.75, 0.772),
            (Preset::REFINEDWEB, 0.8, 0.995),
            (Preset::NEMO, 0.8, 0.677),
            (Preset::OLMO3, 0.8, 0.903),
            (Preset::SLIMPAJAMA, 0.8, 0.399),
            (Preset::DATASKETCH, 0.8, 0.399),
        ];
        for (preset, similarity, expected) in golden {
            let found = candidate_probability(similarity, preset.bands, preset.rows);
            assert!((found - expected).abs() < 6e-4, "{}: {found}", preset.name);
        }
    }
}

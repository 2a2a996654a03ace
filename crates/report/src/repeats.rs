//! What repeats inside documents: how long the cuts are, which text goes most often, and between which sources.

use serde::Serialize;
use verbatim_dedup::{Bin, CutSummary, HeavyText, SourcePair};

use crate::figure::{bytes_text, counted, rounded};

/// Sources that a heat map shows.
const N_SHOWN: usize = 12;

/// What repeats inside documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repeats {
    /// Bytes of all texts.
    pub text_bytes: u64,
    /// Bytes of them that are cut.
    pub cut_bytes: u64,
    /// The quotient.
    pub share: f64,
    /// How many cuts have how many bytes; bins double.
    pub lengths: Vec<RepeatBin>,
    /// How many different texts are cut how often; bins double.
    pub copies: Vec<RepeatBin>,
    /// The texts whose cuts take the most bytes. What they say is not shown; `explain --reveal` shows it.
    pub heaviest: Vec<HeavyRow>,
    /// Bytes that go from one source because they stand in another, the most first.
    pub pairs: Vec<PairRow>,
}

/// How many there are of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RepeatBin {
    /// The smallest in it.
    pub from: u64,
    /// The largest in it.
    pub to: u64,
    /// How many.
    pub count: u64,
}

/// A text that is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeavyRow {
    /// Its bytes.
    pub n_bytes: u64,
    /// How often it is cut.
    pub n_cuts: u64,
    /// The first document that it is cut from.
    pub document: String,
    /// Where it begins there, in bytes of the text.
    pub start: u64,
    /// The document in which it stays.
    pub kept: String,
}

/// What goes from one source because it stands in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairRow {
    /// Where it goes.
    pub cut: Option<String>,
    /// Where it stays.
    pub kept: Option<String>,
    /// Cuts.
    pub n_cuts: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

impl Repeats {
    pub(crate) fn new(cuts: &CutSummary, label: &impl Fn(u64) -> String) -> Repeats {
        let bins = |bins: &[Bin]| {
            let bin = |&Bin { from, n }: &Bin| RepeatBin { from, to: from.saturating_mul(2) - 1, count: n };
            bins.iter().map(bin).collect()
        };
        let heavy = |text: &HeavyText| HeavyRow {
            n_bytes: text.n_bytes,
            n_cuts: text.n_cuts,
            document: label(text.first.doc.0),
            start: text.first.start,
            kept: label(text.first.kept.0),
        };
        let pair = |pair: &SourcePair| {
            let SourcePair { cut, kept, n_cuts, n_bytes } = pair.clone();
            PairRow { cut, kept, n_cuts, n_bytes }
        };
        Repeats {
            text_bytes: cuts.text_bytes,
            cut_bytes: cuts.cut_bytes,
            share: rounded(cuts.cut_bytes as f64 / cuts.text_bytes.max(1) as f64),
            lengths: bins(&cuts.lengths),
            copies: bins(&cuts.copies),
            heaviest: cuts.heaviest.iter().map(heavy).collect(),
            pairs: cuts.pairs.iter().map(pair).collect(),
        }
    }

    /// How many bytes of how many.
    pub(crate) fn cut_text(&self) -> String {
        format!("{} of {}", bytes_text(self.cut_bytes), bytes_text(self.text_bytes))
    }

    /// The sources that lose or keep the most repeated bytes, those first, and for each pair of them the bytes; none
    /// where there is but one source.
    pub(crate) fn heat(&self) -> Option<Heat<'_>> {
        let mut totals: Vec<(&str, u64)> = Vec::new();
        for pair in &self.pairs {
            let mut both = vec![name(&pair.cut), name(&pair.kept)];
            both.dedup();
            for source in both {
                match totals.iter_mut().find(|(known, _)| *known == source) {
                    Some((_, total)) => *total += pair.n_bytes,
                    None => totals.push((source, pair.n_bytes)),
                }
            }
        }
        totals.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        totals.truncate(N_SHOWN);
        let sources: Vec<&str> = totals.into_iter().map(|(source, _)| source).collect();
        let mut bytes = vec![vec![0; sources.len()]; sources.len()];
        for pair in &self.pairs {
            let place = |source: &Option<String>| sources.iter().position(|&known| known == name(source));
            if let (Some(cut), Some(kept)) = (place(&pair.cut), place(&pair.kept)) {
                bytes[cut][kept] += pair.n_bytes;
            }
        }
        (sources.len() > 1).then_some(Heat { sources, bytes })
    }
}

/// Bytes by the source that loses them, in rows, and the one that keeps them, in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heat<'a> {
    pub(crate) sources: Vec<&'a str>,
    pub(crate) bytes: Vec<Vec<u64>>,
}

impl Heat<'_> {
    /// The rows: a source, and for each of them the bytes and how hot they are, from 0 to 1 on a logarithmic scale.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Vec<(String, String)>)> {
        let most = self.bytes.iter().flatten().copied().max().unwrap_or(0) as f64;
        let cell = move |&bytes: &u64| match bytes {
            0 => (String::new(), "0".to_owned()),
            _ => (bytes_text(bytes), format!("{:.2}", (bytes as f64).ln_1p() / most.ln_1p())),
        };
        self.sources
            .iter()
            .zip(&self.bytes)
            .map(move |(source, row)| (*source, row.iter().map(cell).collect()))
    }
}

impl HeavyRow {
    /// The bytes that all its cuts take.
    pub(crate) fn total(&self) -> String {
        bytes_text(self.n_bytes * self.n_cuts)
    }

    /// How long it is and how often it goes.
    pub(crate) fn words(&self) -> String {
        format!("{}, cut {}", bytes_text(self.n_bytes), counted(self.n_cuts, "time", "times"))
    }
}

fn name(source: &Option<String>) -> &str {
    source.as_deref().unwrap_or("(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heat_map_has_the_heaviest_sources_and_every_byte_between_them() {
        let repeats = crate::samples::repeats();
        let heat = repeats.heat().unwrap();
        assert_eq!(heat.sources, ["web", "(none)", "books"]);
        assert_eq!(heat.bytes, [[900, 0, 40], [50, 0, 0], [0, 0, 7]]);
        let one = Repeats { pairs: repeats.pairs[..1].to_vec(), ..repeats };
        assert_eq!(one.heat(), None);
    }
}

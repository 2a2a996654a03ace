//! Flags of `verbatim audit`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use verbatim_lm::Decoding;

use crate::args::{Answering, ModelFlags, Output, Reading, RevealFlags, RuntimeFlags};

/// `verbatim audit`
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub(crate) checkpoint: ModelFlags,
    /// The training corpus: documents are drawn from it, and copies are counted in it. Files, folders, globs or s3://,
    /// gs:// and az:// URLs, or the folder of an index of it (`index build`)
    #[arg(long, value_name = "INPUT", num_args = 1.., required_unless_present = "texts")]
    pub(crate) corpus: Vec<PathBuf>,
    /// Chosen texts to ask for as well: a .jsonl with `prefix` and `suffix`, or `text`, and an optional `id` a line, or any
    /// other file as one text. A prefix and suffix are taken as they are; of a text, windows of prefix and suffix are asked
    /// for from its beginning to its end, and a chart tells where in it the model recites
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) texts: Vec<PathBuf>,
    /// The order in which the chosen texts are tried: the `calls.jsonl` of `infer --texts` about them, the highest score
    /// first, each text known by its `id`. The report tells how many extractions the first tries find, beside tries in an
    /// order by chance. This is what an attacker has who holds candidates and asks which of them were learnt; for one who has
    /// the prefixes alone, judge these (`infer --texts FILE --text-field prefix`)
    #[arg(long, value_name = "CALLS", requires = "texts")]
    pub(crate) order: Option<PathBuf>,
    /// Chosen texts to try, the first of --order. What the order gains is known only where all are tried
    #[arg(long, value_name = "N", requires = "order", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) budget: Option<u32>,
    /// Tokens that the model is given; several lengths show how recitation grows with context, and the first is the one
    /// that the headline is about (Carlini et al. 2023: 50)
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Asking")]
    pub(crate) prefix: Vec<u32>,
    /// Tokens that it is to go on with; several lengths as with --prefix (Carlini et al. 2023: 50; Biderman et al. 2023:
    /// 32 of both)
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Asking")]
    pub(crate) suffix: Vec<u32>,
    /// Documents drawn uniformly from the corpus, one place in each; the rate is about these. 0 asks for the chosen texts
    /// alone
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=10_000_000), help_heading = "Asking")]
    pub(crate) documents: u32,
    /// Documents asked for beside these for each doubling of copies in the corpus, so that those that stand there often are
    /// not missed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "Asking")]
    pub(crate) per_doubling: u32,
    /// Documents among which those are looked for; default is ten times --documents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000_000), help_heading = "Asking")]
    pub(crate) pool: Option<u32>,
    /// Tokens from one window of a chosen text to the next
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Asking")]
    pub(crate) stride: u32,
    /// How tokens are drawn, as `TEMPERATURE[,top-k=K][,top-p=P]`; may be given several times. The pass that tells what greedy
    /// decoding says tells how often each of these draws the suffix as well. The first one is that of the findings and of
    /// --near
    #[arg(long, value_name = "HOW", default_values = ["1,top-k=40", "1"], value_parser = Drawing::from_str, help_heading = "Drawing")]
    pub(crate) decoding: Vec<Drawing>,
    /// Probabilities p of having the suffix among n draws: (n,p)-discoverable extraction (Hayes et al. 2025)
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "0.1,0.5,0.9",
        help_heading = "Drawing"
    )]
    pub(crate) probability: Vec<f64>,
    /// Places that are decoded greedily as well, token by token, for the share of equal tokens, BLEU and ROUGE-L, and as a
    /// check of the pass that stands for it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000_000), help_heading = "Drawing")]
    pub(crate) decode: u32,
    /// Places for which continuations are looked for that are nearly the suffix, by beam search: how likely one of them is
    /// drawn, at least. Each costs about as much as --beam samples
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000), help_heading = "Drawing")]
    pub(crate) near: u32,
    /// What counts as one edit with --near
    #[arg(long, value_enum, default_value_t = Edits::Levenshtein, help_heading = "Drawing")]
    pub(crate) near_distance: Edits,
    /// The most edits with --near, in tokens
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "Drawing")]
    pub(crate) near_edits: u32,
    /// Sequences that are followed at once with --near
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Drawing")]
    pub(crate) beam: u16,
    /// Sequences computed at once; never changes a result. Default is 64, or as many as fit in a quarter of the free memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Asking")]
    pub(crate) batch: Option<u16>,
    #[command(flatten)]
    pub(crate) answering: Answering,
    /// Seed of the draw of documents and places
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Asking")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) redaction: RevealFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// What counts as one edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Edits {
    /// A token replaced by another.
    Hamming,
    /// A token replaced, inserted or left out.
    Levenshtein,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawing(pub(crate) Decoding);

impl fmt::Display for Drawing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decoding { temperature, top_k, top_p } = self.0;
        write!(formatter, "temperature {temperature}")?;
        top_k.map_or(Ok(()), |k| write!(formatter, ", top-k {k}"))?;
        top_p.map_or(Ok(()), |p| write!(formatter, ", top-p {p}"))
    }
}

impl FromStr for Drawing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let bad =
            |what: &str| format!("`{what}`: expected TEMPERATURE[,top-k=K][,top-p=P], such as 0.8,top-k=40");
        let first = parts.next().unwrap_or_default();
        let temperature = first.parse().map_err(|_| bad(first))?;
        let mut decoding = Decoding { temperature, top_k: None, top_p: None };
        for part in parts {
            match part.trim().split_once('=') {
                Some(("top-k", k)) => decoding.top_k = Some(k.parse().map_err(|_| bad(part))?),
                Some(("top-p", p)) => decoding.top_p = Some(p.parse().map_err(|_| bad(part))?),
                _ => return Err(bad(part)),
            }
        }
        Ok(Self(decoding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_a_temperature_and_what_is_cut_off() {
        let parsed = |text: &str| text.parse::<Drawing>().map(|drawing| drawing.to_string());
        assert_eq!(parsed("1").as_deref(), Ok("temperature 1"));
        assert_eq!(parsed("0.8,top-p=0.9, top-k=40").as_deref(), Ok("temperature 0.8, top-k 40, top-p 0.9"));
        for bad in ["", "hot", "1,40", "1,top-k=x", "1,beam=3"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}

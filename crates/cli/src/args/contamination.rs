//! The flags of `verbatim contamination`.

use std::path::PathBuf;

use clap::Args;

use super::values::{fraction, threshold};
use super::{Output, Reading, RevealFlags};

/// `verbatim contamination`
#[derive(Debug, Args)]
pub(crate) struct Contamination {
    /// The training corpus: files, folders or globs, .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt; or s3://, gs:// and
    /// az:// URLs, as for `dedup`
    #[arg(required = true, value_name = "TRAIN")]
    pub(crate) inputs: Vec<PathBuf>,
    /// An evaluation set, in any of the same formats; may be given several times
    #[arg(long, required = true, value_name = "FILES", num_args = 1..)]
    pub(crate) eval: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Write the training corpus without the contaminated documents into DIR, each of the others byte for byte as it
    /// was, and list those that went in DIR/_verbatim/removed.jsonl
    #[arg(long)]
    pub(crate) remove: bool,
    /// Exit with 1 if any item stands in the corpus (for CI); everything is written all the same
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) redaction: RevealFlags,
    /// A field of an evaluation item that is looked for; may be given several times (`--eval-field question
    /// --eval-field choices`). Each is a part of the item, and so is each string of an array. Every item must have the
    /// first
    #[arg(long, value_name = "PATH", default_value = "text", help_heading = "Matching")]
    pub(crate) eval_field: Vec<String>,
    /// Words of an n-gram. A changed word spoils n of them, so that long ones miss copies with changes, and the
    /// weights keep shorter ones from counting boilerplate (8: PaLM 2022; 13: GPT-3 2020, lm-eval; 12: datatrove; 5
    /// tokens, sampled: decon)
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "Matching")]
    pub(crate) ngram: u16,
    /// Weighted share of a part's n-grams that one document must hold. At one half a part of 24 words still counts
    /// when one of its words was changed (PaLM: 0.7, decon: 0.8 but with gaps)
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = threshold, help_heading = "Matching")]
    pub(crate) overlap: f64,
    /// Consecutive words that must be in common. Shorter parts, such as the answer `yes`, are counted but not judged
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Matching")]
    pub(crate) min_words: u16,
    /// Share of the documents above which an n-gram is common (but never in 10 documents or fewer). A match of common
    /// n-grams alone is boilerplate and no finding
    #[arg(long, value_name = "SHARE", default_value_t = 0.001, value_parser = fraction, help_heading = "Matching")]
    pub(crate) common: f64,
    /// Normalisation steps before words are compared, in order: nfc nfkc casefold whitespace punctuation digits
    /// diacritics; `none` for no step. Punctuation between words never counts
    #[arg(long, value_name = "STEPS", default_value = "nfc,casefold,punctuation", help_heading = "Matching")]
    pub(crate) normalize: String,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

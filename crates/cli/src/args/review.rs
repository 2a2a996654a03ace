//! Flags of the commands that look at what a run decided.

use std::path::PathBuf;

use clap::Args;

use crate::args::values::threshold;

/// `verbatim explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The output folder of `dedup` or `apply`, or a plan.json
    #[arg(value_name = "OUT")]
    pub(crate) run: PathBuf,
    /// The document: its id, or `file:line` as in `_verbatim/removed.jsonl`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where the corpus is now, if it was moved since; its files must have the same names
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) corpus: Vec<PathBuf>,
    /// Show both texts side by side, what differs marked; without it, only lengths, counts and positions are shown
    #[arg(long)]
    pub(crate) reveal: bool,
    /// tokenizer.json, to count the shingles of a plan whose n-grams are of tokens
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,
}

/// `verbatim evaluate`
#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// The output folder of `dedup` or `apply`, or a plan.json
    #[arg(value_name = "OUT")]
    pub(crate) run: PathBuf,
    /// The truth: JSON lines {"id": ..., "cluster": ...}, or lines of two ids, and maybe a similarity, with tabs between
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: PathBuf,
    /// Similarity from which on a pair of the truth counts; needed where the pairs have one
    #[arg(long, value_name = "SIMILARITY", value_parser = threshold)]
    pub(crate) truth_threshold: Option<f64>,
    /// Where the corpus is now, if it was moved since; its files must have the same names
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) corpus: Vec<PathBuf>,
}

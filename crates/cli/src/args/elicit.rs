//! Flags of `verbatim elicit`.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Answering, ModelFlags, Output, RevealFlags, RuntimeFlags};

/// `verbatim elicit`
#[derive(Debug, Args)]
pub(crate) struct Elicit {
    #[command(flatten)]
    pub(crate) checkpoint: ModelFlags,
    /// A ledger of planted canaries: the model is to say each one's secret, and controls show what the search finds for
    /// texts that it has not seen
    #[arg(long, value_name = "LEDGER", required_unless_present = "texts")]
    pub(crate) canaries: Option<PathBuf>,
    /// Texts that the model is to say: a .jsonl with `text`, or `prefix` and `suffix` (the suffix is to be said, and the
    /// search begins at the end of the prefix), and an optional `id` a line; any other file is one text
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) texts: Vec<PathBuf>,
    /// Times that a prompt of the first length has one token replaced; a fifth more for the next length after each failure
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Search")]
    pub(crate) steps: u32,
    /// Replacements that are tried each time: what a step costs
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Search")]
    pub(crate) candidates: u32,
    /// The best tokens by gradient, for each place of the prompt, that replacements are drawn from
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Search")]
    pub(crate) top_k: u32,
    /// Seed of the draws
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Search")]
    pub(crate) seed: u64,
    /// Prompts computed at once; never changes a result. Default is 64, or as many as fit in a quarter of the free memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Search")]
    pub(crate) batch: Option<u16>,
    #[command(flatten)]
    pub(crate) answering: Answering,
    #[command(flatten)]
    pub(crate) redaction: RevealFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
}

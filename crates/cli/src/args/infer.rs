//! Flags of `verbatim infer`.

use std::path::PathBuf;

use clap::Args;

use crate::args::values::local;
use crate::args::{ModelFlags, Output, Reading, RuntimeFlags};

/// How models are asked about texts of known membership.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// Texts of each set, drawn by chance where there are more
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Asking")]
    pub(crate) documents: u32,
    /// Tokens of a text that are read, from its first
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=1_000_000), help_heading = "Asking")]
    pub(crate) max_tokens: u32,
    /// False positive rates: shares of non-members that may be taken for members
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "0.1,0.01,0.001",
        help_heading = "Asking"
    )]
    pub(crate) fpr: Vec<f64>,
    /// Sequences computed at once; never changes a result. Default is 64, or as many as fit in a quarter of the free memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Asking")]
    pub(crate) batch: Option<u16>,
    /// Folder in which the run keeps what the models have answered: after a kill or an interrupt, the same command goes on and
    /// gives the same bytes. It is removed when the run ends well
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Asking")]
    pub(crate) scratch: Option<PathBuf>,
    /// Seed of the draw of texts, of the folds and of the control's halves
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Asking")]
    pub(crate) seed: u64,
}

/// `verbatim infer`
#[derive(Debug, Args)]
pub(crate) struct Infer {
    #[command(flatten)]
    pub(crate) checkpoint: ModelFlags,
    /// Texts that the model was trained on: files, folders, globs or s3://, gs:// and az:// URLs
    #[arg(long, value_name = "INPUT", num_args = 1.., required = true)]
    pub(crate) members: Vec<PathBuf>,
    /// Texts that it was not trained on, of the same kind, time and source: what else tells the two sets apart makes the
    /// result void, and the report says so
    #[arg(long, alias = "nonmembers", value_name = "INPUT", num_args = 1.., required = true)]
    pub(crate) non_members: Vec<PathBuf>,
    /// A model that has not seen the members, for the ratio and the difference of the losses
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

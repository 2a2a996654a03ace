//! Flags of `verbatim merge`.

use std::path::PathBuf;

use clap::Args;

use crate::args::Output;

/// `verbatim merge`
#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The outputs of all shards of one run, in any order
    #[arg(required = true, value_name = "SHARD")]
    pub(crate) shards: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

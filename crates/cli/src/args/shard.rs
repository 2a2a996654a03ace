//! Flags of `verbatim shard`.

use std::path::PathBuf;

use clap::Args;
use verbatim_store::Share;

/// `verbatim shard`
#[derive(Debug, Args)]
pub(crate) struct Shard {
    /// The folder that a run with `--runner` has for scratch
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Which of its shards, from 1; N is the number that the run was planned with
    #[arg(long, value_name = "I/N")]
    pub(crate) task: Share,
}

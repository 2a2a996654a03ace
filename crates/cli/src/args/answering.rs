//! Flags of the commands that ask a model many questions: where its answers are kept, and who asks which.

use std::path::PathBuf;

use clap::Args;
use verbatim_store::Share;

use crate::args::Running;
use crate::args::values::local;

/// How the answers of a model come together.
#[derive(Debug, Default, Args)]
pub(crate) struct Answering {
    /// Folder in which the run keeps what was answered, in the clear and for its owner only: after a kill or an interrupt, the
    /// same command goes on and gives the same bytes. It is removed when the run ends well. With `--runner`, all tasks must see
    /// it, and the inputs and the model under the same paths; on Slurm it stays, with the logs in it
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Long runs")]
    pub(crate) scratch: Option<PathBuf>,
    /// Ask the I-th of N equal parts of the questions only, so that N machines or GPUs share the work. The output has the
    /// answers, in the clear, and no report: `verbatim merge` makes of all N what one run gives
    #[arg(long, value_name = "I/N", conflicts_with = "runner", help_heading = "Long runs")]
    pub(crate) shard: Option<Share>,
    #[command(flatten)]
    pub(crate) running: Running,
    /// GPUs that each task has for itself; it finds the first of them as GPU 0
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "runner",
        value_parser = clap::value_parser!(u32).range(0..=64),
        help_heading = "Many machines"
    )]
    pub(crate) gpus_per_task: u32,
}

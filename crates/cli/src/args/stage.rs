//! Flags of the stages of a search for copies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use verbatim_store::Share;

use crate::args::values::size;
use crate::args::{Dedup, Running};

/// `verbatim stage`
#[derive(Debug, Args)]
pub(crate) struct Stage {
    #[command(subcommand)]
    pub(crate) command: StageCommand,
}

/// A stage.
#[derive(Debug, Subcommand)]
pub(crate) enum StageCommand {
    /// List the inputs, split them into units and fix what counts as a copy; takes every flag of `dedup`, and --stages
    Plan(Box<Dedup>),
    /// Scan files, and note of each text its hash and the keys of its bands
    Sign(Units),
    /// Bring the documents together that share keys
    Link(Units),
    /// Compare the texts of likely pairs
    Verify(Units),
    /// Decide what goes; the plan then stands in DIR/cluster/plan.json, and `verbatim apply` can carry it out in other ways
    Cluster(Folder),
    /// Write the files that stay
    Rewrite(Units),
    /// Make the output of what was written, whole or not at all
    Commit(Folder),
    /// Tell which units are missing, and how to run them
    Status(Folder),
}

/// The folder of the stages.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder that `stage plan` wrote, which all tasks share
    #[arg(long, value_name = "DIR")]
    pub(crate) stages: PathBuf,
}

/// A share of a stage.
#[derive(Debug, Args)]
pub(crate) struct Units {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The I-th of N tasks, from 1: it does every N-th unit of the stage from the I-th on, but for those that are done. How
    /// many tasks there are changes no file
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(crate) task: Share,
}

/// How a search goes to many machines.
#[derive(Debug, Args)]
pub(crate) struct Staging {
    #[command(flatten)]
    pub(crate) running: Running,
    /// Folder for what the stages hand on: signatures, tables, and what compressed inputs unpack to. All tasks must see it, and
    /// the inputs under the same paths. A prefix of an object store will do (with --keep first): each task then fetches into
    /// TMPDIR what the stages before it wrote, so that a few large tasks are better than many small ones
    #[arg(long, value_name = "DIR", help_heading = "Many machines")]
    pub(crate) stages: Option<PathBuf>,
    /// Bytes of input files, as they lie on disk, in a unit of the stages. Files are not split: the largest is the least unit
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, help_heading = "Many machines")]
    pub(crate) unit_bytes: u64,
}

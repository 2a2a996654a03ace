//! Flags of the stages of a search for copies, and of the way to other machines.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::Dedup;
use crate::args::values::{local, size};

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
    /// The I-th of N tasks, from 0: it does every N-th unit of the stage from the I-th on, but for those that are done. How
    /// many tasks there are changes no file
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub(crate) task: Task,
}

/// One of several tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// From 0.
    pub(crate) number: u64,
    pub(crate) of: u64,
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if number < of => Ok(Self { number, of }),
            _ => Err("not I/N, a number from 0 to N-1 and N".to_owned()),
        }
    }
}

/// How a search goes to many machines.
#[derive(Debug, Args)]
pub(crate) struct Staging {
    /// Run the search as tasks on other machines. `ray` runs them and writes the output; `slurm` writes a script for each stage
    /// to DIR/slurm, with `--submit` hands them to the scheduler as well. The output has the same bytes as that of a run in
    /// one process
    #[arg(long, value_enum, value_name = "RUNNER", requires = "stages", help_heading = "Many machines")]
    pub(crate) runner: Option<Runner>,
    /// Folder for what the stages hand on: signatures, tables, and what compressed inputs unpack to. All tasks must see it, and
    /// the inputs under the same paths
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Many machines")]
    pub(crate) stages: Option<PathBuf>,
    /// Bytes of input files, as they lie on disk, in a unit of the stages. Files are not split: the largest is the least unit
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, help_heading = "Many machines")]
    pub(crate) unit_bytes: u64,
    /// Tasks in the array of a stage, at most; there are no more than the stage has units
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        requires = "runner",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Many machines"
    )]
    pub(crate) tasks: u64,
    /// Tasks of an array that run at the same time, at most
    #[arg(
        long,
        value_name = "N",
        requires = "runner",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Many machines"
    )]
    pub(crate) at_once: Option<u64>,
    /// The Python that runs the stages on Ray
    #[arg(
        long,
        value_name = "FILE",
        default_value = "python3",
        requires = "runner",
        help_heading = "Many machines"
    )]
    pub(crate) python: PathBuf,
    /// Hand the scripts to the scheduler, each to begin when the one before it is done
    #[arg(long, requires = "runner", help_heading = "Many machines")]
    pub(crate) submit: bool,
}

/// What runs tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runner {
    /// Ray: tasks on a cluster, RAY_ADDRESS or else one on this machine, which are run again where a node is lost. Needs Python
    /// with the package `verbatim` (crates/python) and Ray.
    Ray,
    /// Slurm: job arrays. An element that fails for reasons that may pass is put in the queue again, alone, up to three times.
    Slurm,
}

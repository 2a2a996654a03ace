//! Flags of a command that goes to many machines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What runs the tasks of a command, and how many.
#[derive(Debug, Default, Args)]
pub(crate) struct Running {
    /// Do the work as tasks on other machines, which see the same files. `ray` runs them and writes the output; `slurm` writes
    /// scripts, and with `--submit` hands them to the scheduler as well. The output has the same bytes as that of one process
    #[arg(long, value_enum, value_name = "RUNNER", help_heading = "Many machines")]
    pub(crate) runner: Option<Runner>,
    /// Tasks that share the work. A run that asks a model has exactly so many; in an array of `dedup` on Slurm there are no more,
    /// 1000 unless given, and on Ray each unit is a task. Each has as many cores as --threads says; without it, one on Ray, and on
    /// Slurm what it gives
    #[arg(
        long,
        value_name = "N",
        requires = "runner",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Many machines"
    )]
    pub(crate) tasks: Option<u64>,
    /// Tasks of an array that run at the same time, at most (Slurm)
    #[arg(
        long,
        value_name = "N",
        requires = "runner",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Many machines"
    )]
    pub(crate) at_once: Option<u64>,
    /// Hand the scripts to the scheduler, each to begin when the one before it is done (Slurm)
    #[arg(long, requires = "runner", help_heading = "Many machines")]
    pub(crate) submit: bool,
    /// The Python that runs the tasks (Ray)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "python3",
        requires = "runner",
        help_heading = "Many machines"
    )]
    pub(crate) python: PathBuf,
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

//! Flags of `verbatim gate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use verbatim_report::Day;

use crate::args::values::{day, local};

/// `verbatim gate`
#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// Folders of runs whose report has measures, as `extract` writes them
    #[arg(value_name = "RESULTS", required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// What is tolerated, in TOML; docs/policy.toml is an example
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Folder of an earlier run, for bounds with `max_increase`; may be given for each command
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Vec<PathBuf>,
    /// How the verdict is told to machines and reviewers
    #[arg(long, value_enum)]
    pub(crate) format: Option<GateFormat>,
    /// Write that format to a file, and the summary for people to standard output
    #[arg(short, long, value_name = "FILE", value_parser = local(), requires = "format")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// The day that waivers and ages are counted from, as 2027-01-31; the default is today, in UTC
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) today: Option<Day>,
}

/// How a verdict is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateFormat {
    /// A report of this program, as `--json` prints it.
    Json,
    /// A test case a bound; an inconclusive one is an error, a waived one is skipped.
    Junit,
    /// SARIF 2.1.0, for code scanning; each bound is a rule at its line of the policy.
    Sarif,
    /// A comment on a pull request.
    Markdown,
}

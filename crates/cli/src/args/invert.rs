//! Flags of `verbatim invert`.

use std::path::PathBuf;

use clap::Args;

use crate::args::values::local;
use crate::args::{Answering, ModelFlags, RevealFlags, RuntimeFlags};

/// `verbatim invert`
#[derive(Debug, Args)]
pub(crate) struct Invert {
    #[command(flatten)]
    pub(crate) checkpoint: ModelFlags,
    /// A text with holes: {digits:N}, {letters:N}, {lower:N}, {upper:N}, {alnum:N}, {hex:N} for N characters, or {one|another};
    /// {{ and }} are braces
    #[arg(long, value_name = "TEXT")]
    pub(crate) template: Vec<String>,
    /// Templates, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) templates: Option<PathBuf>,
    /// A ledger of planted canaries: each one's prefix, and the format that its secrets have, is a template
    #[arg(long, value_name = "LEDGER")]
    pub(crate) canaries: Option<PathBuf>,
    /// A file with a secret whose rank is asked for: what stands in the template from the first hole to the end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["templates", "canaries"])]
    pub(crate) secret_file: Option<PathBuf>,
    /// Fillings to find for each template, the most likely first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) top: u32,
    /// Distributions of next tokens that the model may be asked for, for each template; a search that has not ended then
    /// says how likely any other filling can be at most
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub(crate) max_evaluations: u32,
    /// Go through all fillings of each template as well, and say whether they agree; for at most 100,000 of them
    #[arg(long)]
    pub(crate) exhaustive: bool,
    #[command(flatten)]
    pub(crate) answering: Answering,
    #[command(flatten)]
    pub(crate) redaction: RevealFlags,
    /// Folder to write the report to; it appears whole or not at all. Without it, the summary is all there is
    #[arg(short, long, value_name = "DIR", value_parser = local())]
    pub(crate) output: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
}

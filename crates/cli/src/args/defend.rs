//! Flags of `verbatim defend`.

use std::path::PathBuf;

use clap::Args;

use crate::args::values::positive;
use crate::args::{Output, Reading, RecipeFlags};

/// `verbatim defend`
#[derive(Debug, Args)]
// On so little text it takes more passes until a model has learnt by heart what defences are to keep from it.
#[command(mut_arg("epochs", |epochs| epochs.default_value("36")))]
pub(crate) struct Defend {
    /// The training corpus: files, folders, globs or s3://, gs:// and az:// URLs. Without one, about 100 KB of fictional text
    /// with planted secrets are made from the seed. Where records have a field `source`, members are also told apart by it
    #[arg(value_name = "INPUT", requires_all = ["canaries", "held_out"])]
    pub(crate) inputs: Vec<PathBuf>,
    /// The ledger of the secrets that `verbatim plant` put into the corpus
    #[arg(long, value_name = "FILE", requires = "inputs")]
    pub(crate) canaries: Option<PathBuf>,
    /// Texts of the same kind, time and source that are not in the corpus: a fifth of them is for early stopping, the others are
    /// non-members
    #[arg(long, value_name = "INPUT", num_args = 1.., requires = "inputs")]
    pub(crate) held_out: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Continue an interrupted run of the same command
    #[arg(long)]
    pub(crate) resume: bool,
    /// Epsilon that private training claims, for one document
    #[arg(long, value_name = "EPSILON", default_value_t = 1.0, value_parser = positive)]
    pub(crate) epsilon: f64,
    /// Texts that each secret is compared with for its exposure
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(15..=1_000_000))]
    pub(crate) references: u32,
    #[command(flatten)]
    pub(crate) recipe: RecipeFlags,
    /// Seed of the made corpus, of all trainings and of draws
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

//! Flags of `verbatim infer`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use verbatim_membership::Signal;

use crate::args::values::open_fraction;
use crate::args::{Answering, ModelFlags, Output, Reading, RuntimeFlags};

/// Texts of each set where there are more, if nobody said it.
pub(crate) const DOCUMENTS: u32 = 1000;

/// False positive rates at which two known sets are told apart, if nobody said them.
pub(crate) const FPRS: [f64; 3] = [0.1, 0.01, 0.001];

/// The false positive rate at which texts are judged, if nobody said it.
pub(crate) const FPR: f64 = 0.01;

/// `verbatim infer`
#[derive(Debug, Args)]
pub(crate) struct Infer {
    #[command(flatten)]
    pub(crate) checkpoint: Option<ModelFlags>,
    /// Texts that the model was trained on: files, folders, globs or s3://, gs:// and az:// URLs
    #[arg(
        long,
        value_name = "INPUT",
        num_args = 1..,
        required_unless_present_any = ["texts", "records"],
        requires = "non_members",
        help_heading = "Two sets"
    )]
    pub(crate) members: Vec<PathBuf>,
    /// Texts that it was not trained on, of the same kind, time and source: what else tells the two sets apart makes the
    /// result void, and the report says so
    #[arg(
        long,
        alias = "nonmembers",
        value_name = "INPUT",
        num_args = 1..,
        required_unless_present_any = ["texts", "records"],
        requires = "members",
        help_heading = "Two sets"
    )]
    pub(crate) non_members: Vec<PathBuf>,
    /// Signals to compute, separated by commas. `one-pass`, the default, is all that one pass over each text gives (and one
    /// over it in lower case): loss, zlib, lowercase, window, min-k, min-k++, k-max, surp, accuracy, rank, log-rank, entropy;
    /// with --frequencies dc-pdd; with --reference reference-ratio, reference-difference. Passes of their own take recall and
    /// con-recall (three passes; texts that stand before the others are drawn from the sets and not scored), pac (five),
    /// neighbourhood (25), samia (ten samples of half a text), and gradient-norm and gradient-max (GPT-2 only). `all` is
    /// everything that can be computed
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "one-pass",
        value_parser = Wanted::from_str,
        conflicts_with = "texts",
        hide_default_value = true,
        help_heading = "Two sets"
    )]
    pub(crate) signals: Vec<Wanted>,
    /// Keep `records.jsonl` in the output: what the model said of each token, what other passes came to, and the scores that
    /// never saw the model. Takes some 24 bytes of memory a token, and twice that on disk
    #[arg(long, conflicts_with = "texts", help_heading = "Two sets")]
    pub(crate) keep_records: bool,
    /// The output of an earlier run with --keep-records, instead of a model and texts: the signals that need no more than
    /// records are computed anew, the others are as they were
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = [
            "model", "members", "non_members", "texts", "reference", "frequencies", "documents", "max_tokens", "batch",
            "scratch", "shard", "keep_records"
        ],
        help_heading = "Two sets"
    )]
    pub(crate) records: Option<PathBuf>,
    /// Texts of unknown membership, to be judged one by one: those that score above almost all of --calibrate are called
    /// members. `calls.jsonl` has a line for each, with its p-value and without its text; `audit --order` tries texts in the
    /// order of these
    #[arg(
        long,
        value_name = "INPUT",
        num_args = 1..,
        requires = "calibrate",
        conflicts_with_all = ["members", "non_members"],
        help_heading = "Texts to judge"
    )]
    pub(crate) texts: Vec<PathBuf>,
    /// Texts that the model was surely not trained on, of the same kind, time and source as those to be judged: they set the
    /// threshold and are used for nothing else. For a rate of 1% it takes 99 of them at least
    #[arg(
        long,
        value_name = "INPUT",
        num_args = 1..,
        requires = "texts",
        conflicts_with_all = ["members", "non_members"],
        help_heading = "Texts to judge"
    )]
    pub(crate) calibrate: Vec<PathBuf>,
    /// The one signal that judges. To try several and keep the best would undo the rate. Default is reference-difference
    /// with --reference, else loss
    #[arg(
        long,
        value_name = "SIGNAL",
        value_parser = signal,
        requires = "texts",
        conflicts_with_all = ["members", "non_members"],
        help_heading = "Texts to judge"
    )]
    pub(crate) by: Option<Signal>,
    /// A model that has not seen the members, for the ratio and the difference of the losses
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Option<String>,
    /// Texts of the same kind in which tokens are counted, for dc-pdd: a frequent token that is likely says little
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) frequencies: Vec<PathBuf>,
    /// Texts of each set, drawn by chance where there are more. Default is 1000, or all with --texts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Asking")]
    pub(crate) documents: Option<u32>,
    /// Tokens of a text that are read, from its first
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=1_000_000), help_heading = "Asking")]
    pub(crate) max_tokens: u32,
    /// False positive rates: shares of non-members that may be taken for members. Default is 0.1,0.01,0.001, or 0.01 with
    /// --texts, where there is but one
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = open_fraction, help_heading = "Asking")]
    pub(crate) fpr: Vec<f64>,
    /// Sequences computed at once; never changes a result. Default is 64, or as many as fit in a quarter of the free memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Asking")]
    pub(crate) batch: Option<u16>,
    #[command(flatten)]
    pub(crate) answering: Answering,
    /// Seed of all draws: of texts, shots, swapped words, neighbours and samples, of the folds and of the halves
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Asking")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// A signal, or several by one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What one pass gives, with the inputs that are there.
    OnePass,
    /// What can be computed.
    All,
    /// This one.
    One(Signal),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        match text {
            "one-pass" => Ok(Wanted::OnePass),
            "all" => Ok(Wanted::All),
            name => match Signal::of_name(name) {
                Some(signal) => Ok(Wanted::One(signal)),
                None => Err(format!("no such signal; choose one-pass, all, or among {}", names())),
            },
        }
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::of_name(text).ok_or_else(|| format!("no such signal; choose among {}", names()))
}

fn names() -> String {
    Signal::ALL.map(Signal::name).join(", ")
}

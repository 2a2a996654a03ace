//! Flags of the commands that train, plant and make corpora.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::values::{fraction, local, non_negative, open_fraction, positive};
use crate::args::{Output, Reading, RuntimeFlags};

/// The model that is trained and how.
#[derive(Debug, Args)]
pub(crate) struct RecipeFlags {
    /// Use this tokenizer.json; default is to train a byte-level BPE on the corpus
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Size of the vocabulary of a new tokenizer
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(257..=1_000_000), help_heading = "Model")]
    pub(crate) vocabulary: u32,
    /// Transformer blocks
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "Model")]
    pub(crate) layers: u32,
    /// Attention heads; must divide the width
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "Model")]
    pub(crate) heads: u32,
    /// Width of the residual stream
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Model")]
    pub(crate) width: u32,
    /// Tokens of context
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=1_000_000), help_heading = "Model")]
    pub(crate) context: u32,
    /// Passes over the corpus
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Training")]
    pub(crate) epochs: u32,
    /// Steps instead of epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000), help_heading = "Training")]
    pub(crate) steps: Option<u64>,
    /// Rows of context in a batch; with --epsilon or --noise, documents in a batch in the mean
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Training")]
    pub(crate) batch: u32,
    /// Highest learning rate, reached after the warm-up and lowered by a cosine
    #[arg(long, value_name = "RATE", default_value_t = 2e-3, value_parser = positive, help_heading = "Training")]
    pub(crate) learning_rate: f64,
    /// Steps of warm-up
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Training")]
    pub(crate) warmup: u32,
    /// AdamW's decoupled weight decay, on matrices only
    #[arg(long, value_name = "RATE", default_value_t = 0.1, value_parser = non_negative, help_heading = "Training")]
    pub(crate) weight_decay: f64,
    /// Dropout
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = fraction, help_heading = "Training")]
    pub(crate) dropout: f64,
    /// Largest norm of the gradient; longer ones are scaled down
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = positive, help_heading = "Training")]
    pub(crate) clip: f64,
}

/// `verbatim train`
#[derive(Debug, Args)]
pub(crate) struct Train {
    /// The corpus: files, folders, globs or s3://, gs:// and az:// URLs
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Continue from the last checkpoint of an interrupted run of the same command
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeFlags,
    /// Share of the documents kept out of training to measure the validation loss
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = fraction, help_heading = "Training")]
    pub(crate) validation: f64,
    /// Stop when the validation loss has not improved for this many epochs
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    pub(crate) patience: Option<u32>,
    /// Seed of the weights, the order of the data and dropout
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) private: Private,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Flags of a private training.
#[derive(Debug, Args)]
pub(crate) struct Private {
    /// Train privately (DP-SGD), with the least noise for which the corpus with and without any one document are this hard to
    /// tell apart: the gradient of each document is clipped and normal noise is added. A text that stands k times has k times
    /// this epsilon. Draws and noise follow from --seed: for a release, choose one that nobody can guess, and publish neither
    /// it nor training.json, which holds it
    #[arg(long, value_name = "EPSILON", group = "private", conflicts_with = "clip", value_parser = positive, help_heading = "Privacy")]
    pub(crate) epsilon: Option<f64>,
    /// Train privately with this much noise instead, as a multiple of the clipping norm; epsilon is then told. 0 is clipping
    /// alone, without any guarantee
    #[arg(long, value_name = "MULTIPLE", group = "private", conflicts_with = "clip", value_parser = non_negative, help_heading = "Privacy")]
    pub(crate) noise: Option<f64>,
    /// The delta of the guarantee; default is 1e-5, or the largest power of ten that is at most 1 / (10 x documents) where that
    /// is smaller
    #[arg(long, value_name = "DELTA", requires = "private", value_parser = open_fraction, help_heading = "Privacy")]
    pub(crate) delta: Option<f64>,
    /// Largest norm of the gradient of one document; longer ones are scaled down
    #[arg(long, value_name = "NORM", default_value_t = 1.0, requires = "private", value_parser = positive, help_heading = "Privacy")]
    pub(crate) clip_example: f64,
}

/// `verbatim shadow`
#[derive(Debug, Args)]
pub(crate) struct Shadow {
    #[command(subcommand)]
    pub(crate) command: ShadowCommand,
}

/// What `verbatim shadow` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ShadowCommand {
    /// Train models on halves of a corpus that are drawn by chance
    ///
    /// Every text of the corpus is seen by half of the models, drawn by the hash of the text, so that its copies go together.
    /// Take the recipe of the model in question, its tokenizer, and a corpus that holds the texts in question.
    ///
    /// DIR/shadow.json says how they were trained, DIR/split.jsonl which models saw which text (by hash), and DIR/model-NNN are
    /// checkpoints like those of `train`. An interrupted run keeps what is trained beside the output; `--resume` continues it
    /// and gives the same bytes.
    Train(Box<ShadowTrain>),
    /// Attack a model with shadow models, and measure what that finds
    ///
    /// Of each text the shadow models that saw it and those that did not say what its loss is like either way, and the model's
    /// own loss is held against both: LiRA (Carlini et al. 2022), the same on the losses of all tokens (Rossi et al. 2025), RMIA
    /// (Zarifzadeh et al. 2024), and a classifier (Shokri et al. 2017). Each is compared with the loss alone on the same texts.
    /// Without `--model`, one of the shadow models is the target, and the others are its shadows.
    Score(Box<ShadowScore>),
}

/// `verbatim shadow train`
#[derive(Debug, Args)]
pub(crate) struct ShadowTrain {
    /// The corpus: files, folders, globs or s3://, gs:// and az:// URLs
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Models; half of them see a text
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(crate) models: u16,
    /// Continue an interrupted run of the same command
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeFlags,
    /// Seed of the halves, and of the weights and the order of the data of each model
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// How models are asked about texts of known membership.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// Texts of each set, drawn by chance where there are more
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Asking")]
    pub(crate) documents: u32,
    /// Tokens of a text that are read, from its first
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=1_000_000), help_heading = "Asking")]
    pub(crate) max_tokens: u32,
    /// False positive rates: shares of non-members that may be taken for members
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "0.1,0.01,0.001", value_parser = open_fraction, help_heading = "Asking")]
    pub(crate) fpr: Vec<f64>,
    /// Sequences computed at once; never changes a result. Default is 64, or as many as fit in a quarter of the free memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Asking")]
    pub(crate) batch: Option<u16>,
    /// Folder in which the run keeps what the models have answered: after a kill or an interrupt, the same command goes on and
    /// gives the same bytes. It is removed when the run ends well
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Asking")]
    pub(crate) scratch: Option<PathBuf>,
    /// Seed of the draw of texts, of the folds, of the control's halves and of the resamples
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Asking")]
    pub(crate) seed: u64,
}

/// `verbatim shadow score`
#[derive(Debug, Args)]
pub(crate) struct ShadowScore {
    /// The folder that `verbatim shadow train` wrote
    #[arg(value_name = "SHADOWS")]
    pub(crate) shadows: PathBuf,
    /// The model in question: a folder in Hugging Face layout, a GGUF file, or a model on the hub. Default is one of the
    /// shadow models
    #[arg(long, value_name = "MODEL", requires_all = ["members", "non_members"])]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit on the hub; the commit is recorded
    #[arg(long, value_name = "REVISION", default_value = "main")]
    pub(crate) revision: String,
    /// Texts that the model was trained on
    #[arg(long, value_name = "INPUT", num_args = 1.., requires = "model")]
    pub(crate) members: Vec<PathBuf>,
    /// Texts that it was not trained on, of the same kind, time and source
    #[arg(long, alias = "nonmembers", value_name = "INPUT", num_args = 1.., requires = "model")]
    pub(crate) non_members: Vec<PathBuf>,
    /// Without a model of your own: the shadow model that is attacked
    #[arg(long, value_name = "NUMBER", default_value_t = 0, conflicts_with = "model")]
    pub(crate) target: u16,
    /// Without a model of your own: the corpus of the shadow models, which has the texts
    #[arg(long, value_name = "INPUT", num_args = 1.., conflicts_with = "model", required_unless_present = "model")]
    pub(crate) corpus: Vec<PathBuf>,
    /// Show the tokens of the texts that are given away most; default is their places alone
    #[arg(long)]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `verbatim plant`
#[derive(Debug, Args)]
pub(crate) struct Plant {
    /// The corpus to plant in: files, folders, globs or s3://, gs:// and az:// URLs
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// How often a canary is planted
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1,4,16,64")]
    pub(crate) copies: Vec<u32>,
    /// What canaries look like: random (tokens), sentence (natural), pii (shaped like personal data)
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "random,sentence,pii")]
    pub(crate) shapes: Vec<String>,
    /// How copies stand in the corpus: document (whole, the same bytes), near-copy (edited elsewhere), passage
    /// (inside otherwise different documents)
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "document,near-copy,passage")]
    pub(crate) placements: Vec<String>,
    /// Canaries for each shape, placement and number of copies
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) per_cell: u32,
    /// Canaries that are never planted, for comparison
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) controls: u32,
    /// Seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `verbatim synth`
#[derive(Debug, Args)]
pub(crate) struct Synth {
    /// File to write, JSON lines; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_parser = local())]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Documents
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub(crate) documents: u64,
    /// Seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
}

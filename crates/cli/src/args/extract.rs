//! Flags of the commands that ask models.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use verbatim_lm::{Device, Dtype, Kernel};

use crate::args::values::{local, probability};
use crate::args::{Answering, Output, Reading, RevealFlags};

/// Tokens drawn for each sample (Carlini et al. 2021, section 4.1); the context of the model bounds it.
pub(crate) const MAX_NEW_TOKENS: u32 = 256;
/// Likeliest tokens to draw from (Carlini et al. 2021, section 4.1).
pub(crate) const TOP_K: u32 = 40;
/// Tokens that must stand verbatim in one document (Nasr et al. 2023).
pub(crate) const MIN_MATCH: u32 = 50;
/// Texts that a canary is compared with: a rank among 256 shows up to 8 bits of exposure.
const EXPOSURE_REFERENCES: u32 = 255;
/// Tokens of a prompt from a corpus (Nasr et al. 2023).
pub(crate) const PROMPT_TOKENS: u32 = 5;
/// `verbatim demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for the report and everything the run made
    #[arg(short, long, value_name = "DIR", default_value = "verbatim-demo", value_parser = local())]
    pub(crate) output: PathBuf,
    /// Train both checkpoints anew instead of using the ones in the binary (a minute or two)
    #[arg(long)]
    pub(crate) rebuild_models: bool,
    /// Samples drawn from each checkpoint by each strategy
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) samples: u64,
    /// Write found secrets in the clear (they are invented); default is redacted, as in every report
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// `verbatim extract`
#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// A folder in Hugging Face layout, a GGUF file, or a model on the hub such as openai-community/gpt2
    #[arg(long, value_name = "MODEL", required_unless_present = "rerank")]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit on the hub; the commit is recorded
    #[arg(long, value_name = "REVISION", default_value = "main")]
    pub(crate) revision: String,
    /// The corpus in which findings are proven: files, folders, globs or s3://, gs:// and az:// URLs, or the folder of an
    /// index of it (`index build`), read as it was for that; the verdicts are the same, without a pass over the corpus
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) corpus: Vec<PathBuf>,
    /// A ledger of planted canaries to prompt for, as `verbatim plant` writes it
    #[arg(long, value_name = "LEDGER")]
    pub(crate) canaries: Option<PathBuf>,
    /// Texts that each canary is compared with, for its exposure (Carlini et al. 2019); drawn with the seed from the format
    /// that its ledger's secrets have. 0 leaves exposure out
    #[arg(long, value_name = "N", default_value_t = EXPOSURE_REFERENCES, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) exposure_references: u32,
    /// A smaller model of the same tokenizer, for the `small` score
    #[arg(long, value_name = "MODEL")]
    pub(crate) small: Option<String>,
    /// A medium model of the same tokenizer, for the `medium` score
    #[arg(long, value_name = "MODEL")]
    pub(crate) medium: Option<String>,
    /// Rank the samples of an earlier run again; needs no model
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "model", "revision", "small", "medium", "canaries", "strategies", "samples", "max_new_tokens", "top_k", "top_p",
        "prompts", "prompts_from", "prompt_tokens", "prompt_set", "batch", "seed", "device", "dtype", "kernel", "scratch",
        "shard", "exposure_references",
    ])]
    pub(crate) rerank: Option<PathBuf>,
    /// Strategies: top-n (from the end-of-text token), decaying-temperature, conditioned (on prompts)
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "top-n,decaying-temperature,conditioned",
        help_heading = "Drawing"
    )]
    pub(crate) strategies: Vec<String>,
    /// Samples for each strategy
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000_000), help_heading = "Drawing")]
    pub(crate) samples: u64,
    /// Tokens drawn for each sample; the model's context bounds it (Carlini et al. 2021: 256)
    #[arg(long, value_name = "N", default_value_t = MAX_NEW_TOKENS, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Drawing")]
    pub(crate) max_new_tokens: u32,
    /// Draw from the k likeliest tokens (Carlini et al. 2021: 40)
    #[arg(long, value_name = "K", default_value_t = TOP_K, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Drawing")]
    pub(crate) top_k: u32,
    /// Draw from the likeliest tokens that make up this share of the probability
    #[arg(long, value_name = "P", value_parser = probability, help_heading = "Drawing")]
    pub(crate) top_p: Option<f32>,
    /// The built-in prompts of the conditioned strategy: internet (beginnings of texts) or divergence (one word again and
    /// again, after Nasr et al. 2023; the report says where samples leave off)
    #[arg(long, value_name = "NAME", value_enum, default_value_t = PromptSet::Internet, help_heading = "Drawing")]
    pub(crate) prompt_set: PromptSet,
    /// One prompt a line for the conditioned strategy instead of the built-in set
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_set", help_heading = "Drawing")]
    pub(crate) prompts: Option<PathBuf>,
    /// Prompts for the conditioned strategy from anywhere in this corpus, another for each sample: files, folders, globs,
    /// URLs, or the folder of an index
    #[arg(long, value_name = "INPUT", num_args = 1.., conflicts_with_all = ["prompts", "prompt_set"], help_heading = "Drawing")]
    pub(crate) prompts_from: Vec<PathBuf>,
    /// Tokens of each prompt of --prompts-from (Nasr et al. 2023: 5)
    #[arg(long, value_name = "N", default_value_t = PROMPT_TOKENS, value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "prompts_from", help_heading = "Drawing")]
    pub(crate) prompt_tokens: u32,
    /// Sequences computed at once; never changes a sample. Default is 64, or as many as fit in a quarter of the free
    /// memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Drawing")]
    pub(crate) batch: Option<u16>,
    #[command(flatten)]
    pub(crate) answering: Answering,
    /// Seed; sample i depends on it, the strategy and i only
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Drawing")]
    pub(crate) seed: u64,
    /// Candidates kept for each strategy and score (Carlini et al. 2021: 100)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ranking")]
    pub(crate) top: u32,
    /// Candidates are chosen among this many of the best, fewer the further down (Carlini et al. 2021: 1000). Default is
    /// --top: the best
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ranking")]
    pub(crate) pool: Option<u32>,
    /// What is looked up in the corpus: candidates, or all samples too (Nasr et al. 2023), with how much of them is
    /// memorized and how much more there must be
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Verify::Candidates, requires_if("all", "corpus"), help_heading = "Ranking")]
    pub(crate) verify: Verify,
    /// Tokens that must stand verbatim in one document for a sample to count as memorized (Nasr et al. 2023: 50)
    #[arg(long, value_name = "N", default_value_t = MIN_MATCH, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ranking")]
    pub(crate) min_match: u32,
    #[command(flatten)]
    pub(crate) redaction: RevealFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Prompts in the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PromptSet {
    Internet,
    Divergence,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    Candidates,
    All,
}

impl Verify {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verify::Candidates => "candidates",
            Verify::All => "all",
        }
    }
}

/// What models run on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct RuntimeFlags {
    /// cpu, or cuda:N for GPU number N (in builds with the feature `cuda`)
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = Device::from_str)]
    pub(crate) device: Device,
    /// How weights are stored in memory: f32, bf16 (half the memory, faster for small batches, 8 bits of precision) or
    /// f16 (GPU only). On the CPU everything is computed in f32
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = Dtype::from_str)]
    pub(crate) dtype: Dtype,
    /// The CPU's instructions: auto, avx512, avx2 (the same bytes as avx512) or portable (slow; the same bytes on every
    /// machine)
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = Kernel::from_str)]
    pub(crate) kernel: Kernel,
}

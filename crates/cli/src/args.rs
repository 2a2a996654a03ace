//! Every flag of the program, declared. Nothing is resolved or done here; defaults stand once, beside their flag.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Tokens drawn for each sample (Carlini et al. 2021, section 4.1); the context of the model bounds it.
pub(crate) const MAX_NEW_TOKENS: u32 = 256;
/// Likeliest tokens to draw from (Carlini et al. 2021, section 4.1).
pub(crate) const TOP_K: u32 = 40;
/// Tokens that must stand verbatim in one document (Nasr et al. 2023).
pub(crate) const MIN_MATCH: u32 = 50;
/// Sequences computed at once.
pub(crate) const BATCH: u16 = 16;

const EXIT_CODES: &str = "Exit codes:
  0 done · 2 usage · 65 bad data · 66 input missing · 70 internal error · 73 cannot create output
  74 I/O error or input changed while it was read · 75 try again (network, lock) · 77 refused (pickle)
  130/143 interrupted";

/// Find what a corpus repeats, and what a model trained on it recites.
///
/// Language models recite what their training data repeats. verbatim removes the repeats from a corpus
/// (`dedup`), draws text from a model and proves in the corpus which of it was recited (`extract`), and trains
/// small models on corpora with planted secrets to show what a remedy is worth (`plant`, `train`).
/// `verbatim demo` tells the whole story on an embedded corpus.
#[derive(Debug, Parser)]
#[command(name = "verbatim", version, after_help = EXIT_CODES, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Worker threads; the default is one per core. The number never changes a byte of the output
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// How progress is told on standard error: bars on a terminal, JSON lines, or not at all
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto)]
    pub(crate) progress: ProgressStyle,
    /// Print the report as JSON on standard output instead of the summary for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A bar for each stage when standard error is a terminal, else nothing.
    Auto,
    /// One JSON object a line: stage, done, total, unit.
    Json,
    /// Nothing.
    None,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story on the embedded corpus and models: dedup, audit, compare
    Demo(Demo),
    /// Find duplicates and write the corpus without them
    ///
    /// Duplicates are found in two stages, and what goes is written in a plan.
    ///
    /// Exact: documents whose normalised text is the same, byte for byte (a 128-bit hash finds them, a comparison
    /// confirms). MinHash: documents that share most of their n-grams. Signatures are cut into bands of rows, and two
    /// documents become a candidate pair when one band agrees. The chance of that is 1-(1-s^rows)^bands for a true
    /// similarity s: an S-curve, low for unlike documents and close to 1 for alike ones. verbatim chooses bands and
    /// rows so that the curve reaches `--recall` at `--threshold`, and then compares the n-gram sets of every
    /// candidate pair: only pairs whose exact Jaccard similarity reaches the threshold count. The curve therefore
    /// costs time when it lets unlike pairs through, but never a document.
    ///
    /// Every removed document is similar to the document that is kept in its place; chains never remove more.
    Dedup(Box<Dedup>),
    /// Carry out a plan that `dedup --dry-run` wrote
    Apply(Apply),
    /// Draw text from a model, rank it, and prove in the corpus what was recited
    ///
    /// Draws samples by the three strategies of Carlini et al. 2021, ranks them by six scores, and looks every
    /// candidate up in the corpus. Only what stands there verbatim is called memorized; without `--corpus` every
    /// finding is "unverified".
    ///
    /// Reports and the terminal show findings redacted unless `--reveal`. The samples themselves stand in the clear in
    /// DIR/samples.jsonl, and DIR/key holds the key of the redaction: the folder is readable by its owner only.
    Extract(Box<Extract>),
    /// Train a GPT-2 on a corpus
    ///
    /// The output is a folder in Hugging Face layout: config.json, model.safetensors, tokenizer.json, and
    /// training.json with the recipe, the losses and the fingerprint of the corpus. An interrupted run keeps its
    /// state beside the output; `--resume` continues it and gives the same bytes as a run that was not interrupted.
    Train(Box<Train>),
    /// Plant canaries in a corpus, and write the ledger of what was planted how often
    ///
    /// Writes DIR/corpus.jsonl, in which every original record stands as it was, and DIR/_verbatim/ledger.jsonl,
    /// which `verbatim extract --canaries` reads. A canary is a secret and the text that leads to it.
    Plant(Plant),
    /// Write a synthetic corpus of fictional documents with a seeded generator
    Synth(Synth),
}

/// Where a command writes.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Folder to write; it appears whole or not at all
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// How a corpus is read.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// The field that holds a document's text; nested fields as `meta.body`
    #[arg(long, value_name = "PATH", default_value = "text", help_heading = "Reading")]
    pub(crate) text_field: String,
    /// The field that holds a document's name for lists and reports; without it, `file:line`
    #[arg(long, value_name = "PATH", default_value = "id", help_heading = "Reading")]
    pub(crate) id_field: String,
    /// Whether a .txt file is one document, or each of its lines is one
    #[arg(long, value_enum, default_value_t = TextUnit::File, help_heading = "Reading")]
    pub(crate) text_unit: TextUnit,
    /// Stop at a record that cannot be read, or leave it out and count it (`dedup` lists what it left out in
    /// `_verbatim/rejects.jsonl`)
    #[arg(long, value_enum, default_value_t = OnBad::Error, help_heading = "Reading")]
    pub(crate) on_bad: OnBad,
    /// With `--on-bad skip`, the bad records above which the run stops all the same: a share of all records such as
    /// 0.01, or, written without a point, their number
    #[arg(long, value_name = "SHARE|N", default_value = "0.01", value_parser = max_bad, help_heading = "Reading")]
    pub(crate) max_bad: MaxBad,
    /// What half of a surrogate pair in a JSON text (a lone `\\ud800`) is: a bad record, or U+FFFD in the text. The
    /// record is written back with its own bytes either way
    #[arg(long, value_enum, default_value_t = Surrogates::Error, help_heading = "Reading")]
    pub(crate) surrogates: Surrogates,
    /// Largest document, in bytes; a larger one is a bad record (suffixes KiB, MiB, GiB)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size, help_heading = "Reading")]
    pub(crate) max_doc_bytes: u64,
    /// Stop when a compressed file unpacks to more than this
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Reading")]
    pub(crate) max_decompressed: Option<u64>,
    /// Largest window of a zstd file, as a power of two: files of `zstd --long=N` need N, and 2^N bytes of memory
    #[arg(long, value_name = "N", default_value_t = 27, value_parser = clap::value_parser!(u32).range(10..=31), help_heading = "Reading")]
    pub(crate) zstd_window_log: u32,
    /// Follow links within folders. A link that leads back to a folder around it is passed over with a warning
    #[arg(long, help_heading = "Reading")]
    pub(crate) follow: bool,
    /// Read a file again that was an input before under another name (a hard link, or a link that is followed);
    /// default is to read it once and warn
    #[arg(long, help_heading = "Reading")]
    pub(crate) allow_repeat: bool,
    /// Fail where the input holds no documents
    #[arg(long, help_heading = "Reading")]
    pub(crate) require_docs: bool,
    /// Read files into memory instead of mapping them: for file systems that cannot map, and for inputs that another
    /// program may cut short. Takes as much memory as the input has bytes
    #[arg(long, help_heading = "Reading")]
    pub(crate) no_mmap: bool,
}

/// How many bad records are left out before the run stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MaxBad {
    /// A share of all records.
    Share(f64),
    /// A number.
    Records(u64),
}

/// What half of a surrogate pair in a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Surrogates {
    /// A bad record.
    Error,
    /// U+FFFD in the text.
    Replace,
}

/// What a .txt file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextUnit {
    /// One document.
    File,
    /// One document a line.
    Line,
}

/// What to do with a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBad {
    /// Stop, naming file, line and byte.
    Error,
    /// Set it aside and count it.
    Skip,
}

/// `verbatim demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for the report and everything the run made
    #[arg(short, long, value_name = "DIR", default_value = "verbatim-demo")]
    pub(crate) output: PathBuf,
    /// Train both checkpoints anew instead of using the ones in the binary (about a quarter of an hour)
    #[arg(long)]
    pub(crate) rebuild_models: bool,
    /// Samples drawn from each checkpoint by each strategy
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) samples: u64,
    /// Write found secrets in the clear (they are invented); default is redacted, as in every report
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// `verbatim dedup`
#[derive(Debug, Args)]
pub(crate) struct Dedup {
    /// Files, folders or globs: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt; `-` reads JSON lines from standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Folder for the clean corpus, which appears whole or not at all; `-` writes JSON lines to standard output
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Write the plan and the report only; `verbatim apply` carries it out
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Run the exact stage (without `--exact` and `--minhash`, both run)
    #[arg(long, help_heading = "Stages")]
    pub(crate) exact: bool,
    /// Run the MinHash stage
    #[arg(long, help_heading = "Stages")]
    pub(crate) minhash: bool,
    /// Normalisation steps before comparing, in order: nfc nfkc casefold whitespace punctuation digits diacritics;
    /// `none` for no step. The exact stage compares normalised texts; output is never normalised
    #[arg(long, value_name = "STEPS", default_value = "nfc,casefold,whitespace", help_heading = "Stages")]
    pub(crate) normalize: String,
    /// Jaccard similarity of n-gram sets from which two documents are near-duplicates (Lee et al. 2021)
    #[arg(long, value_name = "SIMILARITY", default_value_t = 0.8, value_parser = threshold, help_heading = "MinHash")]
    pub(crate) threshold: f64,
    /// Chance that a pair right at the threshold is found; pairs above it are found with a higher one
    #[arg(long, value_name = "CHANCE", default_value_t = 0.99, value_parser = open_fraction, help_heading = "MinHash")]
    pub(crate) recall: f64,
    /// What an n-gram is made of; `token` needs `--tokenizer`
    #[arg(long, value_enum, default_value_t = Unit::Word, help_heading = "MinHash")]
    pub(crate) unit: Unit,
    /// Units in an n-gram (5 words: FineWeb, Lee et al. 2021)
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "MinHash")]
    pub(crate) ngram: u16,
    /// tokenizer.json for token n-grams
    #[arg(long, value_name = "FILE", help_heading = "MinHash")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Set bands yourself; the predicted recall is then whatever it is, and is printed
    #[arg(long, value_name = "N", requires = "rows", value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "MinHash")]
    pub(crate) bands: Option<u16>,
    /// Rows in a band, with `--bands`
    #[arg(long, value_name = "N", requires = "bands", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "MinHash")]
    pub(crate) rows: Option<u16>,
    /// Which document of a group stays: first, longest, shortest, field:NAME:max, field:NAME:min, random:SEED
    #[arg(long, value_name = "POLICY", default_value = "first", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) keep: String,
    /// Seed of the hash functions
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// What an n-gram is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Words by Unicode's rules.
    Word,
    /// Unicode scalar values.
    Char,
    /// Bytes.
    Byte,
    /// Tokens of `--tokenizer`.
    Token,
}

/// `verbatim apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A plan.json; it names the corpus it was made for and is refused for any other
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,
    /// Where the corpus is now, if it was moved since the plan was made; its files must have the same names
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `verbatim extract`
#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// A folder in Hugging Face layout, or a model on the hub such as openai-community/gpt2
    #[arg(long, value_name = "MODEL", required_unless_present = "rerank")]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit on the hub; the commit is recorded
    #[arg(long, value_name = "REVISION", default_value = "main")]
    pub(crate) revision: String,
    /// The corpus in which findings are proven: files, folders or globs
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) corpus: Vec<PathBuf>,
    /// A ledger of planted canaries to prompt for, as `verbatim plant` writes it
    #[arg(long, value_name = "LEDGER")]
    pub(crate) canaries: Option<PathBuf>,
    /// A smaller model of the same tokenizer, for the `small` score
    #[arg(long, value_name = "MODEL")]
    pub(crate) small: Option<String>,
    /// A medium model of the same tokenizer, for the `medium` score
    #[arg(long, value_name = "MODEL")]
    pub(crate) medium: Option<String>,
    /// Rank the samples of an earlier run again; needs no model
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "model", "revision", "small", "medium", "canaries", "strategies", "samples", "max_new_tokens", "top_k", "top_p",
        "prompts", "batch", "seed",
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
    /// One prompt a line for the conditioned strategy; default is the built-in set
    #[arg(long, value_name = "FILE", help_heading = "Drawing")]
    pub(crate) prompts: Option<PathBuf>,
    /// Sequences computed at once; never changes a sample
    #[arg(long, value_name = "N", default_value_t = BATCH, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Drawing")]
    pub(crate) batch: u16,
    /// Seed; sample i depends on it, the strategy and i only
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Drawing")]
    pub(crate) seed: u64,
    /// Candidates kept for each strategy and score (Carlini et al. 2021: 100)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ranking")]
    pub(crate) top: u32,
    /// Tokens that must stand verbatim in one document for a sample to count as memorized (Nasr et al. 2023: 50)
    #[arg(long, value_name = "N", default_value_t = MIN_MATCH, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ranking")]
    pub(crate) min_match: u32,
    /// Write findings in the clear, readable by you only; default is redacted
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Key for the hashes that name redacted findings: DIR/key of an earlier run makes the two comparable.
    /// Default is a new one
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `verbatim train`
#[derive(Debug, Args)]
pub(crate) struct Train {
    /// The corpus: files, folders or globs
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Continue from the last checkpoint of an interrupted run of the same command
    #[arg(long)]
    pub(crate) resume: bool,
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
    /// Rows of context in a batch
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
    pub(crate) reading: Reading,
}

/// `verbatim plant`
#[derive(Debug, Args)]
pub(crate) struct Plant {
    /// The corpus to plant in: files, folders or globs
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
    #[arg(short, long, value_name = "FILE")]
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

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().map_err(|_| "not a number".to_owned())
}

fn within(text: &str, range: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    let value = number(text)?;
    if holds(value) { Ok(value) } else { Err(format!("must be {range}")) }
}

fn fraction(text: &str) -> Result<f64, String> {
    within(text, "from 0 to below 1", |value| (0.0..1.0).contains(&value))
}

fn max_bad(text: &str) -> Result<MaxBad, String> {
    match text.parse() {
        Ok(n) => Ok(MaxBad::Records(n)),
        Err(_) => fraction(text).map(MaxBad::Share),
    }
}

fn open_fraction(text: &str) -> Result<f64, String> {
    within(text, "above 0 and below 1", |value| value > 0.0 && value < 1.0)
}

fn threshold(text: &str) -> Result<f64, String> {
    within(text, "above 0 and at most 1", |value| value > 0.0 && value <= 1.0)
}

fn positive(text: &str) -> Result<f64, String> {
    within(text, "above 0", |value| value > 0.0 && value.is_finite())
}

fn non_negative(text: &str) -> Result<f64, String> {
    within(text, "0 or above", |value| value >= 0.0 && value.is_finite())
}

fn probability(text: &str) -> Result<f32, String> {
    threshold(text).map(|value| value as f32)
}

/// A number of bytes with an optional binary suffix.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(suffix, shift)| text.strip_suffix(suffix).map(|digits| (digits, *shift)))
        .unwrap_or((text, 0));
    let count: u64 = digits.trim().parse().map_err(|_| "not a size; write 4096, 64MiB or 2GiB".to_owned())?;
    match count.checked_mul(1 << shift) {
        Some(0) => Err("must be above 0".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_take_binary_suffixes_and_refuse_nonsense() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for wrong in ["5Q", "", "-1", "0", "99999999999TiB", "1.5MiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_refuse_what_is_not_a_number_in_them() {
        for wrong in ["0", "-1", "1.01", "NaN", "x"] {
            assert!(threshold(wrong).is_err(), "{wrong}");
        }
        assert_eq!(threshold("1"), Ok(1.0));
        assert_eq!(max_bad("1"), Ok(MaxBad::Records(1)));
        assert_eq!(max_bad("0.5"), Ok(MaxBad::Share(0.5)));
        for wrong in ["-1", "1.0", "1.5", "NaN", ""] {
            assert!(max_bad(wrong).is_err(), "{wrong}");
        }
        assert!(positive("inf").is_err());
    }
}

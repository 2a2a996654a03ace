//! Flags of the commands that make and ask indexes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::values::{local, size};
use crate::args::{Matching, Output, Reading};

/// `verbatim index`
#[derive(Debug, Args)]
pub(crate) struct Index {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,
}

/// What can be done with an index.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Index the substrings of a corpus: where any string of at least `--min-length` bytes or tokens stands
    ///
    /// The index holds a sample of the places of the corpus, chosen so that every run of that length has one
    /// (minimizers). What it proposes is compared with the texts, so that answers are exact. Texts are not copied: the
    /// corpus must stay where it is and as it is, and another one is refused. An index takes a third of the
    /// corpus at 100 bytes, a sixth at 200, half of that at twice the length, and 8 bytes for each document.
    Build(Box<IndexBuild>),
    /// Join indexes of parts of a corpus into one of the whole
    ///
    /// The same bytes as an index of all their inputs, in this order. No text is sampled again, but all are read once, to
    /// see that they are what they were.
    Merge(IndexMerge),
    /// Check every byte of an index, and that its corpus is still what it was
    Verify(IndexVerify),
    /// Count strings in a corpus: occurrences, and the documents that hold them
    ///
    /// Texts are compared byte for byte, without normalisation; occurrences may overlap, and none reaches from one
    /// document into the next. Strings shorter than the index finds are looked for in the corpus itself; the output says
    /// which of them were. One line for each string, in their order; `--json` gives a JSON object a line.
    Count(IndexCount),
    /// Find the places of strings in a corpus
    ///
    /// As `count`, with the first places of each string in the order of the corpus: the document, and where in its text
    /// the string stands, in bytes and in characters.
    Locate(IndexLocate),
    /// Note the signatures of a corpus, for `dedup --against`
    ///
    /// Hashes of texts and bands of MinHash signatures: 8 bytes of key and 8 of place each. Later runs then need not read
    /// the whole corpus again to find copies of it, only to confirm them: its files must stay where they are and as they
    /// are. The flags say what counts as a copy, and a run against the index must have the same.
    Signatures(Box<IndexSignatures>),
}

/// `verbatim index build`
#[derive(Debug, Args)]
pub(crate) struct IndexBuild {
    /// Files, folders or globs, as for `dedup`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// What strings are made of. An index of tokens finds runs of the tokens that a text has as a whole, and holds the
    /// tokens of all texts, four bytes each; its strings are tokenized alone, so their ends may be cut otherwise than
    /// inside a text
    #[arg(long, value_enum, default_value_t = StringUnit::Bytes)]
    pub(crate) unit: StringUnit,
    /// The tokenizer.json of `--unit tokens`; the index keeps a copy
    #[arg(long, value_name = "FILE", required_if_eq("unit", "tokens"))]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Bytes or tokens of the shortest strings that the index finds. Fifty tokens of English are some 200 bytes
    ///
    /// [default: 100 bytes, 50 tokens]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    pub(crate) min_length: Option<u64>,
    /// An index of other documents that the new one is to hold as well, before those of the inputs
    #[arg(long, value_name = "INDEX")]
    pub(crate) add_to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) room: IndexRoom,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// What the strings of an index are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StringUnit {
    /// Bytes.
    Bytes,
    /// Tokens of `--tokenizer`.
    Tokens,
}

/// What making an index may take.
#[derive(Debug, Args)]
pub(crate) struct IndexRoom {
    /// Memory for what is sorted; what does not fit is sorted on disk
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size, help_heading = "Resources")]
    pub(crate) memory: u64,
    /// Folder for what does not fit in memory. The run notes there how far it is: after a kill, the same command goes on
    /// (but for tokens, which are made anew) and gives the same bytes. It is removed when the run ends well
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Resources")]
    pub(crate) scratch: Option<PathBuf>,
}

/// `verbatim index merge`
#[derive(Debug, Args)]
pub(crate) struct IndexMerge {
    /// Folders that `index build` or `index merge` wrote, with the same `--min-length`
    #[arg(required = true, num_args = 2.., value_name = "INDEX")]
    pub(crate) indexes: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Memory for what is sorted; what does not fit is sorted on disk beside the output
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size, help_heading = "Resources")]
    pub(crate) memory: u64,
}

/// `verbatim index verify`
#[derive(Debug, Args)]
pub(crate) struct IndexVerify {
    /// A folder that `index build` or `index merge` wrote
    #[arg(value_name = "INDEX")]
    pub(crate) index: PathBuf,
}

/// What to look for, and with what.
#[derive(Debug, Args)]
pub(crate) struct IndexQueries {
    /// A folder that `index build` or `index merge` wrote
    #[arg(value_name = "INDEX")]
    pub(crate) index: PathBuf,
    /// Strings to look for
    #[arg(value_name = "TEXT", required_unless_present = "queries")]
    pub(crate) texts: Vec<String>,
    /// Files of strings to look for, each named by its id or line in the output: .jsonl (also compressed), .parquet and
    /// .arrow with a field for the string, .txt with one a line; `-` reads JSON lines from standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "texts")]
    pub(crate) queries: Vec<PathBuf>,
    /// The field of `--queries` that holds the string
    #[arg(long, value_name = "PATH", default_value = "text")]
    pub(crate) text_field: String,
    /// The field of `--queries` that names the string
    #[arg(long, value_name = "PATH", default_value = "id")]
    pub(crate) id_field: String,
    /// What finds the strings; all give the same answers
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub(crate) engine: Engine,
    /// Memory that `--engine suffix` may take, five bytes for each byte of text (nine from 2 GiB on)
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size, help_heading = "Resources")]
    pub(crate) memory: u64,
}

/// What finds strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The index where the string is long enough, and else a scan.
    Auto,
    /// The index; a string too short for it is an error.
    Index,
    /// One pass over the corpus for many strings.
    Scan,
    /// A suffix array in memory: for many short strings in a corpus that fits.
    Suffix,
}

/// `verbatim index count`
#[derive(Debug, Args)]
pub(crate) struct IndexCount {
    #[command(flatten)]
    pub(crate) queries: IndexQueries,
}

/// `verbatim index locate`
#[derive(Debug, Args)]
pub(crate) struct IndexLocate {
    #[command(flatten)]
    pub(crate) queries: IndexQueries,
    /// Places told of each string
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Characters of the document to show on either side of each place; none are shown without it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) context: u32,
}

/// `verbatim index signatures`
#[derive(Debug, Args)]
pub(crate) struct IndexSignatures {
    /// Files, folders or globs, as for `dedup`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) matching: Matching,
    /// Memory for what is sorted; what does not fit is sorted on disk beside the output
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size, help_heading = "Resources")]
    pub(crate) memory: u64,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

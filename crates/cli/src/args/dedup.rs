//! Flags of the commands that find copies and carry plans out.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use crate::args::values::{local, open_fraction, run_length, size, threshold};
use crate::args::{Emitting, Reading, SourceGuard, Staging};

/// `verbatim dedup`
#[derive(Debug, Args)]
pub(crate) struct Dedup {
    /// Files, folders or globs: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow, .txt; `-` reads JSON lines from
    /// standard input. All three can be in an object store, s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY, where
    /// the program was built with the feature `object-stores`; credentials come from AWS_*, GOOGLE_* and AZURE_*
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Folder for the clean corpus, which appears whole or not at all; `-` writes JSON lines to standard output. In an object
    /// store, s3://BUCKET/PREFIX, it is built in TMPDIR and then uploaded, _verbatim/report.json last: where that is, all is there
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Files or folders with documents that the inputs are compared with as well, or an index of such: what is a copy of one of these goes, and
    /// these stay as they are (A - B; a new part of a corpus against the parts before it). They are read in the same way
    /// as the inputs, are no part of the output, and are preferred whatever `--keep` says
    #[arg(long, value_name = "INPUT")]
    pub(crate) against: Vec<PathBuf>,
    /// Compare the inputs with `--against` only, not with one another
    #[arg(long, requires = "against")]
    pub(crate) only_against: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Write the plan and the report only; `verbatim apply` carries it out
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What becomes of documents whose text is empty or white space. They are nobody's copies, and are counted
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = Empty::Keep, help_heading = "Stages")]
    pub(crate) empty: Empty,
    #[command(flatten)]
    pub(crate) matching: Matching,
    /// Run the stage of all pairs: as MinHash, but without a sketch, so that no pair at the threshold is missed. It reads
    /// the texts twice and takes longer
    #[arg(long, conflicts_with_all = ["minhash", "preset"], help_heading = "Stages")]
    pub(crate) all_pairs: bool,
    /// With `--all-pairs`, compare every document with every one that is kept instead of those that share rare n-grams:
    /// the oracle that the other ways are measured against, for some ten thousand documents
    #[arg(long, requires = "all_pairs", help_heading = "Stages")]
    pub(crate) brute_force: bool,
    /// What similarity means; `containment` needs `--all-pairs`
    #[arg(long, value_enum, value_name = "MEASURE", default_value_t = Measure::Jaccard, help_heading = "Near copies")]
    pub(crate) similarity: Measure,
    /// Which near copies of a kept document go
    #[arg(long, value_enum, value_name = "RULE", default_value_t = Cluster::Star, help_heading = "Near copies")]
    pub(crate) cluster: Cluster,
    /// Near copies must be as similar as this in their sequences of units too: 1 - edits / units of the longer one. 0.8
    /// with Jaccard 0.8 is the rule of Lee et al. 2021; texts with the same n-grams in another order then stay
    #[arg(long, value_name = "SIMILARITY", value_parser = threshold, help_heading = "Near copies")]
    pub(crate) edit_similarity: Option<f64>,
    /// Run the stage of repeated lines, on lines or on paragraphs (what stands between blank lines)
    #[arg(long, value_enum, value_name = "UNIT", help_heading = "Lines")]
    pub(crate) lines: Option<LineUnit>,
    /// Shortest line that is cut, in bytes after normalisation. What repeats by chance is short: in 185 classic books,
    /// 20% of the lines under 20 bytes stand in another book too ("Yes."), 0.4% of those from 20 to 39, and 0.004%
    /// of longer ones. CCNet and, by default, Dolma set no such limit
    #[arg(long, value_name = "N", default_value_t = 40, requires = "lines", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Lines")]
    pub(crate) min_line_bytes: u64,
    /// How often a line must stand in the corpus to be cut, the copy that stays included. A larger number takes the
    /// notices and menus of web pages, and leaves what is quoted once or twice
    #[arg(long, value_name = "N", default_value_t = 2, requires = "lines", value_parser = clap::value_parser!(u64).range(2..), help_heading = "Lines")]
    pub(crate) min_count: u64,
    /// Run the stage of repeated passages: runs of at least so many bytes (200b) or tokens (50tok, with `--tokenizer`)
    /// that stand more than once, wherever they stand, are cut but for one copy. Lee et al. 2021 take 50 tokens, which are
    /// about 200 bytes of English
    #[arg(long, value_name = "LENGTH", value_parser = run_length, conflicts_with = "lines", help_heading = "Passages")]
    pub(crate) substring: Option<RunLength>,
    /// How often a passage must stand in the corpus to be cut, the copy that stays included
    #[arg(long, value_name = "N", default_value_t = 2, requires = "substring", value_parser = clap::value_parser!(u64).range(2..), help_heading = "Passages")]
    pub(crate) min_repeat: u64,
    /// Cut the first copy too, so that none stays, as Lee et al. 2021 do
    #[arg(long, requires = "substring", conflicts_with = "only_against", help_heading = "Passages")]
    pub(crate) strike_all: bool,
    /// Where cuts may begin and end: a passage is cut from the first such place in it to the last
    #[arg(long, value_enum, value_name = "PLACES", default_value_t = Snap::Char, requires = "substring", help_heading = "Passages")]
    pub(crate) snap: Snap,
    /// Documents that are shortened to fewer bytes of text than this go as a whole; those of white space always do.
    /// Passages of which they had the only copy then stay in the next document that has them
    #[arg(long, value_name = "N", default_value_t = 1, requires = "substring", help_heading = "Passages")]
    pub(crate) min_left_bytes: u64,
    /// Search what is left again, until no passage repeats: what stood before and after a cut is joined, and may stand
    /// elsewhere so. Each round takes as long as the first
    #[arg(long, requires = "substring", help_heading = "Passages")]
    pub(crate) until_clean: bool,
    /// Which document of a group stays, and which of repeated lines and passages: first, last, longest, shortest,
    /// field:NAME:max, field:NAME:min, source:NAME,NAME (the sources of `--source-field`, or folders, the most preferred
    /// first; those not named come last), random:SEED; with `none` the whole group goes
    #[arg(long, value_name = "POLICY", default_value = "first", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) keep: String,
    /// Memory for the search (suffixes MiB, GiB); what does not fit is sorted on disk. Mapped files are not counted: the
    /// system takes their memory back when it needs to. Some 30 MiB for the program, 16 bytes for each document, 40 for
    /// each that goes, 120 for each stretch that repeats another, and three times the longest document are taken in any
    /// case
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size, help_heading = "Resources")]
    pub(crate) memory: u64,
    /// Folder for what does not fit in memory, and for temporary files such as unpacked inputs. The run notes there how
    /// far it is: after a kill, the same command goes on and gives the same bytes; other flags or another input are refused. It is removed when the run ends well. Without
    /// it, files without a name beside the output are used and nothing can be gone on with
    #[arg(long, value_name = "DIR", value_parser = local(), help_heading = "Resources")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) emitting: Emitting,
    #[command(flatten)]
    pub(crate) guard: SourceGuard,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) staging: Staging,
}

/// What counts as a copy.
#[derive(Debug, Args)]
pub(crate) struct Matching {
    /// Run the exact stage (without `--exact`, `--minhash`, `--all-pairs`, `--lines` and `--substring`, the exact and the
    /// MinHash stage run)
    #[arg(long, help_heading = "Stages")]
    pub(crate) exact: bool,
    /// Compare this field in the exact stage instead of the text, such as `url` or `meta.url`: a string, or a number.
    /// Documents without it are nobody's copies, and are counted. It is compared as it stands, but for the steps of an
    /// explicit `--normalize`
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new(), help_heading = "Stages")]
    pub(crate) exact_key: Option<String>,
    /// Run the MinHash stage
    #[arg(long, help_heading = "Stages")]
    pub(crate) minhash: bool,
    /// Normalisation steps before comparing, in order: nfc nfkc casefold whitespace punctuation digits diacritics;
    /// `none` for no step. The exact stage compares normalised texts, `--lines` normalised lines; output is never
    /// normalised
    ///
    /// [default: nfc,casefold,whitespace]
    #[arg(long, value_name = "STEPS", help_heading = "Stages")]
    pub(crate) normalize: Option<String>,
    /// Take shingles and bands of MinHash as a well-known data set or tool has them; flags that are given go before it.
    /// Every pair is verified all the same, and the report tells what recall such bands have at the threshold
    #[arg(long, value_enum, value_name = "NAME", help_heading = "MinHash")]
    pub(crate) preset: Option<Preset>,
    /// Similarity of n-gram sets from which two documents are near-duplicates (0.8 Jaccard: Lee et al. 2021)
    ///
    /// [default: 0.8]
    #[arg(long, value_name = "SIMILARITY", value_parser = threshold, help_heading = "Near copies")]
    pub(crate) threshold: Option<f64>,
    /// Chance that a pair right at the threshold is found; pairs above it are found with a higher one
    ///
    /// [default: 0.99]
    #[arg(long, value_name = "CHANCE", value_parser = open_fraction, conflicts_with_all = ["bands", "preset"], help_heading = "MinHash")]
    pub(crate) recall: Option<f64>,
    /// What an n-gram is made of; `token` needs `--tokenizer`
    ///
    /// [default: word]
    #[arg(long, value_enum, help_heading = "Near copies")]
    pub(crate) unit: Option<Unit>,
    /// What a word is
    ///
    /// [default: unicode]
    #[arg(long, value_enum, help_heading = "Near copies")]
    pub(crate) words: Option<Words>,
    /// Units in an n-gram (5 words: FineWeb, Lee et al. 2021)
    ///
    /// [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Near copies")]
    pub(crate) ngram: Option<u16>,
    /// tokenizer.json for token n-grams, and for passages of tokens
    #[arg(long, value_name = "FILE", help_heading = "Near copies")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Set bands yourself; the predicted recall is then whatever it is, and is printed
    #[arg(long, value_name = "N", requires = "rows", value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "MinHash")]
    pub(crate) bands: Option<u16>,
    /// Rows in a band, with `--bands`
    #[arg(long, value_name = "N", requires = "bands", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "MinHash")]
    pub(crate) rows: Option<u16>,
    /// Seed of the hash functions
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Words {
    /// By the boundaries of Unicode Annex 29, without punctuation; an ideograph or a Thai letter is a word of its own.
    Unicode,
    /// What stands between white space, punctuation included, as most other tools have it.
    Whitespace,
}

/// What becomes of empty documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Empty {
    /// They stay.
    Keep,
    /// They go.
    Remove,
    /// The first stops the run.
    Error,
}

/// Shingles and bands that others use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// FineWeb (datatrove): 14 bands of 8 rows, 5 words, at 0.75.
    Fineweb,
    /// RefinedWeb and Lee et al. 2021: 450 bands of 20 rows, 5 words, at 0.8.
    Refinedweb,
    /// NeMo Curator: 20 bands of 13 rows, 24 characters, at 0.8.
    Nemo,
    /// Olmo 3: 26 bands of 11 rows, 5 words, at 0.8.
    Olmo3,
    /// SlimPajama: 9 bands of 13 rows, 13 words, at 0.8.
    Slimpajama,
    /// What datasketch and text-dedup choose for 0.8 and 128 permutations: 9 bands of 13 rows, 5 words.
    Datasketch,
}

/// Which near copies of a kept document go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cluster {
    /// Those that are similar to it.
    Star,
    /// Those that are joined to it through others, each similar to the next, as most other tools have it: chains of small
    /// changes then leave one document of many that differ.
    Transitive,
}

/// How alike two sets of n-grams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// N-grams in both documents, of those in either.
    Jaccard,
    /// N-grams in both documents, of those in the one that goes: a document that is a part of another goes, and of two
    /// that hold each other the one with more n-grams stays, before `--keep` decides.
    Containment,
}

/// What `--lines` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineUnit {
    /// Lines.
    Line,
    /// What stands between blank lines.
    Paragraph,
}

/// The length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunLength {
    pub(crate) len: u64,
    pub(crate) is_tokens: bool,
}

/// Where cuts may begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Snap {
    /// Between characters.
    Char,
    /// Where words, spaces and punctuation marks begin and end.
    Word,
    /// Where sentences begin and end.
    Sentence,
    /// Where lines begin, and at the end of the text.
    Line,
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
    /// Folder for the clean corpus, which appears whole or not at all, or a prefix of an object store, as for `dedup`
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) emitting: Emitting,
}

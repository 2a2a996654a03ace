//! Every flag of the program, declared. Nothing is resolved or done here; defaults stand once, beside their flag.

mod answering;
mod audit;
mod contamination;
mod dedup;
mod defend;
mod elicit;
mod extract;
mod gate;
mod index;
mod infer;
mod invert;
mod lab;
mod merge;
mod output;
mod review;
mod running;
mod shard;
mod stage;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use answering::Answering;
pub(crate) use audit::{Audit, Edits};
pub(crate) use contamination::Contamination;
pub(crate) use dedup::{
    Apply, Cluster, Dedup, Empty, LineUnit, Matching, Measure, Preset, RunLength, Snap, Unit, Words,
};
pub(crate) use defend::Defend;
pub(crate) use elicit::Elicit;
pub(crate) use extract::{Demo, Extract, MAX_NEW_TOKENS, MIN_MATCH, PromptSet, RuntimeFlags, TOP_K, Verify};
pub(crate) use gate::{Gate, GateFormat};
pub(crate) use index::{
    Engine, Index, IndexBuild, IndexCommand, IndexCount, IndexLocate, IndexMerge, IndexQueries,
    IndexSignatures, IndexVerify, StringUnit,
};
pub(crate) use infer::{DOCUMENTS, FPR, FPRS, Infer, Wanted};
pub(crate) use invert::Invert;
pub(crate) use lab::{
    Asking, Plant, Private, RecipeFlags, Shadow, ShadowCommand, ShadowScore, ShadowTrain, Synth, Train,
};
pub(crate) use merge::Merge;
pub(crate) use output::{Emit, Emitting, SourceGuard};
pub(crate) use review::{Evaluate, Explain};
pub(crate) use running::{Runner, Running};
pub(crate) use shard::Shard;
pub(crate) use stage::{Folder, Stage, StageCommand, Staging, Units};
use values::{local, max_bad, size};

const EXIT_CODES: &str = "Exit codes:
  0 done · 1 a check did not pass · 2 usage · 3 a gate is inconclusive · 65 bad data
  66 input missing · 70 internal error · 73 cannot create output
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
    /// Duplicates are found in stages, and what goes is written in a plan.
    ///
    /// Exact: documents whose normalised text is the same, byte for byte (a 64-bit hash finds them, a comparison
    /// confirms). MinHash: documents that share most of their n-grams. Signatures are cut into bands of rows, and two
    /// documents become a candidate pair when one band agrees. The chance of that is 1-(1-s^rows)^bands for a true
    /// similarity s: an S-curve, low for unlike documents and close to 1 for alike ones. verbatim chooses bands and
    /// rows so that the curve reaches `--recall` at `--threshold`, and then compares the n-gram sets of every
    /// candidate pair: only pairs whose exact Jaccard similarity reaches the threshold count. The curve therefore
    /// costs time when it lets unlike pairs through, but never a document.
    ///
    /// Every removed document is similar to the document that is kept in its place; chains never remove more, but with
    /// `--cluster transitive`.
    ///
    /// All pairs: with `--all-pairs`, shingles are counted instead of sketched, and two documents are compared when they
    /// share some of those that are the rarest in either. No pair at the threshold is missed.
    ///
    /// Lines: with `--lines`, lines or paragraphs that stand more than once in the documents that then stay are cut
    /// out of them, with their line ends; one copy of each stays. In the records nothing else changes, and
    /// `_verbatim/cuts.jsonl` lists every cut with the place of the copy that stays. A document of which nothing but
    /// white space would remain is removed and counted under this stage, unless another document went for it: then it
    /// stays whole. Where lines are broken at a fixed width, take paragraphs: a line is no thought of its own there.
    ///
    /// Passages: with `--substring`, runs of at least so many bytes or tokens that stand more than once in the documents
    /// that then stay, wherever in a text they stand and whatever stands around them, are found exactly and cut out of
    /// all documents but the one that `--keep` prefers (of copies in one document, the first stays). Texts are compared
    /// as they are, without normalisation, and no run reaches from one document into the next. Cuts are listed as those
    /// of lines are. What is left of a document is joined without a space; `--snap` takes whole words, sentences or
    /// lines only.
    Dedup(Box<Dedup>),
    /// Carry out a plan that `dedup --dry-run` wrote
    Apply(Apply),
    /// Run the stages of `dedup` one by one, as tasks on one machine or many
    ///
    /// `stage plan` takes the flags of `dedup` and --stages DIR, a folder that all machines see. It lists the inputs and splits
    /// them into units. Then sign, link, verify, cluster, rewrite and commit are run, each when the one before is done; of
    /// sign, link, verify and rewrite any number of tasks (`--task I/N`) can run at the same time, anywhere. The output has the
    /// bytes that `dedup` writes, whatever N is and in whatever order tasks run. A task that was killed is run again, alone, and
    /// does what is missing; what is done stays. Inputs that change after the plan are refused.
    ///
    /// sign: hashes and keys of bands. link: which documents share one. verify: the similarity of likely pairs, from their texts.
    /// cluster: what goes, decided by the rule of `dedup`. Where verify did not foresee many of the pairs that this needs,
    /// cluster asks for them, and both are run once more. rewrite: the clean files. commit: lists, report, and the output in
    /// one step.
    ///
    /// Signatures, and what compressed inputs unpack to, stay in DIR until you remove it. Tasks put temporary files into TMPDIR.
    Stage(Stage),
    /// Index the substrings of a corpus and look strings up in it, or save what a corpus is compared by
    Index(Index),
    /// Find the evaluation items that stand in a training corpus, and the documents that hold them
    ///
    /// A model that has seen the questions of a test is not measured by it. Items and documents are cut into n-grams of
    /// normalised words. A part of an item (a field) is found in a document when the n-grams that stand there have at
    /// least `--overlap` of the weight of all its n-grams. An n-gram that stands in df of the N documents weighs
    /// log2((N+1)/df): what many documents share, such as a licence or "which of the following statements is", counts
    /// little, and n-grams that are all common count for nothing. Documents are never added up. Parts of fewer words
    /// than an n-gram are compared whole, at the borders of words. Hashes only propose: words are compared, so that no
    /// collision is reported.
    ///
    /// DIR/_verbatim/contamination.jsonl has a line for each part of an item in each document that holds it, with the
    /// score, the longest run of words in common, and the bytes of that run in both texts. report.json and
    /// report.html have the share of contaminated items in each evaluation file, with 95% intervals. The folder is
    /// readable by its owner only. Without `--remove` no corpus is written.
    Contamination(Box<Contamination>),
    /// Tell why a document was removed or kept, and by which document
    ///
    /// Reads the plan in OUT/_verbatim and the corpus that it was made for, and tells the verdict, the stage, the
    /// similarity, the kept document, how many shingles the two share, and where their texts differ. For a kept
    /// document it lists those that went for it. No text of a document is shown without `--reveal`.
    Explain(Explain),
    /// Measure a run against labels: precision, recall, F1, lost components, adjusted Rand index
    ///
    /// Pairs: two documents of one cluster, against the pairs of the truth. Removals: a removal is right if the document
    /// is a copy of the very one that is kept for it; all documents of a component but one ought to go. Exact sets:
    /// documents whose cluster is exactly their true copies. Macro F1: the mean of the F1 of duplicates and of
    /// non-duplicates, by the rule of the CORE benchmark. Lost components: sets of true copies, single documents
    /// included, that keep no document at all. Leaked pairs: true copies that both stay.
    ///
    /// Labels in clusters say which documents are labelled; the others are left out. Pairs are about all documents, and
    /// a copy of a copy need not be one; the adjusted Rand index takes what pairs connect as one cluster.
    Evaluate(Evaluate),
    /// Draw text from a model, rank it, and prove in the corpus what was recited
    ///
    /// Draws samples by the three strategies of Carlini et al. 2021, ranks them by six scores, and looks every
    /// candidate up in the corpus. Only what stands there verbatim is called memorized; without `--corpus` every
    /// finding is "unverified".
    ///
    /// Reports and the terminal show findings redacted unless `--reveal`. The samples themselves stand in the clear in
    /// DIR/samples.jsonl, and DIR/key holds the key of the redaction: the folder is readable by its owner only.
    Extract(Box<Extract>),
    /// Ask a model for texts of its corpus, or for chosen ones, and tell which come back
    ///
    /// The model is given so many tokens of a text and is to go on with the next ones. A text is extracted when greedy
    /// decoding spells them all, which one pass over it tells without decoding (Carlini et al. 2023); the same pass tells how
    /// often each way of drawing has it among n draws (Hayes et al. 2025). Documents are drawn uniformly from the corpus, and
    /// others are added for how often they stand there, so that the report shows how recitation grows with copies, with
    /// context and with length. A text whose beginning others share has several right continuations, and is counted apart.
    ///
    /// Reports and the terminal show findings redacted unless `--reveal`. DIR/targets.jsonl has the numbers of every place
    /// that was asked for, without its text: the folder is readable by its owner only.
    Audit(Box<Audit>),
    /// Find the most likely ways to fill a template, the most likely first
    ///
    /// Asks a model for secrets of a known form, such as 'my card number is {digits:16}'. The search is best-first over the
    /// tree of tokens that the form allows: every filling that comes out is at least as likely as all that have not, the
    /// fixed text after the holes included. Fillings whose tokens are not those of their text are passed over. Where the
    /// budget ends first, the report says how likely any other filling can be at most.
    Invert(Box<Invert>),
    /// Find how short a prompt makes a model say a text
    ///
    /// The adversarial compression ratio (Schwarzschild et al. 2024): tokens of the text for each token of the shortest prompt
    /// after which greedy decoding says all of it. Above 1, the text must be in the model, for the prompt has no room for
    /// it. Prompts are searched by the gradient of the loss, one token at a time (greedy coordinate gradient), and only those
    /// count that can be typed. A search can miss a shorter prompt, so a ratio is a lower bound.
    ///
    /// For GPT-2 models, and small ones: each text takes some ten thousand passes over prompt and text.
    Elicit(Box<Elicit>),
    /// Make of the shards of a run what one run gives
    ///
    /// Takes the outputs of `extract`, `audit`, `invert`, `elicit` or `infer` with `--shard 1/N` to `--shard N/N`, and ends
    /// the run with their answers: every file of the output, and the `result` in the report, is as without `--shard`. The
    /// command is read from the first shard, so that nothing else need be given; it is carried out in this folder, with the
    /// inputs where they were. No model is asked: its weights are hashed and not loaded (but for gradients of `infer` and
    /// `elicit`), and no GPU is needed.
    ///
    /// Shards that are not all of one run, by the model, the texts, the flags, the seed and the version of this program, are
    /// refused (65).
    Merge(Merge),
    /// Answer one share of the questions of a run that was planned with `--runner`
    ///
    /// What the scripts and tasks of `extract`, `audit`, `invert`, `elicit` and `infer` with `--runner` call. DIR is the folder
    /// given as `--scratch`; the shard is written to DIR/shard-I-of-N, and one that is there already is left as it is.
    Shard(Shard),
    /// Measure how well a model's own words tell what it was trained on from what it was not
    ///
    /// With --members and --non-members, scores texts of known membership by a dozen signals and more, and tells of each how
    /// often a member scores higher than a non-member (AUC) and how many members it finds at a low false positive rate, with
    /// intervals. Beside them stand scores that never see the model (words, length, year) and a control of non-members
    /// against non-members. Where one of those tells the sets apart, the signals prove nothing, and the report says so
    /// instead; else it bounds from below the epsilon that any differentially private training could have had.
    ///
    /// With --texts and --calibrate, judges texts of unknown membership: at a false positive rate that is kept by a threshold
    /// from texts that were surely not used, and, taken together, whether the texts were used.
    Infer(Box<Infer>),
    /// Hold what runs measured against a policy: pass, fail or inconclusive
    ///
    /// A bound holds when the whole interval of its measure lies within it, and fails when the whole interval lies beyond
    /// it. Where the interval reaches over the bound, there were too few trials to tell: that is inconclusive, as is a
    /// measure that no run has, one without trials, and a run or a baseline that the policy does not accept (another
    /// corpus, another model, too old). Inconclusive is never a pass. The verdict is fail if any bound fails, else
    /// inconclusive if any is or there are none, else pass; a waiver in the policy lets a bound pass until its last day,
    /// and is shown.
    ///
    /// Exit codes: 0 pass, 1 fail, 3 inconclusive, 65 for a policy or a report that cannot be right.
    Gate(Gate),
    /// Train a GPT-2 on a corpus
    ///
    /// The output is a folder in Hugging Face layout: config.json, model.safetensors, tokenizer.json, and
    /// training.json with the recipe, the losses, the fingerprint of the corpus and, after a private training, its
    /// epsilon. An interrupted run keeps its state beside the output; `--resume` continues it and gives the same bytes
    /// as a run that was not interrupted.
    Train(Box<Train>),
    /// Train shadow models, and attack a model with them
    Shadow(Shadow),
    /// Measure what each defence is worth: train again with it, audit again, and test what the field claims
    ///
    /// One table: deduplication at each level, private training (DP-SGD), dropout, weight decay, early stopping, a smaller
    /// model, a surrogate, and what a served model may withhold, each with what it still gives away (secrets recited, exposure,
    /// the best membership signal) and what it costs (loss of held-out texts). All with intervals, all on the same corpus, recipe
    /// and seed. Claims of the field are then held against the table: supported, refuted or inconclusive.
    ///
    /// Takes a dozen trainings: minutes for the made corpus. An interrupted run keeps its models beside the output; `--resume`
    /// continues it and gives the same bytes.
    Defend(Box<Defend>),
    /// Plant canaries in a corpus, and write the ledger of what was planted how often
    ///
    /// Writes DIR/corpus.jsonl, in which every original record stands as it was, and DIR/_verbatim/ledger.jsonl,
    /// which `verbatim extract --canaries` reads. A canary is a secret and the text that leads to it.
    Plant(Plant),
    /// Write a synthetic corpus of fictional documents with a seeded generator
    Synth(Synth),
}

impl Command {
    /// Where the answers of a model come from and where the output goes, for a command that asks one many questions.
    pub(crate) fn answered(&self) -> Option<(&Answering, Option<Output>)> {
        match self {
            Command::Extract(asked) => Some((&asked.answering, Some(asked.output.clone()))),
            Command::Audit(asked) => Some((&asked.answering, Some(asked.output.clone()))),
            Command::Infer(asked) => Some((&asked.answering, Some(asked.output.clone()))),
            Command::Elicit(asked) => Some((&asked.answering, Some(asked.output.clone()))),
            Command::Invert(asked) => {
                let output = asked.output.clone().map(|output| Output { output, force: asked.force });
                Some((&asked.answering, output))
            }
            _ => None,
        }
    }

    /// The same command with these in other places; `None` for one that asks no model.
    pub(crate) fn answered_in(mut self, answering: Answering, output: Output) -> Option<Command> {
        let (old_answering, old_output) = match &mut self {
            Command::Extract(asked) => (&mut asked.answering, &mut asked.output),
            Command::Audit(asked) => (&mut asked.answering, &mut asked.output),
            Command::Infer(asked) => (&mut asked.answering, &mut asked.output),
            Command::Elicit(asked) => (&mut asked.answering, &mut asked.output),
            Command::Invert(asked) => {
                (asked.output, asked.force) = (Some(output.output), output.force);
                asked.answering = answering;
                return Some(self);
            }
            _ => return None,
        };
        (*old_answering, *old_output) = (answering, output);
        Some(self)
    }
}

/// The model that is asked.
#[derive(Debug, Args)]
pub(crate) struct ModelFlags {
    /// A folder in Hugging Face layout, a GGUF file, or a model on the hub such as openai-community/gpt2
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Branch, tag or commit on the hub; the commit is recorded
    #[arg(long, value_name = "REVISION", default_value = "main")]
    pub(crate) revision: String,
}

/// How found text is shown.
#[derive(Debug, Args)]
pub(crate) struct RevealFlags {
    /// Write findings in the clear, readable by you only; default is redacted
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Key for the hashes that name redacted findings: DIR/key of an earlier run makes the two comparable.
    /// Default is a new one
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Where a command writes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Output {
    /// Folder to write; it appears whole or not at all
    #[arg(short, long, value_name = "DIR", value_parser = local())]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_are_consistent() {
        Arguments::command().debug_assert();
    }
}

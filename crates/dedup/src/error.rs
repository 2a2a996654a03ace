//! What can go wrong between a corpus and its clean copy, by what a person can do about it.

use std::path::{Path, PathBuf};

use verbatim_corpus::Location;

use crate::apply::Tally;
use crate::stages::StageName;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A de-duplication that cannot be planned or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No stage was asked for.
    #[error("no stage to run; ask for exact, minhash, all-pairs, lines or substring")]
    NoStage,
    /// Two stages that find near copies.
    #[error("minhash and all-pairs both find near copies; ask for one of them")]
    TwoNearStages,
    /// A threshold that no pair or every pair would reach.
    #[error("a similarity threshold of {0}; choose one from 0.01 to 1 with at most 18 decimals")]
    Threshold(f64),
    /// A recall that cannot be promised.
    #[error("a recall of {0}; choose one above 0 and below 1")]
    Recall(f64),
    /// Bands and rows that make no signature or an absurdly long one.
    #[error("{bands} bands of {rows} rows; choose at least 1 of each and at most {max} in all", max = crate::lsh::MAX_PERMUTATIONS)]
    BandsRows {
        /// Bands asked for.
        bands: usize,
        /// Rows in each band asked for.
        rows: usize,
    },
    /// A keep policy that does not exist.
    #[error(
        "no keep policy `{0}`; choose from first, last, longest, shortest, field:NAME:max, field:NAME:min, \
         source:NAME,NAME, random:SEED, none"
    )]
    UnknownKeep(String),
    /// A source in an order of preference that no document comes from.
    #[error(
        "no document comes from the source `{0}` that --keep names; sources are folders, files, or with --source-field \
         the values of a field"
    )]
    UnknownSource(String),
    /// Two stages that cut documents.
    #[error("lines and substring both cut documents; run them one by one")]
    TwoCuttingStages,
    /// Nothing stays of a group, but lines would.
    #[error(
        "nothing can be kept of groups of documents (--keep none) while one copy of each line or passage is; run them \
         one by one"
    )]
    KeepNoneOfCuts,
    /// An n-gram without a word, or an absurdly long one.
    #[error("n-grams of {0} words; choose from 1 to {max}", max = crate::contamination::MAX_NGRAM)]
    Ngram(usize),
    /// No evaluation item has the field that was named.
    #[error("no evaluation item has text in the field `{0}`; name a field that is there with --eval-field")]
    NoEvaluationField(String),
    /// More words in the evaluation items than can be numbered.
    #[error("the evaluation items have more than 2^32 words; split them")]
    TooManyWords,
    /// A field does not tell where documents come from.
    #[error("the field `{field}` names no sources: {cause}; choose another with --source-field")]
    NotASource {
        /// The field.
        field: String,
        /// Why not.
        cause: String,
    },
    /// More documents than a run can number.
    #[error("{0} documents are more than a look for evaluation items can take (2^32 - 1); split the corpus")]
    TooManyDocuments(u64),
    /// An empty document, where there must be none.
    #[error("{0}: an empty document; --empty keep or remove goes on")]
    EmptyDocument(Location),
    /// The file is no plan, or not one that this version reads.
    #[error("{path}: not a usable plan: {cause}; make it anew with `verbatim dedup --dry-run`")]
    BadPlan {
        /// The plan file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Saved signatures that cannot be used.
    #[error("{path}: these signatures cannot be used: {cause}; build them anew with `verbatim index build`")]
    BadSignatures {
        /// Their manifest.
        path: PathBuf,
        /// What is wrong with them.
        cause: String,
    },
    /// The plan was made for another corpus.
    #[error(
        "the plan was made for another corpus ({planned}, this is {found}); make it anew with `verbatim dedup --dry-run`"
    )]
    OtherCorpus {
        /// Fingerprint in the plan.
        planned: String,
        /// Fingerprint of the corpus given.
        found: String,
    },
    /// The plan was made against other documents.
    #[error(
        "the plan was made against other documents ({planned}, these are {found}); make it anew with `verbatim dedup --dry-run`"
    )]
    OtherReferences {
        /// Fingerprint in the plan.
        planned: String,
        /// Fingerprint of those given.
        found: String,
    },
    /// Documents or bytes went missing: a mistake in this program, found before anything was committed.
    #[error("read is not kept + cut + removed + rejected ({0:?}); nothing was committed; please report this")]
    Unbalanced(Box<Tally>),
    /// An id cannot stand in a list of one id a line.
    #[error(
        "{0}: its id holds a line break, so it cannot stand in a list of one id a line; take `--emit clusters`, which is JSON"
    )]
    IdOfLines(Location),
    /// A file of labels cannot be used.
    #[error("{path}:{line}: {cause}")]
    BadTruth {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// A threshold for a truth that needs none, or none for one that does.
    #[error("{0}: give --truth-threshold for pairs that have similarities, and for nothing else")]
    TruthThreshold(&'static str),
    /// Only a search in one process can do this.
    #[error("{0} cannot be run in stages: run `verbatim dedup` in one process for it")]
    NotStaged(String),
    /// A folder that is no planned search.
    #[error("{path}: there is no such plan; make it with `verbatim stage plan`")]
    NoStages {
        /// The plan that is not there.
        path: PathBuf,
    },
    /// A planned search that cannot be gone on with.
    #[error(
        "{path}: these stages cannot be gone on with: {cause}; plan them anew with `verbatim stage plan` in another folder"
    )]
    BadStages {
        /// The plan.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A folder in which another search was planned.
    #[error(
        "{path}: other stages were planned here ({differences}); take another folder, or remove this one"
    )]
    OtherStages {
        /// The plan.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// A stage needs what another one has not written yet.
    #[error("{}", missing(.stage, .missing_units, .n_units, .folder))]
    StageMissing {
        /// The stage that is not done.
        stage: StageName,
        /// Its units that are not done, ascending; at least one.
        missing_units: Vec<u64>,
        /// All its units.
        n_units: u64,
        /// The folder of the stages.
        folder: PathBuf,
    },
    /// Too many pairs that decide were not compared yet.
    #[error(
        "{0} pairs are still to be compared; run `verbatim stage verify` again, then `verbatim stage cluster`"
    )]
    OpenPairs(u64),
    /// The caller asked to stop.
    #[error("interrupted; nothing was committed")]
    Interrupted,
    /// The corpus cannot be read or written.
    #[error(transparent)]
    Corpus(#[from] verbatim_corpus::Error),
    /// A search for repeats cannot be made.
    #[error(transparent)]
    Index(#[from] verbatim_index::Error),
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
}

fn missing(stage: &StageName, units: &[u64], n_units: &u64, folder: &Path) -> String {
    let (n, first) = (units.len(), units.first().copied().unwrap_or_default());
    let task = match stage {
        StageName::Cluster => String::new(),
        _ if n as u64 == *n_units => " --task 1/1".to_owned(),
        _ => format!(" --task {}/{n_units}", first + 1),
    };
    let command = format!("verbatim stage {stage} --stages {}{task}", folder.display());
    match n {
        1 => format!("unit {first} of {n_units} of the stage {stage} is missing; run `{command}`"),
        _ => format!("{n} of {n_units} units of the stage {stage} are missing; run `{command}`, and so on"),
    }
}

impl Error {
    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NoStage
            | Error::TwoNearStages
            | Error::Threshold(_)
            | Error::Recall(_)
            | Error::BandsRows { .. }
            | Error::UnknownKeep(_)
            | Error::UnknownSource(_)
            | Error::KeepNoneOfCuts
            | Error::TwoCuttingStages
            | Error::Ngram(_)
            | Error::NotASource { .. }
            | Error::NotStaged(_)
            | Error::TruthThreshold(_) => 2,
            Error::NoEvaluationField(_)
            | Error::TooManyWords
            | Error::TooManyDocuments(_)
            | Error::BadPlan { .. }
            | Error::BadStages { .. }
            | Error::OtherStages { .. }
            | Error::OtherCorpus { .. }
            | Error::BadSignatures { .. }
            | Error::OtherReferences { .. }
            | Error::IdOfLines(_)
            | Error::EmptyDocument(_)
            | Error::BadTruth { .. } => 65,
            Error::NoStages { .. } | Error::StageMissing { .. } => 66,
            Error::Unbalanced(_) => 70,
            Error::OpenPairs(_) => 75,
            Error::Interrupted => 130,
            Error::Corpus(error) => error.exit_code(),
            Error::Index(error) => error.exit_code(),
            Error::Store(error) => error.exit_code(),
        }
    }
}

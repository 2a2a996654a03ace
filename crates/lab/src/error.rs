//! What can go wrong in the lab, by what the user can do about it.

use std::path::PathBuf;

/// The lab's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be written.
    #[error("{}: cannot write", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A configuration that cannot be carried out.
    #[error("{0}")]
    Config(String),
    /// A secret drawn for planting stands in the corpus already.
    #[error("canary {id}: its secret already stands in the corpus; choose another --seed")]
    SecretInCorpus {
        /// The canary's id in the ledger.
        id: String,
    },
    /// A training state that does not belong to this run.
    #[error("{}: cannot resume: {cause}", path.display())]
    Resume {
        /// The state's folder or file.
        path: PathBuf,
        /// What does not fit.
        cause: String,
    },
    /// A folder that does not hold the shadow models that it should.
    #[error("{}: {cause}", path.display())]
    Ensemble {
        /// The file in it.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The run was interrupted; its state was saved where checkpoints were asked for.
    #[error("interrupted after step {step}")]
    Interrupted {
        /// Steps done.
        step: u64,
    },
    /// The loss stopped being a number.
    #[error("step {step}: the loss is not finite; lower --learning-rate")]
    Diverged {
        /// The step.
        step: u64,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// The disk.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
    /// The corpus.
    #[error(transparent)]
    Corpus(#[from] verbatim_corpus::Error),
    /// The shingles of deduplication.
    #[error(transparent)]
    Index(#[from] verbatim_index::Error),
    /// Deduplication.
    #[error(transparent)]
    Dedup(#[from] verbatim_dedup::Error),
    /// The ledger.
    #[error(transparent)]
    Extraction(#[from] verbatim_extraction::Error),
    /// The model.
    #[error(transparent)]
    Lm(#[from] verbatim_lm::Error),
}

impl Error {
    /// The exit code that the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) => 2,
            Error::SecretInCorpus { .. }
            | Error::Resume { .. }
            | Error::Ensemble { .. }
            | Error::Diverged { .. } => 65,
            Error::Tensor(_) => 70,
            Error::Write { .. } => 74,
            Error::Interrupted { .. } => 130,
            Error::Store(error) => error.exit_code(),
            Error::Corpus(error) => error.exit_code(),
            Error::Index(error) => error.exit_code(),
            Error::Dedup(error) => error.exit_code(),
            Error::Extraction(error) => error.exit_code(),
            Error::Lm(error) => error.exit_code(),
        }
    }
}

/// The lab's result.
pub type Result<T> = std::result::Result<T, Error>;

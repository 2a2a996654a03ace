//! What can go wrong between a prompt and a finding, by what a person can do about it.

use std::path::PathBuf;

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of an extraction or an audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value given by the caller makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// A stored file is cut, damaged, or not what its name says.
    #[error("{}:{line}: {cause}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// A canary that cannot be audited.
    #[error("canary {id}: {cause}")]
    BadCanary {
        /// Its name in the ledger.
        id: String,
        /// Why not.
        cause: String,
    },
    /// The run was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The model or its tokenizer failed.
    #[error(transparent)]
    Model(#[from] verbatim_lm::Error),
    /// The corpus could not be searched.
    #[error(transparent)]
    Index(#[from] verbatim_index::Error),
    /// Reading or writing a file failed.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
}

impl Error {
    /// The process exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::InvalidArgument(_) => 2,
            Error::BadFile { .. } | Error::BadCanary { .. } => 65,
            Error::Interrupted => 130,
            Error::Model(source) => source.exit_code(),
            Error::Index(source) => source.exit_code(),
            Error::Store(source) => source.exit_code(),
        }
    }
}

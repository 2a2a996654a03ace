//! What can go wrong when a report is written, or one is read for a verdict.

use std::path::{Path, PathBuf};

/// What can go wrong when a report is written, or one is read for a verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the report could not be written.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
    /// A report could not be put into JSON or HTML: a mistake of ours.
    #[error("{path}: the report could not be rendered: {cause}", path = path.display())]
    Render {
        /// The file that was to be written.
        path: PathBuf,
        /// What the renderer said.
        cause: String,
    },
    /// A policy is not understood.
    #[error("{path}:{line}:{column}: {cause}", path = path.display())]
    Policy {
        /// The policy.
        path: PathBuf,
        /// Line, from 1 on.
        line: u64,
        /// Character in the line, from 1 on.
        column: u64,
        /// What is wrong.
        cause: String,
    },
    /// A report of a run is not what a report is.
    #[error("{path}: {cause}", path = path.display())]
    BadReport {
        /// The report.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

impl Error {
    pub(crate) fn policy(path: &Path, (line, column): (u64, u64), cause: &str) -> Error {
        Error::Policy { path: path.to_path_buf(), line, column, cause: cause.to_owned() }
    }

    pub(crate) fn bad_report(path: &Path, cause: impl Into<String>) -> Error {
        Error::BadReport { path: path.to_path_buf(), cause: cause.into() }
    }

    /// The exit code that the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Store(error) => error.exit_code(),
            Error::Render { .. } => 70,
            Error::Policy { .. } | Error::BadReport { .. } => 65,
        }
    }
}

/// Shorthand for this room's results.
pub type Result<T> = std::result::Result<T, Error>;

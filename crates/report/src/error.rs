//! What can go wrong when a report is written.

use std::path::PathBuf;

/// What can go wrong when a report is written.
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
}

impl Error {
    /// The exit code that the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Store(error) => error.exit_code(),
            Error::Render { .. } => 70,
        }
    }
}

/// Shorthand for this room's results.
pub type Result<T> = std::result::Result<T, Error>;

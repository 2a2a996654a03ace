//! What can go wrong between bytes and disk, each case with its path and its exit code.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of reading or writing, by what a person can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input is missing or may not be read.
    #[error("{}: cannot open", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An input is a pipe, a device, a socket or a file without a known size.
    #[error("{}: not a regular file; give a file, or pipe it in with `-`", path.display())]
    NotRegular {
        /// The input.
        path: PathBuf,
    },
    /// An output cannot be created.
    #[error("{}: cannot create", path.display())]
    Create {
        /// The output.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The output is there already and was not to be replaced.
    #[error("{}: exists already; remove it or ask to replace it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is there already and is not of the kind that would replace it.
    #[error("{}: is not {expected}, so it is not replaced", path.display())]
    NotReplaceable {
        /// The output.
        path: PathBuf,
        /// "a regular file" or "a folder".
        expected: &'static str,
    },
    /// Reading or writing failed on the way.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, as a verb: "read", "write", "flush to disk".
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process works in the folder.
    #[error("{}: another run uses this folder; wait for its end or take another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a run holds the files of another task.
    #[error(
        "{}: this run was begun with other settings ({differences}); take the former ones, or remove the folder",
        path.display()
    )]
    OtherTask {
        /// The run's journal.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// A file of this program's own is not what was written.
    #[error("{}: damaged: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// An input is no longer the file that was opened.
    #[error("{}: input changed while it was read; nothing was committed", path.display())]
    Changed {
        /// The input.
        path: PathBuf,
    },
}

impl Error {
    /// A failure of an operation under way, as [`Error::Io`].
    pub fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Error::Io { path: path.to_path_buf(), doing, source }
    }

    /// The process exit code for this error (65, 66, 73, 74 or 75).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Input { .. } | Error::NotRegular { .. } => 66,
            Error::Create { .. } | Error::Exists { .. } | Error::NotReplaceable { .. } => 73,
            Error::Io { .. } | Error::Changed { .. } => 74,
            Error::OtherTask { .. } | Error::Damaged { .. } => 65,
            Error::Busy { .. } => 75,
        }
    }

    /// That of a file which is not what this program wrote.
    pub fn damaged(path: &Path, cause: impl Into<String>) -> Self {
        Error::Damaged { path: path.to_path_buf(), cause: cause.into() }
    }

    pub(crate) fn create(path: &Path, source: io::Error) -> Self {
        Error::Create { path: path.to_path_buf(), source }
    }

    pub(crate) fn input(path: &Path, source: io::Error) -> Self {
        Error::Input { path: path.to_path_buf(), source }
    }
}

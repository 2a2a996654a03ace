//! What can go wrong between a checkpoint and an answer, by what the user can do about it.

use std::path::{Path, PathBuf};

/// The result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the lm room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb phrase: "read the header".
        doing: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },
    /// The store room failed.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
    /// A value given by the caller makes no sense (exit code 2).
    #[error("{0}")]
    InvalidArgument(String),
    /// A model's configuration is absurd or asks for what is not supported.
    #[error("model configuration: {0}")]
    Config(String),
    /// Tensors are missing, or have the wrong shape or type; every one is listed.
    #[error("the tensors do not fit the configuration: {}", .0.join("; "))]
    Tensors(Vec<String>),
    /// The tensor library failed: a fault of ours or a lack of memory.
    #[error("tensor computation failed")]
    Tensor(#[from] candle_core::Error),
    /// The memory cannot be had.
    #[error("{n_bytes} bytes of memory for {what} cannot be had; give a smaller --batch")]
    OutOfMemory {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        n_bytes: u64,
    },
    /// A model takes more memory than there is.
    #[error(
        "{}: loading it takes about {} MB of memory, and {} MB are free{}", path.display(), needed / 1_000_000,
        free / 1_000_000, if *halves { "; --dtype bf16 takes about half" } else { "" }
    )]
    TooLarge {
        /// The folder or file.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        free: u64,
        /// Whether weights of half the size would make a difference.
        halves: bool,
    },
    /// The model's logits are NaN or infinite, so its checkpoint is of no use.
    #[error("text {text}, token {position}: the model's logits hold NaN or infinity; its weights are broken")]
    NotFinite {
        /// The text's number in the call, from zero.
        text: usize,
        /// The token's position in the text, from zero.
        position: usize,
    },
    /// The model was opened to be known, not asked.
    #[error(
        "the model is not there to be asked, but an answer is missing: these answers are not those of the run"
    )]
    Unasked,
    /// The run was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file of a checkpoint is damaged, hostile or not of a kind that is supported.
    #[error("{}: {cause}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and, where there is one, what to do.
        cause: String,
    },
    /// A file that a checkpoint needs is not there.
    #[error("{}: {cause}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for it and what to do.
        cause: String,
    },
    /// A file is refused by policy, whatever is in it (exit code 77).
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The model cache cannot be written.
    #[error("{}: cannot {doing} in the model cache", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },
    /// The hub did not answer, or only in part; trying again later may help.
    #[error("{url}: {cause}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The hub has no such model, revision or file, or not for this token.
    #[error("{url}: {cause}")]
    NotOnHub {
        /// What was asked for.
        url: String,
        /// What the hub said and what to do.
        cause: String,
    },
    /// The hub answered with something that is not what it declared; nothing of it was kept.
    #[error("{url}: {cause}")]
    Untrusted {
        /// What was asked for.
        url: String,
        /// What was declared and what came.
        cause: String,
    },
}

impl Error {
    /// The same, of a damaged file that has another name than the reader of its bytes knew.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::BadFile { cause, .. } => Self::BadFile { path: path.to_path_buf(), cause },
            other => other,
        }
    }

    /// The process's exit code for this error, as in the table that `--help` shows.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(source) => source.exit_code(),
            Self::Io { .. } | Self::OutOfMemory { .. } | Self::TooLarge { .. } => 74,
            Self::InvalidArgument(_) => 2,
            Self::Config(_) | Self::Tensors(_) | Self::NotFinite { .. } | Self::Unasked => 65,
            Self::Tensor(_) => 70,
            Self::Interrupted => 130,
            Self::BadFile { .. } | Self::Untrusted { .. } => 65,
            Self::Missing { .. } | Self::NotOnHub { .. } => 66,
            Self::Cache { .. } => 73,
            Self::Unreachable { .. } => 75,
            Self::Refused { .. } => 77,
        }
    }
}

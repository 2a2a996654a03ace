//! What a caller can ask of this room that it cannot do.

use std::path::PathBuf;

use verbatim_store::Progress;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A request that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A normalisation step of that name does not exist.
    #[error(
        "no normalisation step `{0}`; choose from nfc, nfkc, casefold, whitespace, punctuation, digits, diacritics"
    )]
    UnknownStep(String),
    /// A shingle unit of that name does not exist.
    #[error("no shingle unit `{0}`; choose from word, char, byte, token")]
    UnknownUnit(String),
    /// A definition of words of that name does not exist.
    #[error("no words `{0}`; choose from unicode, whitespace")]
    UnknownWords(String),
    /// A shingle must have at least one unit, and an absurd length is refused.
    #[error("a shingle of {0} units; choose from 1 to {max}", max = crate::shingle::MAX_UNITS)]
    ShingleLength(usize),
    /// Token shingles were asked for without a tokenizer.
    #[error("token shingles need a tokenizer; give one or choose word, char or byte")]
    NoTokenizer,
    /// Sampling is of no use for runs as short as this.
    #[error("repeats of length {0}; choose {min} or more", min = crate::repeats::MIN_REPEAT_LEN)]
    RepeatLen(usize),
    /// An index has places for so many bytes or tokens and no more.
    #[error("texts of {n_symbols} bytes or tokens; an index holds {most}, so make several")]
    TooLarge {
        /// Bytes or tokens of the texts.
        n_symbols: u64,
        /// What fits.
        most: u64,
    },
    /// A suffix array does not fit in memory.
    #[error(
        "a suffix array of texts of {n_bytes} bytes takes {needed} bytes of memory, of which {most} may be used"
    )]
    NoRoom {
        /// Bytes of the texts.
        n_bytes: u64,
        /// What they and the array take.
        needed: u64,
        /// What may be taken.
        most: u64,
    },
    /// Matches are of bytes.
    #[error("an index of tokens; matches are of bytes, so build one of bytes")]
    NotOfBytes,
    /// There is no index to look in.
    #[error("there is no index to look in")]
    NoIndex,
    /// The index finds no strings as short as this.
    #[error("a string of length {len}; the index finds those of {min_len} or more, a scan finds all")]
    TooShort {
        /// Bytes or tokens of the string.
        len: usize,
        /// Those of the shortest that it finds.
        min_len: usize,
    },
    /// Indexes cannot be joined: their corpora read one after the other are not the corpus of the result.
    #[error("the corpora of the indexes, read together, are not what they are one by one")]
    NotTheSum,
    /// An index that cannot be used.
    #[error("{}: {cause}", path.display())]
    BadIndex {
        /// A file of the index.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Scratch files could not be written or read back.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The process exit code: 2, usage or configuration, where it is not that of a file or of an interruption.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Store(error) => error.exit_code(),
            Error::Interrupted => 130,
            Error::BadIndex { .. } | Error::NotTheSum => 65,
            _ => 2,
        }
    }
}

/// Ends what is under way if the caller asks for it.
pub(crate) fn stop_if(progress: &dyn Progress) -> Result<()> {
    if progress.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

//! Why a corpus cannot be opened or written, each case with its place and its exit code.

use crate::document::Location;
use crate::reject::Reject;
use crate::schema::MaxBad;

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of reading or writing a corpus, by what a person can do about it.
///
/// Paths are in printable form: control characters and bytes that are not UTF-8 are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read, created or written.
    #[error(transparent)]
    Store(#[from] verbatim_store::Error),
    /// A record cannot be used.
    #[error("{0}; leave such records out with --on-bad skip")]
    Bad(Reject),
    /// More records were left out than is tolerated.
    #[error("{n_bad} of {n_records} records are bad, more than the tolerated {max_bad}; the first: {first}")]
    TooManyBad {
        /// Records left out.
        n_bad: u64,
        /// Records in all.
        n_records: u64,
        /// What is tolerated.
        max_bad: MaxBad,
        /// The first of them in input order.
        first: Box<Reject>,
    },
    /// An input is UTF-16.
    #[error("{path}: this is UTF-16; convert it to UTF-8 first")]
    Utf16 {
        /// The input.
        path: String,
    },
    /// Neither the name nor the content of an input says what it is.
    #[error(
        "{path}: unknown format; name it .jsonl, .parquet, .arrow or .txt (with .gz or .zst if compressed)"
    )]
    UnknownFormat {
        /// The input.
        path: String,
    },
    /// A compressed stream or a file of columns is damaged or of an unsupported kind.
    #[error("{path}: {cause}")]
    Damaged {
        /// The input.
        path: String,
        /// What is wrong, with the byte where it is known.
        cause: String,
    },
    /// A compressed input holds more than is tolerated.
    #[error(
        "{path}: more than {max_decoded_bytes} bytes when decompressed; raise --max-decompressed if you trust it"
    )]
    TooLarge {
        /// The input.
        path: String,
        /// The limit.
        max_decoded_bytes: u64,
    },
    /// A file of columns has no usable text column of that name.
    #[error("{path}: no text column `{field}` (columns: {columns}); set --text-field")]
    NoColumn {
        /// The input.
        path: String,
        /// The name looked for.
        field: String,
        /// The names that are there.
        columns: String,
    },
    /// There is no document, and there had to be one.
    #[error("the input holds no documents")]
    NoDocuments,
    /// A pattern matches no file.
    #[error("{pattern}: no such file, and as a pattern it matches none")]
    NoInput {
        /// The input as it was given.
        pattern: String,
    },
    /// Two inputs would get the same name in an output.
    #[error("{first} and {second} would both be written as {name}; give the folder that holds both")]
    SameName {
        /// The name in the output.
        name: String,
        /// The input that came first.
        first: String,
        /// The other input.
        second: String,
    },
    /// A field path has an empty name in it.
    #[error("`{text}` is not a field path; write names with dots between them, such as meta.text")]
    FieldPath {
        /// The path as it was given.
        text: String,
    },
    /// A field cannot be added to the records.
    #[error("cannot add a field `{name}`: {cause}")]
    NewField {
        /// The name of the field.
        name: String,
        /// Why not.
        cause: String,
    },
    /// A record has the field that was to be added to it.
    #[error("{location}: has a field `{name}` already; choose another name")]
    FieldExists {
        /// The record.
        location: Location,
        /// The name of the field.
        name: String,
    },
    /// A setting is out of range.
    #[error("{text}")]
    Config {
        /// The setting and its range.
        text: String,
    },
    /// An input is in an object store, and this build reads none.
    #[error("{url}: this build reads no object stores; build it with `--features object-stores`")]
    NoObjectStores {
        /// The input.
        url: String,
    },
    /// The URL of an input in an object store is none.
    #[error("{url}: {cause}; expected s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY")]
    ObjectUrl {
        /// The input.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An object is missing, or may not be read or written.
    #[error("{url}: {cause}")]
    ObjectUnreadable {
        /// The object or folder.
        url: String,
        /// Why, without what the store said word by word.
        cause: String,
    },
    /// An object store does not answer, or breaks off, however often it is asked.
    #[error("{url}: the object store cannot be reached: {cause}; try again")]
    ObjectStoreUnreachable {
        /// The object or folder.
        url: String,
        /// What happened last.
        cause: String,
    },
    /// An input cannot be listed for other processes to read.
    #[error("{input}: processes on other machines cannot read it; give files, folders or patterns of such")]
    NotListed {
        /// The input.
        input: String,
    },
    /// An input is not what it was when it was listed.
    #[error("{path}: no longer the file that was listed; plan the stages anew with `verbatim stage plan`")]
    NotAsListed {
        /// The input.
        path: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A stretch that is to be cut is not one of the document's text.
    #[error("{path}:{line}: a cut lies outside the text or inside a character; make the plan anew")]
    Cut {
        /// The input.
        path: String,
        /// The line, or the row of a file of columns.
        line: u64,
    },
    /// A text that is to be cut is in a dictionary, which other rows share.
    #[error("{path}: cannot cut texts in column `{field}`, a dictionary; write it as plain strings first")]
    CutDictionary {
        /// The input.
        path: String,
        /// The column.
        field: String,
    },
}

impl Error {
    /// The process exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Store(error) => error.exit_code(),
            Error::NoInput { .. } | Error::ObjectUnreadable { .. } => 66,
            Error::ObjectStoreUnreachable { .. } => 75,
            Error::SameName { .. }
            | Error::NotListed { .. }
            | Error::FieldPath { .. }
            | Error::NewField { .. }
            | Error::NoObjectStores { .. }
            | Error::ObjectUrl { .. }
            | Error::Config { .. } => 2,
            Error::Interrupted => 130,
            Error::Bad(_)
            | Error::NotAsListed { .. }
            | Error::TooManyBad { .. }
            | Error::Utf16 { .. }
            | Error::UnknownFormat { .. }
            | Error::Damaged { .. }
            | Error::TooLarge { .. }
            | Error::NoDocuments
            | Error::NoColumn { .. }
            | Error::FieldExists { .. }
            | Error::Cut { .. }
            | Error::CutDictionary { .. } => 65,
        }
    }
}

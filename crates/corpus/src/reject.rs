//! Records that cannot be used: where they are and why, never what they say.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::Location;

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Where it is; `byte` is the byte at fault where that is known, else the record's first.
    pub location: Location,
    /// What is wrong with it.
    pub cause: Cause,
    /// Its length without the line end.
    pub n_bytes: u64,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.cause)
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// A byte that is not part of UTF-8.
    #[error("not UTF-8")]
    InvalidUtf8,
    /// Not valid JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The last line stops within a record.
    #[error("truncated at the end of the file")]
    Truncated,
    /// Zero bytes where a record should be.
    #[error("NUL padding, truncated file?")]
    NulPadding,
    /// Longer than [`crate::OpenConfig::max_doc_bytes`].
    #[error("record longer than {max_doc_bytes} bytes; raise --max-doc-bytes to take it")]
    TooLong {
        /// The limit.
        max_doc_bytes: u64,
    },
    /// The text field is not there.
    #[error("no field `{field}`; set --text-field")]
    Missing {
        /// The path of the field.
        field: String,
    },
    /// A name on the way to the text field stands twice in one object.
    #[error("field `{field}` stands twice")]
    Duplicate {
        /// The path down to that name.
        field: String,
    },
    /// The text field is not a string.
    #[error("field `{field}` is {found}, not a string")]
    NotAString {
        /// The path of the field.
        field: String,
        /// "null", "a number", "an array" and so on.
        found: Cow<'static, str>,
    },
    /// The text has half of a UTF-16 surrogate pair as an escape.
    #[error("lone surrogate escape in field `{field}`")]
    LoneSurrogate {
        /// The path of the field.
        field: String,
    },
    /// The compressed stream ends or breaks here.
    #[error("{0}")]
    DamagedStream(String),
}

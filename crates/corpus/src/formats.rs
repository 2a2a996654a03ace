//! What kind of file an input is, by its first bytes as well as by its name.

pub(crate) mod arrow;
mod arrow_column;
pub(crate) mod arrow_rewrite;
pub(crate) mod compressed;
pub(crate) mod encode;
pub(crate) mod escapes;
pub(crate) mod jsonl;
pub(crate) mod parquet;
pub(crate) mod parquet_rewrite;
pub(crate) mod text;
pub(crate) mod texts;
pub(crate) mod unescape;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::document::printable;
use crate::error::{Error, Result};
use crate::schema::TextUnit;

/// How the bytes of a file are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Container {
    Plain,
    Gzip,
    Zstd,
}

/// What the (decompressed) bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Jsonl,
    Parquet,
    Arrow,
    Text(TextUnit),
}

impl Format {
    /// True where texts are columns of a file that must be decoded, and a line is a row.
    pub(crate) fn has_columns(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }
}

/// What a file name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) container: Container,
    pub(crate) format: Option<Named>,
}

/// The formats that have a suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Jsonl,
    /// `.json`: JSON lines in many data sets, but something else in most folders.
    Json,
    Parquet,
    Arrow,
    Text,
}

pub(crate) const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// The last three bytes of a zstd skippable frame's magic; the first is 0x50 to 0x5f.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = b"\x2a\x4d\x18";
const PARQUET_MAGIC: &[u8] = b"PAR1";
/// The first bytes of version 1 of Feather, which came before Arrow's own file format.
const FEATHER_1_MAGIC: &[u8] = b"FEA1";

/// Reads the suffixes of a file name, such as `.jsonl.gz`.
pub(crate) fn promise(path: &Path) -> Promise {
    let mut stem = Path::new(path.file_name().unwrap_or_default());
    let mut container = Container::Plain;
    match lower_extension(stem).as_deref() {
        Some(b"gz") => container = Container::Gzip,
        Some(b"zst") => container = Container::Zstd,
        _ => {}
    }
    if container != Container::Plain {
        stem = Path::new(stem.file_stem().unwrap_or_default());
    }
    let format = match lower_extension(stem).as_deref() {
        Some(b"jsonl" | b"ndjson") => Some(Named::Jsonl),
        Some(b"json") => Some(Named::Json),
        Some(b"parquet") => Some(Named::Parquet),
        Some(b"arrow" | b"feather" | b"ipc") => Some(Named::Arrow),
        Some(b"txt") => Some(Named::Text),
        _ => None,
    };
    Promise { container, format }
}

impl Promise {
    /// True for names that stand for data when found in a folder.
    pub(crate) fn is_data_in_a_folder(self) -> bool {
        match self.format {
            Some(Named::Jsonl | Named::Parquet | Named::Arrow | Named::Text) => true,
            // `shard.json.gz` is data (C4); `dataset_info.json` is not.
            Some(Named::Json) => self.container != Container::Plain,
            None => false,
        }
    }
}

/// How the bytes are wrapped, by the bytes.
pub(crate) fn container_of(bytes: &[u8]) -> Container {
    let is_skippable = bytes.len() >= 4 && bytes[0] & 0xf0 == 0x50 && &bytes[1..4] == ZSTD_SKIPPABLE_MAGIC;
    if bytes.starts_with(GZIP_MAGIC) {
        Container::Gzip
    } else if bytes.starts_with(ZSTD_MAGIC) || is_skippable {
        Container::Zstd
    } else {
        Container::Plain
    }
}

/// What the unwrapped bytes are, by bytes first and by name second.
///
/// # Errors
/// UTF-16, and content that neither way is known.
pub(crate) fn format_of(content: &[u8], path: &Path, text_unit: TextUnit) -> Result<Format> {
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Err(Error::Utf16 { path: printable(path) });
    }
    if content.starts_with(PARQUET_MAGIC) {
        return Ok(Format::Parquet);
    }
    if content.starts_with(arrow::FILE_MAGIC) || content.starts_with(arrow::CONTINUATION) {
        return Ok(Format::Arrow);
    }
    if content.starts_with(FEATHER_1_MAGIC) {
        return Err(damaged(path, "version 1 of Feather; write it again as version 2"));
    }
    match promise(path).format {
        Some(Named::Text) => Ok(Format::Text(text_unit)),
        Some(Named::Jsonl | Named::Json) => Ok(Format::Jsonl),
        Some(Named::Parquet) if content.is_empty() => Err(damaged(path, "empty, not a parquet file")),
        Some(Named::Arrow) if content.is_empty() => Err(damaged(path, "empty, not an Arrow file")),
        _ if starts_like_jsonl(content) => Ok(Format::Jsonl),
        Some(Named::Parquet) => Err(damaged(path, "not a parquet file")),
        Some(Named::Arrow) => Err(damaged(path, "not an Arrow file or stream")),
        None => Err(Error::UnknownFormat { path: printable(path) }),
    }
}

pub(crate) fn damaged(path: &Path, cause: impl Into<String>) -> Error {
    Error::Damaged { path: printable(path), cause: cause.into() }
}

/// Runs a step of a reader that may panic on damaged files, turning its errors and panics into ours.
pub(crate) fn guard<T, E: fmt::Display>(
    path: &Path,
    place: &str,
    step: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(damaged(path, format!("{place}: {e}"))),
        Err(_) => Err(damaged(path, format!("{place}: damaged beyond what the reader can say"))),
    }
}

/// True when the first byte that is not white space opens an object, or there is none.
fn starts_like_jsonl(content: &[u8]) -> bool {
    let content = content.strip_prefix(UTF8_BOM).unwrap_or(content);
    content.trim_ascii_start().first().is_none_or(|&first| first == b'{')
}

fn lower_extension(path: &Path) -> Option<Vec<u8>> {
    path.extension().map(OsStr::as_bytes).map(<[u8]>::to_ascii_lowercase)
}

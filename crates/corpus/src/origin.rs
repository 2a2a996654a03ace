//! Where a corpus was read from, and how, so that what was made of it can find it again.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::schema::{FieldPath, MaxBad, ObjectStoreOptions, OnBad, OpenConfig, Surrogates, TextUnit};
use serde::{Deserialize, Serialize};

/// Where a corpus was read from, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The inputs as they were given.
    #[serde(with = "names")]
    pub inputs: Vec<PathBuf>,
    /// The documents that it was compared with, as they were given.
    #[serde(with = "names", default)]
    pub against: Vec<PathBuf>,
    /// How they were read.
    #[serde(with = "Reading")]
    pub reading: OpenConfig,
}

/// The fields of [`OpenConfig`], which the compiler holds equal to these.
#[derive(Serialize, Deserialize)]
#[serde(remote = "OpenConfig")]
struct Reading {
    text_field: FieldPath,
    id_field: Option<FieldPath>,
    text_unit: TextUnit,
    on_bad: OnBad,
    max_bad: MaxBad,
    surrogates: Surrogates,
    max_doc_bytes: u64,
    max_decoded_bytes: Option<u64>,
    max_zstd_window_log: u32,
    follow_links: bool,
    allow_repeat: bool,
    require_documents: bool,
    map_files: bool,
    /// A matter of the machine, which changes no result: a plan does not know it.
    #[serde(skip, default = "std::env::temp_dir")]
    scratch: PathBuf,
    /// Secrets of whoever reads: a plan must not know them.
    #[serde(skip)]
    object_stores: ObjectStoreOptions,
}

/// A file name as JSON: a string, or its bytes where it is not UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&Path> for Name {
    fn from(path: &Path) -> Name {
        match path.to_str() {
            Some(text) => Name::Text(text.to_owned()),
            None => Name::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }
}

impl From<Name> for PathBuf {
    fn from(name: Name) -> PathBuf {
        match name {
            Name::Text(text) => PathBuf::from(text),
            Name::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        }
    }
}

mod names {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| Name::from(path.as_path())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        let names: Vec<Name> = Vec::deserialize(deserializer)?;
        Ok(names.into_iter().map(PathBuf::from).collect())
    }
}

/// As a list of names, of one.
pub(crate) mod name {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Name::from(path).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Name::deserialize(deserializer).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_back_even_with_names_that_are_not_utf8() {
        let origin = Origin {
            inputs: vec!["a/b.jsonl".into(), OsString::from_vec(b"\xff.txt".to_vec()).into()],
            against: vec!["b".into()],
            reading: OpenConfig {
                max_decoded_bytes: Some(7),
                max_bad: MaxBad::Records(3),
                surrogates: Surrogates::Replace,
                ..OpenConfig::standard()
            },
        };
        let json = serde_json::to_string(&origin).unwrap();
        assert!(json.contains("\"a/b.jsonl\"") && json.contains("[255,46"), "{json}");
        assert_eq!(serde_json::from_str::<Origin>(&json).unwrap(), origin);
    }
}

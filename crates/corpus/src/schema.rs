//! How a corpus is to be read: which field is the text, which the id, and what to do with bad records.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The way to a field: names of nested JSON members, parquet groups or Arrow structs, written with dots.
///
/// A backslash keeps the next character as part of a name: `a\.b` is one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath {
    names: Vec<String>,
}

impl FieldPath {
    /// The names from the outermost to the field itself; never empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl FromStr for FieldPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<FieldPath> {
        let mut names = vec![String::new()];
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let name = names.last_mut().expect("there is always one name");
            match c {
                '.' => names.push(String::new()),
                '\\' => name.push(rest.next().unwrap_or('\\')),
                _ => name.push(c),
            }
        }
        if names.iter().any(String::is_empty) {
            return Err(Error::FieldPath { text: text.to_owned() });
        }
        Ok(FieldPath { names })
    }
}

impl TryFrom<String> for FieldPath {
    type Error = Error;

    fn try_from(text: String) -> Result<FieldPath> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> String {
        path.to_string()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&name.replace('\\', "\\\\").replace('.', "\\."))?;
        }
        Ok(())
    }
}

/// What to do when a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBad {
    /// Stop and name it.
    Error,
    /// Leave it out, count it, and list it in [`crate::Corpus::rejects`].
    Skip,
}

/// How many bad records are tolerated where they are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaxBad {
    /// This fraction of all records, 0 to 1.
    Fraction(f64),
    /// This many.
    Records(u64),
}

impl MaxBad {
    pub(crate) fn tolerates(self, n_bad: u64, n_records: u64) -> bool {
        match self {
            MaxBad::Fraction(fraction) => n_bad as f64 <= fraction * n_records as f64,
            MaxBad::Records(n) => n_bad <= n,
        }
    }
}

impl fmt::Display for MaxBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxBad::Fraction(fraction) => write!(f, "fraction of {fraction}"),
            MaxBad::Records(n) => write!(f, "number of {n}"),
        }
    }
}

/// What to do with half of a UTF-16 surrogate pair that stands as an escape in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surrogates {
    /// The record is bad.
    Error,
    /// The text has U+FFFD there; the record is written back as it stands.
    Replace,
}

/// What one document is in a plain text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextUnit {
    /// The whole file.
    File,
    /// Each line that is not blank.
    Line,
}

/// How to read a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenConfig {
    /// The field that holds the text, in JSON, parquet and Arrow.
    pub text_field: FieldPath,
    /// The field that holds the user's id, used as a label only; records may lack it.
    pub id_field: Option<FieldPath>,
    /// What one document is in a plain text file.
    pub text_unit: TextUnit,
    /// What to do with a record that cannot be used.
    pub on_bad: OnBad,
    /// With [`OnBad::Skip`], how many bad records are tolerated.
    pub max_bad: MaxBad,
    /// What to do with half of a surrogate pair in a text.
    pub surrogates: Surrogates,
    /// The longest tolerated record in bytes, at most 4 GiB - 1.
    pub max_doc_bytes: u64,
    /// The largest tolerated decompressed size of one input file in bytes.
    pub max_decoded_bytes: Option<u64>,
    /// The largest window that a zstd frame may ask for, as a power of two from 10 to 31; the memory that it takes.
    pub max_zstd_window_log: u32,
    /// Follow links within folders; a link that leads back to a folder it is in is passed over.
    pub follow_links: bool,
    /// Read a file again that was an input before under another name.
    pub allow_repeat: bool,
    /// Fail where there is no document.
    pub require_documents: bool,
    /// Map files into memory; otherwise they are read into it.
    pub map_files: bool,
    /// The folder for temporary files, which have no name in it.
    pub scratch: PathBuf,
    /// How object stores are reached.
    pub object_stores: ObjectStoreOptions,
}

/// How object stores are reached: names and values such as (`aws_region`, `eu-north-1`), the names in any case. Those
/// that a store does not know are for another one. Some are secrets, so none is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ObjectStoreOptions(pub Vec<(String, String)>);

impl fmt::Debug for ObjectStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreOptions").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

impl OpenConfig {
    /// Field `text`, label from field `id`, one document a text file, stop at bad records,
    /// records up to 64 MiB, files mapped, no links followed, temporary files in the system's folder.
    pub fn standard() -> Self {
        OpenConfig {
            text_field: FieldPath { names: vec!["text".to_owned()] },
            id_field: Some(FieldPath { names: vec!["id".to_owned()] }),
            text_unit: TextUnit::File,
            on_bad: OnBad::Error,
            max_bad: MaxBad::Fraction(0.01),
            surrogates: Surrogates::Error,
            max_doc_bytes: 64 << 20,
            max_decoded_bytes: None,
            max_zstd_window_log: 27,
            follow_links: false,
            allow_repeat: false,
            require_documents: false,
            map_files: true,
            scratch: std::env::temp_dir(),
            object_stores: ObjectStoreOptions::default(),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if let MaxBad::Fraction(fraction) = self.max_bad
            && !(0.0..=1.0).contains(&fraction)
        {
            let text = format!("the fraction of bad records must be 0 to 1, not {fraction}");
            return Err(Error::Config { text });
        }
        if !(10..=31).contains(&self.max_zstd_window_log) {
            let text = format!("a zstd window is 2^10 to 2^31 bytes, not 2^{}", self.max_zstd_window_log);
            return Err(Error::Config { text });
        }
        if self.max_doc_bytes > u64::from(u32::MAX) {
            let text = format!("a record may have at most {} bytes, not {}", u32::MAX, self.max_doc_bytes);
            return Err(Error::Config { text });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_path_reads_back_as_it_was_written() {
        for (text, names) in
            [("text", vec!["text"]), ("a.b.c", vec!["a", "b", "c"]), (r"a\.b.c\\", vec!["a.b", r"c\"])]
        {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.names(), names);
            assert_eq!(path.to_string(), text);
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<FieldPath>(&json).unwrap(), path);
        }
        for text in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(text.parse::<FieldPath>().unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn limits_out_of_range_are_usage_errors() {
        let changes: [fn(&mut OpenConfig); 5] = [
            |c| c.max_bad = MaxBad::Fraction(f64::NAN),
            |c| c.max_bad = MaxBad::Fraction(1.5),
            |c| c.max_doc_bytes = 1 << 32,
            |c| c.max_zstd_window_log = 9,
            |c| c.max_zstd_window_log = 32,
        ];
        for change in changes {
            let mut config = OpenConfig::standard();
            config.validate().unwrap();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().exit_code(), 2);
        }
    }
}

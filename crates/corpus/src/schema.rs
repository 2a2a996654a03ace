//! How a corpus is to be read: which field is the text, which the id, and what to do with bad records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The way to a field: names of nested JSON members or parquet groups, written with dots.
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
    /// The field that holds the text, in JSON and parquet.
    pub text_field: FieldPath,
    /// The field that holds the user's id, used as a label only; records may lack it.
    pub id_field: Option<FieldPath>,
    /// What one document is in a plain text file.
    pub text_unit: TextUnit,
    /// What to do with a record that cannot be used.
    pub on_bad: OnBad,
    /// With [`OnBad::Skip`], the largest tolerated fraction of bad records, 0 to 1.
    pub max_bad_fraction: f64,
    /// The longest tolerated record in bytes, at most 4 GiB - 1.
    pub max_doc_bytes: u64,
    /// The largest tolerated decompressed size of one input file in bytes.
    pub max_decoded_bytes: Option<u64>,
}

impl OpenConfig {
    /// Field `text`, label from field `id`, one document a text file, stop at bad records,
    /// records up to 64 MiB.
    pub fn standard() -> Self {
        OpenConfig {
            text_field: FieldPath { names: vec!["text".to_owned()] },
            id_field: Some(FieldPath { names: vec!["id".to_owned()] }),
            text_unit: TextUnit::File,
            on_bad: OnBad::Error,
            max_bad_fraction: 0.01,
            max_doc_bytes: 64 << 20,
            max_decoded_bytes: None,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.max_bad_fraction) {
            let text = format!("the fraction of bad records must be 0 to 1, not {}", self.max_bad_fraction);
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
        let changes: [fn(&mut OpenConfig); 3] =
            [|c| c.max_bad_fraction = f64::NAN, |c| c.max_bad_fraction = 1.5, |c| c.max_doc_bytes = 1 << 32];
        for change in changes {
            let mut config = OpenConfig::standard();
            config.validate().unwrap();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().exit_code(), 2);
        }
    }
}

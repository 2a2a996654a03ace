//! What the target said of each token of each text, kept in a file, so that signals can be computed again without any model.
//!
//! Lines of JSON under one that says what they are, how many, and what they came from. A line has the records of one text column by
//! column, the values of the signals that take more than records, and the scores that never saw the model; not the text.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_lm::{Error, TokenRecord};
use verbatim_store::{Access, Bytes, create_file, json_fault};

use super::one_pass::{Said, value};
use super::{Signal, TextSignals};

/// The file of kept records in a folder.
pub const KEPT_FILE: &str = "records.jsonl";

const FORMAT: &str = "verbatim inferred records";
const VERSION: u32 = 1;

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    n_lines: u64,
    about: Value,
}

/// What is kept of one text. No text: but its tokens are, and so the file is for its owner's eyes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptText {
    /// The document's name.
    pub id: String,
    /// Whether it is among the members.
    pub is_member: bool,
    /// Bytes of the text, as far as it is read, after zlib.
    pub zlib_bytes: u64,
    /// What the target said of each token, (T); empty where its numbers are not finite.
    #[serde(with = "verbatim_lm::columns")]
    pub records: Vec<TokenRecord>,
    /// The signals that take more than records, by name; none where undefined.
    pub values: BTreeMap<String, Option<f64>>,
    /// The scores of [`crate::BLIND_NAMES`], in their order.
    pub blind: [f64; 3],
}

impl std::fmt::Debug for KeptText {
    /// Leaves the tokens out.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeptText").field("n_tokens", &self.records.len()).finish_non_exhaustive()
    }
}

/// Whether records alone give a signal.
fn is_of_records(signal: Signal) -> bool {
    super::one_pass::has(signal) && signal.needs() == super::Need::Nothing && signal != Signal::Lowercase
}

/// The signals that can be computed of all of these texts, in the order of reports.
pub fn kept_signals(texts: &[KeptText]) -> Vec<Signal> {
    let is_there = |signal: &Signal| {
        is_of_records(*signal) || texts.iter().all(|text| text.values.contains_key(signal.name()))
    };
    Signal::ALL.into_iter().filter(is_there).collect()
}

impl KeptText {
    /// Of a document's name, whether it is a member, what the signals `asked` said of its text with records kept, and what
    /// never saw the model.
    pub fn new(
        (id, is_member): (String, bool),
        asked: &[Signal],
        said: TextSignals,
        blind: [f64; 3],
    ) -> KeptText {
        let values = asked.iter().zip(said.values).filter(|(signal, _)| !is_of_records(**signal));
        let values = values.map(|(signal, value)| (signal.name().to_owned(), value)).collect();
        KeptText { id, is_member, zlib_bytes: said.zlib_bytes, records: said.records, values, blind }
    }

    /// What the signals `asked` say of the text: those of records computed anew, the others as they were.
    pub fn values(&self, asked: &[Signal]) -> Vec<Option<f64>> {
        let said = Said {
            zlib_bytes: self.zlib_bytes,
            records: &self.records,
            lowered: &[],
            referred: &[],
            counts: None,
        };
        let value = |signal: &Signal| match is_of_records(*signal) {
            true => value(*signal, &said),
            false => self.values.get(signal.name()).copied().flatten(),
        };
        asked.iter().map(value).collect()
    }
}

/// Writes `records.jsonl`, for its owner's eyes, into a folder that does not have it yet; `about` says what it came from.
///
/// # Errors
/// Those of [`create_file`] and of writing.
pub fn write_kept(folder: &Path, about: Value, texts: &[KeptText]) -> Result<(), Error> {
    let path = folder.join(KEPT_FILE);
    let mut file = create_file(&path, Access::Private)?;
    let header = Header { format: FORMAT.to_owned(), version: VERSION, n_lines: texts.len() as u64, about };
    let mut write = |line: serde_json::Result<Vec<u8>>| {
        let mut line = line.map_err(std::io::Error::from)?;
        line.push(b'\n');
        file.write_all(&line)
    };
    let written = write(serde_json::to_vec(&header))
        .and_then(|()| texts.iter().try_for_each(|text| write(serde_json::to_vec(text))));
    written.map_err(|error| verbatim_store::Error::io(&path, "write", error))?;
    Ok(file.finish()?)
}

/// Reads `records.jsonl` of a folder: what it came from, and its texts.
///
/// # Errors
/// [`Error::BadFile`] with the line for what is not such a file, those of reading.
pub fn read_kept(folder: &Path) -> Result<(Value, Vec<KeptText>), Error> {
    let path = folder.join(KEPT_FILE);
    let bytes = Bytes::open(&path)?;
    let bad = |line: usize, cause: &str| Error::BadFile {
        path: path.clone(),
        cause: format!("line {line} {cause}"),
    };
    let mut lines = bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(text, _)| !text.is_empty());
    let header: Option<Header> = lines.next().and_then(|(text, _)| serde_json::from_slice(text).ok());
    let header = header
        .filter(|header| header.format == FORMAT && header.version == VERSION)
        .ok_or_else(|| bad(1, &format!("does not say `{FORMAT}` of version {VERSION}")))?;
    let read = |(text, line): (&[u8], usize)| {
        let text: KeptText = serde_json::from_slice(text).map_err(|error| {
            bad(line, &format!("is no text's records: column {}: {}", error.column(), json_fault(&error)))
        })?;
        match text.blind.iter().chain(text.values.values().flatten()).all(|value| value.is_finite()) {
            true => Ok(text),
            false => Err(bad(line, "has a value that is not finite")),
        }
    };
    let texts = lines.map(read).collect::<Result<Vec<KeptText>, Error>>()?;
    if texts.len() as u64 != header.n_lines {
        return Err(bad(
            texts.len() + 1,
            &format!("is the last of {}; the file was cut", header.n_lines + 1),
        ));
    }
    Ok((header.about, texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::testing::{Table, ask};
    use crate::infer::{Inferring, Need};

    fn kept(table: &Table, texts: &[&str]) -> Vec<KeptText> {
        let mut inferring = Inferring { keeps_records: true, ..table.inferring() };
        let asked = [Signal::Lowercase, Signal::Loss, Signal::Pac];
        let said = ask(&mut inferring, &asked, texts);
        let of_text = |(text, said): (&&str, TextSignals)| {
            KeptText::new((format!("a/{text}"), true), &asked, said, [0.5, 3.0, 0.0])
        };
        texts.iter().zip(said).map(of_text).collect()
    }

    #[test]
    fn kept_records_give_the_bits_that_the_model_gave() {
        let table = Table::new();
        let texts = ["aaB", "a b", "cccc d e", ""];
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(&table, &texts);
        assert_eq!(kept[0].values.len(), 2, "the loss is in the records");
        write_kept(folder.path(), serde_json::json!({"seed": 1}), &kept).unwrap();
        let (about, read) = read_kept(folder.path()).unwrap();
        assert!(about["seed"] == 1 && read == kept);
        let signals = kept_signals(&read);
        let is_there = |signal: &Signal| signal.needs() == Need::Nothing || *signal == Signal::Pac;
        assert!(Signal::ALL.into_iter().filter(is_there).eq(signals.iter().copied()));
        let asked = ask(&mut table.inferring(), &signals, &texts);
        for (text, asked) in read.iter().zip(asked) {
            assert_eq!(text.values(&signals), asked.values);
            assert!(asked.records.is_empty());
        }
    }

    #[test]
    fn fault_46_kept_records_that_are_cut_or_foreign_are_refused_with_their_line() {
        let table = Table::new();
        let folder = tempfile::tempdir().unwrap();
        write_kept(folder.path(), Value::Null, &kept(&table, &["aaB", "ab"])).unwrap();
        let whole = std::fs::read_to_string(folder.path().join(KEPT_FILE)).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        for (text, line) in [
            (String::new(), 1),
            (lines[1..].join("\n"), 1),
            (whole.replace("\"version\":1", "\"version\":2"), 1),
            (lines[..2].join("\n"), 2),
            (whole[..whole.len() - 9].to_owned(), 3),
            (whole.replacen("\"rank\":[", "\"rank\":[7,", 1), 2),
            (whole.replacen("\"id\":\"a/aaB\"", "\"id\":\"quiet heron", 1), 2),
        ] {
            let folder = tempfile::tempdir().unwrap();
            verbatim_store::write_private(&folder.path().join(KEPT_FILE), text.as_bytes()).unwrap();
            let error = read_kept(folder.path()).unwrap_err();
            assert!(error.to_string().contains(&format!("line {line} ")), "{error}");
            assert!(!error.to_string().contains("heron") && error.exit_code() == 65, "{error}");
        }
    }
}

//! Samples, records and ledgers on disk: lines of JSON under one line that says what they are and how many.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_store::{Access, Bytes, create_file, json_fault};

use crate::audit::Audited;
use crate::canary::Canary;
use crate::discoverable::Continuation;
use crate::draw::DrawnSample;
use crate::error::{Error, Result};
use crate::score::ScoredSample;
use crate::target::{Copies, Role};

/// The file of drawn samples in a run's folder.
pub const SAMPLES_FILE: &str = "samples.jsonl";

/// The file of scored samples in a run's folder.
pub const RECORDS_FILE: &str = "records.jsonl";

/// The file of what was found at each place that a model was asked for.
pub const TARGETS_FILE: &str = "targets.jsonl";

const SAMPLES: &str = "verbatim samples";
const RECORDS: &str = "verbatim records";
const CANARIES: &str = "verbatim canaries";
const TARGETS: &str = "verbatim targets";
const VERSION: u32 = 1;

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    n_lines: u64,
}

/// Writes `samples.jsonl`, for its owner's eyes, into a folder that does not have it yet.
///
/// # Errors
/// Those of [`create_file`] and of writing.
pub fn save_samples(dir: &Path, drawn: &[DrawnSample]) -> Result<()> {
    write_lines(&dir.join(SAMPLES_FILE), SAMPLES, drawn, Access::Private)
}

/// Writes `records.jsonl`, for its owner's eyes, into a folder that does not have it yet.
///
/// # Errors
/// Those of [`create_file`] and of writing.
pub fn save_records(dir: &Path, scored: &[ScoredSample]) -> Result<()> {
    write_lines(&dir.join(RECORDS_FILE), RECORDS, scored, Access::Private)
}

/// Writes `targets.jsonl`, for its owner's eyes, into a folder that does not have it yet: what was found at each place that
/// the model was asked for, without its text.
///
/// # Errors
/// Those of [`create_file`] and of writing.
pub fn save_targets(dir: &Path, audited: &Audited) -> Result<()> {
    let lines: Vec<TargetLine<'_>> = audited
        .targets
        .iter()
        .zip(&audited.continuations)
        .map(|(target, continuations)| TargetLine {
            label: &target.label,
            start_byte: target.start_byte,
            role: target.role,
            copies: target.copies,
            continuations,
        })
        .collect();
    write_lines(&dir.join(TARGETS_FILE), TARGETS, &lines, Access::Private)
}

/// A target and what was found of it: prefix by prefix, suffix by suffix.
#[derive(Serialize)]
struct TargetLine<'a> {
    label: &'a str,
    start_byte: u64,
    role: Role,
    copies: Option<Copies>,
    continuations: &'a [Option<Vec<Continuation>>],
}

/// Reads the samples of a run, and what the models said of them, sorted by strategy and number.
///
/// # Errors
/// [`Error::BadFile`] with the line, or those of reading.
pub fn load_run(dir: &Path) -> Result<(Vec<DrawnSample>, Vec<ScoredSample>)> {
    let drawn: Vec<DrawnSample> = read_lines(&dir.join(SAMPLES_FILE), SAMPLES)?;
    let path = dir.join(RECORDS_FILE);
    let scored: Vec<ScoredSample> = read_lines(&path, RECORDS)?;
    let bad = |line, cause: &str| Error::BadFile { path: path.clone(), line, cause: cause.to_owned() };
    if drawn.len() != scored.len() {
        return Err(bad(1, "does not hold a line for each sample"));
    }
    let mut all = BTreeMap::new();
    // The first sample is in the second line.
    for ((drawn, scored), line) in drawn.into_iter().zip(scored).zip(2..) {
        let place = (drawn.strategy, drawn.index);
        if (scored.strategy, scored.index) != place {
            return Err(bad(line, "is about another sample than the same line of the samples"));
        }
        if all.insert(place, (drawn, scored)).is_some() {
            return Err(bad(line, "is about a sample that stood before"));
        }
    }
    Ok(all.into_values().unzip())
}

/// Writes a ledger to a new file. A line is a [`Canary`], or one with fields beside it, which [`read_ledger`] skips.
///
/// # Errors
/// Those of [`create_file`] and of writing.
pub fn write_ledger<L: Serialize>(path: &Path, ledger: &[L], access: Access) -> Result<()> {
    write_lines(path, CANARIES, ledger, access)
}

/// Reads a ledger of canaries.
///
/// # Errors
/// [`Error::BadFile`] with the line, or those of reading.
pub fn read_ledger(path: &Path) -> Result<Vec<Canary>> {
    read_lines(path, CANARIES)
}

fn write_lines<T: Serialize>(path: &Path, format: &str, items: &[T], access: Access) -> Result<()> {
    let mut output = create_file(path, access)?;
    let header = Header { format: format.to_owned(), version: VERSION, n_lines: items.len() as u64 };
    write_line(&mut output, &header)
        .and_then(|()| items.iter().try_for_each(|item| write_line(&mut output, item)))
        .map_err(|source| verbatim_store::Error::io(path, "write", source))?;
    Ok(output.finish()?)
}

/// Writes one line of JSON.
pub(crate) fn write_line(output: &mut impl Write, item: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *output, item)?;
    output.write_all(b"\n")
}

fn read_lines<T: DeserializeOwned>(path: &Path, format: &str) -> Result<Vec<T>> {
    let bytes = Bytes::open(path)?;
    let bad = |line: usize, cause: String| Error::BadFile { path: path.to_path_buf(), line, cause };
    let mut lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    let (first, _) = lines.next().expect("splitting yields at least one piece");
    let header: Header = serde_json::from_slice(first)
        .map_err(|_| bad(1, format!("does not begin with a line that says `{format}`")))?;
    if header.format != format {
        return Err(bad(1, format!("does not say `{format}`, but something else")));
    }
    if header.version != VERSION {
        return Err(bad(1, format!("has version {}, expected {VERSION}", header.version)));
    }
    let mut items = Vec::new();
    let mut last = 1;
    for (text, line) in lines.filter(|(text, _)| !text.is_empty()) {
        items.push(read_line(path, line, text)?);
        last = line;
    }
    if items.len() as u64 != header.n_lines {
        return Err(bad(
            last,
            format!("ends after {} of {} lines; the file was cut", items.len(), header.n_lines),
        ));
    }
    Ok(items)
}

/// Reads one line of JSON; what stands in it is in no message.
pub(crate) fn read_line<T: DeserializeOwned>(path: &Path, line: usize, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        let cause = format!("column {}: {}", error.column(), json_fault(&error));
        Error::BadFile { path: path.to_path_buf(), line, cause }
    })
}

#[cfg(test)]
mod tests {
    use verbatim_lm::Scripted;

    use super::*;
    use crate::testing::{asking, canary, config, scorers, tokenizer};
    use crate::{Strategy, draw, score};

    fn run() -> (Vec<DrawnSample>, Vec<ScoredSample>) {
        let tokenizer = tokenizer();
        let known = tokenizer.encode("The vault code is four, nine, two, seven and again seven.");
        let model = Scripted::new(tokenizer.vocab_size(), 128).begins_with(0).knows(known, 0.8);
        let drawn = draw(&model, tokenizer, &config(&Strategy::ALL, 4), asking(8)).unwrap().samples;
        let scored = score(&scorers(&model), &drawn, None, asking(8)).unwrap();
        (drawn, scored)
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_saved_loads_equal_and_ranks_without_a_model() {
        let (drawn, scored) = run();
        let dir = tempfile::tempdir().unwrap();
        save_samples(dir.path(), &drawn).unwrap();
        save_records(dir.path(), &scored).unwrap();
        assert!(load_run(dir.path()).unwrap() == (drawn, scored));
    }

    #[test]
    fn records_are_those_of_the_samples() {
        let (drawn, scored) = run();
        let twice = (vec![drawn[0].clone(); 2], vec![scored[0].clone(); 2]);
        let pairs = [
            ((drawn[1..3].to_vec(), scored[..2].to_vec()), 2),
            ((drawn.clone(), scored[..1].to_vec()), 1),
            (twice, 3),
        ];
        for ((drawn, scored), line) in pairs {
            let dir = tempfile::tempdir().unwrap();
            save_samples(dir.path(), &drawn).unwrap();
            save_records(dir.path(), &scored).unwrap();
            let error = load_run(dir.path()).unwrap_err();
            assert!(matches!(error, Error::BadFile { line: there, .. } if there == line), "{error}");
        }
    }

    #[test]
    fn fault_77_samples_and_records_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let (drawn, scored) = run();
        let dir = tempfile::tempdir().unwrap();
        save_samples(dir.path(), &drawn).unwrap();
        save_records(dir.path(), &scored).unwrap();
        for file in [SAMPLES_FILE, RECORDS_FILE] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn fault_46_a_cut_or_foreign_file_is_refused_with_its_line() {
        let (drawn, scored) = run();
        let dir = tempfile::tempdir().unwrap();
        save_records(dir.path(), &scored).unwrap();
        let whole = text(&dir.path().join(RECORDS_FILE));
        let lines: Vec<&str> = whole.lines().collect();
        let cases = [
            (String::new(), 1),
            ("{}\n".to_owned(), 1),
            (whole.replace("verbatim records", "verbatim samples"), 1),
            (whole.replace("\"version\":1", "\"version\":2"), 1),
            (lines[..3].join("\n"), 3),
            (whole[..whole.len() - 20].to_owned(), lines.len()),
            (whole.replacen("\"rank\":[", "\"rank\":[7,", 1), 2),
            (whole.replacen("\"log_prob\":[", "\"log_prob\":[null,", 1), 2),
            // What stands in a file must not stand in the message.
            (whole.replace("verbatim records", "quiet heron"), 1),
            (whole.replacen("\"log_prob\":[", "\"log_prob\":[\"quiet heron\",", 1), 2),
            (whole.replacen("\"strategy\":\"", "\"strategy\":\"quiet heron", 1), 2),
            (whole.replacen("\"strategy\"", "\"quiet heron\"", 1), 2),
            (format!("{}\n\"quiet heron\"\n", lines[0]), 2),
        ];
        for (bytes, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            verbatim_store::write_private(&dir.path().join(RECORDS_FILE), bytes.as_bytes()).unwrap();
            save_samples(dir.path(), &drawn).unwrap();
            let error = load_run(dir.path()).unwrap_err();
            assert_eq!(error.exit_code(), 65, "{error}");
            assert!(matches!(error, Error::BadFile { line, .. } if line == expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("heron"), "{error:?}");
        }
    }

    #[test]
    fn a_ledger_may_have_more_fields_than_canaries() {
        #[derive(Serialize)]
        struct Line {
            #[serde(flatten)]
            canary: Canary,
            documents: Vec<String>,
        }
        let canaries = vec![canary("a", 4, "It was ", "so"), canary("b", 0, "It was ", "not")];
        let lines: Vec<Line> = canaries
            .iter()
            .map(|canary| Line { canary: canary.clone(), documents: vec!["x1".to_owned()] })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("canaries.jsonl");
        write_ledger(&path, &lines, Access::Shared).unwrap();
        assert_eq!(read_ledger(&path).unwrap(), canaries);
        assert!(text(&path).starts_with("{\"format\":\"verbatim canaries\",\"version\":1,\"n_lines\":2}\n"));
    }
}

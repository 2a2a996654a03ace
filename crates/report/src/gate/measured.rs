//! A run that was measured before, read back from its `report.json`. A report may come from anywhere: everything in it is
//! checked or escaped, and no text of a finding is taken over, revealed or not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::gate::day::Day;
use crate::measure::Measure;
use crate::printable::PrintableLine;
use crate::report::SCHEMA_VERSION;

/// The longest report that is read, in bytes.
const MAX_REPORT_BYTES: usize = 256 << 20;
/// The most measures that a report may hold.
const MAX_MEASURES: usize = 10_000;
/// The longest name that is taken over from a report, in characters.
const MAX_CHARS: usize = 200;
/// How many findings stand as evidence beside a bound.
const N_SHOWN: usize = 10;

/// A run that was measured before.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredRun {
    pub(crate) name: String,
    pub(crate) schema_version: u64,
    pub(crate) kind: String,
    pub(crate) started: Option<Day>,
    pub(crate) measures: Vec<Measure>,
    /// Fingerprints of the corpora that findings were proven in.
    pub(crate) corpora: Vec<String>,
    pub(crate) model: Option<MeasuredModel>,
    /// Whether findings were proven in a corpus.
    pub(crate) is_verified: bool,
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) findings: Option<Evidence>,
    pub(crate) canaries: Option<Evidence>,
}

/// The model that a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeasuredModel {
    pub(crate) name: String,
    /// SHA-256 of its files.
    pub(crate) sha256: Vec<String>,
    /// Fingerprint of the corpus that the checkpoint says it was trained on.
    pub(crate) trained_on: Option<String>,
}

/// What was found, by keyed names: how much, and how often it stands in the corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How many texts were found.
    pub n_found: u64,
    /// How many of them stand in more than one document.
    pub n_repeated: u64,
    /// The shortest match among those, in bytes; canaries have none.
    pub shortest_repeated_bytes: Option<u64>,
    /// Those that stand in the most documents.
    pub shown: Vec<EvidenceRow>,
}

/// One text that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EvidenceRow {
    /// How many documents hold it, or how often a canary was planted.
    pub n_documents: u64,
    /// What kind of text it is.
    pub kind: String,
    /// The keyed hash that the report names it by.
    pub name: String,
    /// Its length in characters.
    pub n_chars: u64,
}

#[derive(Deserialize)]
struct Head {
    schema_version: u64,
    kind: String,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    result: WrittenResult<'a>,
    run: Option<WrittenRun>,
}

#[derive(Deserialize)]
struct WrittenResult<'a> {
    #[serde(default)]
    measures: Vec<Measure>,
    provenance: Option<WrittenProvenance>,
    /// Reports of other kinds may call something else by these names.
    #[serde(borrow)]
    verification: Option<&'a RawValue>,
    #[serde(borrow)]
    findings: Option<&'a RawValue>,
    #[serde(borrow)]
    canaries: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WrittenRun {
    started: Option<String>,
}

#[derive(Default, Deserialize)]
struct WrittenProvenance {
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    #[serde(default)]
    corpora: Vec<WrittenCorpus>,
    #[serde(default)]
    models: Vec<WrittenModel>,
}

#[derive(Deserialize)]
struct WrittenCorpus {
    role: String,
    fingerprint: String,
}

#[derive(Deserialize)]
struct WrittenModel {
    role: String,
    name: String,
    trained_on: Option<String>,
    #[serde(default)]
    files: Vec<WrittenFile>,
}

#[derive(Deserialize)]
struct WrittenFile {
    sha256: String,
}

#[derive(Deserialize)]
struct WrittenFinding {
    verdict: String,
    text: WrittenShown,
    longest_match_bytes: u64,
    n_documents: u64,
}

#[derive(Deserialize)]
struct WrittenCanaries<'a> {
    #[serde(borrow)]
    recited: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct WrittenRecited {
    copies: u64,
    secret: WrittenShown,
}

#[derive(Deserialize)]
struct WrittenShown {
    kind: String,
    name: String,
    n_chars: u64,
}

impl MeasuredRun {
    /// The run that a report in `bytes` tells of; `name` is what a verdict calls it, `path` is for messages.
    ///
    /// # Errors
    /// [`Error::BadReport`] for what is no report of this schema version, and for numbers that cannot be.
    pub fn parse(name: &str, path: &Path, bytes: &[u8]) -> Result<MeasuredRun> {
        let run = MeasuredRun::parse_baseline(name, path, bytes)?;
        if run.schema_version != u64::from(SCHEMA_VERSION) {
            let cause = format!("a report of schema version {}, not {SCHEMA_VERSION}", run.schema_version);
            return Err(Error::bad_report(path, cause));
        }
        Ok(run)
    }

    /// As [`MeasuredRun::parse`], for a baseline: of a report of another schema version nothing but that is kept.
    ///
    /// # Errors
    /// [`Error::BadReport`] for what is no report, and for numbers that cannot be.
    pub fn parse_baseline(name: &str, path: &Path, bytes: &[u8]) -> Result<MeasuredRun> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(Error::bad_report(path, "longer than a report is"));
        }
        // Messages of the parser quote what stands in the file.
        let not_ours = |error: &serde_json::Error| {
            let fault = verbatim_store::json_fault(error);
            Error::bad_report(path, format!("no report of this program: line {}: {fault}", error.line()))
        };
        let head: Head = serde_json::from_slice(bytes).map_err(|error| not_ours(&error))?;
        let mut run = MeasuredRun::empty(name, head);
        if run.schema_version != u64::from(SCHEMA_VERSION) {
            return Ok(run);
        }
        let whole: Whole<'_> = serde_json::from_slice(bytes).map_err(|error| not_ours(&error))?;
        let result = whole.result;
        check_measures(&result.measures).map_err(|cause| Error::bad_report(path, cause))?;
        run.measures = result.measures;
        let provenance = result.provenance.unwrap_or_default();
        run.model = audited(&provenance.models).or_else(|| drawn_from(&provenance.parameters));
        run.corpora = proven_in(provenance.corpora);
        run.is_verified = match result.verification {
            Some(word) => word.get() == "\"corpus\"",
            None => !run.corpora.is_empty(),
        };
        run.parameters = provenance.parameters;
        run.started = whole.run.and_then(|run| run.started).and_then(|time| Day::parse(time.get(..10)?));
        run.findings = result.findings.and_then(|rows| read(rows.get())).map(findings);
        run.canaries = result.canaries.and_then(|table| read(table.get())).map(canaries);
        Ok(run)
    }

    fn empty(name: &str, head: Head) -> MeasuredRun {
        MeasuredRun {
            name: clipped(name),
            schema_version: head.schema_version,
            kind: clipped(&head.kind),
            started: None,
            measures: Vec::new(),
            corpora: Vec::new(),
            model: None,
            is_verified: false,
            parameters: BTreeMap::new(),
            findings: None,
            canaries: None,
        }
    }

    /// What was found that a measure rests on.
    pub(crate) fn evidence(&self, measure: &Measure) -> Option<Evidence> {
        let found = match measure.evidence.as_deref() {
            Some("canaries") => &self.canaries,
            Some("findings") => &self.findings,
            _ => &None,
        };
        found.clone().filter(|evidence| evidence.n_found > 0)
    }
}

fn check_measures(measures: &[Measure]) -> std::result::Result<(), String> {
    if measures.len() > MAX_MEASURES {
        return Err("more measures than a report holds".to_owned());
    }
    for (number, measure) in measures.iter().enumerate() {
        if let Some(fault) = measure.fault() {
            return Err(format!("measure {}: {fault}", number + 1));
        }
        if measures[..number].iter().any(|other| other.name == measure.name) {
            return Err(format!("measure {}: its name stood before", number + 1));
        }
    }
    Ok(())
}

/// The model that a run is about: not one that it was compared with.
fn audited(models: &[WrittenModel]) -> Option<MeasuredModel> {
    let is_audited = |model: &&WrittenModel| matches!(model.role.as_str(), "target" | "audited");
    let model = models.iter().find(is_audited).or(models.first())?;
    let mut sha256: Vec<String> = model.files.iter().map(|file| clipped(&file.sha256)).collect();
    sha256.sort();
    let trained_on = model.trained_on.as_deref().map(clipped);
    Some(MeasuredModel { name: clipped(&model.name), sha256, trained_on })
}

/// The model of a run that ranked again what another had drawn.
fn drawn_from(parameters: &BTreeMap<String, Value>) -> Option<MeasuredModel> {
    let mut origin = parameters.get("drawn")?;
    loop {
        if let Some(first) = origin.get(0) {
            origin = first;
            continue;
        }
        let models = Vec::<WrittenModel>::deserialize(origin.get("models")?).ok()?;
        match audited(&models) {
            Some(model) => return Some(model),
            None => origin = origin.get("parameters")?.get("drawn")?,
        }
    }
}

/// The corpora that findings were proven in; where none has that role, all that were read.
fn proven_in(corpora: Vec<WrittenCorpus>) -> Vec<String> {
    let has_proof = corpora.iter().any(|corpus| corpus.role == "proof");
    let proofs = corpora.into_iter().filter(|corpus| !has_proof || corpus.role == "proof");
    let mut fingerprints: Vec<String> = proofs.map(|corpus| clipped(&corpus.fingerprint)).collect();
    fingerprints.sort();
    fingerprints.dedup();
    fingerprints
}

/// A part of a report that other kinds may call the same but fill otherwise.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn findings(rows: Vec<&RawValue>) -> Evidence {
    let rows = rows.into_iter().filter_map(|row| read::<WrittenFinding>(row.get()));
    let memorized: Vec<WrittenFinding> = rows.filter(|row| row.verdict == "memorized").collect();
    let repeated = memorized.iter().filter(|row| row.n_documents > 1);
    let shortest_repeated_bytes = repeated.map(|row| row.longest_match_bytes).min();
    let rows = memorized.into_iter().map(|row| evidence_row(&row.text, row.n_documents));
    Evidence { shortest_repeated_bytes, ..summarized(rows.collect()) }
}

fn canaries(table: WrittenCanaries<'_>) -> Evidence {
    let rows = table.recited.into_iter().filter_map(|row| read::<WrittenRecited>(row.get()));
    // A control was never planted, so that nothing of it was memorized.
    let planted = rows.filter(|row| row.copies > 0);
    summarized(planted.map(|row| evidence_row(&row.secret, row.copies)).collect())
}

fn evidence_row(shown: &WrittenShown, n_documents: u64) -> EvidenceRow {
    let (kind, name) = (clipped(&shown.kind), clipped(&shown.name));
    EvidenceRow { n_documents, kind, name, n_chars: shown.n_chars }
}

fn summarized(mut rows: Vec<EvidenceRow>) -> Evidence {
    rows.sort_by(|a, b| b.n_documents.cmp(&a.n_documents).then_with(|| a.cmp(b)));
    let n_repeated = rows.iter().filter(|row| row.n_documents > 1).count() as u64;
    let n_found = rows.len() as u64;
    rows.truncate(N_SHOWN);
    Evidence { n_found, n_repeated, shortest_repeated_bytes: None, shown: rows }
}

/// The beginning of a text from a report, in characters that steer and hide nothing.
fn clipped(text: &str) -> String {
    let start: String = text.chars().take(MAX_CHARS).collect();
    PrintableLine(&start).to_string()
}

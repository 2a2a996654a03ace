//! A verdict as SARIF 2.1.0: a rule for each bound and a result for each that does not pass, at its line of the policy. A
//! bound that nothing shows is of kind `open`, whose level must be `none`; the exit code says that it is no success.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::gate::advice::{bound_text, evidence_text, increase_text, measured_text};
use crate::gate::text::{waiver_of, waiver_text};
use crate::gate::{BoundRow, GateBody, GateVerdict, Severity};
use crate::printable::PrintableLine;

/// Where the schema of the format stands.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A verdict as SARIF 2.1.0.
///
/// # Errors
/// When the document cannot be put together: a mistake of ours.
pub fn gate_sarif(body: &GateBody) -> Result<String> {
    let mut known = BTreeSet::new();
    // A bound that was held against several runs is one rule.
    let rules: Vec<&BoundRow> = body.bounds.iter().filter(|row| known.insert(row.rule.as_str())).collect();
    let place = |row: &BoundRow| rules.iter().position(|rule| rule.rule == row.rule);
    let results: Vec<Value> = body
        .bounds
        .iter()
        .filter(|row| row.verdict != GateVerdict::Pass)
        .filter_map(|row| Some(result(row, place(row)?, body)))
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "verbatim",
                "version": body.provenance.version,
                "rules": rules.iter().map(|row| rule(row)).collect::<Vec<Value>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "exitCode": body.verdict.exit_code(),
                "exitCodeDescription": body.verdict.name(),
            }],
            "results": results,
            "properties": { "verdict": body.verdict, "today": body.today },
        }],
    });
    let mut text = serde_json::to_string_pretty(&log)
        .map_err(|error| Error::Render { path: "gate.sarif".into(), cause: error.to_string() })?;
    text.push('\n');
    Ok(text)
}

fn rule(row: &BoundRow) -> Value {
    json!({
        "id": row.rule,
        "shortDescription": { "text": bound_text(row) },
        "defaultConfiguration": { "level": level(row.severity) },
        "properties": { "security-severity": score(row.severity), "severity": row.severity, "tags": ["security", "privacy"] },
    })
}

fn result(row: &BoundRow, rule_index: usize, body: &GateBody) -> Value {
    let (kind, level) = match row.verdict {
        GateVerdict::Fail => ("fail", level(row.severity)),
        _ => ("open", "none"),
    };
    let identity = format!("{}\n{}", row.rule, row.run.as_deref().unwrap_or_default());
    let mut result = json!({
        "ruleId": row.rule,
        "ruleIndex": rule_index,
        "kind": kind,
        "level": level,
        "message": { "text": message(row) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&body.policy) },
            "region": { "startLine": row.line },
        }}],
        "partialFingerprints": { "verbatimBound/v1": verbatim_store::xxh3_128_hex(identity.as_bytes()) },
        "properties": {
            "measured": row.measured, "increase": row.increase, "evidence": row.evidence,
            "run": row.run.as_deref().map(shown), "model": row.model.as_deref().map(shown),
        },
    });
    if let Some(waiver) = waiver_of(row, body) {
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": shown(&waiver_text(waiver)) }]);
    }
    result
}

/// What was measured, why it matters and what to do. Brackets would be links in a message of SARIF.
fn message(row: &BoundRow) -> String {
    let mut sentences = vec![format!("{}: {}", bound_text(row), row.verdict.name())];
    sentences.push(format!("measured {}", measured_text(row)));
    sentences.extend(increase_text(row).map(|text| format!("increase {text}")));
    sentences.push(row.reason.clone());
    sentences.extend(evidence_text(row));
    sentences.extend(row.advice.iter().cloned());
    shown(&sentences.join(". ")).replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]")
}

fn shown(text: &str) -> String {
    PrintableLine(text).to_string()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// The middle of the range that code scanning calls by the severity's name.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

/// A path as a relative reference: what may not stand in a path, and a colon, which would end a scheme, in percent signs.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

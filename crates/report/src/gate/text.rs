//! A verdict for people on a terminal: what is worst first, and for each bound what was measured, why, and what to do.

use crate::gate::advice::{bound_text, evidence_text, increase_text, measured_text};
use crate::gate::{BoundRow, GateBody, GateVerdict, LimitKind, WaiverRow, WaiverState};
use crate::printable::PrintableLine;

/// How many findings stand under a bound.
const N_SHOWN: usize = 3;

/// A verdict on one screen.
pub fn gate_text(body: &GateBody) -> String {
    let mut out = String::new();
    line(&mut out, "", &body.headline());
    for row in by_urgency(body) {
        out.push('\n');
        bound(row, body, &mut out);
    }
    for waiver in body.waivers.iter().filter(|waiver| waiver.state != WaiverState::Applied) {
        out.push('\n');
        line(&mut out, "", &waiver_text(waiver));
    }
    out
}

/// What is worst first; the policy's order within.
pub(crate) fn by_urgency(body: &GateBody) -> Vec<&BoundRow> {
    let mut rows: Vec<&BoundRow> = body.bounds.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.outcome()), !row.is_waived, row.severity));
    rows
}

/// What a bound counts as, in a word; a waived one keeps what it would be.
pub(crate) fn outcome_text(row: &BoundRow) -> String {
    match row.is_waived {
        true => format!("waived {}", row.verdict.name()),
        false => row.verdict.name().to_owned(),
    }
}

/// The waiver that covers a bound.
pub(crate) fn waiver_of<'a>(row: &BoundRow, body: &'a GateBody) -> Option<&'a WaiverRow> {
    let covers = |waiver: &&WaiverRow| waiver.state == WaiverState::Applied && waiver.measure == row.measure;
    body.waivers.iter().find(covers).filter(|_| row.is_waived)
}

/// What became of a waiver.
pub(crate) fn waiver_text(waiver: &WaiverRow) -> String {
    let WaiverRow { measure, reason, until, approved_by, .. } = waiver;
    let state = match waiver.state {
        WaiverState::Applied => format!("waived until {until}"),
        WaiverState::Expired => format!("the waiver of {measure} expired on {until} and covers nothing"),
        WaiverState::Unused => format!("the waiver of {measure} until {until} covers nothing"),
    };
    format!("{state}; approved by {approved_by}: {reason}")
}

fn bound(row: &BoundRow, body: &GateBody, out: &mut String) {
    let head = format!("{:<9} {:<13} {}", row.severity.name(), outcome_text(row), bound_text(row));
    line(out, "", &head);
    let mut detail = |name: &str, text: &str| line(out, &format!("  {name:<9}"), text);
    detail("measured", &measured_text(row));
    if let Some(increase) = increase_text(row) {
        detail("increase", &increase);
    }
    if let Some(run) = &row.run {
        let model = row.model.as_ref().map_or(String::new(), |model| format!(", model {model}"));
        detail("in", &format!("{run}{model}"));
    }
    detail("because", &row.reason);
    if let Some(waiver) = waiver_of(row, body) {
        detail("waiver", &waiver_text(waiver));
    }
    if let Some(evidence) = evidence_text(row).filter(|_| row.kind != LimitKind::Min) {
        detail("evidence", &evidence);
        for found in row.evidence.iter().flat_map(|evidence| &evidence.shown).take(N_SHOWN) {
            let times = if found.n_documents == 1 { "time" } else { "times" };
            let text = format!(
                "{} {}, {} characters, {} {times}",
                found.kind, found.name, found.n_chars, found.n_documents
            );
            detail("", &text);
        }
    }
    for advice in row.advice.iter().filter(|_| row.verdict != GateVerdict::Pass) {
        detail("do", advice);
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    out.push_str(format!("{name}{}", PrintableLine(text)).trim_end());
    out.push('\n');
}

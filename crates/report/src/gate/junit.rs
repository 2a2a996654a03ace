//! A verdict as JUnit XML: a test case for each bound. One that is shown not to hold is a failure; one that nothing shows is
//! an error, not skipped, so that nothing turns green by it; one that is waived is skipped, with the waiver as message.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::error::{Error, Result};
use crate::gate::advice::{bound_text, evidence_text, increase_text, measured_text};
use crate::gate::text::{waiver_of, waiver_text};
use crate::gate::{BoundRow, GateBody, GateVerdict};
use crate::printable::Printable;

/// A verdict as JUnit XML.
///
/// # Errors
/// When the document cannot be put together: a mistake of ours.
pub fn gate_junit(body: &GateBody) -> Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let failed = |cause: String| Error::Render { path: "junit.xml".into(), cause };
    document(body, &mut writer).map_err(|error| failed(error.to_string()))?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(|error| failed(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

fn document(body: &GateBody, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let n_waived = body.bounds.iter().filter(|row| row.is_waived).count();
    let n_cases = body.bounds.len().max(1);
    // A policy without bounds is a case of its own that nothing shows.
    let n_errors = body.n_bounds(GateVerdict::Inconclusive).max(u64::from(body.bounds.is_empty()));
    let counts = [
        ("tests", n_cases.to_string()),
        ("failures", body.n_bounds(GateVerdict::Fail).to_string()),
        ("errors", n_errors.to_string()),
        ("skipped", n_waived.to_string()),
    ];
    let suite = |tag: &'static str| {
        let named = BytesStart::new(tag).with_attributes([("name", "verbatim gate")]);
        named.with_attributes(counts.iter().map(|(name, count)| (*name, count.as_str())))
    };
    writer.write_event(Event::Start(suite("testsuites")))?;
    writer.write_event(Event::Start(suite("testsuite")))?;
    for row in &body.bounds {
        case(row, body, writer)?;
    }
    if body.bounds.is_empty() {
        let start =
            BytesStart::new("testcase").with_attributes([("classname", "policy"), ("name", "bounds")]);
        writer.write_event(Event::Start(start))?;
        element(writer, "error", ("inconclusive", "the policy has no bounds"), "")?;
        writer.write_event(Event::End(BytesEnd::new("testcase")))?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
    writer.write_event(Event::End(BytesEnd::new("testsuites")))
}

fn case(row: &BoundRow, body: &GateBody, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let name = characters(&format!("{} ({})", bound_text(row), row.rule));
    let class = characters(row.run.as_deref().unwrap_or("no run"));
    let start =
        BytesStart::new("testcase").with_attributes([("classname", class.as_str()), ("name", name.as_str())]);
    writer.write_event(Event::Start(start))?;
    let detail = detail(row);
    match (waiver_of(row, body), row.verdict) {
        (Some(waiver), verdict) => {
            let message = format!("{}, {}", verdict.name(), waiver_text(waiver));
            element(writer, "skipped", ("waived", &message), "")?;
            element(writer, "system-out", ("", ""), &detail)?;
        }
        (None, GateVerdict::Fail) => element(writer, "failure", (row.severity.name(), &row.reason), &detail)?,
        (None, GateVerdict::Inconclusive) => {
            element(writer, "error", ("inconclusive", &row.reason), &detail)?
        }
        (None, GateVerdict::Pass) => element(writer, "system-out", ("", ""), &detail)?,
    }
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

/// What was measured and what to do, a line each.
fn detail(row: &BoundRow) -> String {
    let mut lines =
        vec![format!("severity: {}", row.severity.name()), format!("measured: {}", measured_text(row))];
    lines.extend(increase_text(row).map(|text| format!("increase: {text}")));
    lines.push(format!("because: {}", row.reason));
    lines.extend(evidence_text(row).map(|text| format!("evidence: {text}")));
    lines.extend(row.advice.iter().map(|text| format!("do: {text}")));
    lines.join("\n")
}

fn element(
    writer: &mut Writer<Vec<u8>>,
    tag: &str,
    (kind, message): (&str, &str),
    text: &str,
) -> io::Result<()> {
    let (kind, message) = (characters(kind), characters(message));
    let mut start = BytesStart::new(tag);
    if !kind.is_empty() {
        start.push_attribute(("type", kind.as_str()));
        start.push_attribute(("message", message.as_str()));
    }
    if text.is_empty() {
        return writer.write_event(Event::Empty(start));
    }
    writer.write_event(Event::Start(start))?;
    writer.write_event(Event::Text(BytesText::new(&characters(text))))?;
    writer.write_event(Event::End(BytesEnd::new(tag)))
}

/// The text without what XML 1.0 knows no way to write: controls and U+FFFE, U+FFFF.
fn characters(text: &str) -> String {
    Printable(text).to_string().replace('\u{fffe}', "\\u{fffe}").replace('\u{ffff}', "\\u{ffff}")
}

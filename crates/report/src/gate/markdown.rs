//! A verdict as Markdown for a comment on a pull request. What came from a policy or a report stands as code whose
//! punctuation is written in numbers, so that it is neither markup nor a link nor a mention.

use crate::gate::advice::{bound_text, evidence_text, increase_text, measured_text};
use crate::gate::text::{by_urgency, outcome_text, waiver_of, waiver_text};
use crate::gate::{GateBody, GateVerdict, WaiverState};
use crate::printable::PrintableLine;

/// A verdict as Markdown.
pub fn gate_markdown(body: &GateBody) -> String {
    let mut out = format!("## verbatim gate: {}\n\n{}\n", body.verdict.name(), body.headline());
    if !body.bounds.is_empty() {
        out.push_str("\n| Severity | Verdict | Bound | Measured | Run |\n| --- | --- | --- | --- | --- |\n");
    }
    for row in by_urgency(body) {
        let verdict = match row.outcome() {
            GateVerdict::Pass => outcome_text(row),
            _ => format!("**{}**", outcome_text(row)),
        };
        let run = row.run.as_ref().map_or("–".to_owned(), |run| code(run));
        let (bound, measured) = (code(&bound_text(row)), measured_text(row));
        out.push_str(&format!("| {} | {verdict} | {bound} | {measured} | {run} |\n", row.severity.name()));
    }
    for row in by_urgency(body).into_iter().filter(|row| row.verdict != GateVerdict::Pass) {
        out.push_str(&format!("\n**{}** {}\n\n", outcome_text(row), code(&row.rule)));
        let mut item = |name: &str, text: &str| out.push_str(&format!("- {name}: {}\n", code(text)));
        item("because", &row.reason);
        if let Some(increase) = increase_text(row) {
            item("increase", &increase);
        }
        if let Some(waiver) = waiver_of(row, body) {
            item("waiver", &waiver_text(waiver));
        }
        if let Some(evidence) = evidence_text(row) {
            item("evidence", &evidence);
        }
        for advice in &row.advice {
            item("do", advice);
        }
    }
    for waiver in body.waivers.iter().filter(|waiver| waiver.state != WaiverState::Applied) {
        out.push_str(&format!("\n{}\n", code(&waiver_text(waiver))));
    }
    out
}

/// Text that is shown as it is: no Markdown, HTML, link or mention begins in it.
fn code(text: &str) -> String {
    let shown = PrintableLine(text).to_string();
    let mut out = String::from("<code>");
    let mut previous = ' ';
    let mut rest = shown.chars().peekable();
    while let Some(character) = rest.next() {
        // A point within a number cannot be that of an address.
        let is_decimal =
            character == '.' && previous.is_ascii_digit() && rest.peek().is_some_and(char::is_ascii_digit);
        if character.is_ascii_punctuation() && !is_decimal && !matches!(character, ',' | '%') {
            out.push_str(&format!("&#{};", u32::from(character)));
        } else {
            out.push(character);
        }
        previous = character;
    }
    out.push_str("</code>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::HOSTILE;

    #[test]
    fn no_markup_begins_in_shown_text() {
        let shown = code(&format!("{HOSTILE}|`a`|[x](http://h)|@team #1 www.h.de\n\n# head"));
        let inner = shown.strip_prefix("<code>").unwrap().strip_suffix("</code>").unwrap();
        assert!(
            !inner
                .contains(['<', '>', '|', '`', '[', ']', '(', ')', '@', '*', '_', '\n', '\u{1b}', '/', ':'])
        );
        // A numeric entity is the only thing that & and # and ; are left for.
        let rest = inner
            .split("&#")
            .skip(1)
            .all(|part| part.split_once(';').is_some_and(|(number, _)| number.parse::<u32>().is_ok()));
        assert!(rest, "{inner}");
    }
}

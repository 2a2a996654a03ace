//! What an extraction came to, on one screen.

use super::Align::{Left, Right};
use super::{N_SHOWN, Table, shortened, warnings, wrap};
use crate::at_scale::at_scale_text;
use crate::exposure::exposure_text;
use crate::extract::{ExtractBody, Verification};
use crate::figure::{Rate, grouped, placement_words};
use crate::secrets::{SecretRow, SecretTable};

/// An extraction on one screen.
pub fn extract_text(body: &ExtractBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    if !body.cells.is_empty() {
        if body.canaries.is_some() {
            wrap(&body.samples_sentence(), &mut out);
        }
        out.push_str(match body.verification {
            Verification::Corpus => {
                "\nCandidates that stand verbatim in the corpus, by strategy and metric, with 95% intervals\n"
            }
            Verification::None => "\nCandidates by strategy and metric; looking them up takes a corpus\n",
        });
        let mut table = Table::new([
            ("strategy", Left),
            ("metric", Left),
            ("candidates", Right),
            (if body.verification == Verification::Corpus { "memorized" } else { "" }, Right),
            ("precision", Right),
            ("interval", Right),
        ]);
        for cell in &body.cells {
            let [memorized, precision, interval] = match &cell.precision {
                Some(rate) => [grouped(rate.count), rate.percent(), rate.interval()],
                None => ["unverified".to_owned(), "–".to_owned(), "–".to_owned()],
            };
            let candidates = grouped(cell.n_candidates);
            table.row([
                cell.strategy.clone(),
                cell.metric.clone(),
                candidates,
                memorized,
                precision,
                interval,
            ]);
        }
        table.finish(&mut out);
    }
    if let Some(table) = &body.at_scale {
        at_scale_text(table, body.min_match_tokens, &mut out);
    }
    if let Some(divergence) = &body.divergence {
        wrap(&divergence.sentence(), &mut out);
    }
    if let Some(canaries) = &body.canaries {
        out.push_str("\nPlanted canaries recited word for word, with 95% intervals\n");
        let mut table = Table::new([
            ("canaries stand in", Left),
            ("copies", Right),
            ("recited", Right),
            ("", Right),
            ("interval", Right),
        ]);
        for row in &canaries.rows {
            let name = placement_words(&row.placement).to_lowercase();
            table.row(canary_cells(&name, grouped(row.copies), &row.recited));
        }
        table.row(canary_cells("all planted", String::new(), &canaries.planted));
        table.row(canary_cells("controls, never planted", String::new(), &canaries.controls));
        table.finish(&mut out);
        canaries.exposure.iter().for_each(|exposure| exposure_text(exposure, &mut out));
    }
    // One screen has no room for both; the report has them.
    if body.canaries.is_none() {
        findings(body, &mut out);
    }
    secrets(&body.secrets, &mut out);
    warnings(&body.warnings, &mut out);
    out
}

fn canary_cells(name: &str, copies: String, rate: &Rate) -> [String; 5] {
    [name.to_owned(), copies, rate.fraction(), rate.percent(), rate.interval()]
}

fn findings(body: &ExtractBody, out: &mut String) {
    if body.findings.is_empty() {
        return;
    }
    out.push_str("\nFirst findings\n");
    let mut table = Table::new([
        ("text", Left),
        ("hash", Left),
        ("verdict", Left),
        ("category", Left),
        ("tokens", Right),
        ("docs", Right),
        ("first place", Left),
    ]);
    for finding in body.findings.iter().take(N_SHOWN) {
        table.row([
            shortened(&finding.text.to_string(), 16),
            finding.text.name.clone(),
            finding.verdict.clone(),
            finding.category.clone().unwrap_or_else(|| "–".to_owned()),
            grouped(finding.longest_match_tokens),
            grouped(finding.n_documents),
            shortened(finding.first.as_deref().unwrap_or("–"), 24),
        ]);
    }
    table.finish(out);
}

/// Each kind in one half-sentence: the figures of the table on the page.
fn secrets(table: &SecretTable, out: &mut String) {
    let words = |row: &SecretRow| {
        let samples =
            format!("{} in {} samples ({})", row.kind, row.samples.fraction(), row.samples.interval());
        match row.proven {
            None => format!("{samples}, unverified"),
            Some(rate) if rate.n == 0 => format!("{samples}, in no candidate"),
            Some(rate) => format!("{samples}, proven in {} ({})", rate.fraction(), rate.interval()),
        }
    };
    if !table.kinds.is_empty() {
        let kinds: Vec<String> = table.kinds.iter().map(words).collect();
        out.push('\n');
        wrap(&format!("Personal data and secrets: {}.", kinds.join("; ")), out);
    }
}

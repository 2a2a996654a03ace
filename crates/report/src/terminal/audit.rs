//! An audit on one screen.

use super::Align::{Left, Right};
use super::{N_SHOWN, Table, shortened, warnings, wrap};
use crate::audit::{AuditBody, DecodedTable, DecodingTable, NearTable, ScalingTable};
use crate::figure::{Rate, counted, grouped, percent, range};
use crate::order::OrderTable;

/// Findings that one screen shows.
const N_FINDINGS: usize = 3;

/// An audit on one screen.
pub fn audit_text(body: &AuditBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    if let (Some(unique), Some(ambiguous)) = (&body.unique, &body.ambiguous) {
        let text = format!(
            "Where nothing else ever follows the prefix: {} ({}); where other texts do: {} ({}).",
            unique.fraction(),
            unique.interval(),
            ambiguous.fraction(),
            ambiguous.interval()
        );
        wrap(&text, &mut out);
    }
    if body.cells.len() > 1 {
        lengths(body, &mut out);
    }
    // The report has the others.
    body.scalings.iter().take(1).for_each(|table| scaling(table, &mut out));
    body.decodings.iter().take(1).for_each(|table| decoding(table, body, &mut out));
    body.decoded.iter().for_each(|table| decoded(table, &mut out));
    body.near.iter().for_each(|table| near(table, &mut out));
    body.order.iter().for_each(|table| order(table, &mut out));
    texts(body, &mut out);
    findings(body, &mut out);
    if body.n_failed > 0 {
        let places = counted(body.n_failed, "place", "places");
        wrap(&format!("At {places} the model's numbers are not finite; they count neither way."), &mut out);
    }
    warnings(&body.warnings, &mut out);
    out
}

fn rate_cells(rate: &Rate) -> [String; 3] {
    [rate.fraction(), rate.percent(), rate.interval()]
}

fn lengths(body: &AuditBody, out: &mut String) {
    out.push_str("\nBy length, in tokens\n");
    let mut table = Table::new([
        ("prefix", Right),
        ("suffix", Right),
        ("extracted", Right),
        ("", Right),
        ("95% interval", Right),
        ("loss, nats a token", Right),
    ]);
    for row in &body.cells {
        let [fraction, share, interval] = rate_cells(&row.extracted);
        let loss = row.loss_nats.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.3}"));
        table.row([grouped(row.n_prefix), grouped(row.n_suffix), fraction, share, interval, loss]);
    }
    table.finish(out);
}

fn scaling(scaling: &ScalingTable, out: &mut String) {
    out.push_str(&format!("\nExtracted by {}\n", scaling.by));
    let mut table =
        Table::new([(&scaling.by[..], Left), ("extracted", Right), ("", Right), ("95% interval", Right)]);
    for row in &scaling.rows {
        let [fraction, share, interval] = rate_cells(&row.extracted);
        table.row([range(row.from, row.to), fraction, share, interval]);
    }
    table.finish(out);
    if let Some(slope) = &scaling.slope {
        wrap(&format!("In a straight line over the logarithm: {}.", slope.words()), out);
    }
}

fn decoding(decoding: &DecodingTable, body: &AuditBody, out: &mut String) {
    out.push_str(&format!("\nAmong n draws at {}, with a probability of at least p\n", decoding.name));
    let mut heads = vec![("n".to_owned(), Right)];
    heads.extend(body.probabilities.iter().map(|p| (format!("p = {p}"), Right)));
    let mut table = Table::of(heads);
    for row in decoding.rows.iter().step_by(2) {
        let mut cells = vec![grouped(row.n_draws)];
        cells.extend(row.extracted.iter().map(|rate| format!("{} ({})", rate.percent(), rate.interval())));
        table.cells(cells);
    }
    table.finish(out);
}

fn decoded(table: &DecodedTable, out: &mut String) {
    let text = format!(
        "Decoded token by token: {} exact, {} with a BLEU above 0.75; on average {} of the tokens are equal, BLEU {:.3}, \
         ROUGE-L {:.3}. One pass says otherwise of {}, of which {} at a near tie.",
        table.exact.fraction(),
        table.approximate.fraction(),
        percent(table.mean_equal),
        table.mean_bleu,
        table.mean_rouge_l,
        grouped(table.n_disagree),
        grouped(table.n_disagree_near_ties)
    );
    out.push('\n');
    wrap(&text, out);
}

fn near(near: &NearTable, out: &mut String) {
    out.push('\n');
    wrap(&format!("Nearly the suffix at even odds: {}", near.what), out);
    let mut table = Table::new([("n", Right), ("the very suffix", Right), ("nearly, at least", Right)]);
    for row in near.rows.iter().step_by(2) {
        let cell = |rate: &Rate| format!("{} ({})", rate.percent(), rate.interval());
        table.row([grouped(row.n_draws), cell(&row.verbatim), cell(&row.near)]);
    }
    table.finish(out);
}

fn order(order: &OrderTable, out: &mut String) {
    out.push('\n');
    wrap(&order.sentence(), out);
    if !order.budgets.is_empty() {
        let mut table = Table::new([
            ("texts tried", Right),
            ("queries", Right),
            ("extracted", Right),
            ("by chance", Right),
            ("95% of orders", Right),
            ("times as many", Right),
            ("p-value", Right),
        ]);
        for row in &order.budgets {
            table.row([
                grouped(row.n_tried),
                grouped(row.n_queries),
                grouped(row.n_found),
                format!("{:.1}", row.expected),
                row.chance_text(),
                row.times_text(),
                row.p_text(),
            ]);
        }
        table.finish(out);
    }
    order.area_text().iter().for_each(|text| wrap(text, out));
}

fn texts(body: &AuditBody, out: &mut String) {
    if body.texts.is_empty() {
        return;
    }
    out.push_str("\nChosen texts\n");
    let mut table = Table::new([
        ("text", Left),
        ("extracted", Right),
        ("first choices", Right),
        ("loss, nats a token", Right),
        ("in the corpus", Right),
    ]);
    let dash = || "–".to_owned();
    for text in body.texts.iter().take(N_SHOWN) {
        table.row([
            shortened(&text.label, 40),
            text.extracted.fraction(),
            text.first_choices.map_or_else(dash, percent),
            text.loss_nats.map_or_else(dash, |loss| format!("{loss:.3}")),
            text.n_occurrences.map_or_else(dash, grouped),
        ]);
    }
    table.finish(out);
    if body.texts.len() > N_SHOWN {
        wrap(&format!("All {} stand in the report.", grouped(body.texts.len() as u64)), out);
    }
}

fn findings(body: &AuditBody, out: &mut String) {
    if body.findings.is_empty() {
        return;
    }
    out.push_str("\nFirst findings\n");
    let mut table = Table::new([
        ("suffix", Left),
        ("hash", Left),
        ("place", Left),
        ("greedy", Left),
        ("draws at even odds", Right),
        ("copies", Right),
    ]);
    for finding in body.findings.iter().take(N_FINDINGS) {
        table.row([
            shortened(&finding.text.to_string(), 24),
            finding.text.name.clone(),
            format!("{}, byte {}", shortened(&finding.label, 24), grouped(finding.byte)),
            if finding.extracted { "yes" } else { "no" }.to_owned(),
            finding.draws_needed.map_or_else(|| "–".to_owned(), |n| format!("{n:.0}")),
            finding.n_occurrences.map_or_else(|| "–".to_owned(), grouped),
        ]);
    }
    table.finish(out);
}

//! The tables that a command prints for people: one screen, at most 100 columns, every rate with its interval.

mod audit;
mod extract;

use std::ops::Range;

pub use audit::audit_text;
pub use extract::extract_text;

use crate::contamination::ContaminationBody;
use crate::dedup::{CutAmount, DedupBody, Flow, StageRow};
use crate::demo::{DemoBody, Pair};
use crate::figure::{Rate, counted, grouped, percent, placement_words};
use crate::printable::PrintableLine;
use crate::repeats::HeavyRow;
use crate::sources::{SourceRow, SourceTable};
use crate::train::{PlantBody, TrainBody};

const COLUMNS: usize = 100;

/// Clusters and findings that one screen shows.
const N_SHOWN: usize = 5;

/// Sources that one screen shows.
const N_SOURCES: usize = 10;

/// How a column stands.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}
use Align::{Left, Right};

/// Rows of text that are aligned when all of them are known.
pub(crate) struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [(&str, Align); N]) -> Table {
        Table::of(head.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect())
    }

    /// A table of as many columns as there are.
    pub(crate) fn of(head: Vec<(String, Align)>) -> Table {
        let (names, align) = head.into_iter().unzip();
        Table { align, rows: vec![names] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells.to_vec());
    }

    /// A row of a table of as many columns as there are.
    pub(crate) fn cells(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| PrintableLine(cell).to_string()).collect());
    }

    /// Takes columns out.
    fn drop_columns(&mut self, columns: Range<usize>) {
        self.align.drain(columns.clone());
        self.rows.iter_mut().for_each(|row| drop(row.drain(columns.clone())));
    }

    /// The table, each line indented by two and without blanks at its end.
    pub(crate) fn finish(self, out: &mut String) {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.align.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::from("  ");
            for ((cell, width), align) in row.iter().zip(&widths).zip(&self.align) {
                match align {
                    Left => line.push_str(&format!("{cell:<width$}  ")),
                    Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// The demo's story on one screen.
pub fn demo_text(body: &DemoBody) -> String {
    let mut out = String::new();
    out.push_str("Deduplication\n");
    stage_table(&body.stages, &body.flow, &mut out);
    out.push_str("\nPlanted secrets recited word for word, with 95% intervals\n");
    let mut table = Table::new([
        ("secrets stand in", Left),
        ("copies", Right),
        ("left", Right),
        ("", Right),
        ("", Right),
        ("raw", Right),
        ("", Right),
        ("", Right),
        ("deduplicated", Right),
    ]);
    for row in &body.rows {
        let left = format!("{} of {}", grouped(row.copies_deduplicated), grouped(row.copies_raw));
        let name = placement_words(&row.placement).to_lowercase();
        table.row(pair_cells([name, grouped(row.copies), left], &row.recited));
    }
    table.row(pair_cells(["all planted", "", ""].map(str::to_owned), &body.planted));
    table.row(pair_cells(["never planted", "0", ""].map(str::to_owned), &body.controls));
    table.finish(&mut out);
    out.push('\n');
    if let Some(sampling) = &body.sampling {
        let drawn = format!(
            "Freely drawn samples with {} tokens or more of the corpus: raw {}, deduplicated {}.",
            sampling.min_match_tokens,
            in_words(&sampling.memorized.raw),
            in_words(&sampling.memorized.deduplicated)
        );
        wrap(&drawn, &mut out);
    }
    wrap(&body.verdict, &mut out);
    for line in &body.reading {
        wrap(line, &mut out);
    }
    out
}

/// What is cut out of documents that stay.
fn passages(body: &DedupBody, out: &mut String) {
    if let Some(cut) = body.cut_sentence().filter(|_| body.flow.removed.documents > 0) {
        wrap(&cut, out);
    }
    if let Some(passages) = body.passages_sentence() {
        wrap(&passages, out);
    }
    if let Some(heaviest) = body.repeats.as_ref().and_then(|repeats| repeats.heaviest.first()) {
        let HeavyRow { document, start, .. } = heaviest;
        let text =
            format!("The heaviest: {}, first from {document} at byte {}.", heaviest.words(), grouped(*start));
        wrap(&text, out);
    }
}

/// A deduplication on one screen.
pub fn dedup_text(body: &DedupBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push('\n');
    stage_table(&body.stages, &body.flow, &mut out);
    passages(body, &mut out);
    let Flow { read, kept, rejected, .. } = &body.flow;
    wrap(
        &format!(
            "Read {} documents, {}; kept {}, {}; rejected {}.",
            read.documents_text(),
            read.bytes_text(),
            kept.documents_text(),
            kept.bytes_text(),
            rejected.documents_text()
        ),
        &mut out,
    );
    if let Some(search) = &body.search {
        wrap(
            &format!(
                "Near copies: Jaccard similarity {} or more, {} bands of {} rows{}. Predicted recall at the threshold \
                 {}, above it higher.",
                search.threshold,
                search.bands,
                search.rows,
                search.preset.as_ref().map_or(String::new(), |name| format!(" (preset {name})")),
                percent(search.predicted_recall)
            ),
            &mut out,
        );
    }
    if let Some(all) = &body.all_pairs {
        let similarity = all.similarity();
        wrap(
            &format!(
                "Near copies: {similarity} {} or more, and every pair of them is found{}.",
                all.threshold,
                if all.brute_force { " (brute force)" } else { "" }
            ),
            &mut out,
        );
    }
    body.rules().iter().for_each(|rule| wrap(rule, &mut out));
    if !body.clusters.largest.is_empty() {
        let head = format!(
            "\n{} of {}; the largest:\n",
            counted(body.clusters.n_clusters, "cluster", "clusters"),
            counted(body.clusters.n_documents, "document", "documents")
        );
        out.push_str(&head);
        let mut table = Table::new([("documents", Right), ("kept", Left)]);
        for cluster in body.clusters.largest.iter().take(N_SHOWN) {
            table.row([grouped(cluster.n_documents), shortened(&cluster.kept, 80)]);
        }
        table.finish(&mut out);
    }
    source_table(&body.sources, &mut out);
    warnings(&body.warnings, &mut out);
    out
}

fn source_table(sources: &SourceTable, out: &mut String) {
    let rows: Vec<&SourceRow> = sources.top(N_SOURCES).iter().filter(|row| row.removed > 0).collect();
    if rows.is_empty() {
        return;
    }
    out.push_str("\nSources by the share of their documents that goes\n");
    let mut table =
        Table::new([("source", Left), ("read", Right), ("kept", Right), ("removed", Right), ("", Right)]);
    for row in rows {
        let [read, kept, removed] = [row.read, row.kept, row.removed].map(grouped);
        table.row([shortened(row.name(), 50), read, kept, removed, percent(row.share)]);
    }
    table.finish(out);
}

/// What a search for evaluation items came to, on one screen.
pub fn contamination_text(body: &ContaminationBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    for (title, rows) in [("evaluation file", &body.files), ("field", &body.fields)] {
        out.push('\n');
        let mut table = Table::new([
            (title, Left),
            ("all", Right),
            ("too short", Right),
            ("contaminated", Right),
            ("", Right),
            ("95% interval", Right),
        ]);
        for row in rows.iter().take(N_SHOWN) {
            table.row([
                shortened(&row.name, 40),
                grouped(row.n),
                grouped(row.n_not_judged),
                grouped(row.contaminated.count),
                row.contaminated.percent(),
                row.contaminated.interval(),
            ]);
        }
        table.finish(&mut out);
    }
    longest_matches(body, &mut out);
    if let Some(Flow { read, kept, removed, .. }) = &body.flow {
        let (read, kept, removed) = (read.documents_text(), kept.documents_text(), removed.documents_text());
        wrap(&format!("Read {read} documents, removed {removed}, kept {kept}."), &mut out);
    }
    warnings(&body.warnings, &mut out);
    out
}

fn longest_matches(body: &ContaminationBody, out: &mut String) {
    if body.matches.is_empty() {
        return;
    }
    out.push_str("\nLongest runs of words in common; all matches stand in contamination.jsonl\n");
    let mut table = Table::new([
        ("text", Left),
        ("words", Right),
        ("score", Right),
        ("item", Left),
        ("part", Left),
        ("document", Left),
    ]);
    for found in body.matches.iter().take(N_SHOWN) {
        table.row([
            shortened(&found.text.to_string(), 16),
            grouped(found.longest_run_words),
            percent(found.score),
            shortened(&found.item.id, 20),
            shortened(&found.part, 12),
            shortened(&format!("{}:{}", found.document.path, found.document.line), 24),
        ]);
    }
    table.finish(out);
}

/// What training came to.
pub fn train_text(body: &TrainBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    if let Some(privacy) = &body.privacy {
        wrap(&privacy.sentences(), &mut out);
    }
    warnings(&body.warnings, &mut out);
    out
}

/// What was planted.
pub fn plant_text(body: &PlantBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    let mut table = Table::new([("stand in", Left), ("type", Left), ("copies", Right), ("canaries", Right)]);
    for row in &body.rows {
        let name = placement_words(&row.placement).to_lowercase();
        table.row([name, row.shape.clone(), grouped(row.copies), grouped(row.n_canaries)]);
    }
    table.finish(&mut out);
    let (before, after) = (grouped(body.n_documents_before), grouped(body.n_documents_after));
    wrap(&format!("Documents before: {before}; after: {after}."), &mut out);
    warnings(&body.warnings, &mut out);
    out
}

fn stage_table(stages: &[StageRow], flow: &Flow, out: &mut String) {
    let mut table = Table::new([
        ("stage", Left),
        ("documents removed", Right),
        ("", Right),
        ("bytes removed", Right),
        ("", Right),
        ("cut", Right),
        ("bytes cut", Right),
        ("compared", Right),
    ]);
    let cut = |cut: &CutAmount| [grouped(cut.stretches), cut.amount().bytes_text()];
    for row in stages {
        let [stretches, bytes] = cut(&row.cut);
        table.row([
            row.stage.clone(),
            row.removed.documents_text(),
            row.removed.documents_of(&flow.read),
            row.removed.bytes_text(),
            row.removed.bytes_of(&flow.read),
            stretches,
            bytes,
            grouped(row.n_compared),
        ]);
    }
    let [stretches, bytes] = cut(&flow.cut);
    table.row([
        "all".to_owned(),
        flow.removed.documents_text(),
        flow.removed.documents_of(&flow.read),
        flow.removed.bytes_text(),
        flow.removed.bytes_of(&flow.read),
        stretches,
        bytes,
        String::new(),
    ]);
    if flow.cut.stretches == 0 {
        table.drop_columns(5..7);
    }
    table.finish(out);
}

pub(crate) fn warnings(lines: &[String], out: &mut String) {
    if lines.is_empty() {
        return;
    }
    out.push_str("\nNoticed\n");
    for line in lines.iter().take(N_SHOWN) {
        wrap(line, out);
    }
    if lines.len() > N_SHOWN {
        wrap(&format!("and {} more, in report.json", lines.len() - N_SHOWN), out);
    }
}

fn pair_cells([name, copies, left]: [String; 3], pair: &Pair) -> [String; 9] {
    let [raw, deduplicated] = pair.both().map(|rate| (rate.fraction(), rate.percent(), rate.interval()));
    [name, copies, left, raw.0, raw.1, raw.2, deduplicated.0, deduplicated.1, deduplicated.2]
}

fn in_words(rate: &Rate) -> String {
    format!("{} ({}, {})", rate.fraction(), rate.percent(), rate.interval())
}

/// The last characters of a long text: what tells one path from another stands at its end.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let text = PrintableLine(text).to_string();
    let n_chars = text.chars().count();
    if n_chars <= limit {
        text
    } else {
        format!("…{}", text.chars().skip(n_chars - limit + 1).collect::<String>())
    }
}

/// Text in lines of at most [`COLUMNS`], the following ones indented; a longer word has a line of its own.
pub(crate) fn wrap(text: &str, out: &mut String) {
    let text = PrintableLine(text).to_string();
    let mut width = 0;
    for word in text.split(' ') {
        let n_chars = word.chars().count();
        if width > 0 && width + 1 + n_chars > COLUMNS {
            out.push_str("\n  ");
            width = 2;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += n_chars;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::calls_text;
    use crate::elicit::elicit_text;
    use crate::evaluate::evaluate_text;
    use crate::explain::explain_text;
    use crate::infer::infer_text;
    use crate::invert::invert_text;
    use crate::redact::Reveal;
    use crate::samples::{self, HOSTILE};

    #[test]
    fn every_summary_fits_one_screen() {
        let demo = demo_text(&samples::demo(Reveal::Redacted).result);
        // What all samples came to, and what became of canaries, are asked for by flags of their own.
        let [mut at_scale, mut planted] = [(); 2].map(|()| samples::extract(Reveal::Redacted).result);
        at_scale.canaries = None;
        (planted.at_scale, planted.divergence) = (None, None);
        // Secrets are told where some were drawn.
        planted.secrets.kinds.clear();
        let [mut near, mut texts, mut ordered] = [(); 3].map(|()| samples::audit(Reveal::Redacted).result);
        (near.order, texts.order) = (None, None);
        near.texts.clear();
        (texts.near, ordered.near, ordered.decoded) = (None, None, None);
        ordered.scalings.clear();
        let summaries = [
            demo,
            audit_text(&near),
            audit_text(&texts),
            audit_text(&ordered),
            extract_text(&at_scale),
            extract_text(&planted),
            dedup_text(&samples::dedup().result),
            contamination_text(&samples::contamination(Reveal::Redacted).0.result),
            explain_text(&samples::explain(Reveal::Revealed).result, COLUMNS),
            evaluate_text(&samples::evaluate().result),
            invert_text(&samples::invert(Reveal::Redacted).result),
            elicit_text(&samples::elicit(Reveal::Redacted).result),
            infer_text(&samples::infer().result),
            calls_text(&samples::calls().result),
            train_text(&samples::train().result),
            plant_text(&samples::plant().result),
        ];
        for summary in summaries {
            assert!(summary.ends_with('\n') && summary.lines().count() <= 45, "{summary}");
            for line in summary.lines() {
                assert!(line.chars().count() <= COLUMNS && line.trim_end() == line, "{line:?}");
            }
            // Set `--nocapture` to look at them.
            println!("{summary}");
        }
    }

    #[test]
    fn columns_are_aligned_and_rates_have_intervals() {
        let summary = demo_text(&samples::demo(Reveal::Redacted).result);
        let row = summary.lines().find(|line| line.contains("384 of 384")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        let expected = "passages 64 384 of 384 6 of 6 100% 54.1–100% 6 of 6 100% 54.1–100%";
        assert_eq!(cells.join(" "), expected);
        let end = |line: &str| line.chars().count();
        let table: Vec<usize> =
            summary.lines().filter(|line| line.contains(" of ") && line.contains('–')).map(end).collect();
        assert!(table.len() >= 12 && table[..12].iter().all(|width| *width == table[0]), "{table:?}");
    }

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        let mut report = samples::dedup();
        report.result.warnings = vec![HOSTILE.into()];
        report.result.clusters.largest[0].kept = HOSTILE.into();
        report.result.sources.rows[0].source = Some(HOSTILE.into());
        let mut extract = samples::extract(Reveal::Revealed);
        extract.result.findings[0].text = samples::redactor(Reveal::Revealed).show("match", HOSTILE);
        extract.result.findings[0].first = Some(HOSTILE.into());
        let explain = explain_text(&samples::explain(Reveal::Revealed).result, COLUMNS);
        let evaluate = evaluate_text(&samples::evaluate().result);
        for summary in [dedup_text(&report.result), extract_text(&extract.result), explain, evaluate] {
            let hidden = |character: char| character.is_control() && character != '\n';
            assert!(!summary.contains(hidden) && !summary.contains(['\u{202e}', '\u{2028}', '\u{200b}']));
        }
    }
}

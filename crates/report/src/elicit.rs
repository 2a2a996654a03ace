//! What searching for prompts came to: how short a prompt makes the model say each text.

use std::collections::BTreeMap;

use serde::Serialize;
use verbatim_extraction::Elicited;

use crate::figure::{Rate, counted, grouped, planted_words, rounded};
use crate::measure::Measure;
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;
use crate::terminal::{Align, Table, shortened, wrap};

/// Texts that one screen shows.
const N_SHOWN: usize = 12;

/// What searching for prompts came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ElicitBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What a gate can hold against a bound.
    pub measures: Vec<Measure>,
    /// Texts by how often they were planted, chosen texts apart.
    pub groups: Vec<ElicitGroup>,
    /// One row for each text, in their order.
    pub texts: Vec<ElicitRow>,
}

impl Body for ElicitBody {
    const KIND: &'static str = "elicit";
}

/// Texts that were planted equally often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ElicitGroup {
    /// Copies of each: 0 for controls, none for chosen texts.
    pub copies: Option<u64>,
    /// Those for which a prompt of fewer tokens than the text was found, among all.
    pub compressed: Rate,
    /// The median of the ratio; none where half or more have none, for then it is at most 1 as far as the search can tell.
    pub median_ratio: Option<f64>,
    /// The largest ratio.
    pub largest_ratio: Option<f64>,
}

/// One text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ElicitRow {
    /// The canary's name in the ledger, or that of a chosen text.
    pub name: String,
    /// Copies of the canary: 0 for a control, none for a chosen text.
    pub copies: Option<u64>,
    /// Tokens of the text.
    pub n_tokens: u64,
    /// Tokens of the shortest prompt found; none where none shorter than the text was found.
    pub n_prompt_tokens: Option<u64>,
    /// The adversarial compression ratio, at least; tokens of the text for each token of the prompt.
    pub ratio: Option<f64>,
    /// Gradients that were taken.
    pub n_steps: u64,
    /// Prompts that the model was given.
    pub n_evaluations: u64,
    /// The prompt, redacted unless revealed.
    pub prompt: Option<Shown>,
}

impl ElicitRow {
    fn new(elicited: &Elicited, redactor: &Redactor) -> ElicitRow {
        ElicitRow {
            name: elicited.name.clone(),
            copies: elicited.copies,
            n_tokens: elicited.n_tokens,
            n_prompt_tokens: elicited.n_prompt_tokens,
            ratio: elicited.ratio().map(rounded),
            n_steps: elicited.n_steps,
            n_evaluations: elicited.n_evaluations,
            prompt: elicited.prompt.as_deref().map(|prompt| redactor.show("prompt", prompt)),
        }
    }

    /// The ratio for people.
    pub fn ratio_text(&self) -> String {
        ratio_text(self.ratio)
    }

    /// The prompt's tokens for people.
    pub fn prompt_text(&self) -> String {
        self.n_prompt_tokens.map_or_else(|| format!("none below {}", self.n_tokens), grouped)
    }
}

fn ratio_text(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "≤ 1".to_owned(), |ratio| format!("{ratio:.2}"))
}

impl ElicitGroup {
    fn new(copies: Option<u64>, rows: &[&ElicitRow]) -> ElicitGroup {
        let mut ratios: Vec<f64> = rows.iter().filter_map(|row| row.ratio).collect();
        ratios.sort_by(|a, b| b.total_cmp(a));
        ElicitGroup {
            copies,
            compressed: Rate::new(ratios.len() as u64, rows.len() as u64),
            // The lower of two middle ones, which is what "at least half" needs.
            median_ratio: ratios.get(rows.len() / 2).copied(),
            largest_ratio: ratios.first().copied(),
        }
    }

    /// Which texts they are.
    pub fn name_text(&self) -> String {
        match self.copies {
            None => "chosen texts".to_owned(),
            Some(copies) => planted_words(copies),
        }
    }

    /// The median for people.
    pub fn median_text(&self) -> String {
        ratio_text(self.median_ratio)
    }

    /// The largest ratio for people.
    pub fn largest_text(&self) -> String {
        ratio_text(self.largest_ratio)
    }
}

impl ElicitBody {
    /// The report of what was found.
    pub fn new(provenance: Provenance, found: &[Elicited], redactor: &Redactor) -> ElicitBody {
        let texts: Vec<ElicitRow> = found.iter().map(|elicited| ElicitRow::new(elicited, redactor)).collect();
        let mut by_copies: BTreeMap<Option<u64>, Vec<&ElicitRow>> = BTreeMap::new();
        for row in &texts {
            by_copies.entry(row.copies).or_default().push(row);
        }
        let groups: Vec<ElicitGroup> =
            by_copies.into_iter().map(|(copies, rows)| ElicitGroup::new(copies, &rows)).collect();
        let share = |name: &str, wanted: &dyn Fn(Option<u64>) -> bool| {
            let some = groups.iter().filter(|group| wanted(group.copies)).map(|group| group.compressed);
            let (count, n) = some.fold((0, 0), |(count, n), rate| (count + rate.count, n + rate.n));
            (n > 0).then(|| Measure::share(name, count, n).proven_by("texts"))
        };
        let measures = [
            share("compressed-share", &|copies| copies != Some(0)),
            share("control-compressed-share", &|copies| copies == Some(0)),
        ];
        ElicitBody { provenance, measures: measures.into_iter().flatten().collect(), groups, texts }
    }

    /// The texts, those with the largest ratio first.
    pub fn by_ratio(&self) -> Vec<&ElicitRow> {
        let mut rows: Vec<&ElicitRow> = self.texts.iter().collect();
        rows.sort_by(|a, b| b.ratio.unwrap_or_default().total_cmp(&a.ratio.unwrap_or_default()));
        rows
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let rate = |is_control: bool| {
            let some = self.groups.iter().filter(|group| (group.copies == Some(0)) == is_control);
            some.fold((0, 0), |(count, n), group| (count + group.compressed.count, n + group.compressed.n))
        };
        let ((count, n), (control_count, n_controls)) = (rate(false), rate(true));
        let controls = match n_controls {
            0 => String::new(),
            n => format!(", and {} of {} never-planted controls", grouped(control_count), grouped(n)),
        };
        let of = format!("{} of {}", grouped(count), counted(n, "text", "texts"));
        format!("The model says {of} after a prompt that is shorter than the text{controls}.")
    }
}

/// Searches for prompts on one screen.
pub fn elicit_text(body: &ElicitBody) -> String {
    use Align::{Left, Right};
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push_str("\nTokens of the text for each token of the shortest prompt found\n");
    let mut table = Table::new([
        ("texts", Left),
        ("n", Right),
        ("above 1", Right),
        ("share", Right),
        ("95% interval", Right),
        ("median", Right),
        ("largest", Right),
    ]);
    for group in &body.groups {
        table.row([
            group.name_text(),
            grouped(group.compressed.n),
            grouped(group.compressed.count),
            group.compressed.percent(),
            group.compressed.interval(),
            group.median_text(),
            group.largest_text(),
        ]);
    }
    table.finish(&mut out);
    let shown = body.by_ratio();
    out.push_str("\nThe largest ratios\n");
    let mut table = Table::new([
        ("text", Left),
        ("copies", Right),
        ("tokens", Right),
        ("prompt", Right),
        ("ratio", Right),
        ("evaluations", Right),
    ]);
    for row in shown.iter().take(N_SHOWN) {
        table.row([
            shortened(&row.name, 24),
            row.copies.map_or_else(|| "–".to_owned(), grouped),
            grouped(row.n_tokens),
            row.prompt_text(),
            row.ratio_text(),
            grouped(row.n_evaluations),
        ]);
    }
    table.finish(&mut out);
    if shown.len() > N_SHOWN {
        wrap(&format!("and {} more, in report.json", shown.len() - N_SHOWN), &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::redact::Reveal;
    use crate::samples;

    #[test]
    fn the_headline_counts_controls_apart_and_so_do_the_measures() {
        let body = samples::elicit(Reveal::Redacted).result;
        assert_eq!(
            body.headline(),
            "The model says 2 of 3 texts after a prompt that is shorter than the text, and 0 of 1 never-planted controls."
        );
        let measures: Vec<(&str, Option<u64>, u64)> =
            body.measures.iter().map(|m| (m.name.as_str(), m.count, m.n_trials)).collect();
        assert_eq!(measures, [("compressed-share", Some(2), 3), ("control-compressed-share", Some(0), 1)]);
    }

    #[test]
    fn a_median_is_there_only_where_more_than_half_have_a_ratio() {
        let body = samples::elicit(Reveal::Redacted).result;
        let of = |copies| body.groups.iter().find(|group| group.copies == Some(copies)).unwrap();
        assert_eq!((of(64).median_text().as_str(), of(64).largest_text().as_str()), ("4.00", "7.00"));
        assert_eq!((of(1).median_text().as_str(), of(0).median_text().as_str()), ("≤ 1", "≤ 1"));
        assert_eq!(
            (of(1).name_text().as_str(), of(64).name_text().as_str()),
            ("planted once", "planted 64 times")
        );
    }
}

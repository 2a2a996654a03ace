//! What inverting templates came to: the most likely fillings in order, and what finding them took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_extraction::{Inversion, Outcome, Template};

use crate::figure::{Rate, counted, grouped, planted_words, rounded};
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;
use crate::terminal::{Align, Table, shortened, warnings, wrap};

/// Templates that one screen shows.
const N_SHOWN: usize = 12;

/// What inverting templates came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvertBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// One row for each template, in their order.
    pub templates: Vec<InvertRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for InvertBody {
    const KIND: &'static str = "invert";
}

/// One template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvertRow {
    /// The canary's name in the ledger, or the template's number.
    pub name: String,
    /// Copies of the canary: 0 for a control, none for a template.
    pub copies: Option<u64>,
    /// log2 of the number of ways to fill the holes.
    pub space_bits: f64,
    /// Tokens of its beginning that the model is given.
    pub n_given_tokens: u64,
    /// Distributions of next tokens that the model was asked for.
    pub n_evaluations: u64,
    /// Finished paths that are not the tokens of their text.
    pub n_noncanonical: u64,
    /// Fillings found, in order of likelihood; the first are the answers.
    pub n_found: u64,
    /// `answered`, `exhausted`, `budget` or `memory`.
    pub outcome: String,
    /// The most that the log-probability of any other filling can be, in nats, where the search ended early.
    pub bound: Option<f64>,
    /// The most likely fillings, redacted unless revealed.
    pub answers: Vec<AnswerRow>,
    /// The known secret, if there is one.
    pub known: Option<KnownRow>,
    /// What going through all fillings says, if that was asked for.
    pub exhaustive: Option<ExhaustiveRow>,
}

/// One filling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerRow {
    /// 1 for the most likely.
    pub rank: u64,
    /// Log-probability of what follows the given tokens, in nats.
    pub log_prob: f64,
    /// What fills the template, with the fixed text after the first hole.
    pub text: Shown,
}

/// A known secret.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KnownRow {
    /// Its rank among all fillings; none where the search ended before it came.
    pub rank: Option<u64>,
    /// Its log-probability, in nats, where it was reached.
    pub log_prob: Option<f64>,
}

/// What going through all fillings says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExhaustiveRow {
    /// Fillings.
    pub n_fillings: u64,
    /// Whether the most likely ones are the answers, in their order.
    pub agrees: bool,
}

impl InvertRow {
    /// The row of one template.
    pub fn new(name: String, template: &Template, found: &Inversion, redactor: &Redactor) -> InvertRow {
        let (outcome, bound) = match found.outcome {
            Outcome::Answered => ("answered", None),
            Outcome::Exhausted => ("exhausted", None),
            Outcome::Budget { bound } => ("budget", Some(bound)),
            Outcome::Memory { bound } => ("memory", Some(bound)),
        };
        let answers = (1..).zip(&found.answers).map(|(rank, answer)| AnswerRow {
            rank,
            log_prob: rounded(answer.log_prob),
            text: redactor.show("filling", &answer.filling),
        });
        InvertRow {
            name,
            copies: None,
            space_bits: rounded(template.space_bits()),
            n_given_tokens: found.n_given as u64,
            n_evaluations: found.n_evaluations,
            n_noncanonical: found.n_noncanonical,
            n_found: found.n_found,
            outcome: outcome.to_owned(),
            bound: bound.filter(|bound| bound.is_finite()).map(rounded),
            answers: answers.collect(),
            known: found
                .known
                .map(|known| KnownRow { rank: known.rank, log_prob: known.log_prob.map(rounded) }),
            exhaustive: None,
        }
    }

    /// The rank of the known secret for people; "> 12" where that is all that is known.
    pub fn rank_text(&self) -> String {
        match self.known {
            None => "–".to_owned(),
            Some(KnownRow { rank: Some(rank), .. }) => grouped(rank),
            Some(_) => format!("> {}", grouped(self.n_found)),
        }
    }

    /// The size of the space for people.
    pub fn bits_text(&self) -> String {
        format!("{:.1}", self.space_bits)
    }

    /// How the search ended, for people.
    pub fn outcome_text(&self) -> String {
        let bound =
            self.bound.map(|bound| format!("; any other filling has at most {bound:.2}")).unwrap_or_default();
        match self.outcome.as_str() {
            "budget" => format!("not within the budget{bound}"),
            "memory" => format!("no room for more nodes, or tokens{bound}"),
            "exhausted" => "all fillings found".to_owned(),
            outcome => outcome.to_owned(),
        }
    }

    /// The best answer's log-probability for people.
    pub fn best_text(&self) -> String {
        self.answers.first().map_or_else(|| "–".to_owned(), |answer| format!("{:.2}", answer.log_prob))
    }
}

impl InvertBody {
    /// Templates with a known secret of a ledger by how often it was planted, and for how many the most likely filling is that
    /// secret.
    pub fn groups(&self) -> Vec<(String, Rate)> {
        let mut by_copies: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for row in &self.templates {
            if let (Some(copies), Some(known)) = (row.copies, row.known) {
                let (n_first, n) = by_copies.entry(copies).or_default();
                (*n_first, *n) = (*n_first + u64::from(known.rank == Some(1)), *n + 1);
            }
        }
        by_copies
            .into_iter()
            .map(|(copies, (n_first, n))| (planted_words(copies), Rate::new(n_first, n)))
            .collect()
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let templates = counted(self.templates.len() as u64, "template", "templates");
        let first = |rows: &mut dyn Iterator<Item = &InvertRow>| {
            let (mut n, mut n_first) = (0u64, 0u64);
            for known in rows.filter_map(|row| row.known) {
                n += 1;
                n_first += u64::from(known.rank == Some(1));
            }
            (n_first, n)
        };
        match first(&mut self.templates.iter().filter(|row| row.copies != Some(0))) {
            (_, 0) => {
                let n = self.templates.iter().filter(|row| !row.answers.is_empty()).count() as u64;
                format!("The most likely filling was found for {} of {templates}.", grouped(n))
            }
            (n_first, n) => {
                let controls = first(&mut self.templates.iter().filter(|row| row.copies == Some(0)));
                let controls = match controls.1 {
                    0 => String::new(),
                    n => {
                        format!(", and for {} of {} never-planted controls", grouped(controls.0), grouped(n))
                    }
                };
                format!(
                    "The most likely filling is the secret itself for {} of {}{controls}.",
                    grouped(n_first),
                    counted(n, "known secret", "known secrets")
                )
            }
        }
    }
}

/// Inversions on one screen.
pub fn invert_text(body: &InvertBody) -> String {
    use Align::{Left, Right};
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push('\n');
    let groups = body.groups();
    if !groups.is_empty() {
        let mut table = Table::new([
            ("secrets", Left),
            ("n", Right),
            ("first", Right),
            ("share", Right),
            ("95% interval", Right),
        ]);
        for (name, first) in groups {
            table.row([name, grouped(first.n), grouped(first.count), first.percent(), first.interval()]);
        }
        table.finish(&mut out);
        out.push('\n');
    }
    let mut table = Table::new([
        ("template", Left),
        ("bits", Right),
        ("evaluations", Right),
        ("found", Right),
        ("best", Right),
        ("secret's rank", Right),
        ("outcome", Left),
    ]);
    for row in body.templates.iter().take(N_SHOWN) {
        table.row([
            shortened(&row.name, 16),
            row.bits_text(),
            grouped(row.n_evaluations),
            grouped(row.n_found),
            row.best_text(),
            row.rank_text(),
            row.outcome.clone(),
        ]);
    }
    table.finish(&mut out);
    if body.templates.len() > N_SHOWN {
        wrap(&format!("and {} more, in report.json", body.templates.len() - N_SHOWN), &mut out);
    }
    if let [row] = &body.templates[..] {
        out.push_str("\nMost likely fillings, with the log-probability of what follows the given tokens\n");
        let mut table = Table::new([("rank", Right), ("nats", Right), ("text", Left), ("hash", Left)]);
        for answer in row.answers.iter().take(N_SHOWN) {
            let text = shortened(&answer.text.to_string(), 40);
            table.row([
                grouped(answer.rank),
                format!("{:.3}", answer.log_prob),
                text,
                answer.text.name.clone(),
            ]);
        }
        table.finish(&mut out);
        wrap(&format!("The search ended: {}.", row.outcome_text()), &mut out);
    }
    warnings(&body.warnings, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use crate::redact::Reveal;
    use crate::samples;

    #[test]
    fn what_was_not_reached_is_not_called_a_rank() {
        let rows = samples::invert(Reveal::Redacted).result.templates;
        assert_eq!(rows[0].rank_text(), "1");
        assert_eq!(rows[1].rank_text(), "> 2");
        assert!(
            rows[1].outcome_text().contains("not within the budget; any other filling has at most -21.40")
        );
    }

    #[test]
    fn the_headline_counts_secrets_that_come_first_and_controls_apart() {
        let body = samples::invert(Reveal::Redacted).result;
        assert_eq!(
            body.headline(),
            "The most likely filling is the secret itself for 1 of 1 known secret, and for 0 of 1 never-planted controls."
        );
        let mut body = body;
        body.templates.iter_mut().for_each(|row| row.known = None);
        assert_eq!(body.headline(), "The most likely filling was found for 2 of 2 templates.");
    }
}

//! What the demo shows: one corpus with planted secrets, a model trained on it as it is, and a twin trained on the
//! deduplicated corpus. Every sentence of its reading is computed from the numbers of the run.

use std::collections::BTreeMap;

use serde::Serialize;
use verbatim_extraction::{Canary, Placement};

use crate::dedup::{Flow, StageRow};
use crate::figure::{Rate, counted};
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;

/// Findings that a demo report shows.
const N_SHOWN: usize = 8;

/// What the demo shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What became of every document of the corpus.
    pub flow: Flow,
    /// Each stage of the deduplication.
    pub stages: Vec<StageRow>,
    /// Whether each checkpoint was trained on the very corpus of this run.
    pub checkpoints: Vec<CheckpointCheck>,
    /// One row for each placement and number of copies.
    pub rows: Vec<DemoRow>,
    /// All planted secrets together.
    pub planted: Pair,
    /// Secrets that were made as the others but never planted.
    pub controls: Pair,
    /// Freely drawn samples that hold a long stretch of the corpus, where samples were drawn.
    pub sampling: Option<Sampling>,
    /// A few recited secrets, those that stood most often first.
    pub findings: Vec<DemoFinding>,
    /// The one sentence that says what happened.
    pub verdict: String,
    /// What the numbers mean, and what they do not.
    pub reading: Vec<String>,
}

impl Body for DemoBody {
    const KIND: &'static str = "demo";
}

/// Whether a checkpoint was trained on the very corpus of this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointCheck {
    /// `raw` or `deduplicated`.
    pub role: String,
    /// Fingerprint of the corpus that it was trained on, by its recipe.
    pub trained_on: String,
    /// Fingerprint of that corpus as this run made it.
    pub made_today: String,
}

impl CheckpointCheck {
    /// Whether the two are the same.
    pub fn holds(&self) -> bool {
        self.trained_on == self.made_today
    }
}

/// The two checkpoints side by side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Recited by the checkpoint trained on the raw corpus.
    pub raw: Rate,
    /// Recited by its twin trained on the deduplicated corpus.
    pub deduplicated: Rate,
}

/// Secrets of one placement, planted equally often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoRow {
    /// How the copies stand in the corpus.
    pub placement: String,
    /// Copies of each, as planted.
    pub copies: u64,
    /// Copies of all of them together that stand in the raw corpus.
    pub copies_raw: u64,
    /// Copies of all of them together that stand in the deduplicated corpus.
    pub copies_deduplicated: u64,
    /// How many are recited.
    pub recited: Pair,
}

/// Freely drawn samples that hold a long stretch of the raw corpus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Tokens of the stretch.
    pub min_match_tokens: u64,
    /// Samples with such a stretch.
    pub memorized: Pair,
}

/// One recited secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoFinding {
    /// Its name in the ledger.
    pub id: String,
    /// The secret, redacted unless revealed.
    pub secret: Shown,
    /// How its copies stand in the corpus.
    pub placement: String,
    /// Copies in the raw corpus.
    pub copies_raw: u64,
    /// Copies in the deduplicated corpus.
    pub copies_deduplicated: u64,
    /// Recited by the raw checkpoint.
    pub raw: bool,
    /// Recited by the deduplicated twin.
    pub deduplicated: bool,
}

/// One canary with what was seen of it, as the demo hands it over.
#[derive(Clone, Debug)]
pub struct DemoCase {
    /// The canary.
    pub canary: Canary,
    /// Times that it stands in the raw corpus.
    pub copies_raw: u64,
    /// Times that it stands in the deduplicated corpus.
    pub copies_deduplicated: u64,
    /// Whether the raw checkpoint recites it.
    pub raw: bool,
    /// Whether the deduplicated twin recites it.
    pub deduplicated: bool,
}

/// Everything that the demo's body is made of.
#[derive(Debug)]
pub struct DemoFacts {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What became of every document.
    pub flow: Flow,
    /// Each stage of the deduplication.
    pub stages: Vec<StageRow>,
    /// Fingerprints of the training corpora.
    pub checkpoints: Vec<CheckpointCheck>,
    /// Every canary of the ledger, controls included.
    pub cases: Vec<DemoCase>,
    /// Freely drawn samples.
    pub sampling: Option<Sampling>,
}

impl DemoBody {
    /// Counts the cases, picks the findings and puts the numbers into words.
    pub fn new(facts: DemoFacts, redactor: &Redactor) -> DemoBody {
        let (controls, planted): (Vec<&DemoCase>, Vec<&DemoCase>) =
            facts.cases.iter().partition(|case| case.canary.control);
        let mut body = DemoBody {
            provenance: facts.provenance,
            flow: facts.flow,
            stages: facts.stages,
            checkpoints: facts.checkpoints,
            rows: rows(&planted),
            planted: Pair::of(&planted),
            controls: Pair::of(&controls),
            sampling: facts.sampling,
            findings: findings(&planted, redactor),
            verdict: String::new(),
            reading: Vec::new(),
        };
        body.verdict = verdict(&body);
        body.reading = reading(&body);
        body
    }
}

impl Pair {
    /// Both rates, raw first.
    pub(crate) fn both(&self) -> [Rate; 2] {
        [self.raw, self.deduplicated]
    }

    fn of(cases: &[&DemoCase]) -> Pair {
        let n = cases.len() as u64;
        let count = |recited: fn(&DemoCase) -> bool| cases.iter().filter(|case| recited(case)).count() as u64;
        Pair {
            raw: Rate::new(count(|case| case.raw), n),
            deduplicated: Rate::new(count(|case| case.deduplicated), n),
        }
    }
}

fn rows(planted: &[&DemoCase]) -> Vec<DemoRow> {
    let mut groups: BTreeMap<(Placement, u64), Vec<&DemoCase>> = BTreeMap::new();
    for case in planted {
        groups.entry((case.canary.placement, case.canary.copies)).or_default().push(case);
    }
    let row = |((placement, copies), cases): ((Placement, u64), Vec<&DemoCase>)| DemoRow {
        placement: placement.name().to_owned(),
        copies,
        copies_raw: cases.iter().map(|case| case.copies_raw).sum(),
        copies_deduplicated: cases.iter().map(|case| case.copies_deduplicated).sum(),
        recited: Pair::of(&cases),
    };
    groups.into_iter().map(row).collect()
}

/// Recited secrets, one of each kind in turn so that the few that are shown are not all alike; within a kind those
/// that stood most often first.
fn findings(planted: &[&DemoCase], redactor: &Redactor) -> Vec<DemoFinding> {
    let mut by_placement: BTreeMap<Placement, Vec<&DemoCase>> = BTreeMap::new();
    for case in planted.iter().filter(|case| case.raw || case.deduplicated) {
        by_placement.entry(case.canary.placement).or_default().push(case);
    }
    for cases in by_placement.values_mut() {
        cases.sort_by(|a, b| b.copies_raw.cmp(&a.copies_raw).then_with(|| a.canary.id.cmp(&b.canary.id)));
    }
    let deepest = by_placement.values().map(Vec::len).max().unwrap_or(0);
    let in_turn =
        (0..deepest).flat_map(|depth| by_placement.values().filter_map(move |cases| cases.get(depth)));
    let mut shown: Vec<&DemoCase> = in_turn.copied().take(N_SHOWN).collect();
    shown.sort_by(|a, b| {
        let key = |case: &DemoCase| (case.canary.placement, std::cmp::Reverse(case.copies_raw));
        key(a).cmp(&key(b)).then_with(|| a.canary.id.cmp(&b.canary.id))
    });
    shown.into_iter().map(|case| finding(case, redactor)).collect()
}

fn finding(case: &DemoCase, redactor: &Redactor) -> DemoFinding {
    DemoFinding {
        id: case.canary.id.clone(),
        secret: redactor.show(case.canary.shape.name(), &case.canary.secret),
        placement: case.canary.placement.name().to_owned(),
        copies_raw: case.copies_raw,
        copies_deduplicated: case.copies_deduplicated,
        raw: case.raw,
        deduplicated: case.deduplicated,
    }
}

fn verdict(body: &DemoBody) -> String {
    let Pair { raw, deduplicated } = &body.planted;
    if raw.n == 0 {
        return "No secret was planted, so there is nothing to compare.".to_owned();
    }
    let secrets = counted(raw.n, "planted secret", "planted secrets");
    if deduplicated.count < raw.count {
        format!(
            "Trained on the raw corpus, the model recites {} of {secrets}; trained on the deduplicated corpus, {}.",
            raw.count, deduplicated.count
        )
    } else {
        format!(
            "Deduplication did not lower recitation in this run: {} of {secrets} before, {} after.",
            raw.count, deduplicated.count
        )
    }
}

fn reading(body: &DemoBody) -> Vec<String> {
    let mut lines = Vec::new();
    if body.planted.raw.n > 0 {
        lines.push(difference(&body.planted));
        lines.extend(repetition(&body.rows));
        lines.extend(remainder(&body.rows));
    }
    lines.extend(control_line(&body.controls));
    lines.extend(passage_line(&body.rows));
    for check in body.checkpoints.iter().filter(|check| !check.holds()) {
        lines.push(format!(
            "Careful: the {} checkpoint was trained on another corpus than the one of this run; train it anew before \
             comparing.",
            check.role
        ));
    }
    lines
}

fn difference(planted: &Pair) -> String {
    let shares = format!("from {} to {}", planted.raw.percent(), planted.deduplicated.percent());
    if planted.deduplicated.clearly_below(&planted.raw) {
        format!("Deduplication took the recited share {shares}; the 95% intervals do not overlap.")
    } else if planted.deduplicated.count < planted.raw.count {
        format!("The recited share went {shares}, but the 95% intervals overlap: too few secrets to be sure.")
    } else {
        format!("The recited share went {shares}.")
    }
}

/// How recitation by the raw checkpoint depends on the number of copies: the fewest against the most.
fn repetition(rows: &[DemoRow]) -> Option<String> {
    let fewest = rows.iter().map(|row| row.copies).min()?;
    let most = rows.iter().map(|row| row.copies).max().filter(|most| *most > fewest)?;
    let total = |copies: u64| {
        let chosen = rows.iter().filter(|row| row.copies == copies).map(|row| &row.recited.raw);
        chosen.fold((0, 0), |(count, n), rate| (count + rate.count, n + rate.n))
    };
    let ((few_count, few_n), (many_count, many_n)) = (total(fewest), total(most));
    let rises = many_count * few_n > few_count * many_n;
    let claim = if rises { "Repetition makes the difference" } else { "Repetition makes no difference here" };
    Some(format!(
        "{claim}: of secrets that stood {} the raw checkpoint recites {few_count} of {few_n}, of those that stood \
         {most} times {many_count} of {many_n}.",
        times(fewest)
    ))
}

fn times(copies: u64) -> String {
    if copies == 1 { "once".to_owned() } else { format!("{copies} times") }
}

/// Where the secrets stood that the twin still recites.
fn remainder(rows: &[DemoRow]) -> Option<String> {
    let still: u64 = rows.iter().map(|row| row.recited.deduplicated.count).sum();
    let passages: u64 = of_passages(rows).map(|row| row.recited.deduplicated.count).sum();
    match (still, passages) {
        (0, _) => Some("The twin recites none of them.".to_owned()),
        (1, 1) => Some(
            "The one that the twin still recites stood in passages inside different documents.".to_owned(),
        ),
        (still, passages) if still == passages => Some(format!(
            "All {still} that the twin still recites stood in passages inside different documents."
        )),
        (still, passages) => Some(format!(
            "Of the {still} that the twin still recites, {passages} stood in passages inside different documents."
        )),
    }
}

fn of_passages(rows: &[DemoRow]) -> impl Iterator<Item = &DemoRow> {
    rows.iter().filter(|row| row.placement == Placement::Passage.name())
}

fn control_line(controls: &Pair) -> Option<String> {
    let (raw, deduplicated) = (controls.raw, controls.deduplicated);
    let total = counted(raw.n, "control", "controls");
    match (raw.n, raw.count + deduplicated.count) {
        (0, _) => None,
        (_, 0) => Some(format!(
            "Neither checkpoint recites any of the {total} that were never planted, so what is recited came from the \
             training text."
        )),
        _ => Some(format!(
            "Careful: of the {total} that were never planted, the raw checkpoint recites {} and the twin {}; so many can \
             be guessed without having been seen.",
            raw.count, deduplicated.count
        )),
    }
}

fn passage_line(rows: &[DemoRow]) -> Option<String> {
    let sum = |count: fn(&DemoRow) -> u64| of_passages(rows).map(count).sum::<u64>();
    let (before, after) = (sum(|row| row.copies_raw), sum(|row| row.copies_deduplicated));
    if before == 0 {
        return None;
    }
    let n = sum(|row| row.recited.raw.n);
    let (raw, deduplicated) = (sum(|row| row.recited.raw.count), sum(|row| row.recited.deduplicated.count));
    Some(format!(
        "Passages inside otherwise different documents are no copies of documents: only a search for substrings finds \
         them. Of {} here it leaves {after}; of the {n} secrets in them the raw checkpoint recites {raw}, the twin \
         {deduplicated}.",
        counted(before, "such copy", "such copies")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    fn body(change: impl Fn(&mut DemoFacts)) -> DemoBody {
        let mut facts = samples::demo_facts();
        change(&mut facts);
        DemoBody::new(facts, &samples::redactor(Reveal::Redacted))
    }

    fn says(body: &DemoBody, words: &str) -> bool {
        body.reading.iter().any(|line| line.contains(words))
    }

    #[test]
    fn the_rows_add_up_to_the_totals() {
        let body = body(|_| ());
        let sum = |rate: fn(&DemoRow) -> u64| body.rows.iter().map(rate).sum::<u64>();
        assert_eq!(body.rows.len(), 12);
        assert_eq!(sum(|row| row.recited.raw.n), body.planted.raw.n);
        assert_eq!(sum(|row| row.recited.raw.count), body.planted.raw.count);
        assert_eq!(sum(|row| row.recited.deduplicated.count), body.planted.deduplicated.count);
        assert_eq!((body.planted.raw.n, body.controls.raw.n), (72, 18));
    }

    #[test]
    fn the_words_follow_the_numbers() {
        let story = body(|_| ());
        assert!(story.verdict.contains("33 of 72 planted secrets") && story.verdict.ends_with("corpus, 11."));
        assert!(says(&story, "from 45.8% to 15.3%; the 95% intervals do not overlap"));
        assert!(
            says(&story, "stood once the raw checkpoint recites 0 of 18")
                && says(&story, "All 11 that the twin")
        );
        assert!(says(&story, "Neither checkpoint recites any of the 18 controls"));
        assert!(says(&story, "Of 510 such copies here it leaves 510; of the 24 secrets in them"));
        assert!(!says(&story, "Careful"));

        let same = body(|facts| facts.cases.iter_mut().for_each(|case| case.deduplicated = case.raw));
        assert!(same.verdict.contains("did not lower"), "{}", same.verdict);
        let few = body(|facts| facts.cases.retain(|case| case.canary.id.ends_with("-5")));
        assert!(says(&few, "overlap: too few"), "{:?}", few.reading);
        let guessed = body(|facts| facts.cases.iter_mut().for_each(|case| case.raw = true));
        assert!(says(&guessed, "Careful: of the 18 controls") && says(&guessed, "makes no difference here"));
        let stale = body(|facts| facts.checkpoints[1].made_today = "other".into());
        assert!(says(&stale, "Careful: the deduplicated checkpoint was trained on another corpus"));
        let empty = body(|facts| facts.cases.clear());
        assert!(empty.verdict.contains("nothing to compare") && !says(&empty, "Passages"));
    }

    #[test]
    fn the_findings_shown_are_of_every_placement() {
        let shown = body(|_| ()).findings;
        assert_eq!(shown.len(), N_SHOWN);
        for placement in ["document", "near-copy", "passage"] {
            assert!(shown.iter().any(|finding| finding.placement == placement));
        }
        assert!(
            shown
                .iter()
                .all(|finding| finding.secret.text.is_none() && (finding.raw || finding.deduplicated))
        );
    }
}

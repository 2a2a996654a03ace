//! What to do about a bound that does not pass, and what was measured, in the words of every format.

use crate::figure::{counted, grouped};
use crate::gate::judge::number_text;
use crate::gate::measured::Evidence;
use crate::gate::{BoundRow, GateVerdict, LimitKind};
use crate::measure::Unit;

/// The shortest and the longest passage that `dedup --substring` takes, in bytes.
const PASSAGE_BYTES: (u64, u64) = (16, 1 << 20);

/// What to do about a bound; nothing about one that passes.
pub(crate) fn advice(row: &BoundRow) -> Vec<String> {
    let mut advice = Vec::new();
    if row.verdict == GateVerdict::Pass {
        return advice;
    }
    if let (Some(evidence), true) = (&row.evidence, row.kind != LimitKind::Min) {
        advice.extend(about_copies(evidence));
    }
    if row.verdict == GateVerdict::Inconclusive {
        advice.extend(about_trials(row));
    }
    advice
}

fn about_copies(evidence: &Evidence) -> Vec<String> {
    let mut advice = Vec::new();
    let n_single = evidence.n_found - evidence.n_repeated;
    match evidence.shortest_repeated_bytes {
        Some(n_bytes) => {
            let n_bytes = n_bytes.clamp(PASSAGE_BYTES.0, PASSAGE_BYTES.1);
            advice.push(format!(
                "train on a corpus without the copies: verbatim dedup CORPUS --substring {n_bytes}b -o CLEAN"
            ));
        }
        None if evidence.n_repeated > 0 => {
            advice.push("train on a corpus without the copies: verbatim dedup CORPUS -o CLEAN".to_owned());
        }
        None => {}
    }
    if n_single > 0 {
        let (texts, stand) =
            (counted(n_single, "text", "texts"), if n_single == 1 { "stands" } else { "stand" });
        advice.push(format!(
            "{texts} {stand} only once in the corpus: remove what holds them, or train for less long"
        ));
    }
    advice
}

fn about_trials(row: &BoundRow) -> Vec<String> {
    let Some(needed) = row.trials_needed else { return Vec::new() };
    let n_tried = row.measured.as_ref().map_or(0, |measure| measure.n_trials);
    let mut advice = Vec::new();
    if let Some(n) = needed.as_observed.filter(|n| *n > n_tried) {
        advice.push(format!("about {} trials pass it if the true share is the observed one", grouped(n)));
    }
    match needed.at_best {
        Some(n) if n > n_tried => {
            let none = if row.kind == LimitKind::Min { "all succeed" } else { "none succeeds" };
            advice.push(format!("no fewer than {} trials can pass it, and those only if {none}", grouped(n)));
        }
        Some(_) => {}
        None => advice.push("no number of trials can pass it: state the share that you tolerate".to_owned()),
    }
    advice
}

/// "memorized-share at most 1%".
pub(crate) fn bound_text(row: &BoundRow) -> String {
    let unit = row.measured.as_ref().map(|measure| measure.unit);
    let limit = match (row.kind, unit) {
        (LimitKind::MaxIncrease, Some(Unit::Share)) => points(row.limit),
        (_, Some(unit)) => number_text(row.limit, unit),
        (_, None) => row.limit.to_string(),
    };
    let relation = match row.kind {
        LimitKind::Max => "at most",
        LimitKind::Min => "at least",
        LimitKind::MaxIncrease => "above the baseline by at most",
    };
    format!("{} {relation} {limit}", row.measure)
}

/// "12.0% (12 of 100), 95% interval 6.4% to 20.0%", or a dash.
pub(crate) fn measured_text(row: &BoundRow) -> String {
    let Some(measure) = &row.measured else { return "–".to_owned() };
    let Some(value) = measure.value else { return "nothing (0 trials)".to_owned() };
    let trials = match measure.successes() {
        Some(k) => format!("{} of {}", grouped(k), grouped(measure.n_trials)),
        None => counted(measure.n_trials, "trial", "trials"),
    };
    let end = |end: Option<f64>| end.map_or("no end".to_owned(), |end| number_text(end, measure.unit));
    let interval = match (measure.low, measure.high) {
        (None, None) => "no interval".to_owned(),
        (low, high) => format!("{}% interval {} to {}", level(measure.level), end(low), end(high)),
    };
    format!("{} ({trials}), {interval}", number_text(value, measure.unit))
}

/// "+20.0 points on 60.0%, 95% interval +5.2 to +33.4 points", where there is a baseline.
pub(crate) fn increase_text(row: &BoundRow) -> Option<String> {
    let increase = row.increase?;
    let signed = |share: f64| format!("{:+.2}", share * 100.0);
    Some(format!(
        "{} points on {}, {}% interval {} to {} points",
        signed(increase.value),
        number_text(increase.baseline, Unit::Share),
        level(increase.level),
        signed(increase.low),
        signed(increase.high)
    ))
}

/// "9 of 12 texts stand in several documents, one in 64", where anything was found.
pub(crate) fn evidence_text(row: &BoundRow) -> Option<String> {
    let evidence = row.evidence.as_ref()?;
    let found = counted(evidence.n_found, "text was found", "texts were found");
    let most = evidence.shown.first().map_or(0, |row| row.n_documents);
    Some(match evidence.n_repeated {
        0 => format!("{found}, none of which stands more than once"),
        n => format!("{found}; {} more than once, one of them {} times", grouped(n), grouped(most)),
    })
}

fn level(level: f64) -> f64 {
    (level * 1e6).round() / 1e4
}

fn points(share: f64) -> String {
    let points = (share * 1e8).round() / 1e6;
    format!("{points} points")
}

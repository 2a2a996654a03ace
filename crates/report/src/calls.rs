//! What became of texts of unknown membership: how many a signal calls members, at what rate it is wrong, and whether they were
//! used, taken together.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use verbatim_membership::{Call, Judged};
use verbatim_store::{Access, create_file};

use crate::error::Result;
use crate::figure::{LEVEL, Rate, counted, grouped, p_text, percent, rounded};
use crate::infer::{SeparationRow, tells_blindly};
use crate::measure::{Measure, significant};
use crate::provenance::Provenance;
use crate::report::Body;
use crate::terminal::{Align, Table, warnings, wrap};

/// Name of the file with one line for each text that was judged.
pub const CALLS_NAME: &str = "calls.jsonl";

/// What became of texts of unknown membership.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallsBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What a gate can hold against a bound; empty where the texts differ from the calibration without the model.
    pub measures: Vec<Measure>,
    /// `valid`, or `blind` where the texts differ from the calibration without the model.
    pub verdict: String,
    /// The signal that judged.
    pub signal: String,
    /// Texts that were judged.
    pub n_texts: u64,
    /// Texts without a value of the signal: they are called nothing.
    pub n_undefined: u64,
    /// Non-members that set the threshold.
    pub n_calibration: u64,
    /// The false positive rate that was asked for.
    pub fpr: f64,
    /// What it is at most for this very threshold, at 95 % confidence.
    pub fpr_at_most: f64,
    /// Texts with a score above this are called members.
    pub threshold: f64,
    /// Texts that are called members, among those with a value.
    pub called: Rate,
    /// Calls to expect on average, at most, if no text were a member.
    pub expected_false_calls: f64,
    /// Whether the texts score higher than the calibration, taken together.
    pub together: Vec<TestRow>,
    /// Scores that never see the model, of the texts against the calibration.
    pub blind: Vec<SeparationRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for CallsBody {
    const KIND: &'static str = "infer-calls";
}

/// A test of whether a set of texts scores higher than the calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestRow {
    /// `Welch` or `Mann-Whitney`.
    pub name: String,
    /// Its t or z; none where the test is undefined.
    pub statistic: Option<f64>,
    /// The probability of such a statistic or a larger one if the texts do not score higher.
    pub p_value: Option<f64>,
}

/// What a report of calls is made of.
#[derive(Debug)]
pub struct CallsFacts<'a> {
    /// What it was computed from.
    pub provenance: Provenance,
    /// The signal that judged.
    pub signal: &'a str,
    /// What it came to.
    pub judged: &'a Judged,
    /// Scores that never see the model, of the texts against the calibration.
    pub blind: Vec<SeparationRow>,
    /// Texts of the calibration that were left out of it, for they are to be judged.
    pub n_shared: u64,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl CallsBody {
    /// The report, with its verdict.
    pub fn new(facts: CallsFacts<'_>) -> CallsBody {
        let CallsFacts { provenance, signal, judged, blind, n_shared, mut warnings } = facts;
        let is_blind = blind.iter().any(tells_blindly);
        let n_scored = judged.calls.iter().flatten().count() as u64;
        let n_undefined = judged.calls.len() as u64 - n_scored;
        if n_shared > 0 {
            let texts = counted(n_shared, "text", "texts");
            warnings.push(format!(
                "{texts} of the calibration are among those to be judged and set no threshold"
            ));
        }
        if n_undefined > 0 {
            let texts = counted(n_undefined, "text", "texts");
            warnings.push(format!("{texts} without a value of {signal}: nothing is said of them"));
        }
        let test = |name: &str, found: Option<(f64, f64)>| TestRow {
            name: name.to_owned(),
            statistic: found.map(|(statistic, _)| rounded(statistic)),
            p_value: found.map(|(_, p_value)| significant(p_value)),
        };
        let together = vec![
            test("Welch", judged.welch.map(|found| (found.t, found.p_value))),
            test("Mann-Whitney", judged.mann_whitney.map(|found| (found.z, found.p_value))),
        ];
        let measures = match is_blind {
            true => Vec::new(),
            false => vec![Measure::share("called-share", judged.n_called, n_scored)],
        };
        CallsBody {
            provenance,
            measures,
            verdict: if is_blind { "blind" } else { "valid" }.to_owned(),
            signal: signal.to_owned(),
            n_texts: judged.calls.len() as u64,
            n_undefined,
            n_calibration: judged.threshold.n_calibration,
            fpr: judged.threshold.fpr,
            fpr_at_most: rounded(judged.threshold.fpr_at_most(LEVEL)),
            threshold: judged.threshold.threshold,
            called: Rate::new(judged.n_called, n_scored),
            expected_false_calls: rounded(judged.n_expected_false),
            together,
            blind,
            warnings,
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        if self.verdict == "blind" {
            let row = self.blind.iter().find(|row| tells_blindly(row));
            let row = row.map(|row| format!("{}, AUC {}", row.name, row.auc_text())).unwrap_or_default();
            return format!(
                "The texts differ from the calibration without the model, so that no rate holds for them ({row})."
            );
        }
        format!(
            "{} texts {} called members by {}; {:.1} would be on average if none were.",
            self.called.fraction(),
            if self.called.count == 1 { "is" } else { "are" },
            self.signal,
            self.expected_false_calls
        )
    }

    /// What is known of the rate of false calls, in a sentence.
    pub fn rate_text(&self) -> String {
        format!(
            "A text is called a member above {:.4}, which of {} non-members at most {} exceed on average; this very \
             threshold lets at most {} pass, at 95% confidence.",
            self.threshold,
            grouped(self.n_calibration),
            percent(self.fpr),
            percent(self.fpr_at_most)
        )
    }

    /// The share of texts that are called members, with its interval.
    pub fn called_text(&self) -> String {
        format!(
            "{} of the texts are called members, 95% interval {}.",
            self.called.percent(),
            self.called.interval()
        )
    }
}

impl TestRow {
    /// "3.09".
    pub fn statistic_text(&self) -> String {
        self.statistic.map_or_else(|| "–".to_owned(), |statistic| format!("{statistic:.2}"))
    }

    /// "0.0014", or "3.2e-9".
    pub fn p_text(&self) -> String {
        self.p_value.map_or_else(|| "–".to_owned(), p_text)
    }
}

/// A line of `calls.jsonl`.
#[derive(Serialize)]
struct CallLine<'a> {
    id: &'a str,
    score: Option<f64>,
    p_value: Option<f64>,
    called: bool,
}

/// Writes what became of each text as a line of `calls.jsonl`, by name and without its text, readable by its owner only.
///
/// # Errors
/// When the file is there already or cannot be written.
pub fn write_calls(folder: &Path, names: &[String], calls: &[Option<Call>]) -> Result<()> {
    let path = folder.join(CALLS_NAME);
    let mut file = create_file(&path, Access::Private)?;
    for (id, call) in names.iter().zip(calls) {
        let line = CallLine {
            id,
            score: call.map(|call| call.score),
            p_value: call.map(|call| call.p_value),
            called: call.is_some_and(|call| call.is_called),
        };
        let written = serde_json::to_writer(&mut file, &line).map_err(std::io::Error::from);
        let written = written.and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| verbatim_store::Error::io(&path, "write", error))?;
    }
    Ok(file.finish()?)
}

/// Calls on one screen.
pub fn calls_text(body: &CallsBody) -> String {
    use Align::{Left, Right};
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    wrap(&body.called_text(), &mut out);
    wrap(&body.rate_text(), &mut out);
    out.push_str("\nWhether the texts score higher than the non-members, taken together\n");
    let mut table = Table::new([("test", Left), ("statistic", Right), ("p-value", Right)]);
    for row in &body.together {
        table.row([row.name.clone(), row.statistic_text(), row.p_text()]);
    }
    table.finish(&mut out);
    out.push_str("\nWhether they differ without the model\n");
    let mut table = Table::new([("baseline", Left), ("AUC", Right), ("95% interval", Right)]);
    for row in &body.blind {
        table.row([row.name.clone(), row.auc_text(), row.interval_text()]);
    }
    table.finish(&mut out);
    wrap(&format!("Each text has a line in {CALLS_NAME}."), &mut out);
    warnings(&body.warnings, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn calls_are_told_with_what_chance_would_call() {
        let mut body = samples::calls().result;
        // 240 non-members: the rank of the threshold at 1% is 2, and 479 texts have a score.
        assert_eq!((body.n_texts, body.n_undefined, body.n_calibration), (480, 1, 240));
        assert_eq!(body.expected_false_calls, rounded(479.0 * 2.0 / 241.0));
        assert!(body.headline().ends_with("called members by loss; 4.0 would be on average if none were."));
        assert!(body.rate_text().contains("which of 240 non-members at most 1.0% exceed on average"));
        assert_eq!(body.measures[0].count, Some(body.called.count));
        assert!(body.together.iter().all(|row| row.p_value.is_some_and(|p| p < 1e-6)), "{:?}", body.together);
        assert!(body.warnings[0].starts_with("2 texts of the calibration are among those to be judged"));
        assert!(body.warnings[1].starts_with("1 text without a value of loss"));
        body.verdict = "blind".into();
        assert!(body.headline().starts_with("The texts differ from the calibration without the model"));
    }

    #[test]
    fn each_text_has_a_line_by_its_name_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let call = Call { score: -1.5, p_value: 0.01, is_called: true };
        let names = ["a\"1", "b"].map(str::to_owned);
        write_calls(folder.path(), &names, &[Some(call), None]).unwrap();
        let text = std::fs::read_to_string(folder.path().join(CALLS_NAME)).unwrap();
        let expected = [
            r#"{"id":"a\"1","score":-1.5,"p_value":0.01,"called":true}"#,
            r#"{"id":"b","score":null,"p_value":null,"called":false}"#,
        ];
        assert_eq!(text, expected.join("\n") + "\n");
    }
}

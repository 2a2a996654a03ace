//! Personal data and secrets in what a model said: by kind, how often, and how many stand in the corpus.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use verbatim_extraction::{DrawnSample, Finding, SpokenSecret, Strategy, spoken_secrets};

use crate::extract::Verification;
use crate::figure::{Rate, counted};
use crate::redact::{Redactor, Shown};

/// Personal data and secrets in an audit's samples. Found by their form: whether they are anybody's, nobody looked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecretTable {
    /// One row for each kind that was found.
    pub kinds: Vec<SecretRow>,
    /// Each value that stands in the corpus, once, redacted unless revealed; numbers without their separators.
    pub values: Vec<Shown>,
}

/// All of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecretRow {
    /// What it is.
    pub kind: String,
    /// Samples that hold one, of all that were drawn.
    pub samples: Rate,
    /// Different values in them.
    pub n_values: u64,
    /// Candidates that hold one.
    pub n_candidates: u64,
    /// Of these candidates, those whose match holds a whole one; none without a corpus.
    pub proven: Option<Rate>,
    /// Different values that are proven.
    pub n_proven_values: u64,
}

/// How many of a kind one sample holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretCount {
    /// What they are.
    pub kind: String,
    /// In the whole sample.
    pub n: u64,
    /// In the part that stands in the corpus.
    pub n_proven: u64,
}

/// What is known of a kind.
#[derive(Default)]
struct Tally {
    n_samples: u64,
    n_candidates: u64,
    n_proven: u64,
    values: BTreeSet<String>,
    proven: BTreeSet<String>,
}

impl SecretTable {
    /// The table of an audit: of every sample that was drawn, and of the candidates among them.
    pub(crate) fn new(
        drawn: &[DrawnSample],
        findings: &[Finding],
        verification: Verification,
        redactor: &Redactor,
    ) -> SecretTable {
        let findings: BTreeMap<(Strategy, u64), &Finding> =
            findings.iter().map(|finding| ((finding.strategy, finding.index), finding)).collect();
        let mut tallies = BTreeMap::new();
        for sample in drawn {
            let finding = findings.get(&(sample.strategy, sample.index));
            let spoken = finding.map_or_else(|| spoken_secrets(sample), |finding| finding.secrets.clone());
            let text = sample.text_bytes();
            let (mut kinds, mut proven_kinds) = (BTreeSet::new(), BTreeSet::new());
            for secret in &spoken {
                let tally: &mut Tally = tallies.entry(secret.kind).or_default();
                let value = secret.value(&text);
                if secret.proven {
                    tally.n_proven += u64::from(proven_kinds.insert(secret.kind));
                    tally.proven.insert(value.clone());
                }
                tally.values.insert(value);
                if kinds.insert(secret.kind) {
                    tally.n_samples += 1;
                    tally.n_candidates += u64::from(finding.is_some());
                }
            }
        }
        let mut table = SecretTable::default();
        for (kind, tally) in tallies {
            table.kinds.push(SecretRow {
                kind: kind.name().to_owned(),
                samples: Rate::new(tally.n_samples, drawn.len() as u64),
                n_values: tally.values.len() as u64,
                n_candidates: tally.n_candidates,
                proven: (verification == Verification::Corpus)
                    .then(|| Rate::new(tally.n_proven, tally.n_candidates)),
                n_proven_values: tally.proven.len() as u64,
            });
            table.values.extend(tally.proven.iter().map(|value| redactor.show(kind.name(), value)));
        }
        table
    }
}

/// The secrets of one sample by kind.
pub(crate) fn secret_counts(secrets: &[SpokenSecret]) -> Vec<SecretCount> {
    let mut counts = BTreeMap::new();
    for secret in secrets {
        let (n, n_proven): &mut (u64, u64) = counts.entry(secret.kind).or_default();
        *n += 1;
        *n_proven += u64::from(secret.proven);
    }
    let mut rows = Vec::new();
    for (kind, (n, n_proven)) in counts {
        rows.push(SecretCount { kind: kind.name().to_owned(), n, n_proven });
    }
    rows
}

/// "1 payment-card, proven; 3 email-address, 2 proven", or a dash.
pub(crate) fn counts_text(counts: &[SecretCount]) -> String {
    let text = |count: &SecretCount| {
        let proven = match count.n_proven {
            0 => String::new(),
            n if n == count.n => ", proven".to_owned(),
            n => format!(", {n} proven"),
        };
        format!("{}{proven}", counted(count.n, &count.kind, &count.kind))
    };
    if counts.is_empty() { "–".to_owned() } else { counts.iter().map(text).collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    fn sample(index: u64, text: &str) -> DrawnSample {
        serde_json::from_value(json!({
            "strategy": "top-n", "index": index, "prompt": [0], "tokens": [1, 2], "text": text,
        }))
        .unwrap()
    }

    fn finding(index: u64, secrets: &serde_json::Value) -> Finding {
        serde_json::from_value(json!({
            "strategy": "top-n", "index": index, "n_tokens": 60, "n_bytes": 20, "verdict": "memorized",
            "exact": false, "n_windows": 3, "longest": null, "category": "recite", "secrets": secrets,
        }))
        .unwrap()
    }

    fn secret(kind: &str, place: (u64, u64), proven: bool) -> serde_json::Value {
        json!({ "kind": kind, "start_byte": place.0, "n_bytes": place.1, "proven": proven })
    }

    #[test]
    fn kinds_are_counted_by_sample_candidate_and_value() {
        let drawn = [
            sample(0, "4111 1111 1111 1111 and 4111-1111-1111-1111 by a@example.org"),
            sample(1, "4111111111111111"),
            sample(2, "5555555555554444 is drawn and no candidate"),
            sample(3, "nothing"),
        ];
        let card = |place, proven| secret("payment-card", place, proven);
        let findings = [
            finding(
                0,
                &json!([card((0, 19), true), card((24, 19), true), secret("email-address", (47, 13), false)]),
            ),
            finding(1, &json!([card((0, 16), false)])),
            finding(3, &json!([])),
        ];
        let of = |verification, reveal| {
            SecretTable::new(&drawn, &findings, verification, &samples::redactor(reveal))
        };
        let table = of(Verification::Corpus, Reveal::Redacted);
        let [cards, addresses] = &table.kinds[..] else { panic!("{table:?}") };
        assert_eq!((cards.kind.as_str(), addresses.kind.as_str()), ("payment-card", "email-address"));
        assert_eq!(
            (cards.samples, cards.n_values),
            (Rate::new(3, 4), 2),
            "three ways to write one, and another"
        );
        assert_eq!((cards.n_candidates, cards.proven, cards.n_proven_values), (2, Some(Rate::new(1, 2)), 1));
        assert_eq!((addresses.samples, addresses.proven), (Rate::new(1, 4), Some(Rate::new(0, 1))));
        assert_eq!(table.values.len(), 1);
        let told = serde_json::to_string(&table).unwrap();
        assert!(!told.contains("411") && !told.contains("example"), "{told}");

        let revealed = of(Verification::Corpus, Reveal::Revealed);
        assert_eq!(revealed.values[0].text.as_deref(), Some("4111111111111111"));
        assert_eq!(revealed.values[0].name, table.values[0].name);
        assert!(of(Verification::None, Reveal::Redacted).kinds.iter().all(|row| row.proven.is_none()));
        let counts = secret_counts(&findings[0].secrets);
        assert_eq!(counts_text(&counts), "2 payment-card, proven; 1 email-address");
        assert_eq!(counts_text(&[]), "–");
    }

    #[test]
    fn a_place_beyond_a_samples_end_is_no_panic() {
        let findings = [finding(0, &json!([secret("iban", (900, 30), true)]))];
        let redactor = samples::redactor(Reveal::Redacted);
        let table = SecretTable::new(&[sample(0, "x")], &findings, Verification::Corpus, &redactor);
        assert_eq!((table.kinds[0].n_values, table.values.len()), (1, 1));
    }
}

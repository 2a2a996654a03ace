//! What a gate can hold against a bound in an audit of one checkpoint, and what each of the numbers is a share of.

use std::collections::BTreeSet;

use crate::extract::{CanaryTable, FindingRow, Verification};
use crate::measure::Measure;

/// The measures of an audit.
///
/// `memorized-share`: of the candidates that were looked up, those that stand in the corpus. Candidates are the best of
/// their rankings, so this is the precision of the attack and lies above the share among all samples, most of which
/// nobody looked up.
/// `memorized-sequences`: different texts among the matches, found by drawing so many samples; two samples that recite the
/// same are one. Its interval is that of a Poisson count, as if samples recited independently of each other.
/// `canary-recited-share` and `control-recited-share`: of the planted, and of the never-planted, canaries those that
/// the model recites.
///
/// Without a corpus nothing was tried: the first two have no trials. Without a ledger the others are absent.
pub(crate) fn measures(
    verification: Verification,
    findings: &[FindingRow],
    n_samples: u64,
    canaries: Option<&CanaryTable>,
) -> Vec<Measure> {
    let memorized: Vec<&FindingRow> =
        findings.iter().filter(|finding| finding.verdict == "memorized").collect();
    let texts: BTreeSet<&str> = memorized.iter().map(|finding| finding.text.name.as_str()).collect();
    let tried = |n: u64| if verification == Verification::Corpus { n } else { 0 };
    let (n_memorized, n_texts) = (memorized.len() as u64, texts.len() as u64);
    let mut measures = vec![
        Measure::share("memorized-share", n_memorized, tried(findings.len() as u64)).proven_by("findings"),
        Measure::count("memorized-sequences", n_texts, tried(n_samples)).proven_by("findings"),
    ];
    if let Some(canaries) = canaries {
        let CanaryTable { planted, controls, .. } = canaries;
        measures.push(Measure::share("canary-recited-share", planted.count, planted.n).proven_by("canaries"));
        measures.push(Measure::share("control-recited-share", controls.count, controls.n));
    }
    measures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    #[test]
    fn shares_are_of_what_was_looked_up_and_texts_count_once() {
        let mut body = samples::extract(Reveal::Redacted).result;
        // Seven of nine candidates are memorized; two of them are made to recite the same.
        body.findings[1].text = body.findings[0].text.clone();
        let canaries = body.canaries.as_ref();
        let found = measures(Verification::Corpus, &body.findings, body.n_samples, canaries);
        let told: Vec<_> =
            found.iter().map(|one| (one.name.as_str(), one.value.unwrap(), one.n_trials)).collect();
        assert_eq!(
            told,
            [
                ("memorized-share", 0.777_778, 9),
                ("memorized-sequences", 6.0, 600),
                ("canary-recited-share", 0.458_333, 72),
                ("control-recited-share", 0.0, 24)
            ]
        );
        assert!(found.iter().all(|measure| measure.fault().is_none()));
    }

    #[test]
    fn without_a_corpus_or_a_ledger_nothing_was_tried() {
        let body = samples::extract(Reveal::Redacted).result;
        let found = measures(Verification::None, &[], body.n_samples, None);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|one| one.n_trials == 0 && one.value.is_none() && one.fault().is_none()));
    }
}

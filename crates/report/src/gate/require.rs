//! Whether a run is one whose numbers count: of the right corpus and model, proven, and not too old.

use crate::gate::day::Day;
use crate::gate::measured::MeasuredRun;
use crate::gate::policy::{RequiredCorpus, Requires};

/// Why nothing of a run counts; empty where everything does.
pub(crate) fn unmet(run: &MeasuredRun, requires: &Requires, today: Day) -> Vec<String> {
    let mut causes = Vec::new();
    if requires.verified && !run.is_verified {
        causes.push("its findings were not looked up in a corpus".to_owned());
    }
    if let Some(corpus) = &requires.corpus {
        causes.extend(corpus_cause(run, corpus).map(str::to_owned));
    }
    if !requires.model_sha256.is_empty() {
        let files = run.model.iter().flat_map(|model| &model.sha256);
        if !files.into_iter().any(|sha256| requires.model_sha256.contains(sha256)) {
            causes.push("it is about another model than the policy names".to_owned());
        }
    }
    causes.extend(requires.max_age_days.and_then(|most| age_cause(run, most, today)));
    causes
}

fn corpus_cause(run: &MeasuredRun, required: &RequiredCorpus) -> Option<&'static str> {
    if run.corpora.is_empty() {
        return Some("no corpus was read, so that nothing is proven in the training corpus");
    }
    match required {
        RequiredCorpus::Fingerprints(fingerprints) => {
            let is_right = run.corpora.iter().all(|corpus| fingerprints.contains(corpus));
            (!is_right)
                .then_some("it was proven in a corpus that is not the training corpus that the policy names")
        }
        RequiredCorpus::Training => match run.model.as_ref().and_then(|model| model.trained_on.as_ref()) {
            None => Some("the checkpoint does not say what it was trained on: it has no training.json"),
            Some(trained_on) => {
                let is_right = run.corpora.iter().all(|corpus| corpus == trained_on);
                (!is_right)
                    .then_some("it was proven in a corpus that is not the training corpus of the checkpoint")
            }
        },
    }
}

/// Why a run is not of the last `most` days.
pub(crate) fn age_cause(run: &MeasuredRun, most: u32, today: Day) -> Option<String> {
    let Some(started) = run.started else { return Some("it does not say when it was made".to_owned()) };
    let age = today.days_since(started);
    if age < 0 {
        Some(format!("it says that it was made on {started}, after today, {today}"))
    } else if age > i64::from(most) {
        Some(format!("it is {age} days old, and the policy allows {most}"))
    } else {
        None
    }
}

/// Why two runs cannot be compared.
pub(crate) fn stale(
    baseline: &MeasuredRun,
    run: &MeasuredRun,
    requires: &Requires,
    today: Day,
) -> Option<String> {
    if baseline.schema_version != run.schema_version {
        return Some(format!("it has schema version {}", baseline.schema_version));
    }
    if baseline.kind != run.kind {
        return Some("it is of another command".to_owned());
    }
    if baseline.corpora != run.corpora {
        return Some("it was proven in another corpus".to_owned());
    }
    let names: std::collections::BTreeSet<&String> =
        baseline.parameters.keys().chain(run.parameters.keys()).collect();
    // Where what was drawn comes from names the models, which differ from release to release.
    let differing: Vec<&str> = names
        .into_iter()
        .filter(|name| *name != "drawn" && baseline.parameters.get(*name) != run.parameters.get(*name))
        .map(String::as_str)
        .take(5)
        .collect();
    if !differing.is_empty() {
        return Some(format!("it was made with other parameters ({})", differing.join(", ")));
    }
    let cause = requires.max_baseline_age_days.and_then(|most| age_cause(baseline, most, today));
    cause.or_else(|| {
        (requires.verified && !baseline.is_verified).then(|| "it was proven in no corpus".to_owned())
    })
}

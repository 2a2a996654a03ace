//! Texts of unknown membership: which of them a signal calls members, by a threshold from texts that are used for nothing else.

use std::collections::BTreeSet;

use anyhow::anyhow;
use serde_json::json;
use verbatim_membership::{
    Judged, Need, Parted, Parting, Refusal, Shots, TextSignals, blind_scores, blind_separations, judge, part,
};
use verbatim_report::{
    CallsBody, CallsFacts, LEVEL, Provenance, Report, SeparationRow, calls_text, write_calls,
};
use verbatim_store::{Access, StagedDir};

use super::asked::Asked;
use super::{Models, Set, column, documents};
use crate::args::{FPR, Infer};
use crate::commands::{Context, merge, reading};
use crate::failure;

/// What is judged, and by what.
struct Texts {
    judged: Vec<String>,
    /// The calibration, without what is judged or stands before others.
    calibration: Vec<String>,
    /// Texts of the calibration that are to be judged.
    n_shared: u64,
    shots: Option<Shots>,
}

pub(super) fn run(arguments: &Infer, context: &Context<'_>) -> anyhow::Result<()> {
    let mut asked = Asked::of_texts(arguments)?;
    let fpr = match &arguments.fpr[..] {
        [] => FPR,
        [fpr] => *fpr,
        _ => return Err(failure::usage("--fpr: texts are judged at one rate; give one")),
    };
    let output = &arguments.output;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let drawn = (documents(arguments), arguments.seed);
    let open = |inputs| Set::open(inputs, &arguments.reading, drawn, context);
    let sets = [open(&arguments.texts)?, open(&arguments.calibrate)?];
    let names: Vec<String> = sets[0].chosen.iter().map(|id| sets[0].corpus.label(*id)).collect();
    let unshared = unshared(&sets);
    // Before models are asked; texts that stand before others may still cost some.
    check_enough(unshared.calibration.len(), fpr)?;
    let mut models = Models::open(arguments, &mut asked, context)?;
    let texts = parted(unshared, &models, &mut asked, arguments)?;
    check_enough(texts.calibration.len(), fpr)?;
    let about = json!({
        "judged": sets[0].corpus.fingerprint(),
        "calibration": sets[1].corpus.fingerprint(),
    });
    let provenance = provenance(arguments, &sets, fpr, (&models, &asked));
    let result = merge::result_of(&provenance, false)?;
    merge::check(&result, context)?;
    let scratch = models.scratch(&about, &asked, arguments, (&staged, context))?;
    let all: Vec<&str> = texts.judged.iter().chain(&texts.calibration).map(String::as_str).collect();
    let said = models.ask(&all, (&asked, texts.shots.as_ref()), arguments, (&scratch, context))?;
    sets.iter().try_for_each(|set| set.corpus.verify_unchanged())?;
    models.verify_unchanged()?;
    if arguments.answering.shard.is_some() {
        return merge::end_shard((staged, scratch), result, context);
    }
    let judged = judged(&said, texts.judged.len(), fpr)?;
    let body = body(arguments, (&sets, &texts), (provenance, &asked), &judged);
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    write_calls(staged.path(), &names, &judged.calls)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &calls_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// The texts, and those of the calibration that are not to be judged themselves.
fn unshared(sets: &[Set; 2]) -> Texts {
    let [judged, mut calibration] = sets.each_ref().map(Set::texts);
    let n_before = calibration.len();
    let known: BTreeSet<&str> = judged.iter().map(String::as_str).collect();
    calibration.retain(|text| !known.contains(text.as_str()));
    let n_shared = (n_before - calibration.len()) as u64;
    Texts { judged, calibration, n_shared, shots: None }
}

/// Refuses a calibration that can set no such threshold.
fn check_enough(n: usize, fpr: f64) -> anyhow::Result<()> {
    if n == 0 {
        return Err(refused(Refusal::NoNonMembers, fpr));
    }
    // As many scores that tell nothing are refused as as many that do.
    judge(&[], &vec![Some(0.0); n], fpr).map(|_| ()).map_err(|refusal| refused(refusal, fpr))
}

fn refused(refusal: Refusal, fpr: f64) -> anyhow::Error {
    match refusal {
        Refusal::TooFewNonMembers { n, needed } => failure::usage(format!(
            "--calibrate has {n} texts that can set a threshold, and a rate of {fpr} needs {needed}; give more, or a higher --fpr"
        )),
        Refusal::NoNonMembers => {
            failure::usage("--calibrate has no text that can set a threshold; give others")
        }
        other => anyhow!("the calibration sets no threshold: {other:?}"),
    }
}

/// The texts without those of the calibration that stand before others.
fn parted(texts: Texts, models: &Models, asked: &mut Asked, arguments: &Infer) -> anyhow::Result<Texts> {
    if !asked.any(Need::NonMembers) {
        return Ok(texts);
    }
    let Texts { judged, calibration, n_shared, .. } = texts;
    let parting =
        Parting { draws_members: false, most_tokens: arguments.max_tokens as usize, seed: arguments.seed };
    let Parted { shots, left } = part(models.target.text_model(), [&[], &calibration], parting);
    if shots.n_for_recall() == 0 {
        let reason =
            "no text of --calibrate that was looked at fits in half of the context; lower --max-tokens";
        asked.leave_out(Need::NonMembers, failure::usage(reason))?;
    }
    let calibration = left[1].iter().map(|number| calibration[*number].clone()).collect();
    Ok(Texts { judged, calibration, n_shared, shots: Some(shots) })
}

fn judged(said: &[TextSignals], n_judged: usize, fpr: f64) -> anyhow::Result<Judged> {
    let (texts, calibration) = said.split_at(n_judged);
    judge(&column(texts, 0), &column(calibration, 0), fpr).map_err(|refusal| refused(refusal, fpr))
}

fn provenance(
    arguments: &Infer,
    sets: &[Set; 2],
    fpr: f64,
    (models, asked): (&Models, &Asked),
) -> Provenance {
    models
        .provenance(asked, &[fpr], arguments)
        .corpus(reading::used("texts", &sets[0].corpus))
        .corpus(reading::used("calibration", &sets[1].corpus))
}

fn body(
    arguments: &Infer,
    (sets, texts): (&[Set; 2], &Texts),
    (provenance, asked): (Provenance, &Asked),
    judged: &Judged,
) -> CallsBody {
    let [suspects, controls] = [&texts.judged, &texts.calibration]
        .map(|texts| texts.iter().map(String::as_str).collect::<Vec<&str>>());
    let blind = blind_separations(blind_scores(&suspects, &controls, arguments.seed), &[], LEVEL);
    CallsBody::new(CallsFacts {
        provenance,
        signal: asked.signals().first().map_or("", |signal| signal.name()),
        judged,
        blind: blind.iter().map(|(name, found)| SeparationRow::new(name, &[], found)).collect(),
        n_shared: texts.n_shared,
        warnings: sets
            .iter()
            .flat_map(|set| set.corpus.warnings())
            .chain(asked.warnings())
            .cloned()
            .collect(),
    })
}

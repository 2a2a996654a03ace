//! `verbatim elicit`: how short a prompt makes a model say each text.

use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_extraction::{ElicitConfig, ElicitTarget};
use verbatim_lm::{Checkpoint, PromptGradient, Resources, TextModel};
use verbatim_report::{ElicitBody, Provenance, Report, elicit_text};
use verbatim_store::{Access, Scratch, StagedDir};

use crate::args::Elicit;
use crate::commands::{Context, answers, check_apart, merge, model, redaction};

pub(crate) fn run(arguments: &Elicit, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let checkpoint = model::open_asked(&arguments.checkpoint, &arguments.runtime, context)?;
    let mut gradient = PromptGradient::of(&checkpoint)?;
    let target = checkpoint.text_model();
    let targets = targets(arguments, target)?;
    let config = ElicitConfig {
        steps: u64::from(arguments.steps),
        candidates: arguments.candidates as usize,
        top: arguments.top_k as usize,
        seed: arguments.seed,
    };
    let provenance = provenance(arguments, &checkpoint);
    let result = merge::result_of(&provenance, arguments.redaction.reveal)?;
    merge::check(&result, context)?;
    let scratch = scratch(arguments, &checkpoint, &targets, (staged.path(), context))?;
    let longest = targets.iter().map(|target| 2 * target.passage.continuation.len()).max().unwrap_or(0);
    let batch = arguments.batch.map_or_else(|| model::batch(target.model, longest), usize::from);
    let resources = Resources { batch, scratch: &scratch, progress: context.teller };
    let found = verbatim_extraction::elicit(target, &mut gradient, &targets, &config, resources)?;
    context.check()?;
    if arguments.answering.shard.is_some() {
        return merge::end_shard((staged, scratch), result, context);
    }
    let redactor = redaction::redactor(&arguments.redaction, staged.path())?;
    let body = ElicitBody::new(provenance, &found, &redactor);
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    context.check()?;
    staged.commit()?;
    if arguments.redaction.reveal {
        context.note("prompts are written in the clear: keep the folder to yourself");
    }
    context.tell(&report, &elicit_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Elicit) -> impl Iterator<Item = &Path> {
    let files = arguments.texts.iter().chain(&arguments.canaries).chain(&arguments.redaction.key);
    files.map(PathBuf::as_path).chain([Path::new(&arguments.checkpoint.model)])
}

fn targets(arguments: &Elicit, model: TextModel<'_>) -> anyhow::Result<Vec<ElicitTarget>> {
    let mut targets = Vec::new();
    if let Some(path) = &arguments.canaries {
        let ledger = verbatim_extraction::read_ledger(path)?;
        targets.extend(verbatim_extraction::canary_targets(model, &ledger)?);
    }
    for path in &arguments.texts {
        let texts = verbatim_extraction::read_texts(path)?;
        targets.extend(verbatim_extraction::text_targets(model.tokenizer, &texts));
    }
    Ok(targets)
}

/// Where searches that have ended are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Elicit,
    checkpoint: &Checkpoint,
    targets: &[ElicitTarget],
    at: (&Path, &Context<'_>),
) -> anyhow::Result<Scratch> {
    let task = json!({"elicit": {
        "model": model::hashes(checkpoint),
        "targets": targets.iter().map(ElicitTarget::fingerprint).collect::<Vec<_>>(),
        "steps": arguments.steps,
        "candidates": arguments.candidates,
        "top_k": arguments.top_k,
        "seed": arguments.seed,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    let others = files_read(arguments).chain([arguments.output.output.as_path()]);
    answers(&arguments.answering, others, &task, at)
}

fn provenance(arguments: &Elicit, checkpoint: &Checkpoint) -> Provenance {
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .model(model::used("target", checkpoint))
        .seed("draw", arguments.seed)
        .parameter("steps", arguments.steps)
        .parameter("candidates", arguments.candidates)
        .parameter("top_k", arguments.top_k)
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
}

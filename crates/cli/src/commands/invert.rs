//! `verbatim invert`: the most likely ways to fill templates.

use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_extraction::{Inversion, InvertConfig, MAX_EXHAUSTIVE, Outcome, Template};
use verbatim_lm::{Checkpoint, Resources, TextModel};
use verbatim_report::{ExhaustiveRow, InvertBody, InvertRow, Provenance, Redactor, Report, invert_text};
use verbatim_store::{Access, Bytes, Progress, Scratch, StagedDir, answer_each};

use crate::args::Invert;
use crate::commands::{Context, answers, check_apart, existing, merge, model, redaction};
use crate::failure;

/// Open nodes that are remembered: some fifty bytes each.
const MAX_OPEN: usize = 1 << 20;

/// A template, and what is known of it.
struct Asked {
    name: String,
    template: Template,
    secret: Option<String>,
    copies: Option<u64>,
}

impl Asked {
    /// What tells it from others, without telling it.
    fn fingerprint(&self) -> String {
        let text = format!("{} {:?}", self.template.fingerprint(), self.secret);
        verbatim_store::xxh3_128_hex(text.as_bytes())
    }
}

/// What was found for a template, if it is in this process's share, and what going through all its fillings says, if that was
/// asked for.
type Found = (Option<Inversion>, Option<ExhaustiveRow>);

pub(crate) fn run(arguments: &Invert, context: &Context<'_>) -> anyhow::Result<()> {
    if arguments.answering.shard.is_some() && arguments.output.is_none() {
        return Err(failure::usage("--shard writes answers to a folder; give -o DIR"));
    }
    let staged = match &arguments.output {
        None => None,
        Some(output) => {
            check_apart(files_read(arguments), output)?;
            Some(StagedDir::create(output, Access::Private, existing(arguments.force))?)
        }
    };
    let asked = asked(arguments)?;
    let checkpoint = model::open_asked(&arguments.checkpoint, &arguments.runtime, context)?;
    let folder = staged.as_ref().map_or_else(std::env::temp_dir, |staged| staged.path().to_path_buf());
    let provenance = provenance(arguments, &checkpoint);
    let result = merge::result_of(&provenance, arguments.redaction.reveal)?;
    merge::check(&result, context)?;
    let scratch = scratch(arguments, &checkpoint, &asked, (&folder, context))?;
    let found = invert(&asked, &checkpoint, arguments, &scratch, context)?;
    let staged = match (staged, arguments.answering.shard) {
        (Some(staged), Some(_)) => return merge::end_shard((staged, scratch), result, context),
        (staged, _) => staged,
    };
    let redactor = match &staged {
        Some(staged) => redaction::redactor(&arguments.redaction, staged.path())?,
        None => redaction::passing(&arguments.redaction)?,
    };
    let report = Report::new(body(provenance, (asked, found), &redactor), context.run());
    if let Some(staged) = staged {
        report.write(staged.path(), Access::Private)?;
        context.check()?;
        staged.commit()?;
    }
    if arguments.redaction.reveal && arguments.output.is_some() {
        context.note("fillings are written in the clear: keep the folder to yourself");
    }
    context.tell(&report, &invert_text(&report.result))?;
    Ok(scratch.discard()?)
}

fn files_read(arguments: &Invert) -> impl Iterator<Item = &Path> {
    let files = [&arguments.templates, &arguments.canaries, &arguments.secret_file, &arguments.redaction.key];
    files.into_iter().flatten().map(PathBuf::as_path).chain([Path::new(&arguments.checkpoint.model)])
}

/// Where searches that have ended are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Invert,
    checkpoint: &Checkpoint,
    asked: &[Asked],
    at: (&Path, &Context<'_>),
) -> anyhow::Result<Scratch> {
    let task = json!({"invert": {
        "model": model::hashes(checkpoint),
        "asked": asked.iter().map(Asked::fingerprint).collect::<Vec<_>>(),
        "top": arguments.top,
        "max_evaluations": arguments.max_evaluations,
        "exhaustive": arguments.exhaustive,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    let others = files_read(arguments).chain(arguments.output.as_deref());
    answers(&arguments.answering, others, &task, at)
}

/// The templates of the flags, the file and the ledger, in this order.
fn asked(arguments: &Invert) -> anyhow::Result<Vec<Asked>> {
    let secret = arguments.secret_file.as_deref().map(line).transpose()?;
    let file = arguments.templates.as_deref().map(text).transpose()?.unwrap_or_default();
    let texts =
        arguments.template.iter().map(String::as_str).chain(file.lines().filter(|line| !line.is_empty()));
    let mut asked = Vec::new();
    for (text, number) in texts.zip(1..) {
        let template = Template::parse(text)?;
        asked.push(Asked {
            name: format!("template {number}"),
            template,
            secret: secret.clone(),
            copies: None,
        });
    }
    if secret.is_some() && asked.len() != 1 {
        return Err(failure::usage("--secret-file takes one --template"));
    }
    if let Some(path) = &arguments.canaries {
        let ledger = verbatim_extraction::read_ledger(path)?;
        let templates = verbatim_extraction::canary_templates(&ledger);
        asked.extend(ledger.into_iter().zip(templates).map(|(canary, template)| Asked {
            name: canary.id,
            template,
            secret: Some(canary.secret),
            copies: Some(canary.copies),
        }));
    }
    match asked.is_empty() {
        true => Err(failure::usage("give --template, --templates or --canaries")),
        false => Ok(asked),
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let bytes = Bytes::open(path)?;
    let text = std::str::from_utf8(&bytes);
    Ok(text.map_err(|_| failure::usage(format!("{}: not UTF-8", path.display())))?.to_owned())
}

/// The text of a file, without the line end that editors put there.
fn line(path: &Path) -> anyhow::Result<String> {
    let text = text(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn invert(
    asked: &[Asked],
    checkpoint: &Checkpoint,
    arguments: &Invert,
    scratch: &Scratch,
    context: &Context<'_>,
) -> anyhow::Result<Vec<Found>> {
    let target = checkpoint.text_model();
    let config = InvertConfig {
        top: arguments.top as usize,
        max_evaluations: u64::from(arguments.max_evaluations),
        max_open: MAX_OPEN,
    };
    let pairs: Vec<_> = asked.iter().map(|asked| (&asked.template, asked.secret.as_deref())).collect();
    let resources = Resources { batch: 1, scratch, progress: context.teller };
    let inversions = verbatim_extraction::invert_each(target, &pairs, &config, resources)?;
    context.check()?;
    let exhaustive = answer_each(scratch, "exhaustive", asked.len(), |number| -> anyhow::Result<_> {
        match &inversions[number] {
            Some(found) if arguments.exhaustive => {
                exhaustive(target, &asked[number].template, found, context)
            }
            _ => Ok(None),
        }
    })?;
    Ok(inversions.into_iter().zip(exhaustive.into_iter().map(Option::flatten)).collect())
}

/// Whether the search and going through all fillings agree; nothing where these are too many.
fn exhaustive(
    target: TextModel<'_>,
    template: &Template,
    found: &Inversion,
    context: &Context<'_>,
) -> anyhow::Result<Option<ExhaustiveRow>> {
    if template.n_fillings().is_none_or(|n| n > MAX_EXHAUSTIVE) {
        return Ok(None);
    }
    context.teller.stage("go through all fillings", template.n_fillings(), "texts");
    let batch = model::batch(target.model, target.model.context_len());
    let all = verbatim_extraction::invert_exhaustively(target, template, batch, context.teller)?;
    let mut pairs = found.answers.iter().zip(&all);
    let is_whole = found.outcome != Outcome::Exhausted || found.n_found == all.len() as u64;
    let agrees = is_whole && pairs.all(|(one, other)| one.filling == other.filling);
    Ok(Some(ExhaustiveRow { n_fillings: all.len() as u64, agrees }))
}

fn body(provenance: Provenance, (asked, found): (Vec<Asked>, Vec<Found>), redactor: &Redactor) -> InvertBody {
    let row = |(asked, (found, exhaustive)): (Asked, Found)| {
        let row = InvertRow::new(asked.name, &asked.template, &found?, redactor);
        Some(InvertRow { copies: asked.copies, exhaustive, ..row })
    };
    let templates: Vec<InvertRow> = asked.into_iter().zip(found).filter_map(row).collect();
    let mut warnings = Vec::new();
    if templates.iter().any(|row| row.exhaustive.is_some_and(|all| !all.agrees)) {
        warnings
            .push("going through all fillings gave another order: equal likelihoods, or a defect".to_owned());
    }
    InvertBody { provenance, templates, warnings }
}

fn provenance(arguments: &Invert, checkpoint: &Checkpoint) -> Provenance {
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .model(model::used("target", checkpoint))
        .parameter("top", arguments.top)
        .parameter("max_evaluations", arguments.max_evaluations)
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
}

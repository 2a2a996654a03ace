//! `verbatim infer`: how well a model's own words tell what it was trained on from what it was not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_corpus::{Corpus, DocId};
use verbatim_lm::{Checkpoint, Resources};
use verbatim_membership::{
    Confidence, Inferring, TextSignals, blind_separations, control_separation, separation, text_signals,
};
use verbatim_report::{InferBody, InferFacts, LEVEL, Provenance, Report, SeparationRow, infer_text};
use verbatim_store::{Access, Scratch, StagedDir};

use crate::args::{Asking, Infer, Reading};
use crate::commands::{Context, check_apart, kept, model, reading};
use crate::failure;

/// The texts of one set, in the order of their documents.
pub(crate) struct Set {
    pub(crate) corpus: Corpus,
    pub(crate) chosen: Vec<DocId>,
}

pub(crate) fn run(arguments: &Infer, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    check_fprs(&arguments.asking.fpr)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let how = (&arguments.asking, &arguments.reading);
    let members = Set::open(&arguments.members, how, context)?;
    let non_members = Set::open(&arguments.non_members, how, context)?;
    let runtime = model::runtime(&arguments.runtime);
    let checkpoint = model::open_asked(&arguments.checkpoint, &arguments.runtime, context)?;
    let reference = arguments.reference.as_deref().map(|name| model::open(name, "main", runtime, context));
    let models = (checkpoint, reference.transpose()?);
    let scratch = scratch(arguments, &models, [&members, &non_members], staged.path())?;
    let body = infer(arguments, (&models.0, models.1.as_ref()), [&members, &non_members], &scratch, context)?;
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    members.corpus.verify_unchanged()?;
    non_members.corpus.verify_unchanged()?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &infer_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// Refuses what is no false positive rate.
pub(crate) fn check_fprs(fprs: &[f64]) -> anyhow::Result<()> {
    match fprs.iter().find(|fpr| !(**fpr > 0.0 && **fpr < 1.0)) {
        Some(fpr) => Err(failure::usage(format!("--fpr {fpr}: expected numbers between 0 and 1"))),
        None => Ok(()),
    }
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Infer) -> impl Iterator<Item = &Path> {
    let models = std::iter::once(&arguments.checkpoint.model).chain(&arguments.reference).map(Path::new);
    arguments.members.iter().chain(&arguments.non_members).map(PathBuf::as_path).chain(models)
}

impl Set {
    /// Opens a corpus and draws its texts.
    pub(crate) fn open(
        inputs: &[PathBuf],
        (asking, reading): (&Asking, &Reading),
        context: &Context<'_>,
    ) -> anyhow::Result<Set> {
        let corpus = reading.open(inputs, context)?;
        let drawn = corpus.draw_order(u64::from(asking.documents), asking.seed);
        let with_text = drawn.into_iter().filter(|id| !corpus.is_blank(*id));
        let mut chosen: Vec<DocId> = with_text.take(asking.documents as usize).collect();
        chosen.sort_unstable();
        Ok(Set { corpus, chosen })
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.chosen.iter().map(|id| self.corpus.text_str(*id).into_owned()).collect()
    }
}

fn infer(
    arguments: &Infer,
    (checkpoint, reference): (&Checkpoint, Option<&Checkpoint>),
    sets: [&Set; 2],
    scratch: &Scratch,
    context: &Context<'_>,
) -> anyhow::Result<InferBody> {
    let models = Inferring {
        target: checkpoint.text_model(),
        reference: reference.map(Checkpoint::text_model),
        most_tokens: arguments.asking.max_tokens as usize,
    };
    let batch = arguments
        .asking
        .batch
        .map_or_else(|| model::batch(models.target.model, models.most_tokens), usize::from);
    let texts = sets.map(Set::texts);
    let [members, non_members] =
        [0, 1].map(|set| texts[set].iter().map(String::as_str).collect::<Vec<&str>>());
    let all = [&members[..], &non_members].concat();
    let said = text_signals(models, &all, Resources { batch, scratch, progress: context.teller })?;
    context.check()?;
    let said = said.split_at(members.len());
    let signals = models.signals();
    let confidence = Confidence { level: LEVEL, n_together: signals.len() };
    let column =
        |texts: &[TextSignals], at: usize| texts.iter().map(|text| text.values[at]).collect::<Vec<_>>();
    let mut provenance = provenance(arguments).model(model::used("target", checkpoint));
    if let Some(reference) = reference {
        provenance = provenance.model(model::used("reference", reference));
    }
    let mut facts = InferFacts {
        provenance: provenance
            .corpus(reading::used("members", &sets[0].corpus))
            .corpus(reading::used("non-members", &sets[1].corpus)),
        n: [members.len() as u64, non_members.len() as u64],
        signals: Vec::new(),
        blind: Vec::new(),
        control: Vec::new(),
        warnings: sets.iter().flat_map(|set| set.corpus.warnings()).cloned().collect(),
    };
    let known: BTreeSet<&str> = members.iter().copied().collect();
    let n_shared = non_members.iter().filter(|text| known.contains(*text)).count();
    if n_shared > 0 {
        facts.warnings.push(format!("{n_shared} of the non-members stand among the members, too"));
    }
    let fprs = &arguments.asking.fpr[..];
    for (at, signal) in signals.iter().enumerate() {
        let (inside, outside) = (column(said.0, at), column(said.1, at));
        let found = separation(&inside, &outside, fprs, confidence);
        facts.signals.push(SeparationRow::new(signal.name(), fprs, &found));
        let control = control_separation(&outside, confidence, arguments.asking.seed);
        facts.control.push(SeparationRow::new(signal.name(), &[], &control));
    }
    let blind = blind_separations(&members, &non_members, (fprs, LEVEL), arguments.asking.seed);
    facts.blind = blind.iter().map(|(name, found)| SeparationRow::new(name, fprs, found)).collect();
    Ok(InferBody::new(facts))
}

/// Where the models' answers are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Infer,
    (checkpoint, reference): &(Checkpoint, Option<Checkpoint>),
    sets: [&Set; 2],
    folder: &Path,
) -> anyhow::Result<Scratch> {
    let task = json!({"infer": {
        "model": model::hashes(checkpoint),
        "reference": reference.as_ref().map(model::hashes),
        "members": sets[0].corpus.fingerprint(),
        "non_members": sets[1].corpus.fingerprint(),
        "documents": arguments.asking.documents,
        "max_tokens": arguments.asking.max_tokens,
        "seed": arguments.asking.seed,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    kept(
        arguments.asking.scratch.as_deref(),
        files_read(arguments).chain([arguments.output.output.as_path()]),
        &task,
        folder,
    )
}

fn provenance(arguments: &Infer) -> Provenance {
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .seed("draw", arguments.asking.seed)
        .parameter("documents", arguments.asking.documents)
        .parameter("max_tokens", arguments.asking.max_tokens)
        .parameter("fpr", arguments.asking.fpr.clone())
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
}

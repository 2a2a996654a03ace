//! `verbatim contamination`: which evaluation items stand in a training corpus, told, checked or removed.

use std::path::PathBuf;

use anyhow::Context as _;
use verbatim_corpus::{Corpus, DocId, FieldPath, Location, OpenConfig};
use verbatim_dedup::{ContaminationConfig, ItemPart, part_text};
use verbatim_report::{
    ContaminationBody, ContaminationFacts, MatchPlace, MatchSources, Provenance, Report, contamination_text,
    write_matches,
};
use verbatim_store::{Access, StagedDir};

use crate::args::Contamination;
use crate::commands::{Context, check_apart, dedup, reading, redaction};
use crate::failure;

pub(crate) fn run(arguments: &Contamination, context: &Context<'_>) -> anyhow::Result<()> {
    let config = config(arguments)?;
    let output = &arguments.output;
    let read = arguments.inputs.iter().chain(&arguments.eval).chain(&arguments.redaction.key);
    check_apart(read.map(PathBuf::as_path), &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let eval = open_eval(arguments, &config, context)?;
    let train = arguments.reading.open(&arguments.inputs, context)?;
    let found = verbatim_dedup::contamination(&train, &eval, &config, context.teller)?;
    context.check()?;
    let tally = match arguments.remove {
        true => {
            let corpora = [&train, &eval];
            Some(verbatim_dedup::remove_contaminated(corpora, &found, staged.path(), context.teller)?)
        }
        false => None,
    };
    let folder = staged.path().join("_verbatim");
    std::fs::create_dir_all(&folder)
        .map_err(|error| verbatim_store::Error::io(&folder, "create the folder", error))?;
    let redactor = redaction::redactor(&arguments.redaction, &folder)?;
    let warnings = train.warnings().iter().chain(eval.warnings()).cloned().collect();
    let facts = ContaminationFacts {
        provenance: provenance(arguments, &config, [&train, &eval]),
        found: &found,
        fields: config.fields.iter().map(ToString::to_string).collect(),
        tally,
        warnings,
    };
    let (body, matches) =
        ContaminationBody::new(facts, &Sources { train: &train, eval: &eval, config: &config }, &redactor);
    write_matches(&folder, &matches)?;
    let report = Report::new(body, context.run());
    report.write(&folder, Access::Private)?;
    eval.verify_unchanged()?;
    train.verify_unchanged()?;
    context.check()?;
    staged.commit()?;
    if arguments.redaction.reveal {
        context.note("words in common are written in the clear: keep the folder to yourself");
    }
    context.tell(&report, &contamination_text(&report.result))?;
    match arguments.check && !matches.is_empty() {
        true => Err(failure::gate(report.result.headline())),
        false => Ok(()),
    }
}

/// Both corpora, for a report that names what is in them.
struct Sources<'a> {
    train: &'a Corpus,
    eval: &'a Corpus,
    config: &'a ContaminationConfig,
}

impl MatchSources for Sources<'_> {
    fn document(&self, number: u64) -> MatchPlace {
        place(self.train, DocId(number))
    }

    fn item(&self, number: u64) -> MatchPlace {
        place(self.eval, DocId(number))
    }

    fn text(&self, part: &ItemPart) -> Option<String> {
        part_text(self.eval, &self.config.fields, part)
    }
}

fn place(corpus: &Corpus, id: DocId) -> MatchPlace {
    let Location { path, line, .. } = corpus.location(id);
    MatchPlace { id: corpus.label(id), path, line, bytes: None }
}

/// The evaluation items; the text of each is its first part.
fn open_eval(
    arguments: &Contamination,
    config: &ContaminationConfig,
    context: &Context<'_>,
) -> anyhow::Result<Corpus> {
    let reading = OpenConfig { text_field: config.fields[0].clone(), ..arguments.reading.config()? };
    let eval = Corpus::open(&arguments.eval, &reading::here(reading), context.teller)
        .context("cannot read the evaluation set")?;
    context.check()?;
    reading::note_rejects(&eval, context);
    Ok(eval)
}

fn config(arguments: &Contamination) -> anyhow::Result<ContaminationConfig> {
    let field = |text: &String| -> anyhow::Result<FieldPath> {
        text.parse().map_err(|error| failure::usage(format!("--eval-field `{text}`: {error}")))
    };
    let fields: Vec<FieldPath> = arguments.eval_field.iter().map(field).collect::<Result<_, _>>()?;
    if (1..fields.len()).any(|i| fields[..i].contains(&fields[i])) {
        return Err(failure::usage("an --eval-field is given twice"));
    }
    Ok(ContaminationConfig {
        normalizer: dedup::normalizer(&arguments.normalize)?,
        n: usize::from(arguments.ngram),
        overlap: arguments.overlap,
        min_words: usize::from(arguments.min_words),
        common: arguments.common,
        fields,
    })
}

fn provenance(
    arguments: &Contamination,
    config: &ContaminationConfig,
    [train, eval]: [&Corpus; 2],
) -> Provenance {
    let steps: Vec<&str> = config.normalizer.steps().iter().map(|step| step.name()).collect();
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("training", train))
        .corpus(reading::used("evaluation", eval))
        .parameter("eval_field", arguments.eval_field.clone())
        .parameter("ngram", arguments.ngram)
        .parameter("overlap", arguments.overlap)
        .parameter("min_words", arguments.min_words)
        .parameter("common", arguments.common)
        .parameter("normalize", steps)
}

//! `verbatim dedup`: finds duplicates, and writes the plan and the clean corpus.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use verbatim_corpus::{Corpus, Selection, write_survivors_to};
use verbatim_dedup::{DedupConfig, ExactConfig, LineUnit, LinesConfig, MinhashConfig, Plan, Source, Tally};
use verbatim_index::{Normalizer, Shingler, Step, TokenFn, Unit};
use verbatim_lm::Tokenizer;
use verbatim_report::{DedupBody, DedupFacts, Outcome, Provenance, Report, dedup_text};
use verbatim_store::{Access, StagedDir};

use crate::args::{self, Dedup};
use crate::commands::{Context, check_apart, existing, reading};
use crate::failure;

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let to_pipe = arguments.output == Path::new("-");
    if to_pipe && arguments.dry_run {
        return Err(failure::usage("a dry run writes a plan, which needs a folder: give -o DIR"));
    }
    let config = config(arguments)?;
    if to_pipe {
        let corpus = arguments.reading.open(&arguments.inputs, context)?;
        reading::warn(&corpus, context);
        let plan = verbatim_dedup::plan(&corpus, &config, context.teller)?;
        return pipe(&corpus, &plan, context);
    }
    let read = arguments.inputs.iter().chain(&arguments.tokenizer);
    check_apart(read.map(PathBuf::as_path), &arguments.output)?;
    let staged = StagedDir::create(&arguments.output, Access::Shared, existing(arguments.force))?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    let plan = verbatim_dedup::plan(&corpus, &config, context.teller)?
        .with_source(Source { inputs: arguments.inputs.clone(), reading: arguments.reading.config()? });
    context.check()?;
    let (outcome, tally) = if arguments.dry_run {
        (Outcome::Planned, verbatim_dedup::write_plan(&corpus, &plan, staged.path())?)
    } else {
        (Outcome::Written, verbatim_dedup::apply(&corpus, &plan, staged.path(), context.teller)?)
    };
    let body = body(&corpus, &plan, outcome, tally)?;
    let report = Report::new(body, context.run());
    report.write(&staged.path().join("_verbatim"), Access::Shared)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &dedup_text(&report.result))
}

/// What a plan did, or would do, for a report.
pub(crate) fn body(
    corpus: &Corpus,
    plan: &Plan,
    outcome: Outcome,
    tally: Tally,
) -> anyhow::Result<DedupBody> {
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("input", corpus))
        .parameter("dedup", serde_json::to_value(plan.parameters())?);
    let facts = DedupFacts { provenance, outcome, plan, tally, warnings: corpus.warnings().to_vec() };
    Ok(DedupBody::new(facts, |document| corpus.label(verbatim_corpus::DocId(document))))
}

fn pipe(corpus: &Corpus, plan: &Plan, context: &Context<'_>) -> anyhow::Result<()> {
    context.check()?;
    let mut sink = BufWriter::new(std::io::stdout().lock());
    let (keep, cuts) = (plan.keep_mask(), plan.stretches());
    let selection = Selection { keep: &keep, cuts: &cuts };
    let written = write_survivors_to(corpus, selection, &mut sink).map_err(failure::product)?;
    sink.flush().map_err(failure::product)?;
    context.note(&format!("{} of {} documents kept", written.n_documents, corpus.n_documents()));
    Ok(())
}

fn config(arguments: &Dedup) -> anyhow::Result<DedupConfig> {
    let none_named = !arguments.exact && !arguments.minhash && arguments.lines.is_none();
    let normalizer = normalizer(&arguments.normalize)?;
    let exact = (none_named || arguments.exact).then(|| ExactConfig { normalizer: normalizer.clone() });
    let lines = arguments.lines.map(|unit| LinesConfig {
        unit: match unit {
            args::LineUnit::Line => LineUnit::Line,
            args::LineUnit::Paragraph => LineUnit::Paragraph,
        },
        min_bytes: arguments.min_line_bytes,
        min_count: arguments.min_count,
        normalize: normalizer.clone(),
    });
    let minhash = if none_named || arguments.minhash {
        Some(MinhashConfig {
            shingler: shingler(arguments, normalizer)?,
            threshold: arguments.threshold,
            recall: arguments.recall,
            bands_rows: arguments.bands.zip(arguments.rows).map(|(b, r)| (usize::from(b), usize::from(r))),
            seed: arguments.seed,
        })
    } else {
        None
    };
    Ok(DedupConfig { exact, minhash, lines, keep: arguments.keep.parse()? })
}

fn normalizer(steps: &str) -> anyhow::Result<Normalizer> {
    if steps == "none" {
        return Ok(Normalizer::new(Vec::new()));
    }
    let steps: Result<Vec<Step>, _> = steps.split(',').map(|step| step.trim().parse()).collect();
    Ok(Normalizer::new(steps.context("--normalize")?))
}

fn shingler(arguments: &Dedup, normalizer: Normalizer) -> anyhow::Result<Shingler> {
    let unit = match arguments.unit {
        args::Unit::Word => Unit::Word,
        args::Unit::Char => Unit::Char,
        args::Unit::Byte => Unit::Byte,
        args::Unit::Token => Unit::Token,
    };
    let tokens = match (&arguments.tokenizer, unit) {
        (Some(path), Unit::Token) => {
            let tokenizer = Tokenizer::open(path)?;
            Some(Arc::new(move |text: &str| tokenizer.encode(text)) as TokenFn)
        }
        (None, Unit::Token) => return Err(failure::usage("--unit token needs --tokenizer FILE")),
        (Some(_), _) => return Err(failure::usage("--tokenizer is for --unit token")),
        (None, _) => None,
    };
    Ok(Shingler::new(unit, usize::from(arguments.ngram), normalizer, tokens)?)
}

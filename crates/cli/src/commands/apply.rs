//! `verbatim apply`: carries out a plan that was made before.

use std::path::PathBuf;

use verbatim_corpus::Corpus;
use verbatim_dedup::{Plan, Sources};

use crate::args::Apply;
use crate::commands::destination::Destination;
use crate::commands::{Context, check_apart, dedup, emitting, existing, reading};
use crate::failure;

pub(crate) fn run(arguments: &Apply, context: &Context<'_>) -> anyhow::Result<()> {
    let emission = arguments.emitting.resolve()?;
    let plan = Plan::load(&arguments.plan)?;
    emitting::check(&plan, &emission)?;
    let source =
        plan.source().ok_or_else(|| failure::usage("the plan names no input; name it after the plan"))?;
    let inputs = if arguments.inputs.is_empty() { &source.inputs } else { &arguments.inputs };
    let read = inputs.iter().chain(&source.against).map(PathBuf::as_path).chain([arguments.plan.as_path()]);
    check_apart(read, &arguments.output)?;
    let staged = Destination::create(&arguments.output, existing(arguments.force), context)?;
    let here = reading::here(source.reading.clone());
    let corpus = Corpus::open_against(inputs, &source.against, &here, context.teller)?;
    let tally = verbatim_dedup::emit(&corpus, &plan, &emission, staged.path(), context.teller)?;
    let sources = Sources::by_folder(&corpus);
    dedup::finish(dedup::facts(&corpus, &plan, (&emission, tally), &sources)?, &corpus, staged, context)
}

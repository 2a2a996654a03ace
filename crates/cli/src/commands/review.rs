//! A run that was made before: its plan and its corpus.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use verbatim_corpus::Corpus;
use verbatim_dedup::Plan;

use crate::commands::{Context, reading};
use crate::failure;

/// Opens the plan of an output folder, or a plan file, and the corpus that it was made for: where the plan found it,
/// or where it is now.
pub(crate) fn open(run: &Path, moved: &[PathBuf], context: &Context<'_>) -> anyhow::Result<(Plan, Corpus)> {
    let path = if run.is_dir() { run.join("_verbatim/plan.json") } else { run.to_owned() };
    let plan = Plan::load(&path)?;
    let source =
        plan.source().ok_or_else(|| failure::usage("the plan names no input; name it with --corpus"))?;
    let inputs = if moved.is_empty() { &source.inputs } else { moved };
    if inputs.iter().any(|input| input.as_os_str() == "-") {
        return Err(failure::usage(
            "the corpus came through standard input; name it as a file with --corpus",
        ));
    }
    let here = reading::here(source.reading.clone());
    let corpus = Corpus::open_against(inputs, &source.against, &here, context.teller)
        .context("cannot read the corpus")?;
    context.check()?;
    plan.check_corpus(&corpus)?;
    Ok((plan, corpus))
}

//! `verbatim apply`: carries out a plan that was made before.

use std::path::PathBuf;

use verbatim_corpus::Corpus;
use verbatim_dedup::Plan;
use verbatim_report::{Outcome, Report, dedup_text};
use verbatim_store::{Access, StagedDir};

use crate::args::Apply;
use crate::commands::{Context, check_apart, dedup};
use crate::failure;

pub(crate) fn run(arguments: &Apply, context: &Context<'_>) -> anyhow::Result<()> {
    let plan = Plan::load(&arguments.plan)?;
    let source =
        plan.source().ok_or_else(|| failure::usage("the plan names no input; name it after the plan"))?;
    let inputs = if arguments.inputs.is_empty() { &source.inputs } else { &arguments.inputs };
    let output = &arguments.output;
    let read = inputs.iter().map(PathBuf::as_path).chain([arguments.plan.as_path()]);
    check_apart(read, &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Shared, output.existing())?;
    let corpus = Corpus::open(inputs, &source.reading, context.teller)?;
    let tally = verbatim_dedup::apply(&corpus, &plan, staged.path(), context.teller)?;
    let report = Report::new(dedup::body(&corpus, &plan, Outcome::Written, tally)?, context.run());
    report.write(&staged.path().join("_verbatim"), Access::Shared)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &dedup_text(&report.result))
}

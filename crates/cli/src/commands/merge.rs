//! `verbatim merge`: ends a run with the answers of its shards; and what such a run leaves for it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};
use verbatim_report::Provenance;
use verbatim_store::{About, Scratch, Shards, StagedDir, differences, write_shard};

use crate::args::{Answering, Arguments, Command, Merge, Output};
use crate::commands::{Context, check_apart, words};

/// Where a shard keeps its answers until all are there.
pub(super) const ANSWERING: &str = "answering";

/// What a shard says of how it was called.
#[derive(Deserialize)]
struct Called {
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Merge, context: &Context<'_>) -> anyhow::Result<()> {
    let Merge { shards, output } = arguments;
    check_apart(shards.iter().map(PathBuf::as_path), &output.output)?;
    let shards = Shards::open(shards)?;
    let result = &shards.about().result;
    let (there, here) = (&result["provenance"]["version"], env!("CARGO_PKG_VERSION"));
    if there != here {
        let cause =
            format!("the shards are of version {there} of this program, which is {here}; take that one");
        return Err(verbatim_store::Error::Shards(cause).into());
    }
    super::run(whole(&shards, output)?, &context.merging(&shards))
}

/// The command that the shards are of, without a shard and with another output.
fn whole(shards: &Shards, output: &Output) -> anyhow::Result<Command> {
    let odd =
        || verbatim_store::Error::Shards("the first shard does not say what it is a shard of".to_owned());
    let called: Called = serde_json::from_value(shards.about().run.clone()).map_err(|_| odd())?;
    let named = std::iter::once("verbatim").chain(called.arguments.iter().map(String::as_str));
    let command = Arguments::try_parse_from(named).map_err(|_| odd())?.command;
    Ok(command.answered_in(Answering::default(), output.clone()).ok_or_else(odd)?)
}

/// What decides about the result of a run beside its task, for shards to have in common.
pub(super) fn result_of(provenance: &Provenance, reveal: bool) -> anyhow::Result<Value> {
    Ok(json!({ "provenance": serde_json::to_value(provenance)?, "reveal": reveal }))
}

/// Refuses to end a run that is not the one of the shards.
pub(super) fn check(result: &Value, context: &Context<'_>) -> anyhow::Result<()> {
    let Some(shards) = context.shards else { return Ok(()) };
    let differences = differences(&shards.about().result, result);
    match differences.is_empty() {
        true => Ok(()),
        false => {
            let cause = format!("the inputs are not those of the shards: {differences}");
            Err(verbatim_store::Error::Shards(cause).into())
        }
    }
}

/// Ends a run that was to ask a share of the questions: its answers are the output.
pub(super) fn end_shard(
    (staged, scratch): (StagedDir, Scratch),
    result: Value,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    context.check()?;
    let arguments = match context.planned {
        Some(words) => words.to_vec(),
        None => words()?,
    };
    let about = About { result, run: json!({ "arguments": arguments }) };
    let share = scratch.share();
    let n_answers = write_shard(&scratch, staged.path(), about).context("cannot write the shard")?;
    if scratch.folder().starts_with(staged.path()) {
        scratch.discard()?;
        staged.commit()?;
    } else {
        staged.commit()?;
        scratch.discard()?;
    }
    context.note(&format!(
        "shard {share}: {n_answers} answers; `verbatim merge` makes a run of all {}",
        share.of()
    ));
    Ok(())
}

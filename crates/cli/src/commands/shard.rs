//! `--runner` of the commands that ask a model: the questions are shared out to tasks elsewhere, each of which calls
//! `verbatim shard`, and the shards are merged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use serde::{Deserialize, Serialize};
use verbatim_store::{Access, Error, StagedDir, read_manifest, write_part};

use crate::args::{Answering, Arguments, Merge, Output, Runner, Shard};
use crate::commands::{Context, check_scratch, merge, ray, slurm, words};
use crate::failure;

const PLAN: &str = "run.json";
const MAGIC: &str = "verbatim run";
const VERSION: u32 = 1;
const SHARD: &str = "shard";

/// What all tasks hold to.
#[derive(PartialEq, Serialize, Deserialize)]
struct Plan {
    magic: String,
    version: u32,
    /// The version of the program.
    program: String,
    /// Where the command was called.
    folder: PathBuf,
    arguments: Vec<String>,
    n_shards: u64,
}

impl Plan {
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(PLAN);
        let bad = |cause| Error::Shards(format!("{}: {cause}", path.display()));
        Ok(read_manifest(&path, (MAGIC, VERSION), bad)?)
    }

    /// The folders of all shards.
    fn shards(&self, folder: &Path) -> Vec<PathBuf> {
        let of = self.n_shards;
        (1..=of).map(|number| folder.join(format!("{SHARD}-{number}-of-{of}"))).collect()
    }
}

/// Answers one share of the questions of a planned run.
pub(crate) fn run(arguments: &Shard, context: &Context<'_>) -> anyhow::Result<()> {
    let folder = std::path::absolute(&arguments.folder)?;
    let plan = Plan::read(&folder)?;
    let plan =
        plan.ok_or_else(|| failure::usage(format!("{}: no run was planned in it", folder.display())))?;
    let (version, share) = (env!("CARGO_PKG_VERSION"), arguments.task);
    if plan.program != version || plan.n_shards != share.of() {
        return Err(failure::usage(format!(
            "the run was planned by verbatim {} with {} shards; this is verbatim {version} with --task {share}",
            plan.program, plan.n_shards
        )));
    }
    let output = plan.shards(&folder).swap_remove((share.number() - 1) as usize);
    if output.exists() {
        context.note(&format!("shard {share}: was done before"));
        return Ok(());
    }
    std::env::set_current_dir(&plan.folder).with_context(|| {
        format!("{}: cannot enter the folder that the run was planned in", plan.folder.display())
    })?;
    let odd = || failure::usage(format!("{}: its command line cannot be read", folder.display()));
    let named = ["verbatim"].into_iter().chain(plan.arguments.iter().map(String::as_str));
    let command = Arguments::try_parse_from(named).map_err(|_| odd())?.command;
    let scratch = folder.join(format!("answers-{}-of-{}", share.number(), share.of()));
    let answering = Answering { scratch: Some(scratch), shard: Some(share), ..Answering::default() };
    let command = command.answered_in(answering, Output { output, force: false }).ok_or_else(odd)?;
    super::run(command, &context.planned_by(&plan.arguments))
}

/// Plans the shards of a run, and has a runner do the rest.
pub(super) fn run_all(
    (answering, runner): (&Answering, Runner),
    output: Option<Output>,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let running = &answering.running;
    let (Some(output), Some(folder), Some(n_shards)) = (output, &answering.scratch, running.tasks) else {
        return Err(failure::usage(
            "--runner needs --tasks N, the number of shards, --scratch DIR, a folder that all tasks see, and -o",
        ));
    };
    let folder = std::path::absolute(folder)?;
    // The folder is removed at the end.
    check_scratch([output.output.as_path()], &folder)?;
    let plan = planned(&folder, n_shards)?;
    // Whether the output can be made is better known now than at the end.
    drop(StagedDir::create(&output.output, Access::Private, output.existing())?);
    match runner {
        Runner::Ray => {
            let kinds = [format!("{SHARD}={n_shards}")];
            ray::run_tasks(&folder, &kinds, (running, answering.gpus_per_task), context)?;
            merge::run(&Merge { shards: plan.shards(&folder), output }, context)?;
            fs::remove_dir_all(&folder).with_context(|| format!("{}: cannot remove", folder.display()))
        }
        Runner::Slurm => {
            let quoted = slurm::quoted;
            let shards: Result<Vec<String>, _> =
                plan.shards(&folder).iter().map(|shard| quoted(shard)).collect();
            let force = if output.force { " --force" } else { "" };
            let merging = format!("merge -o {}{force} {}", quoted(&output.output)?, shards?.join(" "));
            let asking = format!("{SHARD} {}", quoted(&folder)?);
            let jobs = [
                slurm::Job {
                    name: SHARD,
                    words: asking,
                    n_tasks: Some(n_shards),
                    gpus: answering.gpus_per_task,
                },
                slurm::Job { name: "merge", words: merging, n_tasks: None, gpus: 0 },
            ];
            slurm::schedule(&folder, &jobs, running, context)
        }
    }
}

/// Writes down what is to be run, in a folder of its own; the same may be there already, to be handed over or gone on with.
fn planned(folder: &Path, n_shards: u64) -> anyhow::Result<Plan> {
    let mut arguments = words()?;
    arguments.retain(|word| word != "--submit" && word != "--force");
    let plan = Plan {
        magic: MAGIC.to_owned(),
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        folder: std::env::current_dir().context("cannot tell which folder this is")?,
        arguments,
        n_shards,
    };
    if plan.arguments.iter().any(|word| is_standard_input(word)) {
        return Err(failure::usage(
            "tasks elsewhere cannot read this standard input; give a file that they see",
        ));
    }
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot create", folder.display()))?;
    match Plan::read(folder)? {
        Some(there) if there == plan => {}
        None if fs::read_dir(folder)?.next().is_none() => {
            let text = serde_json::to_vec_pretty(&plan)?;
            write_part(folder, PLAN, |out| out.write_all(&text))?;
        }
        _ => {
            return Err(failure::usage(format!(
                "{} holds something else than this very run; give --scratch another folder, or remove it",
                folder.display()
            )));
        }
    }
    Ok(plan)
}

/// Whether a word of the command line, or the value in it, names the standard input.
fn is_standard_input(word: &str) -> bool {
    let value =
        word.strip_prefix("--").and_then(|flag| flag.split_once('=')).map_or(word, |(_, value)| value);
    ["-", "/dev/stdin"].contains(&value)
}

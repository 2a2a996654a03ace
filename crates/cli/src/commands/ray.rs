//! `--runner ray`: has the package `verbatim` of Python run tasks on a cluster.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use verbatim_dedup::StageName;

use crate::args::{Dedup, Folder, Running};
use crate::commands::{Context, stage};
use crate::failure;

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let (folder, stages) = stage::plan(arguments, context)?;
    let units = StageName::ROUNDS.map(|stage| format!("{stage}={}", stages.n_units(stage)));
    run_tasks(&folder, &units, (&arguments.staging.running, 0), context)?;
    stage::commit(&Folder { stages: folder }, context)
}

/// Has tasks run over a folder that all nodes see, each kind (`NAME=N`) when those of the one before it are done.
pub(super) fn run_tasks(
    folder: &Path,
    kinds: &[String],
    (running, gpus): (&Running, u32),
    context: &Context<'_>,
) -> anyhow::Result<()> {
    if running.submit || running.at_once.is_some() {
        return Err(failure::usage("--submit and --at-once are for --runner slurm"));
    }
    let python = &running.python;
    let mut command = Command::new(python);
    command.args(["-m", "verbatim.ray", "--program"]);
    command.arg(std::env::current_exe().context("cannot tell where this program is")?);
    let cpus = context.threads.unwrap_or(1).to_string();
    command.arg("--folder").arg(folder).args(["--cpus", &cpus, "--gpus", &gpus.to_string()]).args(kinds);
    let status =
        command.status().with_context(|| format!("{}: cannot be run; see --python", python.display()))?;
    context.check()?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(failure::runner(code.unwrap_or(74))),
    }
}

//! `verbatim dedup --runner ray`: plans the stages, and has the package `verbatim` of Python run them on a cluster.

use std::process::Command;

use anyhow::Context as _;
use verbatim_dedup::StageName;

use crate::args::{Dedup, Folder};
use crate::commands::{Context, stage};
use crate::failure;

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let (folder, stages) = stage::plan(arguments, context)?;
    let python = &arguments.staging.python;
    let mut command = Command::new(python);
    command.args(["-m", "verbatim.ray", "--program"]);
    command.arg(std::env::current_exe().context("cannot tell where this program is")?);
    command.arg("--stages").arg(&folder);
    command.args(StageName::ROUNDS.map(|stage| format!("{stage}={}", stages.n_units(stage))));
    let status =
        command.status().with_context(|| format!("{}: cannot be run; see --python", python.display()))?;
    context.check()?;
    match status.code() {
        Some(0) => {}
        Some(code) => return Err(failure::runner(code)),
        None => return Err(failure::runner(74)),
    }
    stage::commit(&Folder { stages: folder }, context)
}

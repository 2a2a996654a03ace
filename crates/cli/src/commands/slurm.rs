//! `verbatim dedup --runner slurm`: a script for each stage, and the handing over to the scheduler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use verbatim_dedup::{StageName, Stages};
use verbatim_store::write_part;

use crate::args::Dedup;
use crate::commands::{Context, stage};
use crate::failure;

/// How often an element that failed is put in the queue again.
const MAX_RESTARTS: u32 = 3;

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let (folder, stages) = stage::plan(arguments, context)?;
    let scripts = write_scripts(&folder, &stages, arguments)?;
    if !arguments.staging.submit {
        let list: Vec<String> = scripts.iter().map(|script| format!("  {}", script.display())).collect();
        context.note(&format!(
            "planned; submit these in order, each with --dependency=afterok:JOB of the one before, or let --submit do it:\n{}",
            list.join("\n")
        ));
        return Ok(());
    }
    let mut before: Option<String> = None;
    for script in &scripts {
        let job = submit(script, before.as_deref())?;
        context.note(&format!("submitted {} as job {job}", script.display()));
        before = Some(job);
    }
    Ok(())
}

/// Writes the scripts, in the order in which they run.
fn write_scripts(folder: &Path, stages: &Stages, arguments: &Dedup) -> anyhow::Result<Vec<PathBuf>> {
    let slurm = folder.join("slurm");
    std::fs::create_dir_all(&slurm).with_context(|| format!("{}: cannot create", slurm.display()))?;
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let script = Script { program: &program, folder, slurm: &slurm };
    let names = StageName::ROUNDS.iter().map(|stage| (stage.name(), Some(*stage)));
    let mut scripts = Vec::new();
    for (i, (name, stage)) in names.chain([("commit", None)]).enumerate() {
        let is_array = stage.is_some_and(|stage| stage != StageName::Cluster);
        let n_tasks =
            stage.filter(|_| is_array).map(|stage| arguments.staging.tasks.min(stages.n_units(stage)));
        let text = script.text(name, n_tasks.map(|n| n.max(1)), arguments.staging.at_once)?;
        let file = format!("{}-{name}.sh", i + 1);
        write_part(&slurm, &file, |out| out.write_all(text.as_bytes()))?;
        scripts.push(slurm.join(file));
    }
    Ok(scripts)
}

struct Script<'a> {
    program: &'a Path,
    folder: &'a Path,
    slurm: &'a Path,
}

impl Script<'_> {
    /// The script of a stage, an array where it has tasks.
    fn text(&self, stage: &str, n_tasks: Option<u64>, at_once: Option<u64>) -> anyhow::Result<String> {
        let [program, folder] = [self.program, self.folder].map(quoted);
        let (program, folder) = (program?, folder?);
        let log = self.slurm.to_str().filter(|log| !log.contains(['\n', '%', '"'])).context(
            "the folder of the stages cannot be named in a script: its path has a line break, a quote or a percent sign",
        )?;
        let (array, task, log) = match n_tasks {
            None => (String::new(), String::new(), format!("{log}/{stage}.log")),
            Some(n) => {
                let at_once = at_once.map(|at_once| format!("%{at_once}")).unwrap_or_default();
                (
                    format!("#SBATCH --array=0-{}{at_once}\n", n - 1),
                    format!(" --task \"$SLURM_ARRAY_TASK_ID/{n}\""),
                    format!("{log}/{stage}-%a.log"),
                )
            }
        };
        Ok(format!(
            "#!/bin/bash\n\
             #SBATCH --job-name=verbatim-{stage}\n\
             {array}#SBATCH --output=\"{log}\"\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --requeue\n\
             {program} --progress none stage {stage} --stages {folder}{task}\n\
             code=$?\n\
             # What may pass by itself (disk, network, lock, memory) is tried again, this element alone; units that are done stay.\n\
             case $code in 74|75|1[3-9][0-9])\n\
             \x20 if [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt {MAX_RESTARTS} ]; then scontrol requeue \"$SLURM_JOB_ID\"; fi ;;\n\
             esac\n\
             exit $code\n"
        ))
    }
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let path = path.to_str().filter(|path| !path.contains('\n'));
    let path = path.ok_or_else(|| {
        failure::usage("a path that is not UTF-8, or has a line break, cannot stand in a script")
    })?;
    Ok(format!("'{}'", path.replace('\'', "'\\''")))
}

/// Hands a script to the scheduler; the number of the job.
fn submit(script: &Path, after: Option<&str>) -> anyhow::Result<String> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    command.args(after.map(|job| format!("--dependency=afterok:{job}")));
    let output = command.arg(script).output().context("cannot run `sbatch`; is Slurm installed here?")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let job = said.trim().split(';').next().unwrap_or_default().to_owned();
    if !output.status.success() || job.is_empty() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(failure::usage(format!("sbatch refused {}: {}", script.display(), error.trim())));
    }
    Ok(job)
}

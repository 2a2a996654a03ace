//! `--runner slurm`: a script for each step of a run, and the handing over to the scheduler.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use verbatim_corpus::is_object_url;
use verbatim_dedup::StageName;
use verbatim_store::write_part;

use crate::args::{Dedup, Running};
use crate::commands::{Context, stage};
use crate::failure;

/// How often an element that failed is put in the queue again.
const MAX_RESTARTS: u32 = 3;

/// One step of a run.
pub(super) struct Job {
    pub(super) name: &'static str,
    /// What the program is called with; without the number of the element.
    pub(super) words: String,
    /// The elements of an array; none for a single job.
    pub(super) n_tasks: Option<u64>,
    /// GPUs that an element has.
    pub(super) gpus: u32,
}

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    if arguments.staging.stages.as_deref().is_some_and(is_object_url) {
        return Err(failure::usage("scripts need a folder that all nodes see: give --stages a local one"));
    }
    let (folder, stages) = stage::plan(arguments, context)?;
    let most = arguments.staging.running.tasks.unwrap_or(1000);
    let stages_flag = format!("--stages {}", quoted(&folder)?);
    let job = |name, stage: Option<StageName>| {
        let array = stage.filter(|stage| *stage != StageName::Cluster);
        let n_tasks = array.map(|stage| most.min(stages.n_units(stage)).max(1));
        Job { name, words: format!("stage {name} {stages_flag}"), n_tasks, gpus: 0 }
    };
    let rounds = StageName::ROUNDS.iter().map(|stage| job(stage.name(), Some(*stage)));
    let jobs: Vec<Job> = rounds.chain([job("commit", None)]).collect();
    schedule(&folder, &jobs, &arguments.staging.running, context)
}

/// Writes the scripts of jobs, which run one after the other, into a folder that all nodes see, and hands them over if that is
/// asked for.
pub(super) fn schedule(
    folder: &Path,
    jobs: &[Job],
    running: &Running,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let slurm = folder.join("slurm");
    std::fs::create_dir_all(&slurm).with_context(|| format!("{}: cannot create", slurm.display()))?;
    let mut scripts = Vec::new();
    for (i, job) in jobs.iter().enumerate() {
        let text = job.script(&slurm, (running.at_once, context.threads))?;
        let file = format!("{}-{}.sh", i + 1, job.name);
        write_part(&slurm, &file, |out| out.write_all(text.as_bytes()))?;
        scripts.push(slurm.join(file));
    }
    if !running.submit {
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

impl Job {
    /// The script, which is carried out in this folder.
    fn script(&self, slurm: &Path, (at_once, threads): (Option<u64>, Option<u16>)) -> anyhow::Result<String> {
        let Job { name, words, n_tasks, gpus } = self;
        let program = quoted(&std::env::current_exe().context("cannot tell where this program is")?)?;
        let here = quoted(&std::env::current_dir().context("cannot tell which folder this is")?)?;
        let log = slurm.to_str().filter(|log| !log.contains(['\n', '%', '"'])).context(
            "the folder of the scripts cannot be named in them: its path has a line break, a quote or a percent sign",
        )?;
        let (array, task, log) = match n_tasks {
            None => (String::new(), String::new(), format!("{log}/{name}.log")),
            Some(n) => {
                let at_once = at_once.map(|at_once| format!("%{at_once}")).unwrap_or_default();
                (
                    format!("#SBATCH --array=1-{n}{at_once}\n"),
                    format!(" --task \"$SLURM_ARRAY_TASK_ID/{n}\""),
                    format!("{log}/{name}-%a.log"),
                )
            }
        };
        let cpus = threads.map(|n| format!("#SBATCH --cpus-per-task={n}\n")).unwrap_or_default();
        let threads = threads.map(|n| format!(" --threads {n}")).unwrap_or_default();
        let gpus = if *gpus == 0 {
            String::new()
        } else {
            format!("#SBATCH --ntasks=1\n#SBATCH --gpus-per-task={gpus}\n")
        };
        Ok(format!(
            "#!/bin/bash\n\
             #SBATCH --job-name=verbatim-{name}\n\
             {array}{cpus}{gpus}#SBATCH --output=\"{log}\"\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --requeue\n\
             cd {here} || exit 74\n\
             {program} --progress none{threads} {words}{task}\n\
             code=$?\n\
             # What may pass by itself (disk, network, lock, memory) is tried again, this element alone; what is done stays.\n\
             case $code in 74|75|1[3-9][0-9])\n\
             \x20 if [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt {MAX_RESTARTS} ]; then scontrol requeue \"$SLURM_JOB_ID\"; fi ;;\n\
             esac\n\
             exit $code\n"
        ))
    }
}

/// A path as a word of the shell.
pub(super) fn quoted(path: &Path) -> anyhow::Result<String> {
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

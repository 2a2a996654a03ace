//! One file a command: it resolves arguments into the configurations of the rooms, calls them, and prints.

mod apply;
mod audit;
mod contamination;
mod dedup;
mod defend;
mod demo;
mod destination;
mod elicit;
mod emitting;
mod evaluate;
mod explain;
mod extract;
mod gate;
mod index;
mod infer;
mod invert;
mod merge;
mod model;
mod plant;
mod prompts;
mod ray;
mod reading;
mod redaction;
mod review;
mod shadow;
mod shard;
mod shared;
mod slurm;
mod sources;
mod stage;
mod synth;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use verbatim_corpus::is_object_url;
use verbatim_report::{Body, Report, Run};
use verbatim_store::{Existing, Scratch, Shards};

use crate::args::{Answering, Command, Global, Output};
use crate::failure;
use crate::progress::Teller;

/// What every command has at hand.
pub(crate) struct Context<'a> {
    teller: &'a Teller,
    json: bool,
    started: SystemTime,
    clock: Instant,
    /// What --threads says.
    threads: Option<u16>,
    /// The answers that a run is ended with, where it is not to ask.
    shards: Option<&'a Shards>,
    /// The command line of the run that a shard was planned for.
    planned: Option<&'a [String]>,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> anyhow::Result<()> {
    if let Some((answering, output)) = command.answered()
        && let Some(runner) = answering.running.runner
    {
        return shard::run_all((answering, runner), output, context);
    }
    match command {
        Command::Demo(arguments) => demo::run(&arguments, context),
        Command::Dedup(arguments) => dedup::run(&arguments, context),
        Command::Apply(arguments) => apply::run(&arguments, context),
        Command::Stage(arguments) => stage::run(&arguments, context),
        Command::Index(arguments) => index::run(&arguments, context),
        Command::Contamination(arguments) => contamination::run(&arguments, context),
        Command::Explain(arguments) => explain::run(&arguments, context),
        Command::Evaluate(arguments) => evaluate::run(&arguments, context),
        Command::Extract(arguments) => extract::run(&arguments, context),
        Command::Audit(arguments) => audit::run(&arguments, context),
        Command::Invert(arguments) => invert::run(&arguments, context),
        Command::Merge(arguments) => merge::run(&arguments, context),
        Command::Shard(arguments) => shard::run(&arguments, context),
        Command::Infer(arguments) => infer::run(&arguments, context),
        Command::Elicit(arguments) => elicit::run(&arguments, context),
        Command::Gate(arguments) => gate::run(&arguments, context),
        Command::Train(arguments) => train::run(&arguments, context),
        Command::Shadow(arguments) => shadow::run(&arguments, context),
        Command::Defend(arguments) => defend::run(&arguments, context),
        Command::Plant(arguments) => plant::run(&arguments, context),
        Command::Synth(arguments) => synth::run(&arguments, context),
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(teller: &'a Teller, global: &Global) -> Self {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let Global { json, threads, .. } = *global;
        Self { teller, json, started, clock, threads, shards: None, planned: None }
    }

    /// The same for a run that takes up these answers.
    fn merging(&self, shards: &'a Shards) -> Self {
        Self { shards: Some(shards), ..*self }
    }

    /// The same for a shard of a run that was called so.
    fn planned_by(&self, words: &'a [String]) -> Self {
        Self { planned: Some(words), ..*self }
    }

    /// The part of a report that differs from run to run. Ends the stage under way, so that its time is in it.
    fn run(&self) -> Run {
        self.teller.finish();
        let arguments: Vec<String> =
            std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
        Run::new(&arguments, self.started, rayon::current_num_threads())
            .finished(self.clock.elapsed(), &self.teller.stages())
    }

    /// Prints a report on standard output: JSON if asked for, else the summary.
    fn tell<B: Body>(&self, report: &Report<B>, summary: &str) -> anyhow::Result<()> {
        self.teller.finish();
        let text = if self.json { report.to_json()? } else { summary.to_owned() };
        std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")?;
        Ok(())
    }

    /// Says something to people, on standard error.
    fn note(&self, text: &str) {
        self.teller.finish();
        // A note that cannot be told is no reason to stop the work.
        let _ = writeln!(std::io::stderr(), "{}", verbatim_report::Printable(text));
    }

    /// Stops here if the run was interrupted.
    fn check(&self) -> anyhow::Result<()> {
        use verbatim_store::Progress;
        if self.teller.interrupted() { Err(failure::Interrupted.into()) } else { Ok(()) }
    }
}

/// The command line but for the program, for those who write it down.
fn words() -> anyhow::Result<Vec<String>> {
    let not_utf8 = |_| failure::usage("this run writes down its command line, which must be UTF-8");
    std::env::args_os().skip(1).map(|word| word.into_string().map_err(not_utf8)).collect()
}

/// What to do when the output is there already.
fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Refuse }
}

impl Output {
    fn existing(&self) -> Existing {
        existing(self.force)
    }
}

/// Where an interrupted run keeps what it has, beside the output; refused where something is there that nobody asked to go on
/// with.
fn state_beside(output: &Output, suffix: &str, resume: bool) -> anyhow::Result<PathBuf> {
    let mut state = output.output.clone().into_os_string();
    state.push(suffix);
    let state = PathBuf::from(state);
    if !resume && state.exists() {
        return Err(failure::usage(format!(
            "{} is the state of an interrupted run: continue it with --resume, or remove it",
            state.display()
        )));
    }
    Ok(state)
}

/// Refuses an output that is, holds or lies in something that the command reads.
fn check_apart<'a>(read: impl IntoIterator<Item = &'a Path>, output: &Path) -> anyhow::Result<()> {
    match are_apart(read, output) {
        true => Ok(()),
        false => Err(failure::usage("the output is, holds or lies in an input; write it elsewhere")),
    }
}

/// Refuses a folder for what does not fit in memory that is, holds or lies in something that the command reads or writes.
fn check_scratch<'a>(others: impl IntoIterator<Item = &'a Path>, scratch: &Path) -> anyhow::Result<()> {
    match are_apart(others, scratch) {
        true => Ok(()),
        false => Err(failure::usage("--scratch is, holds or lies in an input or the output; take another")),
    }
}

/// Where a run keeps what took long, once it is certain that nothing else lies there; without `--scratch`, it keeps nothing.
fn kept<'a>(
    scratch: Option<&Path>,
    others: impl IntoIterator<Item = &'a Path>,
    task: &serde_json::Value,
    folder: &Path,
) -> anyhow::Result<Scratch> {
    let Some(scratch) = scratch else { return Ok(Scratch::unnamed(folder)) };
    check_scratch(others, scratch)?;
    Ok(Scratch::of_run(scratch, task)?)
}

/// Where the answers of a run's models are, which it may share with others: they are [`kept`]; those of a shard, even without
/// `--scratch`, in `staged`, what is being written; and where shards are merged, all are there.
fn answers<'a>(
    answering: &Answering,
    others: impl IntoIterator<Item = &'a Path>,
    task: &serde_json::Value,
    (staged, context): (&Path, &Context<'_>),
) -> anyhow::Result<Scratch> {
    if let Some(shards) = context.shards {
        return Ok(Scratch::of_shards(shards, task, staged)?);
    }
    let Some(share) = answering.shard else {
        return kept(answering.scratch.as_deref(), others, task, staged);
    };
    let folder = match &answering.scratch {
        None => staged.join(merge::ANSWERING),
        Some(scratch) => {
            check_scratch(others, scratch)?;
            scratch.clone()
        }
    };
    Ok(Scratch::of_share(&folder, task, share)?)
}

/// Whether a folder neither is nor holds nor lies in any of some paths. What is in an object store is apart from folders.
fn are_apart<'a>(paths: impl IntoIterator<Item = &'a Path>, folder: &Path) -> bool {
    if is_object_url(folder) {
        let mut urls = paths.into_iter().filter(|path| is_object_url(path)).map(before_pattern);
        let folder = before_pattern(folder);
        return !urls.any(|url| url.starts_with(&folder) || folder.starts_with(&url));
    }
    let folder = resolved(folder);
    let local = paths.into_iter().filter(|path| !is_object_url(path));
    let mut paths = local.flat_map(matched).map(|path| resolved(&path));
    !paths.any(|path| path.starts_with(&folder) || folder.starts_with(&path))
}

/// The part of a URL before the first name that is a pattern, with one name for one scheme.
fn before_pattern(url: &Path) -> PathBuf {
    let url = url.strip_prefix("s3a:").map_or_else(|_| url.to_owned(), |rest| Path::new("s3:").join(rest));
    let is_pattern = |name: &std::path::Component<'_>| {
        name.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
    };
    url.components().take_while(|name| !is_pattern(name)).collect()
}

/// What the input matches as a pattern, or the input itself.
fn matched(input: &Path) -> Vec<PathBuf> {
    let pattern = input.to_str().filter(|_| !input.exists());
    let matches = pattern.and_then(|pattern| glob::glob(pattern).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = matches.collect();
    if found.is_empty() {
        found.push(input.to_path_buf());
    }
    found
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for ancestor in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), absolute.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

//! `verbatim stage`: the stages of a search for copies, one task at a time.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use verbatim_corpus::{Listing, OpenConfig, Origin, is_object_url};
use verbatim_dedup::{
    ClusterOutcome, Clustered, Committed, DedupConfig, Emission, Keep, Resources, StageJob, StageName,
    StagePlan, Stages, UnitDone,
};
use verbatim_store::{Scratch, sha256_file};

use crate::args::{Arguments, Command, Dedup, Folder, Stage, StageCommand, Units};
use crate::commands::destination::Destination;
use crate::commands::shared::{Shared, Use};
use crate::commands::{Context, check_apart, dedup, existing, reading, words};
use crate::failure;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(arguments: &Stage, context: &Context<'_>) -> anyhow::Result<()> {
    match &arguments.command {
        StageCommand::Plan(arguments) => {
            let (folder, stages) = plan(arguments, context)?;
            context.note(&overview(&folder, &stages));
            Ok(())
        }
        StageCommand::Sign(units) => run_units(StageName::Sign, units, context),
        StageCommand::Link(units) => run_units(StageName::Link, units, context),
        StageCommand::Verify(units) => run_units(StageName::Verify, units, context),
        StageCommand::Rewrite(units) => run_units(StageName::Rewrite, units, context),
        StageCommand::Cluster(folder) => cluster(folder, context),
        StageCommand::Commit(folder) => commit(folder, context),
        StageCommand::Status(folder) => status(folder, context),
    }
}

/// Fixes the stages of a search, in the folder that all tasks know by the name that it gives back.
pub(crate) fn plan(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<(PathBuf, Stages)> {
    let folder = arguments.staging.stages.as_ref();
    let folder = folder.ok_or_else(|| failure::usage("give the folder of the stages: --stages DIR"))?;
    check_emission(arguments)?;
    let config = dedup::config(arguments)?;
    if is_object_url(folder) && !matches!(config.keep, Keep::First | Keep::None) {
        return Err(failure::usage(
            "for this --keep the tasks need a folder that all of them see; an object store will not do",
        ));
    }
    let references = dedup::references(arguments)?;
    let read = || {
        let inputs = arguments.inputs.iter().chain(&arguments.against).chain(&references);
        inputs.chain(&arguments.matching.tokenizer).map(PathBuf::as_path)
    };
    check_apart(read(), &arguments.output)?;
    check_apart(read().chain([arguments.output.as_path()]), folder)
        .context("the folder of the stages must stand apart")?;
    // Whether the output can be made is better known now than at the end.
    drop(Destination::create(&arguments.output, existing(arguments.force), context)?);
    let reading = reading::here(arguments.reading.config()?);
    let listing = Listing::of([&arguments.inputs, &references], &reading, context.teller)?;
    let unit_bytes = arguments.staging.unit_bytes;
    let plan = StagePlan::new(listing, &config, unit_bytes, (VERSION, called(arguments)?))?;
    let mut shared = Shared::open(folder, Use::Rows, context)?;
    plan.save(shared.folder())?;
    shared.send(context)?;
    let stages = shared.stages()?;
    Ok((shared.name().to_owned(), stages))
}

/// What it takes to find the way back to a command.
fn called(arguments: &Dedup) -> anyhow::Result<serde_json::Value> {
    let place = std::env::current_dir()?;
    let place = place
        .to_str()
        .ok_or_else(|| failure::usage("the stages note this folder, whose path must be UTF-8"))?;
    Ok(json!({ "arguments": words()?, "folder": place, "tokenizer": tokenizer(arguments)? }))
}

fn tokenizer(arguments: &Dedup) -> anyhow::Result<Option<String>> {
    Ok(arguments.matching.tokenizer.as_deref().map(sha256_file).transpose()?)
}

/// What the output is to hold, if stages can write it.
fn check_emission(arguments: &Dedup) -> anyhow::Result<Emission> {
    let emission = arguments.emitting.resolve()?;
    let added = [&emission.count_field, &emission.cluster_field, &emission.weight_field];
    let is_plain = emission.filtered
        && emission.attributes.is_none()
        && emission.weights.is_none()
        && added.iter().all(|field| field.is_none());
    if arguments.dry_run || !is_plain || arguments.output == Path::new("-") {
        return Err(failure::usage(
            "stages write the clean corpus into a folder (--emit filtered, ids, clusters); for anything else run `verbatim \
             stage cluster` and let `verbatim apply` carry its plan out",
        ));
    }
    Ok(emission)
}

/// What was planned, resolved again.
struct Planned {
    shared: Shared,
    stages: Stages,
    arguments: Box<Dedup>,
    config: DedupConfig,
    reading: OpenConfig,
    resources: Resources,
}

impl Planned {
    /// Opens the folder of the stages and goes where the plan was made, so that its paths mean what they meant.
    fn open(folder: &Folder, using: Use, context: &Context<'_>) -> anyhow::Result<Self> {
        let shared = Shared::open(&folder.stages, using, context)?;
        let stages = shared.stages()?;
        let command = stages.plan().command();
        let unusable =
            || failure::usage(format!("{}: its command line cannot be read", shared.name().display()));
        let place = command["folder"].as_str().ok_or_else(unusable)?;
        std::env::set_current_dir(place)
            .with_context(|| format!("{place}: cannot enter the folder that the stages were planned in"))?;
        let words = command["arguments"].as_array().ok_or_else(unusable)?;
        let words = ["verbatim"].into_iter().chain(words.iter().filter_map(|word| word.as_str()));
        let arguments = match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
            Ok(Command::Dedup(arguments)) => arguments,
            Ok(Command::Stage(Stage { command: StageCommand::Plan(arguments) })) => arguments,
            _ => return Err(unusable()),
        };
        if command["tokenizer"] != json!(tokenizer(&arguments)?) {
            return Err(failure::usage("the tokenizer is not the one that the stages were planned with"));
        }
        let config = dedup::config(&arguments)?;
        stages.check(&config)?;
        let reading = reading::here(arguments.reading.config()?);
        let memory = usize::try_from(arguments.memory).unwrap_or(usize::MAX);
        let scratch = Scratch::unnamed(&std::env::temp_dir());
        let resources = Resources { memory, scratch, signatures: None };
        Ok(Planned { shared, stages, arguments, config, reading, resources })
    }

    fn job(&self) -> StageJob<'_> {
        StageJob { config: &self.config, reading: &self.reading, resources: &self.resources }
    }
}

fn run_units(stage: StageName, units: &Units, context: &Context<'_>) -> anyhow::Result<()> {
    let mut planned = Planned::open(&units.folder, Use::Stage(stage), context)?;
    let n_units = planned.stages.n_units(stage);
    let (mut n_now, mut n_before) = (0, 0);
    let mut unit = units.task.number() - 1;
    while unit < n_units {
        let done = planned.stages.run(stage, unit, &planned.job(), context.teller);
        match done.with_context(|| format!("{stage}, unit {unit} of {n_units}"))? {
            UnitDone::Now => n_now += 1,
            UnitDone::Before => n_before += 1,
        }
        // What was done before something goes wrong stays done.
        planned.shared.send(context)?;
        context.check()?;
        unit = unit.saturating_add(units.task.of());
    }
    let before = if n_before == 0 { String::new() } else { format!(", {n_before} were done before") };
    context.note(&format!("{stage}: {n_now} of {n_units} units done{before}"));
    Ok(())
}

fn cluster(folder: &Folder, context: &Context<'_>) -> anyhow::Result<()> {
    let mut planned = Planned::open(folder, Use::Stage(StageName::Cluster), context)?;
    let Planned { stages, arguments, .. } = &planned;
    if stages.is_decided()? {
        context.note("cluster: was done before");
        return Ok(());
    }
    let (corpus, clustered) = match stages.cluster(&planned.job(), context.teller)? {
        ClusterOutcome::Decided(decided) => *decided,
        ClusterOutcome::Open(n) => {
            planned.shared.send(context)?;
            context
                .note(&format!("cluster: {n} more pairs are to be compared; run verify again, then cluster"));
            return Ok(());
        }
    };
    let Clustered { plan, n_compared_late } = clustered;
    context.check()?;
    let plan = plan.with_source(Origin {
        inputs: arguments.inputs.clone(),
        against: dedup::references(arguments)?,
        reading: arguments.reading.config()?,
    });
    let losses = arguments.guard.sources(&corpus)?.losses(&plan);
    arguments.guard.check(&losses)?;
    let n_removed = plan.removals().len();
    stages.keep(&Clustered { plan, n_compared_late })?;
    planned.shared.send(context)?;
    context.note(&format!(
        "cluster: {n_removed} of {} documents go; {n_compared_late} pairs were compared here",
        corpus.n_documents()
    ));
    Ok(())
}

pub(crate) fn commit(folder: &Folder, context: &Context<'_>) -> anyhow::Result<()> {
    let planned = Planned::open(folder, Use::All, context)?;
    let arguments = &planned.arguments;
    let emission = check_emission(arguments)?;
    let staged = Destination::create(&arguments.output, existing(arguments.force), context)?;
    let committed = planned.stages.commit(&planned.job(), &emission, staged.path(), context.teller)?;
    let Committed { corpus, plan, tally } = committed;
    let sources = arguments.guard.sources(&corpus)?;
    dedup::finish(dedup::facts(&corpus, &plan, (&emission, tally), &sources)?, &corpus, staged, context)
}

fn status(folder: &Folder, context: &Context<'_>) -> anyhow::Result<()> {
    let shared = Shared::open(&folder.stages, Use::Rows, context)?;
    let (folder, stages) = (shared.name(), shared.stages()?);
    let mut next = None;
    for stage in StageName::ALL {
        let (missing, n_units) = (stages.missing(stage)?, stages.n_units(stage));
        context.note(&format!("{stage}: {} of {n_units} units done", n_units - missing.len() as u64));
        if let (None, [first, ..]) = (&next, &missing[..]) {
            let is_all = missing.len() as u64 == n_units;
            next = Some(command_of(folder, stage, if is_all { (1, 1) } else { (first + 1, n_units) }));
        }
    }
    let commit = || format!("verbatim stage commit --stages {}", folder.display());
    context.note(&format!("next: {}", next.unwrap_or_else(commit)));
    Ok(())
}

/// What to run after a plan.
fn overview(folder: &Path, stages: &Stages) -> String {
    let mut lines = vec!["planned; run these, each with as many tasks as you like:".to_owned()];
    for stage in StageName::ROUNDS {
        let n_units = stages.n_units(stage);
        let units = if n_units == 1 { "unit" } else { "units" };
        lines.push(format!("  {}  ({n_units} {units})", command_of(folder, stage, (1, 1))));
    }
    lines.push(format!("  verbatim stage commit --stages {}", folder.display()));
    lines.join("\n")
}

fn command_of(folder: &Path, stage: StageName, (task, of): (u64, u64)) -> String {
    let task = if stage == StageName::Cluster { String::new() } else { format!(" --task {task}/{of}") };
    format!("verbatim stage {stage} --stages {}{task}", folder.display())
}

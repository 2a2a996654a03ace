//! `verbatim dedup`: finds duplicates, and writes the plan and the clean corpus.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use verbatim_corpus::{Corpus, DocId, Origin};
use verbatim_dedup::{
    AllPairsConfig, Clustering, CutSummary, DedupConfig, Emission, Empty, ExactConfig, Keep, LineUnit,
    LinesConfig, Measure, MinhashConfig, Plan, Preset, Resources, RunUnit, Signatures, Snap, Sources,
    SubstringConfig, Tally,
};
use verbatim_index::{Normalizer, Shingler, Step, TokenFn, Unit, Words};
use verbatim_lm::Tokenizer;
use verbatim_report::{DedupBody, DedupFacts, Outcome, Provenance, Report, dedup_text};
use verbatim_store::{Access, Scratch, sha256_file};

use crate::args::{self, Dedup, Matching, Runner};
use crate::commands::destination::Destination;
use crate::commands::{Context, check_apart, check_scratch, emitting, existing, ray, reading, slurm};
use crate::failure;

pub(crate) fn run(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    match (arguments.staging.running.runner, &arguments.staging.stages) {
        (Some(Runner::Slurm), _) => return slurm::run(arguments, context),
        (Some(Runner::Ray), _) => return ray::run(arguments, context),
        (None, Some(_)) => {
            return Err(failure::usage("--stages is for --runner, and for `verbatim stage plan`"));
        }
        (None, None) => {}
    }
    let to_pipe = arguments.output == Path::new("-");
    if to_pipe && arguments.dry_run {
        return Err(failure::usage("a dry run writes a plan, which needs a folder: give -o DIR"));
    }
    if arguments.dry_run && !arguments.emitting.is_plain() {
        return Err(failure::usage(
            "a dry run writes a plan only; say to `verbatim apply` what to emit from it",
        ));
    }
    if to_pipe { write_to_pipe(arguments, context) } else { write_folder(arguments, context) }
}

fn write_to_pipe(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let emission = arguments.emitting.resolve_for_pipe()?;
    let config = config(arguments)?;
    let corpus = open(arguments, &references(arguments)?, context)?;
    reading::warn(&corpus, context);
    let resources = resources(arguments, &std::env::temp_dir(), (&corpus, &config), context)?;
    let plan = verbatim_dedup::plan(&corpus, &config, &resources, context.teller)?;
    emitting::check(&plan, &emission)?;
    let losses = arguments.guard.sources(&corpus)?.losses(&plan);
    if emission.weights.is_none() {
        arguments.guard.check(&losses)?;
    }
    emitting::pipe(&corpus, &plan, &emission, context)?;
    Ok(resources.scratch.discard()?)
}

fn write_folder(arguments: &Dedup, context: &Context<'_>) -> anyhow::Result<()> {
    let emission = arguments.emitting.resolve()?;
    let config = config(arguments)?;
    let references = references(arguments)?;
    let read = arguments.inputs.iter().chain(&arguments.against).chain(&references);
    check_apart(read.chain(&arguments.matching.tokenizer).map(PathBuf::as_path), &arguments.output)?;
    let staged = Destination::create(&arguments.output, existing(arguments.force), context)?;
    let corpus = open(arguments, &references, context)?;
    let resources = resources(arguments, staged.path(), (&corpus, &config), context)?;
    let plan = verbatim_dedup::plan(&corpus, &config, &resources, context.teller)?.with_source(Origin {
        inputs: arguments.inputs.clone(),
        against: references,
        reading: arguments.reading.config()?,
    });
    context.check()?;
    emitting::check(&plan, &emission)?;
    let sources = arguments.guard.sources(&corpus)?;
    let losses = sources.losses(&plan);
    let mut warnings = corpus.warnings().to_vec();
    let (outcome, tally) = if arguments.dry_run {
        warnings.extend(arguments.guard.alarms(&losses));
        (Outcome::Planned, verbatim_dedup::write_plan(&corpus, &plan, staged.path())?)
    } else {
        if emission.weights.is_none() {
            arguments.guard.check(&losses)?;
        }
        let tally = verbatim_dedup::emit(&corpus, &plan, &emission, staged.path(), context.teller)?;
        (emitting::outcome(&emission), tally)
    };
    let provenance = provenance(&corpus, &plan)?;
    let cuts = CutSummary::of(&corpus, &plan, &sources);
    let facts = DedupFacts { provenance, outcome, plan: &plan, tally, cuts, losses, warnings };
    finish(facts, &corpus, staged, context)?;
    Ok(resources.scratch.discard()?)
}

fn open(arguments: &Dedup, references: &[PathBuf], context: &Context<'_>) -> anyhow::Result<Corpus> {
    let scratch = arguments.scratch.as_deref();
    arguments.reading.open_against([&arguments.inputs, references], scratch, context)
}

/// What the search may take; without `--scratch`, files without a name in `beside`.
fn resources(
    arguments: &Dedup,
    beside: &Path,
    (corpus, config): (&Corpus, &DedupConfig),
    context: &Context<'_>,
) -> anyhow::Result<Resources> {
    let scratch = match &arguments.scratch {
        None => Scratch::unnamed(beside),
        Some(folder) => {
            let others = arguments.inputs.iter().chain(&arguments.against).chain([&arguments.output]);
            check_scratch(others.map(PathBuf::as_path), folder)?;
            let mut task = verbatim_dedup::task(corpus, config)?;
            if let Some(tokenizer) = &arguments.matching.tokenizer {
                task["tokenizer"] = sha256_file(tokenizer)?.into();
            }
            Scratch::of_run(folder, &task)?
        }
    };
    let memory = usize::try_from(arguments.memory).unwrap_or(usize::MAX);
    let signatures = signatures(&arguments.against)?;
    let resources = Resources { memory, scratch, signatures };
    let estimate = verbatim_dedup::estimate(corpus, config, &resources)?;
    context.teller.tell_estimate(&estimate);
    Ok(resources)
}

/// The signatures that `--against` names, if it names some.
fn signatures(against: &[PathBuf]) -> anyhow::Result<Option<Signatures>> {
    let [folder] = against else { return Ok(None) };
    Ok(Signatures::open(folder)?)
}

/// What the inputs are compared with: what `--against` names, or the corpus of the signatures that it names.
pub(crate) fn references(arguments: &Dedup) -> anyhow::Result<Vec<PathBuf>> {
    for folder in &arguments.against {
        let Some(signatures) = Signatures::open(folder)? else { continue };
        if arguments.against.len() > 1 {
            return Err(failure::usage("an index must be the only --against"));
        }
        let source = signatures.source();
        if source.reading != arguments.reading.config()? {
            return Err(failure::usage("the index was built with other flags for reading; give the same"));
        }
        return Ok(source.inputs.clone());
    }
    Ok(arguments.against.clone())
}

/// What a plan of this corpus was computed from.
pub(crate) fn provenance(corpus: &Corpus, plan: &Plan) -> anyhow::Result<Provenance> {
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION")).corpus(reading::used("input", corpus));
    let provenance = reading::references_used(corpus).into_iter().fold(provenance, Provenance::corpus);
    Ok(provenance.parameter("dedup", serde_json::to_value(plan.parameters())?))
}

/// What a plan came to that was carried out.
pub(crate) fn facts<'a>(
    corpus: &Corpus,
    plan: &'a Plan,
    (emission, tally): (&Emission, Tally),
    sources: &Sources,
) -> anyhow::Result<DedupFacts<'a>> {
    Ok(DedupFacts {
        provenance: provenance(corpus, plan)?,
        outcome: emitting::outcome(emission),
        plan,
        tally,
        cuts: CutSummary::of(corpus, plan, sources),
        losses: sources.losses(plan),
        warnings: corpus.warnings().to_vec(),
    })
}

/// Adds the report to what was staged, commits it, and tells.
pub(crate) fn finish(
    facts: DedupFacts<'_>,
    corpus: &Corpus,
    staged: Destination,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let body = DedupBody::new(facts, |document| corpus.label(DocId(document)));
    let report = Report::new(body, context.run());
    report.write(&staged.path().join("_verbatim"), Access::Shared)?;
    context.check()?;
    staged.commit(context)?;
    context.tell(&report, &dedup_text(&report.result))
}

pub(crate) fn config(arguments: &Dedup) -> anyhow::Result<DedupConfig> {
    let asked = &arguments.matching;
    let none_named = !asked.exact
        && !asked.minhash
        && !arguments.all_pairs
        && arguments.lines.is_none()
        && arguments.substring.is_none();
    let has_token_runs = arguments.substring.is_some_and(|length| length.is_tokens);
    let matching = Resolved { has_token_runs, ..Resolved::of(asked)? };
    let lines = arguments.lines.map(|unit| LinesConfig {
        unit: match unit {
            args::LineUnit::Line => LineUnit::Line,
            args::LineUnit::Paragraph => LineUnit::Paragraph,
        },
        min_bytes: arguments.min_line_bytes,
        min_count: arguments.min_count,
        normalize: matching.normalizer.clone(),
    });
    let mut config = DedupConfig {
        empty: match arguments.empty {
            args::Empty::Keep => Empty::Keep,
            args::Empty::Remove => Empty::Remove,
            args::Empty::Error => Empty::Error,
        },
        exact: if none_named || asked.exact { Some(matching.exact()?) } else { None },
        minhash: None,
        all_pairs: None,
        clustering: match arguments.cluster {
            args::Cluster::Star => Clustering::Star,
            args::Cluster::Transitive => Clustering::Transitive,
        },
        edit_similarity: arguments.edit_similarity,
        lines,
        substring: substring(arguments)?,
        only_references: arguments.only_against,
        keep: keep(arguments)?,
    };
    let measure = measure(arguments)?;
    if arguments.all_pairs {
        let (shingler, threshold) = (matching.shingler()?, matching.threshold);
        config.all_pairs =
            Some(AllPairsConfig { shingler, threshold, measure, brute_force: arguments.brute_force });
    } else if none_named || asked.minhash {
        config.minhash = Some(matching.minhash()?);
    }
    Ok(config)
}

fn substring(arguments: &Dedup) -> anyhow::Result<Option<SubstringConfig>> {
    let Some(args::RunLength { len, is_tokens }) = arguments.substring else { return Ok(None) };
    let unit = match (is_tokens, &arguments.matching.tokenizer) {
        (false, _) => RunUnit::Bytes,
        (true, None) => return Err(failure::usage("--substring in tokens needs --tokenizer FILE")),
        (true, Some(path)) => {
            let tokenizer = Tokenizer::open(path)?;
            RunUnit::Tokens(Arc::new(move |text: &str| tokenizer.encode_with_places(text)))
        }
    };
    Ok(Some(SubstringConfig {
        unit,
        min_len: len,
        min_count: arguments.min_repeat,
        strike_all: arguments.strike_all,
        snap: match arguments.snap {
            args::Snap::Char => Snap::Char,
            args::Snap::Word => Snap::Word,
            args::Snap::Sentence => Snap::Sentence,
            args::Snap::Line => Snap::Line,
        },
        min_left_bytes: arguments.min_left_bytes,
        until_clean: arguments.until_clean,
    }))
}

/// The stages that signatures serve; without a name, both.
pub(crate) fn signature_stages(
    asked: &Matching,
) -> anyhow::Result<(Option<ExactConfig>, Option<MinhashConfig>)> {
    let none_named = !asked.exact && !asked.minhash;
    let matching = Resolved::of(asked)?;
    let exact = if none_named || asked.exact { Some(matching.exact()?) } else { None };
    let minhash = if none_named || asked.minhash { Some(matching.minhash()?) } else { None };
    Ok((exact, minhash))
}

const NORMALIZE: &str = "nfc,casefold,whitespace";
const THRESHOLD: f64 = 0.8;
const RECALL: f64 = 0.99;
const NGRAM: usize = 5;

/// What counts as a copy, with a preset's and our own defaults.
struct Resolved<'a> {
    asked: &'a Matching,
    preset: Option<Preset>,
    normalizer: Normalizer,
    threshold: f64,
    /// Whether passages are cut into tokens, so that a tokenizer has its use in any case.
    has_token_runs: bool,
}

impl<'a> Resolved<'a> {
    fn of(asked: &'a Matching) -> anyhow::Result<Self> {
        let preset = asked.preset.map(preset);
        let normalizer = match (&asked.normalize, preset) {
            (Some(steps), _) => normalizer(steps)?,
            (None, Some(preset)) => Normalizer::new(preset.normalize.to_vec()),
            (None, None) => normalizer(NORMALIZE)?,
        };
        let threshold = asked.threshold.or(preset.map(|preset| preset.threshold)).unwrap_or(THRESHOLD);
        Ok(Resolved { asked, preset, normalizer, threshold, has_token_runs: false })
    }

    fn exact(&self) -> anyhow::Result<ExactConfig> {
        let Some(key) = &self.asked.exact_key else {
            return Ok(ExactConfig { normalizer: self.normalizer.clone(), key: None });
        };
        let wrong = |error| failure::usage(format!("--exact-key `{key}`: {error}"));
        let key = Some(key.parse().map_err(wrong)?);
        // A key is no prose: only steps that were asked for change it.
        let is_asked = self.asked.normalize.is_some();
        let normalizer = if is_asked { self.normalizer.clone() } else { Normalizer::new(Vec::new()) };
        Ok(ExactConfig { normalizer, key })
    }

    fn minhash(&self) -> anyhow::Result<MinhashConfig> {
        let bands_rows = self.asked.bands.zip(self.asked.rows).map(|(b, r)| (usize::from(b), usize::from(r)));
        Ok(MinhashConfig {
            shingler: self.shingler()?,
            threshold: self.threshold,
            recall: self.asked.recall.unwrap_or(RECALL),
            bands_rows: bands_rows.or(self.preset.map(|preset| (preset.bands, preset.rows))),
            preset: self.preset.map(|preset| preset.name),
            seed: self.asked.seed,
        })
    }

    fn shingler(&self) -> anyhow::Result<Shingler> {
        let unit = match self.asked.unit {
            Some(args::Unit::Word) => Unit::Word,
            Some(args::Unit::Char) => Unit::Char,
            Some(args::Unit::Byte) => Unit::Byte,
            Some(args::Unit::Token) => Unit::Token,
            None => self.preset.map_or(Unit::Word, |preset| preset.unit),
        };
        let tokens = match (&self.asked.tokenizer, unit) {
            (Some(path), Unit::Token) => {
                let tokenizer = Tokenizer::open(path)?;
                Some(Arc::new(move |text: &str| tokenizer.encode(text)) as TokenFn)
            }
            (None, Unit::Token) => return Err(failure::usage("--unit token needs --tokenizer FILE")),
            (Some(_), _) if !self.has_token_runs => {
                return Err(failure::usage("--tokenizer is for --unit token and for --substring in tokens"));
            }
            _ => None,
        };
        let words = match self.asked.words {
            None | Some(args::Words::Unicode) => Words::Unicode,
            Some(args::Words::Whitespace) if unit == Unit::Word => Words::Whitespace,
            Some(args::Words::Whitespace) => return Err(failure::usage("--words is for --unit word")),
        };
        let n = self.asked.ngram.map(usize::from).or(self.preset.map(|preset| preset.n)).unwrap_or(NGRAM);
        Ok(Shingler::new(unit, n, self.normalizer.clone(), tokens)?.with_words(words))
    }
}

fn preset(name: args::Preset) -> Preset {
    match name {
        args::Preset::Fineweb => Preset::FINEWEB,
        args::Preset::Refinedweb => Preset::REFINEDWEB,
        args::Preset::Nemo => Preset::NEMO,
        args::Preset::Olmo3 => Preset::OLMO3,
        args::Preset::Slimpajama => Preset::SLIMPAJAMA,
        args::Preset::Datasketch => Preset::DATASKETCH,
    }
}

fn measure(arguments: &Dedup) -> anyhow::Result<Measure> {
    match arguments.similarity {
        args::Measure::Jaccard => Ok(Measure::Jaccard),
        args::Measure::Containment if arguments.all_pairs => Ok(Measure::Containment),
        args::Measure::Containment => {
            Err(failure::usage("--similarity containment needs --all-pairs: a sketch cannot promise it"))
        }
    }
}

/// The keep policy; sources are those of `--source-field`, where it names none itself.
fn keep(arguments: &Dedup) -> anyhow::Result<Keep> {
    let keep: Keep = arguments.keep.parse()?;
    let Keep::Source { field: None, order } = keep else { return Ok(keep) };
    Ok(Keep::Source { field: arguments.guard.field()?, order })
}

pub(crate) fn normalizer(steps: &str) -> anyhow::Result<Normalizer> {
    if steps == "none" {
        return Ok(Normalizer::new(Vec::new()));
    }
    let steps: Result<Vec<Step>, _> = steps.split(',').map(|step| step.trim().parse()).collect();
    Ok(Normalizer::new(steps.context("--normalize")?))
}

//! `verbatim audit`: asks a model for texts of its corpus, or for chosen ones, and tells which come back.

use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_corpus::Corpus;
use verbatim_extraction::{
    AuditConfig, Audited, Budget, ChosenText, Distance, Grid, NearConfig, Proof, TextOrder, read_order,
};
use verbatim_index::SubstringIndex;
use verbatim_lm::{Checkpoint, Decoding, Resources};
use verbatim_report::{AuditBody, AuditFacts, ModelUsed, Provenance, Redactor, Report, audit_text};
use verbatim_store::{Access, Scratch, StagedDir};

use crate::args::{Audit, Edits};
use crate::commands::{Context, answers, check_apart, extract, merge, model, reading, redaction};
use crate::failure;

/// The likeliest tokens of each sequence that a beam search tries.
const BRANCH: usize = 40;

/// What is asked for.
struct Texts {
    index: Option<SubstringIndex>,
    corpus: Option<Corpus>,
    chosen: Vec<ChosenText>,
    order: Option<TextOrder>,
}

impl Texts {
    /// The corpus that documents are drawn from, if any are.
    fn sample(&self, config: &AuditConfig) -> Option<&Corpus> {
        self.corpus.as_ref().filter(|_| config.documents > 0)
    }
}

pub(crate) fn run(arguments: &Audit, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    if let Some(p) = arguments.probability.iter().find(|p| !(**p > 0.0 && **p < 1.0)) {
        return Err(failure::usage(format!("--probability {p}: expected numbers between 0 and 1")));
    }
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let (index, corpus) = extract::open_corpus(&arguments.corpus, "--corpus", (&arguments.reading, context))?;
    let mut chosen = Vec::new();
    for path in &arguments.texts {
        chosen.extend(verbatim_extraction::read_texts(path)?);
    }
    let order = arguments.order.as_ref().map(|path| read_order(path, &chosen)).transpose()?;
    let texts = Texts { index, corpus, chosen, order };
    let checkpoint = model::open_asked(&arguments.checkpoint, &arguments.runtime, context)?;
    let config = config(arguments, texts.order.as_ref());
    let provenance = provenance(arguments, &config, &checkpoint, &texts);
    let result = merge::result_of(&provenance, arguments.redaction.reveal)?;
    merge::check(&result, context)?;
    let scratch = scratch(arguments, &checkpoint, &texts, (staged.path(), context))?;
    let audited = audit(arguments, (&checkpoint, &texts), &config, &scratch, context)?;
    texts.corpus.iter().try_for_each(Corpus::verify_unchanged)?;
    if arguments.answering.shard.is_some() {
        return merge::end_shard((staged, scratch), result, context);
    }
    verbatim_extraction::save_targets(staged.path(), &audited)?;
    let redactor = redaction::redactor(&arguments.redaction, staged.path())?;
    let told = (&audited, texts.order.as_ref(), warnings(&texts, &audited, &config));
    let report = Report::new(body(arguments, &config, provenance, told, &redactor), context.run());
    report.write(staged.path(), Access::Private)?;
    context.check()?;
    staged.commit()?;
    if arguments.redaction.reveal {
        context.note("findings are written in the clear: keep the folder to yourself");
    }
    context.tell(&report, &audit_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Audit) -> impl Iterator<Item = &Path> {
    let model = [Path::new(&arguments.checkpoint.model)];
    arguments
        .corpus
        .iter()
        .chain(&arguments.texts)
        .chain(&arguments.order)
        .chain(&arguments.redaction.key)
        .map(PathBuf::as_path)
        .chain(model)
}

/// Asks the model.
fn audit(
    arguments: &Audit,
    (checkpoint, texts): (&Checkpoint, &Texts),
    config: &AuditConfig,
    scratch: &Scratch,
    context: &Context<'_>,
) -> anyhow::Result<Audited> {
    let model = checkpoint.model.as_ref();
    let proof = match (&texts.corpus, &texts.index) {
        (None, _) => None,
        (Some(corpus), None) => Some(Proof { corpus, index: None }),
        (Some(corpus), Some(index)) => Some(Proof { corpus, index: Some(index.of(corpus)?) }),
    };
    let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
    let n_tokens = longest(&config.grid.prefixes) + longest(&config.grid.suffixes);
    let batch = arguments.batch.map_or_else(|| model::batch(model, n_tokens), usize::from);
    let audited = verbatim_extraction::audit(
        checkpoint.text_model(),
        (texts.sample(config), &texts.chosen),
        proof,
        config,
        Resources { batch, scratch, progress: context.teller },
    )?;
    context.check()?;
    Ok(audited)
}

fn warnings(texts: &Texts, audited: &Audited, config: &AuditConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(corpus) = &texts.corpus {
        warnings.extend(corpus.warnings().iter().cloned());
    }
    if texts.sample(config).is_some() && audited.n_uniform() < config.documents {
        warnings.push(format!(
            "the corpus has {} documents that are long enough, fewer than the {} asked for",
            audited.n_uniform(),
            config.documents
        ));
    }
    warnings
}

fn body(
    arguments: &Audit,
    config: &AuditConfig,
    provenance: Provenance,
    (audited, order, warnings): (&Audited, Option<&TextOrder>, Vec<String>),
    redactor: &Redactor,
) -> AuditBody {
    let facts = AuditFacts {
        provenance,
        audited,
        prefixes: &config.grid.prefixes,
        suffixes: &config.grid.suffixes,
        decodings: arguments.decoding.iter().map(ToString::to_string).collect(),
        probabilities: arguments.probability.clone(),
        near: near_words(arguments),
        order,
        warnings,
    };
    AuditBody::new(facts, redactor)
}

fn config(arguments: &Audit, order: Option<&TextOrder>) -> AuditConfig {
    let lengths = |lengths: &[u32]| lengths.iter().map(|length| *length as usize).collect();
    let documents = arguments.documents as usize;
    let decodings: Vec<Decoding> = arguments.decoding.iter().map(|drawing| drawing.0).collect();
    let budget = |(order, n): (&TextOrder, u32)| Budget { order: order.texts.clone(), n_texts: n as usize };
    AuditConfig {
        grid: Grid { prefixes: lengths(&arguments.prefix), suffixes: lengths(&arguments.suffix) },
        documents,
        per_stratum: arguments.per_doubling as usize,
        pool: arguments.pool.map_or(documents.saturating_mul(10), |pool| pool as usize),
        stride: arguments.stride as usize,
        budget: order.zip(arguments.budget).map(budget),
        decode: arguments.decode as usize,
        near: arguments.near as usize,
        near_config: NearConfig {
            distance: match arguments.near_distance {
                Edits::Hamming => Distance::Hamming,
                Edits::Levenshtein => Distance::Levenshtein,
            },
            most_edits: arguments.near_edits as usize,
            decoding: decodings[0],
            beam: usize::from(arguments.beam),
            branch: BRANCH,
        },
        decodings,
        seed: arguments.seed,
    }
}

fn near_words(arguments: &Audit) -> String {
    let edits = match arguments.near_distance {
        Edits::Hamming => "tokens replaced",
        Edits::Levenshtein => "tokens replaced, inserted or left out",
    };
    format!("at most {} {edits}, drawn at {}", arguments.near_edits, arguments.decoding[0])
}

/// Where the model's answers are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Audit,
    checkpoint: &Checkpoint,
    texts: &Texts,
    at: (&Path, &Context<'_>),
) -> anyhow::Result<Scratch> {
    let chosen: Vec<String> = texts.chosen.iter().map(ChosenText::fingerprint).collect();
    // Places are numbered, so all that decides about them belongs to the task.
    let task = json!({"audit": {
        "model": model::hashes(checkpoint),
        "corpus": texts.corpus.as_ref().map(Corpus::fingerprint),
        "chosen": chosen,
        "prefix": arguments.prefix,
        "suffix": arguments.suffix,
        "documents": arguments.documents,
        "per_doubling": arguments.per_doubling,
        "pool": arguments.pool,
        "stride": arguments.stride,
        "order": texts.order.as_ref().filter(|_| arguments.budget.is_some()).map(|order| &order.fingerprint),
        "budget": arguments.budget,
        "decoding": arguments.decoding.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "near_within": near_words(arguments),
        "beam": arguments.beam,
        "seed": arguments.seed,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    let others = files_read(arguments).chain([arguments.output.output.as_path()]);
    answers(&arguments.answering, others, &task, at)
}

fn provenance(arguments: &Audit, config: &AuditConfig, checkpoint: &Checkpoint, texts: &Texts) -> Provenance {
    let used = ModelUsed {
        trained_on: model::trained_on(Path::new(&arguments.checkpoint.model), checkpoint),
        ..model::used("target", checkpoint)
    };
    let provenance = parameters(arguments, (config, texts.order.as_ref())).model(used);
    match &texts.corpus {
        Some(corpus) => provenance.corpus(reading::used("proof", corpus)),
        None => provenance,
    }
}

fn parameters(arguments: &Audit, (config, order): (&AuditConfig, Option<&TextOrder>)) -> Provenance {
    let decodings: Vec<String> = arguments.decoding.iter().map(ToString::to_string).collect();
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .seed("draw", arguments.seed)
        .parameter("prefix", arguments.prefix.clone())
        .parameter("suffix", arguments.suffix.clone())
        .parameter("documents", arguments.documents)
        .parameter("per_doubling", arguments.per_doubling)
        .parameter("pool", config.pool)
        .parameter("stride", arguments.stride)
        .parameter("order", order.map(|order| order.fingerprint.clone()))
        .parameter("budget", arguments.budget)
        .parameter("decoding", decodings)
        .parameter("probability", arguments.probability.clone())
        .parameter("decode", arguments.decode)
        .parameter("near", arguments.near)
        .parameter("near_within", near_words(arguments))
        .parameter("beam", arguments.beam)
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
}

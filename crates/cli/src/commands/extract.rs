//! `verbatim extract`: draws, scores, ranks and verifies, or ranks again what an earlier run drew.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use verbatim_corpus::Corpus;
use verbatim_extraction::{
    Canary, Cell, DrawnSample, Draws, Exposure, ExposureConfig, ExtractConfig, Prompts, Proof, RankConfig,
    Recitation, ScoredSample, Scorers, Strategy,
};
use verbatim_index::SubstringIndex;
use verbatim_lm::{Checkpoint, Resources, Tokenizer};
use verbatim_report::{
    DivergenceRow, ExtractBody, ExtractFacts, ModelUsed, Provenance, Redactor, Report, ScaleTable,
    Verification, extract_text,
};
use verbatim_store::{Access, Bytes, Scratch, StagedDir, sha256_file, write_private};

use crate::args::{Extract, Reading, Verify};
use crate::commands::prompts::PromptSource;
use crate::commands::{Context, answers, check_apart, index, merge, model, reading, redaction};
use crate::failure;

/// The tokenizer, in a checkpoint and in the output.
const TOKENIZER_FILE: &str = "tokenizer.json";
/// Tokens of a window (Carlini et al. 2021, section 5.2).
const WINDOW_TOKENS: usize = 50;

/// What was drawn and how it ranks, before anything is looked up.
struct Ranked {
    provenance: Provenance,
    tokenizer: Tokenizer,
    drawn: Vec<DrawnSample>,
    cells: Vec<Cell>,
    canaries: Option<(Vec<Canary>, Vec<Recitation>)>,
    exposures: Option<Vec<Exposure>>,
}

/// What the models answered.
struct Answered {
    drawn: Vec<DrawnSample>,
    scored: Vec<ScoredSample>,
    canaries: Option<(Vec<Canary>, Vec<Recitation>)>,
    exposures: Option<Vec<Exposure>>,
}

/// The models of a run.
struct Models {
    target: Checkpoint,
    small: Option<Checkpoint>,
    medium: Option<Checkpoint>,
}

pub(crate) fn run(arguments: &Extract, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let (index, corpus) = open_corpus(&arguments.corpus, "--corpus", (&arguments.reading, context))?;
    let proof = match (&corpus, &index) {
        (None, _) => None,
        (Some(corpus), None) => Some(Proof { corpus, index: None }),
        (Some(corpus), Some(index)) => Some(Proof { corpus, index: Some(index.of(corpus)?) }),
    };
    let (ranked, scratch) = match (&arguments.rerank, &arguments.model) {
        (Some(earlier), _) => (rank_again(earlier, proof, arguments, staged.path())?, None),
        (None, Some(name)) => {
            let models = Models::open(name, arguments, context)?;
            let prompts = PromptSource::open(arguments, context)?;
            let provenance = proven(provenance(name, arguments, (&models, &prompts)), proof, arguments);
            let result = merge::result_of(&provenance, arguments.redaction.reveal)?;
            merge::check(&result, context)?;
            let scratch = scratch(arguments, (&models, &prompts), (staged.path(), context))?;
            let answered = ask(arguments, (&models, &prompts), &scratch, context)?;
            if arguments.answering.shard.is_some() {
                return merge::end_shard((staged, scratch), result, context);
            }
            let ranked = rank(answered, (provenance, models.target.tokenizer), arguments, staged.path())?;
            (ranked, Some(scratch))
        }
        (None, None) => return Err(failure::usage("give --model or --rerank")),
    };
    let redactor = redaction::redactor(&arguments.redaction, staged.path())?;
    let body = verify(ranked, proof, arguments, &redactor, context)?;
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    if let Some(corpus) = &corpus {
        corpus.verify_unchanged()?;
    }
    context.check()?;
    staged.commit()?;
    if arguments.redaction.reveal {
        context.note("findings are written in the clear: keep the folder to yourself");
    }
    context.tell(&report, &extract_text(&report.result))?;
    Ok(scratch.map_or(Ok(()), Scratch::discard)?)
}

/// The corpus that a flag names, if it names one, with its index, if it is named by that.
pub(crate) fn open_corpus(
    inputs: &[PathBuf],
    flag: &str,
    (reading, context): (&Reading, &Context<'_>),
) -> anyhow::Result<(Option<SubstringIndex>, Option<Corpus>)> {
    for input in inputs {
        let Some(index) = SubstringIndex::open(input)? else { continue };
        if index.tokenizer().is_some() {
            return Err(failure::usage(format!(
                "{flag} names an index of tokens; findings are proven by one of bytes"
            )));
        }
        if inputs.len() > 1 {
            return Err(failure::usage(format!("an index must be the only {flag}")));
        }
        let corpus = index::corpus_of(index.origin(), context)?;
        return Ok((Some(index), Some(corpus)));
    }
    match inputs {
        [] => Ok((None, None)),
        inputs => Ok((None, Some(reading.open(inputs, context)?))),
    }
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Extract) -> impl Iterator<Item = &Path> {
    let models = [&arguments.model, &arguments.small, &arguments.medium];
    let files = [&arguments.canaries, &arguments.prompts, &arguments.redaction.key];
    let models = models.into_iter().flatten().map(Path::new);
    arguments
        .corpus
        .iter()
        .chain(&arguments.rerank)
        .chain(&arguments.prompts_from)
        .chain(files.into_iter().flatten())
        .map(PathBuf::as_path)
        .chain(models)
}

impl Models {
    fn open(name: &str, arguments: &Extract, context: &Context<'_>) -> anyhow::Result<Models> {
        let runtime = model::runtime(&arguments.runtime);
        let reference = |name: &Option<String>| -> anyhow::Result<Option<Checkpoint>> {
            name.as_ref().map(|name| model::open(name, "main", runtime, context)).transpose()
        };
        Ok(Models {
            target: model::open(name, &arguments.revision, runtime, context)?,
            small: reference(&arguments.small)?,
            medium: reference(&arguments.medium)?,
        })
    }

    fn scorers(&self) -> Scorers<'_> {
        Scorers {
            target: self.target.text_model(),
            small: self.small.as_ref().map(Checkpoint::text_model),
            medium: self.medium.as_ref().map(Checkpoint::text_model),
        }
    }
}

/// Asks the models: draws samples, and has them and the canaries scored.
fn ask(
    arguments: &Extract,
    (models, prompts): (&Models, &PromptSource),
    scratch: &Scratch,
    context: &Context<'_>,
) -> anyhow::Result<Answered> {
    let target = &models.target;
    let config = extract_config(arguments, prompts.prompts())?;
    let model = target.model.as_ref();
    let longest = model.context_len().min(2 * config.max_new_tokens);
    let batch = arguments.batch.map_or_else(|| model::batch(model, longest), usize::from);
    let resources = Resources { batch, scratch, progress: context.teller };
    let Draws { samples: drawn, records } =
        verbatim_extraction::draw(model, &target.tokenizer, &config, resources)?;
    context.check()?;
    prompts.verify_unchanged()?;
    let scored = verbatim_extraction::score(&models.scorers(), &drawn, Some(records), resources)?;
    context.check()?;
    let canaries = match &arguments.canaries {
        Some(ledger) => Some(recite(target, ledger, resources)?),
        None => None,
    };
    let exposures = match &canaries {
        Some((ledger, _)) => expose(target, ledger, arguments, resources)?,
        None => None,
    };
    Ok(Answered { drawn, scored, canaries, exposures })
}

/// Ranks what was drawn, and keeps what it takes to rank and verify it again: of the model, the tokenizer is all.
fn rank(
    answered: Answered,
    (provenance, tokenizer): (Provenance, Tokenizer),
    arguments: &Extract,
    folder: &Path,
) -> anyhow::Result<Ranked> {
    let Answered { drawn, scored, canaries, exposures } = answered;
    verbatim_extraction::save_samples(folder, &drawn)?;
    verbatim_extraction::save_records(folder, &scored)?;
    write_private(&folder.join(TOKENIZER_FILE), tokenizer.json())?;
    let cells = verbatim_extraction::rank(&scored, &rank_config(arguments))?;
    Ok(Ranked { provenance, tokenizer, drawn, cells, canaries, exposures })
}

/// Where the models' answers are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Extract,
    (models, prompts): (&Models, &PromptSource),
    at: (&Path, &Context<'_>),
) -> anyhow::Result<Scratch> {
    let canaries = arguments.canaries.as_deref().map(sha256_file).transpose()?;
    // How many samples, and how they are ranked and proven, changes no answer.
    let task = json!({"extract": {
        "model": model::hashes(&models.target),
        "small": models.small.as_ref().map(model::hashes),
        "medium": models.medium.as_ref().map(model::hashes),
        "seed": arguments.seed,
        "max_new_tokens": arguments.max_new_tokens,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "prompts": prompts.identity(),
        "canaries": canaries,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    let others = files_read(arguments).chain([arguments.output.output.as_path()]);
    answers(&arguments.answering, others, &task, at)
}

/// Ranks what an earlier run drew.
fn rank_again(
    earlier: &Path,
    proof: Option<Proof<'_>>,
    arguments: &Extract,
    folder: &Path,
) -> anyhow::Result<Ranked> {
    let not_ours = || format!("{} is no folder of an earlier extract", earlier.display());
    let tokenizer = Tokenizer::open(&earlier.join(TOKENIZER_FILE)).with_context(not_ours)?;
    let report = Bytes::open(&earlier.join(verbatim_report::JSON_NAME)).with_context(not_ours)?;
    let report: Value = serde_json::from_slice(&report).with_context(not_ours)?;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .parameter("drawn", report["result"]["provenance"].clone())
        .parameter("top", arguments.top)
        .parameter("pool", arguments.pool)
        .parameter("min_match", arguments.min_match)
        .parameter("window_tokens", WINDOW_TOKENS);
    let (drawn, scored) = verbatim_extraction::load_run(earlier)?;
    let answered = Answered { drawn, scored, canaries: None, exposures: None };
    rank(answered, (proven(provenance, proof, arguments), tokenizer), arguments, folder)
}

/// Adds what findings are proven in.
fn proven(provenance: Provenance, proof: Option<Proof<'_>>, arguments: &Extract) -> Provenance {
    let Some(Proof { corpus, index }) = proof else { return provenance };
    let provenance =
        provenance.parameter("verify", arguments.verify.name()).corpus(reading::used("proof", corpus));
    match index {
        Some(index) => provenance.parameter("index_min_length", index.min_len()),
        None => provenance,
    }
}

fn verify(
    ranked: Ranked,
    proof: Option<Proof<'_>>,
    arguments: &Extract,
    redactor: &Redactor,
    context: &Context<'_>,
) -> anyhow::Result<ExtractBody> {
    let Ranked { provenance, tokenizer, drawn, cells, canaries, exposures } = ranked;
    let candidates = verbatim_extraction::candidates(&cells, &drawn);
    let min_match = arguments.min_match as usize;
    let findings = verbatim_extraction::verify(proof, &tokenizer, &candidates, min_match, context.teller)?;
    let recitals = match proof.filter(|_| arguments.verify == Verify::All) {
        Some(proof) => {
            Some(verbatim_extraction::recitals(proof, &tokenizer, &drawn, min_match, context.teller)?)
        }
        None => None,
    };
    let divergences = verbatim_extraction::divergences(&drawn, &tokenizer);
    let mut warnings = Vec::new();
    if !tokenizer.missing_bytes().is_empty() {
        warnings.push(format!(
            "the tokenizer has no tokens for the bytes {:02x?}; texts lose them before the model sees them",
            tokenizer.missing_bytes()
        ));
    }
    if let Some(Proof { corpus, .. }) = proof {
        warnings.extend(corpus.warnings().iter().cloned());
    }
    let facts = ExtractFacts {
        provenance,
        verification: if proof.is_some() { Verification::Corpus } else { Verification::None },
        min_match_tokens: u64::from(arguments.min_match),
        drawn: &drawn,
        cells: &cells,
        findings: &findings,
        at_scale: recitals.as_deref().map(ScaleTable::new),
        divergence: DivergenceRow::new(&divergences, recitals.as_deref()),
        canaries: canaries.as_ref().map(|(ledger, recited)| (&ledger[..], &recited[..])),
        exposures: exposures.as_deref(),
        warnings,
    };
    Ok(ExtractBody::new(facts, redactor))
}

/// Which canaries of a ledger a model recites.
pub(crate) fn recite(
    checkpoint: &Checkpoint,
    ledger: &Path,
    resources: Resources<'_>,
) -> anyhow::Result<(Vec<Canary>, Vec<Recitation>)> {
    let ledger = verbatim_extraction::read_ledger(ledger)?;
    let recitations = verbatim_extraction::audit_canaries(checkpoint.text_model(), &ledger, resources)?;
    Ok((ledger, recitations))
}

/// How exposed the canaries of a ledger are, if it was asked for.
fn expose(
    checkpoint: &Checkpoint,
    ledger: &[Canary],
    arguments: &Extract,
    resources: Resources<'_>,
) -> anyhow::Result<Option<Vec<Exposure>>> {
    if arguments.exposure_references == 0 {
        return Ok(None);
    }
    let config = ExposureConfig {
        n_references: arguments.exposure_references as usize,
        seed: arguments.seed,
        level: verbatim_report::LEVEL,
    };
    Ok(Some(verbatim_extraction::audit_exposure(checkpoint.text_model(), ledger, &config, resources)?))
}

fn extract_config<'a>(arguments: &Extract, prompts: Prompts<'a>) -> anyhow::Result<ExtractConfig<'a>> {
    let strategies: Result<Vec<Strategy>, _> = arguments.strategies.iter().map(|name| name.parse()).collect();
    Ok(ExtractConfig {
        strategies: strategies?,
        samples: 0..arguments.samples,
        max_new_tokens: arguments.max_new_tokens as usize,
        top_k: Some(arguments.top_k as usize),
        top_p: arguments.top_p,
        seed: arguments.seed,
        prompts,
    })
}

fn rank_config(arguments: &Extract) -> RankConfig {
    let pool = arguments.pool.unwrap_or(arguments.top) as usize;
    RankConfig { window_tokens: WINDOW_TOKENS, top: arguments.top as usize, pool }
}

fn provenance(name: &str, arguments: &Extract, (models, prompts): (&Models, &PromptSource)) -> Provenance {
    let target = &models.target;
    let used =
        ModelUsed { trained_on: model::trained_on(Path::new(name), target), ..model::used("target", target) };
    let mut provenance = prompts.told_in(parameters(arguments)).model(used);
    for (role, reference) in [("small", &models.small), ("medium", &models.medium)] {
        if let Some(checkpoint) = reference {
            provenance = provenance.model(model::used(role, checkpoint));
        }
    }
    provenance
}

fn parameters(arguments: &Extract) -> Provenance {
    let exposure_references = arguments.canaries.as_ref().map(|_| arguments.exposure_references);
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .seed("draw", arguments.seed)
        .parameter("strategies", arguments.strategies.clone())
        .parameter("samples", arguments.samples)
        .parameter("max_new_tokens", arguments.max_new_tokens)
        .parameter("top_k", arguments.top_k)
        .parameter("top_p", arguments.top_p)
        .parameter("top", arguments.top)
        .parameter("pool", arguments.pool)
        .parameter("min_match", arguments.min_match)
        .parameter("exposure_references", exposure_references)
        .parameter("window_tokens", WINDOW_TOKENS)
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
        .parameter("zlib", format!("stock zlib, level {}", verbatim_membership::ZLIB_LEVEL))
}

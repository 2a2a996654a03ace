//! `verbatim extract`: draws, scores, ranks and verifies, or ranks again what an earlier run drew.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use verbatim_corpus::Corpus;
use verbatim_extraction::{
    Canary, Cell, DrawnSample, Draws, Exposure, ExposureConfig, ExtractConfig, Prompts, Proof, RankConfig,
    Recitation, Scorers, Strategy,
};
use verbatim_index::SubstringIndex;
use verbatim_lm::{Checkpoint, Resources, Tokenizer};
use verbatim_report::{
    DivergenceRow, ExtractBody, ExtractFacts, ModelUsed, Provenance, Redactor, Report, ScaleTable,
    Verification, extract_text,
};
use verbatim_store::{Access, Bytes, Progress, Scratch, StagedDir, write_private};

use crate::args::{Extract, Reading, Shard, Verify};
use crate::commands::prompts::PromptSource;
use crate::commands::{Context, check_apart, index, kept, model, reading, redaction};
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
    /// Where the models' answers were kept.
    scratch: Option<Scratch>,
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
    let mut ranked = match (&arguments.rerank[..], &arguments.model) {
        (earlier @ [_, ..], _) => rank_again(earlier, arguments, staged.path())?,
        ([], Some(name)) => draw_and_rank(name, arguments, staged.path(), context)?,
        ([], None) => return Err(failure::usage("give --model or --rerank")),
    };
    let redactor = redaction::redactor(&arguments.redaction, staged.path())?;
    let scratch = ranked.scratch.take();
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

fn draw_and_rank(
    name: &str,
    arguments: &Extract,
    folder: &Path,
    context: &Context<'_>,
) -> anyhow::Result<Ranked> {
    let runtime = model::runtime(&arguments.runtime);
    let reference = |name: &Option<String>| -> anyhow::Result<Option<Checkpoint>> {
        name.as_ref().map(|name| model::open(name, "main", runtime, context)).transpose()
    };
    let models = Models {
        target: model::open(name, &arguments.revision, runtime, context)?,
        small: reference(&arguments.small)?,
        medium: reference(&arguments.medium)?,
    };
    let target = &models.target;
    let prompts = PromptSource::open(arguments, context)?;
    let config = extract_config(arguments, prompts.prompts())?;
    let used =
        ModelUsed { trained_on: model::trained_on(Path::new(name), target), ..model::used("target", target) };
    let mut provenance = prompts.told_in(provenance(arguments)).model(used);
    for (role, reference) in [("small", &models.small), ("medium", &models.medium)] {
        if let Some(checkpoint) = reference {
            provenance = provenance.model(model::used(role, checkpoint));
        }
    }
    let scratch = scratch(arguments, &models, (&config, &prompts), folder)?;
    let model = target.model.as_ref();
    let longest = model.context_len().min(2 * config.max_new_tokens);
    let batch = arguments.batch.map_or_else(|| model::batch(model, longest), usize::from);
    let resources = Resources { batch, scratch: &scratch, progress: context.teller };
    let Draws { samples: drawn, records } =
        verbatim_extraction::draw(model, &target.tokenizer, &config, resources)?;
    context.check()?;
    prompts.verify_unchanged()?;
    verbatim_extraction::save_samples(folder, &drawn)?;
    let scorers = Scorers {
        target: target.text_model(),
        small: models.small.as_ref().map(Checkpoint::text_model),
        medium: models.medium.as_ref().map(Checkpoint::text_model),
    };
    let scored = verbatim_extraction::score(&scorers, &drawn, Some(records), resources)?;
    context.check()?;
    verbatim_extraction::save_records(folder, &scored)?;
    // Ranking and verifying again need the tokenizer, and nothing else of the model.
    write_private(&folder.join(TOKENIZER_FILE), target.tokenizer.json())?;
    let canaries = match &arguments.canaries {
        Some(ledger) => Some(recite(target, ledger, context)?),
        None => None,
    };
    let exposures = match &canaries {
        Some((ledger, _)) => expose(target, ledger, arguments, resources)?,
        None => None,
    };
    let cells = verbatim_extraction::rank(&scored, &rank_config(arguments))?;
    Ok(Ranked {
        provenance,
        tokenizer: models.target.tokenizer,
        drawn,
        cells,
        canaries,
        exposures,
        scratch: Some(scratch),
    })
}

/// Where the models' answers are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &Extract,
    models: &Models,
    (config, prompts): (&ExtractConfig<'_>, &PromptSource),
    folder: &Path,
) -> anyhow::Result<Scratch> {
    // How many samples, and how they are ranked and proven, changes no answer.
    let task = json!({"extract": {
        "model": model::hashes(&models.target),
        "small": models.small.as_ref().map(model::hashes),
        "medium": models.medium.as_ref().map(model::hashes),
        "seed": config.seed,
        "max_new_tokens": config.max_new_tokens,
        "top_k": config.top_k,
        "top_p": config.top_p,
        "prompts": prompts.identity(),
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    kept(
        arguments.scratch.as_deref(),
        files_read(arguments).chain([arguments.output.output.as_path()]),
        &task,
        folder,
    )
}

/// Ranks what earlier runs drew, as if it were one, and takes their files along, so that the output can be ranked again
/// as well.
fn rank_again(earlier: &[PathBuf], arguments: &Extract, folder: &Path) -> anyhow::Result<Ranked> {
    let mut origins = Vec::new();
    let mut tokenizers = Vec::new();
    for dir in earlier {
        let not_ours = || format!("{} is no folder of an earlier extract", dir.display());
        tokenizers.push(Tokenizer::open(&dir.join(TOKENIZER_FILE)).with_context(not_ours)?);
        let report = Bytes::open(&dir.join(verbatim_report::JSON_NAME)).with_context(not_ours)?;
        let report: Value = serde_json::from_slice(&report).with_context(not_ours)?;
        origins.push(report["result"]["provenance"].clone());
    }
    for (dir, origin) in earlier.iter().zip(&origins).skip(1) {
        let differences = verbatim_store::differences(&drawn_by(&origins[0]), &drawn_by(origin));
        if !differences.is_empty() {
            let (first, dir) = (earlier[0].display(), dir.display());
            let cause = format!("{first} and {dir} were not drawn alike: {differences}");
            return Err(failure::usage(cause));
        }
    }
    let (drawn, scored) = verbatim_extraction::load_runs(earlier)?;
    verbatim_extraction::save_samples(folder, &drawn)?;
    verbatim_extraction::save_records(folder, &scored)?;
    let tokenizer = tokenizers.swap_remove(0);
    write_private(&folder.join(TOKENIZER_FILE), tokenizer.json())?;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .parameter("drawn", if let [origin] = &origins[..] { origin.clone() } else { origins.into() })
        .parameter("top", arguments.top)
        .parameter("pool", arguments.pool)
        .parameter("min_match", arguments.min_match)
        .parameter("window_tokens", WINDOW_TOKENS);
    let cells = verbatim_extraction::rank(&scored, &rank_config(arguments))?;
    Ok(Ranked { provenance, drawn, cells, tokenizer, canaries: None, exposures: None, scratch: None })
}

/// What decides about a sample, but for its strategy and number: models, seed and parameters, from the provenance of what
/// was drawn or, where that was ranked again, of the first that was drawn.
fn drawn_by(origin: &Value) -> Value {
    match &origin["parameters"]["drawn"] {
        Value::Null => {}
        Value::Array(origins) => return origins.first().map_or(Value::Null, drawn_by),
        origin => return drawn_by(origin),
    }
    let model = |model: &Value| {
        let hashes = [&model["files"], &model["tokenizer_sha256"]].map(Value::to_string).concat();
        (
            model["role"].as_str().unwrap_or_default().to_owned(),
            verbatim_store::xxh3_128_hex(hashes.as_bytes()).into(),
        )
    };
    let models: serde_json::Map<String, Value> =
        origin["models"].as_array().into_iter().flatten().map(model).collect();
    let parameters =
        ["max_new_tokens", "top_k", "top_p", "prompts_xxh3", "prompts_from", "prompt_tokens", "arithmetic"];
    let parameters: serde_json::Map<String, Value> =
        parameters.map(|name| (name.to_owned(), origin["parameters"][name].clone())).into_iter().collect();
    json!({ "models": models, "seed": origin["seeds"]["draw"], "parameters": parameters })
}

fn verify(
    ranked: Ranked,
    proof: Option<Proof<'_>>,
    arguments: &Extract,
    redactor: &Redactor,
    context: &Context<'_>,
) -> anyhow::Result<ExtractBody> {
    let Ranked { mut provenance, tokenizer, drawn, cells, canaries, exposures, .. } = ranked;
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
    if let Some(Proof { corpus, index }) = proof {
        provenance = provenance.parameter("verify", arguments.verify.name());
        provenance = provenance.corpus(reading::used("proof", corpus));
        if let Some(index) = index {
            provenance = provenance.parameter("index_min_length", index.min_len());
        }
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
    context: &Context<'_>,
) -> anyhow::Result<(Vec<Canary>, Vec<Recitation>)> {
    let ledger = verbatim_extraction::read_ledger(ledger)?;
    context.teller.stage("recite canaries", None, "canaries");
    let recitations = verbatim_extraction::audit_canaries(
        checkpoint.model.as_ref(),
        &checkpoint.tokenizer,
        &ledger,
        context.teller,
    )?;
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
        samples: samples(arguments)?,
        max_new_tokens: arguments.max_new_tokens as usize,
        top_k: Some(arguments.top_k as usize),
        top_p: arguments.top_p,
        seed: arguments.seed,
        prompts,
    })
}

/// The numbers of the samples to draw: all, or those of a shard.
fn samples(arguments: &Extract) -> anyhow::Result<Range<u64>> {
    let n = arguments.samples;
    let Some(Shard { number, of }) = arguments.shard else { return Ok(0..n) };
    // Both numbers are small enough for the product.
    let range = n * (number - 1) / of..n * number / of;
    match range.is_empty() {
        true => Err(failure::usage(format!("--shard {number}/{of} of {n} samples holds none"))),
        false => Ok(range),
    }
}

fn rank_config(arguments: &Extract) -> RankConfig {
    let pool = arguments.pool.unwrap_or(arguments.top) as usize;
    RankConfig { window_tokens: WINDOW_TOKENS, top: arguments.top as usize, pool }
}

fn provenance(arguments: &Extract) -> Provenance {
    let exposure_references = arguments.canaries.as_ref().map(|_| arguments.exposure_references);
    Provenance::new(env!("CARGO_PKG_VERSION"))
        .seed("draw", arguments.seed)
        .parameter("strategies", arguments.strategies.clone())
        .parameter("samples", arguments.samples)
        .parameter("shard", arguments.shard.map(|shard| shard.to_string()))
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

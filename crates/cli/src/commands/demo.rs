//! `verbatim demo`: deduplicates the embedded corpus, audits a checkpoint trained on it as it was and a twin trained
//! on it deduplicated, and compares.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_dedup::{Plan, Resources, Tally};
use verbatim_extraction::{Canary, ExtractConfig, Proof, Recitation, Strategy, Verdict};
use verbatim_index::Occurrences;
use verbatim_lab::{TrainingRecord, demo as recipe};
use verbatim_lm::{Checkpoint, Runtime};
use verbatim_report::{
    CheckpointCheck, DemoBody, DemoCase, DemoFacts, Flow, Pair, Provenance, Rate, Redactor, Report, Reveal,
    Sampling, StageRow, demo_text,
};
use verbatim_store::{Access, Bytes, Existing, Scratch, StagedDir, write_private, write_shared};

use crate::args::{Demo, MAX_NEW_TOKENS, MIN_MATCH, TOP_K};
use crate::commands::{Context, extract, model, prompts, reading};

const CORPUS: &[u8] = include_bytes!("../../../../corpora/demo/corpus.jsonl");
const LEDGER: &[u8] = include_bytes!("../../../../corpora/demo/ledger.jsonl");

/// The files of a checkpoint folder, embedded.
macro_rules! checkpoint {
    ($name:literal) => {
        [
            ("config.json", include_bytes!(concat!("../../../../models/", $name, "/config.json")) as &[u8]),
            (
                "model.safetensors",
                include_bytes!(concat!("../../../../models/", $name, "/model.safetensors")),
            ),
            ("tokenizer.json", include_bytes!(concat!("../../../../models/", $name, "/tokenizer.json"))),
            ("training.json", include_bytes!(concat!("../../../../models/", $name, "/training.json"))),
        ]
    };
}

const RAW: [(&str, &[u8]); 4] = checkpoint!("demo-raw");
const DEDUP: [(&str, &[u8]); 4] = checkpoint!("demo-dedup");

/// Marks a folder as the output of a demo, which the next demo may replace.
const MARK: &str = ".verbatim-demo";
/// The key that names redacted findings: the secrets of the demo are invented, so it hides nothing, and the same
/// names in every run make two runs comparable.
const KEY: &[u8; 32] = b"the demo's secrets are invented.";
const SEED: u64 = 1;

pub(crate) fn run(arguments: &Demo, context: &Context<'_>) -> anyhow::Result<()> {
    let ours = arguments.output.join(MARK).exists();
    let existing = if ours { Existing::Replace } else { Existing::Refuse };
    let staged = StagedDir::create(&arguments.output, Access::Private, existing)?;
    let folder = staged.path();
    write_private(&folder.join(MARK), b"")?;
    let home = lay_out(folder, arguments.rebuild_models, context)?;

    let raw = open(&folder.join("corpus"), context)?;
    let plan = verbatim_dedup::plan(
        &raw,
        &recipe::demo_dedup_config()?,
        &Resources::standard(folder),
        context.teller,
    )?;
    let clean = StagedDir::create(&folder.join("clean"), Access::Private, Existing::Refuse)?;
    let tally = verbatim_dedup::apply(&raw, &plan, clean.path(), context.teller)?;
    clean.commit()?;
    context.check()?;
    let clean = open(&folder.join("clean"), context)?;

    let stage = Stage { folder, home: &home, raw: &raw, n_samples: arguments.samples };
    let raw_audit = audit(&stage, recipe::RAW, context)?;
    let dedup_audit = audit(&stage, recipe::DEDUP, context)?;
    write_private(&folder.join("key"), KEY)?;
    let redactor = Redactor::new(*KEY, if arguments.reveal { Reveal::Revealed } else { Reveal::Redacted });
    let facts = facts(&raw, &clean, (&plan, tally), [raw_audit, dedup_audit], context)?;
    let report = Report::new(DemoBody::new(facts, &redactor), context.run());
    report.write(folder, Access::Private)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &demo_text(&report.result))?;
    if !context.json {
        context.note(&format!("report: {}", arguments.output.join("report.html").display()));
    }
    Ok(())
}

/// Writes the corpus, the ledger and the checkpoints into the folder; gives the home of the checkpoints.
fn lay_out(folder: &Path, rebuild: bool, context: &Context<'_>) -> anyhow::Result<PathBuf> {
    std::fs::create_dir(folder.join("corpus"))?;
    write_shared(&folder.join("corpus/corpus.jsonl"), CORPUS)?;
    write_private(&folder.join("ledger.jsonl"), LEDGER)?;
    let home = folder.join("models");
    if rebuild {
        recipe::rebuild_models(&home, context.teller)?;
        return Ok(home);
    }
    for (name, files) in [(recipe::RAW, RAW), (recipe::DEDUP, DEDUP)] {
        std::fs::create_dir_all(home.join(name))?;
        for (file, bytes) in files {
            write_shared(&home.join(name).join(file), bytes)?;
        }
    }
    Ok(home)
}

fn open(folder: &Path, context: &Context<'_>) -> anyhow::Result<Corpus> {
    Ok(Corpus::open(&[folder.to_path_buf()], &OpenConfig::standard(), context.teller)?)
}

/// What one checkpoint recites.
struct Audit {
    checkpoint: Checkpoint,
    trained_on: String,
    ledger: Vec<Canary>,
    recitations: Vec<Recitation>,
    /// Samples that hold a long verbatim passage of the raw corpus, among all samples.
    memorized: Rate,
}

/// Where the audits happen.
struct Stage<'a> {
    folder: &'a Path,
    home: &'a Path,
    raw: &'a Corpus,
    n_samples: u64,
}

/// Audits the checkpoint of this name: canaries by their prefixes, and samples drawn freely, which it keeps.
fn audit(stage: &Stage<'_>, name: &str, context: &Context<'_>) -> anyhow::Result<Audit> {
    let home = stage.home.join(name);
    let checkpoint = Checkpoint::open(&home, Runtime::default())?;
    let record: TrainingRecord = serde_json::from_slice(&Bytes::open(&home.join("training.json"))?)?;
    let model = checkpoint.model.as_ref();
    let resources = verbatim_lm::Resources {
        batch: model::batch(model, MAX_NEW_TOKENS as usize),
        scratch: &Scratch::unnamed(stage.folder),
        progress: context.teller,
    };
    let (ledger, recitations) = extract::recite(&checkpoint, &stage.folder.join("ledger.jsonl"), resources)?;
    context.check()?;
    let config = ExtractConfig {
        strategies: Strategy::ALL.to_vec(),
        samples: 0..stage.n_samples,
        max_new_tokens: MAX_NEW_TOKENS as usize,
        top_k: Some(TOP_K as usize),
        top_p: None,
        seed: SEED,
        prompts: prompts::built_in().into(),
    };
    let drawn = verbatim_extraction::draw(model, &checkpoint.tokenizer, &config, resources)?.samples;
    let samples = stage.folder.join("samples").join(name);
    std::fs::create_dir_all(&samples)?;
    verbatim_extraction::save_samples(&samples, &drawn)?;
    let all: Vec<_> = drawn.iter().collect();
    let findings = verbatim_extraction::verify(
        Some(Proof { corpus: stage.raw, index: None }),
        &checkpoint.tokenizer,
        &all,
        MIN_MATCH as usize,
        context.teller,
    )?;
    let n_memorized = findings.iter().filter(|finding| finding.verdict == Verdict::Memorized).count();
    Ok(Audit {
        memorized: Rate::new(n_memorized as u64, findings.len() as u64),
        trained_on: record.corpus_fingerprint,
        checkpoint,
        ledger,
        recitations,
    })
}

fn facts(
    raw: &Corpus,
    clean: &Corpus,
    (plan, tally): (&Plan, Tally),
    [raw_audit, dedup_audit]: [Audit; 2],
    context: &Context<'_>,
) -> anyhow::Result<DemoFacts> {
    let check = |role: &str, audit: &Audit, corpus: &Corpus| CheckpointCheck {
        role: role.to_owned(),
        trained_on: audit.trained_on.clone(),
        made_today: corpus.fingerprint().to_owned(),
    };
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("raw", raw))
        .corpus(reading::used("deduplicated", clean))
        .model(model::used("raw", &raw_audit.checkpoint))
        .model(model::used("deduplicated", &dedup_audit.checkpoint))
        .parameter("dedup", serde_json::to_value(plan.parameters())?)
        .parameter("top_k", TOP_K)
        .parameter("max_new_tokens", MAX_NEW_TOKENS)
        .parameter("min_match_tokens", MIN_MATCH)
        .seed("draw", SEED);
    Ok(DemoFacts {
        provenance,
        flow: Flow::from(tally),
        stages: plan.stages().iter().map(StageRow::from).collect(),
        checkpoints: vec![check("raw", &raw_audit, raw), check("deduplicated", &dedup_audit, clean)],
        cases: cases(raw, clean, &raw_audit, &dedup_audit, context)?,
        sampling: Some(Sampling {
            min_match_tokens: u64::from(MIN_MATCH),
            memorized: Pair { raw: raw_audit.memorized, deduplicated: dedup_audit.memorized },
        }),
    })
}

/// Each canary with the times that it really stands in both corpora, counted there and not taken from the ledger.
fn cases(
    raw: &Corpus,
    clean: &Corpus,
    raw_audit: &Audit,
    dedup_audit: &Audit,
    context: &Context<'_>,
) -> anyhow::Result<Vec<DemoCase>> {
    let ledger = &raw_audit.ledger;
    let strings: Vec<Vec<u8>> =
        ledger.iter().map(|canary| format!("{}{}", canary.prefix, canary.secret).into_bytes()).collect();
    let in_raw = verbatim_index::count_strings(raw, &strings, context.teller);
    let in_clean = verbatim_index::count_strings(clean, &strings, context.teller);
    context.check()?;
    let recited = |audit: &Audit| -> BTreeSet<String> {
        audit.recitations.iter().filter(|one| one.recited).map(|one| one.id.clone()).collect()
    };
    let (by_raw, by_dedup) = (recited(raw_audit), recited(dedup_audit));
    let case = |(canary, (in_raw, in_clean)): (&Canary, (&Occurrences, &Occurrences))| {
        assert_eq!(in_raw.n_occurrences, canary.copies, "the embedded ledger is that of the embedded corpus");
        DemoCase {
            canary: canary.clone(),
            copies_raw: in_raw.n_occurrences,
            copies_deduplicated: in_clean.n_occurrences,
            raw: by_raw.contains(&canary.id),
            deduplicated: by_dedup.contains(&canary.id),
        }
    };
    Ok(ledger.iter().zip(in_raw.iter().zip(&in_clean)).map(case).collect())
}

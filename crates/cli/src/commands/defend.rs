//! `verbatim defend`: what each defence is worth, by training and auditing again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_extraction::{Canary, read_ledger};
use verbatim_lab::defend::{DefendConfig, MadeDocument, Person, Subject, defend, make_corpus};
use verbatim_lab::write_documents;
use verbatim_lm::Resources;
use verbatim_report::{DefendBody, LEVEL, Provenance, Report, defend_text};
use verbatim_store::{Access, Scratch, StagedDir, write_private};

use crate::args::Defend;
use crate::commands::{Context, check_apart, reading, state_beside, train};

/// Sequences computed at once: models that are trained in minutes are small.
const BATCH: usize = 64;

/// What is defended, and what is known of it.
struct Given {
    corpus: Corpus,
    ledger: Vec<Canary>,
    people: Vec<Person>,
    held_out: Corpus,
}

pub(crate) fn run(arguments: &Defend, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    let state = state_beside(output, ".defend-state", arguments.resume)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    // What cannot be read leaves no state behind.
    let read = (!arguments.inputs.is_empty()).then(|| Given::read(arguments, context)).transpose()?;
    fs::create_dir_all(&state).with_context(|| format!("{}: cannot create", state.display()))?;
    let given = match read {
        Some(given) => given,
        None => Given::made(arguments.seed, &state, context)?,
    };
    let tokenizer = train::tokenizer(&arguments.recipe, &given.corpus)?;
    let config = DefendConfig {
        recipe: train::recipe_of(&arguments.recipe, arguments.seed),
        epsilon: arguments.epsilon,
        n_references: arguments.references as usize,
        seed: arguments.seed,
        level: LEVEL,
    };
    let subject = Subject {
        corpus: &given.corpus,
        ledger: &given.ledger,
        people: &given.people,
        held_out: &given.held_out,
        tokenizer_json: &tokenizer,
    };
    let scratch = Scratch::unnamed(&state);
    let resources = Resources { batch: BATCH, scratch: &scratch, progress: context.teller };
    let defended = defend(&subject, &config, &state, resources)?;
    context.check()?;
    let provenance = provenance(arguments, &config, &given)?;
    let body = DefendBody::new(provenance, &defended, arguments.epsilon, warnings(&given));
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    given.corpus.verify_unchanged()?;
    given.held_out.verify_unchanged()?;
    staged.commit()?;
    context.tell(&report, &defend_text(&report.result))?;
    fs::remove_dir_all(&state).with_context(|| format!("{}: cannot remove", state.display()))
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Defend) -> impl Iterator<Item = &Path> {
    let files = arguments.canaries.iter().chain(&arguments.recipe.tokenizer);
    arguments.inputs.iter().chain(&arguments.held_out).chain(files).map(PathBuf::as_path)
}

impl Given {
    /// The corpus that is made from a seed.
    fn made(seed: u64, state: &Path, context: &Context<'_>) -> anyhow::Result<Given> {
        let made = make_corpus(seed)?;
        let corpus = |name: &str, documents: &[MadeDocument]| -> anyhow::Result<Corpus> {
            let path = state.join(name);
            if !path.exists() {
                let mut bytes = Vec::new();
                write_documents(documents, &mut bytes, &path)?;
                write_private(&path, &bytes)?;
            }
            Ok(Corpus::open(&[path], &OpenConfig::standard(), context.teller)?)
        };
        Ok(Given {
            corpus: corpus("corpus.jsonl", &made.documents)?,
            held_out: corpus("held-out.jsonl", &made.held_out)?,
            ledger: made.ledger,
            people: made.people,
        })
    }

    fn read(arguments: &Defend, context: &Context<'_>) -> anyhow::Result<Given> {
        let corpus = arguments.reading.open(&arguments.inputs, context)?;
        reading::warn(&corpus, context);
        let held_out = arguments.reading.open(&arguments.held_out, context)?;
        let ledger = arguments.canaries.as_deref().map(read_ledger).transpose()?.unwrap_or_default();
        Ok(Given { corpus, ledger, people: Vec::new(), held_out })
    }
}

fn warnings(given: &Given) -> Vec<String> {
    [&given.corpus, &given.held_out].into_iter().flat_map(Corpus::warnings).cloned().collect()
}

fn provenance(arguments: &Defend, config: &DefendConfig, given: &Given) -> anyhow::Result<Provenance> {
    Ok(Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("training", &given.corpus))
        .corpus(reading::used("held out", &given.held_out))
        .seed("defend", arguments.seed)
        .parameter("recipe", serde_json::to_value(&config.recipe)?)
        .parameter("epsilon", arguments.epsilon)
        .parameter("references", arguments.references))
}

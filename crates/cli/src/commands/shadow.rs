//! `verbatim shadow`: models on halves of a corpus, and attacks with them.

mod score;

use std::path::{Path, PathBuf};

use verbatim_lab::{ShadowConfig, train_shadows};
use verbatim_report::{FileUsed, Provenance, Report, ShadowTrainBody, shadow_train_text};
use verbatim_store::{Bytes, sha256_file};

use crate::args::{Shadow, ShadowCommand, ShadowTrain};
use crate::commands::{Context, check_apart, reading, state_beside, train};

pub(crate) fn run(arguments: &Shadow, context: &Context<'_>) -> anyhow::Result<()> {
    match &arguments.command {
        ShadowCommand::Train(arguments) => train(arguments, context),
        ShadowCommand::Score(arguments) => score::run(arguments, context),
    }
}

fn train(arguments: &ShadowTrain, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    let read = arguments.inputs.iter().chain(&arguments.recipe.tokenizer);
    check_apart(read.map(PathBuf::as_path), &output.output)?;
    let state = state_beside(output, ".shadow-state", arguments.resume)?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    reading::warn(&corpus, context);
    let tokenizer = train::tokenizer(&arguments.recipe, &corpus)?;
    let config = ShadowConfig {
        n_models: usize::from(arguments.models),
        seed: arguments.seed,
        recipe: train::recipe_of(&arguments.recipe, arguments.seed),
    };
    let destination = (output.output.as_path(), output.existing(), state.as_path());
    let record = train_shadows(&corpus, &tokenizer, &config, destination, context.teller)?;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("training", &corpus))
        .seed("shadow", arguments.seed)
        .parameter("models", arguments.models)
        .parameter("recipe", serde_json::to_value(&config.recipe)?);
    let body = ShadowTrainBody::new(&record, provenance, files(&output.output, config.n_models)?);
    let report = Report::new(body, context.run());
    context.tell(&report, &shadow_train_text(&report.result))
}

/// The files of an ensemble, as a report names them.
fn files(folder: &Path, n_models: usize) -> anyhow::Result<Vec<FileUsed>> {
    let weights = (0..n_models).map(|model| format!("model-{model:03}/model.safetensors"));
    let names = ["shadow.json", "split.jsonl"].map(str::to_owned).into_iter().chain(weights);
    names
        .map(|name| {
            let path = folder.join(&name);
            let n_bytes = Bytes::open(&path)?.len() as u64;
            Ok(FileUsed { sha256: sha256_file(&path)?, n_bytes, name })
        })
        .collect()
}

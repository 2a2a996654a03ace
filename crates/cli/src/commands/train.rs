//! `verbatim train`: a GPT-2 from a corpus.

use std::path::{Path, PathBuf};

use verbatim_corpus::Corpus;
use verbatim_lab::{AdamWConfig, Destination, Length, ModelShape, PrivateConfig, Recipe, TrainConfig};
use verbatim_report::{FileUsed, Provenance, Report, TrainBody, train_text};
use verbatim_store::{Bytes, sha256_file};

use crate::args::{Private, RecipeFlags, Train};
use crate::commands::{Context, check_apart, reading, state_beside};

const TOKENIZER_WARNING: &str = "The tokenizer was trained on the corpus without noise: epsilon does not cover it. Give one \
                                 that was trained on other text with --tokenizer.";

pub(crate) fn run(arguments: &Train, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    let read = arguments.inputs.iter().chain(&arguments.recipe.tokenizer);
    check_apart(read.map(PathBuf::as_path), &output.output)?;
    let state = state_beside(output, ".train-state", arguments.resume)?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    reading::warn(&corpus, context);
    let tokenizer = tokenizer(&arguments.recipe, &corpus)?;
    let destination =
        Destination { target: &output.output, existing: output.existing(), state: Some(&state) };
    let mut recipe = recipe(arguments);
    recipe.train.private = private(&arguments.private, &corpus, &recipe.train)?;
    let record =
        verbatim_lab::train_checkpoint((&corpus).into(), &tokenizer, &recipe, &destination, context.teller)?;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .corpus(reading::used("training", &corpus))
        .seed("train", arguments.seed)
        .parameter("recipe", serde_json::to_value(&recipe)?);
    let mut body = TrainBody::new(&record, provenance, files(&output.output)?);
    if record.privacy.is_some() && arguments.recipe.tokenizer.is_none() {
        body.warnings.push(TOKENIZER_WARNING.to_owned());
    }
    let report = Report::new(body, context.run());
    context.tell(&report, &train_text(&report.result))
}

/// The bytes of the tokenizer.json that was asked for, or of one that is trained on the corpus.
pub(crate) fn tokenizer(flags: &RecipeFlags, corpus: &Corpus) -> anyhow::Result<Vec<u8>> {
    Ok(match &flags.tokenizer {
        Some(path) => Bytes::open(path)?.to_vec(),
        None => verbatim_lab::train_tokenizer(corpus, flags.vocabulary as usize)?,
    })
}

fn recipe(arguments: &Train) -> Recipe {
    let mut recipe = recipe_of(&arguments.recipe, arguments.seed);
    recipe.train.validation_fraction = arguments.validation;
    recipe.train.patience = arguments.patience.map(u64::from);
    recipe
}

/// The recipe that the flags describe, with all documents trained on.
pub(crate) fn recipe_of(flags: &RecipeFlags, seed: u64) -> Recipe {
    let standard = TrainConfig::standard(seed);
    Recipe {
        shape: ModelShape {
            n_layer: flags.layers as usize,
            n_head: flags.heads as usize,
            n_embd: flags.width as usize,
            n_positions: flags.context as usize,
            dropout: flags.dropout,
        },
        train: TrainConfig {
            length: match flags.steps {
                Some(steps) => Length::Steps(steps),
                None => Length::Epochs(u64::from(flags.epochs)),
            },
            batch_rows: flags.batch as usize,
            learning_rate: flags.learning_rate,
            warmup_steps: u64::from(flags.warmup),
            adamw: AdamWConfig { weight_decay: flags.weight_decay, ..standard.adamw.clone() },
            clip_norm: flags.clip,
            ..standard
        },
    }
}

/// How privately to train, where it was asked for; the noise for an epsilon follows from the number of documents.
fn private(
    arguments: &Private,
    corpus: &Corpus,
    config: &TrainConfig,
) -> anyhow::Result<Option<PrivateConfig>> {
    let n_documents = verbatim_lab::n_trained_on(corpus, config.seed, config.validation_fraction);
    let delta = arguments.delta.unwrap_or_else(|| verbatim_lab::standard_delta(n_documents));
    let noise_multiplier = match (arguments.epsilon, arguments.noise) {
        (Some(epsilon), _) => config.noise_for_epsilon(epsilon, delta, n_documents)?,
        (None, Some(noise)) => noise,
        (None, None) => return Ok(None),
    };
    Ok(Some(PrivateConfig { clip_norm: Some(arguments.clip_example), noise_multiplier, delta }))
}

/// The files that a checkpoint is made of, as a report names them.
fn files(folder: &Path) -> anyhow::Result<Vec<FileUsed>> {
    ["config.json", "model.safetensors", "tokenizer.json"]
        .into_iter()
        .map(|name| {
            let path = folder.join(name);
            let n_bytes = Bytes::open(&path)?.len() as u64;
            Ok(FileUsed { name: name.to_owned(), sha256: sha256_file(&path)?, n_bytes })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn the_commands_in_the_models_readme_make_the_demos_recipe() {
        let readme = include_str!("../../../../models/README.md");
        let commands: Vec<&str> =
            readme.lines().map(str::trim).filter(|line| line.starts_with("verbatim train ")).collect();
        assert_eq!(commands.len(), 2);
        for command in commands {
            let arguments = Arguments::try_parse_from(command.split_whitespace()).unwrap();
            let Command::Train(arguments) = arguments.command else { panic!("{command}") };
            assert_eq!(recipe(&arguments), verbatim_lab::demo::demo_recipe(), "{command}");
        }
    }
}

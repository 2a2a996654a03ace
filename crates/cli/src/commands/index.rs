//! `verbatim index`: saves what a corpus is compared by.

use std::path::PathBuf;

use verbatim_corpus::{Origin, is_object_url};
use verbatim_dedup::{Clustering, DedupConfig, Empty, Keep, Resources, Signatures};
use verbatim_store::{Access, Scratch, StagedDir};

use crate::args::{Index, IndexBuild, IndexCommand};
use crate::commands::{Context, check_apart, dedup};

pub(crate) fn run(arguments: &Index, context: &Context<'_>) -> anyhow::Result<()> {
    match &arguments.command {
        IndexCommand::Build(arguments) => build(arguments, context),
    }
}

fn build(arguments: &IndexBuild, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(arguments.inputs.iter().map(PathBuf::as_path), &output.output)?;
    let (exact, minhash) = dedup::signature_stages(&arguments.matching)?;
    let config = DedupConfig {
        empty: Empty::Keep,
        exact,
        minhash,
        all_pairs: None,
        clustering: Clustering::Star,
        edit_similarity: None,
        lines: None,
        substring: None,
        only_references: false,
        keep: Keep::First,
    };
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    let absolute = |input: &PathBuf| match is_object_url(input) {
        true => Ok(input.clone()),
        false => std::path::absolute(input),
    };
    let inputs: Result<Vec<PathBuf>, _> = arguments.inputs.iter().map(absolute).collect();
    let source = Origin { inputs: inputs?, against: Vec::new(), reading: arguments.reading.config()? };
    let resources = Resources {
        memory: usize::try_from(arguments.memory).unwrap_or(usize::MAX),
        scratch: Scratch::unnamed(staged.path()),
        signatures: None,
    };
    Signatures::build((&corpus, source), &config, (&resources, staged.path()), context.teller)?;
    context.check()?;
    staged.commit()?;
    context.note(&format!("signatures of {} documents", corpus.n_documents()));
    Ok(())
}

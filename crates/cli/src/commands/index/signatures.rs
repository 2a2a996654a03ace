//! `verbatim index signatures`: saves what `dedup --against` compares with.

use std::path::PathBuf;

use verbatim_dedup::{Clustering, DedupConfig, Empty, Keep, Resources, Signatures};
use verbatim_store::{Access, Scratch, StagedDir};

use crate::args::IndexSignatures;
use crate::commands::{Context, check_apart, dedup};

pub(super) fn run(arguments: &IndexSignatures, context: &Context<'_>) -> anyhow::Result<()> {
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
    let origin = super::origin(&arguments.inputs, &arguments.reading)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    let resources = Resources {
        memory: usize::try_from(arguments.memory).unwrap_or(usize::MAX),
        scratch: Scratch::unnamed(staged.path()),
        signatures: None,
    };
    Signatures::build((&corpus, origin), &config, (&resources, staged.path()), context.teller)?;
    context.check()?;
    staged.commit()?;
    context.note(&format!("signatures of {} documents", corpus.n_documents()));
    Ok(())
}

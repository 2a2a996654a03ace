//! `verbatim index build` and `merge`: make an index of the substrings of a corpus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use verbatim_corpus::{Corpus, Origin};
use verbatim_index::{IndexConfig, SubstringIndex};
use verbatim_lm::Tokenizer;
use verbatim_store::{Access, Bytes, Room, Scratch, StagedDir, write_private};

use crate::args::{IndexBuild, IndexMerge, StringUnit};
use crate::commands::reading::warn;
use crate::commands::{Context, check_apart, check_scratch};
use crate::failure;

/// The shortest strings that an index finds, where nothing else is asked for.
const MIN_BYTES: u64 = 100;
const MIN_TOKENS: u64 = 50;

pub(super) fn build(arguments: &IndexBuild, context: &Context<'_>) -> anyhow::Result<()> {
    let IndexBuild { inputs, output, room, reading, .. } = arguments;
    let read = inputs.iter().chain(&arguments.add_to).map(PathBuf::as_path);
    check_apart(read, &output.output)?;
    let origin = super::origin(inputs, reading)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let corpus = reading.open(inputs, context)?;
    warn(&corpus, context);
    let tokenizer = match (arguments.unit, &arguments.tokenizer) {
        (StringUnit::Bytes, None) => None,
        (StringUnit::Bytes, Some(_)) => return Err(failure::usage("--tokenizer is for --unit tokens")),
        (StringUnit::Tokens, path) => {
            let path = path.as_deref().context("--unit tokens needs --tokenizer FILE")?;
            write_private(&staged.path().join(super::TOKENIZER_FILE), &Bytes::open(path)?)?;
            Some(super::token_fn(Tokenizer::open(path)?))
        }
    };
    let default = if tokenizer.is_some() { MIN_TOKENS } else { MIN_BYTES };
    let min_len = usize::try_from(arguments.min_length.unwrap_or(default))?;
    let config = IndexConfig { min_len, tokenizer, origin };
    if let Some(earlier) = &arguments.add_to {
        let earlier = SubstringIndex::open(earlier)?.ok_or_else(|| super::no_index(earlier))?;
        check_lengths([earlier.min_len(), config.min_len])?;
        if earlier.tokenizer() != config.tokenizer.as_ref().map(|(_, hash)| &hash[..]) {
            return Err(failure::usage("--add-to names an index of another unit or tokenizer"));
        }
    }
    let scratch = match &room.scratch {
        None => Scratch::unnamed(staged.path()),
        Some(folder) => {
            let others = inputs.iter().chain([&output.output]).map(PathBuf::as_path);
            check_scratch(others, folder)?;
            let task = json!({"index": {
                "corpus": corpus.fingerprint(),
                "min_length": config.min_len,
                "tokenizer": config.tokenizer.as_ref().map(|(_, hash)| hash),
            }});
            Scratch::of_run(folder, &task)?
        }
    };
    let sorted = room_of(room.memory, &scratch);
    match &arguments.add_to {
        None => SubstringIndex::build(&corpus, &config, (staged.path(), sorted), context.teller)?,
        Some(earlier) => {
            // A folder that is never committed goes when it is dropped.
            let part = StagedDir::create(&output.output, Access::Private, output.existing())?;
            SubstringIndex::build(&corpus, &config, (part.path(), sorted), context.teller)?;
            let unnamed = Scratch::unnamed(staged.path());
            join(&[earlier, part.path()], &staged, Room { scratch: &unnamed, ..sorted }, context)?;
        }
    }
    corpus.verify_unchanged()?;
    finish(staged, &output.output, context)?;
    Ok(scratch.discard()?)
}

pub(super) fn merge(arguments: &IndexMerge, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(arguments.indexes.iter().map(PathBuf::as_path), &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let scratch = Scratch::unnamed(staged.path());
    let room = room_of(arguments.memory, &scratch);
    let folders: Vec<&Path> = arguments.indexes.iter().map(PathBuf::as_path).collect();
    let first = SubstringIndex::open(folders[0])?.ok_or_else(|| super::no_index(folders[0]))?;
    if first.tokenizer().is_some() {
        let file = folders[0].join(super::TOKENIZER_FILE);
        write_private(&staged.path().join(super::TOKENIZER_FILE), &Bytes::open(&file)?)?;
    }
    join(&folders, &staged, room, context)?;
    finish(staged, &output.output, context)
}

/// A share of the memory for what is sorted: a list that grows may take twice its size for a moment.
fn room_of(memory: u64, scratch: &Scratch) -> Room<'_> {
    Room { n_bytes: usize::try_from(memory).unwrap_or(usize::MAX) / 4, scratch }
}

/// Writes an index of the documents of several, in their order.
fn join(folders: &[&Path], staged: &StagedDir, room: Room<'_>, context: &Context<'_>) -> anyhow::Result<()> {
    let parts: Vec<(SubstringIndex, Corpus)> =
        folders.iter().map(|folder| super::open(folder, context)).collect::<anyhow::Result<_>>()?;
    let [(first, _), ..] = &parts[..] else { return Ok(()) };
    check_lengths(parts.iter().map(|(part, _)| part.min_len()))?;
    if parts.iter().any(|(part, _)| part.origin().reading != first.origin().reading) {
        return Err(failure::usage(
            "the corpora of the indexes were read with different flags; build one anew",
        ));
    }
    let inputs = parts.iter().flat_map(|(part, _)| part.origin().inputs.clone()).collect();
    let origin = Origin { inputs, ..first.origin().clone() };
    let tokenizer = super::tokenizer_of(folders[0], first)?.map(super::token_fn);
    let config = IndexConfig { min_len: first.min_len(), tokenizer, origin };
    let corpus = super::corpus_of(&config.origin, context)?;
    let indexed: Result<Vec<_>, _> = parts.iter().map(|(part, corpus)| part.of(corpus)).collect();
    SubstringIndex::merge(&indexed?, &corpus, &config, (staged.path(), room), context.teller)?;
    Ok(corpus.verify_unchanged()?)
}

fn check_lengths(lengths: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
    let lengths: BTreeSet<usize> = lengths.into_iter().collect();
    match lengths.len() > 1 {
        false => Ok(()),
        true => {
            Err(failure::usage(format!("only indexes of one --min-length can be joined, not of {lengths:?}")))
        }
    }
}

fn finish(staged: StagedDir, output: &Path, context: &Context<'_>) -> anyhow::Result<()> {
    context.check()?;
    staged.commit()?;
    let index = SubstringIndex::open(output)?.context("the index that was just written is not there")?;
    super::tell(&index, context)
}

//! `verbatim index`: saves what a corpus is searched and compared by, and looks strings up.

mod build;
mod lookup;
mod signatures;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use verbatim_corpus::{Corpus, Origin, is_object_url};
use verbatim_index::{SubstringIndex, TokenFn};
use verbatim_lm::Tokenizer;
use verbatim_report::IndexFacts;

use crate::args::{Index, IndexCommand, Reading};
use crate::commands::{Context, reading};
use crate::failure;

pub(crate) fn run(arguments: &Index, context: &Context<'_>) -> anyhow::Result<()> {
    match &arguments.command {
        IndexCommand::Build(arguments) => build::build(arguments, context),
        IndexCommand::Merge(arguments) => build::merge(arguments, context),
        IndexCommand::Verify(arguments) => lookup::verify(arguments, context),
        IndexCommand::Count(arguments) => lookup::count(arguments, context),
        IndexCommand::Locate(arguments) => lookup::locate(arguments, context),
        IndexCommand::Signatures(arguments) => signatures::run(arguments, context),
    }
}

/// Where the inputs are, whatever folder a later run is started in.
fn origin(inputs: &[PathBuf], reading: &Reading) -> anyhow::Result<Origin> {
    if inputs.iter().any(|input| input.as_os_str() == "-") {
        return Err(failure::usage("an index needs inputs that can be read again, not standard input"));
    }
    let absolute = |input: &PathBuf| match is_object_url(input) {
        true => Ok(input.clone()),
        false => std::path::absolute(input),
    };
    let inputs: Result<Vec<PathBuf>, _> = inputs.iter().map(absolute).collect();
    Ok(Origin { inputs: inputs?, against: Vec::new(), reading: reading.config()? })
}

/// The file of an index of tokens that makes them.
const TOKENIZER_FILE: &str = "tokenizer.json";

/// The tokenizer of an index of tokens.
fn tokenizer_of(folder: &Path, index: &SubstringIndex) -> anyhow::Result<Option<Tokenizer>> {
    let Some(hash) = index.tokenizer() else { return Ok(None) };
    let path = folder.join(TOKENIZER_FILE);
    let tokenizer = Tokenizer::open(&path)?;
    match tokenizer.sha256() == hash {
        true => Ok(Some(tokenizer)),
        false => Err(index.not_its(&path).into()),
    }
}

/// What makes tokens for an index.
fn token_fn(tokenizer: Tokenizer) -> (TokenFn, String) {
    let hash = tokenizer.sha256().to_owned();
    (Arc::new(move |text: &str| tokenizer.encode(text)), hash)
}

/// Opens an index and its corpus.
fn open(folder: &Path, context: &Context<'_>) -> anyhow::Result<(SubstringIndex, Corpus)> {
    let index = SubstringIndex::open(folder)?.ok_or_else(|| no_index(folder))?;
    let corpus = corpus_of(index.origin(), context)?;
    Ok((index, corpus))
}

fn no_index(folder: &Path) -> anyhow::Error {
    failure::usage(format!("{} is no folder that `index build` wrote", folder.display()))
}

/// Opens the corpus of an index as it was read for that.
pub(crate) fn corpus_of(origin: &Origin, context: &Context<'_>) -> anyhow::Result<Corpus> {
    let config = reading::here(origin.reading.clone());
    let corpus = Corpus::open(&origin.inputs, &config, context.teller).context("cannot read the corpus")?;
    context.check()?;
    Ok(corpus)
}

/// Tells what an index is, on standard output.
fn tell(index: &SubstringIndex, context: &Context<'_>) -> anyhow::Result<()> {
    context.teller.finish();
    let facts = IndexFacts {
        unit: if index.tokenizer().is_some() { "tokens" } else { "bytes" },
        min_length: index.min_len() as u64,
        n_documents: index.n_documents(),
        n_symbols: index.n_symbols(),
        n_anchors: index.n_anchors(),
        index_bytes: index.n_bytes(),
    };
    let text = if context.json { facts.to_json() } else { facts.to_string() };
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

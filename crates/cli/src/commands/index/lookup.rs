//! `verbatim index count`, `locate` and `verify`: ask an index.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, OpenConfig, TextUnit};
use verbatim_index::{Engine, Located, Locator, TOKEN_BYTES, TokenFn, for_each_token, token_bytes};
use verbatim_lm::Tokenizer;
use verbatim_report::{LookupLine, LookupPlace};

use crate::args::{self, IndexCount, IndexLocate, IndexQueries, IndexVerify};
use crate::commands::Context;
use crate::commands::reading::field;

/// Strings that are looked for at once, and their bytes.
const BATCH_STRINGS: usize = 1 << 20;
const BATCH_BYTES: usize = 64 << 20;

/// How places are told.
struct Telling {
    limit: usize,
    context: usize,
}

pub(super) fn verify(arguments: &IndexVerify, context: &Context<'_>) -> anyhow::Result<()> {
    let (index, corpus) = super::open(&arguments.index, context)?;
    index.of(&corpus)?;
    index.verify(context.teller)?;
    super::tokenizer_of(&arguments.index, &index)?;
    context.check()?;
    super::tell(&index, context)
}

pub(super) fn count(arguments: &IndexCount, context: &Context<'_>) -> anyhow::Result<()> {
    look_up(&arguments.queries, &Telling { limit: 0, context: 0 }, context)
}

pub(super) fn locate(arguments: &IndexLocate, context: &Context<'_>) -> anyhow::Result<()> {
    let telling = Telling { limit: arguments.limit as usize, context: arguments.context as usize };
    look_up(&arguments.queries, &telling, context)
}

fn look_up(arguments: &IndexQueries, telling: &Telling, context: &Context<'_>) -> anyhow::Result<()> {
    let (index, corpus) = super::open(&arguments.index, context)?;
    let locator = Locator {
        corpus: &corpus,
        index: Some(index.of(&corpus)?),
        engine: match arguments.engine {
            args::Engine::Auto => None,
            args::Engine::Index => Some(Engine::Index),
            args::Engine::Scan => Some(Engine::Scan),
            args::Engine::Suffix => Some(Engine::Suffix),
        },
        most_places: telling.limit,
        memory: usize::try_from(arguments.memory).unwrap_or(usize::MAX),
    };
    let tokenizer = super::tokenizer_of(&arguments.index, &index)?;
    let tokens: Option<TokenFn> = tokenizer.clone().map(|tokenizer| super::token_fn(tokenizer).0);
    let queries = Queries::of(arguments, context)?;
    let (mut n_found, mut n_by_index) = (0, 0);
    let mut start = 0;
    while start < queries.len() {
        let end = queries.batch_end(start);
        let texts: Vec<Vec<u8>> = (start..end).map(|i| queries.text(i)).collect();
        let symbols: Cow<'_, [Vec<u8>]> = match &tokens {
            None => Cow::Borrowed(&texts),
            Some(tokens) => texts.par_iter().map(|text| token_bytes(text, tokens)).collect(),
        };
        let slices: Vec<&[u8]> = symbols.iter().map(Vec::as_slice).collect();
        let located = locator.locate(&slices, context.teller)?;
        context.teller.finish();
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for ((i, text), (symbols, located)) in (start..end).zip(&texts).zip(slices.iter().zip(&located)) {
            n_found += usize::from(located.occurrences.n_occurrences > 0);
            n_by_index += usize::from(located.engine == Engine::Index);
            let query = queries.name(i);
            let tokens = tokenizer.as_ref().map(|tokenizer| (tokenizer, symbols.len() / TOKEN_BYTES));
            let line = line((&query, text.len(), tokens), located, (&corpus, telling));
            line.write(&mut out, context.json).context("standard output")?;
        }
        out.flush().context("standard output")?;
        start = end;
    }
    corpus.verify_unchanged()?;
    let n = queries.len();
    context
        .note(&format!("{n_found} of {n} strings stand in the corpus; the index answered for {n_by_index}"));
    Ok(())
}

/// What is told of a string of so many bytes, and tokens, if the index is of these.
fn line<'a>(
    (query, n_bytes, tokens): (&'a str, usize, Option<(&Tokenizer, usize)>),
    located: &Located,
    (corpus, telling): (&Corpus, &Telling),
) -> LookupLine<'a> {
    let occurrences = &located.occurrences;
    let place = |&(doc, at): &(DocId, u64)| {
        let names = (corpus.label(doc), corpus.location(doc).to_string());
        let text = corpus.text(doc);
        match tokens {
            None => LookupPlace::new(names, &text, [at, at + n_bytes as u64], telling.context),
            Some((tokenizer, n_tokens)) => {
                let range = [at, at + n_tokens as u64];
                let bytes = bytes_of(tokenizer, &text, range);
                LookupPlace { tokens: Some(range), ..LookupPlace::new(names, &text, bytes, telling.context) }
            }
        }
    };
    LookupLine {
        query,
        n_bytes,
        engine: match located.engine {
            Engine::Index => "index",
            Engine::Scan => "scan",
            Engine::Suffix => "suffix",
        },
        n_documents: occurrences.n_documents,
        n_occurrences: occurrences.n_occurrences,
        places: (telling.limit > 0).then(|| occurrences.places.iter().map(place).collect()),
    }
}

/// The bytes of a text that some of its tokens stand for.
fn bytes_of(tokenizer: &Tokenizer, text: &[u8], tokens: [u64; 2]) -> [u64; 2] {
    let mut begins = Vec::new();
    for_each_token(text, |text| tokenizer.encode_with_places(text), |_, place| begins.push(place));
    tokens.map(|token| begins.get(token as usize).copied().unwrap_or(text.len()) as u64)
}

/// What is looked for.
enum Queries<'a> {
    Given(&'a [String]),
    Read(Corpus),
}

impl<'a> Queries<'a> {
    fn of(arguments: &'a IndexQueries, context: &Context<'_>) -> anyhow::Result<Self> {
        if arguments.queries.is_empty() {
            return Ok(Queries::Given(&arguments.texts));
        }
        let config = OpenConfig {
            text_field: field("text-field", &arguments.text_field)?,
            id_field: Some(field("id-field", &arguments.id_field)?),
            text_unit: TextUnit::Line,
            ..OpenConfig::standard()
        };
        let files: &[PathBuf] = &arguments.queries;
        let corpus = Corpus::open(files, &config, context.teller).context("cannot read --queries")?;
        Ok(Queries::Read(corpus))
    }

    fn len(&self) -> usize {
        match self {
            Queries::Given(texts) => texts.len(),
            Queries::Read(corpus) => corpus.n_documents() as usize,
        }
    }

    fn text(&self, i: usize) -> Vec<u8> {
        match self {
            Queries::Given(texts) => texts[i].clone().into_bytes(),
            Queries::Read(corpus) => corpus.text(DocId(i as u64)).into_owned(),
        }
    }

    /// The number of a string that was given, from 1; the id or the place of one that was read.
    fn name(&self, i: usize) -> String {
        match self {
            Queries::Given(_) => (i + 1).to_string(),
            Queries::Read(corpus) => corpus.label(DocId(i as u64)),
        }
    }

    /// Where the next batch ends.
    fn batch_end(&self, start: usize) -> usize {
        let most = self.len().min(start + BATCH_STRINGS);
        let Queries::Read(corpus) = self else { return most };
        start + corpus.n_fitting((start..most).map(|i| DocId(i as u64)), BATCH_BYTES)
    }
}

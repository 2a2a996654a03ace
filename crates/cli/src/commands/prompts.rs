//! Which prompts `extract` continues, from the arguments.

use verbatim_corpus::Corpus;
use verbatim_extraction::{PromptPlaces, Prompts};
use verbatim_report::Provenance;
use verbatim_store::Bytes;

use crate::args::{Extract, PromptSet};
use crate::commands::{Context, extract, reading};
use crate::failure;

/// Prompts that continue like text from the internet, written for this project.
const INTERNET: &str = include_str!("../../../../prompts/internet.txt");

/// Prompts that repeat a word, written for this project.
const DIVERGENCE: &str = include_str!("../../../../prompts/divergence.txt");

/// Prompts, or where they are cut from.
pub(crate) enum PromptSource {
    Listed(Vec<String>),
    Corpus(Box<Corpus>, u32),
}

impl PromptSource {
    pub(crate) fn open(arguments: &Extract, context: &Context<'_>) -> anyhow::Result<Self> {
        if !arguments.prompts_from.is_empty() {
            let (_, corpus) = extract::open_corpus(
                &arguments.prompts_from,
                "--prompts-from",
                (&arguments.reading, context),
            )?;
            let corpus = corpus.ok_or_else(|| failure::usage("--prompts-from names no corpus"))?;
            return Ok(PromptSource::Corpus(Box::new(corpus), arguments.prompt_tokens));
        }
        let Some(path) = &arguments.prompts else {
            return Ok(PromptSource::Listed(match arguments.prompt_set {
                PromptSet::Internet => built_in(),
                PromptSet::Divergence => verbatim_extraction::parse_prompts(DIVERGENCE),
            }));
        };
        let bytes = Bytes::open(path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| failure::usage(format!("{}: not UTF-8: {error}", path.display())))?;
        Ok(PromptSource::Listed(verbatim_extraction::parse_prompts(text)))
    }

    pub(crate) fn prompts(&self) -> Prompts<'_> {
        match self {
            PromptSource::Listed(texts) => Prompts::Listed(texts.clone()),
            PromptSource::Corpus(corpus, n_tokens) => {
                Prompts::Places(PromptPlaces { corpus, n_tokens: *n_tokens as usize })
            }
        }
    }

    /// What decides which prompt a sample has, beside the seed.
    pub(crate) fn identity(&self) -> String {
        match self {
            PromptSource::Listed(texts) => verbatim_store::xxh3_128_hex(texts.join("\n").as_bytes()),
            PromptSource::Corpus(corpus, n_tokens) => {
                format!("{n_tokens} tokens of {}", corpus.fingerprint())
            }
        }
    }

    /// The same in a report.
    pub(crate) fn told_in(&self, provenance: Provenance) -> Provenance {
        match self {
            PromptSource::Listed(_) => provenance.parameter("prompts_xxh3", self.identity()),
            PromptSource::Corpus(corpus, n_tokens) => provenance
                .corpus(reading::used("prompts", corpus))
                .parameter("prompts_from", corpus.fingerprint())
                .parameter("prompt_tokens", *n_tokens),
        }
    }

    /// Fails if the corpus was changed under the run.
    pub(crate) fn verify_unchanged(&self) -> anyhow::Result<()> {
        match self {
            PromptSource::Listed(_) => Ok(()),
            PromptSource::Corpus(corpus, _) => Ok(corpus.verify_unchanged()?),
        }
    }
}

/// The prompts of the conditioned strategy where none are given.
pub(crate) fn built_in() -> Vec<String> {
    verbatim_extraction::parse_prompts(INTERNET)
}

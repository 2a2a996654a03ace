//! How a corpus is read, from the arguments.

use std::path::PathBuf;

use anyhow::Context as _;
use verbatim_corpus::{Corpus, MaxBad, OnBad, OpenConfig, Surrogates, TextUnit};
use verbatim_report::CorpusUsed;

use crate::args::{self, Reading};
use crate::commands::Context;
use crate::failure;

impl Reading {
    pub(crate) fn config(&self) -> anyhow::Result<OpenConfig> {
        let field = |flag: &str, text: &str| {
            text.parse().map_err(|error| failure::usage(format!("--{flag} `{text}`: {error}")))
        };
        Ok(OpenConfig {
            text_field: field("text-field", &self.text_field)?,
            id_field: Some(field("id-field", &self.id_field)?),
            text_unit: match self.text_unit {
                args::TextUnit::File => TextUnit::File,
                args::TextUnit::Line => TextUnit::Line,
            },
            on_bad: match self.on_bad {
                args::OnBad::Error => OnBad::Error,
                args::OnBad::Skip => OnBad::Skip,
            },
            max_bad: match self.max_bad {
                args::MaxBad::Share(share) => MaxBad::Fraction(share),
                args::MaxBad::Records(n) => MaxBad::Records(n),
            },
            surrogates: match self.surrogates {
                args::Surrogates::Error => Surrogates::Error,
                args::Surrogates::Replace => Surrogates::Replace,
            },
            max_doc_bytes: self.max_doc_bytes,
            max_decoded_bytes: self.max_decompressed,
            max_zstd_window_log: self.zstd_window_log,
            follow_links: self.follow,
            allow_repeat: self.allow_repeat,
            require_documents: self.require_docs,
            map_files: !self.no_mmap,
        })
    }

    /// Opens the corpus; what is odd about it belongs into the report.
    pub(crate) fn open(&self, inputs: &[PathBuf], context: &Context<'_>) -> anyhow::Result<Corpus> {
        self.open_against(inputs, &[], context)
    }

    /// Opens the corpus and what it is compared with.
    pub(crate) fn open_against(
        &self,
        inputs: &[PathBuf],
        against: &[PathBuf],
        context: &Context<'_>,
    ) -> anyhow::Result<Corpus> {
        let corpus = Corpus::open_against(inputs, against, &self.config()?, context.teller)
            .context("cannot read the corpus")?;
        context.check()?;
        note_rejects(&corpus, context);
        Ok(corpus)
    }
}

/// Tells how many records of a corpus were left out, if any.
pub(crate) fn note_rejects(corpus: &Corpus, context: &Context<'_>) {
    if let [first, ..] = corpus.rejects() {
        let n = corpus.rejects().len();
        context.note(&format!("{n} record{} left out, the first: {first}", if n == 1 { "" } else { "s" }));
    }
}

/// Tells what is odd about a corpus where no report does.
pub(crate) fn warn(corpus: &Corpus, context: &Context<'_>) {
    for warning in corpus.warnings() {
        context.note(&format!("warning: {warning}"));
    }
}

/// What a corpus was compared with, as a report names it, if there was something.
pub(crate) fn references_used(corpus: &Corpus) -> Option<CorpusUsed> {
    let n_documents = corpus.references().len() as u64;
    (n_documents > 0).then(|| CorpusUsed {
        role: "against".to_owned(),
        fingerprint: corpus.reference_fingerprint(),
        n_documents,
        text_bytes: corpus.reference_text_bytes(),
        n_rejected: 0,
    })
}

/// The corpus as a report names it.
pub(crate) fn used(role: &str, corpus: &Corpus) -> CorpusUsed {
    CorpusUsed {
        role: role.to_owned(),
        fingerprint: corpus.fingerprint().to_owned(),
        n_documents: corpus.n_documents(),
        text_bytes: corpus.text_bytes(),
        n_rejected: corpus.rejects().len() as u64,
    }
}

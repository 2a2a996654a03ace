//! How a corpus is read, from the arguments.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use verbatim_corpus::{
    Corpus, FieldPath, MaxBad, ObjectStoreOptions, OnBad, OpenConfig, Surrogates, TextUnit,
};
use verbatim_report::CorpusUsed;

use crate::args::{self, Reading};
use crate::commands::Context;
use crate::failure;

/// What the names of variables that say how object stores are reached begin with.
const OBJECT_STORE_PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

impl Reading {
    pub(crate) fn config(&self) -> anyhow::Result<OpenConfig> {
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
            scratch: std::env::temp_dir(),
            object_stores: ObjectStoreOptions::default(),
        })
    }

    /// Opens the corpus; what is odd about it belongs into the report.
    pub(crate) fn open(&self, inputs: &[PathBuf], context: &Context<'_>) -> anyhow::Result<Corpus> {
        self.open_against([inputs, &[]], None, context)
    }

    /// Opens the corpus and what it is compared with; temporary files lie beside what `--scratch` names.
    pub(crate) fn open_against(
        &self,
        [inputs, against]: [&[PathBuf]; 2],
        scratch: Option<&Path>,
        context: &Context<'_>,
    ) -> anyhow::Result<Corpus> {
        let mut config = here(self.config()?);
        if let Some(folder) = scratch {
            config.scratch = nearest_folder(folder)?;
        }
        let corpus = Corpus::open_against(inputs, against, &config, context.teller)
            .context("cannot read the corpus")?;
        context.check()?;
        note_rejects(&corpus, context);
        Ok(corpus)
    }
}

/// The field that a flag names.
pub(crate) fn field(flag: &str, text: &str) -> anyhow::Result<FieldPath> {
    text.parse().map_err(|error| failure::usage(format!("--{flag} `{text}`: {error}")))
}

/// The same reading with what the environment says of object stores. It changes no result and can hold secrets, so
/// plans and indexes do not have it.
pub(crate) fn here(reading: OpenConfig) -> OpenConfig {
    let options = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_of_a_store = OBJECT_STORE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        Some((name, value.into_string().ok().filter(|_| is_of_a_store)?))
    });
    OpenConfig { object_stores: ObjectStoreOptions(options.collect()), ..reading }
}

/// The folder, or that around it that is there already: files without a name need none of their own.
fn nearest_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(folder)?;
    let found = absolute.ancestors().find(|ancestor| ancestor.is_dir());
    Ok(found.unwrap_or(&absolute).to_path_buf())
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

//! `verbatim infer`: how well a model's own words tell what it was trained on from what it was not, and which texts they call
//! members.

mod asked;
mod records;
mod sets;
mod texts;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId};
use verbatim_lm::{Checkpoint, LossGradient, Resources, Tokenizer};
use verbatim_membership::{Inferring, Need, Shots, Signal, TextSignals, text_signals};
use verbatim_report::Provenance;
use verbatim_store::{Progress, Scratch, StagedDir};

use self::asked::Asked;
use crate::args::{DOCUMENTS, Infer, Reading};
use crate::commands::{Context, answers, check_apart, model, reading};
use crate::failure;

/// Documents whose tokens are counted between two looks at whether to stop.
const COUNTED_AT_ONCE: usize = 4096;

pub(crate) fn run(arguments: &Infer, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    match (&arguments.records, arguments.texts.is_empty()) {
        (Some(folder), _) => records::run(folder, arguments, context),
        (None, true) => sets::run(arguments, context),
        (None, false) => texts::run(arguments, context),
    }
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &Infer) -> impl Iterator<Item = &Path> {
    let Infer { members, non_members, texts, calibrate, frequencies, .. } = arguments;
    let corpora = [members, non_members, texts, calibrate, frequencies].into_iter().flatten();
    let model = arguments.checkpoint.as_ref().map(|flags| &flags.model);
    let models = model.into_iter().chain(&arguments.reference).map(Path::new);
    corpora.chain(&arguments.records).map(PathBuf::as_path).chain(models)
}

/// Texts that are drawn of each set; without a number, all are taken.
fn documents(arguments: &Infer) -> Option<u32> {
    arguments.documents.or_else(|| arguments.texts.is_empty().then_some(DOCUMENTS))
}

/// The texts of one set, in the order of their documents.
pub(crate) struct Set {
    pub(crate) corpus: Corpus,
    pub(crate) chosen: Vec<DocId>,
}

impl Set {
    /// Opens a corpus and draws its texts.
    pub(crate) fn open(
        inputs: &[PathBuf],
        reading: &Reading,
        (n, seed): (Option<u32>, u64),
        context: &Context<'_>,
    ) -> anyhow::Result<Set> {
        let corpus = reading.open(inputs, context)?;
        let n = n.map_or(corpus.n_documents(), u64::from);
        let drawn = corpus.draw_order(n, seed);
        let with_text = drawn.into_iter().filter(|id| !corpus.is_blank(*id));
        let mut chosen: Vec<DocId> = with_text.take(usize::try_from(n)?).collect();
        chosen.sort_unstable();
        Ok(Set { corpus, chosen })
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.chosen.iter().map(|id| self.corpus.text_str(*id).into_owned()).collect()
    }
}

/// The models that are asked, and how often each token stands in the corpus of `--frequencies`.
struct Models {
    target: Checkpoint,
    reference: Option<Checkpoint>,
    /// Taken out when it is used.
    gradient: Option<LossGradient>,
    frequencies: Option<(Corpus, Vec<u64>)>,
}

impl Models {
    /// Opens what the signals need; those of `all` that this model cannot give are taken out of `asked`.
    fn open(arguments: &Infer, asked: &mut Asked, context: &Context<'_>) -> anyhow::Result<Models> {
        let runtime = model::runtime(&arguments.runtime);
        let frequencies = match asked.any(Need::Counts) {
            true => Some(arguments.reading.open(&arguments.frequencies, context)?),
            false => None,
        };
        let Some(flags) = &arguments.checkpoint else {
            return Err(failure::usage("give --model MODEL, or --records DIR of an earlier run"));
        };
        let target = model::open_asked(flags, &arguments.runtime, context)?;
        let reference = arguments.reference.as_deref().filter(|_| asked.any(Need::Reference));
        let reference = reference.map(|name| model::open(name, "main", runtime, context)).transpose()?;
        let gradient = match asked.any(Need::Gradient).then(|| LossGradient::of(&target)) {
            None => None,
            Some(Ok(gradient)) => Some(gradient),
            Some(Err(error)) => {
                asked.leave_out(Need::Gradient, error)?;
                None
            }
        };
        let count = |corpus: Corpus| -> anyhow::Result<_> {
            let counts = token_counts(&corpus, &target.tokenizer, context)?;
            Ok((corpus, counts))
        };
        let frequencies = frequencies.map(count).transpose()?;
        Ok(Models { target, reference, gradient, frequencies })
    }

    /// What each signal says of each text.
    fn ask(
        &mut self,
        texts: &[&str],
        (asked, shots): (&Asked, Option<&Shots>),
        arguments: &Infer,
        (scratch, context): (&Scratch, &Context<'_>),
    ) -> anyhow::Result<Vec<TextSignals>> {
        let gradient = self.gradient.take();
        let mut inferring = Inferring {
            target: self.target.text_model(),
            reference: self.reference.as_ref().map(Checkpoint::text_model),
            gradient,
            counts: self.frequencies.as_ref().map(|(_, counts)| &counts[..]),
            shots,
            most_tokens: arguments.max_tokens as usize,
            seed: arguments.seed,
            keeps_records: arguments.keep_records,
        };
        let model = inferring.target.model;
        let batch = || model::batch(model, inferring.most_tokens.min(model.context_len()));
        let batch = arguments.batch.map_or_else(batch, usize::from);
        let resources = Resources { batch, scratch, progress: context.teller };
        let said = text_signals(&mut inferring, asked.signals(), texts, resources)?;
        context.check()?;
        Ok(said)
    }

    /// Where the models' answers are kept; without `--scratch`, nowhere. `about` says which texts are asked about.
    fn scratch(
        &self,
        about: &Value,
        asked: &Asked,
        arguments: &Infer,
        at: (&StagedDir, &Context<'_>),
    ) -> anyhow::Result<Scratch> {
        let task = json!({"infer": {
            "model": model::hashes(&self.target),
            "reference": self.reference.as_ref().map(model::hashes),
            "frequencies": self.frequencies.as_ref().map(|(corpus, _)| corpus.fingerprint().to_owned()),
            "texts": about,
            "signals": asked.signals().iter().map(|signal| signal.name()).collect::<Vec<_>>(),
            "documents": documents(arguments),
            "max_tokens": arguments.max_tokens,
            "seed": arguments.seed,
            "keep_records": arguments.keep_records,
            "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
        }});
        let others = files_read(arguments).chain([arguments.output.output.as_path()]);
        answers(&arguments.answering, others, &task, (at.0.path(), at.1))
    }

    /// What the report says that the result was computed from.
    fn provenance(&self, asked: &Asked, fprs: &[f64], arguments: &Infer) -> Provenance {
        let signals: Vec<&str> = asked.signals().iter().map(|signal| signal.name()).collect();
        let mut provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
            .seed("draw", arguments.seed)
            .parameter("documents", documents(arguments))
            .parameter("max_tokens", arguments.max_tokens)
            .parameter("fpr", fprs.to_vec())
            .parameter("signals", signals)
            .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
            .model(model::used("target", &self.target));
        if let Some(reference) = &self.reference {
            provenance = provenance.model(model::used("reference", reference));
        }
        if let Some((corpus, _)) = &self.frequencies {
            provenance = provenance.corpus(reading::used("frequencies", corpus));
        }
        provenance
    }

    fn verify_unchanged(&self) -> anyhow::Result<()> {
        match &self.frequencies {
            Some((corpus, _)) => Ok(corpus.verify_unchanged()?),
            None => Ok(()),
        }
    }
}

/// How often each token stands in a corpus, by id.
fn token_counts(corpus: &Corpus, tokenizer: &Tokenizer, context: &Context<'_>) -> anyhow::Result<Vec<u64>> {
    context.teller.stage("count tokens", Some(corpus.n_documents()), "documents");
    let mut counts = vec![0u64; tokenizer.vocab_size()];
    let ids: Vec<DocId> = corpus.ids().collect();
    for ids in ids.chunks(COUNTED_AT_ONCE) {
        context.check()?;
        let of_documents = |ids: &[DocId]| {
            let mut counts = vec![0u64; tokenizer.vocab_size()];
            let tokens = ids.iter().flat_map(|id| tokenizer.encode(&corpus.text_str(*id)));
            tokens.for_each(|token| counts[token as usize] += 1);
            counts
        };
        let found: Vec<Vec<u64>> = ids.par_chunks(COUNTED_AT_ONCE / 16).map(of_documents).collect();
        for found in found {
            counts.iter_mut().zip(found).for_each(|(count, more)| *count += more);
        }
        context.teller.advance(ids.len() as u64);
    }
    Ok(counts)
}

/// The values of one signal, the `at`-th that was asked for.
fn column(texts: &[TextSignals], at: usize) -> Vec<Option<f64>> {
    texts.iter().map(|text| text.values[at]).collect()
}

/// Why a signal that was named cannot be had.
fn lacking(signal: Signal, what: &str) -> anyhow::Error {
    failure::usage(format!("the signal {signal} {what}"))
}

//! `verbatim evaluate`: how good a run was, by labels.

use rayon::prelude::*;
use verbatim_corpus::DocId;
use verbatim_dedup::{Decided, Labels, evaluate};
use verbatim_report::{EvaluateBody, Report, evaluate_text};
use verbatim_store::sha256_file;

use crate::args::Evaluate;
use crate::commands::{Context, dedup, review};

pub(crate) fn run(arguments: &Evaluate, context: &Context<'_>) -> anyhow::Result<()> {
    let (plan, corpus) = review::open(&arguments.run, &arguments.corpus, context)?;
    let ids: Vec<String> =
        (0..corpus.n_documents()).into_par_iter().map(|doc| corpus.label(DocId(doc))).collect();
    context.check()?;
    let labels = Labels::read(&arguments.truth, &ids, arguments.truth_threshold)?;
    let found = evaluate(&Decided::new(&plan, &labels.docs), &labels.truth);
    corpus.verify_unchanged()?;
    let mut warnings = Vec::new();
    if labels.n_unknown > 0 {
        warnings.push(format!(
            "the truth names {} ids that no document has; they were left out",
            labels.n_unknown
        ));
    }
    if found.n_unjudged > 0 {
        let n = found.n_unjudged;
        warnings
            .push(format!("{n} documents go for one without a label; nobody can say whether that is right"));
    }
    let provenance = dedup::provenance(&corpus, &plan)?
        .parameter("truth_sha256", sha256_file(&arguments.truth)?)
        .parameter("truth_threshold", arguments.truth_threshold);
    let n_unlabelled = corpus.n_documents() - found.n_documents;
    let report = Report::new(EvaluateBody::new(provenance, &found, n_unlabelled, warnings), context.run());
    context.tell(&report, &evaluate_text(&report.result))
}

//! `verbatim explain`: why a document was removed or kept.

use std::io::IsTerminal;
use std::sync::Arc;

use verbatim_corpus::{Corpus, DocId};
use verbatim_dedup::{Keep, Plan, documents_named};
use verbatim_index::{TokenFn, Unit};
use verbatim_lm::Tokenizer;
use verbatim_report::{
    ComparisonBody, DocumentRow, ExplainBody, GoneRow, PrintableLine, RemovalRow, Report, Reveal,
    explain_text,
};

use crate::args::Explain;
use crate::commands::{Context, dedup, review};
use crate::failure;

/// Columns where nobody can say how wide the screen is.
const COLUMNS: usize = 100;

pub(crate) fn run(arguments: &Explain, context: &Context<'_>) -> anyhow::Result<()> {
    let (plan, corpus) = review::open(&arguments.run, &arguments.corpus, context)?;
    let named = documents_named(&corpus, &arguments.id);
    let [doc, ..] = named[..] else {
        let id = PrintableLine(&arguments.id);
        return Err(failure::missing(format!("no document `{id}` in the corpus of this plan")));
    };
    let mut warnings = Vec::new();
    if named.len() > 1 {
        let place = corpus.location(doc);
        warnings.push(format!(
            "{} documents have this id; this is the one at {}:{}; name another by its place, file:line",
            named.len(),
            place.path,
            place.line
        ));
    }
    let found = verbatim_dedup::explain(&plan, doc);
    let row = |doc| document_row(&corpus, doc);
    let body = ExplainBody {
        provenance: dedup::provenance(&corpus, &plan)?,
        document: row(doc),
        removal: found.removal.map(|removal| RemovalRow {
            stage: removal.stage.to_string(),
            similarity: removal.similarity,
            kept: row(removal.kept),
        }),
        cluster_size: found.cluster_size,
        exact_key: plan
            .parameters()
            .exact
            .as_ref()
            .and_then(|exact| exact.key.as_ref())
            .map(ToString::to_string),
        nothing_is_kept: plan.parameters().keep == Keep::None,
        goes_for_it: found
            .goes_for_it
            .iter()
            .map(|removal| GoneRow::new(removal, row(removal.doc)))
            .collect(),
        comparison: match found.removal {
            Some(removal) if removal.kept == doc => None,
            Some(removal) => Some(comparison(arguments, (&plan, &corpus), [doc, removal.kept])?),
            None => None,
        },
        warnings,
    };
    corpus.verify_unchanged()?;
    let report = Report::new(body, context.run());
    context.tell(&report, &explain_text(&report.result, columns()))
}

fn document_row(corpus: &Corpus, doc: DocId) -> DocumentRow {
    let (place, text) = (corpus.location(doc), corpus.text_str(doc));
    DocumentRow {
        id: corpus.label(doc),
        path: place.path,
        line: place.line,
        n_bytes: corpus.text(doc).len() as u64,
        n_chars: text.chars().count() as u64,
    }
}

fn comparison(
    arguments: &Explain,
    (plan, corpus): (&Plan, &Corpus),
    docs: [DocId; 2],
) -> anyhow::Result<ComparisonBody> {
    let [removed, kept] = docs.map(|doc| corpus.text_str(doc));
    let overlap = match plan.parameters().shingles() {
        Some(parameters) if parameters.unit != Unit::Token || arguments.tokenizer.is_some() => {
            let shingler = parameters.shingler(tokens(arguments)?)?;
            Some(verbatim_dedup::overlap(&shingler, &removed, &kept))
        }
        _ => None,
    };
    let found = verbatim_dedup::differences(&removed, &kept);
    let reveal = if arguments.reveal { Reveal::Revealed } else { Reveal::Redacted };
    Ok(ComparisonBody::new((&removed, &kept), &found, overlap, reveal))
}

fn tokens(arguments: &Explain) -> anyhow::Result<Option<TokenFn>> {
    let Some(path) = &arguments.tokenizer else { return Ok(None) };
    let tokenizer = Tokenizer::open(path)?;
    Ok(Some(Arc::new(move |text: &str| tokenizer.encode(text))))
}

/// How wide the summary may be.
fn columns() -> usize {
    let stdout = std::io::stdout();
    let size = if stdout.is_terminal() { terminal_size::terminal_size_of(&stdout) } else { None };
    size.map_or(COLUMNS, |(width, _)| usize::from(width.0).clamp(43, 240))
}

//! Attributes beside the documents, in the layout of the Dolma toolkit.

use std::path::Path;

use serde_json::{Map, Value, json};
use verbatim_corpus::{Corpus, DocId, Row, write_rows};
use verbatim_store::Progress;

use crate::cut::CharCounter;
use crate::emit::{Alpha, Copies};
use crate::error::Result;
use crate::plan::Plan;

/// Writes `{"id": …, "attributes": {…}}` for each record, in the order of the records.
///
/// The mixer of that toolkit merges all attributes of a document into one object, so each begins with the name:
/// - `NAME__removed`: spans `[start, end, score]` to take out, in characters (Unicode scalar values, the indices of a
///   Python string); `[[0, length, 1.0]]` for a document that goes, the cuts of one that stays. Left out with
///   weights, under which nothing goes.
/// - `NAME__duplicate_count`: documents in its cluster, itself included.
/// - `NAME__cluster_id`: the id of the kept document of its cluster.
/// - `NAME__weight`, with weights: see [`Alpha`].
///
/// A record that could not be read has a row too, `{"id": null, "attributes": {}}`; a blank line has none.
pub(super) fn write(
    (corpus, copies): (&Corpus, &Copies<'_>),
    (name, weights): (&str, Option<Alpha>),
    folder: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let row = |row| match row {
        Row::Document(doc) => {
            json!({ "id": corpus.label(doc), "attributes": attributes((corpus, copies), (name, weights), doc) })
        }
        Row::Rejected => json!({ "id": null, "attributes": {} }),
    };
    Ok(write_rows(corpus, folder, &row, progress)?)
}

fn attributes(
    (corpus, copies): (&Corpus, &Copies<'_>),
    (name, weights): (&str, Option<Alpha>),
    doc: DocId,
) -> Map<String, Value> {
    let cluster = copies.cluster(doc);
    let mut attributes = Map::new();
    let mut set = |what: &str, value: Value| attributes.insert(format!("{name}__{what}"), value);
    if weights.is_none() {
        let spans = match cluster.removal {
            Some(_) => vec![json!([0, corpus.text_str(doc).chars().count(), 1.0])],
            None => cut_spans(corpus, copies.plan(), doc),
        };
        set("removed", spans.into());
    }
    set("duplicate_count", cluster.size.into());
    set("cluster_id", corpus.label(cluster.kept).into());
    if let Some(alpha) = weights {
        set("weight", alpha.weight(cluster.size).into());
    }
    attributes
}

/// The cuts of a document that stays, in characters.
fn cut_spans(corpus: &Corpus, plan: &Plan, doc: DocId) -> Vec<Value> {
    let cuts = plan.cuts();
    let start = cuts.partition_point(|cut| cut.doc < doc);
    let cuts = &cuts[start..start + cuts[start..].partition_point(|cut| cut.doc == doc)];
    if cuts.is_empty() {
        return Vec::new();
    }
    let text = corpus.text(doc);
    let mut chars = CharCounter::default();
    cuts.iter().map(|cut| json!([chars.at(&text, cut.start), chars.at(&text, cut.end), 1.0])).collect()
}

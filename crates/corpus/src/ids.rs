//! Ids that a person's data gives to more than one document.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::corpus::Corpus;
use crate::document::{DocId, printable, size};
use crate::formats::{Format, jsonl, parquet};
use crate::schema::FieldPath;
use crate::shard::Shard;

/// How many characters of an id a warning shows; the field that was named may hold whole texts.
const N_SHOWN: usize = 80;

/// The id that a field's value is, if it can be one.
pub(crate) fn id_of(value: Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The warning for ids that stand more than once; none for records without an id or with an empty one.
///
/// Ids are compared by their hashes, 16 bytes a document, and then, where hashes are equal, themselves.
pub(crate) fn repeated(corpus: &Corpus, field: &FieldPath) -> Option<String> {
    let mut hashes: Vec<(u64, u64)> =
        corpus.shards().flat_map(|(start, shard)| shard_hashes(shard, start, field)).collect();
    hashes.par_sort_unstable();
    let groups: Vec<&[(u64, u64)]> =
        hashes.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).collect();
    let firsts: Vec<(u64, String)> =
        groups.into_par_iter().flat_map_iter(|group| confirmed(corpus, field, group)).collect();
    let (doc, id) = firsts.iter().min()?;
    let shown: String = id.chars().take(N_SHOWN).collect();
    let cut = if shown.len() < id.len() { "…" } else { "" };
    let place = corpus.location(DocId(*doc));
    let what = match firsts.len() {
        1 => "1 id stands more than once:".to_owned(),
        n => format!("{n} ids stand more than once, the first:"),
    };
    Some(format!("{what} {}{cut} at {}:{}", printable(shown), place.path, place.line))
}

/// The ids among documents of one hash that stand more than once, each with its first document.
fn confirmed(corpus: &Corpus, field: &FieldPath, group: &[(u64, u64)]) -> Vec<(u64, String)> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for &(_, doc) in group {
        if let Some(id) = corpus.field(DocId(doc), field).and_then(id_of) {
            found.entry(id).or_insert((doc, 0)).1 += 1;
        }
    }
    found.into_iter().filter(|(_, (_, n))| *n > 1).map(|(id, (doc, _))| (doc, id)).collect()
}

/// (hash of the id, document) for each document of a shard that seems to have one.
fn shard_hashes(shard: &Shard, start: u64, field: &FieldPath) -> Vec<(u64, u64)> {
    let pair = |doc: u64, value: Value| {
        let id = id_of(value).filter(|id| !id.is_empty())?;
        Some((xxh3_64(id.as_bytes()), start + doc))
    };
    match shard.format {
        Format::Text(_) => Vec::new(),
        Format::Jsonl => {
            let value = |i: usize| jsonl::first(shard.spans[i].record(shard.content()), field);
            (0..shard.spans.len())
                .into_par_iter()
                .filter_map(|i| value(i).and_then(|value| pair(size(i), value)))
                .collect()
        }
        // The column is not kept: most runs never ask for it again.
        Format::Parquet => {
            let values = parquet::values(&shard.file, &shard.path, field);
            let value = |doc: u64| values.get(shard.row_of(doc)).cloned().flatten();
            (0..size(shard.spans.len()))
                .filter_map(|doc| value(doc).and_then(|value| pair(doc, value)))
                .collect()
        }
    }
}

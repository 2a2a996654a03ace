//! Ids that a person's data gives to more than one document.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;
use verbatim_store::{Scratch, Sorter};
use xxhash_rust::xxh3::xxh3_64;

use crate::corpus::Corpus;
use crate::document::{DocId, index, printable};
use crate::error::Result;
use crate::schema::FieldPath;

/// Bytes of hashes that are sorted in memory; more are sorted on disk. Small in tests, so that they cross the border.
const SORT_BYTES: usize = if cfg!(test) { 64 } else { 64 << 20 };

/// How many characters of an id a warning shows; the field that was named may hold whole texts.
const N_SHOWN: usize = 80;

/// The hash of an id. Equal ids have equal hashes; the reverse is for [`repeated`] to confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdHash(NonZeroU64);

impl IdHash {
    /// The hash of the id that a field's value is, if it can be one; an empty one is none.
    pub(crate) fn of(value: Value) -> Option<IdHash> {
        id_of(value).and_then(|id| IdHash::of_text(&id))
    }

    /// The same of a value that is still JSON.
    pub(crate) fn of_json(json: &str) -> Option<IdHash> {
        let quoted = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match (quoted, json.as_bytes()[0]) {
            (Some(id), _) if !id.contains('\\') => IdHash::of_text(id),
            // Longer ones may not fit 64 bits, and are then written in another way.
            (None, b'0'..=b'9') if json.len() < 20 && json.bytes().all(|b| b.is_ascii_digit()) => {
                IdHash::of_text(json)
            }
            (Some(_), _) | (None, b'-' | b'0'..=b'9') => serde_json::from_str(json).ok().and_then(IdHash::of),
            _ => None,
        }
    }

    fn of_text(id: &str) -> Option<IdHash> {
        let hash = NonZeroU64::new(xxh3_64(id.as_bytes())).unwrap_or(NonZeroU64::MIN);
        (!id.is_empty()).then_some(IdHash(hash))
    }
}

/// The id that a field's value is, if it can be one.
pub(crate) fn id_of(value: Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The hashes of the ids of a shard, by document: 8 bytes each, and nothing where no document has an id.
#[derive(Debug, Default)]
pub(crate) struct ShardIds(Vec<Option<IdHash>>);

impl ShardIds {
    /// Adds the ids of the documents from `first` on.
    pub(crate) fn append(&mut self, first: u64, ids: Vec<Option<IdHash>>) {
        if ids.iter().any(Option::is_some) {
            self.0.resize(index(first), None);
            self.0.extend(ids);
        }
    }
}

impl ShardIds {
    /// The hashes as numbers, 0 where a document has none.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|id| id.map_or(0, |id| id.0.get()))
    }

    /// Those that such numbers stand for.
    pub(crate) fn of_numbers(numbers: impl Iterator<Item = u64>) -> Self {
        ShardIds(numbers.map(|number| NonZeroU64::new(number).map(IdHash)).collect())
    }
}

/// Hashes and documents of a corpus, in bounded memory.
#[derive(Debug)]
pub(crate) struct CorpusIds {
    sorter: Sorter<2>,
    scratch: Scratch,
}

impl CorpusIds {
    /// None yet; what does not fit in memory goes to this folder.
    pub(crate) fn new(scratch: &Path) -> CorpusIds {
        CorpusIds { sorter: Sorter::new("ids", SORT_BYTES), scratch: Scratch::unnamed(scratch) }
    }

    /// Adds the ids of a shard, whose first document has this number.
    ///
    /// # Errors
    /// What the folder for temporary files refuses.
    pub(crate) fn append(&mut self, first: u64, ids: ShardIds) -> Result<()> {
        for (id, document) in ids.0.into_iter().zip(first..) {
            self.sorter.extend(id.map(|id| [id.0.get(), document]));
            self.sorter.spill_if_full(&self.scratch)?;
        }
        Ok(())
    }

    /// The records whose hash another record has as well.
    fn repeated(self) -> Vec<[u64; 2]> {
        let sorted = self.sorter.finish();
        let mut records = sorted.iter().peekable();
        let mut repeated: Vec<[u64; 2]> = Vec::new();
        while let Some(record) = records.next() {
            let is_same = |other: &[u64; 2]| other[0] == record[0];
            if repeated.last().is_some_and(is_same) || records.peek().is_some_and(is_same) {
                repeated.push(record);
            }
        }
        repeated
    }
}

/// The warning for ids that stand more than once; none for records without an id or with an empty one.
///
/// Where hashes are equal, the ids themselves are compared.
pub(crate) fn repeated(corpus: &Corpus, field: &FieldPath, ids: CorpusIds) -> Option<String> {
    let (n, first) = ids
        .repeated()
        .par_chunk_by(|a, b| a[0] == b[0])
        .map(|group| confirmed(corpus, field, group))
        .reduce(|| (0, None), |a, b| (a.0 + b.0, a.1.into_iter().chain(b.1).min()));
    let (doc, id) = first?;
    let shown: String = id.chars().take(N_SHOWN).collect();
    let cut = if shown.len() < id.len() { "…" } else { "" };
    let place = corpus.location(DocId(doc));
    let what = match n {
        1 => "1 id stands more than once:".to_owned(),
        n => format!("{n} ids stand more than once, the first:"),
    };
    Some(format!("{what} {}{cut} at {}:{}", printable(shown), place.path, place.line))
}

/// How many ids among documents of one hash stand more than once, and the first with its first document.
fn confirmed(corpus: &Corpus, field: &FieldPath, group: &[[u64; 2]]) -> (u64, Option<(u64, String)>) {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for &[_, doc] in group {
        if let Some(id) = corpus.field(DocId(doc), field).and_then(id_of) {
            found.entry(id).or_insert((doc, 0)).1 += 1;
        }
    }
    let repeated = found.into_iter().filter(|(_, (_, n))| *n > 1).map(|(id, (doc, _))| (doc, id));
    repeated.fold((0, None), |(n, first), next| (n + 1, first.into_iter().chain([next]).min()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_id_has_one_hash_in_all_its_spellings(text in "[a-b\"\\\\\u{e9}\n]{0,4}", number in proptest::num::u64::ANY) {
            let spelt = serde_json::to_string(&text).unwrap();
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let expected = IdHash::of(Value::from(text.as_str()));
            proptest::prop_assert_eq!(expected.is_none(), text.is_empty());
            proptest::prop_assert_eq!(IdHash::of_json(&spelt), expected);
            proptest::prop_assert_eq!(IdHash::of_json(&format!("\"{escaped}\"")), expected);
            let number = number >> (number % 64);
            for json in [number.to_string(), format!("-{number}"), format!("{number}.5"), format!("1{number}")] {
                let value: Value = serde_json::from_str(&json).unwrap();
                proptest::prop_assert_eq!(IdHash::of_json(&json), IdHash::of(value));
            }
        }
    }

    #[test]
    fn ids_that_memory_has_no_room_for_go_to_the_scratch_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let records: String = (0..9).map(|id| format!("{{\"id\": {id}, \"text\": \"a\"}}\n")).collect();
        verbatim_store::write_shared(&path, records.as_bytes()).unwrap();
        let scratch = folder.path().join("missing");
        let config = crate::schema::OpenConfig { scratch, ..crate::schema::OpenConfig::standard() };
        let error = Corpus::open(&[path], &config, &verbatim_store::Silent).unwrap_err();
        assert!(error.to_string().contains("missing: cannot create"), "{error}");
    }

    #[test]
    fn repeated_hashes_are_found_in_many_shards_and_on_disk() {
        let hash = |n: u64| NonZeroU64::new(n).map(IdHash);
        let mut ids = CorpusIds::new(&std::env::temp_dir());
        let mut expected = Vec::new();
        for shard in 0..20 {
            let mut of_shard = ShardIds::default();
            // Documents 0 to 2 have none, 3 to 6 have two of their own, one of the shard before and the same again.
            of_shard.append(0, vec![None; 3]);
            of_shard.append(3, [100 + shard, 200 + shard, 99 + shard, 200 + shard].map(hash).to_vec());
            of_shard.append(7, vec![None]);
            expected.extend([[200 + shard, shard * 8 + 4], [200 + shard, shard * 8 + 6]]);
            if shard > 0 {
                expected.extend([[99 + shard, shard * 8 - 5], [99 + shard, shard * 8 + 5]]);
            }
            ids.append(shard * 8, of_shard).unwrap();
        }
        expected.sort_unstable();
        assert_eq!(ids.repeated(), expected);
    }

    #[test]
    fn only_strings_and_numbers_are_ids() {
        for json in ["null", "true", "[1]", "{\"a\":1}", "\"\""] {
            assert_eq!(IdHash::of_json(json), None, "{json}");
        }
    }
}

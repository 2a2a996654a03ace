//! Arrow IPC: texts and fields read from files and streams, survivors written with equal schema and values; the
//! arrow crate's own readers are the oracle.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray,
    ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Fields, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use proptest::prelude::*;
use verbatim_corpus::{DocId, OnBad, OpenConfig, Selection, Stretch, write_survivors};
use verbatim_store::Silent;

use crate::fixture::{Folder, assert_bad, causes, gzip, open, open_bytes, skip, texts};

const BATCHES: [std::ops::Range<usize>; 3] = [0..70, 70..90, 90..160];
/// Columns that hold the text of a row, each in another type.
const TEXT_FIELDS: [&str; 5] = ["plain", "large", "view", "word", "meta.text"];

fn text_of(i: usize) -> String {
    format!("text {i} {}", "ä".repeat(i % 40))
}

/// Every 50th text is null, by itself or with the struct that holds it.
fn has_text(i: usize) -> bool {
    i % 50 != 3
}

fn schema() -> Arc<Schema> {
    let meta = Fields::from(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
    ]);
    let word = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    let tags = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let note = |value: &str| HashMap::from([("note".to_owned(), value.to_owned())]);
    Arc::new(Schema::new_with_metadata(
        vec![
            Field::new("id", DataType::Int64, true),
            Field::new("plain", DataType::Utf8, true).with_metadata(note("field")),
            Field::new("large", DataType::LargeUtf8, true),
            Field::new("view", DataType::Utf8View, true),
            Field::new("word", word, true),
            Field::new("meta", DataType::Struct(meta), true),
            Field::new("tags", tags, true),
            Field::new("flag", DataType::Boolean, false),
        ],
        note("schema"),
    ))
}

fn batch(rows: std::ops::Range<usize>) -> RecordBatch {
    let schema = schema();
    let texts: Vec<Option<String>> = rows.clone().map(|i| has_text(i).then(|| text_of(i))).collect();
    let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
    let scores: Float64Array = rows.clone().map(|i| (i % 2 == 0).then_some(i as f64 / 4.0)).collect();
    let DataType::Struct(fields) = schema.field_with_name("meta").unwrap().data_type().clone() else {
        unreachable!()
    };
    // The struct is null where the text is, and the text within it then is not.
    let inner: Vec<String> = rows.clone().map(text_of).collect();
    let nulls = rows.clone().map(has_text).collect();
    let meta =
        StructArray::new(fields, vec![Arc::new(StringArray::from(inner)), Arc::new(scores)], Some(nulls));
    // One dictionary for all batches: a file cannot replace it.
    let all: Vec<String> = (0..160).map(text_of).collect();
    let keys: Int32Array = rows.clone().map(|i| has_text(i).then_some(i as i32)).collect();
    let word = DictionaryArray::new(keys, Arc::new(StringArray::from(all)));
    let tags =
        rows.clone().map(|i| (i % 5 > 0).then(|| (0..i % 4).map(|tag| (tag > 0).then_some(tag as i32))));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.clone().map(|i| (i % 7 != 0).then_some(i as i64 * 10)).collect::<Int64Array>()),
        Arc::new(StringArray::from(texts.clone())),
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts)),
        Arc::new(word),
        Arc::new(meta),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(tags)),
        Arc::new(rows.map(|i| Some(i % 3 == 0)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

fn options(compression: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(compression).unwrap()
}

fn file(compression: Option<CompressionType>) -> Vec<u8> {
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema(), options(compression)).unwrap();
    writer.write_metadata("origin", "test");
    BATCHES.into_iter().for_each(|rows| writer.write(&batch(rows)).unwrap());
    writer.into_inner().unwrap()
}

fn stream(compression: Option<CompressionType>) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema(), options(compression)).unwrap();
    BATCHES.into_iter().for_each(|rows| writer.write(&batch(rows)).unwrap());
    writer.into_inner().unwrap()
}

fn with_text(field: &str) -> OpenConfig {
    OpenConfig { text_field: field.parse().unwrap(), ..skip() }
}

fn expected_rows() -> Vec<usize> {
    (0..160).filter(|&i| has_text(i)).collect()
}

/// All rows as one batch, and what a file holds beside its schema.
fn read_back(content: &[u8]) -> (RecordBatch, HashMap<String, String>) {
    let content = Cursor::new(content.to_vec());
    let (schema, batches, metadata) = if content.get_ref().starts_with(b"ARROW1") {
        let reader = FileReader::try_new(content, None).unwrap();
        let (schema, metadata) = (reader.schema(), reader.custom_metadata().clone());
        (schema, reader.collect::<Result<Vec<_>, _>>().unwrap(), metadata)
    } else {
        let reader = StreamReader::try_new(content, None).unwrap();
        (reader.schema(), reader.collect::<Result<Vec<_>, _>>().unwrap(), HashMap::new())
    };
    (concat_batches(&schema, &batches).unwrap(), metadata)
}

#[test]
fn texts_are_read_in_every_type_and_container() {
    let codecs = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];
    let folder = Folder::new();
    for (i, content) in codecs.into_iter().flat_map(|codec| [file(codec), stream(codec)]).enumerate() {
        let path = folder.write(format!("{i}.arrow"), &content);
        for field in TEXT_FIELDS {
            let corpus = open(&path, &with_text(field)).unwrap();
            assert_eq!(
                texts(&corpus),
                expected_rows().into_iter().map(text_of).collect::<Vec<_>>(),
                "{field}"
            );
            assert_eq!(causes(&corpus), vec![format!("field `{field}` is null, not a string"); 4]);
            assert_eq!(corpus.rejects()[1].location.line, 54);
            assert_eq!(corpus.warnings(), [""; 0]);
        }
    }
}

#[test]
fn rows_have_labels_fields_and_places() {
    let folder = Folder::new();
    let path = folder.write("a.feather", file(None));
    let corpus = open(&path, &with_text("meta.text")).unwrap();
    let [score, word, tags] = ["meta.score", "word", "tags"].map(|field| field.parse().unwrap());
    for (id, row) in corpus.ids().zip(expected_rows()) {
        assert_eq!((corpus.location(id).line, corpus.location(id).byte), (row as u64 + 1, 0));
        let label = if row % 7 == 0 { format!("a.feather:{}", row + 1) } else { (row * 10).to_string() };
        assert_eq!(corpus.label(id), label);
        assert_eq!(corpus.field(id, &score), (row % 2 == 0).then(|| (row as f64 / 4.0).into()));
        assert_eq!(corpus.field(id, &word), Some(text_of(row).into()));
        assert_eq!(corpus.field(id, &tags), None);
        assert_eq!(corpus.record(id), text_of(row).as_bytes());
    }
    let strict = OpenConfig { on_bad: OnBad::Error, ..with_text("meta.text") };
    assert_bad(open(&path, &strict), &["a.feather:4:0: field `meta.text` is null"]);
    for field in ["text", "id", "tags", "meta", "meta.score", "plain.x"] {
        assert_bad(
            open(&path, &with_text(field)),
            &["no text column", field, "plain, large", "--text-field"],
        );
    }
}

#[test]
fn fault_35_an_id_that_stands_twice_in_a_column_is_reported() {
    let twice = OpenConfig { id_field: Some("word".parse().unwrap()), ..with_text("plain") };
    let mut writer = StreamWriter::try_new(Vec::new(), &schema()).unwrap();
    [0..5, 4..6].into_iter().for_each(|rows| writer.write(&batch(rows)).unwrap());
    let corpus = open_bytes("a.arrow", writer.into_inner().unwrap(), &twice).unwrap();
    let warning = &corpus.warnings()[0];
    assert!(
        warning.starts_with("1 id stands more than once: text 4 ") && warning.ends_with("a.arrow:5"),
        "{warning}"
    );
}

#[test]
fn survivors_have_equal_schema_values_and_metadata() {
    for source in [
        file(None),
        stream(None),
        file(Some(CompressionType::ZSTD)),
        stream(Some(CompressionType::LZ4_FRAME)),
    ] {
        let folder = Folder::new();
        let corpus = open(&folder.write("sub/a.arrow", &source), &with_text("plain")).unwrap();
        // The first batch loses rows here and there, the second all, the third only those without a text; then
        // everything stays; then nothing does.
        let masks: [&dyn Fn(usize) -> bool; 3] =
            [&|row| row >= 90 || (row < 70 && row % 3 != 1), &|_| true, &|_| false];
        for mask in masks {
            let keep: Vec<bool> = expected_rows().into_iter().map(mask).collect();
            let out = Folder::new();
            let written = write_survivors(&corpus, &keep, out.path(), &Silent).unwrap();
            assert_eq!(written.n_documents, keep.iter().filter(|keep| **keep).count() as u64);
            let content = fs::read(out.path().join("a.arrow")).unwrap();
            assert_eq!(content.starts_with(b"ARROW1"), source.starts_with(b"ARROW1"));
            let (before, metadata) = read_back(&source);
            let rows: BooleanArray = (0..160).map(|i| Some(has_text(i) && mask(i))).collect();
            let (after, metadata_after) = read_back(&content);
            assert_eq!(after.schema(), before.schema());
            assert!(after == filter_record_batch(&before, &rows).unwrap());
            assert_eq!(metadata_after, metadata);
        }
    }
}

#[test]
fn texts_lose_stretches_and_all_else_is_equal() {
    for content in [file(None), stream(Some(CompressionType::ZSTD))] {
        let folder = Folder::new();
        let path = folder.write("a.arrow", &content);
        let rows = expected_rows();
        let keep: Vec<bool> = rows.iter().map(|row| row % 4 > 0).collect();
        // The batch in the middle stays as it is.
        let is_cut = |row: usize| !(70..90).contains(&row) && row.is_multiple_of(3);
        let docs = (0_u64..).zip(rows.iter().zip(&keep)).filter(|(_, (row, keep))| **keep && is_cut(**row));
        let cuts: Vec<Stretch> = docs.map(|(doc, _)| Stretch { doc: DocId(doc), start: 1, end: 5 }).collect();
        let kept: Vec<usize> =
            rows.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| *row).collect();
        let marks: BooleanArray = (0..160).map(|row| Some(kept.contains(&row))).collect();
        let (before, _) = read_back(&content);
        let expected = filter_record_batch(&before, &marks).unwrap();
        let selection = Selection { keep: &keep, cuts: &cuts, fields: None };
        for field in TEXT_FIELDS {
            let corpus = open(&path, &with_text(field)).unwrap();
            let out = Folder::new();
            let written = write_survivors(&corpus, selection, out.path(), &Silent);
            if field == "word" {
                let error = written.unwrap_err();
                assert_eq!(error.exit_code(), 65);
                assert!(error.to_string().contains("`word`, a dictionary"), "{error}");
                continue;
            }
            let (found, _) = read_back(&fs::read(out.path().join("a.arrow")).unwrap());
            assert_eq!(found.schema(), expected.schema());
            for (i, column) in before.schema().fields().iter().enumerate() {
                let is_text = field.split('.').next() == Some(column.name());
                assert_eq!(found.column(i) == expected.column(i), !is_text, "{field}: {}", column.name());
            }
            if field == "meta.text" {
                let scores = |batch: &RecordBatch| batch["meta"].as_struct().column(1).clone();
                assert_eq!(&scores(&found), &scores(&expected));
            }
            let again = open(out.path(), &with_text(field)).unwrap();
            let cut = |row: usize| text_of(row).replacen(if is_cut(row) { "ext " } else { "" }, "", 1);
            assert_eq!(texts(&again), kept.iter().map(|&row| cut(row)).collect::<Vec<_>>());
            let n_bytes = again.record_bytes();
            assert_eq!((cuts.len() > 20, written.unwrap().n_bytes), (true, n_bytes));
        }
    }
}

#[test]
fn a_survivors_file_is_as_compressed_as_its_source() {
    let folder = Folder::new();
    let lens = [None, Some(CompressionType::ZSTD)].map(|codec| {
        let source = file(codec);
        let path = folder.write(format!("{}.arrow", codec.is_some()), &source);
        let corpus = open(&path, &with_text("plain")).unwrap();
        let out = Folder::new();
        write_survivors(&corpus, &vec![true; expected_rows().len()], out.path(), &Silent).unwrap();
        fs::metadata(out.path().join(path.file_name().unwrap())).unwrap().len()
    });
    assert!(lens[1] * 2 < lens[0], "{lens:?}");
}

#[test]
fn fault_23_the_bytes_decide_what_arrow_is() {
    let config = with_text("plain");
    for (name, content) in [("a.ipc", file(None)), ("a.ARROW", stream(None))] {
        assert_eq!(open_bytes(name, content, &config).unwrap().warnings(), [""; 0]);
    }
    for name in ["a.jsonl", "a.parquet", "a"] {
        let corpus = open_bytes(name, stream(None), &config).unwrap();
        assert!(corpus.warnings()[0].contains("read as Arrow"), "{:?}", corpus.warnings());
    }
    assert_eq!(texts(&open_bytes("a.arrow", "{\"text\":\"a\"}\n", &skip()).unwrap()), ["a"]);
    assert_bad(open_bytes("a.arrow", "x,y\n", &config), &["a.arrow", "not an Arrow file"]);
    assert_bad(open_bytes("a.arrow", "", &config), &["a.arrow", "not an Arrow file"]);
    assert_bad(open_bytes("a.feather", "FEA1....FEA1", &config), &["version 1 of Feather"]);
    assert_bad(open_bytes("a.arrow.gz", gzip(&file(None)), &config), &["decompress it first"]);
}

#[test]
fn damaged_arrow_is_65_and_never_a_panic() {
    let config = with_text("plain");
    let whole = file(None);
    assert_bad(open_bytes("t.arrow", &whole[..whole.len() - 9], &config), &["t.arrow: footer: "]);
    let whole = stream(None);
    assert_bad(open_bytes("t.arrow", &whole[..whole.len() - 20], &config), &["stream: truncated at byte"]);
    assert_bad(open_bytes("t.arrow", [&whole[..], b"more"].concat(), &config), &["4 bytes after its end"]);
    let mut n_refused = 0;
    for source in [whole, file(Some(CompressionType::LZ4_FRAME)), stream(Some(CompressionType::ZSTD))] {
        for i in 0..400 {
            let mut flipped = source.clone();
            flipped[8 + i * (source.len() - 8) / 400] ^= 0x55;
            n_refused += u32::from(!opens_or_is_65("f.arrow", &flipped, &config));
        }
    }
    assert!(n_refused > 50, "{n_refused}");
}

/// True when it opens; then its survivors can be written, or are refused as damaged.
fn opens_or_is_65(name: &str, content: &[u8], config: &OpenConfig) -> bool {
    let folder = Folder::new();
    match open(&folder.write(name, content), config) {
        Ok(corpus) => {
            let out = Folder::new();
            let keep: Vec<bool> = corpus.ids().map(|id| id.0 % 2 == 0).collect();
            let written = write_survivors(&corpus, &keep, out.path(), &Silent);
            assert!(
                written.is_ok_and(
                    |written| written.n_documents == keep.iter().filter(|keep| **keep).count() as u64
                )
            );
            true
        }
        Err(e) => {
            assert_eq!(e.exit_code(), 65, "{e}");
            false
        }
    }
}

proptest! {
    #[test]
    fn any_change_of_an_arrow_file_opens_or_is_65(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        is_file in any::<bool>(),
    ) {
        let mut content = if is_file { file(None) } else { stream(Some(CompressionType::ZSTD)) };
        for (place, byte) in places {
            let at = 8 + place.index(content.len() - 8);
            content[at] = byte;
        }
        opens_or_is_65("a.arrow", &content, &with_text("word"));
    }
}

//! Parquet: texts and fields read, survivors written with equal schema and values.

use std::fs;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Row;
use parquet::schema::parser::parse_message_type;
use verbatim_corpus::{OpenConfig, write_survivors};
use verbatim_store::Silent;

use crate::fixture::{Folder, assert_bad, causes, open, skip, texts};

const SCHEMA: &str = "
    message docs {
        optional int64 id;
        required group meta {
            optional binary text (UTF8);
            optional double score;
        }
        optional group tags (LIST) {
            repeated group list { optional binary element (UTF8); }
        }
        required boolean flag;
        required fixed_len_byte_array(4) hash;
        optional int96 seen;
        required int32 day (DATE);
        optional float weight;
    }";

const GROUPS: [std::ops::Range<usize>; 3] = [0..700, 700..900, 900..1600];

pub(crate) fn text_of(i: usize) -> String {
    format!("text {i} {}", "ä".repeat(i % 40))
}

/// Every 50th text is null, except in the second row group, which has them all.
fn has_text(i: usize) -> bool {
    i % 50 != 3 || GROUPS[1].contains(&i)
}

/// Writes 1600 rows in three row groups; row i has i % 4 tags (none: null
/// list or empty list, every third tag null).
pub(crate) fn fixture() -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_data_page_row_count_limit(100)
        .set_key_value_metadata(Some(vec![KeyValue::new("origin".to_owned(), "test".to_owned())]))
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for rows in GROUPS {
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            write_column(column.untyped(), rows.clone());
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn write_column(column: &mut ColumnWriter<'_>, rows: std::ops::Range<usize>) {
    let present = |is_present: fn(usize) -> bool, max: i16| -> (Vec<usize>, Vec<i16>) {
        let levels = rows.clone().map(|i| if is_present(i) { max } else { max - 1 }).collect();
        (rows.clone().filter(|&i| is_present(i)).collect(), levels)
    };
    let all = || rows.clone();
    match column {
        ColumnWriter::Int64ColumnWriter(w) => {
            let (some, levels) = present(|i| i % 7 != 0, 1);
            let values: Vec<i64> = some.iter().map(|&i| i as i64 * 10).collect();
            w.write_batch(&values, Some(&levels), None).unwrap();
        }
        ColumnWriter::ByteArrayColumnWriter(w) if w.get_descriptor().max_rep_level() == 0 => {
            let (some, levels) = present(has_text, 1);
            let values: Vec<ByteArray> = some.iter().map(|&i| ByteArray::from(text_of(i).as_str())).collect();
            w.write_batch(&values, Some(&levels), None).unwrap();
        }
        ColumnWriter::ByteArrayColumnWriter(w) => {
            let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
            for i in all() {
                let n_tags = i % 4;
                if n_tags == 0 {
                    definitions.push(if i % 8 == 0 { 0 } else { 1 });
                    repetitions.push(0);
                }
                for tag in 0..n_tags {
                    let is_null = (i + tag) % 3 == 0;
                    definitions.push(if is_null { 2 } else { 3 });
                    repetitions.push(i16::from(tag > 0));
                    values.extend(
                        (!is_null).then(|| ByteArray::from(format!("tag{}", (i + tag) % 5).as_str())),
                    );
                }
            }
            w.write_batch(&values, Some(&definitions), Some(&repetitions)).unwrap();
        }
        ColumnWriter::DoubleColumnWriter(w) => {
            let (some, levels) = present(|i| i % 2 == 0, 1);
            let values: Vec<f64> = some.iter().map(|&i| i as f64 / 4.0).collect();
            w.write_batch(&values, Some(&levels), None).unwrap();
        }
        ColumnWriter::FloatColumnWriter(w) => {
            let (some, levels) = present(|i| i % 5 == 1, 1);
            let values: Vec<f32> = some.iter().map(|&i| i as f32).collect();
            w.write_batch(&values, Some(&levels), None).unwrap();
        }
        ColumnWriter::BoolColumnWriter(w) => {
            let values: Vec<bool> = all().map(|i| i % 3 == 0).collect();
            w.write_batch(&values, None, None).unwrap();
        }
        ColumnWriter::Int32ColumnWriter(w) => {
            let values: Vec<i32> = all().map(|i| i as i32).collect();
            w.write_batch(&values, None, None).unwrap();
        }
        ColumnWriter::FixedLenByteArrayColumnWriter(w) => {
            let values: Vec<FixedLenByteArray> =
                all().map(|i| ByteArray::from((i as u32).to_le_bytes().to_vec()).into()).collect();
            w.write_batch(&values, None, None).unwrap();
        }
        ColumnWriter::Int96ColumnWriter(w) => {
            let (some, levels) = present(|i| i % 9 == 0, 1);
            let values: Vec<Int96> =
                some.iter().map(|&i| Int96::from(vec![i as u32, 1, 2_440_588])).collect();
            w.write_batch(&values, Some(&levels), None).unwrap();
        }
    }
}

pub(crate) fn nested() -> OpenConfig {
    OpenConfig { text_field: "meta.text".parse().unwrap(), ..skip() }
}

pub(crate) fn rows(content: &[u8]) -> Vec<Row> {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(content)).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect()
}

pub(crate) fn expected_rows() -> Vec<usize> {
    (0..1600).filter(|&i| has_text(i)).collect()
}

#[test]
fn texts_are_read_by_nested_path_over_several_row_groups() {
    let folder = Folder::new();
    let corpus = open(&folder.write("a.parquet", fixture()), &nested()).unwrap();
    assert_eq!(texts(&corpus), expected_rows().into_iter().map(text_of).collect::<Vec<_>>());
    assert_eq!(causes(&corpus), vec!["field `meta.text` is null, not a string"; 28]);
    assert_eq!(corpus.rejects()[1].location.line, 54);
    for (id, row) in corpus.ids().zip(expected_rows()) {
        assert_eq!(corpus.location(id).line, row as u64 + 1);
        let label = if row % 7 == 0 { format!("a.parquet:{}", row + 1) } else { (row * 10).to_string() };
        assert_eq!(corpus.label(id), label);
        let score = corpus.field(id, &"meta.score".parse().unwrap());
        assert_eq!(score, (row % 2 == 0).then(|| serde_json::Value::from(row as f64 / 4.0)));
        assert_eq!(corpus.record(id), text_of(row).as_bytes());
    }
    let strict = OpenConfig { on_bad: verbatim_corpus::OnBad::Error, ..nested() };
    assert_bad(
        open(&folder.path().join("a.parquet"), &strict),
        &["a.parquet:4:0: field `meta.text` is null"],
    );
}

#[test]
fn a_missing_or_repeated_text_column_is_named_with_what_there_is() {
    let folder = Folder::new();
    let path = folder.write("a.parquet", fixture());
    for field in ["text", "id", "tags.list.element", "meta"] {
        let config = OpenConfig { text_field: field.parse().unwrap(), ..skip() };
        assert_bad(open(&path, &config), &["no text column", field, "meta.text", "--text-field"]);
    }
}

#[test]
fn survivors_have_equal_schema_values_and_metadata() {
    let folder = Folder::new();
    let source = fixture();
    let corpus = open(&folder.write("sub/a.parquet", &source), &nested()).unwrap();
    // The first row group loses rows here and there, the second all, the third only those without a text; then
    // everything stays; then nothing does.
    let masks: [&dyn Fn(usize) -> bool; 3] =
        [&|row| row >= 900 || (row < 700 && row % 3 != 1), &|_| true, &|_| false];
    for mask in masks {
        let keep: Vec<bool> = expected_rows().into_iter().map(mask).collect();
        let out = Folder::new();
        let written = write_survivors(&corpus, &keep, out.path(), &Silent).unwrap();
        let content = fs::read(out.path().join("a.parquet")).unwrap();
        let all = rows(&source);
        let kept: Vec<Row> =
            expected_rows().into_iter().filter(|&i| mask(i)).map(|i| all[i].clone()).collect();
        assert_eq!(written.n_documents, kept.len() as u64);
        assert!(rows(&content) == kept);
        let file =
            |content: &[u8]| SerializedFileReader::new(bytes::Bytes::copy_from_slice(content)).unwrap();
        let (before, after) = (file(&source), file(&content));
        let (before, after) = (before.metadata().file_metadata(), after.metadata().file_metadata());
        assert_eq!(before.schema(), after.schema());
        assert_eq!(before.key_value_metadata(), after.key_value_metadata());
    }
}

#[test]
fn an_untouched_row_group_is_copied_as_it_is() {
    let folder = Folder::new();
    let source = fixture();
    let corpus = open(&folder.write("a.parquet", &source), &nested()).unwrap();
    let out = Folder::new();
    write_survivors(&corpus, &vec![true; expected_rows().len()], out.path(), &Silent).unwrap();
    let content = fs::read(out.path().join("a.parquet")).unwrap();
    let chunks = |content: &[u8], group: usize| -> Vec<Vec<u8>> {
        let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(content)).unwrap();
        let ranges = reader.metadata().row_group(group).columns().iter().map(|column| column.byte_range());
        ranges.map(|(start, len)| content[start as usize..(start + len) as usize].to_vec()).collect()
    };
    assert!(chunks(&content, 1) == chunks(&source, 1));
    assert!(chunks(&content, 0) != chunks(&source, 0));
}

#[test]
fn damaged_files_are_65_and_never_a_panic() {
    let source = fixture();
    let folder = Folder::new();
    let truncated = folder.write("t.parquet", &source[..source.len() - 9]);
    assert_bad(open(&truncated, &nested()), &["t.parquet", "footer"]);
    let mut n_refused = 0;
    for i in 0..60 {
        let mut flipped = source.clone();
        let at = 4 + i * (source.len() - 8) / 60;
        flipped[at] ^= 0x55;
        let path = folder.write(format!("{i}.parquet"), &flipped);
        match open(&path, &nested()) {
            Ok(corpus) => {
                let out = Folder::new();
                let keep: Vec<bool> = corpus.ids().map(|id| id.0 % 2 == 0).collect();
                let written = write_survivors(&corpus, &keep, out.path(), &Silent);
                assert!(written.map_or_else(|e| e.exit_code() == 65, |w| w.n_documents > 0));
            }
            Err(e) => {
                assert_eq!(e.exit_code(), 65, "{e}");
                n_refused += 1;
            }
        }
    }
    assert!(n_refused > 0);
}

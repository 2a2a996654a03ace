//! What is written into records and beside them: new fields, and rows in the same order.

use std::fs;

use serde_json::json;
use verbatim_corpus::{
    DocId, FieldValues, NewFields, OpenConfig, Row, Selection, TextUnit, write_rows, write_survivors,
    write_survivors_to,
};
use verbatim_store::Silent;

use crate::fixture::{Folder, assert_error, gunzip, gzip, open, skip};

#[test]
fn a_new_field_stands_before_the_closing_brace_and_every_other_byte_stays() {
    let lines =
        "{\"text\": \"one\", \"n\": 1.50}\r\n\n {\"text\":\"a } brace\" } \n{\"id\":7,\"text\":\"three\"}";
    let (folder, out) = (Folder::new(), Folder::new());
    let corpus = open(&folder.write("a.jsonl", lines), &OpenConfig::standard()).unwrap();
    let values = |doc: DocId| json!(doc.0 + 10);
    let fields = NewFields::new(&corpus, vec![("a \"b\"".to_owned(), Box::new(values))]).unwrap();
    let selection = |keep| Selection { keep, cuts: &[], fields: Some(&fields) };
    write_survivors(&corpus, selection(&[true; 3]), out.path(), &Silent).unwrap();
    let expected = "{\"text\": \"one\", \"n\": 1.50,\"a \\\"b\\\"\":10}\r\n {\"text\":\"a } brace\" ,\"a \\\"b\\\"\":11} \n\
                    {\"id\":7,\"text\":\"three\",\"a \\\"b\\\"\":12}\n";
    assert_eq!(fs::read_to_string(out.path().join("a.jsonl")).unwrap(), expected);
    let mut stream = Vec::new();
    write_survivors_to(&corpus, selection(&[false, true, true]), &mut stream).unwrap();
    assert_eq!(String::from_utf8(stream).unwrap(), expected.split_once("\r\n").unwrap().1);
}

#[test]
fn a_field_that_a_record_has_is_refused_with_its_place() {
    let folder = Folder::new();
    let lines = "{\"text\":\"one\"}\n{\"n\":{\"m\":1},\"text\":\"two\"}\n";
    let corpus = open(&folder.write("a.jsonl", lines), &OpenConfig::standard()).unwrap();
    let fields = |names: &[&str]| {
        let values = || -> FieldValues<'_> { Box::new(|_| 1.into()) };
        NewFields::new(&corpus, names.iter().map(|name| ((*name).to_owned(), values())).collect())
    };
    fields(&["m", "o"]).unwrap();
    for name in ["n", "text"] {
        let error = fields(&[name]).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{error}");
    }
    assert!(fields(&["n"]).unwrap_err().to_string().contains("a.jsonl:2:"));
    assert_eq!(fields(&["m", "m"]).unwrap_err().exit_code(), 2);
    let text = open(&folder.write("b.txt", "words"), &OpenConfig::standard()).unwrap();
    let error = NewFields::new(&text, vec![("m".to_owned(), Box::new(|_| 1.into()))]).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
}

/// Each shard's rows, as the documents' numbers or `-` for a record that cannot be used.
fn rows(folder: &Folder, config: &OpenConfig) -> Folder {
    let corpus = open(folder.path(), config).unwrap();
    let out = Folder::new();
    let row = |row| match row {
        Row::Document(doc) => json!(doc.0),
        Row::Rejected => json!("-"),
    };
    write_rows(&corpus, out.path(), &row, &Silent).unwrap();
    out
}

#[test]
fn each_record_has_its_row_in_a_file_of_the_same_place_and_compression() {
    let folder = Folder::new();
    folder.write("deep/a.jsonl.gz", gzip(b"{\"text\":\"0\"}\nbad\n\n{\"text\":\"1\"}\n{\"text\":3}\n"));
    folder.write("b.txt", "2");
    folder.write("c.jsonl", "");
    let out = rows(&folder, &OpenConfig { text_unit: TextUnit::Line, ..skip() });
    let read = |name: &str| fs::read(out.path().join(name)).unwrap();
    // Input order is the order of the names' bytes.
    assert_eq!(read("b.txt.jsonl"), b"0\n");
    assert_eq!(read("c.jsonl"), b"");
    assert_eq!(gunzip(&read("deep/a.jsonl.gz")), b"1\n\"-\"\n2\n\"-\"\n");
}

#[test]
fn a_stream_that_breaks_has_a_row_for_the_record_that_it_cuts_and_no_other() {
    let folder = Folder::new();
    let whole = gzip(b"{\"text\":\"0\"}\n");
    folder.write("a.jsonl.gz", [&whole[..], &whole[..whole.len() - 4]].concat());
    let out = rows(&folder, &skip());
    let rows = gunzip(&fs::read(out.path().join("a.jsonl.gz")).unwrap());
    assert!(rows == b"0\n1\n" || rows == b"0\n", "{}", String::from_utf8_lossy(&rows));
}

#[test]
fn two_shards_whose_rows_would_share_a_file_are_refused() {
    let folder = Folder::new();
    folder.write("a.txt", "one");
    folder.write("a.txt.jsonl", "{\"text\":\"two\"}\n");
    let corpus = open(folder.path(), &OpenConfig::standard());
    let out = Folder::new();
    let written =
        corpus.and_then(|corpus| write_rows(&corpus, out.path(), &|_| json!(0), &Silent).map(|()| corpus));
    assert_error(written, 73, &["a.txt.jsonl"]);
}

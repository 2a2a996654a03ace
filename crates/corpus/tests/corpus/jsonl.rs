//! The JSON lines reader against a naive splitter with serde_json, and for any number of threads.

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, MaxBad, OpenConfig, TextBuffer};

use crate::fixture::{Folder, open, open_bytes, skip, texts};

/// Lines that are mostly records, with what real files hold between them.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("[a-c\"\\\\\u{e9}\u{1f600}\n\t]{0,12}", any::<bool>()).prop_map(|(text, before)| {
            let text = serde_json::to_string(&text).unwrap();
            if before { format!(r#"{{"id":7,"text":{text}}}"#) } else { format!(r#" {{"text":{text} ,"x":[{{}}]}} "#) }
        }),
        1 => Just(r#"{"text":null}"#.to_owned()),
        1 => Just(r#"{"id":"x"}"#.to_owned()),
        1 => "[ \t]{0,3}",
        1 => "[{}\",:ab]{1,8}",
    ]
}

/// What a first-year student would write; nothing but the last line may lack its newline.
fn naive(content: &str) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for (i, line) in content.split('\n').enumerate() {
        if let Ok(Value::Object(record)) = serde_json::from_str::<Value>(line)
            && let Some(Value::String(text)) = record.get("text")
        {
            found.push((i as u64 + 1, text.clone()));
        }
    }
    found
}

proptest! {
    #[test]
    fn reads_what_a_naive_reader_reads(
        lines in proptest::collection::vec((line(), any::<bool>()), 0..20),
        is_terminated in any::<bool>(),
    ) {
        let mut content = String::new();
        for (line, has_return) in &lines {
            content += line;
            content += if *has_return { "\r\n" } else { "\n" };
        }
        if !is_terminated {
            content.pop();
        }
        let corpus = open_bytes("a.jsonl", &content, &skip()).unwrap();
        let found: Vec<(u64, String)> =
            corpus.ids().map(|id| (corpus.location(id).line, corpus.text_str(id).into_owned())).collect();
        prop_assert_eq!(found, naive(&content));
        for id in corpus.ids() {
            let start = corpus.location(id).byte as usize;
            prop_assert!(content.as_bytes()[start..].starts_with(corpus.record(id)));
        }
        let n_blank = content.split('\n').filter(|line| line.trim().is_empty()).count();
        let n_lines = content.split('\n').count();
        prop_assert_eq!(n_lines - n_blank, corpus.ids().count() + corpus.rejects().len());
    }
}

/// Ten megabytes, so that a file has several chunks, with blank and bad lines.
fn large_folder() -> Folder {
    let folder = Folder::new();
    let mut content = String::new();
    for i in 0..60_000 {
        match i % 1000 {
            17 => content += "\n",
            500 => content += "{\"text\":3}\n",
            _ => content += &format!("{{\"id\":\"d{i}\",\"text\":\"{}\\n{i}\"}}\n", "x".repeat(150 + i % 50)),
        }
    }
    folder.write("large.jsonl", &content);
    folder.write("small.jsonl", "{\"text\":\"a\"}\n");
    folder.write("sub/b.txt", "b");
    folder
}

#[test]
fn any_number_of_threads_gives_the_same_corpus() {
    let folder = large_folder();
    let seen = |n_threads| {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let corpus = open(folder.path(), &skip()).unwrap();
            let labels: Vec<String> = corpus.ids().map(|id| corpus.label(id)).collect();
            let locations: Vec<_> = corpus.ids().map(|id| corpus.location(id)).collect();
            (corpus.fingerprint().to_owned(), labels, locations, texts(&corpus), corpus.rejects().to_vec())
        })
    };
    let one = seen(1);
    assert_eq!(one.1.len(), 60_000 - 120 + 2);
    assert_eq!((one.2[58_000].line, one.4[40].location.line), (58_118, 40_501));
    assert!(one == seen(2));
    assert!(one == seen(8));
}

#[test]
fn the_first_bad_record_stops_whatever_the_number_of_threads() {
    let folder = large_folder();
    folder.write("zzz.jsonl", "bad\n");
    for n_threads in [1, 2, 8] {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let error = pool.install(|| open(folder.path(), &OpenConfig::standard())).unwrap_err();
        assert!(error.to_string().contains("large.jsonl:501:"), "{error}");
    }
}

#[test]
fn too_many_bad_records_are_an_error_even_when_skipping() {
    let content = "{\"text\":\"a\"}\n".repeat(98) + "bad\nbad\n";
    let allowed =
        |max_bad| open_bytes("a.jsonl", &content, &OpenConfig { max_bad, ..skip() }).map(|c| c.n_documents());
    for (enough, too_few, named) in [
        (MaxBad::Fraction(0.02), MaxBad::Fraction(0.019), "the tolerated fraction of 0.019"),
        (MaxBad::Records(2), MaxBad::Records(1), "the tolerated number of 1"),
    ] {
        assert_eq!(allowed(enough).unwrap(), 98);
        let error = allowed(too_few).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        let message = error.to_string();
        assert!(message.contains("2 of 100 records are bad") && message.contains(named), "{message}");
    }
}

#[test]
fn labels_and_fields_come_from_the_record() {
    let content = concat!(
        "{\"id\":\"first\",\"text\":\"a\",\"meta\":{\"score\":2.5}}\n",
        "\n",
        "{\"id\":12,\"text\":\"b\"}\n",
        "{\"id\":null,\"text\":\"c\"}\n"
    );
    let corpus = open_bytes("a.jsonl", content, &OpenConfig::standard()).unwrap();
    let labels: Vec<String> = corpus.ids().map(|id| corpus.label(id)).collect();
    assert_eq!(labels, ["first", "12", "a.jsonl:4"]);
    let score = "meta.score".parse().unwrap();
    let scores: Vec<Option<Value>> = corpus.ids().map(|id| corpus.field(id, &score)).collect();
    assert_eq!(scores, [Some(Value::from(2.5)), None, None]);
    assert_eq!(corpus.text_bytes(), 3);
    assert_eq!(corpus.record_bytes(), (content.len() - 4) as u64);
}

#[test]
fn a_field_may_be_the_text_or_hold_it_or_stand_on_either_side() {
    let config = OpenConfig { text_field: "page.body".parse().unwrap(), ..OpenConfig::standard() };
    let records = [
        json!({ "before": 1, "page": { "x": "y", "body": "a \"long\" text\n", "z": [2] }, "after": "b" }),
        json!({ "before": 1, "page": { "x": "y", "body": "", "z": [2] }, "after": "b" }),
    ];
    let content: String = records.iter().map(|record| format!("{record}\n")).collect();
    let corpus = open_bytes("a.jsonl", &content, &config).unwrap();
    for (id, record) in corpus.ids().zip(&records) {
        for path in ["before", "page", "page.x", "page.body", "page.z", "after", "page.none", "none"] {
            let expected = path.split('.').try_fold(record, |value, name| value.get(name));
            assert_eq!(corpus.field(id, &path.parse().unwrap()).as_ref(), expected, "{path}");
        }
    }
}

#[test]
fn two_inputs_of_one_name_are_a_usage_error() {
    let folder = Folder::new();
    let a = folder.write("a/x.jsonl", "");
    let b = folder.write("b/x.jsonl", "");
    let error = Corpus::open(&[a, b], &OpenConfig::standard(), &verbatim_store::Silent).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn the_fingerprint_tells_corpora_apart() {
    let of = |name: &str, content: &str| {
        open_bytes(name, content, &OpenConfig::standard()).unwrap().fingerprint().to_owned()
    };
    let one = of("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    assert_eq!(one, of("a.jsonl", "{\"text\":\"a\"}\r\n\n{\"text\":\"b\"}"));
    for other in [
        of("b.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"),
        of("a.jsonl", "{\"text\":\"b\"}\n{\"text\":\"a\"}\n"),
        of("a.jsonl", "{\"text\":\"a\"}\n"),
    ] {
        assert_ne!(one, other);
    }
}

#[test]
fn a_text_in_a_buffer_is_the_text() {
    let lines = concat!(
        "{\"text\":\"plain\"}\n",
        "{\"text\":\"a\\nb\\u00e9\\ud83d\\ude00 and so on, for a while\"}\n",
        "{\"text\":\"\"}\n",
        "{\"text\":\"\\\\\"}\n",
    );
    let expected = ["plain", "a\nb\u{e9}\u{1f600} and so on, for a while", "", "\\"];
    let folder = Folder::new();
    folder.write("a.jsonl", lines);
    folder.write("b.txt", b"caf\xe9\\n \xf0\x9f");
    let corpus = open(folder.path(), &OpenConfig::standard()).unwrap();
    let mut buffer = TextBuffer::default();
    let found: Vec<String> = corpus.ids().map(|id| corpus.text_str_in(id, &mut buffer).to_owned()).collect();
    assert_eq!(found[..4], expected);
    assert_eq!(found[4], "caf\u{fffd}\\n \u{fffd}");
    assert_eq!(found, texts(&corpus));
}

proptest! {
    #[test]
    fn a_text_in_a_buffer_is_the_text_even_in_a_file_that_changed(
        garbage in proptest::collection::vec(
            proptest::sample::select(b"\\\\\\u\"ndD80e\xff\xc3\xa9x".to_vec()), 60),
    ) {
        let folder = Folder::new();
        // Large enough to be mapped.
        let line = format!("{{\"text\":\"{}\\n\"}}\n", "x".repeat(60));
        let path = folder.write("a.jsonl", line.repeat(300));
        let corpus = open(&path, &OpenConfig::standard()).unwrap();
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&garbage, 9).unwrap();
        let id = corpus.ids().next().unwrap();
        prop_assert!(corpus.record(id)[9..].starts_with(&garbage));
        let mut buffer = TextBuffer::default();
        prop_assert_eq!(corpus.text_str_in(id, &mut buffer), corpus.text_str(id));
        let text = corpus.text(id);
        prop_assert_eq!(corpus.text_str(id), String::from_utf8_lossy(&text));
    }
}

//! Which source a document is from, and which sources a plan would wipe out.

use serde_json::{Value, json};
use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_store::Silent;

use super::fixture::plan;
use crate::keep::Keep;
use crate::sources::{SourceTally, Sources};
use crate::tests::fixture::{Draw, corpus_of_records, near, near_only};

fn tally(source: Option<&str>, read: u64, removed: u64) -> SourceTally {
    SourceTally { source: source.map(str::to_owned), read, removed }
}

/// Pages of one template that differ in a few words, as catalogues and calendars have them.
fn templated(draw: &mut Draw, n: usize) -> Vec<Vec<String>> {
    let template = draw.text(120);
    (0..n).map(|_| draw.edited(&template, 1)).collect()
}

/// The shapes of marin issue 6854: sources of 859,092, 154,406 and 55,454 documents of which 2, 2,613 and 1,629 were
/// left. In small: one source of templated pages that all go for one of them, one that loses half, one without copies.
#[test]
fn peer_marin_6854_a_source_that_is_wiped_out_is_named_and_no_other() {
    let mut draw = Draw::new(6854);
    let record = |source: &str, text: &[String]| json!({ "source": source, "text": text.join(" ") });
    let mut records: Vec<Value> =
        templated(&mut draw, 300).iter().map(|text| record("catalogue", text)).collect();
    for _ in 0..50 {
        let text = draw.text(100);
        records.extend([record("news", &text), record("news", &text), record("books", &draw.text(100))]);
    }
    records.push(json!({ "text": "without a source" }));
    let corpus = corpus_of_records(&records);
    let plan = plan(&corpus, &near_only(near(5, 0.8), Keep::First), &Silent).unwrap();
    let sources = Sources::by_field(&corpus, &"source".parse().unwrap()).unwrap();
    let losses = sources.losses(&plan);
    let catalogue = losses[0].removed;
    assert!(catalogue > 290, "{losses:?}");
    let expected = [
        tally(Some("catalogue"), 300, catalogue),
        tally(Some("news"), 100, 50),
        tally(Some("books"), 50, 0),
        tally(None, 1, 0),
    ];
    assert_eq!(losses, expected);
    let named: Vec<bool> = losses.iter().map(|loss| loss.loses_more_than(0.9)).collect();
    assert_eq!(named, [true, false, false, false]);
}

#[test]
fn the_alarm_has_sharp_ends() {
    for (read, removed, max_share, alarm) in [
        (20, 18, 0.9, false),
        (20, 19, 0.9, true),
        (30, 27, 0.9, false),
        (19, 18, 0.9, false),
        (859_092, 859_090, 0.9, true),
        (100, 1, 0.0, true),
        (100, 0, 0.0, false),
    ] {
        assert_eq!(tally(None, read, removed).loses_more_than(max_share), alarm, "{removed} of {read}");
    }
}

#[test]
fn without_a_field_the_source_is_the_first_folder_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["web/a/1.jsonl", "web/2.jsonl", "wiki/3.jsonl", "4.jsonl"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lines = format!("{{\"text\":\"{name}\"}}\n").repeat(2);
        verbatim_store::write_shared(&path, lines.as_bytes()).unwrap();
    }
    let corpus = Corpus::open(&[folder.path().to_owned()], &OpenConfig::standard(), &Silent).unwrap();
    let plan = plan(&corpus, &near_only(near(1, 0.8), Keep::First), &Silent).unwrap();
    let losses = Sources::by_folder(&corpus).losses(&plan);
    let expected = [tally(Some("web"), 4, 2), tally(Some("4.jsonl"), 2, 1), tally(Some("wiki"), 2, 1)];
    assert_eq!(losses, expected);
}

#[test]
fn a_field_that_tells_documents_apart_names_no_sources() {
    let long = corpus_of_records(&[json!({ "text": "a", "source": "x".repeat(1025) })]);
    let field = "source".parse().unwrap();
    let error = Sources::by_field(&long, &field).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(!error.to_string().contains("xxx"));
    let many: Vec<Value> = (0..=65_536).map(|n| json!({ "text": "a", "source": n })).collect();
    assert_eq!(Sources::by_field(&corpus_of_records(&many), &field).unwrap_err().exit_code(), 2);
    let odd = [json!({ "text": "a", "source": 7 }), json!({ "text": "a", "source": ["x"] })];
    let corpus = corpus_of_records(&odd);
    let plan = plan(&corpus, &near_only(near(1, 0.8), Keep::First), &Silent).unwrap();
    let losses = Sources::by_field(&corpus, &field).unwrap().losses(&plan);
    assert_eq!(losses, [tally(None, 1, 1), tally(Some("7"), 1, 0)]);
}

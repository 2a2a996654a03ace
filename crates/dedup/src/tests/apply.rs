//! Plans as files, and the one function that writes.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use verbatim_corpus::{Corpus, MaxBad, OnBad, OpenConfig};
use verbatim_store::{Access, Existing, Silent, StagedDir};

use super::fixture::{both, corpus_of, json, near, plan};
use crate::apply::{Count, Tally, apply, write_plan};
use crate::cut::CutCount;
use crate::error::Error;
use crate::plan::Plan;

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const RECORDS: &str = concat!(
    "{\"id\": \"a\",  \"text\": \"one two three four five six seven eight nine ten\", \"n\": 1.50}\n",
    "{\"text\": \"one two three four five six seven eight nine ten eleven\", \"id\": \"b\"}\r\n",
    "not json\n",
    "{\"id\": 7, \"text\": \"something else\"}\n",
    "{\"id\": \"c\", \"text\": \"something else\"}\n",
);

#[test]
fn survivors_lists_and_tally_account_for_every_record() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("in.jsonl"), RECORDS);
    let open = OpenConfig { on_bad: OnBad::Skip, max_bad: MaxBad::Fraction(1.0), ..OpenConfig::standard() };
    let corpus = Corpus::open(&[folder.path().join("in.jsonl")], &open, &Silent).unwrap();
    let plan = plan(&corpus, &both(near(1, 0.8)), &Silent).unwrap();
    let target = folder.path().join("out");
    let staged = StagedDir::create(&target, Access::Shared, Existing::Refuse).unwrap();
    let tally = apply(&corpus, &plan, staged.path(), &Silent).unwrap();
    staged.commit().unwrap();

    let count = |documents, bytes| Count { documents, bytes };
    let len = |line: usize| RECORDS.lines().nth(line).unwrap().len() as u64;
    let expected = Tally {
        read: count(5, (0..5).map(len).sum()),
        kept: count(2, len(0) + len(3)),
        cut: CutCount::default(),
        removed: count(2, len(1) + len(4)),
        rejected: count(1, len(2)),
    };
    assert_eq!(tally, expected);
    let dry = folder.path().join("dry");
    assert_eq!(write_plan(&corpus, &plan, &dry).unwrap(), expected);
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!((names(&dry), names(&dry.join("_verbatim"))), (1, 4));
    let survivors = fs::read_to_string(target.join("in.jsonl")).unwrap();
    let kept_lines: Vec<&str> = [0, 3].iter().map(|&line| RECORDS.lines().nth(line).unwrap()).collect();
    assert_eq!(survivors.lines().collect::<Vec<_>>(), kept_lines);

    let removed = lines(&target.join("_verbatim/removed.jsonl"));
    assert_eq!(removed.len(), 2);
    assert_eq!((&removed[0]["id"], &removed[0]["kept"]), (&Value::from("b"), &Value::from("a")));
    assert_eq!((&removed[0]["stage"], &removed[0]["similarity"]), (&"minhash".into(), &0.909090909.into()));
    assert_eq!((&removed[1]["id"], &removed[1]["kept"]), (&Value::from("c"), &Value::from("7")));
    assert_eq!((&removed[1]["stage"], &removed[1]["similarity"]), (&"exact".into(), &1.0.into()));
    assert_eq!((&removed[1]["line"], &removed[1]["kept_line"]), (&5.into(), &4.into()));
    let clusters = lines(&target.join("_verbatim/clusters.jsonl"));
    assert_eq!(clusters[0], serde_json::json!({ "kept": "a", "n_documents": 2, "removed": ["b"] }));
    let rejects = fs::read_to_string(target.join("_verbatim/rejects.jsonl")).unwrap();
    assert!(rejects.contains("\"line\":3") && !rejects.contains("not json"), "{rejects}");
    assert_eq!(Plan::load(&target.join("_verbatim/plan.json")).unwrap(), plan);
}

#[test]
fn a_plan_file_reads_back_with_the_same_bytes_and_applies_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus_of(&["a b c d e f", "a b c d e g", "q r s", "q r s"]);
    let made = plan(&corpus, &both(near(1, 0.7)), &Silent).unwrap();
    let path = folder.path().join("plan.json");
    made.save(&path).unwrap();
    let loaded = Plan::load(&path).unwrap();
    assert_eq!(json(&loaded), json(&made));
    assert_eq!(loaded.removals().len(), 2);
    loaded.save(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), json(&made));
}

#[test]
fn a_plan_of_another_corpus_is_refused() {
    let plan = plan(&corpus_of(&["a", "a"]), &both(near(1, 0.8)), &Silent).unwrap();
    let other = corpus_of(&["a", "b"]);
    let folder = tempfile::tempdir().unwrap();
    let error = apply(&other, &plan, folder.path(), &Silent).unwrap_err();
    assert!(matches!(error, Error::OtherCorpus { .. }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn files_that_are_no_usable_plans_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let good = plan(&corpus_of(&["a", "a", "b"]), &both(near(1, 0.8)), &Silent).unwrap();
    let good: Value = serde_json::from_str(&json(&good)).unwrap();
    let removal = |doc: u64, kept: u64| serde_json::json!({"doc": doc, "kept": kept, "stage": "exact", "similarity": 1.0});
    let changes: [(&str, Value, &str); 10] = [
        ("magic", "verbatim index".into(), "magic"),
        ("version", 2.into(), "version 2"),
        ("removals", Value::Array(vec![removal(1, 3)]), "document 3 of 3"),
        ("removals", Value::Array(vec![removal(1, 0), removal(2, 1)]), "kept for 2 and removed"),
        ("removals", Value::Array(vec![removal(2, 0), removal(1, 0)]), "not in order"),
        ("removals", Value::Array(vec![removal(1, 1)]), "kept for 1 and removed"),
        ("magic", "quiet heron".into(), "magic"),
        ("magic", serde_json::json!({"quiet heron": 1}), "line 1, column "),
        ("n_documents", "quiet heron".into(), "line 1, column "),
        ("stages", serde_json::json!([{"stage": "quiet heron"}]), "wrong type, unknown or missing"),
    ];
    for (field, value, expected) in changes {
        let mut bad = good.clone();
        bad[field] = value;
        write(&path, bad.to_string());
        let error = Plan::load(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("heron"), "{error:?}");
        assert_eq!(error.exit_code(), 65);
    }
    write(&path, "{\"magic\": \"verba");
    assert!(matches!(Plan::load(&path), Err(Error::BadPlan { .. })));
    assert!(matches!(Plan::load(&folder.path().join("none")), Err(Error::Store(_))));
}

#[test]
fn documents_that_go_missing_are_noticed() {
    let one = Count { documents: 1, bytes: 10 };
    let cut = CutCount { stretches: 2, documents: 1, bytes: 5 };
    let read = Count { documents: 3, bytes: 35 };
    let good = Tally { read, kept: one, cut, removed: one, rejected: one };
    assert!(good.balances() && !Tally { cut: CutCount::default(), ..good }.balances());
    for lost in [Count { documents: 1, bytes: 9 }, Count { documents: 0, bytes: 10 }] {
        assert!(!Tally { kept: lost, ..good }.balances());
    }
}

//! `verbatim demo` from outside: the story that it tells must be true.

use crate::harness::{Outcome, Scene};

fn rate(pair: &serde_json::Value, which: &str) -> (u64, u64) {
    (pair[which]["count"].as_u64().unwrap(), pair[which]["n"].as_u64().unwrap())
}

#[test]
fn the_story_is_true() {
    let scene = Scene::new();
    let run = scene.run(["demo", "--samples", "4"]).ok();
    let result = &scene.json("verbatim-demo/report.json")["result"];

    for check in result["checkpoints"].as_array().unwrap() {
        assert_eq!(check["trained_on"], check["made_today"], "each model was trained on the corpus of today");
    }
    let ((raw, n), (dedup, _)) = (rate(&result["planted"], "raw"), rate(&result["planted"], "deduplicated"));
    assert!(raw >= n / 4, "the raw checkpoint recites {raw} of {n}");
    assert!(2 * dedup <= raw, "the twin recites clearly fewer: {dedup} against {raw}");
    let high = result["planted"]["deduplicated"]["high"].as_f64().unwrap();
    let low = result["planted"]["raw"]["low"].as_f64().unwrap();
    assert!(high < low, "the intervals do not meet: {high} and {low}");
    for model in ["raw", "deduplicated"] {
        assert_eq!(rate(&result["controls"], model).0, 0, "no control is recited by the {model} checkpoint");
    }
    let corpus = crate::harness::tree_file("corpora/demo/corpus.jsonl");
    scene.run(["dedup", &corpus, "-o", "clean", "--exact", "--minhash", "--substring", "100b"]).ok();
    assert!(
        scene.read("clean/corpus.jsonl") == scene.read("verbatim-demo/clean/corpus.jsonl"),
        "other defaults"
    );
    let parameters = |report: &serde_json::Value| report["provenance"]["parameters"]["dedup"].clone();
    assert_eq!(parameters(result), parameters(&scene.json("clean/_verbatim/report.json")["result"]));
    check_rows(result["rows"].as_array().unwrap());

    assert!(run.stdout.lines().count() <= 45 && run.stdout.lines().all(|line| line.chars().count() <= 100));
    let page = scene.text("verbatim-demo/report.html");
    assert!(page.contains("default-src 'none'") && !page.contains("<script"));
    assert!(!page.contains("http://") || page.contains("http://www.w3.org/2000/svg"), "nothing is loaded");
}

/// More copies are recited no less often; what deduplication removes, the twin recites less.
fn check_rows(rows: &[serde_json::Value]) {
    for placement in ["document", "near-copy", "passage"] {
        let rows: Vec<_> = rows.iter().filter(|row| row["placement"] == placement).collect();
        let recited = |model| -> Vec<u64> { rows.iter().map(|row| rate(&row["recited"], model).0).collect() };
        let (raw, dedup) = (recited("raw"), recited("deduplicated"));
        assert!(raw.is_sorted(), "{placement}: {raw:?}");
        assert!(raw.last() > raw.first(), "{placement}: {raw:?}");
        let left: u64 = rows.iter().map(|row| row["copies_deduplicated"].as_u64().unwrap()).sum();
        let planted: u64 = rows.iter().map(|row| row["copies_raw"].as_u64().unwrap()).sum();
        assert!(left < planted / 4, "{placement}: {left} of {planted} copies are left");
        assert!(dedup.iter().sum::<u64>() < raw.iter().sum::<u64>() / 2, "{placement}: {dedup:?} of {raw:?}");
    }
}

#[test]
fn a_second_demo_replaces_the_first_but_no_folder_of_yours() {
    let scene = Scene::new();
    scene.run(["demo", "--samples", "1"]).ok();
    let first = scene.json("verbatim-demo/report.json")["result"]["rows"].to_string();
    scene.run(["demo", "--samples", "1", "--threads", "1"]).ok();
    assert_eq!(first, scene.json("verbatim-demo/report.json")["result"]["rows"].to_string());
    scene.write("mine/precious.txt", "mine");
    scene.run(["demo", "--samples", "1", "-o", "mine"]).failed(73, "mine");
    assert_eq!(scene.text("mine/precious.txt"), "mine");
    let told: Outcome = scene.run(["demo", "--samples", "1", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(report["kind"], "demo");
}

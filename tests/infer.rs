//! `verbatim infer` from outside, on a demo checkpoint.

use serde_json::{Value, json};

use crate::harness::{Scene, root, tree_file};

/// Documents of the demo corpus, each once, and others by the same generator with another seed.
fn sets(scene: &Scene) {
    let corpus = std::fs::read_to_string(root().join("corpora/demo/corpus.jsonl")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let members: Vec<&str> = corpus
        .lines()
        .filter(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            seen.insert(line["text"].as_str().unwrap().to_owned())
        })
        .collect();
    scene.write("members.jsonl", members.join("\n"));
    scene.run(["synth", "-o", "others.jsonl", "--documents", "400", "--seed", "99"]).ok();
}

fn arguments<'a>(model: &'a str, output: &'a str) -> Vec<&'a str> {
    let sets = ["--members", "members.jsonl", "--non-members", "others.jsonl", "--documents", "120"];
    [&["infer", "--model", model, "-o", output, "--max-tokens", "64"], &sets[..]].concat()
}

#[test]
fn members_are_told_from_texts_that_the_same_generator_made() {
    let (model, scene) = (tree_file("models/demo-raw"), Scene::new());
    sets(&scene);
    let reference = tree_file("models/demo-dedup");
    let told = scene.run([&arguments(&model, "out")[..], &["--reference", &reference]].concat()).ok();
    let result = scene.json("out/report.json")["result"].clone();
    let signals = result["signals"].as_array().unwrap();
    assert_eq!(signals.len(), 12);
    let auc = |row: &Value| row["auc"]["value"].as_f64().unwrap();
    let loss = signals.iter().find(|row| row["name"] == "loss").unwrap();
    assert!(loss["auc"]["low"].as_f64().unwrap() > 0.5, "{loss}");
    assert_eq!(loss["n"], json!([120, 120]));
    assert!(loss["at_fpr"][2]["found"].is_null() && loss["at_fpr"][2]["needed"] == 1000);
    for row in result["control"].as_array().unwrap() {
        assert!(auc(row) > 0.3 && auc(row) < 0.7, "{row}");
    }
    let verdict = result["verdict"].as_str().unwrap();
    assert!(["valid", "blind"].contains(&verdict) && !told.stdout.is_empty(), "{verdict}");
    assert_eq!(result["measures"].as_array().unwrap().is_empty(), verdict != "valid");
    // The same bytes for any batch and number of threads.
    let again = ["--reference", &reference, "--batch", "3", "--threads", "1", "--scratch", "work"];
    scene.run([&arguments(&model, "again")[..], &again].concat()).ok();
    assert_eq!(scene.json("again/report.json")["result"], result);
    assert!(!scene.path("work").exists());
}

/// Peers publish signals on sets that a bag of words tells apart.
#[test]
fn sets_that_differ_in_their_words_are_no_measure_of_a_model() {
    let (model, scene) = (tree_file("models/demo-raw"), Scene::new());
    let write = |name: &str, text: &str| {
        let lines: Vec<String> =
            (0..60).map(|i| json!({"text": format!("{text} {i}")}).to_string()).collect();
        scene.write(name, lines.join("\n"));
    };
    write("old.jsonl", "the clerk wrote this in 1999, number");
    write("new.jsonl", "a baker said so in 2024, number");
    let run =
        ["infer", "--model", &model, "--members", "old.jsonl", "--non-members", "new.jsonl", "-o", "out"];
    let told = scene.run(run).ok();
    assert!(told.stdout.starts_with("Members and non-members differ without the model"), "{}", told.stdout);
    let result = &scene.json("out/report.json")["result"];
    assert_eq!((&result["verdict"], &result["measures"]), (&"blind".into(), &json!([])));
    scene.run(run).failed(73, "exists");
    let same = ["--members", "old.jsonl", "--non-members", "old.jsonl", "-o", "same"];
    let told = scene.run([&run[..3], &same].concat()).ok();
    assert!(told.stdout.contains("60 of the non-members stand among the members"), "{}", told.stdout);
    scene.run([&run[..7], &["-o", "other", "--fpr", "1.5"]].concat()).failed(2, "--fpr");
}

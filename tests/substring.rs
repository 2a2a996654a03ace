//! `verbatim dedup --substring` from outside.

use crate::harness::{Scene, real_data};

const PASSAGE: &str = "Call me Ishmael. Some years ago, never mind how long precisely";

/// Three documents around the same passage, in three ways of writing it, and one that is nothing else.
fn corpus() -> String {
    let escaped = PASSAGE.replace("Call", "\\u0043all").replace("mind", "m\\u0069nd");
    [
        format!(r#"{{"id": "a", "score": 1.50, "text": "ä: {PASSAGE}; and so on"}}"#),
        format!(r#"{{"id": "b",  "text": "\ud83d\ude00\u0020{escaped}\t\u0065nd", "tags": ["{PASSAGE}"]}}"#),
        format!(r#"{{"text": "no. {PASSAGE} - {PASSAGE}", "id": "c"}}"#),
        format!(r#"{{"text": "\n{PASSAGE}\n", "id": "d"}}"#),
    ]
    .join("\n")
}

/// What of it stays.
fn expected() -> String {
    [
        format!(r#"{{"id": "a", "score": 1.50, "text": "ä: {PASSAGE}; and so on"}}"#),
        format!(r#"{{"id": "b",  "text": "\ud83d\ude00\t\u0065nd", "tags": ["{PASSAGE}"]}}"#),
        r#"{"text": "no. -", "id": "c"}"#.to_owned(),
    ]
    .map(|line| line + "\n")
    .concat()
}

#[test]
fn repeated_passages_go_and_nothing_else_of_a_record_changes() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--substring", "40b"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl"), expected());
    assert!(run.stdout.contains("A passage is a run of 40 bytes or more"), "{run:?}");
    let cuts = scene.json_lines("clean/_verbatim/cuts.jsonl");
    let told: Vec<(&str, u64, u64, u64)> = cuts
        .iter()
        .map(|cut| {
            let number = |name: &str| cut[name].as_u64().unwrap();
            (cut["id"].as_str().unwrap(), number("start"), number("char_start"), number("kept_start"))
        })
        .collect();
    assert_eq!(told, [("b", 4, 1, 3), ("c", 3, 3, 3), ("c", 68, 68, 3)]);
    assert!(cuts.iter().all(|cut| cut["kept"] == "a" && cut["stage"] == "substring"));
    assert!(!scene.text("clean/_verbatim/cuts.jsonl").contains("Ishmael"), "no list holds text");
    let removed = scene.json_lines("clean/_verbatim/removed.jsonl");
    assert_eq!((&removed[0]["id"], &removed[0]["kept"]), (&"d".into(), &"a".into()));
    let report = scene.json("clean/_verbatim/report.json");
    let flow = &report["result"]["flow"];
    let bytes = |part: &str| flow[part]["bytes"].as_u64().unwrap();
    assert_eq!(bytes("read"), bytes("kept") + bytes("cut") + bytes("removed") + bytes("rejected"));
    assert_eq!(report["result"]["substring"]["min_len"], 40);
}

#[test]
fn a_plan_of_passages_applied_later_and_a_pipe_give_the_same_bytes() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let flags = ["--substring", "40b", "--exact", "--minhash", "--snap", "word"];
    let run = |more: &[&str]| scene.run(["dedup", "corpus.jsonl"].iter().chain(&flags).chain(more)).ok();
    run(&["-o", "clean"]);
    run(&["-o", "planned", "--dry-run"]);
    scene.run(["apply", "planned/_verbatim/plan.json", "-o", "applied"]).ok();
    for name in ["corpus.jsonl", "_verbatim/removed.jsonl", "_verbatim/cuts.jsonl"] {
        assert_eq!(scene.read(&format!("clean/{name}")), scene.read(&format!("applied/{name}")), "{name}");
    }
    assert_eq!(run(&["-o", "-"]).stdout, scene.text("clean/corpus.jsonl"));
    assert_eq!(scene.pipe(["dedup", "-", "-o", "-", "--substring", "40b"], corpus()).ok().stdout, expected());
    // Struck from all documents, and the plan of that is carried out too.
    run(&["-o", "struck", "--strike-all"]);
    run(&["-o", "planned-struck", "--strike-all", "--dry-run"]);
    scene.run(["apply", "planned-struck/_verbatim/plan.json", "-o", "applied-struck"]).ok();
    assert_eq!(scene.read("struck/corpus.jsonl"), scene.read("applied-struck/corpus.jsonl"));
    assert_eq!(scene.text("struck/corpus.jsonl").matches("Ishmael").count(), 1, "the one in another field");
}

#[test]
fn what_cuts_join_is_cut_too_until_nothing_repeats() {
    let scene = Scene::new();
    let (first, last) = PASSAGE.split_at(30);
    let lines = [format!("{PASSAGE}!"), "a passage of its own, and long enough".to_owned()];
    let joined = format!("{first}{}{last}?", lines[1]);
    let texts = [&lines[0], &lines[1], &joined];
    scene.write(
        "corpus.jsonl",
        texts.map(|text| serde_json::json!({"text": text}).to_string() + "\n").concat(),
    );
    let run = ["dedup", "corpus.jsonl", "--substring", "34b"];
    let left = |name: &str| -> Vec<String> {
        scene.json_lines(name).iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    };
    scene.run(run.iter().chain(&["-o", "once"])).ok();
    assert_eq!(left("once/corpus.jsonl"), [&lines[0][..], &lines[1], &format!("{first}{last}?")]);
    let told = scene.run(run.iter().chain(&["-o", "clean", "--until-clean"])).ok();
    assert_eq!(left("clean/corpus.jsonl"), [&lines[0][..], &lines[1], "?"]);
    assert!(told.stdout.contains("searched again"), "{}", told.stdout);
    let again = ["dedup", "clean/corpus.jsonl", "--substring", "34b", "-o", "again"];
    assert!(scene.run(again).ok().stdout.contains("No copies were found"));
    let repeats = &scene.json("clean/_verbatim/report.json")["result"]["repeats"];
    assert_eq!(repeats["cut_bytes"], joined.len() - 1);
    scene.run(["dedup", "corpus.jsonl", "--until-clean", "-o", "out"]).failed(2, "--substring");
}

#[test]
fn passages_of_tokens_are_cut_by_a_tokenizer() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo-raw/tokenizer.json");
    let flags = ["dedup", "corpus.jsonl", "--substring", "16tok", "--tokenizer", tokenizer];
    scene.run(flags.iter().chain(&["-o", "clean"])).ok();
    assert_eq!(scene.text("clean/corpus.jsonl").matches("Ishmael").count(), 2, "one is in another field");
    scene.run(["dedup", "corpus.jsonl", "-o", "x", "--substring", "16tok"]).failed(2, "needs --tokenizer");
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_any_memory() {
    let scene = Scene::new();
    let sentence = |n: usize| format!("This is sentence {} of the many that stand here. ", n * n % 97);
    for shard in 0..4 {
        let documents: String = (0..200)
            .map(|doc| {
                let text: String = (0..doc % 7).map(|n| sentence(shard * 50 + doc * 3 + n)).collect();
                format!("{{\"text\": \"page {shard} {doc}. {text}\"}}\n")
            })
            .collect();
        scene.write(&format!("in/{shard}.jsonl"), documents);
    }
    let results: Vec<_> = [["1", "4GiB"], ["2", "64KiB"], ["8", "1MiB"]]
        .map(|[threads, memory]| {
            let name = format!("clean{threads}");
            let flags = ["--substring", "40b", "--threads", threads, "--memory", memory];
            scene.run(["dedup", "in", "-o", &name].iter().chain(&flags)).ok();
            scene.result_of(&name)
        })
        .into();
    assert!(scene.json_lines("clean1/_verbatim/cuts.jsonl").len() > 300);
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn fault_86_passage_flags_out_of_place_are_refused() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for wrong in [
        &["--substring", "15b"][..],
        &["--substring", "many"],
        &["--substring", "40b", "--lines", "line"],
        &["--substring", "40b", "--min-repeat", "1"],
        &["--substring", "40b", "--keep", "none"],
        &["--substring", "40b", "--weights", "--weight-field", "w"],
        &["--strike-all"],
        &["--snap", "word"],
        &["--min-left-bytes", "3"],
    ] {
        scene.run(["dedup", "corpus.jsonl", "-o", "clean"].iter().chain(wrong)).failed(2, "--");
        assert!(!scene.path("clean").exists());
    }
    let help = scene.run(["dedup", "--help"]).ok().stdout;
    for word in ["--substring", "50tok", "--strike-all", "Lee et al. 2021 take 50 tokens"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn passages_of_a_real_corpus_go_but_for_one_copy() {
    let Some(path) = real_data("dedup/pep_revisions.jsonl.zst") else { return };
    let scene = Scene::new();
    let path = path.to_str().unwrap();
    scene.run(["dedup", path, "-o", "clean", "--substring", "200b", "--snap", "line"]).ok();
    let report = scene.json("clean/_verbatim/report.json");
    let flow = &report["result"]["flow"];
    let bytes = |part: &str| flow[part]["bytes"].as_u64().unwrap();
    assert!(bytes("cut") + bytes("removed") > bytes("kept"), "revisions share most of their text");
    assert!(bytes("kept") > bytes("read") / 100);
}

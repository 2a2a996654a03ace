//! `verbatim dedup --lines` from outside.

use crate::harness::{Scene, real_data};

const NOTICE: &str = "All rights reserved. No part may be copied without consent.";

/// Three pages with the same notice, in three ways of writing it, and one that is nothing but the notice.
fn corpus() -> String {
    [
        format!(r#"{{"id": "a", "score": 1.50, "text": "Bäcker\n{NOTICE}\nfirst page"}}"#),
        format!(r#"{{"id": "b",  "text": "second\u0020page \ud83d\ude00\r\n{NOTICE}\r\nend\u002e", "tags": ["{NOTICE}"]}}"#),
        format!(r#"{{"text": "third page\n\n\u0041ll  rights{}", "id": "c"}}"#, &NOTICE[10..]),
        format!(r#"{{"text": "\n{NOTICE}\n", "id": "d"}}"#),
    ]
    .join("\n")
}

/// What of it stays.
fn expected() -> String {
    [
        format!(r#"{{"id": "a", "score": 1.50, "text": "Bäcker\n{NOTICE}\nfirst page"}}"#),
        format!(
            r#"{{"id": "b",  "text": "second\u0020page \ud83d\ude00\r\nend\u002e", "tags": ["{NOTICE}"]}}"#
        ),
        r#"{"text": "third page\n", "id": "c"}"#.to_owned(),
    ]
    .map(|line| line + "\n")
    .concat()
}

#[test]
fn repeated_lines_go_and_nothing_else_of_a_record_changes() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--lines", "line"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl"), expected());
    assert!(run.stdout.contains("2 repeated stretches of text") && run.stdout.contains("lines"), "{run:?}");
    let cuts = scene.json_lines("clean/_verbatim/cuts.jsonl");
    let told: Vec<(&str, u64, u64, u64)> = cuts
        .iter()
        .map(|cut| {
            let number = |name: &str| cut[name].as_u64().unwrap();
            (cut["id"].as_str().unwrap(), number("start"), number("char_start"), number("kept_start"))
        })
        .collect();
    assert_eq!(told, [("b", 18, 15, 8), ("c", 11, 11, 8)]);
    assert!(cuts.iter().all(|cut| cut["kept"] == "a" && cut["stage"] == "lines"));
    assert!(!scene.text("clean/_verbatim/cuts.jsonl").contains("rights"), "no list holds text");
    let removed = scene.json_lines("clean/_verbatim/removed.jsonl");
    assert_eq!(removed.len(), 1);
    assert_eq!(
        (&removed[0]["id"], &removed[0]["kept"], &removed[0]["stage"]),
        (&"d".into(), &"a".into(), &"lines".into())
    );
    let report = scene.json("clean/_verbatim/report.json");
    let flow = &report["result"]["flow"];
    let bytes = |part: &str| flow[part]["bytes"].as_u64().unwrap();
    assert_eq!(bytes("read"), bytes("kept") + bytes("cut") + bytes("removed") + bytes("rejected"));
    assert_eq!(bytes("kept") + 3, scene.text("clean/corpus.jsonl").len() as u64);
    assert_eq!((&flow["cut"]["stretches"], &flow["cut"]["documents"]), (&2.into(), &2.into()));
    assert_eq!(report["result"]["stages"][0]["cut"], flow["cut"]);
}

#[test]
fn a_plan_with_cuts_applied_later_gives_the_same_bytes_as_one_run_and_as_a_pipe() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let flags = ["--lines", "line", "--exact", "--minhash"];
    let run = |more: &[&str]| scene.run(["dedup", "corpus.jsonl"].iter().chain(&flags).chain(more)).ok();
    run(&["-o", "clean"]);
    let dry = run(&["-o", "planned", "--dry-run"]);
    assert!(dry.stdout.contains("would be cut"), "{dry:?}");
    scene.run(["apply", "planned/_verbatim/plan.json", "-o", "applied"]).ok();
    for name in ["corpus.jsonl", "_verbatim/removed.jsonl", "_verbatim/cuts.jsonl"] {
        assert_eq!(scene.read(&format!("clean/{name}")), scene.read(&format!("applied/{name}")), "{name}");
    }
    assert_eq!(scene.read("planned/_verbatim/cuts.jsonl"), scene.read("clean/_verbatim/cuts.jsonl"));
    assert_eq!(run(&["-o", "-"]).stdout, scene.text("clean/corpus.jsonl"));
    assert_eq!(scene.pipe(["dedup", "-", "-o", "-", "--lines", "line"], corpus()).ok().stdout, expected());
}

#[test]
fn text_files_lose_paragraphs_and_files_of_nothing_else_are_not_written() {
    let scene = Scene::new();
    scene.write("in/a.txt", format!("Title A\r\n\r\n{NOTICE}\r\nIt is so.\r\n\r\nText of a.\r\n"));
    scene.write("in/b.txt", format!("Text of b.\n\n{NOTICE}\nIt is so.\n"));
    scene.write("in/c.txt", format!("\n{NOTICE}\nIt is so.\n"));
    scene.run(["dedup", "in", "-o", "clean", "--lines", "paragraph"]).ok();
    assert_eq!(scene.read("clean/a.txt"), scene.read("in/a.txt"));
    assert_eq!(scene.text("clean/b.txt"), "Text of b.\n");
    assert!(!scene.path("clean/c.txt").exists());
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let scene = Scene::new();
    let line = |n: usize| format!("line {} of the many lines that stand in this corpus", n * n % 97);
    for shard in 0..4 {
        let documents: String = (0..200)
            .map(|doc| {
                let lines: Vec<String> = (0..doc % 7).map(|n| line(shard * 50 + doc * 3 + n)).collect();
                format!("{{\"text\": \"page {shard} {doc}\\n{}\"}}\n", lines.join("\\n"))
            })
            .collect();
        scene.write(&format!("in/{shard}.jsonl"), documents);
    }
    let results: Vec<_> = ["1", "2", "8"]
        .map(|threads| {
            let name = format!("clean{threads}");
            scene.run(["dedup", "in", "-o", &name, "--lines", "line", "--threads", threads]).ok();
            scene.result_of(&name)
        })
        .into();
    assert!(scene.json_lines("clean1/_verbatim/cuts.jsonl").len() > 1000);
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn fault_86_line_flags_out_of_place_are_refused() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for wrong in [
        &["--lines", "word"][..],
        &["--lines", "line", "--min-count", "1"],
        &["--lines", "line", "--min-line-bytes", "0"],
        &["--min-count", "3"],
        &["--min-line-bytes", "3"],
    ] {
        scene.run(["dedup", "corpus.jsonl", "-o", "clean"].iter().chain(wrong)).failed(2, "--");
        assert!(!scene.path("clean").exists());
    }
    let help = scene.run(["dedup", "--help"]).ok().stdout;
    for word in ["--lines", "CCNet", "blank lines", "cuts.jsonl", "white space"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn lines_of_a_real_corpus_are_found_once_each() {
    let Some(path) = real_data("dedup/pep_revisions.jsonl.zst") else { return };
    let scene = Scene::new();
    let path = path.to_str().unwrap();
    scene.run(["dedup", path, "-o", "clean", "--lines", "line"]).ok();
    let again = scene.run(["dedup", "clean", "-o", "twice", "--lines", "line"]).ok();
    assert!(again.stdout.contains("No copies were found"), "{again:?}");
}

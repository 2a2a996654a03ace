//! The alarm for sources that a run would wipe out.

use serde_json::json;

use crate::harness::Scene;

/// 30 copies of one page in `web`, one page of its own in each of 30 documents of `wiki`.
fn write_corpus(scene: &Scene) {
    let page =
        "the opening hours of the museum are posted at the door and change with the seasons of the year";
    let web: String =
        (0..30).map(|n| json!({"id": n, "text": page, "source": "a\u{1b}[2J"}).to_string() + "\n").collect();
    let wiki: String = (0..30)
        .map(|n| {
            let words: Vec<String> = (0..30).map(|word| format!("word{n}x{word}")).collect();
            json!({"id": format!("w{n}"), "text": words.join(" "), "source": "wiki"}).to_string() + "\n"
        })
        .collect();
    scene.write("data/web/1.jsonl", web);
    scene.write("data/wiki/1.jsonl", wiki);
}

#[test]
fn a_source_that_would_be_wiped_out_stops_the_run_before_anything_is_written() {
    let scene = Scene::new();
    write_corpus(&scene);
    let run =
        scene.run(["dedup", "data", "-o", "clean"]).failed(1, "source `web` would lose 29 of 30 documents");
    assert!(run.stderr.contains("--allow-source-loss") && !run.stderr.contains("wiki"), "{run:?}");
    assert_eq!(scene.names(), ["data"]);
    let piped = scene.run(["dedup", "data", "-o", "-"]).failed(1, "web");
    assert_eq!(piped.stdout, "");
    let run = scene.run(["dedup", "data", "-o", "clean", "--source-field", "source"]);
    let run = run.failed(1, r"source `a\u{1b}[2J` would lose");
    assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    scene.run(["dedup", "data", "-o", "lists", "--emit", "ids"]).failed(1, "web");
    scene.run(["dedup", "data", "-o", "a", "--max-source-loss", "0.97"]).ok();
    scene.run(["dedup", "data", "-o", "b", "--allow-source-loss"]).ok();
    let weights = ["--weights", "1", "--weight-field", "w"];
    scene.run(["dedup", "data", "-o", "c"].iter().chain(&weights)).ok();
}

#[test]
fn a_dry_run_warns_and_its_plan_can_be_carried_out() {
    let scene = Scene::new();
    write_corpus(&scene);
    let run = scene.run(["dedup", "data", "-o", "plan", "--dry-run"]).ok();
    assert!(run.stdout.contains("source `web` would lose 29 of 30 documents"), "{run:?}");
    scene.run(["apply", "plan/_verbatim/plan.json", "-o", "clean"]).ok();
    let report = scene.json("clean/_verbatim/report.json");
    assert_eq!(
        report["result"]["sources"],
        json!({"n_sources": 2, "rows": [
            {"source": "web", "read": 30, "kept": 1, "removed": 29, "share": 0.966667},
            {"source": "wiki", "read": 30, "kept": 30, "removed": 0, "share": 0.0},
        ]})
    );
    assert!(scene.text("clean/_verbatim/report.html").contains("What each source loses"));
}

#[test]
fn a_source_field_that_is_wrong_is_refused() {
    let scene = Scene::new();
    write_corpus(&scene);
    for wrong in [["--source-field", "a..b"], ["--max-source-loss", "1"], ["--max-source-loss", "NaN"]] {
        scene.run(["dedup", "data", "-o", "clean"].iter().chain(&wrong)).failed(2, "");
    }
    assert_eq!(scene.names(), ["data"]);
}
